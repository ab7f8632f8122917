"""What a Xen stream says, read a second time by other code: the judge of what crossed.

Written from the specifications (libxl-migration-stream, libxc-migration-stream, public/arch-x86/hvm/save.h), with
nothing in common with the parsers under test.
"""
import json
import pathlib
import struct
import subprocess

PAGE = 4096
QUADS = "rax rbx rcx rdx rbp rsi rdi rsp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags cr0 cr2 cr3 cr4 dr0 dr1 dr2 dr3 dr6 dr7".split()
SEGMENTS = "cs ds es fs gs ss tr ldtr".split()
TABLES = SEGMENTS + ["idtr", "gdtr"]
MSRS = ("sysenter_cs sysenter_esp sysenter_eip shadow_gs msr_flags lstar star cstar syscall_mask efer tsc_aux tsc").split()


def read_cpu(body):
    """hvm_hw_cpu as a dictionary."""
    cpu = {"fpu": body[:512]}
    at = 512

    def take(names, code, suffix=""):
        nonlocal at
        size = struct.calcsize(code)
        for name in names:
            cpu[name + suffix] = struct.unpack_from("<" + code, body, at)[0]
            at += size

    take(QUADS, "Q")
    take(SEGMENTS, "I", "_sel")
    take(TABLES, "I", "_limit")
    take(TABLES, "Q", "_base")
    take(SEGMENTS, "I", "_ar")
    take(MSRS, "Q")
    return cpu


class XenStream:
    """config (parsed JSON) · pages {gfn: 4096 bytes, the last copy} · hvm {(typecode, instance): body}"""

    def __init__(self, path):
        data = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout \
            if str(path).endswith(".zst") else pathlib.Path(path).read_bytes()
        assert data[:32] == b"Xen saved domain, xl format\n \0 \r"
        length = struct.unpack_from("<I", data, 44)[0]
        config = struct.unpack_from("<I", data, 48)[0]
        self.config = json.loads(data[52:52 + config].rstrip(b"\0"))
        self.pages, self.hvm, self.blob = {}, {}, b""
        self._libxl(data, 48 + length)

    def _libxl(self, data, at):
        assert data[at:at + 8] == b"LibxlFmt"
        at += 16
        while True:
            kind, size = struct.unpack_from("<II", data, at)
            body = at + 8
            if kind == 0:
                break
            if kind == 1:
                at = self._libxc(data, body)
                continue
            if kind == 3:
                self.blob = data[body + 8:body + size]
            at = body + (size + 7) // 8 * 8
        self.end = body

    def _libxc(self, data, at):
        assert data[at:at + 12] == b"\xff" * 8 + b"XENF"
        at += 24 + 16
        while True:
            kind, size = struct.unpack_from("<II", data, at)
            body = at + 8
            if kind == 1:
                self._pages(data, body)
            elif kind == 9:
                self._context(data, body, body + size)
            at = body + (size + 7) // 8 * 8
            if kind == 0:
                return at

    def _pages(self, data, at):
        count = struct.unpack_from("<I", data, at)[0]
        entries = struct.unpack_from(f"<{count}Q", data, at + 8)
        at += 8 + 8 * count
        for entry in entries:
            if entry >> 60 < 0xD:
                self.pages[entry & (1 << 52) - 1] = data[at:at + PAGE]
                at += PAGE

    def _context(self, data, at, end):
        while at < end:
            kind, instance, size = struct.unpack_from("<HHI", data, at)
            self.hvm[kind, instance] = data[at + 8:at + 8 + size]
            at += 8 + size

    @property
    def vcpus(self):
        """{vCPU: registers}"""
        return {instance: read_cpu(body) for (kind, instance), body in self.hvm.items() if kind == 2}

    def lapic(self, vcpu):
        """(apic_base_msr, [register at 16·i])"""
        registers = self.hvm[6, vcpu]
        return struct.unpack_from("<Q", self.hvm[5, vcpu])[0], [
            struct.unpack_from("<I", registers, at)[0] for at in range(0, 1024, 16)]

    @property
    def ioapic(self):
        """Redirection entries."""
        body = self.hvm[4, 0]
        return list(struct.unpack_from(f"<{(len(body) - 16) // 8}Q", body, 16))

    @property
    def pics(self):
        """[{irr, imr, isr, irq_base}] master, slave"""
        return [dict(zip(("irr", "imr", "isr", "irq_base"), self.hvm[3, which][:4])) for which in (0, 1)]

    @property
    def ram_bytes(self):
        build = self.config["b_info"]
        return (build["max_memkb"] - build["video_memkb"]) << 10
