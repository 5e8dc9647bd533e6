"""What clients asked a broker and what it answered: kept for the test that looks, the latest ones only.

A gate that notes costs a request few microseconds: bytes are kept as they came and decoded when somebody looks, so that
requests take the same short ways as without. Batches of records are summed up. Knows APIs by their names only.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ottla.broker.dispatch import Gate, GateParked
from ottla.wire.apis import API
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.frame import decode_request_header, decode_response_header
from ottla.wire.message_json import to_json
from ottla.wire.records import HEADER_SIZE, RecordBatch

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.connection import Connection
    from ottla.broker.dispatch import Reply
    from ottla.log.door import FileSlice
    from ottla.wire.schema import Buffer

KEPT: Final = 1000  # requests
KEPT_BYTES: Final = 8 << 20  # of them all
MOST_COPIED: Final = 16 << 10  # of one request; a larger one is decoded at once, without its records
MOST_BATCHES: Final = 1000  # that are looked at, of one partition in one message
HUNG_UP: Final = "the client hung up"
_HEAD_BYTES: Final = 1024  # of a request that is not copied: a client id, and what stands before it
_MARK: Final = os.urandom(8)  # begins what stands for records that have left by now
_STAND_IN: Final = Struct(">8sqq")
_KEYS: Final = {spec.name.lower(): key for key, spec in API.items()}


class Records(NamedTuple):
    """What is said of record batches: their bytes, how many batches those are, with how many records."""

    bytes: int
    batches: int
    records: int


def api_key(name: str) -> int:
    """The number of an API, by its name in any case. Raises ValueError."""
    key = _KEYS.get(name.lower())
    if key is None:
        near = get_close_matches(name.lower(), _KEYS, n=1)
        hint = f"did you mean {API[_KEYS[near[0]]].name}?" if near else "give one as Produce or JoinGroup"
        raise ValueError(f"there is no API {name!r}; {hint}")
    return key


class Request:
    """A request and its answer, as they were when a test asked for them. `node` is the id of the node that was asked,
    `peer` who asked, HOST:PORT; `time_ms` the broker's wall clock when it came, `took_ms` the real time until it was
    answered, None while it is under way; `refusal` why the connection was closed in place of an answer.
    """

    __slots__ = (
        "_answer",
        "_frame",
        "_key",
        "api",
        "client_id",
        "node",
        "peer",
        "refusal",
        "time_ms",
        "took_ms",
        "version",
    )

    def __init__(self, noted: _Noted) -> None:
        self._key = _key_of(noted.head)
        self._frame = noted.frame
        self._answer: list[bytes | Records] | dict[str, Any] | None = noted.answer
        self.api, self.version, self.client_id = f"API key {self._key}", -1, ""
        try:
            header = decode_request_header(noted.head)
        except ProtocolError:  # a client id longer than what is kept, or no request at all
            pass
        else:
            self.api, self.version, self.client_id = API[self._key].name, header.api_version, header.client_id or ""
        self.node = noted.connection.node.id
        self.peer = f"{noted.connection.host}:{noted.connection.port}"
        self.time_ms = noted.time_ms
        self.took_ms = noted.took_ms
        self.refusal = noted.refusal

    @property
    def is_under_way(self) -> bool:
        """Whether it has been neither answered nor refused."""
        return self.took_ms is None

    @property
    def request(self) -> dict[str, Any] | None:
        """What was asked: fields have Kafka's own names, in camelCase; bytes are base64, and batches of records their
        numbers (`Records`). None: it was nothing that can be read.
        """
        if isinstance(self._frame, bytes):
            self._frame = _decoded_request(memoryview(self._frame))
        return self._frame

    @property
    def response(self) -> dict[str, Any] | None:
        """What was answered, likewise. None: nothing, or nothing so far."""
        if isinstance(self._answer, list):
            self._answer = _decoded_answer(self._answer, self._key, self.version)
        return self._answer

    @property
    def errors(self) -> list[str]:
        """The error codes in the answer by name, each once."""
        return list(dict.fromkeys(ErrorCode(code).name for code in _codes(self.response) if code))

    def __repr__(self) -> str:
        parts = [f"{self.api} v{self.version}", f"of {self.client_id or self.peer} at node {self.node}"]
        parts.append("under way" if self.took_ms is None else f"{self.took_ms:.1f} ms")
        parts += self.errors
        if self.refusal is not None:
            parts.append(f"closed: {self.refusal}")
        return f"<{', '.join(parts)}>"


class _Noted:
    """What is kept of a request. `counted`: its bytes; -1 once it is not kept any more."""

    __slots__ = ("answer", "connection", "counted", "frame", "head", "refusal", "since_s", "time_ms", "took_ms")

    def __init__(self, connection: Connection, view: memoryview, time_ms: int) -> None:
        self.connection = connection
        self.time_ms = time_ms
        self.took_ms: float | None = None
        self.refusal: str | None = None
        self.answer: list[bytes | Records] | None = None
        self.frame: bytes | dict[str, Any] | None
        if len(view) <= MOST_COPIED:
            self.frame = self.head = bytes(view)
        else:
            self.head = bytes(view[:_HEAD_BYTES])
            self.frame = _decoded_request(view)
        self.counted = 0
        self.since_s = time.perf_counter()

    def settle(self, reply: Reply | None) -> None:
        """`reply` is about to leave; slices of files are looked at now, since they are given back then."""
        self.took_ms = (time.perf_counter() - self.since_s) * 1000
        if reply is not None:
            self.answer = [part if isinstance(part, bytes) else sum_up(part) for part in reply]

    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.head) + sum(len(part) for part in self.answer or () if isinstance(part, bytes))


class NotingGate(Gate):
    """The gate of a broker that tests look into."""

    __slots__ = ("_clock", "_kept", "_kept_bytes", "_under_way", "seen", "watchers")

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self._clock = broker.clock
        self._kept: deque[_Noted] = deque()
        self._kept_bytes = 0
        self._under_way: dict[GateParked, _Noted] = {}
        self.seen = 0  # requests so far
        self.watchers: list[Callable[[], None]] = []
        """Called after each request that came, and after each that was answered."""

    def handle(
        self, connection: Connection, view: memoryview, start: int, end: int, *, recorded: bool = False
    ) -> Reply | GateParked | None:
        if recorded:  # it has been here before
            return super().handle(connection, view, start, end, recorded=True)
        noted = _Noted(connection, view[start:end], self._clock.wall_ms())
        self._kept.append(noted)
        self.seen += 1
        try:
            reply = super().handle(connection, view, start, end)
        except BaseException as refusal:
            self._refused(noted, refusal)
            raise
        self._came(noted, reply)
        return reply

    def finish(self, parked: GateParked) -> Reply | None:
        noted = self._under_way.pop(parked, None)
        try:
            reply = super().finish(parked)
        except BaseException as refusal:
            if noted is not None:
                self._refused(noted, refusal)
            raise
        if noted is not None:
            self._came(noted, reply)
        return reply

    def requests(self, key: int | None = None, since: int = 0) -> list[Request]:
        """Those of an API, or of all, but for the first `since` that ever came; the oldest first."""
        skipped = max(0, since - (self.seen - len(self._kept)))
        kept = islice(self._kept, skipped, None)
        return [Request(noted) for noted in kept if key is None or _key_of(noted.head) == key]

    def under_way(self, keys: Iterable[int]) -> list[Request]:
        """Those of some APIs that wait for their answers."""
        wanted = frozenset(keys)
        return [Request(noted) for noted in self._under_way.values() if _key_of(noted.head) in wanted]

    def _came(self, noted: _Noted, reply: Reply | GateParked | None) -> None:
        if isinstance(reply, GateParked):
            self._wait_for(noted, reply)
        else:
            noted.settle(reply)
        self._changed(noted)

    def _wait_for(self, noted: _Noted, parked: GateParked) -> None:
        self._under_way[parked] = noted
        abandon = parked.abandon

        def abandoned() -> None:
            if abandon is not None:
                abandon()
            if self._under_way.pop(parked, None) is not None:
                noted.refusal = HUNG_UP
                noted.settle(None)
                self._changed(noted)

        parked.abandon = abandoned

    def _refused(self, noted: _Noted, refusal: BaseException) -> None:
        noted.refusal = str(refusal) or type(refusal).__name__
        noted.settle(None)
        self._changed(noted)

    def _changed(self, noted: _Noted) -> None:
        kept = self._kept
        if noted.counted >= 0:
            size = noted.size()
            self._kept_bytes += size - noted.counted
            noted.counted = size
        while len(kept) > KEPT or (self._kept_bytes > KEPT_BYTES and len(kept) > 1):
            oldest = kept.popleft()
            self._kept_bytes -= oldest.counted
            oldest.counted = -1
        if self.watchers:
            for watcher in tuple(self.watchers):
                watcher()


def sum_up(records: Buffer | FileSlice) -> Records:
    """Batches of records, in memory or in a slice of a file, as their numbers."""
    if isinstance(records, bytes | bytearray | memoryview):
        if len(records) >= _STAND_IN.size and records[: len(_MARK)] == _MARK:
            _, batches, count = _STAND_IN.unpack_from(records)
            return Records(len(records), batches, count)
        headers = _headers(len(records), lambda position: records[position : position + HEADER_SIZE])
        size = len(records)
    else:
        headers = _headers(records.nbytes, lambda position: records.read(position, HEADER_SIZE))
        size = records.nbytes
    counts = [max(0, batch.records_count) for batch in headers]
    return Records(size, len(counts), sum(counts))


def _headers(size: int, read: Callable[[int], Buffer]) -> Iterator[RecordBatch]:
    """The batches of `size` bytes, as far as they can be read; what is in them is not."""
    position = 0
    for _ in range(MOST_BATCHES):
        if size - position < HEADER_SIZE:
            return
        try:
            batch = RecordBatch(read(position))
        except KafkaError:
            return
        yield batch
        position += batch.size


def _key_of(head: bytes) -> int:
    return int.from_bytes(head[:2], "big", signed=True)


def _decoded_request(view: memoryview) -> dict[str, Any] | None:
    try:
        header = decode_request_header(view)
        message = API[header.api_key].request.decode(view, header.api_version, header.body_offset)
    except (ProtocolError, KafkaError):
        return None
    return to_json(message, header.api_version, sum_up)


def _decoded_answer(parts: list[bytes | Records], key: int, version: int) -> dict[str, Any] | None:
    frame = b"".join(part if isinstance(part, bytes) else _stand_in(part) for part in parts)[4:]
    for told in (version, 0):  # an ApiVersions of the future is answered in version 0 (KIP-511)
        try:
            _, offset = decode_response_header(frame, key, told)
            message = API[key].response.decode(memoryview(frame), told, offset)
        except (ProtocolError, KafkaError):
            continue
        return to_json(message, told, sum_up)
    return None


def _stand_in(records: Records) -> bytes:
    """Bytes in the place of records, of which `sum_up` says the same."""
    if records.bytes < _STAND_IN.size:
        return bytes(records.bytes)
    return _STAND_IN.pack(_MARK, records.batches, records.records).ljust(records.bytes, b"\0")


def _codes(value: Any) -> Iterator[int]:
    """All error codes in an answer."""
    if isinstance(value, list):
        for item in value:
            yield from _codes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "errorCode":
                yield item
            else:
                yield from _codes(item)
