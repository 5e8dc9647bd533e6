"""One client connection: bytes in, frames to the gate, answers out, one request after another as Kafka does.

Per request no task, cancel scope, channel or lock: a readable socket is drained into the shared receive buffer,
every whole
frame in it is handled at once, and the answers leave in one send. Only here is a request waited for. Knows no API.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ottla.broker.dispatch import CloseConnection, Gate, GateParked, Reply
from ottla.broker.reactor import readable, settled, settled_or_gone, turn, writable
from ottla.log.door import FileSlice
from ottla.wire.errors import ProtocolError

if TYPE_CHECKING:
    from ottla.broker.nodes import Listener
    from ottla.broker.server import Server
    from ottla.wire.repeats import RepeatedProduce

FRAME_TIMEOUT_MS = 30_000  # for a frame to come in whole, and 1 ms more for each
MIN_BYTES_PER_MS = 32  # bytes that came: 32 KB/s are enough
BURST_FRAMES = 8  # then others get their turn
BURST_BYTES = 1 << 20
FIRST_PARTIAL_BYTES = 1 << 16  # memory follows the bytes that came, not the size announced
SLOW_PEER_BYTES = 1 << 16  # are read at a time for a peer whose socket is full

UNKNOWN_SOFTWARE = ("unknown", "unknown")  # of clients that did not say, as in Kafka


def plain_host(address: tuple[Any, ...]) -> str:
    """The host of a socket address; an IPv4 peer on a socket that listens on both families in its own form."""
    return str(address[0]).removeprefix("::ffff:")


class Connection:
    """A connected client. `host` and `port` are the peer's, `local_host` and `local_port` the address it reached us
    at, `listener` and `node` what it reached there; `number` tells which of the broker's it is, from 1 on.
    """

    __slots__ = (
        "_filled",
        "_frame_since_ms",
        "_frames_since_wait",
        "_gate",
        "_out",
        "_partial",
        "_server",
        "_sock",
        "_total",
        "active_ms",
        "close_on_idle",
        "host",
        "listener",
        "local_host",
        "local_port",
        "muted_until_ms",
        "node",
        "number",
        "parked",
        "port",
        "repeated",
        "software",
    )

    def __init__(self, server: Server, gate: Gate, sock: socket.socket, listener: Listener, active_ms: int) -> None:
        self._server = server
        self._gate = gate
        self._sock = sock
        self.listener = listener
        self.node = listener.node
        gate.connected += 1
        self.number = gate.connected
        self._partial: bytearray | None = None  # the frame under way, its 4 size bytes included
        self._filled = 0
        self._total = 0  # bytes of the whole frame, 0 while the size itself is not complete
        self._frame_since_ms = 0  # when the frame under way began
        self._out: Reply = []
        self._frames_since_wait = 0
        self.active_ms = active_ms
        self.repeated: RepeatedProduce | None = None  # what the next request may be like; the gate's
        self.parked = False
        self.muted_until_ms = 0  # by a quota (KIP-219): monotonic; 0 is not at all
        self.close_on_idle = False
        self.software = UNKNOWN_SOFTWARE  # name and version of the client's (KIP-511)
        peer, local = sock.getpeername(), sock.getsockname()
        self.host = plain_host(peer)
        self.port: int = peer[1]
        self.local_host = plain_host(local)
        self.local_port: int = local[1]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._sock.fileno() >= 0

    async def run(self) -> None:
        """Serve until the peer leaves, breaks the protocol or the server stops. Lets nothing out but cancellation."""
        log = self._server.log
        try:
            await self._serve()
        except ProtocolError as error:
            log.warning("connection closed", peer=f"{self.host}:{self.port}", reason=str(error))
            self._flush_last()
        except CloseConnection as error:
            log.info("connection closed", peer=f"{self.host}:{self.port}", reason=str(error))
            if error.last:
                self._out.append(error.last)
                with suppress(OSError):  # the peer went away first
                    await self._flush()
            else:
                self._flush_last()
        except OSError as error:  # the peer went away, that is its right; or `abort`
            log.debug("connection lost", peer=f"{self.host}:{self.port}", reason=str(error))
        except Exception as error:
            log.error("connection failed", error, peer=f"{self.host}:{self.port}")
        finally:
            self._drop_output()
            self._server.budget.give_back(self)
            self._sock.close()
            if self._gate.recorder is not None:
                self._gate.recorder.on_closed(self)

    def stop(self) -> None:
        """Finish what has been received and close; wakes the connection if it idles."""
        self.close_on_idle = True
        with suppress(OSError):  # already gone
            self._sock.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.close_on_idle = True
        with suppress(OSError):  # already gone
            self._sock.shutdown(socket.SHUT_RDWR)

    def is_too_slow(self, now_ms: int) -> bool:
        """Whether a frame has been under way for longer than any honest peer needs."""
        if self._partial is None or self.parked:
            return False
        return now_ms - self._frame_since_ms > FRAME_TIMEOUT_MS + self._filled // MIN_BYTES_PER_MS

    def skip(self, ms: int) -> None:
        """The clock was moved by so much: nobody could have spoken in that time, so nobody was silent."""
        self.active_ms += ms
        self._frame_since_ms += ms

    async def _serve(self) -> None:
        sock = self._sock
        shared = self._server.receive_view
        handle = self._gate.handle
        driver = self._server.driver
        while True:
            if self._partial is None:
                target = shared
            else:
                if self._filled == len(self._partial):
                    await self._grow()
                target = memoryview(self._partial)[self._filled : self._total or 4]
            room = len(target)
            try:
                received = sock.recv_into(target)
            except BlockingIOError:
                received = -1
            if self._partial is not None:
                target.release()
            if received == 0:
                return
            if received > 0:
                self.active_ms = self._server.clock.mono_ms()
                if self._partial is not None:
                    await self._received_more(received)
                elif received > 4 and self._frame_size(shared, 0) == received - 4:
                    # One whole frame, as nearly all are: without the loop for several, 3 us less.
                    self._frames_since_wait += 1
                    reply = handle(self, shared, 4, received)
                    if isinstance(reply, GateParked) or self.muted_until_ms:
                        await self._unhurried(reply)
                    elif reply is not None:
                        self._out = reply
                else:
                    await self._consume(shared, received)
                if self._out:
                    if driver.crowded:
                        await turn()
                    if not self._leaves_at_once():
                        await self._flush()
            if received < room:  # there is no more: asking again would cost a system call to hear it
                if self.close_on_idle:
                    return
                self._frames_since_wait = 0
                await readable()
            elif self._frames_since_wait >= BURST_FRAMES:
                self._frames_since_wait = 0
                await turn()

    async def _received_more(self, received: int) -> None:
        """`received` bytes more of the frame under way are there."""
        partial = self._partial
        assert partial is not None
        self._filled += received
        if self._filled == self._total:
            self._partial = None
            self._server.budget.give_back(self)
            await self._consume(memoryview(partial), self._total)
            self._server.spare_rooms.give(partial)
        elif self._total == 0 and self._filled == 4:
            self._total = 4 + self._frame_size(partial, 0)

    async def _grow(self) -> None:
        """More room for the frame under way: as its bytes arrive, never past its end, within the server's budget."""
        partial = self._partial
        assert partial is not None
        most = max(3 * len(partial), FIRST_PARTIAL_BYTES)
        more = min((self._total or 4) - len(partial), most, len(self._server.receive_view))
        budget = self._server.budget
        if not budget.take(self, more):
            self.parked = True  # the wait is ours: the peer is neither slow nor idle
            try:
                await budget.wait_for(self, more)
            finally:
                self.parked = False
            self.active_ms = self._frame_since_ms = self._server.clock.mono_ms()
        partial.extend(self._server.receive_view[:more])  # whatever is there: it is overwritten before it is read

    def _keep(self, view: memoryview, start: int, end: int) -> None:
        """Copy the beginning of a frame out of the shared buffer, which belongs to others after the next await."""
        self._frame_since_ms = self.active_ms
        self._filled = end - start
        self._total = 4 + self._frame_size(view, start) if self._filled >= 4 else 0
        self._partial = self._server.spare_rooms.take(view[start:end], self._total)
        self._server.budget.hold(self, len(self._partial))

    def _frame_size(self, buffer: memoryview | bytearray, start: int) -> int:
        size = int.from_bytes(buffer[start : start + 4], "big", signed=True)
        if not 0 < size <= self._server.max_request_bytes:
            raise ProtocolError(_describe_bad_size(bytes(buffer[start : start + 4]), size))
        return size

    async def _consume(self, view: memoryview, end: int) -> None:
        """Handle each whole frame of `view[:end]` in order, keep what is left of the last one. The answers are left to
        be sent, but those that others would wait behind."""
        position = 0
        frames = 0
        handled_bytes = 0
        handle = self._gate.handle
        while end - position >= 4:
            start = position + 4
            stop = start + self._frame_size(view, position)
            if stop > end:
                break
            reply = handle(self, view, start, stop)
            handled_bytes += stop - position
            position = stop
            frames += 1
            if isinstance(reply, GateParked) or self.muted_until_ms:
                view, position, end = self._own(view, position, end)
                await self._unhurried(reply)
            elif reply is not None:
                self._out.extend(reply)
            if (frames >= BURST_FRAMES or handled_bytes >= BURST_BYTES) and position < end:
                view, position, end = self._own(view, position, end)
                await self._flush()
                await turn()
                frames = handled_bytes = 0
        if position < end:
            self._keep(view, position, end)
        self._frames_since_wait += BURST_FRAMES if handled_bytes >= BURST_BYTES else frames

    async def _unhurried(self, reply: Reply | GateParked | None) -> None:
        """An answer that has to be waited for, or after which nothing is to be read for a while."""
        if isinstance(reply, GateParked):
            reply = await self._wait(reply)
        if reply is not None:
            self._out.extend(reply)
        if self.muted_until_ms:
            await self._be_mute()

    def _own(self, view: memoryview, position: int, end: int) -> tuple[memoryview, int, int]:
        """What is left to handle, out of the shared buffer if it is there: others receive into that while we wait."""
        if view is not self._server.receive_view:
            return view, position, end
        return memoryview(bytearray(view[position:end])), 0, end - position

    async def _wait(self, parked: GateParked) -> Reply | None:
        """Send the answers so far, and park until the request is settled. Should that end early, it is abandoned."""
        try:
            await self._flush()
            if not parked.pending.settled:
                self.parked = True
                if parked.tethered:
                    await settled_or_gone(parked.pending)
                else:
                    await settled(parked.pending)
                self._frames_since_wait = 0
        except BaseException:
            if parked.abandon is not None:
                parked.abandon()
            raise
        finally:
            self.parked = False
        return self._gate.finish(parked)

    async def _be_mute(self) -> None:
        """The answer leaves at once; what the client sends meanwhile stays in its socket."""
        await self._flush()
        silence = self._gate.mute(self)
        if not silence.settled:
            self.parked = True
            try:
                await settled(silence)
            finally:
                self.parked = False
            self._frames_since_wait = 0

    def _leaves_at_once(self) -> bool:
        """Send a lone answer, as most are, without more ado; whether all of it has left."""
        out = self._out
        data = out[0]
        if len(out) > 1 or not isinstance(data, bytes):
            return False
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return False
        if sent < len(data):
            out[0] = data[sent:]
            return False
        out.clear()
        return True

    async def _flush(self) -> None:
        """Send the answers so far."""
        try:
            if self._out and not self._leaves_at_once():
                await self._send_parts(self._out)
        finally:
            self._drop_output()

    def _drop_output(self) -> None:
        for part in self._out:
            if not isinstance(part, bytes):
                part.release()
        self._out.clear()

    def _flush_last(self) -> None:
        """Answers to the requests before the one that ended the connection still leave, if the peer takes them now."""
        flushing = self._flush()
        with suppress(Exception):  # it is being closed for a reason that has been told; StopIteration: all has left
            flushing.send(None)
        flushing.close()

    async def _send_parts(self, out: Reply) -> None:
        """Gather parts in the server's buffer, send it at once, go on behind what the socket took.

        One copy and one large send cost 130 us a MB of records and reach 4 GB/s; sendfile 290 us and 1.6 GB/s, since
        the peer then copies from scattered pages.
        """
        room = self._server.send_view
        limit = len(room)
        at = skipped = 0  # the part under way, and how much of it has left
        while at < len(out):
            filled, index, start = 0, at, skipped
            while index < len(out) and filled < limit:
                part = out[index]
                if isinstance(part, bytes):
                    taken = min(len(part) - start, limit - filled)
                    room[filled : filled + taken] = part[start : start + taken] if start or taken < len(part) else part
                    ends = start + taken == len(part)
                else:
                    taken = part.read_into(room[filled:limit], start)
                    ends = start + taken == part.nbytes
                filled += taken
                index, start = (index + 1, 0) if ends else (index, start + taken)
            try:
                sent = self._sock.send(room[:filled])
            except BlockingIOError:
                sent = 0
            if sent == filled:
                at, skipped = index, start
                if at < len(out):
                    await turn()
                continue
            skipped += sent
            while skipped >= (size := _size(out[at])):
                skipped -= size
                at += 1
            limit = max(SLOW_PEER_BYTES, min(sent, len(room)))  # what it does not take now would be read again
            await writable()
            self.active_ms = self._server.clock.mono_ms()  # the peer reads: it lives


def _size(part: bytes | FileSlice) -> int:
    return len(part) if isinstance(part, bytes) else part.nbytes


def _describe_bad_size(first: bytes, size: int) -> str:
    """What a peer that does not speak Kafka probably meant, from the four bytes where a frame size should be."""
    if first[:2] == b"\x16\x03":
        return "a TLS client hello on a plaintext listener"
    if first in (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "):
        return "an HTTP request on a Kafka listener"
    return f"a frame of {size} bytes announced (socket.request.max.bytes, or not the Kafka protocol)"
