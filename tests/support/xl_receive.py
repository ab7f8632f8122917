"""xl's receiving side, for tests: what `xl migrate-receive` does on its standard input and output (tools/xl/xl_migrate.c).

    xl_receive.py STREAM LOG [dies]

writes what it is sent to STREAM, and to LOG line by line what became of the domain: "loaded", "runs", "destroyed". `dies`: it
ends as soon as it has its permission.
"""
import pathlib
import struct
import sys

import xl
from xen_edit import LIBXC_HEADERS, LIBXL_HEADER, XL_FIXED


def take_stream(read):
    """Everything up to libxl's END; less at the end of the input. `read(n)`: returns less than n only there."""
    data = bytearray()

    def take(size):
        more = read(size)
        data.extend(more)
        if len(more) < size:
            raise EOFError
        return more

    try:
        take(LIBXL_HEADER + struct.unpack_from("<I", take(XL_FIXED), 44)[0])
        in_libxc = False
        while True:
            kind, size = struct.unpack("<II", take(8))
            take((size + 7) // 8 * 8)
            if kind == 1 and not in_libxc:
                take(LIBXC_HEADERS)
                in_libxc = True
            elif kind == 0 and not in_libxc:
                return bytes(data), True
            elif kind == 0:
                in_libxc = False
    except EOFError:
        return bytes(data), False


def main():
    stream, log, *how = sys.argv[1:]
    receive = sys.stdin.buffer.read

    def send(message):
        sys.stdout.buffer.write(message)
        sys.stdout.buffer.flush()

    def note(word):
        with open(log, "a") as file:
            print(word, file=file)

    send(xl.BANNER)
    data, whole = take_stream(receive)
    pathlib.Path(stream).write_bytes(data)
    if not whole:
        note("destroyed")
        return
    note("loaded")
    send(xl.READY)
    if receive(len(xl.GO)) == xl.GO:
        if how == ["dies"]:
            return
        note("runs")
        send(xl.REPORT + b"\0")
    else:
        send(xl.REPORT + b"\xff")
        note("destroyed")
        send(xl.GO)


if __name__ == "__main__":
    main()
