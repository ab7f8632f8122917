"""The ticking Linux guest (tests/guests/linux/init) for a host: the host's own kernel, and an initrd made for it."""
import hashlib
import pathlib
import shutil

import image as host_image
import linux_modules

HERE = pathlib.Path(__file__).resolve().parent
# Every disk and network card that it may be given.
MODULES = ("ata_piix", "ahci", "sd_mod", "e1000", "8139cp", "8139too", "virtio_pci", "virtio_blk", "virtio_net", "uhci_hcd",
           "usbhid", "hid_generic")
# loglevel=5: a serial port is slow under two emulators; warnings are still told. nopv: without Xen's and KVM's paravirtual
# clocks. init_on_free: free pages are zero, which keeps recordings small.
COMMAND_LINE = "console=ttyS0 loglevel=5 nopv xen_nopv xen_emul_unplug=never mitigations=off init_on_free=1"


def build(image):
    """(kernel, initrd) for guests on the host of this image; kept under build/testbed/guests."""
    init = HERE / "linux" / "init"
    key = hashlib.sha256(init.read_bytes() + pathlib.Path(__file__).read_bytes() + image.recipe().encode()).hexdigest()[:16]
    folder = host_image.BUILD / "guests" / f"{image.host.name}-{key}"
    initrd = folder / "initrd"
    if not initrd.exists():
        for old in folder.parent.glob(f"{image.host.name}-*"):
            shutil.rmtree(old)
        tree = folder / "tree"
        for name in ("bin", "proc", "sys", "dev", "tmp", "modules"):
            (tree / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", tree / "bin/busybox")
        shutil.copy(init, tree / "init")
        linux_modules.collect(image.modules, MODULES, tree / "modules")
        host_image.pack_initrd(tree, folder / "initrd.partial")
        shutil.rmtree(tree)
        (folder / "initrd.partial").rename(initrd)
    return image.kernel, initrd
