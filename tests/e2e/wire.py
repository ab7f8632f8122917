"""The wire between a source and vmferry: it records both directions and can act at a chosen point.

    source ──up──► Wire ──up──► vmferry
           ◄─down──     ◄─down─
"""
import socket
import threading


class Point:
    """Where `action` is called: before byte `offset` of a direction is forwarded, or before `text` is.

    It is called once, in the thread of that direction, which forwards nothing meanwhile."""

    def __init__(self, direction, action, offset=None, text=None):
        assert direction in ("up", "down") and (offset is None) != (text is None)
        self.direction, self.action, self.offset, self.text = direction, action, offset, text
        self.reached = threading.Event()  # the action is over
        self.error = None

    def split(self, seen, data):
        """How many bytes of `data`, which follows `seen` bytes, come before the point; None: it is not in there."""
        if self.reached.is_set():
            return None
        if self.offset is not None:
            return self.offset - seen if seen <= self.offset < seen + len(data) else None
        at = data.find(self.text)
        return at if at >= 0 else None

    def act(self):
        try:
            self.action()
        except Exception as error:  # shown by whoever waits
            self.error = error
        self.reached.set()

    def wait(self, timeout):
        if not self.reached.wait(timeout):
            raise TimeoutError(f"the wire did not come to {self.text or self.offset} ({self.direction}) within {timeout} s")
        if self.error:
            raise self.error


class Wire:
    """Listens on 127.0.0.1:.port and passes one connection on to 127.0.0.1:`target`. Recordings: `folder`/up and /down."""

    def __init__(self, target, folder, points=()):
        self.target, self.points = target, points
        self.files = {name: open(folder / name, "wb") for name in ("up", "down")}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        try:
            source, _ = self.listener.accept()
        except OSError:
            return  # closed
        self.sockets.append(source)
        target = socket.create_connection(("127.0.0.1", self.target))
        self.sockets.append(target)
        pumps = [threading.Thread(target=self._pump, args=arguments, daemon=True)
                 for arguments in (("up", source, target), ("down", target, source))]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        for each in (source, target):
            each.close()

    def _pump(self, name, source, target):
        seen = 0
        try:
            while data := source.recv(1 << 18):
                self.files[name].write(data)
                while data:
                    stops = [(at, point) for point in self.points
                             if point.direction == name and (at := point.split(seen, data)) is not None]
                    if not stops:
                        target.sendall(data)
                        seen += len(data)
                        break
                    at, point = min(stops, key=lambda stop: stop[0])
                    target.sendall(data[:at])
                    seen += at
                    data = data[at:]
                    point.act()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # One end is gone: so is the connection, in both directions.
            self.cut()

    def cut(self):
        """Both ends lose the connection. Within a point's action: what the point is before is not passed on."""
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.cut()
        self.thread.join(timeout=10)
        for file in self.files.values():
            file.close()
