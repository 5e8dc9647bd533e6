"""A recording played to a broker: each connection of it is one of ours, requests leave in the order in which they were
taken, and none before the answers that had come by then. Knows nothing of flags and of how results are shown.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ottla.commands.base import CommandError
from ottla.commands.comparing import Difference, Matching, error_codes
from ottla.commands.recorded import Line, Recording, has_secrets
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import RETRIABLE, KafkaError, ProtocolError
from ottla.wire.frame import decode_response_header, encode_request
from ottla.wire.message_json import decode_bytes, from_json, to_json
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse

# What waits at the broker has arrived there before others ask: they are kept back as long as then, within these.
LEAST_SETTLE_MS: Final = 2
MOST_SETTLE_MS: Final = 20
RETRY_S: Final = 0.1
_METADATA_VERSION: Final = 1
_READ_BYTES: Final = 1 << 18
_SIZE_BYTES: Final = 4

ANSWERED: Final = "an answer"
CLOSED: Final = "the connection closed"
SILENCE: Final = "no answer"
_KEYS: Final = {spec.name: spec for spec in API.values()}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it was recorded."""

    n: int
    connection: int
    api: str
    version: int
    client_id: str

    @classmethod
    def of(cls, line: Line) -> Exchange:
        """What a line says about its request."""
        return cls(
            line["n"], line["connection"], line.get("api") or "?", line.get("version", 0), line.get("clientId") or ""
        )


@dataclass(slots=True)
class Result:
    """How the playing of a recording went."""

    played: int = 0
    different: int = 0
    not_played: list[tuple[Exchange, str]] = field(default_factory=list)


class _Peer:
    """A connection of the recording, as ours."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.sock = socket.create_connection(address, timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.received = bytearray()
        self.to_send = bytearray()
        self.has_ended = False

    def frame(self) -> bytes | None:
        """The next whole frame that came."""
        if len(self.received) < _SIZE_BYTES:
            return None
        end = _SIZE_BYTES + int.from_bytes(self.received[:_SIZE_BYTES], "big")
        if len(self.received) < end:
            return None
        frame = bytes(self.received[_SIZE_BYTES:end])
        del self.received[:end]
        return frame


class _Asked:
    """A request under way."""

    __slots__ = ("asked_ms", "exchange", "frame", "key", "peer", "sent_s")

    def __init__(self, exchange: Exchange, key: int, frame: bytes, peer: _Peer, asked_ms: int, sent_s: float) -> None:
        self.exchange = exchange
        self.asked_ms = asked_ms  # as recorded
        self.key = key
        self.frame = frame
        self.peer = peer
        self.sent_s = sent_s


Tell = Callable[[Exchange, list[Difference]], None]


class Player:
    """Plays to the broker at `address`, whose cluster may have more nodes. `tell` hears of each exchange that was
    played, and what was different.
    """

    def __init__(
        self, address: tuple[str, int], matching: Matching, tell: Tell, *, timeout_s: float, retry_s: float
    ) -> None:
        self._addresses: dict[int, tuple[str, int]] = {}  # by the node as it was recorded
        self._address = address
        self._matching = matching
        self._tell = tell
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._selector = selectors.DefaultSelector()
        self._peers: dict[int, _Peer] = {}
        self._asked: dict[int, _Asked] = {}  # by number, until answered
        self.result = Result()

    def play(self, recording: Recording, *, real_time: bool = False) -> Result:
        """All of it; with `real_time` no request leaves earlier, counted from the first, than it did then. Raises
        CommandError.
        """
        self._find_nodes(recording.head)
        origin_s: float | None = None
        try:
            for line in recording.lines():
                if line["kind"] == "request":
                    if real_time:
                        at_s = line.get("timeMs", 0) / 1000
                        origin_s = time.monotonic() - at_s if origin_s is None else origin_s
                        self._pump(origin_s + at_s, lambda: False)
                    self._ask(line)
                elif line["kind"] == "response":
                    self._hear(line)
                elif line["kind"] == "closed":
                    self._close(line["connection"])
        finally:
            for number in tuple(self._peers):
                self._close(number)
            self._selector.close()
        return self.result

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, line: Line) -> None:
        exchange = Exchange.of(line)
        if has_secrets(line):
            self._skip(exchange, "it holds a secret, which is not recorded")
            return
        key = -1
        try:
            if "frame" in line:
                content = decode_bytes(line["frame"])
                frame = len(content).to_bytes(_SIZE_BYTES, "big") + content
                key = int.from_bytes(content[:2], "big", signed=True)
            else:
                spec = _KEYS[line["api"]]
                key = spec.key
                request = from_json(spec.request, self._matching.translate(line["request"]), exchange.version)
                frame = encode_request(key, exchange.version, line["correlationId"], line["clientId"], request)
        except (KeyError, ValueError, TypeError, struct.error, KafkaError) as error:
            self._skip(exchange, f"it is no request: {error}")
            return
        asked_ms = line.get("timeMs", 0)
        self._let_settle(exchange.connection, asked_ms)
        peer = self._peers.get(exchange.connection)
        if peer is None or peer.has_ended:
            peer = self._connect(exchange.connection, line["node"])
        self._send(peer, frame)
        self._asked[exchange.n] = _Asked(exchange, key, frame, peer, asked_ms, time.monotonic())

    def _skip(self, exchange: Exchange, reason: str) -> None:
        self.result.not_played.append((exchange, reason))

    def _let_settle(self, connection: int, asked_ms: int) -> None:
        """What others asked has arrived before something that was asked at `asked_ms`, then."""
        for other in tuple(self._asked.values()):
            if other.exchange.connection != connection:
                gap_ms = min(max(asked_ms - other.asked_ms, LEAST_SETTLE_MS), MOST_SETTLE_MS)
                self._pump(other.sent_s + gap_ms / 1000, lambda: False)

    def _connect(self, connection: int, node: int) -> _Peer:
        self._close(connection)
        address = self._addresses.get(node, self._address)
        try:
            peer = _Peer(address, self._timeout_s)
        except OSError as error:
            raise CommandError(
                f"cannot connect to {address[0]}:{address[1]} ({error.strerror or error}); is a broker there?"
            ) from None
        self._peers[connection] = peer
        self._selector.register(peer.sock, selectors.EVENT_READ, peer)
        return peer

    def _send(self, peer: _Peer, frame: bytes) -> None:
        peer.to_send += frame
        self._write(peer)
        self._pump(time.monotonic() + self._timeout_s, lambda: not peer.to_send or peer.has_ended)

    def _close(self, connection: int) -> None:
        peer = self._peers.pop(connection, None)
        if peer is not None:
            self._end(peer)
            for n in [n for n, asked in self._asked.items() if asked.peer is peer]:
                del self._asked[n]

    # ── hearing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, line: Line) -> None:
        asked = self._asked.pop(line["n"], None)
        if asked is None:  # not played
            return
        if "refused" in line:
            self._expect_end(asked)
        elif line["response"] is None:
            self._count(asked.exchange, [])
        else:
            self._count(asked.exchange, self._differences(asked, line))

    def _differences(self, asked: _Asked, line: Line) -> list[Difference]:
        before, version = line["response"], line.get("version", asked.exchange.version)
        until_s = time.monotonic() + self._retry_s
        while True:
            after = self._answer(asked, version, line.get("durationMs", 0) / 1000)
            if not isinstance(after, dict):
                return [Difference("", ANSWERED, after)]
            if time.monotonic() > until_s or not _comes_later(before, after) or self._is_ahead(asked):
                break
            self._pump(time.monotonic() + RETRY_S, lambda: False)
            self._send(asked.peer, asked.frame)
        return [] if has_secrets(before) else self._matching.compare(asked.exchange.api, before, after)

    def _answer(self, asked: _Asked, version: int, took_s: float) -> Any:
        """As JSON; a text that says what came instead."""
        frame = self._await_frame(asked.peer, took_s)
        if isinstance(frame, str):
            return frame
        try:
            _, body = decode_response_header(frame, asked.key, version)
            return to_json(API[asked.key].response.decode(frame, version, body), version)
        except (ProtocolError, KafkaError) as error:
            return f"no answer of version {version}: {error}"

    def _await_frame(self, peer: _Peer, took_s: float) -> bytes | str:
        found: list[bytes] = []

        def arrived() -> bool:
            frame = peer.frame()
            if frame is not None:
                found.append(frame)
            return frame is not None or peer.has_ended

        self._pump(time.monotonic() + took_s + self._timeout_s, arrived)
        if found:
            return found[0]
        return CLOSED if peer.has_ended else SILENCE

    def _is_ahead(self, asked: _Asked) -> bool:
        """Whether the connection has asked more: then it cannot ask this again."""
        return any(other.peer is asked.peer for other in self._asked.values())

    def _expect_end(self, asked: _Asked) -> None:
        frame = self._await_frame(asked.peer, 0)
        heard = ANSWERED if isinstance(frame, bytes) else frame
        self._count(asked.exchange, [] if heard == CLOSED else [Difference("", CLOSED, heard)])

    def _count(self, exchange: Exchange, differences: list[Difference]) -> None:
        self.result.played += 1
        self.result.different += bool(differences)
        self._tell(exchange, differences)

    # ── sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pump(self, until_s: float, is_done: Callable[[], bool]) -> None:
        """Read and write what can be until `is_done`, or the time (monotonic) has come."""
        while not is_done():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            if not self._selector.get_map():
                time.sleep(left_s)
                return
            for key, events in self._selector.select(left_s):
                peer: _Peer = key.data
                if events & selectors.EVENT_WRITE:
                    self._write(peer)
                if events & selectors.EVENT_READ and not peer.has_ended:
                    self._read(peer)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        peer.received += data
        if not data:
            self._end(peer)

    def _write(self, peer: _Peer) -> None:
        try:
            sent = peer.sock.send(peer.to_send)
            del peer.to_send[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._end(peer)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.to_send else 0)
        self._selector.modify(peer.sock, events, peer)

    def _end(self, peer: _Peer) -> None:
        if not peer.has_ended:
            peer.has_ended = True
            self._selector.unregister(peer.sock)
            peer.sock.close()

    def _find_nodes(self, head: Line) -> None:
        """Where the nodes are that were recorded: theirs by order of id. A lone one is where we were told."""
        recorded = sorted(node["node"] for node in head.get("nodes", ()))
        peer = self._connect(0, 0)
        self._send(
            peer, encode_request(ApiKey.METADATA, _METADATA_VERSION, 0, "ottla-replay", MetadataRequest(topics=[]))
        )
        frame = self._await_frame(peer, 0)
        self._close(0)
        try:
            if isinstance(frame, str):
                raise ProtocolError(frame)
            answer = MetadataResponse.decode(frame, _METADATA_VERSION, _SIZE_BYTES)
        except ProtocolError as error:
            raise CommandError(
                f"{self._address[0]}:{self._address[1]} is no Kafka broker ({error}); name another"
            ) from None
        nodes = sorted(answer.brokers, key=lambda node: node.node_id)
        if len(nodes) > 1:
            self._addresses = {before: (node.host, node.port) for before, node in zip(recorded, nodes, strict=False)}


def _comes_later(before: Any, after: Any) -> bool:
    """Whether `after` says to ask again where `before` did not."""
    return bool(set(error_codes(after)) & RETRIABLE - set(error_codes(before)))
