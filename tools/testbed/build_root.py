"""Builds vmferry's parts for a Debian release that is not this machine's, with that release's own compiler and libraries: a root
file system of it, with the sources and a build folder in it, kept under build/testbed/build-roots/SUITE.

What is linked with Xen's libraries has to be built once for each Xen release.
"""
import fcntl
import hashlib
import pathlib
import shutil
import subprocess
import sys

from image import BUILD, install, make_root

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ("g++", "cmake", "ninja-build", "pkgconf", "libuv1-dev", "nlohmann-json3-dev", "libcli11-dev", "libspdlog-dev",
            "libfmt-dev", "libtomlplusplus-dev", "doctest-dev", "libzstd-dev", "zlib1g-dev", "libssl-dev", "uuid-dev", "libxen-dev",
            "python3-minimal")
SOURCES, BUILT = "root/vmferry", "root/build"


class BuildRoot:
    def __init__(self, suite):
        self.suite = suite
        self.folder = BUILD / "build-roots" / suite

    def build(self, target, say=lambda text: print(text, file=sys.stderr)):
        """Path of that program, as of the sources now; its libraries are below `folder`."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{self.folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._make(say)
            # With their times, so that only what has changed is built.
            subprocess.run(["rsync", "-a", "--delete", "--exclude=/build", "--exclude=/captures", "--exclude=/.git", f"{ROOT}/",
                            self.folder / SOURCES], check=True)
            say(f"building {target} for {self.suite}")
            log = self.folder / "root/build.log"
            with open(log, "wb") as output:
                done = subprocess.run(
                    ["chroot", self.folder, "sh", "-ec",
                     f"[ -f /{BUILT}/build.ninja ] || cmake -S /{SOURCES} -B /{BUILT} -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo; "
                     f"cmake --build /{BUILT} --target {target}"],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"})
            if done.returncode != 0:
                raise RuntimeError(f"building {target} for {self.suite} failed; the end of {log}:\n"
                                   + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))
        return self.folder / BUILT / target

    def _make(self, say):
        recipe = hashlib.sha256(repr((self.suite, PACKAGES)).encode() + pathlib.Path(__file__).read_bytes()).hexdigest()
        known = self.folder / "recipe"
        if known.exists() and known.read_text() == recipe:
            return
        install()
        say(f"making a root to build in, of Debian's {self.suite}; a minute or two")
        shutil.rmtree(self.folder, ignore_errors=True)
        make_root(self.folder, self.suite, PACKAGES, pathlib.Path(f"{self.folder}.log"))
        known.write_text(recipe)
