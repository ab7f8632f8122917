"""The configuration of a Xen domain that a guest born under QEMU can go on as, in the form in which xl sends it."""

VIDEO_MIB = {"cirrus-vga": 8, "VGA": 16}


def of(guest):
    """`guest`: a captures.QemuGuest. Its devices stand where QEMU had them: what libxl has words for is first, the others are
    arguments of the device model's."""
    video, memory = VIDEO_MIB[guest.vga], guest.memory_mib
    extra, disks, nics = [], [], []
    if guest.nic.startswith("virtio"):
        extra += ["-netdev", "type=tap,id=vn0,ifname=vtap0,script=no,downscript=no",
                  "-device", f"{guest.nic},id=nic0,netdev=vn0,mac={guest.mac},addr=5"]
    elif guest.nic:
        nics.append({"devid": 0, "model": guest.nic, "mac": guest.mac, "bridge": "xenbr0", "nictype": "vif_ioemu"})
    if guest.disk_model.startswith("virtio"):
        extra += ["-drive", "file=/guests/disk,if=none,id=vd0,format=raw,cache=writeback",
                  "-device", f"{guest.disk_model},drive=vd0,id=disk0,addr=6"]
    elif guest.disk_model:
        disks.append({"pdev_path": "/guests/disk", "vdev": "hda", "backend": "qdisk", "format": "raw", "readwrite": 1})
    return {
        "c_info": {"type": "hvm", "name": "judged", "uuid": "3f1c2d8e-6a0b-4a52-9d0e-0c9f5a7b1e24", "run_hotplug_scripts": "True"},
        "b_info": {
            "max_vcpus": guest.cpus, "avail_vcpus": list(range(guest.cpus)), "max_memkb": (memory + video) << 10,
            "target_memkb": (memory + video) << 10, "video_memkb": video << 10, "acpi": "True", "apic": "True",
            "type.hvm": {"hpet": "False", "vga": {"kind": "std" if guest.vga == "VGA" else "cirrus"}, "vnc": {"enable": "False"},
                         "sdl": {"enable": "False"}, "spice": {}, "serial": "null", "usb": "False", "xen_platform_pci": "False",
                         "rdm": {}},
            **({"extra_hvm": extra} if extra else {}), "arch_x86": {"msr_relaxed": "True"}},
        "disks": disks, "nics": nics, "on_reboot": "restart", "on_crash": "preserve"}
