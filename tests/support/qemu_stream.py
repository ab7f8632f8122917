"""What a QEMU stream says, read a second time by other code: the source of a crossing towards Xen.

    "QEVM" 3 · 07 configuration · 01 START ram: blocks · 02 PART, 03 END ram: pages · 04 FULL sections · 00 · 06 description

Ordinary precopy streams with footers and a description, as machine types from 2.4 on write them; nothing in common with the
parsers under test. Sections are cut at their footers and decoded by the description.
"""
import json
import pathlib
import struct
import subprocess

PAGE = 4096
START, PART, END, FULL, SUBSECTION, DESCRIPTION, CONFIGURATION, COMMAND, FOOTER = 1, 2, 3, 4, 5, 6, 7, 8, 0x7E
ZERO, MEM_SIZE, CONTENT, EOS, CONTINUE, HOOK = 0x02, 0x04, 0x08, 0x10, 0x20, 0x80


class QemuStream:
    """machine · blocks {name: its memory as it is at the end} · sections {(name, instance): (version, content)} ·
    fields(name, instance)"""

    def __init__(self, path):
        self.data = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout \
            if str(path).endswith(".zst") else pathlib.Path(path).read_bytes()
        self.blocks, self.sections, self.description = {}, {}, None
        self.page_records = 0
        self._block = None
        self._read()

    def _take(self, code):
        values = struct.unpack_from(">" + code, self.data, self.at)
        self.at += struct.calcsize(">" + code)
        return values[0] if len(values) == 1 else values

    def _text(self):
        length = self._take("B")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def _footer(self, number):
        found = self._take("BI")
        if found != (FOOTER, number):
            raise ValueError(f"at {self.at - 5:#x}: no footer of section {number}: {found}")

    def _read(self):
        self.at = 0
        if self._take("4sI") != (b"QEVM", 3):
            raise ValueError("no QEMU stream of version 3")
        while True:
            kind = self._take("B")
            if kind == CONFIGURATION:
                length = self._take("I")
                self.machine = self.data[self.at:self.at + length].decode()
                self.at += length
            elif kind in (START, FULL):
                number = self._take("I")
                name = self._text()
                instance, version = self._take("II")
                if name == "ram":
                    self._ram()
                    self._footer(number)
                elif kind == FULL:
                    self._full(number, name, instance, version)
                else:
                    raise ValueError(f"a section {name} of parts")
            elif kind in (PART, END):
                number = self._take("I")
                self._ram()
                self._footer(number)
            elif kind == COMMAND:
                _, length = self._take("HH")
                self.at += length
            elif kind == 0:
                break
            else:
                raise ValueError(f"at {self.at - 1:#x}: section type {kind:#x}")
        if self._take("B") != DESCRIPTION:
            raise ValueError("no description")
        length = self._take("I")
        self.description = json.loads(self.data[self.at:self.at + length])
        self.end = self.at + length

    def _ram(self):
        while True:
            head = self._take("Q")
            flags, offset = head & (PAGE - 1), head & ~(PAGE - 1)
            if flags & EOS:
                return
            if flags & MEM_SIZE:
                while offset > 0:
                    name, size = self._text(), self._take("Q")
                    self.blocks[name] = bytearray(size)
                    offset -= size
                continue
            if not flags & CONTINUE:
                self._block = self.blocks[self._text()]
            flags &= ~CONTINUE
            self.page_records += 1
            if flags == ZERO:
                byte = self._take("B")
                self._block[offset:offset + PAGE] = bytes([byte]) * PAGE
            elif flags == CONTENT:
                self._block[offset:offset + PAGE] = self.data[self.at:self.at + PAGE]
                self.at += PAGE
            else:
                raise ValueError(f"at {self.at:#x}: page flags {flags:#x}")

    def _full(self, number, name, instance, version):
        """Up to the footer, behind which the next section or the end stands."""
        footer = struct.pack(">BI", FOOTER, number)
        end = self.at
        while True:
            end = self.data.index(footer, end)
            following = self.data[end + 5:end + 10]
            if following[:1] == b"\0" and following[1:2] == bytes([DESCRIPTION]) or \
                    following[:1] == bytes([FULL]) and number < struct.unpack_from(">I", following, 1)[0] < number + 256:
                break
            end += 1
        self.sections[name, instance] = (version, self.data[self.at:end])
        self.at = end + 5

    def names(self, suffix):
        """The sections whose name ends so."""
        return [key for key in self.sections if key[0].endswith(suffix)]

    def fields(self, name, instance=0):
        """{path: content} of a section, decoded by the description. A path is "env.regs[3]", "apic/…" within subsections."""
        entry = next(device for device in self.description["devices"]
                     if (device["name"], device["instance_id"]) == (name, instance))
        content = self.sections[name, instance][1]
        found = {}
        at = self._decode(entry, content, 0, "", found)
        if at != len(content):
            raise ValueError(f"{name}: {at} of {len(content)} bytes are described")
        return found

    def _decode(self, entry, content, at, prefix, found):
        for field in entry.get("fields", []):
            count = field.get("array_len", 1)
            for index in range(count):
                path = prefix + field["name"] + (f"[{field.get('index', index)}]" if count > 1 or "index" in field else "")
                if "struct" in field:
                    at = self._decode(field["struct"], content, at, path + ".", found)
                else:
                    found[path] = content[at:at + field["size"]]
                    at += field["size"]
        for subsection in entry.get("subsections", []):
            name = subsection["vmsd_name"].encode()
            head = bytes([SUBSECTION, len(name)]) + name
            if content[at:at + len(head)] != head:
                raise ValueError(f"no subsection {name.decode()} at {at}")
            at = self._decode(subsection, content, at + len(head) + 4, f"{prefix}{name.decode()}/", found)
        return at

    def number(self, path, name, instance=0):
        return int.from_bytes(self.fields(name, instance)[path], "big")


def pci_config(stream, suffix):
    """The configuration space of the device whose section's name ends so; None where there is none."""
    for key in stream.names(suffix):
        return stream.sections[key][1][4:4 + 256]  # behind the version of the PCI device
    return None
