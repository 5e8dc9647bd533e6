"""Kafka's protocol by hand, over a plain socket: for requests that no library would send and answers none would show.

Written from the protocol guide with `struct` and nothing of Ottla's codec, so that one cannot hide a fault of the
other. Only versions before the flexible encoding are used; Kafka 4.4 serves them all.
"""

import socket
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple, Self

import crc32c

from compat_tests.gate import Request
from compat_tests.harness import DEADLINE_S

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, API_VERSIONS, INIT_PRODUCER_ID = 9, 10, 11, 18, 22
UPDATE_FEATURES = 57
NONE, CORRUPT_MESSAGE, DUPLICATE_SEQUENCE, OUT_OF_ORDER_SEQUENCE, MEMBER_ID_REQUIRED = 0, 2, 46, 45, 79
COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
_CRC_AT, _CRC_FROM = 17, 21


def text(value: str | None) -> bytes:
    """A nullable string: two bytes of length, -1 for null."""
    if value is None:
        return b"\xff\xff"
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def blob(value: bytes) -> bytes:
    """Bytes with four bytes of length."""
    return struct.pack(">i", len(value)) + value


class Cursor:
    """Reads an answer from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: str) -> tuple[int, ...]:
        """The values of a struct layout, big-endian."""
        values = struct.unpack_from(">" + layout, self._data, self._at)
        self._at += struct.calcsize(">" + layout)
        return values

    def number(self, layout: str) -> int:
        """One number."""
        return self.take(layout)[0]

    def text(self) -> str | None:
        """A nullable string."""
        length = self.number("h")
        return None if length < 0 else self.raw(length).decode()

    def raw(self, length: int) -> bytes:
        """So many bytes."""
        self._at += length
        return self._data[self._at - length : self._at]


def _varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def one_batch(
    values: Sequence[bytes],
    *,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    timestamp_ms: int | None = None,
    transactional: bool = False,
) -> bytes:
    """A record batch v2, uncompressed, with a right CRC. timestamp_ms None: now, since old producers are forgotten."""
    timestamp_ms = time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms
    records = bytearray()
    for delta, value in enumerate(values):
        body = b"\x00" + _varint(0) + _varint(delta) + _varint(-1) + _varint(len(value)) + value + _varint(0)
        records += _varint(len(body)) + body
    attributes = 0x10 if transactional else 0
    last, producer = len(values) - 1, (producer_id, producer_epoch, base_sequence)
    checked = (
        struct.pack(">hiqqqhi", attributes, last, timestamp_ms, timestamp_ms, *producer)
        + struct.pack(">i", len(values))
        + records
    )
    head = struct.pack(">iBI", -1, 2, crc32c.crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def corrupt_batch(batch: bytes) -> bytes:
    """The batch with one bit of its last record flipped: the CRC no longer fits."""
    return batch[:-2] + bytes([batch[-2] ^ 1]) + batch[-1:]


def produce_request(
    topic: str, records: bytes, partition: int = 0, acks: int = -1, transactional_id: str | None = None
) -> bytes:
    """The body of Produce v3."""
    return (
        text(transactional_id)
        + struct.pack(">hii", acks, 10_000, 1)
        + text(topic)
        + struct.pack(">ii", 1, partition)
        + blob(records)
    )


class Produced(NamedTuple):
    """The answer for one partition."""

    error: int
    base_offset: int


class RawConnection:
    """A connection that sends what it is given."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._correlation = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        """As they are."""
        self._socket.sendall(data)

    def send(self, api_key: int, api_version: int, body: bytes) -> int:
        """A framed request with header v1; gives its correlation id."""
        self._correlation += 1
        header = struct.pack(">hhi", api_key, api_version, self._correlation) + text("raw")
        self.send_bytes(blob(header + body))
        return self._correlation

    def receive(self) -> tuple[int, Cursor]:
        """(correlation id, the body of the next answer)."""
        size = struct.unpack(">i", self._exactly(4))[0]
        cursor = Cursor(self._exactly(size))
        return cursor.number("i"), cursor

    def ask(self, api_key: int, api_version: int, body: bytes) -> Cursor:
        """A request and the body of its answer."""
        sent = self.send(api_key, api_version, body)
        correlation, cursor = self.receive()
        assert correlation == sent, f"the answer to request {correlation} in place of {sent}"
        return cursor

    def at_end(self) -> bool:
        """Waits for the broker to close the connection; False if it sends something instead."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def produce(self, body: bytes) -> Produced:
        """Produce v3 of one partition."""
        answer = self.ask(PRODUCE, 3, body)
        answer.take("i")
        answer.text()
        _, _, error, base_offset = answer.take("iihq")
        return Produced(error, base_offset)

    def metadata(self, topic: str) -> tuple[int, list[int]]:
        """Metadata v4 of one topic, created if it is missing: its error code and that of each partition."""
        answer = self.ask(METADATA, 4, struct.pack(">i", 1) + text(topic) + b"\x01")
        answer.take("i")
        for _ in range(answer.number("i")):
            answer.take("i")
            answer.text()
            answer.take("i")
            answer.text()
        answer.text()
        _, _, error = answer.take("iih")
        answer.text()
        answer.take("B")
        partition_errors = []
        for _ in range(answer.number("i")):
            partition_errors.append(answer.take("hii")[0])
            for _ in range(2):  # replicas, in-sync replicas
                answer.take("i" * answer.number("i"))
        return error, partition_errors

    def make_topic(self, topic: str) -> None:
        """Asks for the topic until its leader is known: Apache Kafka needs several turns for that."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self.metadata(topic) != (NONE, [NONE]):
            assert time.monotonic() < deadline_s, f"no leader for {topic}"

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """ListOffsets v1 for the latest offset."""
        body = struct.pack(">ii", -1, 1) + text(topic) + struct.pack(">iiq", 1, partition, -1)
        answer = self.ask(LIST_OFFSETS, 1, body)
        answer.take("i")
        answer.text()
        _, _, error, _, offset = answer.take("iihqq")
        assert error == NONE
        return offset

    def fetch(self, topic: str, offset: int = 0, partition: int = 0) -> bytes:
        """Fetch v4 of one partition; gives the record bytes."""
        body = struct.pack(">iiiiBi", -1, 0, 0, 1 << 26, 0, 1) + text(topic)
        body += struct.pack(">iiqi", 1, partition, offset, 1 << 26)
        answer = self.ask(FETCH, 4, body)
        answer.take("ii")
        answer.text()
        _, _, error, _, _ = answer.take("iihqq")
        assert error == NONE
        for _ in range(max(0, answer.number("i"))):
            answer.take("qq")
        return answer.raw(max(0, answer.number("i")))

    def find_coordinator(self, group: str) -> int:
        """FindCoordinator v1; gives the error code."""
        return self.ask(FIND_COORDINATOR, 1, text(group) + b"\x00").take("ih")[1]

    def init_producer_id(self, transactional_id: str | None = None) -> tuple[int, int, int]:
        """InitProducerId v0: (error code, producer id, epoch)."""
        body = text(transactional_id) + struct.pack(">i", 60_000)
        _, error, producer_id, epoch = self.ask(INIT_PRODUCER_ID, 0, body).take("ihqh")
        return error, producer_id, epoch

    def committed_error(self, group: str) -> int:
        """OffsetFetch v5 for all topics of a group: the error code."""
        return self._committed(group)[0]

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """The group's committed offsets, also while others are pending in a transaction."""
        error, offsets = self._committed(group)
        assert error == NONE
        return offsets

    def committed_if_served(self, group: str) -> dict[tuple[str, int], int] | None:
        """The same, or None while the coordinator does not serve yet."""
        error, offsets = self._committed(group)
        if error in (COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR):
            return None
        assert error == NONE, error
        return offsets

    def _committed(self, group: str) -> tuple[int, dict[tuple[str, int], int]]:
        answer = self.ask(OFFSET_FETCH, 5, text(group) + struct.pack(">i", -1))
        offsets: dict[tuple[str, int], int] = {}
        _, topics = answer.take("ii")
        for _ in range(topics):
            topic = answer.text() or ""
            for _ in range(answer.number("i")):
                partition, offset, _ = answer.take("iqi")
                offsets[topic, partition] = offset
                answer.text()
                answer.take("h")
        return answer.number("h"), offsets

    def join_group(self, group: str, member: str = "") -> tuple[int, str]:
        """JoinGroup v5 with one protocol: (error code, member id)."""
        body = text(group) + struct.pack(">ii", 10_000, 10_000) + text(member) + text(None) + text("consumer")
        body += struct.pack(">i", 1) + text("range") + blob(b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff")
        answer = self.ask(JOIN_GROUP, 5, body)
        _, error, _ = answer.take("ihi")
        for _ in range(2):
            answer.text()
        return error, answer.text() or ""

    def downgrade_feature(self, name: str, level: int) -> None:
        """UpdateFeatures v1, a safe downgrade of one feature, for a broker that has no flag for it."""
        encoded = name.encode()
        body = struct.pack(">BiBB", 0, 30_000, 2, len(encoded) + 1) + encoded  # no tagged fields; time-out; one feature
        body += struct.pack(">hbBBB", level, 2, 0, 0, 0)
        answer = self.ask(UPDATE_FEATURES, 1, body)
        _, _, error = answer.take("Bih")
        assert error == NONE

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the broker closed the connection")
            data += chunk
        return bytes(data)


def heartbeat_generation(request: Request) -> int:
    """The generation that a Heartbeat names. Version 4 is flexible, the ones before are not."""
    cursor = Cursor(request.frame)
    cursor.take("hhi")
    cursor.text()
    if request.api_version < 4:
        cursor.text()
    else:
        cursor.take("B")  # no tagged fields in the header
        length, shift = 0, 0
        while (byte := cursor.number("B")) & 0x80:
            length |= (byte & 0x7F) << shift
            shift += 7
        cursor.raw((length | byte << shift) - 1)
    return cursor.number("i")


def count_records(records: bytes) -> int:
    """How many records the batches hold, by their headers; each CRC is checked."""
    count = at = 0
    while at + 61 <= len(records):
        (length,) = struct.unpack_from(">i", records, at + 8)
        (crc,) = struct.unpack_from(">I", records, at + _CRC_AT)
        assert crc32c.crc32c(records[at + _CRC_FROM : at + 12 + length]) == crc
        (held,) = struct.unpack_from(">i", records, at + 57)
        count += held
        at += 12 + length
    return count
