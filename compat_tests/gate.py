"""A counting TCP gate between clients and a broker: every request that passes is seen, none is changed, some get lost.

It makes claims such as "no JoinGroup was sent" checkable from outside the broker. The broker must advertise the gate.
"""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from compat_tests.harness import DEADLINE_S

PRODUCE = 0
METADATA, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 3, 11, 12, 13, 14
_KEPT = {METADATA, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP}


@dataclass(frozen=True)
class Request:
    """One request as it passed. `frame` is kept for group requests only: header and body without the size."""

    at_s: float
    api_key: int
    api_version: int
    frame: bytes


class Gate:
    """Listens on 127.0.0.1:`port` and forwards to `upstream_port`, which may be set later and may come and go."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.upstream_port = 0
        self.requests: list[Request] = []
        self.connections = 0  # accepted and forwarded, ever
        self.turned_away = 0  # closed at once, ever: the broker was away
        self._losses: Counter[int] = Counter()  # api key -> how many requests are still to get lost
        self._lost_answers: Counter[int] = Counter()  # and how many are to be carried out and never answered
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """HOST:PORT for clients and for the broker to advertise."""
        return f"127.0.0.1:{self.port}"

    def mark(self) -> int:
        """A position in `requests`, for `since`."""
        with self._changed:
            return len(self.requests)

    def since(self, mark: int, api_key: int) -> list[Request]:
        """The requests of one API that passed after the mark."""
        with self._changed:
            return [request for request in self.requests[mark:] if request.api_key == api_key]

    def counts(self, mark: int = 0) -> Counter[int]:
        """How often each api key passed after the mark."""
        with self._changed:
            return Counter(request.api_key for request in self.requests[mark:])

    def lose(self, api_key: int, count: int) -> None:
        """The next requests of that API end their connections in place of reaching the broker."""
        with self._changed:
            self._losses[api_key] = count

    def lose_answers(self, api_key: int, count: int) -> None:
        """The next requests of that API reach the broker; their connections end in place of the answer."""
        with self._changed:
            self._lost_answers[api_key] = count

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Waits until the condition holds; it is looked at again after each request and each turning away."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise AssertionError(f"not at the gate within {timeout_s:.0f} s: {what}")

    def close(self) -> None:
        """Closes everything."""
        self._listener.close()
        for one in list(self._sockets):
            _shut(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(("127.0.0.1", self.upstream_port), timeout=10)
            except OSError:  # the broker is away: the client sees a closed connection and tries again
                client.close()
                with self._changed:
                    self.turned_away += 1
                    self._changed.notify_all()
                continue
            upstream.settimeout(None)
            for one in (client, upstream):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.add(one)
            with self._changed:
                self.connections += 1
            deaf = threading.Event()  # the client hears no more: the next answer ends the connection
            threading.Thread(target=self._pump_requests, args=(client, upstream, deaf), daemon=True).start()
            threading.Thread(target=self._pump_answers, args=(upstream, client, deaf), daemon=True).start()

    def _pump_requests(self, client: socket.socket, upstream: socket.socket, deaf: threading.Event) -> None:
        pending = bytearray()
        with contextlib.suppress(OSError):
            while chunk := client.recv(1 << 16):
                pending += chunk
                self._take_frames(pending, deaf)
                upstream.sendall(chunk)
        self._end(client, upstream)

    def _pump_answers(self, upstream: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (chunk := upstream.recv(1 << 16)) and not deaf.is_set():
                client.sendall(chunk)
        self._end(client, upstream)

    def _end(self, *sockets: socket.socket) -> None:
        for one in sockets:
            _shut(one)
            self._sockets.discard(one)

    def _take_frames(self, pending: bytearray, deaf: threading.Event) -> None:
        while len(pending) >= 4:
            size = int.from_bytes(pending[:4], "big", signed=True)
            if size < 8 or len(pending) < 4 + size:
                return
            api_key, api_version = struct.unpack_from(">hh", pending, 4)
            frame = bytes(pending[4 : 4 + size]) if api_key in _KEPT else b""
            del pending[: 4 + size]
            with self._changed:
                if self._losses[api_key] > 0:
                    self._losses[api_key] -= 1
                    raise ConnectionError("lost")
                if self._lost_answers[api_key] > 0:
                    self._lost_answers[api_key] -= 1
                    deaf.set()
                self.requests.append(Request(time.monotonic(), api_key, api_version, frame))
                self._changed.notify_all()


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
