"""What a record batch must be before it enters a log, in the order in which Kafka answers (LogValidator), and what is
made of it.

Pure: bytes and configs in, a batch ready to be stamped out. Stricter than Kafka: bytes after the batch and offset
deltas other than 0, 1, 2... are refused. Producer state (sequences, epochs) is not looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple, NoReturn

from ottla.log.config import MAX_LONG, LogConfig
from ottla.wire.compression import decompress
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.records import (
    ATTRIBUTES,
    BATCH_LENGTH,
    CODEC_MASK,
    CONTROL_BIT,
    CRC,
    CURRENT_MAGIC,
    HEADER,
    HEADER_SIZE,
    LOG_APPEND_TIME_BIT,
    LOG_OVERHEAD,
    MAGIC,
    MAX_TIMESTAMP,
    NO_TIMESTAMP,
    RECORDS,
    RecordBatch,
    recompress,
    stamp_append_time,
)
from ottla.wire.schema import Buffer
from ottla.wire.walk import walk

_ROOM_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 1 << 16
_SHOWN_ERRORS: Final = 3
_SMALLEST_BATCH: Final = 26  # a message of magic 0 without key and value
_LISTED_ERRORS: Final = 1000
_COMPRESSION_LEVELS: Final = {1: "compression_gzip_level", 3: "compression_lz4_level", 4: "compression_zstd_level"}


class InvalidRecordsError(KafkaError):
    """Some records of a batch are at fault: `record_errors` are (index in the batch, what is wrong), for RecordErrors
    of Produce v8+."""

    def __init__(self, code: ErrorCode, message: str, record_errors: list[tuple[int, str]]) -> None:
        super().__init__(code, message)
        self.record_errors = record_errors


class ValidBatch(NamedTuple):
    """A batch that may be stored: `data` is a writable buffer of exactly `size` bytes."""

    data: bytearray | memoryview
    size: int
    attributes: int
    last_offset_delta: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int


def validate(records: Buffer, config: LogConfig, now_ms: int, from_client: bool) -> ValidBatch:
    """The one batch in `records`, checked and brought to the topic's timestamp type and codec.

    `from_client` False trusts the content (a coordinator built it). The result's `data` is `records` itself where that
    is writable and nothing had to be rewritten but header fields. Raises KafkaError INVALID_RECORD, CORRUPT_MESSAGE,
    MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP; InvalidRecordsError where records are to blame.
    """
    view = memoryview(records)
    available = view.nbytes
    if available < HEADER_SIZE:
        refuse_shape(view)
    (
        base_offset,
        length,
        _,
        magic,
        crc,
        attributes,
        delta,
        base_ms,
        max_ms,
        producer_id,
        producer_epoch,
        sequence,
        count,
    ) = HEADER.unpack_from(view)
    size = length + LOG_OVERHEAD
    if size != available or magic != CURRENT_MAGIC:
        refuse_shape(view)
    if from_client and base_offset != 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Base offset of a produced batch is {base_offset}, it must be 0")
    if size > config.max_message_bytes:
        _refuse_large(size, config.max_message_bytes)
    if from_client:
        if crc32c(view[ATTRIBUTES:], 0) != crc:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Record is corrupt (stored crc = {crc})")
        if delta < 0 or count != delta + 1:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"Batch of {count} records has last offset delta {delta}")
        if attributes & CONTROL_BIT:
            raise KafkaError(ErrorCode.INVALID_RECORD, "Clients are not allowed to write control records")
        if producer_id >= 0 and sequence < 0:
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                f"Invalid sequence number {sequence} in record batch with producerId {producer_id}",
            )
        actual_max_ms = _check_records(view, config, now_ms, attributes, count, base_ms, max_ms)
    else:
        actual_max_ms = max_ms
    data = bytearray(view) if view.readonly else view
    codec = config.compression_type
    if codec is not None and codec != attributes & CODEC_MASK and from_client:
        level = getattr(config, _COMPRESSION_LEVELS[codec]) if codec in _COMPRESSION_LEVELS else None
        data = recompress(RecordBatch(view), codec, config.max_decompressed_message_bytes, level)
        size = len(data)
        if size > config.max_message_bytes:
            _refuse_large(size, config.max_message_bytes)
        attributes = attributes & ~CODEC_MASK | codec
    if size > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"Message batch size is {size} bytes, which exceeds the segment size of {config.segment_bytes}",
        )
    if config.message_timestamp_type != "CreateTime" and from_client:
        stamp_append_time(data, now_ms)
        attributes |= LOG_APPEND_TIME_BIT
        actual_max_ms = now_ms
    elif from_client and attributes & LOG_APPEND_TIME_BIT:  # it is the topic that says whose clock counts
        attributes &= ~LOG_APPEND_TIME_BIT
        data[ATTRIBUTES + 1] &= ~LOG_APPEND_TIME_BIT
        _stamp_crc(data)
    elif actual_max_ms != max_ms:  # a wrong largest timestamp would mislead the time index and retention for ever
        data[MAX_TIMESTAMP : MAX_TIMESTAMP + 8] = actual_max_ms.to_bytes(8, "big", signed=True)
        _stamp_crc(data)
    return ValidBatch(data, size, attributes, delta, actual_max_ms, producer_id, producer_epoch, sequence)


def _check_records(
    view: memoryview, config: LogConfig, now_ms: int, attributes: int, count: int, base_ms: int, max_ms: int
) -> int:
    """Check what lies behind the header as far as the topic wants it; returns the largest timestamp."""
    compacts = "compact" in config.cleanup_policy
    create_time = config.message_timestamp_type == "CreateTime"
    append_stamped = attributes & LOG_APPEND_TIME_BIT
    if append_stamped and (not create_time or max_ms == NO_TIMESTAMP):
        _refuse_records(
            ErrorCode.INVALID_TIMESTAMP,
            [(index, "Producer should not set timestamp type to LogAppendTime") for index in _indexes(count)],
        )
    latest_ms = min(now_ms + config.message_timestamp_after_max_ms, MAX_LONG)  # base and delta may add up to more
    earliest_ms = now_ms - config.message_timestamp_before_max_ms
    full = config.ottla_record_validation == "full"
    null_keys: Sequence[int] = ()
    block: Buffer = b""
    if full or compacts:
        block = view[RECORDS:]
        codec = attributes & CODEC_MASK
        if codec:
            block = decompress(codec, block, config.max_decompressed_message_bytes, _room())
        if isinstance(block, memoryview) and _LARGE_BYTES <= len(block) <= _ROOM_BYTES:
            block = _copied(block)
        walked = walk(block, count, keys_required=compacts)
        null_keys = walked.null_keys
        if not append_stamped:
            max_ms = base_ms + walked.max_timestamp_delta
    outside: Sequence[int] = ()
    if create_time and (max_ms > latest_ms or earliest_ms >= 0):
        outside = _outside(block, count, (earliest_ms, latest_ms), base_ms, max_ms, bool(append_stamped))
    if null_keys or outside:
        text = f"Timestamp is out of range. It should be within [{earliest_ms}, {latest_ms}]"
        faults = dict.fromkeys(outside, text)
        faults.update(dict.fromkeys(null_keys, "Compacted topic cannot accept message without key"))
        # A record is told one fault, its key before its timestamp; one bad timestamp decides for the batch.
        by_time = text in faults.values()
        _refuse_records(ErrorCode.INVALID_TIMESTAMP if by_time else ErrorCode.INVALID_RECORD, sorted(faults.items()))
    return max_ms


def _copied(block: memoryview) -> bytearray:
    """`block` where the last large one was, as the walk wants it: no view. Memory that is got and given back for each
    batch is 64 page faults for 256 KiB, 40 us.
    """
    nbytes = len(block)
    if len(_grid) > nbytes:
        del _grid[nbytes:]
    else:
        _grid.extend(block[len(_grid) :])
    with memoryview(_grid) as grid:
        grid[:] = block
    return _grid


_grid = bytearray()


@cache
def _room() -> memoryview:
    """Where a compressed batch is unpacked to be looked at, made for the first one; the next one overwrites it."""
    return memoryview(bytearray(_ROOM_BYTES))


def _outside(
    block: Buffer, count: int, allowed_ms: tuple[int, int], base_ms: int, max_ms: int, append_stamped: bool
) -> Sequence[int]:
    """The slow way, once a timestamp may be out of range (or a lower limit is set): which records are."""
    earliest_ms, latest_ms = allowed_ms
    if append_stamped or not block:  # one timestamp for all, or the header's word for it
        low = max_ms if append_stamped else base_ms
        outside = max_ms > latest_ms or (low != NO_TIMESTAMP and low < earliest_ms)
        return _indexes(count) if outside and append_stamped else [0] if outside else ()
    return walk(block, count, base_timestamp=base_ms, timestamp_range=allowed_ms).bad_timestamps


def _indexes(count: int) -> range:
    """Indexes of all records that a header announces, as far as an answer lists them: nobody has counted them yet."""
    return range(min(count, _LISTED_ERRORS))


def _refuse_records(code: ErrorCode, record_errors: list[tuple[int, str]]) -> NoReturn:
    shown = "; ".join(f"record {index}: {text}" for index, text in record_errors[:_SHOWN_ERRORS])
    raise InvalidRecordsError(
        code,
        f"One or more records have been rejected due to {len(record_errors)} record errors in total: {shown}",
        record_errors,
    )


def refuse_shape(view: memoryview) -> NoReturn:
    """`view` is not exactly one batch of today's format: raise the KafkaError that Kafka answers."""
    size = _batch_size(view)
    if size is None:
        raise KafkaError(
            ErrorCode.INVALID_RECORD, f"Produce needs one record batch, there is no complete one in {view.nbytes} bytes"
        )
    if view[MAGIC] < CURRENT_MAGIC:
        raise KafkaError(
            ErrorCode.INVALID_RECORD, f"Produce only accepts records with magic {CURRENT_MAGIC}, not {view[MAGIC]}"
        )
    if size < HEADER_SIZE:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch size {size} is less than the header")
    rest = view[size:]
    if _batch_size(rest) is not None:
        raise KafkaError(ErrorCode.INVALID_RECORD, "Produce needs exactly one record batch, there are more")
    raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{rest.nbytes} bytes follow the record batch")


def _batch_size(view: memoryview) -> int | None:
    """Bytes of the batch of any format that `view` starts with; None if it is not all there. Raises CORRUPT_MESSAGE."""
    if view.nbytes < LOG_OVERHEAD:
        return None
    size = int.from_bytes(view[BATCH_LENGTH:LOG_OVERHEAD], "big", signed=True) + LOG_OVERHEAD
    if size < _SMALLEST_BATCH:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch size {size} is less than any can be")
    if view.nbytes <= MAGIC:
        return None
    if view[MAGIC] > CURRENT_MAGIC:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Nobody knows record batches with magic {view[MAGIC]}")
    return size if size <= view.nbytes else None


def _refuse_large(size: int, limit: int) -> NoReturn:
    raise KafkaError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"The record batch size is {size} bytes which exceeds the maximum configured value of {limit}",
    )


def _stamp_crc(data: bytearray | memoryview) -> None:
    data[CRC : CRC + 4] = crc32c(memoryview(data)[ATTRIBUTES:], 0).to_bytes(4, "big")
