"""HTTP/1.1 over trio, by h11: bytes to `Request`, `Reply` to bytes. Knows no route and no broker.

No web page can reach it: a request with an Origin, with a Host that is no name of this machine (DNS rebinding), or with
a body that is not JSON is refused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import h11
import trio

if TYPE_CHECKING:
    from ottla.broker.logs import Log

MAX_BODY_BYTES = 1 << 20
READ_BYTES = 1 << 14
BEAT_S = 10.0  # between signs of life of an answer without end
IDLE_S = 60.0  # of real time: the broker's clock is one of the things that are controlled
LOCAL_NAMES = ("localhost", "host.docker.internal")


class Request:
    """One request. `path` are the segments, decoded; `body` is the JSON value, None if there is none."""

    __slots__ = ("body", "method", "path", "query")

    def __init__(self, method: str, path: list[str], query: dict[str, str], body: Any = None) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body


class Reply:
    """One answer: a status and a JSON value."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: Any, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @classmethod
    def refusal(cls, status: int, sentence: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        """What is wrong and what to do, for a person."""
        return cls(status, {"error": sentence}, headers)


class Stream(Reply):
    """An answer without end: `lines` of JSON as they come, until there are no more or the peer has left. Then `ended`
    is called, once.
    """

    __slots__ = ("ended", "lines")

    def __init__(self, lines: trio.MemoryReceiveChannel[bytes], ended: Callable[[], object]) -> None:
        super().__init__(200, None)
        self.lines = lines
        self.ended = ended


Answer = Callable[[Request], Awaitable[Reply]]
_Whole = tuple[h11.Request, bytes]


class HttpServer:
    """Answers the requests of each connection in order, with `answer`, which must not raise.

    hosts: names by which this machine may be called besides its addresses, `localhost` and names without a dot.
    """

    def __init__(self, answer: Answer, log: Log, *, hosts: Collection[str] = ()) -> None:
        self._answer = answer
        self._log = log
        self._hosts = {host.lower() for host in (*hosts, *LOCAL_NAMES)}

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, until the peer leaves, idles or breaks HTTP."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_BYTES)
        try:
            while True:
                came: _Whole | Reply | None = None
                with trio.move_on_after(IDLE_S):
                    came = await _receive(connection, stream)
                if came is None:
                    return
                reply = came if isinstance(came, Reply) else await self._handle(*came)
                if isinstance(reply, Stream):
                    await _send_lines(connection, stream, reply)
                    return
                await _send(connection, stream, reply)
                if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return  # it asked us to close, or broke the protocol
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.LocalProtocolError):
            return  # the peer went away, that is its right
        except Exception as error:
            self._log.error("control connection failed", error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _handle(self, head: h11.Request, body: bytes) -> Reply:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        method = head.method.decode("latin-1")
        refusal = self._refuse(method, headers)
        if refusal is not None:
            return refusal
        path, _, query = head.target.decode("latin-1").partition("?")
        value = None
        if body:
            try:
                value = json.loads(body)
            except (ValueError, RecursionError) as error:
                return Reply.refusal(400, f"the body is not JSON: {error}")
        pairs = (pair.partition("=") for pair in query.split("&") if pair)
        asked = {unquote(name): unquote(text.replace("+", " ")) for name, _, text in pairs}
        return await self._answer(Request(method, [unquote(part) for part in path.split("/") if part], asked, value))

    def _refuse(self, method: str, headers: dict[str, str]) -> Reply | None:
        """Web pages have no business here."""
        if "origin" in headers:
            return Reply.refusal(403, "requests of web pages (with an Origin header) are refused")
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return Reply.refusal(
                403, f"the Host {host!r} is no name of this broker; use its address, or --advertise that name"
            )
        if method == "GET":
            return None
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return Reply.refusal(415, f"{method} takes JSON; send Content-Type: application/json, also without a body")
        return None

    def _is_ours(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name in self._hosts or (name and "." not in name and ":" not in name):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


async def _receive(connection: h11.Connection, stream: trio.SocketStream) -> _Whole | Reply | None:
    """The next request; the answer to what is none; None if the peer leaves instead."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Reply.refusal(error.error_status_hint, f"not HTTP/1.1: {error}")
        if event is h11.NEED_DATA:
            if head is not None and connection.they_are_waiting_for_100_continue:
                await stream.send_all(_bytes(connection, h11.InformationalResponse(status_code=100, headers=[])))
            connection.receive_data(await stream.receive_some(READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                return Reply.refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return head, bytes(body)
        else:  # ConnectionClosed, PAUSED
            return None


async def _send(connection: h11.Connection, stream: trio.SocketStream, reply: Reply) -> None:
    body = json.dumps(reply.body, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
    headers += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *reply.headers]
    if connection.our_state is h11.ERROR or connection.their_state is h11.ERROR:
        headers.append(("Connection", "close"))
    out = _bytes(connection, h11.Response(status_code=reply.status, headers=headers))
    out += _bytes(connection, h11.Data(data=body)) + _bytes(connection, h11.EndOfMessage())
    await stream.send_all(out)


async def _send_lines(connection: h11.Connection, stream: trio.SocketStream, reply: Stream) -> None:
    """Nothing else is answered on this connection."""
    headers = [("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store"), ("Connection", "close")]

    async def leave(scope: trio.CancelScope) -> None:
        """Cancels when the peer has left; what it says until then is nothing to us."""
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some(READ_BYTES):
                pass
        scope.cancel()

    try:
        await stream.send_all(_bytes(connection, h11.Response(status_code=reply.status, headers=headers)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave, nursery.cancel_scope)
            while True:
                lines = b"\n"  # now and then, so that both sides know of each other
                with trio.move_on_after(BEAT_S):
                    lines = await reply.lines.receive()
                    with suppress(trio.WouldBlock):
                        while len(lines) < READ_BYTES:
                            lines += reply.lines.receive_nowait()
                await stream.send_all(_bytes(connection, h11.Data(data=lines)))
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # it has left
    except* trio.EndOfChannel:
        await stream.send_all(_bytes(connection, h11.EndOfMessage()))
    finally:
        reply.ended()


def _bytes(connection: h11.Connection, event: h11.Event) -> bytes:
    return connection.send(event) or b""
