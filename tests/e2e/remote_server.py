"""`vmferry serve` inside a host of the test bed, and the lines that it prints."""
import json
import shlex
import time

from machine import HostError

VMFERRY = "/testbed/vmferry/vmferry"


class RemoteServer:
    """In a Machine that is up; its files are in `folder` there. `port`: where a source reaches it."""

    def __init__(self, machine, folder, options, port):
        self.machine, self.folder, self.port = machine, folder, port
        words = shlex.join(map(str, options))
        self.machine.start(f"echo $BASHPID > {folder}/serve.pid; exec {VMFERRY} serve --json {words} 2>{folder}/serve.log",
                           f"{folder}/serve.json")
        deadline = time.monotonic() + 60
        while not self.lines:
            if time.monotonic() > deadline:
                raise HostError(f"vmferry serve did not start: {self.machine.run(f'cat {folder}/serve.log').text}")
            time.sleep(0.5)

    @property
    def lines(self):
        text = self.machine.run(f"cat {self.folder}/serve.json").text
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    def ends(self):
        return [line for line in self.lines if line.get("event") == "over"]

    def close(self):
        self.machine.run(f"kill $(cat {self.folder}/serve.pid)")
