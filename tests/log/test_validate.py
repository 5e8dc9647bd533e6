"""What may enter a log: Kafka's checks and codes as a table, the stricter ones, timestamps, codecs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.log.config import LogConfig
from ottla.log.validate import InvalidRecordsError, ValidBatch, validate
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.records import Record, RecordBatch, TimestampType, build_batch

NOW = 1_700_000_000_000
HOUR = 3_600_000
BAD, CORRUPT, TIME = ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE, ErrorCode.INVALID_TIMESTAMP


def config(**overrides: str) -> LogConfig:
    return LogConfig.from_properties(None, {name.replace("_", "."): value for name, value in overrides.items()})


def made(*timestamps: int, key: bytes | None = b"k", **options: Any) -> bytearray:
    records = [Record(i, t, key, b"value %d" % i) for i, t in enumerate(timestamps or (NOW, NOW + 5, NOW + 1))]
    return build_batch(records, **options)


def seal(data: bytearray) -> bytearray:
    data[17:21] = crc32c(memoryview(data)[21:], 0).to_bytes(4, "big")
    return data


def put(position: int, value: int, size: int) -> Callable[[bytearray], bytearray]:
    """Another header field, with a right CRC."""

    def change(data: bytearray) -> bytearray:
        data[position : position + size] = value.to_bytes(size, "big", signed=True)
        return seal(data)

    return change


def check(data: bytes | bytearray | memoryview, *, from_client: bool = True, **overrides: str) -> ValidBatch:
    return validate(data, config(**overrides), NOW, from_client)


def flip(position: int) -> Callable[[bytearray], bytearray]:
    def change(data: bytearray) -> bytearray:
        data[position] ^= 1
        return data

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d[:0], BAD),
        (lambda d: d[:60], BAD),
        (lambda d: d[:-1], BAD),
        (lambda d: d + made(), BAD),
        (lambda d: d + b"x", CORRUPT),
        (lambda d: d + bytes(100), CORRUPT),
        (put(16, 1, 1), BAD),
        (put(16, 3, 1), CORRUPT),
        (put(8, 10, 4), CORRUPT),
        (put(8, -13, 4), CORRUPT),
        (put(0, 7, 8), BAD),
        (flip(-1), CORRUPT),
        (flip(20), CORRUPT),
        (flip(40), CORRUPT),
        (put(23, -1, 4), BAD),
        (put(57, 0, 4), BAD),
        (put(57, 2, 4), BAD),
        (put(57, -1, 4), BAD),
        (put(23, 1, 4), BAD),
        (put(21, 0x20, 2), BAD),
        (put(21, 5, 2), BAD),
        (put(21, 1, 2), BAD),
        (put(43, 5, 8), BAD),
    ],
    ids=[
        "empty",
        "cut header",
        "cut",
        "two batches",
        "a byte after it",
        "zeroes after it",
        "magic 1",
        "magic 3",
        "length 10",
        "negative length",
        "base offset",
        "flipped value",
        "flipped crc",
        "flipped timestamp",
        "last delta -1",
        "no records",
        "count 2",
        "count -1",
        "last delta 1",
        "control",
        "codec 5",
        "not gzip",
        "producer id without sequence",
    ],
)
def test_refused(change: Callable[[bytearray], bytearray], code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as caught:
        check(change(made()))
    assert caught.value.code == code


@pytest.mark.parametrize("codec", range(5))
def test_deltas_are_walked_unless_only_the_header_is_checked(codec: int) -> None:
    records = [Record(0, NOW, b"k", b"v"), Record(2, NOW, b"k", b"v"), Record(1, NOW, b"k", b"v")]
    data = put(23, 2, 4)(build_batch(records, codec=codec))
    with pytest.raises(KafkaError) as caught:
        check(data)
    assert caught.value.code == BAD
    assert check(data, ottla_record_validation="header").last_offset_delta == 2


def test_the_buffer_itself_is_used_if_it_can_be_written() -> None:
    data = memoryview(made())
    assert check(data).data.obj is data.obj  # type: ignore[union-attr]
    assert isinstance(check(bytes(data)).data, bytearray)


def test_sizes() -> None:
    data = made()
    with pytest.raises(KafkaError) as caught:
        check(data, max_message_bytes=str(len(data) - 1))
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
    with pytest.raises(KafkaError) as caught:
        check(data, segment_bytes=str(len(data) - 1))
    assert caught.value.code == ErrorCode.RECORD_LIST_TOO_LARGE
    assert check(data, max_message_bytes=str(len(data)), segment_bytes=str(len(data))).size == len(data)


@pytest.mark.parametrize("validation", ["full", "header"])
@pytest.mark.parametrize("codec", [0, 1])
def test_timestamps(codec: int, validation: str) -> None:
    def indexes(*timestamps: int, **overrides: str) -> list[int]:
        try:
            check(made(*timestamps, codec=codec), ottla_record_validation=validation, **overrides)
        except InvalidRecordsError as error:
            return [index for index, _ in error.record_errors if error.code == TIME]
        return []

    assert indexes(NOW + HOUR) == []
    assert indexes(NOW, NOW + HOUR + 1, NOW) == ([1] if validation == "full" else [0])
    assert indexes(NOW + HOUR + 1, message_timestamp_after_max_ms="7200000") == []
    assert indexes(0) == []
    assert indexes(NOW - HOUR - 1, message_timestamp_before_max_ms=str(HOUR)) == [0]
    assert indexes(NOW - HOUR, message_timestamp_before_max_ms=str(HOUR)) == []
    assert indexes(-1, message_timestamp_before_max_ms="0") == []
    assert indexes(NOW + HOUR + 1, message_timestamp_type="LogAppendTime") == []


def test_append_time() -> None:
    valid = check(made(), message_timestamp_type="LogAppendTime")
    batch = RecordBatch(valid.data)
    assert batch.is_valid_crc()
    assert (valid.max_timestamp_ms, valid.attributes & 8) == (NOW, 8)
    assert [record.timestamp_ms for record in batch.records(1000)] == [NOW] * 3


def test_batches_that_claim_append_time() -> None:
    with pytest.raises(InvalidRecordsError) as caught:
        check(made(timestamp_type=1), message_timestamp_type="LogAppendTime")
    assert (caught.value.code, len(caught.value.record_errors)) == (TIME, 3)
    with pytest.raises(InvalidRecordsError):
        check(made(-1, timestamp_type=1))
    assert check(made(timestamp_type=1)).max_timestamp_ms == NOW + 5
    with pytest.raises(InvalidRecordsError):
        check(made(NOW + HOUR + 1, timestamp_type=1))


@pytest.mark.parametrize("validation", ["full", "header"])
def test_compacted_topics_need_keys(validation: str) -> None:
    records = [Record(0, NOW, b"k", b"v"), Record(1, NOW, None, b"v"), Record(2, NOW, None, b"v")]
    with pytest.raises(InvalidRecordsError) as caught:
        check(build_batch(records), cleanup_policy="compact,delete", ottla_record_validation=validation)
    assert (caught.value.code, [index for index, _ in caught.value.record_errors]) == (BAD, [1, 2])
    assert check(made(), cleanup_policy="compact").last_offset_delta == 2


def test_a_bad_timestamp_wins_over_null_keys_of_other_records() -> None:
    late = NOW + HOUR + 1
    faults = [(NOW, None), (late, b"k"), (NOW, b"k"), (late, None)]
    records = [Record(at, ms, key, b"v") for at, (ms, key) in enumerate(faults)]
    with pytest.raises(InvalidRecordsError) as caught:
        check(build_batch(records), cleanup_policy="compact")
    assert caught.value.code == TIME
    assert [index for index, _ in caught.value.record_errors] == [0, 1, 3]


def test_a_record_without_key_is_not_blamed_for_its_time() -> None:
    with pytest.raises(InvalidRecordsError) as caught:
        check(made(NOW + HOUR + 1, key=None), cleanup_policy="compact")
    assert caught.value.code == BAD


def test_a_wrong_largest_timestamp_is_put_right() -> None:
    valid = check(put(35, NOW + 1000, 8)(made()))
    assert valid.max_timestamp_ms == NOW + 5
    assert RecordBatch(valid.data).max_timestamp == NOW + 5
    assert RecordBatch(valid.data).is_valid_crc()


@pytest.mark.parametrize("target", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("codec", range(5))
def test_recompression(codec: int, target: str) -> None:
    data = made(codec=codec, producer_id=5, producer_epoch=1, base_sequence=9)
    before = list(RecordBatch(data).records(10_000))
    valid = check(data, compression_type=target)
    batch = RecordBatch(valid.data)
    assert batch.codec == valid.attributes & 7 == ["uncompressed", "gzip", "snappy", "lz4", "zstd"].index(target)
    assert batch.is_valid_crc()
    assert batch.size == valid.size == len(valid.data)
    assert list(batch.records(10_000)) == before
    assert (batch.producer_id, batch.base_sequence) == (5, 9)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(KafkaError) as caught:
        check(build_batch([Record(0, NOW, b"k", bytes(1_000_000))], codec=1), max_decompressed_message_bytes="100000")
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_coordinators_may_write_control_batches() -> None:
    data = build_batch(
        [Record(0, NOW, b"\0\0\0\1", b"\0\0\0\0\0\0")],
        producer_id=1,
        producer_epoch=0,
        transactional=True,
        control=True,
    )
    assert check(data, from_client=False).attributes == 0x30
    with pytest.raises(KafkaError):
        check(data)


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(KafkaError):
        check(data)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(position: int, bit: int) -> None:
    data = made()
    position %= len(data)
    data[position] ^= 1 << bit
    if 12 <= position < 16:  # the leader epoch: whatever the producer says, the leader writes its own
        check(data)
        return
    with pytest.raises(KafkaError):
        check(data)


@pytest.mark.parametrize("validation", ["full", "header"])
def test_a_count_that_nobody_sent_costs_no_memory(validation: str) -> None:
    data = put(57, 2**31 - 1, 4)(put(23, 2**31 - 2, 4)(made(-1, timestamp_type=1)))
    with pytest.raises(InvalidRecordsError) as caught:
        check(data, ottla_record_validation=validation)
    assert len(caught.value.record_errors) == 1000


def test_a_producer_does_not_choose_whose_clock_counts() -> None:
    """The topic's timestamp type is stored, as in Kafka, under a CRC that is right again."""
    valid = check(made(timestamp_type=1))
    stored = RecordBatch(valid.data)
    assert (stored.timestamp_type, valid.attributes & 8, stored.is_valid_crc()) == (TimestampType.CREATE_TIME, 0, True)


def test_a_large_batch_is_not_mistaken_for_the_one_before() -> None:
    """They are walked where the last one was: longer, shorter, and one that ends early."""
    sizes = [700, 900, 650, 1200, 700]
    for count in sizes:
        data = build_batch([Record(at, NOW + at, b"k", bytes(100)) for at in range(count)])
        assert check(data).max_timestamp_ms == NOW + count - 1
        assert len(data) > 1 << 16
    whole = build_batch([Record(at, NOW, b"k", bytes(100)) for at in range(1200)])
    check(bytearray(whole))
    cut = whole[:-50]
    cut[8:12] = (len(cut) - 12).to_bytes(4, "big")
    with pytest.raises(KafkaError) as caught:
        check(seal(cut))
    assert caught.value.code == ErrorCode.INVALID_RECORD
