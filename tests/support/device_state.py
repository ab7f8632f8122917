"""The judge of a stream's device state: Xen's own device model (package qemu-system-xen), unmodified, loads it.

It runs without Xen, as tests/oracle/device_model answers what it asks of Xen; on the guest's memory, where that is given.
What it then holds is asked over QMP, and it writes its state again: that has to be the state that it was given.
"""
import os
import pathlib
import re
import struct
import subprocess

from qmp import Qmp, QmpError

PROGRAM = pathlib.Path("/usr/libexec/xen-qemu-system-i386")
DOMID = 7
SECONDS = 60
DISK_MIB = 16
GAP = 64  # between the ids of neighbouring sections, at most
IDE_INDEX = {"hda": 0, "hdb": 1, "hdc": 2, "hdd": 3}
SECTION = re.compile(rb"\x04(?P<id>\0\0.{2})(?P<length>[\x01-\x40])", re.DOTALL)
NAME = re.compile(rb"[A-Za-z0-9_][\w:./ -]*\Z")


class Refused(Exception):
    """The device model has ended; its last words."""


def libxl_arguments(config, folder):
    """The device model's command line, as libxl makes it from a domain's configuration. Disks are empty, network cards are
    connected with nothing, serial ports go nowhere."""
    build = config["b_info"]
    hvm = build["type.hvm"]

    def enabled(name, default=False):
        return hvm.get(name, str(default)) == "True"

    words = ["-xen-domid", str(DOMID), "-no-shutdown", "-nodefaults", "-no-user-config", "-display", "none"]
    if "kernel" in build:
        # Only its presence matters: the machine then has a fw_cfg.
        kernel = folder / "kernel"
        kernel.write_bytes(bytes(65536))
        words += ["-kernel", str(kernel)]
    for _ in [hvm["serial"]] if "serial" in hvm else hvm.get("serial_list", []):
        words += ["-serial", "null"]
    card = {"cirrus": "cirrus-vga", "std": "VGA"}.get(hvm.get("vga", {}).get("kind", "cirrus"))
    if card:
        words += ["-device", f"{card},vgamem_mb={build['video_memkb'] // 1024}"]
    words += ["-boot", f"order={hvm.get('boot', 'cda')}"]
    if enabled("usb"):
        words += ["-usb"]
    for device in hvm.get("usbdevice_list", [hvm["usbdevice"]] if "usbdevice" in hvm else []):
        words += ["-device", f"usb-{device}"]
    if build.get("max_vcpus", 1) > 1:
        words += ["-smp", f"{len(build.get('avail_vcpus', [0]))},maxcpus={build['max_vcpus']}"]
    for nic in config.get("nics", []):
        number = nic.get("devid", 0)
        words += ["-device", f"{nic.get('model', 'rtl8139')},id=nic{number},netdev=net{number},mac={nic['mac']}",
                  "-netdev", f"hubport,id=net{number},hubid={number}"]
    machine = "xenfv" if enabled("xen_platform_pci", True) else "pc,accel=xen"
    if "mmio_hole_memkb" in hvm:
        machine += f",max-ram-below-4g={(1 << 32) - (hvm['mmio_hole_memkb'] << 10)}"
    words += build.get("extra", []) + ["-machine", machine + ",suppress-vmdesc=on"] + unconnected(build.get("extra_hvm", []))
    words += ["-m", str((build["max_memkb"] - build["video_memkb"]) // 1024)]
    for disk in config.get("disks", []):
        if disk["vdev"] in IDE_INDEX:
            media = "cdrom,readonly=on" if disk.get("is_cdrom") else "disk"
            words += ["-drive", f"if=ide,index={IDE_INDEX[disk['vdev']]},media={media},{empty_disk()}"]
    return words


def empty_disk():
    return f"driver=null-co,size={DISK_MIB}M,read-zeroes=on"


def unconnected(words):
    """Raw arguments of a configuration, with what is behind each device replaced."""
    words, out = list(words), []
    while words:
        word = words.pop(0)
        if word in ("-netdev", "-drive"):
            options = dict(option.partition("=")[::2] for option in words.pop(0).split(","))
            out += [word, f"hubport,id={options['id']},hubid={len(out) + 100}" if word == "-netdev"
                    else f"if=none,id={options['id']},{empty_disk()}"]
        else:
            out.append(word)
    return out


class DeviceModel:
    """Context manager: the device model that has loaded `blob`, paused. .qmp, .calls()"""

    def __init__(self, config, blob, folder, restored=None):
        """`config`: the domain's configuration · `restored`: a restore_oracle.Restored, for the guest's memory"""
        self.folder = pathlib.Path(folder)
        incoming, frames, self.calls_file = self.folder / "incoming", self.folder / "frames", self.folder / "calls"
        incoming.write_bytes(blob)
        ranges = restored.facts["memory"]["ranges"] if restored else [[0, 1 << 20]]
        frames.write_text("".join(f"{first} {count}\n" for first, count in ranges))
        environment = os.environ | {
            "LD_PRELOAD": str(pathlib.Path(os.environ["VMFERRY"]).parent / "tests/oracle/device_model/vmferry-oracle-device-model.so"),
            "VMFERRY_ORACLE_FRAMES": str(frames), "VMFERRY_ORACLE_CALLS": str(self.calls_file)}
        if restored:
            environment["VMFERRY_ORACLE_MEMORY"] = str(restored.memory_file)
        monitor = self.folder / "qmp"
        # The preload is the device model's alone: `env` sets it for the program that it becomes.
        preload = environment.pop("LD_PRELOAD")
        self.command = ["env", f"LD_PRELOAD={preload}", str(PROGRAM), *libxl_arguments(config, self.folder), "-S",
                        "-qmp", f"unix:{monitor},server=on,wait=off", "-incoming", "fd:0"]
        self.log_file = self.folder / "device-model.log"
        with open(self.log_file, "wb") as log, open(incoming, "rb") as state:
            self.process = subprocess.Popen(self.command, env=environment, stdin=state, stdout=log, stderr=log)
        self.qmp = None
        try:
            self.qmp = Qmp(monitor, SECONDS, alive=lambda: self.process.poll() is None)
            # The load goes on after the greeting; a failure ends the program.
            self.qmp.wait_status("paused", SECONDS)
        except (QmpError, OSError):
            self.close()
            raise Refused(self.log) from None

    @property
    def log(self):
        return self.log_file.read_text(errors="replace").strip()

    def calls(self):
        """What it told Xen, a list of words for each call."""
        return [line.split() for line in self.calls_file.read_text().splitlines()]

    def saved_again(self):
        file = self.folder / "again"
        self.qmp("xen-save-devices-state", filename=str(file))
        return file.read_bytes()

    def screen(self):
        """The picture on its screen (PPM)."""
        file = self.folder / "screen"
        self.qmp("screendump", filename=str(file))
        return file.read_bytes()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.qmp:
            self.qmp.quit()
            self.qmp = None
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def sections(blob):
    """{(name, instance): content} of a device model's state, in its order. Sections have no length: their heads are found
    by their ids, which ascend."""
    heads, last = [], -1
    for match in SECTION.finditer(blob):
        number, end = struct.unpack(">I", match["id"])[0], match.end() + match["length"][0]
        name = blob[match.end():end]
        if last < number <= last + GAP and NAME.match(name) and len(blob) >= end + 8:
            heads.append((match.start(), end + 8, (name.decode(), struct.unpack_from(">I", blob, end)[0])))
            last = number
    ends = [start for start, *_ in heads[1:]] + [len(blob) - 1]
    return {key: blob[content:end] for (_, content, key), end in zip(heads, ends)}


# What a device model changes by itself: the clock's registers follow the host's time; "no retry" of a bus master (the last
# byte of its state) has another form once it was loaded.
CLOCK = "mc146818rtc"
RETRY_UNIT = tuple(4 + 256 + 16 + channel * 19 + 18 for channel in (0, 1))


def differences(blob, again):
    """Where the sections of a state differ from what the device model that has loaded it holds now (what it wrote again):
    ["SECTION+OFFSET: FOUND, not EXPECTED"]. It may hold more: what the stream had nothing of is as after a reset."""
    held, found = sections(again), []
    if blob[-1:] != b"\0":
        found.append(f"it ends with {blob[-1:].hex()}, not 00")
    for (name, instance), content in sections(blob).items():
        now = held.get((name, instance))
        if now is None or len(now) != len(content):
            found.append(f"{name}/{instance}: {'nothing' if now is None else len(now)}, not {len(content)} bytes")
        elif name != CLOCK:
            found += [f"{name}/{instance}+{at}: {now[at]:#04x}, not {content[at]:#04x}" for at in range(len(content))
                      if now[at] != content[at] and not (name.endswith("/ide") and at in RETRY_UNIT)]
    return found
