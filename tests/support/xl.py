"""xl's sending side, for tests: what `xl migrate` does at its end of the wire (tools/xl/xl_migrate.c)."""
import subprocess

BANNER = b"xl migration receiver ready, send binary domain data.\n"
READY = b"domain received, ready to unpause\0"
GO = b"domain is yours, you are cleared to unpause\0"
REPORT = b"my copy unpause results are as follows\0"


def recorded(guest):
    """The stream of a captured guest, without the permission that a recording ends with."""
    data = subprocess.run(["zstd", "-dcq", str(guest.stream)], stdout=subprocess.PIPE, check=True).stdout
    return data.removesuffix(GO)


class Source:
    """`send` and `receive` move bytes; `receive(n)` returns less than n only at the end."""

    def __init__(self, send, receive):
        self.send, self.receive = send, receive

    @classmethod
    def over(cls, connection):
        def receive(size):
            got = b""
            try:
                while len(got) < size and (more := connection.recv(size - len(got))):
                    got += more
            except ConnectionResetError:
                pass
            return got
        return cls(connection.sendall, receive)

    def expect(self, message):
        got = self.receive(len(message))
        if got != message:
            raise AssertionError(f"expected {message!r}, got {got!r}")

    def migrate(self, stream):
        """Plays the whole protocol; what happened, as xl would tell: "resumes" (no ready came, or given back),
        "destroys" (it runs at the target), "suspended" (failed badly)."""
        self.expect(BANNER)
        try:
            self.send(stream)
        except OSError:
            return "resumes"
        got = self.receive(len(READY))
        if got != READY:
            return "resumes"
        self.send(GO)
        got = self.receive(len(REPORT) + 1)
        if got[:-1] != REPORT:
            return "suspended"
        if got[-1] == 0:
            return "destroys"
        return "resumes" if self.receive(len(GO)) == GO else "suspended"


def rename(stream, old, new):
    """Another guest's name (of the same length) in the configuration."""
    assert len(old) == len(new)
    head, rest = stream[:4096], stream[4096:]
    key = b'"name": "' + old.encode() + b'"'
    assert head.count(key) == 1
    return head.replace(key, b'"name": "' + new.encode() + b'"') + rest
