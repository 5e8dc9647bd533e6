"""Record batches (magic 2): a view over their bytes, and what builds or stamps one.

Here: the format alone (KIP-98), on buffers that others own. Magic 0 and 1 are recognised, for callers to refuse.
Not here: the check of produced records (walk, skim), what a broker demands of a batch (log.validate), codecs
(compression), files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum

from ottla.wire.compression import compress, decompress
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.hashing import crc32c
from ottla.wire.schema import Buffer
from ottla.wire.skim import invalid, misfit
from ottla.wire.varint import decode_zigzag, encode_zigzag

# Offsets of the header fields, in bytes from the start of the batch.
BASE_OFFSET = 0
BATCH_LENGTH = 8
PARTITION_LEADER_EPOCH = 12
MAGIC = 16
CRC = 17
ATTRIBUTES = 21  # the CRC covers the batch from here on
LAST_OFFSET_DELTA = 23
BASE_TIMESTAMP = 27
MAX_TIMESTAMP = 35
PRODUCER_ID = 43
PRODUCER_EPOCH = 51
BASE_SEQUENCE = 53
RECORDS_COUNT = 57
RECORDS = 61

HEADER = struct.Struct(">qiibIhiqqqhii")
"""All header fields in the order of the offsets above."""
HEADER_SIZE = HEADER.size
LOG_OVERHEAD = 12
"""Bytes of base offset and batch length; a batch is `batch_length` bytes more."""
CURRENT_MAGIC = 2

CODEC_MASK = 0x07
LOG_APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20
DELETE_HORIZON_BIT = 0x40

NO_TIMESTAMP = -1
NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1

_PREFIX = struct.Struct(
    ">qiib"
)  # what magic 0, 1 and 2 have in common: offset, length, 4 bytes of another meaning each, magic
_LEGACY_MIN_LENGTH = 14
_LEGACY_CRC = 12
_INT64 = struct.Struct(">q")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT16 = struct.Struct(">h")
_CONTROL_KEY = struct.Struct(">hh")  # version, type
_CONTROL_VALUE = struct.Struct(">hi")  # version, coordinator epoch


class TimestampType(IntEnum):
    """Whose clock stamped the records (attribute bit 3)."""

    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class ControlRecordType(IntEnum):
    """Type of a control record, from its key (KIP-98, KIP-595, KIP-630)."""

    UNKNOWN = -1
    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


class Record:
    """One record. `offset` is absolute, `timestamp_ms` -1 if there is none; a header is (key, value or None).

    Header keys that are not UTF-8 keep their bytes as surrogate escapes.
    """

    __slots__ = ("headers", "key", "offset", "timestamp_ms", "value")

    def __init__(
        self,
        offset: int,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value
        self.headers = headers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return (
            self.offset == other.offset
            and self.timestamp_ms == other.timestamp_ms
            and self.key == other.key
            and self.value == other.value
            and list(self.headers) == list(other.headers)
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        headers = f", headers={list(self.headers)}" if self.headers else ""
        fields = f"offset={self.offset}, timestamp_ms={self.timestamp_ms}, key={self.key!r}, value={self.value!r}"
        return f"Record({fields}{headers})"


class RecordBatch:
    """The batch that starts at `offset` of `view`; its header is read at once, its records when asked.

    Nothing is copied: the buffer must stay as it is while the batch is used. Only the header (61 bytes) must be there,
    for readers of a file that look at headers alone; `is_complete` tells whether the records are, too. Magic 0 and 1
    give base offset, length, magic and CRC; the rest is as if unset.

    Raises KafkaError CORRUPT_MESSAGE if the header is cut, its magic unknown or its length too small.
    """

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "batch_length",
        "crc",
        "last_offset_delta",
        "magic",
        "max_timestamp",
        "offset",
        "partition_leader_epoch",
        "producer_epoch",
        "producer_id",
        "records_count",
        "size",
        "view",
    )

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records_count: int

    def __init__(self, view: Buffer, offset: int = 0) -> None:
        self.view = view
        self.offset = offset
        try:
            (
                self.base_offset,
                self.batch_length,
                self.partition_leader_epoch,
                self.magic,
                self.crc,
                self.attributes,
                self.last_offset_delta,
                self.base_timestamp,
                self.max_timestamp,
                self.producer_id,
                self.producer_epoch,
                self.base_sequence,
                self.records_count,
            ) = HEADER.unpack_from(view, offset)
        except struct.error:
            self.magic = -1
        if self.magic != CURRENT_MAGIC:
            self._read_legacy()
        elif self.batch_length < HEADER_SIZE - LOG_OVERHEAD:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"batch length {self.batch_length} is less than the header")
        self.size = self.batch_length + LOG_OVERHEAD

    def _read_legacy(self) -> None:
        """Magic 0 or 1 (whose messages may be shorter than a header of magic 2), or raise."""
        try:
            self.base_offset, self.batch_length, _, self.magic = _PREFIX.unpack_from(self.view, self.offset)
        except struct.error:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "batch header is cut") from None
        if self.magic not in (0, 1):
            why = "batch header is cut" if self.magic == CURRENT_MAGIC else f"unknown magic {self.magic}"
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, why)
        if self.batch_length < _LEGACY_MIN_LENGTH:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"message size {self.batch_length} is less than its overhead")
        self.crc = _UINT32.unpack_from(self.view, self.offset + _LEGACY_CRC)[0]
        self.attributes = self.last_offset_delta = 0
        self.base_timestamp = self.max_timestamp = NO_TIMESTAMP
        self.partition_leader_epoch = self.producer_id = self.producer_epoch = self.base_sequence = -1
        self.records_count = -1

    @property
    def is_complete(self) -> bool:
        """Whether the buffer holds the whole batch."""
        return len(self.view) - self.offset >= self.size

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5-7 are unknown."""
        return self.attributes & CODEC_MASK

    @property
    def timestamp_type(self) -> TimestampType:
        return TimestampType.LOG_APPEND_TIME if self.attributes & LOG_APPEND_TIME_BIT else TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When compaction may drop the batch's tombstones; it is kept in the base timestamp. None if not set."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_BIT else None

    @property
    def has_producer_id(self) -> bool:
        return self.producer_id != NO_PRODUCER_ID

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequence of the last offset; the number after 2147483647 is 0. -1 without a base sequence."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFF_FFFF

    def memory(self) -> memoryview:
        """The batch's bytes, without a copy."""
        return memoryview(self.view)[self.offset : self.offset + self.size]

    def compute_crc(self) -> int:
        """CRC-32C of the bytes it covers (magic 0 and 1: CRC-32), whatever the header says."""
        view, offset = memoryview(self.view), self.offset
        if self.magic == CURRENT_MAGIC:
            return crc32c(view[offset + ATTRIBUTES : offset + self.size], 0)
        return zlib.crc32(view[offset + MAGIC : offset + self.size])

    def is_valid_crc(self) -> bool:
        return self.compute_crc() == self.crc

    def block(self, budget_bytes: int) -> Buffer:
        """The records, uncompressed: a view into the buffer if they are stored so, else at most `budget_bytes` more.

        Raises KafkaError CORRUPT_MESSAGE if the batch is cut, UNSUPPORTED_FOR_MESSAGE_FORMAT for magic 0 and 1, and as
        `decompress`.
        """
        if self.magic != CURRENT_MAGIC:
            raise KafkaError(ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"records of magic {self.magic} are not read")
        if not self.is_complete:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "batch is cut")
        stored = memoryview(self.view)[self.offset + RECORDS : self.offset + self.size]
        codec = self.attributes & CODEC_MASK
        return decompress(codec, stored, budget_bytes) if codec else stored

    def records(self, budget_bytes: int) -> Iterator[Record]:
        """The records, one by one, with absolute offsets and timestamps.

        Raises KafkaError as `block`, and INVALID_RECORD where one does not decode.
        """
        return _read_records(self, bytes(self.block(budget_bytes)))

    def control_record(self) -> tuple[ControlRecordType, int]:
        """(type, coordinator epoch) of a control batch; the epoch is -1 unless it is a commit or an abort.

        Raises KafkaError INVALID_RECORD.
        """
        for record in self.records(self.size):
            kind = control_record_type(record.key)
            if kind not in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
                return kind, -1
            if record.value is None or len(record.value) < _CONTROL_VALUE.size:
                break
            return kind, _CONTROL_VALUE.unpack_from(record.value)[1]
        raise KafkaError(ErrorCode.INVALID_RECORD, "control batch holds no control record")

    def __repr__(self) -> str:
        return (
            f"RecordBatch(base_offset={self.base_offset}, last_offset={self.last_offset}, size={self.size}, "
            f"magic={self.magic}, attributes={self.attributes:#x}, producer_id={self.producer_id}, "
            f"records_count={self.records_count})"
        )


def batches(view: Buffer, offset: int = 0) -> Iterator[RecordBatch]:
    """The complete batches from `offset` on; a cut one at the end is left out, as a fetch may give one.

    Raises KafkaError CORRUPT_MESSAGE at a header that cannot be one.
    """
    size = len(view)
    while size - offset > MAGIC:
        length, magic = _INT32.unpack_from(view, offset + BATCH_LENGTH)[0], view[offset + MAGIC]
        if size - offset - LOG_OVERHEAD < length and length >= _LEGACY_MIN_LENGTH and magic <= CURRENT_MAGIC:
            return
        batch = RecordBatch(view, offset)
        yield batch
        offset += batch.size


def control_record_type(key: bytes | None) -> ControlRecordType:
    """Type of the control record with this key; UNKNOWN for types of the future. Raises KafkaError INVALID_RECORD."""
    if key is None or len(key) < _CONTROL_KEY.size:
        raise KafkaError(ErrorCode.INVALID_RECORD, "control record has no key")
    version, kind = _CONTROL_KEY.unpack_from(key)
    if version < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"control record of version {version}")
    return ControlRecordType(kind) if 0 <= kind <= ControlRecordType.KRAFT_VOTERS else ControlRecordType.UNKNOWN


# Reading records


def _read_records(batch: RecordBatch, data: bytes) -> Iterator[Record]:
    append_time = batch.max_timestamp if batch.attributes & LOG_APPEND_TIME_BIT else None
    position = index = 0
    try:
        for index in range(batch.records_count):  # noqa: B007  # named in the error
            end, timestamp_delta, offset_delta, key, value, headers = _read_record(data, position)
            timestamp_ms = batch.base_timestamp + timestamp_delta if append_time is None else append_time
            yield Record(batch.base_offset + offset_delta, timestamp_ms, key, value, headers)
            position = end
    except ProtocolError as error:
        raise invalid(index, error.message) from None
    if position != len(data):
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{len(data) - position} bytes after the last record")


def _read_record(
    data: bytes, position: int
) -> tuple[int, int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """(end, timestamp delta, offset delta, key, value, headers) of the record at `position`. Raises ProtocolError."""
    end, position = _record_bounds(data, position)
    timestamp_delta, position = decode_zigzag(data, position, 64)
    offset_delta, position = decode_zigzag(data, position)
    key_start, position = _field_bounds(data, position, end)
    key = None if key_start is None else data[key_start:position]
    value_start, position = _field_bounds(data, position, end)
    value = None if value_start is None else data[value_start:position]
    count, position = _header_count(data, position, end)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name_start, position = _field_bounds(data, position, end)
        if name_start is None:
            raise ProtocolError("the key of a header is null")
        name = data[name_start:position].decode("utf-8", "surrogateescape")
        value_start, position = _field_bounds(data, position, end)
        headers.append((name, None if value_start is None else data[value_start:position]))
    if position != end:
        raise misfit(position, end)
    return end, timestamp_delta, offset_delta, key, value, headers


def _record_bounds(data: Buffer, position: int) -> tuple[int, int]:
    """(end of the record, position after its attributes, of which none are defined)."""
    length, position = decode_zigzag(data, position)
    if not 0 < length <= len(data) - position:
        raise ProtocolError(f"its length {length} does not fit the batch")
    return position + length, position + 1


def _field_bounds(data: Buffer, position: int, end: int) -> tuple[int | None, int]:
    """(start, or None for null; position after) of a field with its length in front."""
    length, position = decode_zigzag(data, position)
    if length == -1:
        return None, position
    if not 0 <= length <= end - position:
        raise ProtocolError(f"a field of length {length} does not fit it")
    return position, position + length


def _header_count(data: Buffer, position: int, end: int) -> tuple[int, int]:
    count, position = decode_zigzag(data, position)
    if not 0 <= count <= end - position:
        raise ProtocolError(f"it cannot have {count} headers")
    return count, position


# Building and stamping


def build_batch(
    records: Iterable[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    codec: int = 0,
    level: int | None = None,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    delete_horizon_ms: int | None = None,
    last_offset_delta: int | None = None,
    max_timestamp_ms: int | None = None,
) -> bytearray:
    """The bytes of a batch of `records`, as Java's MemoryRecordsBuilder writes them.

    Offsets ascend from `base_offset` on. The base timestamp is that of the first record, or `delete_horizon_ms`.
    `last_offset_delta` and `max_timestamp_ms` come from the records unless given; a batch that compaction left without
    records needs them.
    """
    out = bytearray(HEADER_SIZE)
    base_timestamp = NO_TIMESTAMP if delete_horizon_ms is None else delete_horizon_ms
    max_timestamp = NO_TIMESTAMP
    count = 0
    delta = -1
    for record in records:
        if not count and delete_horizon_ms is None:
            base_timestamp = record.timestamp_ms
        count += 1
        delta = record.offset - base_offset
        if record.timestamp_ms > max_timestamp:
            max_timestamp = record.timestamp_ms
        body = _encode_record(record, delta, record.timestamp_ms - base_timestamp)
        out += encode_zigzag(len(body))
        out += body
    if codec:
        out[HEADER_SIZE:] = compress(codec, memoryview(out)[HEADER_SIZE:].toreadonly(), level)
    HEADER.pack_into(
        out,
        0,
        base_offset,
        len(out) - LOG_OVERHEAD,
        leader_epoch,
        CURRENT_MAGIC,
        0,
        codec
        | (LOG_APPEND_TIME_BIT if timestamp_type else 0)
        | (TRANSACTIONAL_BIT if transactional else 0)
        | (CONTROL_BIT if control else 0)
        | (0 if delete_horizon_ms is None else DELETE_HORIZON_BIT),
        delta if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        max_timestamp if max_timestamp_ms is None else max_timestamp_ms,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    _seal(out, len(out))
    return out


def _encode_record(record: Record, offset_delta: int, timestamp_delta: int) -> bytes:
    key, value, headers = record.key, record.value, record.headers
    parts = [b"\0", encode_zigzag(timestamp_delta), encode_zigzag(offset_delta)]
    parts += (b"\x01",) if key is None else (encode_zigzag(len(key)), key)
    parts += (b"\x01",) if value is None else (encode_zigzag(len(value)), value)
    parts.append(encode_zigzag(len(headers)))
    for name, content in headers:
        name_bytes = name.encode("utf-8", "surrogateescape")
        parts += (encode_zigzag(len(name_bytes)), name_bytes)
        parts += (b"\x01",) if content is None else (encode_zigzag(len(content)), content)
    return b"".join(parts)


def build_control_batch(
    producer_id: int,
    producer_epoch: int,
    commit: bool,
    coordinator_epoch: int,
    *,
    timestamp_ms: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytearray:
    """The marker (KIP-98) that ends `producer_id`'s transaction in a partition: one control record, one offset."""
    kind = ControlRecordType.COMMIT if commit else ControlRecordType.ABORT
    marker = Record(base_offset, timestamp_ms, _CONTROL_KEY.pack(0, kind), _CONTROL_VALUE.pack(0, coordinator_epoch))
    return build_batch(
        [marker],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )


def recompress(batch: RecordBatch, codec: int, budget_bytes: int, level: int | None = None) -> bytearray:
    """The same batch with its records compressed by another `codec`. Raises KafkaError as `RecordBatch.block`."""
    out = bytearray(batch.memory()[:HEADER_SIZE])
    out += compress(codec, batch.block(budget_bytes), level)
    _INT32.pack_into(out, BATCH_LENGTH, len(out) - LOG_OVERHEAD)
    _INT16.pack_into(out, ATTRIBUTES, batch.attributes & ~CODEC_MASK | codec)
    _seal(out, len(out))
    return out


def rebuild(
    batch: RecordBatch, block: Buffer, count: int, *, base_timestamp: int, max_timestamp: int, delete_horizon: bool
) -> bytearray:
    """What compaction leaves of `batch`: `count` records in the uncompressed `block`, whose timestamps are relative to
    `base_timestamp` (with `delete_horizon`: the horizon). Offsets, producer fields and codec stay.
    """
    out = bytearray(batch.memory()[:HEADER_SIZE])
    codec = batch.attributes & CODEC_MASK
    out += compress(codec, block) if codec else block
    _INT32.pack_into(out, BATCH_LENGTH, len(out) - LOG_OVERHEAD)
    attributes = batch.attributes & ~DELETE_HORIZON_BIT
    _INT16.pack_into(out, ATTRIBUTES, attributes | (DELETE_HORIZON_BIT if delete_horizon else 0))
    _INT64.pack_into(out, BASE_TIMESTAMP, base_timestamp)
    _INT64.pack_into(out, MAX_TIMESTAMP, max_timestamp)
    _INT32.pack_into(out, RECORDS_COUNT, count)
    _seal(out, len(out))
    return out


def stamp(view: bytearray | memoryview, base_offset: int, leader_epoch: int, offset: int = 0) -> None:
    """Write what the leader assigns into the batch at `offset`; both fields are outside the CRC."""
    _INT64.pack_into(view, offset + BASE_OFFSET, base_offset)
    _INT32.pack_into(view, offset + PARTITION_LEADER_EPOCH, leader_epoch)


def stamp_append_time(view: bytearray | memoryview, timestamp_ms: int, offset: int = 0) -> None:
    """Make the batch at `offset` one of LogAppendTime `timestamp_ms`, for all its records, and renew its CRC."""
    attributes = _INT16.unpack_from(view, offset + ATTRIBUTES)[0]
    _INT16.pack_into(view, offset + ATTRIBUTES, attributes | LOG_APPEND_TIME_BIT)
    _INT64.pack_into(view, offset + MAX_TIMESTAMP, timestamp_ms)
    _seal(view, LOG_OVERHEAD + _INT32.unpack_from(view, offset + BATCH_LENGTH)[0], offset)


def _seal(view: bytearray | memoryview, size: int, offset: int = 0) -> None:
    """Write the CRC of the batch of `size` bytes at `offset`."""
    _UINT32.pack_into(view, offset + CRC, crc32c(memoryview(view)[offset + ATTRIBUTES : offset + size], 0))
