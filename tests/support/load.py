"""What else the machine computed while a guest ran. Whoever judges a guest's clocks asks here first: under an emulator the guest is
late where its host is.

    load.meter().most(since)       processors that others kept busy, in the worst second since then

What these tests start carries MARK in its environment, also when nobody waits for it any more; everything else is others' work,
whatever its priority, and so is the time that the machine itself was not given (steal).

    others' time = busy time of the processors + steal         /proc/stat
                   − time of our processes and their ended children    /proc/PID/stat
"""
import collections
import contextlib
import functools
import os
import pathlib
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MARK = "VMFERRY_TESTS"  # its value: the checkout whose tests they are
os.environ.setdefault(MARK, str(ROOT))
# Processors: with less of others' work than this the machine counts as idle. docs/testbed.md has what was measured.
IDLE = 0.25
EVERY = 0.5  # seconds
WINDOW = 1.0
KEPT = 4096  # samples: half an hour
TICK = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """/proc/PID/stat from its third field on, the state; see proc(5)."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def processes():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


class Processes:
    """The time that our own processes have used, by and by: a process that ends has its time in its parent's from then on, or, if
    that was not waiting for it, nowhere."""

    def __init__(self):
        self.known = {}  # (pid, start time) → (own, parent's pid, seconds with ended children)
        self.lost = 0.0

    def seconds(self):
        """Of all since the first call, those included that have ended."""
        found = {}
        for pid in processes():
            with contextlib.suppress(OSError, ValueError):
                identity, parent, seconds = self._stat(pid)
                found[identity] = (self._is_own(identity, parent, found), parent, seconds)
        alive = {pid for (pid, _), (own, *_) in found.items() if own}
        parents = {pid: parent for (pid, _), (_, parent, _) in self.known.items()}
        for identity, (own, parent, seconds) in self.known.items():
            if own and identity not in found and not self._is_waited_for(parent, alive, parents):
                self.lost += seconds
        self.known = found
        return self.lost + sum(seconds for own, _, seconds in found.values() if own)

    @staticmethod
    def _stat(pid):
        fields = stat(pid)
        return (pid, int(fields[19])), int(fields[1]), sum(map(int, fields[11:15])) / TICK

    def _is_own(self, identity, parent, found):
        pid, _ = identity
        if pid == os.getpid():
            return True
        with contextlib.suppress(OSError):
            for word in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if word.startswith(MARK.encode() + b"="):
                    return word == f"{MARK}={os.environ[MARK]}".encode()
        # Its environment may be one that it was given in our place.
        if identity in self.known:
            return self.known[identity][0]
        return any(own for (each, _), (own, *_) in [*found.items(), *self.known.items()] if each == parent)

    @staticmethod
    def _is_waited_for(parent, alive, parents):
        """Some ancestor that lives has its time, or will have."""
        seen = set()
        while parent not in alive and parent in parents and parent not in seen:
            seen.add(parent)
            parent = parents[parent]
        return parent in alive


def busy_seconds():
    """Of all processors together since the machine started, steal included."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICK


class Meter:
    """Looks twice a second, in a thread of its own."""

    def __init__(self):
        self.processes = Processes()
        self.samples = collections.deque(maxlen=KEPT)  # (time.monotonic(), others' seconds so far)
        self.lock = threading.Lock()
        self.look()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            time.sleep(EVERY)
            self.look()

    def look(self):
        with self.lock:
            own = self.processes.seconds()
            self.samples.append((time.monotonic(), busy_seconds() - own))

    def _since(self, moment):
        self.look()
        with self.lock:
            samples = list(self.samples)
        # One before it as well, as work is seen at its end.
        first = max((index for index, (at, _) in enumerate(samples) if at <= moment), default=0)
        return samples[first:]

    def most(self, since):
        """Processors that others kept busy in the worst WINDOW since that moment of time.monotonic()."""
        samples, worst = self._since(since), 0.0
        for index, (begin, before) in enumerate(samples):
            later = next(((at, used) for at, used in samples[index + 1:] if at - begin >= WINDOW), None)
            if later:
                worst = max(worst, (later[1] - before) / (later[0] - begin))
        return worst


@functools.cache
def meter():
    return Meter()
