"""The test hosts: what each consists of and how QEMU's TCG runs it.

Every host is a Debian root file system that boots under stock QEMU without hardware virtualization: TCG emulates SVM with
nested paging, which is enough for the real Xen (HVM, HAP) and for a real KVM.
"""
import dataclasses

COMMON = ("systemd-sysv", "udev", "iproute2", "kmod", "socat", "netbase", "procps", "python3-minimal", "linux-image-amd64",
          "seabios", "openssh-client", "openssh-server", "zstd", "memtest86+")


@dataclasses.dataclass(frozen=True)
class Host:
    name: str
    suite: str  # Debian's
    packages: tuple
    xen: str = ""  # release; empty: a plain Linux host with KVM
    cpus: int = 1
    memory_mib: int = 2560

    @property
    def init(self):
        """Its init, among the files of recipe/."""
        return "xen-init" if self.xen else "kvm-init"


def xen(release, suite):
    return Host(f"xen-{release}", suite,
                (*COMMON, f"xen-utils-{release}", "xen-utils-common", f"xen-hypervisor-{release}-amd64", "qemu-system-xen",
                 "ipxe"), release)


def kvm(qemu, suite):
    return Host(f"kvm-{qemu}", suite, (*COMMON, "qemu-system-x86", "qemu-utils"), cpus=2)


HOSTS = {host.name: host for host in
         (xen("4.17", "bookworm"), xen("4.20", "trixie"), kvm("7.2", "bookworm"), kvm("10.0", "trixie"))}

# What the emulated processor has. Xen's PV dom0 dies at its first bounce frame with SMAP; LA57 and protection keys only
# cost time. With XSAVE, processes under Xen lose vector registers now and then while a guest runs: programs crash, and
# 60 MB through ssh never arrived whole; without it (and so without AVX) none of this was seen.
CPU = "max,+svm,+npt,-smap,-smep,-la57,-pku,-xsave"

XEN_COMMAND_LINE = ("dom0_mem=1024M,max:1024M dom0_max_vcpus=1 console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all "
                    "noreboot spec-ctrl=no sched=credit")
DOM0_COMMAND_LINE = "console=hvc0 earlyprintk=xen mitigations=off loglevel=6"
LINUX_COMMAND_LINE = "console=ttyS0 mitigations=off"


def boot_options(host, image):
    """QEMU's options that boot the host from its image's files."""
    if host.xen:
        # QEMU's -kernel takes Xen as a multiboot kernel and dom0's kernel and initrd as its modules.
        return ["-smp", str(host.cpus), "-kernel", image.hypervisor, "-append", XEN_COMMAND_LINE,
                "-initrd", f"{image.kernel} {DOM0_COMMAND_LINE},{image.initrd}"]
    return ["-smp", str(host.cpus), "-kernel", image.kernel, "-initrd", image.initrd, "-append", LINUX_COMMAND_LINE]
