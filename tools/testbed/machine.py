"""A test host that runs: started, asked, stopped. Its files are in build/testbed/run/NAME:

    pid           of its QEMU
    port          of the host's root shell, and of its port 4445, on 127.0.0.1
    overlay       what the host has written to its disk; gone after `down`
    payload       the disk that the host mounts at /testbed
    console       all that the host wrote to its console
    console.sock  the same, live, and for typing
    monitor       QEMU's own, for people
    qemu.log      QEMU's last words
"""
import fcntl
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time

import hosts
from image import BUILD, Image

START_SECONDS = 600  # a loaded machine takes minutes


class HostError(Exception):
    """The host, or the command in it, did not do what was asked; the text says what."""


class Result:
    """What a command left: its exit code, and stdout and stderr in one."""

    def __init__(self, command, code, output):
        self.command, self.code, self.output = command, code, output

    @property
    def text(self):
        return self.output.decode(errors="replace")

    def check(self):
        if self.code != 0:
            raise HostError(f"{self.command!r} ended with {self.code}: {self.text[-2000:]}")
        return self


class Machine:
    def __init__(self, name):
        if name not in hosts.HOSTS:
            raise HostError(f"no host is called {name!r}; there are {', '.join(hosts.HOSTS)}")
        self.host = hosts.HOSTS[name]
        self.image = Image(self.host)
        self.folder = BUILD / "run" / name
        self.console = self.folder / "console"

    def pid(self):
        """QEMU's, or None. A number that another process has by now is not taken for it."""
        try:
            pid = int((self.folder / "pid").read_text())
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid if str(self.folder / "overlay").encode() in command else None

    def port(self):
        """Where its root shell answers, on 127.0.0.1."""
        return int((self.folder / "port").read_text().split()[0])

    def service_port(self):
        """Where its port 4445 answers, on 127.0.0.1."""
        return int((self.folder / "port").read_text().split()[1])

    def is_ready(self):
        if self.pid() is None:
            return False
        try:
            return self.run("true", timeout=10).code == 0
        except (OSError, HostError):
            return False

    def up(self, payload=None, say=lambda text: None):
        """Builds what is missing, starts the host and waits until its shell answers. `payload`: a folder whose content
        the host finds in /testbed. A host that runs is left as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.pid() is None:
                self.image.build()
                self._start(payload)
            say(f"{self.host.name} starts; its console is {self.console}")
            deadline = time.monotonic() + START_SECONDS
            while not self.is_ready():
                if self.pid() is None:
                    raise HostError(f"{self.host.name}: QEMU ended: {(self.folder / 'qemu.log').read_text()[-1000:]}"
                                    f"\n{self.console_end()}")
                if time.monotonic() > deadline:
                    raise HostError(f"{self.host.name} was not ready within {START_SECONDS} s:\n{self.console_end()}")
                time.sleep(1)
        return self

    def _start(self, payload):
        for name in ("overlay", "payload", "console", "console.sock", "monitor", "pid"):
            (self.folder / name).unlink(missing_ok=True)
        overlay = self.folder / "overlay"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image.disk, overlay], check=True)
        drives = ["-drive", f"file={overlay},if=virtio,format=qcow2,cache=unsafe"]
        if payload:
            pack(payload, self.folder / "payload")
            drives += ["-drive", f"file={self.folder / 'payload'},if=virtio,format=raw,cache=unsafe"]
        port, service = free_port(), free_port()
        (self.folder / "port").write_text(f"{port} {service}\n")
        with open(self.folder / "qemu.log", "ab") as log:
            subprocess.Popen(
                ["qemu-system-x86_64", "-name", self.host.name, "-nodefaults", "-accel", "tcg,thread=multi,tb-size=512",
                 "-cpu", hosts.CPU, "-m", str(self.host.memory_mib), "-display", "none", "-no-reboot",
                 *map(str, hosts.boot_options(self.host, self.image)), *drives,
                 "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:2323,hostfwd=tcp:127.0.0.1:{service}-:4445", 
                 "-device", "virtio-net-pci,netdev=n0",
                 "-chardev", f"socket,id=c0,path=console.sock,server=on,wait=off,logfile={self.console}",
                 "-serial", "chardev:c0", "-monitor", "unix:monitor,server=on,wait=off",
                 "-pidfile", self.folder / "pid"],
                # The names of sockets are short in their folder, wherever that is.
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while self.pid() is None and time.monotonic() < deadline:
            time.sleep(0.1)

    def down(self):
        """Ends the host, as pulling its plug does, and forgets what it wrote."""
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while self.pid() == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass  # another process started it
                time.sleep(0.1)
        for name in ("overlay", "payload"):
            (self.folder / name).unlink(missing_ok=True)

    def run(self, command, stdin=b"", timeout=300):
        """A shell command in the host. `stdin` is what it reads. Raises HostError when the host does not answer."""
        # The shell reads its commands byte by byte, so what follows the line is the command's own input.
        end = secrets.token_hex(8)
        source = f"head -c {len(stdin)} |" if stdin else ""
        reads = "" if stdin else "</dev/null"
        script = f"{source} ( {command}\n) {reads} 2>&1; echo {end} $?\n".encode()
        with socket.create_connection(("127.0.0.1", self.port()), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(script + stdin + b"exit\n")
            output = bytearray()
            try:
                while chunk := connection.recv(1 << 16):
                    output += chunk
            except TimeoutError:
                raise HostError(f"{command!r}: no answer for {timeout} s in {self.host.name}; so far: "
                                f"{bytes(output[-1000:])!r}") from None
        body, mark, code = bytes(output).rpartition(end.encode() + b" ")
        if not mark:
            raise HostError(f"{command!r}: {self.host.name} closed the connection; so far: {bytes(output[-1000:])!r}")
        return Result(command, int(code), body)

    def start(self, command, log):
        """A shell command that goes on in the host by itself; its output goes to the host's file `log`, and its exit code
        to `log`.code when it has ended."""
        self.run(f"rm -f {log}.code; setsid bash -c {quote(f'( {command} ); echo $? > {log}.new; mv {log}.new {log}.code')} "
                 f"</dev/null >{log} 2>&1 &").check()

    def put(self, source, target):
        data = pathlib.Path(source).read_bytes()
        self.run(f"cat > {quote(target)}" if data else f": > {quote(target)}", stdin=data).check()

    def get(self, source, target):
        pathlib.Path(target).write_bytes(self.run(f"cat {quote(source)}").check().output)

    def console_end(self, lines=25):
        if not self.console.exists():
            return ""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])


def quote(text):
    return "'" + str(text).replace("'", "'\\''") + "'"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pack(folder, target):
    """A folder → an ext4 image with a little room."""
    used = sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, "-m", "0", "-O", "^has_journal", target,
                    f"{used // (1 << 20) * 5 // 4 + 32}M"], check=True, stdout=subprocess.DEVNULL)


def needed(binary, root="/"):
    """Name → path of the libraries beside a program that a plain Debian host does not have. `root`: of the system that it was
    built in."""
    inside = "/" / pathlib.Path(binary).relative_to(root)
    listing = subprocess.run(["chroot", root, "ldd", inside], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in listing.splitlines():
        name, _, rest = line.strip().partition(" => ")
        # The C and C++ run-time libraries only grow; a newer host's own serve.
        if rest and name.split(".so")[0] not in ("libc", "libm", "libstdc++", "libgcc_s"):
            found[name] = pathlib.Path(root) / rest.split()[0].lstrip("/")
    return found


def vmferry_payload(binary, folder):
    """Puts vmferry into `folder`, as `folder`/vmferry, with those libraries beside it that a plain Debian host does not have:
    what is built on Debian 12 runs on 13 as well."""
    put_program(binary, folder / "vmferry", folder / "lib", needed(binary).values())


def libxl_receive_payload(binary, folder, root="/"):
    """Puts vmferry-libxl-receive there as well, with only what it asks for itself, and nothing of Xen's: libxenlight and what
    belongs to it are the host's own. `root`: of the system that it was built in."""
    asked = subprocess.run(["objdump", "-p", binary], check=True, capture_output=True, text=True).stdout
    put_program(binary, folder / "vmferry-libxl-receive", folder / "libxl-lib",
                [path for name, path in needed(binary, root).items()
                 if not name.startswith(("libxen", "libxl")) and f"NEEDED               {name}\n" in asked])


def put_program(binary, command, libraries, paths):
    """The libraries are named to the loader and not in the environment, which device models and hotplug scripts inherit."""
    libraries.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, libraries)
    shutil.copy(binary, f"{command}.bin")
    command.write_text('#!/bin/bash\nd=$(dirname "$(readlink -f "$0")")\n'
                       f'exec /lib64/ld-linux-x86-64.so.2 --library-path "$d/{libraries.name}" --argv0 "$0" '
                       f'"$d/{command.name}.bin" "$@"\n')
    command.chmod(0o755)
