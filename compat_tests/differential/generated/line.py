"""One exchange over a plain socket: any bytes, and what comes of them: an answer, silence, a closed connection."""

from __future__ import annotations

import socket
import struct
from typing import Any, Self

from ottla.wire.apis import API, ApiKey, response_header_version
from ottla.wire.frame import encode_request_header
from ottla.wire.schema import Message

CLIENT_ID = "tester"
_PROBE = 1 << 30  # the correlation id of what is asked behind each request: whether the connection still serves


class SilenceError(Exception):
    """Nothing came in time: neither an answer to the request nor to the one behind it."""


class Line:
    """A connection. `patience_s` is how long silence must last to be one."""

    def __init__(self, port: int, patience_s: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), patience_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: Message, version: int) -> Any:
        """The answer to a sound request."""
        assert request.KEY is not None
        self._socket.sendall(self._frame(request.KEY, version, request.encode(version)))
        frame = self._receive()
        assert frame is not None, f"closed after {request}"
        return _decode(request.KEY, version, frame)

    def play(self, key: int, version: int, body: bytes) -> tuple[Any, bool]:
        """(the answer, or None where the broker gave none; whether the connection was closed, then or before).

        An ApiVersions goes out behind the request, so that no answer (acks=0) is told from a late one.
        Raises SilenceError.
        """
        frame = self._frame(key, version, body)
        probe = encode_request_header(ApiKey.API_VERSIONS, 0, _PROBE, CLIENT_ID)
        self._socket.sendall(frame + struct.pack(">i", len(probe)) + probe)
        answer = None
        while (received := self._receive()) is not None:
            if struct.unpack_from(">i", received)[0] == _PROBE:
                return answer, False
            answer = _decode(key, version, received)
        return answer, True

    def _frame(self, key: int, version: int, body: bytes) -> bytes:
        self._correlation_id += 1
        content = encode_request_header(key, version, self._correlation_id, CLIENT_ID) + body
        return struct.pack(">i", len(content)) + content

    def _receive(self) -> bytes | None:
        """The next frame without its size; None: closed."""
        size = self._exactly(4)
        return None if size is None else self._exactly(struct.unpack(">i", size)[0])

    def _exactly(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            try:
                more = self._socket.recv(size - len(data))
            except TimeoutError:
                raise SilenceError from None
            except ConnectionResetError:
                return None
            if not more:
                return None
            data += more
        return bytes(data)


def _decode(key: int, version: int, frame: bytes) -> Message:
    return API[key].response.decode(frame, version, 4 + response_header_version(key, version))
