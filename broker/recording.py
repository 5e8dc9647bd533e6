"""Recording at the gate: every request and response as a JSON value, handed to whoever wants them (`Sink`), and the
file of `ottla serve --record`.

While anybody records, frames come here first and answers pass a tap; while nobody does, neither exists. A request is
decoded here a second time, so that a recording holds what was asked, whatever a handler makes of it. Secrets are never
handed on. Knows no sockets and no HTTP: who looks on live is control/trace.py. Reading it all back is
ottla/commands/recorded.py.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Protocol

from ottla import __version__
from ottla.broker.cluster import BROKER_RESOURCE
from ottla.broker.config import UnknownSettingError, setting_definition
from ottla.broker.dispatch import CloseConnection
from ottla.broker.errors import StartupError
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import KafkaError, ProtocolError
from ottla.wire.frame import decode_request_header
from ottla.wire.message_json import ToJson, encode_bytes, encode_records, to_json

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.connection import Connection
    from ottla.broker.dispatch import Context, GateParked, Reply
    from ottla.broker.logs import Log
    from ottla.coordinator.timers import Repeating
    from ottla.wire.schema import Message

FORMAT: Final = 1  # of a recording
SECRET: Final = "<secret: not recorded>"  # stands for a field, or for a whole frame

TICK_MS: Final = 250  # how late a recording may be on disk
CHUNK_BYTES: Final = 1 << 18
QUEUED_CHUNKS: Final = 64  # then the broker waits for the disk: a recording has no holes

_HIDDEN: Final[dict[int, frozenset[str]]] = {
    ApiKey.SASL_AUTHENTICATE: frozenset(("authBytes",)),
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: frozenset(("salt", "saltedPassword")),
    ApiKey.CREATE_DELEGATION_TOKEN: frozenset(("hmac",)),
    ApiKey.RENEW_DELEGATION_TOKEN: frozenset(("hmac",)),
    ApiKey.EXPIRE_DELEGATION_TOKEN: frozenset(("hmac",)),
    ApiKey.DESCRIBE_DELEGATION_TOKEN: frozenset(("hmac",)),
}
_WITH_CONFIGS: Final = (ApiKey.ALTER_CONFIGS, ApiKey.INCREMENTAL_ALTER_CONFIGS)
_SECRET_WORDS: Final = ("password", "secret", "jaas")  # in names of configs that Ottla does not know

Line = dict[str, Any]


class Sink(Protocol):
    """Who is told. `records` says how record batches become JSON for it."""

    records: ToJson

    def write(self, line: Line) -> None:
        """One event; the sink may keep `line`, and must not change it."""
        ...

    def flush(self) -> bool:
        """Each TICK_MS. False: it takes no more, and has said why."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class _Peer:
    """A connection as recordings name it."""

    __slots__ = ("connection", "exchange", "number", "sends_tokens")

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.exchange: _Exchange | None = None  # the latest: requests of a connection are answered one after another
        self.sends_tokens = False  # after a SaslHandshake what is no request may be a password


class _Exchange:
    """A request on its way: `line` is what all lines of it begin with."""

    __slots__ = ("is_secret", "line", "since_s")

    def __init__(self, line: Line, since_s: float) -> None:
        self.line = line
        self.since_s = since_s
        self.is_secret = False  # also what the broker says of it


class Recorder:
    """Tells its sinks what passes the gate of `broker`; hangs there while it has any."""

    def __init__(self, broker: Broker, now_s: Callable[[], float]) -> None:
        """`now_s`: a clock fine enough for how long an answer takes."""
        self._broker = broker
        self._now_s = now_s
        self._gate = broker.gate
        self._sinks: list[Sink] = []
        self._peers: dict[Connection, _Peer] = {}
        self._met = 0  # connections so far
        self._asked = 0  # requests so far
        self._tick: Repeating | None = None

    @classmethod
    def of(cls, broker: Broker, now_s: Callable[[], float]) -> Recorder:
        """The one that hangs at the gate of `broker`, or a new one."""
        return broker.gate.recorder or cls(broker, now_s)

    def add(self, sink: Sink) -> None:
        """Tell `sink`, too, from now on."""
        if not self._sinks:
            self._gate.taps.append(self)
            self._gate.recorder = self
            self._tick = self._broker.timers.repeat(TICK_MS, self._look)
        self._sinks.append(sink)
        nodes = [
            {"node": node.id, "ports": [listener.port for listener in node.listeners.values()]}
            for node in self._broker.cluster.nodes.values()
        ]
        head = {
            "kind": "recording",
            "format": FORMAT,
            "ottla": __version__,
            "timeMs": self._broker.clock.wall_ms(),
            "clusterId": self._broker.cluster.cluster_id,
            "nodes": nodes,
        }
        self._tell(head, to=[sink])

    def remove(self, sink: Sink) -> None:
        """Tell it no more, and close it; a no-op for one that is told nothing."""
        if sink not in self._sinks:
            return
        self._tell({"kind": "ended", "timeMs": self._broker.clock.wall_ms()}, to=[sink])
        self._let_go(sink)

    def _let_go(self, sink: Sink) -> None:
        if sink in self._sinks:
            self._sinks.remove(sink)
            sink.close()
        if not self._sinks:
            self._gate.taps = [tap for tap in self._gate.taps if tap is not self]
            self._gate.recorder = None
            self._peers.clear()
            if self._tick is not None:
                self._tick.cancel()

    # ── at the gate ─────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, connection: Connection, view: memoryview, start: int, end: int) -> Reply | GateParked | None:
        """As `Gate.handle`, of a frame that is recorded."""
        if self._gate.taps[-1] is not self:  # others may change an answer, or give it: what they make of it counts
            self._gate.taps = [*(tap for tap in self._gate.taps if tap is not self), self]
        peer = self._peers.get(connection) or self._meet(connection)
        self._request(peer, view[start:end])
        try:
            reply = self._gate.handle(connection, view, start, end, recorded=True)
        except (ProtocolError, CloseConnection) as refusal:
            self._tell_end(peer, str(refusal))
            raise
        if reply is None:
            self._tell_end(peer, None)
        return reply

    def on_request(self, context: Context) -> None:
        """It has been told already."""

    def on_response(self, context: Context, response: Message) -> None:
        """What is about to be sent; after the other taps, so that it is final."""
        peer = self._peers.get(context.connection)
        if peer is None or peer.exchange is None:  # asked before anybody recorded
            return
        line = {
            "kind": "response",
            **peer.exchange.line,
            "version": context.api_version,  # of the answer: an ApiVersions of the future is answered in v0
            **self._timing(peer.exchange),
        }
        self._tell(line, "response", response, context.api_version)

    def on_closed(self, connection: Connection) -> None:
        """It has ended; nothing to tell if it asked nothing."""
        peer = self._peers.pop(connection, None)
        if peer is not None:
            self._tell({"kind": "closed", "connection": peer.number, "timeMs": self._broker.clock.wall_ms()})

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self, connection: Connection) -> _Peer:
        self._met += 1
        peer = self._peers[connection] = _Peer(connection, self._met)
        self._tell(
            {
                "kind": "connected",
                "connection": peer.number,
                "node": connection.node.id,
                "listener": connection.listener.name,
                "peer": f"{connection.host}:{connection.port}",
                "timeMs": self._broker.clock.wall_ms(),
            }
        )
        return peer

    def _request(self, peer: _Peer, frame: memoryview) -> None:
        self._asked += 1
        line: Line = {"n": self._asked, "connection": peer.number, "node": peer.connection.node.id}
        peer.exchange = _Exchange(line, self._now_s())
        head: Line = {}
        key, message, version = -1, None, 0
        try:
            header = decode_request_header(frame)
            key, version = header.api_key, header.api_version
            head = {
                "api": API[key].name,
                "version": version,
                "correlationId": header.correlation_id,
                "clientId": header.client_id,
            }
            if "\ufffd" not in (header.client_id or ""):  # else it may stand for bytes that are no text
                message = API[key].request.decode(frame, version, header.body_offset)
        except (ProtocolError, KafkaError):
            if key < 0:
                key = int.from_bytes(frame[:2], "big", signed=True)
        if message is None and peer.sends_tokens:  # what looks like a header may be some of a password
            peer.exchange.is_secret = True
        else:
            line |= head
        told = {"kind": "request", **line, "timeMs": self._broker.clock.wall_ms()}
        if message is None:
            told["frame"] = SECRET if peer.sends_tokens or _may_hold_secrets(key) else encode_bytes(frame)
        self._tell(told, "request", message, version)
        if key == ApiKey.SASL_HANDSHAKE:
            peer.sends_tokens = True

    def _tell_end(self, peer: _Peer, refusal: str | None) -> None:
        """The request of `peer` gets no answer; a refusal says why the connection closes instead."""
        exchange = peer.exchange
        if exchange is not None:
            line = {"kind": "response", **exchange.line, **self._timing(exchange), "response": None}
            if refusal is not None:
                line["refused"] = SECRET if exchange.is_secret else refusal
            self._tell(line)

    def _timing(self, exchange: _Exchange) -> Line:
        took_s = self._now_s() - exchange.since_s
        return {"timeMs": self._broker.clock.wall_ms(), "durationMs": round(took_s * 1000, 3)}

    def _tell(
        self,
        line: Line,
        name: str = "",
        message: Message | None = None,
        version: int = 0,
        *,
        to: list[Sink] | None = None,
    ) -> None:
        """`line` to all sinks, or `to` some, with `message` as its field `name`."""
        for sink in tuple(self._sinks if to is None else to):
            try:
                if message is None:
                    sink.write(line)
                else:
                    value = to_json(message, version, sink.records)
                    sink.write({**line, name: _without_secrets(type(message).KEY, value)})
            except Exception as error:  # whatever is wrong with recording, clients are served
                self._broker.log.error("recording failed", error)
                self._let_go(sink)

    def _look(self) -> None:
        for sink in tuple(self._sinks):
            if not sink.flush():
                self.remove(sink)


def _may_hold_secrets(key: int) -> bool:
    return key in _HIDDEN or key in _WITH_CONFIGS


def _without_secrets(key: int | None, value: Any) -> Any:
    """`value`, a message in JSON that is ours to change, its secrets replaced."""
    hidden = _HIDDEN.get(key or 0)
    if hidden is not None:
        _hide(value, hidden)
    elif key in _WITH_CONFIGS:
        for resource in value.get("resources", ()):  # an answer has none
            for config in resource["configs"]:
                if config["value"] is not None and _is_secret(resource["resourceType"], config["name"]):
                    config["value"] = SECRET
    return value


def _hide(value: Any, hidden: frozenset[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _hide(item, hidden)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in hidden and item:
                value[name] = SECRET
            else:
                _hide(item, hidden)


def _is_secret(resource_type: int, name: str) -> bool:
    """As Kafka hides them: passwords, and what it does not know of a broker, as the key of somebody's plugin."""
    try:
        if setting_definition(name).sensitive:
            return True
    except UnknownSettingError:
        if resource_type == BROKER_RESOURCE:
            return True
    return any(word in name.lower() for word in _SECRET_WORDS)


class RecordingFile:
    """JSON lines in a file, written by a thread of its own. One that is there is replaced; only its owner may read it.
    Raises StartupError: it cannot be written.

    When the disk takes no more, it ends behind the last whole line, and the log says so.
    """

    def __init__(self, path: str, log: Log) -> None:
        self.records: ToJson = encode_records
        self._path = path
        self._log = log
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
            if hasattr(os, "fchmod") and stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fchmod(self._fd, 0o600)  # of one that was there
        except OSError as error:
            raise StartupError(
                f"cannot write --record {path}: {error.strerror}; give a path in a folder you may write"
            ) from None
        self._lines: list[bytes] = []
        self._size = 0
        self._failure: OSError | None = None
        self._queue: Queue[bytes | None] = Queue(QUEUED_CHUNKS)
        self._thread = Thread(target=self._write_all, name="recording", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Ends in the file within TICK_MS or CHUNK_BYTES."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._lines.append(data)
        self._size += len(data)
        if self._size >= CHUNK_BYTES:
            self._hand_over()

    def flush(self) -> bool:
        """What was written is on its way. False: the disk took it no more."""
        self._hand_over()
        return self._failure is None

    def close(self) -> None:
        """Everything is in the file."""
        self._hand_over()
        self._queue.put(None)
        self._thread.join()
        if self._failure is not None:
            self._log.error("recording ended early", file=self._path, reason=self._failure.strerror)

    def _hand_over(self) -> None:
        if self._lines:
            self._queue.put(b"".join(self._lines))
            self._lines.clear()
            self._size = 0

    def _write_all(self) -> None:
        """The thread."""
        written = 0
        while (chunk := self._queue.get()) is not None:
            if self._failure is not None:
                continue
            done = 0
            try:
                while done < len(chunk):
                    done += os.write(self._fd, chunk[done:] if done else chunk)
                written += done
            except OSError as error:
                self._failure = error
                with suppress(OSError):  # what was cut is no line
                    os.ftruncate(self._fd, written + chunk.rfind(b"\n", 0, done) + 1)
        with suppress(OSError):
            os.close(self._fd)


@contextmanager
def recording(broker: Broker, path: str, now_s: Callable[[], float]) -> Iterator[None]:
    """All that passes the gate of `broker` goes to the file at `path`. Raises StartupError."""
    file = RecordingFile(path, broker.log)
    recorder = Recorder.of(broker, now_s)
    recorder.add(file)
    file.flush()  # whatever happens, the file says what it is
    try:
        yield
    finally:
        recorder.remove(file)
