#!/usr/bin/env python3
"""Trim a recorded `xl migrate` stream (Xen 4.14 or later) to a small one that is still valid.

    trim_xen_stream.py [--pages N] [--holes N] IN OUT

All records stay but PAGE_DATA: of each batch at most --pages entries with data (spread evenly, the first
included) and all entries without data stay; of the batches without any data every --holes-th stays. What follows
libxl's END (the sender's half of the handshake) is kept. Both files are plain; compress OUT with `zstd -19`.
"""
import argparse
import struct

XL_FIXED, LIBXL_HEADER, LIBXC_HEADERS = 48, 16, 24 + 16
LIBXL_END, LIBXL_LIBXC_CONTEXT = 0, 1
LIBXC_END, LIBXC_PAGE_DATA = 0, 1
PAGE = 4096
FIRST_TYPE_WITHOUT_DATA = 0xD


class Trimmer:
    def __init__(self, source, sink, pages, holes):
        self.source, self.sink, self.pages, self.holes = source, sink, pages, holes
        self.hole_batches = 0

    def read(self, size):
        data = self.source.read(size)
        if len(data) != size:
            raise SystemExit(f"truncated at {self.source.tell():#x}")
        return data

    def copy(self, size):
        data = self.read(size)
        self.sink.write(data)
        return data

    def record(self):
        kind, length = struct.unpack("<II", self.read(8))
        return kind, length, self.read((length + 7) & ~7)

    def put_record(self, kind, length, body):
        self.sink.write(struct.pack("<II", kind, length) + body)

    def run(self):
        fixed = self.copy(XL_FIXED)
        self.copy(struct.unpack_from("<I", fixed, 44)[0])
        self.copy(LIBXL_HEADER)
        while True:
            kind, length, body = self.record()
            self.put_record(kind, length, body)
            if kind == LIBXL_LIBXC_CONTEXT:
                self.libxc()
            if kind == LIBXL_END:
                break
        self.sink.write(self.source.read())

    def libxc(self):
        self.copy(LIBXC_HEADERS)
        while True:
            kind, length, body = self.record()
            if kind == LIBXC_PAGE_DATA:
                self.batch(body)
            else:
                self.put_record(kind, length, body)
            if kind == LIBXC_END:
                return

    def batch(self, body):
        (count,) = struct.unpack_from("<I", body)
        pfns = struct.unpack_from(f"<{count}Q", body, 8)
        with_data = [i for i, pfn in enumerate(pfns) if pfn >> 60 < FIRST_TYPE_WITHOUT_DATA]
        if not with_data:
            self.hole_batches += 1
            if self.hole_batches % self.holes != 1:
                return
        step = max(1, -(-len(with_data) // self.pages))
        kept = set(with_data[::step])
        position = {entry: n for n, entry in enumerate(with_data)}
        entries = [i for i in range(count) if i in kept or i not in position]
        data = b"".join(
            body[8 + 8 * count + PAGE * position[i]:][:PAGE] for i in entries if i in kept)
        head = struct.pack(f"<II{len(entries)}Q", len(entries), 0, *(pfns[i] for i in entries))
        self.put_record(LIBXC_PAGE_DATA, len(head) + len(data), head + data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=16, help="entries with data kept of each batch")
    parser.add_argument("--holes", type=int, default=200, help="keep every N-th batch without data")
    parser.add_argument("input")
    parser.add_argument("output")
    arguments = parser.parse_args()
    with open(arguments.input, "rb") as source, open(arguments.output, "wb") as sink:
        Trimmer(source, sink, arguments.pages, arguments.holes).run()


if __name__ == "__main__":
    main()
