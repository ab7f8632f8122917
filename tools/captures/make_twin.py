#!/usr/bin/env python3
"""Records what a stopped QEMU sends, with every page of memory replaced by a zero page, except for the first page with
data, which is replaced by one of a single letter (a stream without any data looks like multifd's).

    make_twin.py OUT.zst -- qemu-system-x86_64 ARGUMENTS…

The arguments are those of a twin: no disks but null-co, no chardevs but null. Needs zstd.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time

ZERO, PAGE, EOS, CONTINUE = 0x02, 0x08, 0x10, 0x20


def record(arguments, path):
    process = subprocess.Popen(arguments + ["-S", "-qmp", "stdio"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    def command(name, **parameters):
        process.stdin.write(json.dumps({"execute": name, "arguments": parameters}) + "\n")
        process.stdin.flush()
        while True:
            line = process.stdout.readline()
            if not line:
                sys.exit("QEMU has ended")
            answer = json.loads(line)
            if "error" in answer:
                sys.exit(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    process.stdout.readline()
    command("qmp_capabilities")
    command("migrate", uri=f"exec:cat > {path}")
    while (status := command("query-migrate").get("status")) != "completed":
        if status in ("failed", "cancelled"):
            sys.exit(f"migration {status}")
        time.sleep(0.05)
    command("quit")
    process.wait()


def blank_pages(stream, at, keep_one):
    """The page records of one PART or END without their data; the offset behind them; whether one was kept."""
    out = bytearray()
    while True:
        head = struct.unpack_from(">Q", stream, at)[0]
        flags, offset = head & 0xFFF, head & ~0xFFF
        at += 8
        if flags & EOS:
            return out + struct.pack(">Q", head), at, keep_one
        name = b""
        if not flags & CONTINUE:
            name = stream[at:at + 1 + stream[at]]
            at += len(name)
        keep = keep_one and bool(flags & PAGE)
        keep_one = keep_one and not keep
        kind, data = (PAGE, b"x" * 4096) if keep else (ZERO, b"\0")
        out += struct.pack(">Q", offset | kind | (flags & CONTINUE)) + name + data
        at += 1 if flags & ZERO else 4096


def without_pages(stream):
    at = 8
    out = bytearray(stream[:at])
    if stream[at] != 0x07:
        sys.exit("no CONFIGURATION section")
    start = stream.index(b"\x01", at + 5 + struct.unpack_from(">I", stream, at + 1)[0])
    while stream[start + 5:start + 9] != b"\x03ram":
        start = stream.index(b"\x01", start + 1)
    head = start + 1 + 4 + 1 + 3 + 4 + 4
    total = struct.unpack_from(">Q", stream, head)[0] & ~0xFFF
    head += 8
    while total > 0:
        head += 1 + stream[head]
        total -= struct.unpack_from(">Q", stream, head)[0]
        head += 8
    head += 8  # EOS
    out += stream[at:head]
    at = head
    if stream[at] == 0x7E:
        out += stream[at:at + 5]
        at += 5
    keep_one = True
    while stream[at] in (0x02, 0x03):
        out += stream[at:at + 5]
        pages, at, keep_one = blank_pages(stream, at + 5, keep_one)
        out += pages
        if stream[at] == 0x7E:
            out += stream[at:at + 5]
            at += 5
    return bytes(out + stream[at:])


def main():
    out, separator, *arguments = sys.argv[1:]
    if separator != "--":
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as directory:
        raw = os.path.join(directory, "twin")
        record(arguments, raw)
        with open(raw, "rb") as file:
            stream = without_pages(file.read())
    subprocess.run(["zstd", "-q", "-f", "-19", "-o", out], input=stream, check=True)


main()
