"""Makes other Xen streams out of a recorded one: another configuration, other pages, records found by name."""
import json
import struct
import subprocess

PAGE = 4096
XL_FIXED, LIBXL_HEADER, LIBXC_HEADERS = 48, 16, 24 + 16
CONFIG = XL_FIXED + 4
PAGE_DATA = 1
XALLOC, FIRST_TYPE_WITHOUT_DATA = 0xE, 0xD
LIBXL = {0: "END", 1: "LIBXC_CONTEXT", 2: "EMULATOR_XENSTORE_DATA", 3: "EMULATOR_CONTEXT"}
LIBXC = {0: "END", 1: "PAGE_DATA", 8: "X86_TSC_INFO", 9: "HVM_CONTEXT", 10: "HVM_PARAMS", 13: "VERIFY",
         16: "STATIC_DATA_END", 17: "X86_CPUID_POLICY", 18: "X86_MSR_POLICY"}
HVM = {0: "END", 2: "CPU", 3: "PIC", 4: "IOAPIC", 5: "LAPIC", 6: "LAPIC_REGS", 10: "PIT", 11: "RTC", 13: "PMTIMER",
       14: "MTRR"}


def recorded(path):
    """The stream of a capture, unpacked, without the permission that a recording ends with."""
    data = subprocess.run(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE, check=True).stdout
    return data[:end_of(data)]


def config_length(data):
    return struct.unpack_from("<I", data, XL_FIXED)[0]


def libxl_start(data):
    return XL_FIXED + struct.unpack_from("<I", data, 44)[0]


def records(data):
    """(name with its layer, offset of its header, length of its body), all but the headers of the layers."""
    at, layer = libxl_start(data) + LIBXL_HEADER, "libxl"
    while True:
        kind, size = struct.unpack_from("<II", data, at)
        name = (LIBXL if layer == "libxl" else LIBXC).get(kind, hex(kind))
        yield f"{layer} {name}", at, size
        at += 8 + (size + 7) // 8 * 8
        if (layer, name) == ("libxl", "LIBXC_CONTEXT"):
            at, layer = at + LIBXC_HEADERS, "libxc"
        elif (layer, name) == ("libxc", "END"):
            layer = "libxl"
        elif name == "END":
            return


def end_of(data):
    *_, (_, at, _) = records(data)
    return at + 8


def places(data):
    """{name: offset} of the first record of each name, and of the headers; save records as "HVM CPU[1]"."""
    found = {"xl": 0, "config": CONFIG, "libxl": libxl_start(data)}
    for name, at, size in records(data):
        found.setdefault(name, at)
        if name == "libxl LIBXC_CONTEXT":
            found |= {"image": at + 8, "domain": at + 32}
        if name == "libxc HVM_CONTEXT":
            inner, end = at + 8, at + 8 + size
            while inner < end:
                kind, instance, length = struct.unpack_from("<HHI", data, inner)
                found[f"HVM {HVM.get(kind, kind)}[{instance}]"] = inner
                inner += 8 + length
    return found


def reconfigured(data, change):
    """`change` is given the configuration as a dictionary."""
    config = json.loads(data[CONFIG:CONFIG + config_length(data)].rstrip(b"\0"))
    change(config)
    text = json.dumps(config).encode() + b"\0"
    return data[:44] + struct.pack("<II", 4 + len(text), len(text)) + text + data[libxl_start(data):]


def batch(entries, pages=b""):
    """A PAGE_DATA record: entries are (frame, type)."""
    body = struct.pack(f"<II{len(entries)}Q", len(entries), 0, *(kind << 60 | gfn for gfn, kind in entries)) + pages
    return struct.pack("<II", PAGE_DATA, len(body)) + body


def without_holes(data):
    """(all before the pages, PAGE_DATA records with nothing but pages, all behind them)"""
    found = [(at, size) for name, at, size in records(data) if name == "libxc PAGE_DATA"]
    out = []
    for at, size in found:
        count, = struct.unpack_from("<I", data, at + 8)
        entries = struct.unpack_from(f"<{count}Q", data, at + 16)
        kept = [(entry & (1 << 52) - 1, entry >> 60) for entry in entries if entry >> 60 < FIRST_TYPE_WITHOUT_DATA]
        if kept:
            out.append(batch(kept, data[at + 16 + 8 * count:at + 8 + size]))
    last, size = found[-1]
    return data[:found[0][0]], out, data[last + 8 + size:]


def populated(data, ram_bytes, pages=None, hole=256 << 20):
    """The same guest with as much memory, perhaps more than it knows of. Every frame is there, without content unless
    it was recorded with one or is in `pages` {frame: content}."""
    def resize(config):
        build = config["b_info"]
        build["max_memkb"] = build["target_memkb"] = (ram_bytes >> 10) + build["video_memkb"]

    prelude, recorded_batches, tail = without_holes(reconfigured(data, resize))
    low = min(ram_bytes, (4 << 30) - hole) // PAGE
    ranges = (range(0, 0xA0), range(0xC0, low), range(1 << 20, (1 << 20) + ram_bytes // PAGE - low))
    first_pass = [batch([(gfn, XALLOC) for gfn in part[at:at + 1024]])
                  for part in ranges for at in range(0, len(part), 1024)]
    frames = sorted(pages or {})
    further = [batch([(gfn, 0) for gfn in frames], b"".join(pages[gfn] for gfn in frames))] if frames else []
    return b"".join([prelude, *first_pass, *recorded_batches, *further, tail])
