"""A QMP client for tests: one command at a time over a UNIX socket, events kept."""
import json
import os
import socket
import time


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path, timeout=30, alive=lambda: True):
        """Connects as soon as QEMU listens, for at most `timeout` seconds, or until it is no longer `alive`; the same bound
        for every answer."""
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                if time.monotonic() > deadline or not alive():
                    raise
                time.sleep(0.05)
        self.socket.settimeout(timeout)
        self.file = self.socket.makefile("r", encoding="utf-8")
        self.events = []
        if "QMP" not in self._message():
            raise QmpError("no greeting")
        self("qmp_capabilities")

    def _message(self):
        line = self.file.readline()
        if not line:
            raise QmpError("connection closed")
        return json.loads(line)

    def __call__(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self._message()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"{command}: {message['error']['desc']}")
            else:
                return message["return"]

    def hmp(self, line):
        return self("human-monitor-command", **{"command-line": line}).replace("\r\n", "\n")

    def wait_event(self, name, timeout):
        """The first event of this name that has come or comes within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    return event
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError(f"no event {name} within {timeout} s")
            self.socket.settimeout(left)
            try:
                message = self._message()
            except TimeoutError:
                continue
            if "event" in message:
                self.events.append(message)

    def wait_status(self, wanted, timeout):
        deadline = time.monotonic() + timeout
        while (status := self("query-status")["status"]) != wanted:
            if time.monotonic() > deadline:
                raise QmpError(f"status {status}, waited {timeout} s for {wanted}")
            time.sleep(0.05)

    def pmemsave(self, address, size, path):
        self("pmemsave", val=address, size=size, filename=os.fspath(path))

    def quit(self):
        try:
            self("quit")
        except (QmpError, OSError):
            pass
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()
