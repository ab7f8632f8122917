"""A local copy, which grows, of a file in a host of the test bed."""
import pathlib
import threading


class HostFile:
    """`machine`: anything with Machine.run. The file at `remote` need not exist yet. `seen`: so many of its bytes are left out.
    close() ends the copying."""

    def __init__(self, machine, remote, path, seen=0):
        self.machine, self.remote, self.path, self.seen = machine, remote, pathlib.Path(path), seen
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._copy, daemon=True)
        self.thread.start()

    def _copy(self):
        with open(self.path, "wb") as copy:
            while not self.stop.wait(0.1):
                try:
                    more = self.machine.run(f"tail -c +{self.seen + 1} {self.remote} 2>/dev/null", timeout=60).output
                except (OSError, RuntimeError):
                    continue  # a slow host; the next look gets it
                copy.write(more)
                copy.flush()
                self.seen += len(more)

    def close(self):
        self.stop.set()
        self.thread.join(timeout=70)
