"""Builds a host's image once and keeps it under build/testbed/images/NAME:

    xen        the hypervisor, unpacked (multiboot); Xen hosts only
    vmlinuz    the host's kernel; the Linux test guests run it as well
    initrd     busybox and the modules that it takes to mount the disk
    disk.img   the root file system, ext4; never written to, hosts run on overlays
    modules    the kernel's modules, for the guests' initrds
    sshd/      the SSH server and its libraries, to be run on the machine itself without installing one there
    versions   every Debian package in it, with its version
    recipe     digest of what it was made from; another digest means another image
"""
import fcntl
import hashlib
import pathlib
import shlex
import shutil
import subprocess
import sys

import linux_modules

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "testbed"
RECIPE = HERE / "recipe"
PACKAGES = ("mmdebstrap", "e2fsprogs", "cpio", "busybox-static", "socat", "qemu-system-x86", "qemu-utils", "kmod", "rsync")
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")


class Image:
    def __init__(self, host):
        self.host = host
        self.folder = BUILD / "images" / host.name
        self.hypervisor = self.folder / "xen"
        self.kernel = self.folder / "vmlinuz"
        self.initrd = self.folder / "initrd"
        self.disk = self.folder / "disk.img"
        self.modules = self.folder / "modules"
        self.versions = self.folder / "versions"

    def recipe(self):
        digest = hashlib.sha256(repr(self.host).encode())
        for file in sorted([*RECIPE.iterdir(), pathlib.Path(__file__), HERE / "linux_modules.py"]):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def is_current(self):
        file = self.folder / "recipe"
        return file.exists() and file.read_text() == self.recipe()

    def version(self, package):
        """The version of a package in this image."""
        for line in self.versions.read_text().splitlines():
            name, version = line.split()
            if name == package:
                return version
        raise KeyError(f"{package} is not in the image of {self.host.name}")

    def build(self, say=lambda text: print(text, file=sys.stderr)):
        """Does nothing when it is current."""
        (BUILD / "images").mkdir(parents=True, exist_ok=True)
        with open(BUILD / "images" / f"{self.host.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_current():
                return self
            install()
            say(f"building the image of {self.host.name}; a few minutes")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self._build()
        return self

    def _build(self):
        root = self.folder / "root"
        make_root(root, self.host.suite, self.host.packages, self.folder / "log")
        release = next((root / "lib/modules").iterdir()).name
        shutil.copy(root / f"boot/vmlinuz-{release}", self.kernel)
        if self.host.xen:
            packed, = (root / "boot").glob(f"xen-{self.host.xen}-amd64.gz")
            with open(self.hypervisor, "wb") as output:
                subprocess.run(["zcat", packed], stdout=output, check=True)
        shutil.copytree(root / "lib/modules" / release, self.modules, symlinks=True)
        self._initrd()
        self._sshd(root)
        for name, target in (("common-init", "testbed-common"), (self.host.init, "testbed-init")):
            shutil.copy(RECIPE / name, root / "sbin" / target)
            (root / "sbin" / target).chmod(0o755)
        listing = subprocess.run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"],
                                 check=True, capture_output=True, text=True)
        self.versions.write_text(listing.stdout)
        for leftover in ("var/lib/apt/lists", "var/cache/apt"):
            shutil.rmtree(root / leftover, ignore_errors=True)
        # No journal: hosts run on an overlay that is thrown away.
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, "-m", "0", "-O", "^has_journal", self.disk, "4G"],
                       check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(root)
        (self.folder / "recipe").write_text(self.recipe())

    def _sshd(self, root):
        """A service that starts by itself would come with the package."""
        folder = self.folder / "sshd"
        (folder / "lib").mkdir(parents=True)
        shutil.copy(root / "usr/sbin/sshd", folder)
        for name in ("sshd-session", "sshd-auth"):  # OpenSSH 9.8 and later
            if (root / "usr/lib/openssh" / name).exists():
                shutil.copy(root / "usr/lib/openssh" / name, folder)
        listing = subprocess.run(["chroot", root, "ldd", "/usr/sbin/sshd"], check=True, capture_output=True, text=True).stdout
        for line in listing.splitlines():
            _, found, path = line.partition(" => ")
            if found:
                shutil.copy(root / path.split()[0].lstrip("/"), folder / "lib")

    def _initrd(self):
        tree = self.folder / "initrd.tree"
        for name in ("bin", "proc", "sys", "dev", "root", "modules"):
            (tree / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", tree / "bin/busybox")
        shutil.copy(RECIPE / "initrd-init", tree / "init")
        (tree / "init").chmod(0o755)
        linux_modules.collect(self.modules, BOOT_MODULES, tree / "modules")
        pack_initrd(tree, self.initrd)
        shutil.rmtree(tree)


def make_root(root, suite, packages, log):
    """A root file system of that Debian release with these packages."""
    with open(log, "wb") as output:
        # Documentation is a third of the files and nobody reads it there.
        done = subprocess.run(
            ["mmdebstrap", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}",
             "--aptopt=APT::Install-Recommends false", "--dpkgopt=path-exclude=/usr/share/doc/*",
             "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
             "--skip=cleanup/apt/lists", suite, root, *mirror()],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap ended with {done.returncode}; the end of {log}:\n"
                           + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))


def pack_initrd(tree, target):
    """A folder → a compressed initrd."""
    with open(target, "wb") as output:
        subprocess.run(["sh", "-c", f"cd {shlex.quote(str(tree))} && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1"],
                       stdout=output, check=True)


def mirror():
    """The mirror that this machine is set up with; mmdebstrap's own where it has none."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)"],
                             capture_output=True, text=True).stdout
    return [line.split()[0] for line in targets.splitlines() if line.split()[1:] == ["Debian", "Debian"]][:1]


def install():
    """The packages that building takes."""
    known = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *PACKAGES], capture_output=True, text=True).stdout
    missing = [name for name in PACKAGES if f"{name} install ok installed" not in known.splitlines()]
    if missing:
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, stdout=sys.stderr)
