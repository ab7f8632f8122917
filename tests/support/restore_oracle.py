"""What Xen's own xc_domain_restore() makes of a stream (tests/oracle/restore), and Xen's verify-stream-v2."""
import json
import mmap
import os
import pathlib
import subprocess

PAGE = 4096


def program():
    return pathlib.Path(os.environ["VMFERRY"]).parent / "tests/oracle/restore/vmferry-oracle-restore"


def unpacked(stream, folder):
    """The stream as a plain file: both judges want one that can be read at any place."""
    stream = pathlib.Path(stream)
    if stream.suffix != ".zst":
        return stream
    plain = pathlib.Path(folder) / stream.stem
    subprocess.run(["zstd", "-dqf", stream, "-o", plain], check=True)
    return plain


class Restored:
    """violations · log · facts (the oracle's JSON) · memory: restored[frame] · hvm_context · device_model"""

    def __init__(self, stream, folder):
        """`stream`: a file (.zst or plain); `folder` is given the memory and what else came out."""
        self.folder = pathlib.Path(folder)
        out = self.folder / "restored"
        process = subprocess.run([program(), unpacked(stream, folder), out], capture_output=True, text=True, timeout=600)
        self.log = process.stderr
        if process.returncode not in (0, 1):
            raise RuntimeError(f"the oracle could not judge: {process.stderr.strip()}")
        self.facts = json.loads(process.stdout)
        self.violations = self.facts["violations"]
        if (process.returncode == 0) != (not self.violations):
            raise RuntimeError(f"exit code {process.returncode} with {len(self.violations)} violations")
        self.hvm_context = self._content(out / "hvm_context")
        self.device_model = self._content(out / "device_model")
        self.memory_file = out / "memory"
        self._memory = None

    @staticmethod
    def _content(file):
        return file.read_bytes() if file.exists() else b""

    @property
    def parameters(self):
        return dict(map(tuple, self.facts["params"]))

    @property
    def frames(self):
        """Every populated frame, ascending."""
        for first, count in self.facts["memory"]["ranges"]:
            yield from range(first, first + count)

    def __getitem__(self, frame):
        if self._memory is None:
            with open(self.memory_file, "rb") as file:
                self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return self._memory[frame * PAGE:(frame + 1) * PAGE]


def xen_library():
    """/usr/lib/xen-4.17, or whichever release is installed."""
    for folder in sorted(pathlib.Path("/usr/lib").glob("xen-*")):
        if (folder / "bin/verify-stream-v2").exists():
            return folder
    raise FileNotFoundError("verify-stream-v2 is missing: run tools/install-deps.sh")


def verify_stream(stream, folder, form="xl"):
    """None, or what verify-stream-v2 says against it."""
    xen = xen_library()
    process = subprocess.run([xen / "bin/verify-stream-v2", "-f", form, "-i", unpacked(stream, folder)],
                             env={"PYTHONPATH": str(xen / "lib/python"), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
                             capture_output=True, text=True, timeout=600)
    return None if process.returncode == 0 else process.stderr.strip() or f"exit code {process.returncode}"
