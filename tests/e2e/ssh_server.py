"""An SSH server on 127.0.0.1 for `xl migrate GUEST HOST`: the real sshd, out of a test host's image.

It runs in a mount namespace of its own, where /etc/passwd also has the user that sshd insists on; nothing is installed.
"""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from machine import free_port


class SshServer:
    """`environment` is what its sessions get, PATH above all. `folder`: where its log goes."""

    def __init__(self, image, client_key, folder, environment):
        self.port = free_port()
        self.keys = tempfile.TemporaryDirectory(prefix="vmferry-ssh-")
        here = pathlib.Path(self.keys.name)
        sshd = image.folder / "sshd"
        (here / "authorized_keys").write_text(client_key)
        self.host_key = here / "host_key"
        set_environment = " ".join(f"{name}={value}" for name, value in environment.items())
        (here / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.host_key}\nAuthorizedKeysFile {here}/authorized_keys\n"
            f"PidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nStrictModes no\n"
            f"SetEnv {set_environment}\n")
        passwd = pathlib.Path("/etc/passwd").read_text()
        if "\nsshd:" not in passwd:
            passwd += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        (here / "passwd").write_text(passwd)
        self.script = (f"mount --bind {here}/passwd /etc/passwd && mkdir -p /run/sshd && "
                       f"exec env LD_LIBRARY_PATH={sshd}/lib {sshd}/sshd -D -e -f {here}/config")
        self.log = folder / "sshd.log"
        self.process = None

    def start(self, host_key):
        """`host_key`: a private key, the text of its file."""
        self.host_key.write_text(host_key)
        self.host_key.chmod(0o600)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["unshare", "--mount", "sh", "-c", self.script],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while "Server listening" not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {self.log.read_text(errors='replace')}")
            time.sleep(0.1)

    def close(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=10)
        self.keys.cleanup()
