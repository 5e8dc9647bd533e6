"""Record batches: each that Kafka's own classes wrote is read and rebuilt; the walk against a plain reader; damage."""

import json
import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.wire import records as r
from ottla.wire.compression import Codec
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.records import ControlRecordType, Record, RecordBatch, TimestampType, batches, build_batch
from ottla.wire.varint import encode_zigzag
from ottla.wire.walk import walk

BUDGET = 1 << 20
GOLDEN = {
    case["name"]: case
    for case in map(
        json.loads, (Path(__file__).parent / "data" / "record_batches.jsonl").read_text("utf-8").splitlines()
    )
}
V2 = [name for name in GOLDEN if name.startswith("v2_")]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
T0 = 1_700_000_000_000


def data_of(name):
    return bytes.fromhex(GOLDEN[name]["hex"])


def expected_records(batch):
    return [
        Record(
            record["offset"],
            record["timestamp"],
            None if record["key_hex"] is None else bytes.fromhex(record["key_hex"]),
            None if record["value_hex"] is None else bytes.fromhex(record["value_hex"]),
            [(key, None if value is None else bytes.fromhex(value)) for key, value in record["headers"]],
        )
        for record in batch["records"]
    ]


def invalid(call):
    with pytest.raises(KafkaError) as caught:
        call()
    assert caught.value.code == ErrorCode.INVALID_RECORD
    return caught.value.message


# What Kafka wrote


def test_all_golden_batches_are_here():
    assert len(GOLDEN) == 28


@pytest.mark.parametrize("name", V2)
def test_golden_batch(name):
    data = data_of(name)
    found = list(batches(memoryview(data)))
    assert sum(batch.size for batch in found) == len(data)
    for batch, golden in zip(found, GOLDEN[name]["batches"], strict=True):
        assert batch.is_complete
        assert batch.magic == golden["magic"]
        assert batch.base_offset == golden["base_offset"]
        assert batch.last_offset == golden["last_offset"]
        assert batch.next_offset == golden["last_offset"] + 1
        assert batch.size == golden["size_in_bytes"]
        assert CODECS[batch.codec] == golden["codec"]
        assert (batch.timestamp_type == TimestampType.LOG_APPEND_TIME) == (golden["timestamp_type"] == "LogAppendTime")
        assert batch.max_timestamp == golden["max_timestamp"]
        assert batch.producer_id == golden["producer_id"]
        assert batch.has_producer_id == (golden["producer_id"] != -1)
        assert batch.producer_epoch == golden["producer_epoch"]
        assert batch.base_sequence == golden["base_sequence"]
        assert batch.last_sequence == golden["last_sequence"]
        assert batch.is_transactional == golden["transactional"]
        assert batch.is_control == golden["control"]
        assert batch.partition_leader_epoch == golden["leader_epoch"]
        assert batch.delete_horizon_ms == golden["delete_horizon_ms"]
        assert batch.crc == golden["crc"] == batch.compute_crc()
        assert batch.is_valid_crc()
        assert batch.records_count == len(golden["records"])
        assert list(batch.records(BUDGET)) == expected_records(golden)
        result = walk(batch.block(BUDGET), batch.records_count, base_timestamp=batch.base_timestamp)
        if golden["records"] and batch.timestamp_type == TimestampType.CREATE_TIME:
            assert batch.base_timestamp + result.max_timestamp_delta == golden["max_timestamp"]


@pytest.mark.parametrize("name", [name for name in V2 if name not in ("v2_two_batches", "v2_log_append_time")])
def test_golden_batch_is_rebuilt(name):
    """Byte for byte if it is not compressed; else the same records, the same header but for length and CRC."""
    data = data_of(name)
    batch = RecordBatch(data)
    built = build_batch(
        batch.records(BUDGET),
        base_offset=batch.base_offset,
        leader_epoch=batch.partition_leader_epoch,
        codec=batch.codec,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.is_transactional,
        control=batch.is_control,
        last_offset_delta=batch.last_offset_delta,
        max_timestamp_ms=batch.max_timestamp,
    )
    again = RecordBatch(built)
    assert again.is_valid_crc()
    if batch.codec == Codec.NONE:
        assert built == data
    else:
        assert built[r.ATTRIBUTES : r.RECORDS] == data[r.ATTRIBUTES : r.RECORDS]
        assert list(again.records(BUDGET)) == list(batch.records(BUDGET))


def test_golden_log_append_time_is_stamped():
    plain = data_of("v2_none_3")
    buffer = bytearray(b"before" + plain + b"after")
    view = memoryview(buffer)[6:]
    r.stamp(view, 40, -1)
    r.stamp_append_time(view, 1_700_000_009_999)
    assert buffer == b"before" + data_of("v2_log_append_time") + b"after"
    buffer[6 : 6 + len(plain)] = plain
    r.stamp(buffer, 40, -1, 6)
    r.stamp_append_time(buffer, 1_700_000_009_999, 6)
    assert buffer == b"before" + data_of("v2_log_append_time") + b"after"


def test_stamp_stays_outside_the_crc():
    buffer = bytearray(data_of("v2_lz4_40"))
    r.stamp(buffer, 1 << 40, 77)
    batch = RecordBatch(buffer)
    assert (batch.base_offset, batch.partition_leader_epoch) == (1 << 40, 77)
    assert batch.is_valid_crc()
    assert next(batch.records(BUDGET)).offset == 1 << 40


@pytest.mark.parametrize(("commit", "name"), [(True, "v2_control_commit"), (False, "v2_control_abort")])
def test_golden_control_batch(commit, name):
    golden = GOLDEN[name]["batches"][0]
    built = r.build_control_batch(
        4242, 3, commit, 9, timestamp_ms=golden["max_timestamp"], base_offset=golden["base_offset"], leader_epoch=5
    )
    assert built == data_of(name)
    kind = ControlRecordType.COMMIT if commit else ControlRecordType.ABORT
    assert RecordBatch(built).control_record() == (kind, 9)


@pytest.mark.parametrize("codec", range(5))
@pytest.mark.parametrize("source", [name for name in V2 if name.endswith("_40")])
def test_recompress(source, codec):
    batch = RecordBatch(data_of(source))
    other = RecordBatch(r.recompress(batch, codec, BUDGET))
    assert other.codec == codec
    assert other.is_valid_crc()
    assert (other.base_offset, other.partition_leader_epoch) == (1000, 7)
    assert bytes(other.block(BUDGET)) == bytes(batch.block(BUDGET))
    if codec == Codec.NONE:
        assert other.memory() == data_of("v2_none_40")


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in V2])
def test_legacy_messages_are_recognised_not_read(name):
    data = data_of(name)
    found = list(batches(data))
    goldens = GOLDEN[name]["batches"]
    assert [(batch.magic, batch.size) for batch in found] == [(g["magic"], g["size_in_bytes"]) for g in goldens]
    for batch in found:
        assert batch.is_valid_crc()
        with pytest.raises(KafkaError) as caught:
            list(batch.records(BUDGET))
        assert caught.value.code == ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT


# Batches in a buffer


def test_cut_batch_at_the_end_is_left_out():
    data = data_of("v2_two_batches")
    first = RecordBatch(data).size
    for size in range(len(data)):
        assert len(list(batches(data[:size]))) == (1 if size >= first else 0)
    assert [batch.offset for batch in batches(b"xyz" + data, 3)] == [3, 3 + first]


@pytest.mark.parametrize(("offset", "value"), [(r.BATCH_LENGTH, -1), (r.BATCH_LENGTH, 13), (r.BATCH_LENGTH, 48)])
def test_batch_length_that_cannot_be(offset, value):
    data = bytearray(data_of("v2_none_3"))
    struct.pack_into(">i", data, offset, value)
    for call in (lambda: list(batches(data)), lambda: RecordBatch(data)):
        with pytest.raises(KafkaError) as caught:
            call()
        assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("magic", [3, 127, 255])
def test_unknown_magic(magic):
    data = bytearray(data_of("v2_none_3"))
    data[r.MAGIC] = magic
    for call in (lambda: list(batches(data)), lambda: list(batches(data[:100])), lambda: RecordBatch(data)):
        with pytest.raises(KafkaError) as caught:
            call()
        assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


def test_header_alone():
    data = data_of("v2_none_40")
    batch = RecordBatch(data[: r.HEADER_SIZE])
    assert (batch.last_offset, batch.size) == (1039, len(data))
    assert not batch.is_complete
    assert not batch.is_valid_crc()
    with pytest.raises(KafkaError) as caught:
        list(batch.records(BUDGET))
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE
    with pytest.raises(KafkaError) as caught:
        RecordBatch(data[: r.HEADER_SIZE - 1])
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


def test_reading_copies_no_stored_block():
    data = bytearray(data_of("v2_none_3"))
    block = RecordBatch(memoryview(data)).block(BUDGET)
    assert isinstance(block, memoryview)
    assert block.obj is data


def test_compaction_leaves_gaps_and_a_delete_horizon():
    kept = [Record(12, T0 + 5, b"a", None), Record(17, T0 + 9, b"b", b"1")]
    batch = RecordBatch(build_batch(kept, base_offset=10, last_offset_delta=9, delete_horizon_ms=T0 + 1000, codec=4))
    assert (batch.base_offset, batch.last_offset, batch.records_count) == (10, 19, 2)
    assert batch.delete_horizon_ms == batch.base_timestamp == T0 + 1000
    assert batch.max_timestamp == T0 + 9
    assert list(batch.records(BUDGET)) == kept
    assert "record 0: its offset delta is 2" in invalid(lambda: walk(batch.block(BUDGET), 2))


def test_header_key_that_is_not_utf_8_is_kept():
    record = Record(0, T0, None, b"", [(b"\xff\xfe".decode("utf-8", "surrogateescape"), b"1")])
    built = build_batch([record])
    assert b"\x04\xff\xfe\x021" in built
    assert build_batch(RecordBatch(built).records(BUDGET)) == built


# The walk


def encode(fields, length=None):
    body = b"\0" + b"".join(encode_zigzag(field) if isinstance(field, int) else field for field in fields)
    return encode_zigzag(len(body) if length is None else length) + body


PLAIN = (0, 0, 1, b"k", 1, b"v", 0)  # timestamp delta, offset delta, key, value, header count


@pytest.mark.parametrize("at", [0, 1, 70, 129, 8191, 8192, 8300])
@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ((0, 7, 1, b"k", 1, b"v", 0), None),  # offset delta
        ((0, None, -2, 1, b"v", 0), None),  # key length
        ((0, None, 1, b"k", -2, 0), None),  # value length
        ((0, None, 1, b"k", 1, b"v", -1), None),  # header count
        ((0, None, 1, b"k", 1, b"v", 1, -1, 1, b"x"), None),  # null header key
        ((0, None, 1, b"k", 1, b"v", 1, 1, b"h", -2), None),  # header value length
        ((0, None, 1, b"k", 1, b"v", 2, 1, b"h", -1), None),  # a header less than counted
        ((0, None, 1, b"k", 1, b"v", 0, b"?"), None),  # a byte too many
        ((0, None, 1, b"k", 3, b"v", 0), None),  # value reaches over the end
        ((0, None, 1, b"k", 1, b"v", 0), 7),  # length too small
        ((0, None, 1, b"k", 1, b"v", 0), 100_000),  # length too large
        ((0, None, 1, b"k", 1, b"v", 0), -1),
        ((0, None, 1, b"k", b"\xff\xff\xff\xff\xff\xff", b"v", 0), None),  # varint that does not end
        ((b"\xff" * 10, None, 1, b"k", 1, b"v", 0), None),
        ((0, None, 1, b"k", 1, b"v", b"\xfe\xff\xff\xff\x0f"), None),  # two billion headers
    ],
)
def test_walk_refuses(at, fields, length):
    def record(index, fields, length=None):
        return encode([index if field is None else field for field in fields], length)

    good = [record(index, (0, None, *PLAIN[2:])) for index in range(at + 2)]
    assert walk(b"".join(good), len(good)) == (0, (), ())
    good[at] = record(at, fields, length)
    assert f"record {at}: " in invalid(lambda: walk(b"".join(good), len(good)))


def test_walk_wants_the_block_filled():
    block = encode(PLAIN)
    assert "1 bytes after the last record" in invalid(lambda: walk(block + b"\0", 1))
    assert "bytes after" in invalid(lambda: walk(block, 0))
    assert "record 1: " in invalid(lambda: walk(block, 2))
    assert "record 1: " in invalid(lambda: walk(block, 2**31 - 1))
    assert walk(b"", 0) == (0, (), ())
    assert walk(b"", -5) == (0, (), ())


def test_walk_takes_varints_longer_than_needed():
    block = encode((b"\x80\0", b"\x80\0", b"\x82\0", b"k", b"\x81\0", b"\x80\0"))
    assert walk(block, 1) == (0, (), ())
    block = encode((b"\x80\0", b"\x80\0", b"\x81\0", b"\x81\0", b"\x80\0"))
    assert walk(block, 1, keys_required=True).null_keys == [0]


def test_walk_finds_null_keys_and_bad_timestamps():
    rows = [Record(i, T0 + i * 10, None if i % 3 == 0 else b"", b"x" * i) for i in range(200)]
    rows[150].timestamp_ms = -1
    batch = RecordBatch(build_batch(rows))
    block = batch.block(BUDGET)
    base = batch.base_timestamp
    assert walk(block, 200, base_timestamp=base) == (1990, (), ())
    assert walk(block, 200, keys_required=True).null_keys == list(range(0, 200, 3))
    found = walk(block, 200, base_timestamp=base, timestamp_range=(T0 + 20, T0 + 1900)).bad_timestamps
    assert found == [0, 1, *range(191, 200)]
    assert walk(block, 200, base_timestamp=base, timestamp_range=(T0, T0 + 1990)).bad_timestamps == []
    assert walk(build(rows[1:3], 1), 2, keys_required=True).null_keys == ()


def build(rows, base_offset=0):
    return RecordBatch(build_batch(rows, base_offset=base_offset)).block(BUDGET)


HEADERS = st.lists(
    st.tuples(st.text(max_size=3) | st.just("h" * 70), st.none() | st.binary(max_size=3) | st.just(bytes(90))),
    max_size=3,
)
ROW = st.tuples(
    st.sampled_from([0, 1, 63, 64, 8191, 8192, 10**12, -1, -64, -65]) | st.integers(-(10**6), 10**6),
    st.none() | st.binary(max_size=4) | st.integers(50, 140).map(bytes),
    st.none()
    | st.binary(max_size=4)
    | st.integers(0, 140).map(bytes)
    | st.sampled_from([8100, 8192, 17000]).map(bytes),
    HEADERS,
)


@settings(max_examples=150)
@given(st.lists(ROW, min_size=1, max_size=12), st.integers(1, 30), st.sampled_from(Codec), st.integers(0, 2**40))
def test_round_trip_and_walk(rows, times, codec, base_offset):
    rows = [
        Record(base_offset + i, T0 + delta, key, value, headers)
        for i, (delta, key, value, headers) in enumerate(rows * times)
    ]
    batch = RecordBatch(build_batch(rows, base_offset=base_offset, codec=codec, base_sequence=2**31 - 3))
    assert batch.is_valid_crc()
    assert batch.records_count == len(rows) == batch.last_offset_delta + 1
    assert batch.max_timestamp == max(-1, *(row.timestamp_ms for row in rows))
    assert list(batch.records(64 * BUDGET)) == rows
    result = walk(
        batch.block(64 * BUDGET),
        len(rows),
        base_timestamp=batch.base_timestamp,
        timestamp_range=(T0, T0 + 8191),
        keys_required=True,
    )
    assert batch.base_timestamp + result.max_timestamp_delta == max(row.timestamp_ms for row in rows)
    assert list(result.null_keys) == [i for i, row in enumerate(rows) if row.key is None]
    assert list(result.bad_timestamps) == [i for i, row in enumerate(rows) if not T0 <= row.timestamp_ms <= T0 + 8191]


def check_offset_deltas(count, tried):
    """`count` records are walked; a wrong delta at an index of `tried`, above all a cut one, is found."""
    rest = b"\x02k\x02v\0"
    deltas = [encode_zigzag(delta) for delta in range(count + 1)]
    parts = [encode_zigzag(len(delta) + 7) + b"\0\0" + delta + rest for delta in deltas]
    assert walk(b"".join(parts[:count]), count) == (0, (), ())
    for at in tried:
        block = b"".join(parts[:at])
        for wrong in {deltas[at][:-1], deltas[at][:1], deltas[at + 1], deltas[at - 1], b"\0"} - {deltas[at]}:
            damaged = block + encode_zigzag(len(wrong) + 7) + b"\0\0" + wrong + rest
            assert f"record {at}: " in invalid(lambda damaged=damaged, at=at: walk(damaged, at + 1))


def test_walk_of_offset_deltas_of_up_to_three_bytes():
    check_offset_deltas(17_000, (1, 63, 64, 127, 128, 8191, 8192, 16_383, 16_384))


@pytest.mark.long
def test_walk_of_offset_deltas_of_four_bytes():
    check_offset_deltas((1 << 20) + 9000, ((1 << 20) - 1, 1 << 20, (1 << 20) + 8192))


def plain_walk(data, count):
    """What `walk` must find, by the reader of records alone."""
    position = 0
    deltas = []
    for index in range(count):
        position, timestamp_delta, offset_delta, *_ = r._read_record(data, position)
        if offset_delta != index:
            raise ProtocolError("offset delta")
        deltas.append(timestamp_delta)
    if position != len(data):
        raise ProtocolError("garbage")
    return max(deltas)


@pytest.mark.parametrize("seed", range(4))
def test_walk_and_reader_agree_on_damage(seed):
    rng = random.Random(seed)
    rows = [
        Record(
            i,
            T0 + i // 5 * (seed + 1),
            rng.choice([None, b"key", b"other key"]),
            bytes(rng.randrange(20, 90)),
            [("h", b"1")] * (i % 2),
        )
        for i in range(130)
    ]
    block = bytes(build(rows))
    agreed = {True: 0, False: 0}
    for _ in range(1500):
        damaged = bytearray(block)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        for _ in range(rng.randrange(1, 3)):
            if damaged:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        data = bytes(damaged)
        try:
            expected = plain_walk(data, 130)
        except ProtocolError:
            expected = None
        if expected is None:
            invalid(lambda data=data: walk(memoryview(data), 130))
        else:
            assert walk(memoryview(data), 130).max_timestamp_delta == expected
        agreed[expected is None] += 1
    assert min(agreed.values()) > 100


# Damage of whole batches


def read_all(data):
    for batch in batches(data):
        batch.is_valid_crc()
        repr(batch)
        list(batch.records(BUDGET))
        if batch.is_control:
            batch.control_record()
        walk(batch.block(BUDGET), batch.records_count, keys_required=True, timestamp_range=(T0, T0 + 10))


@pytest.mark.parametrize("name", GOLDEN)
def test_damage_raises_no_other_error(name):
    rng = random.Random(name)
    data = data_of(name)
    for size in range(len(data)):
        with suppress(KafkaError):
            read_all(data[:size])
            RecordBatch(data[:size]).block(BUDGET)
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with suppress(KafkaError):
            read_all(memoryview(damaged))


@pytest.mark.parametrize("name", [name for name in V2 if name != "v2_two_batches"])
def test_each_flipped_bit_under_the_crc_is_seen(name):
    data = data_of(name)
    for bit in range(r.CRC * 8, len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not RecordBatch(damaged).is_valid_crc()


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_bomb_is_refused(codec):
    batch = RecordBatch(build_batch([Record(0, T0, None, bytes(8 << 20))], codec=codec))
    assert batch.size < 1 << 20
    with pytest.raises(KafkaError) as caught:
        list(batch.records(BUDGET))
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE
    assert len(next(batch.records(9 << 20)).value) == 8 << 20


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_unknown_codec(codec):
    data = bytearray(data_of("v2_none_3"))
    data[r.ATTRIBUTES + 1] |= codec
    assert RecordBatch(data).codec == codec
    invalid(lambda: list(RecordBatch(data).records(BUDGET)))


# Control records


def test_control_record_types():
    assert r.control_record_type(bytes.fromhex("00000001")) == ControlRecordType.COMMIT
    assert r.control_record_type(bytes.fromhex("00000006")) == ControlRecordType.KRAFT_VOTERS
    assert r.control_record_type(bytes.fromhex("000000070909")) == ControlRecordType.UNKNOWN
    assert r.control_record_type(bytes.fromhex("0000ffff")) == ControlRecordType.UNKNOWN
    for key in (None, b"", b"\0\0\0", b"\xff\xff\0\0"):
        invalid(lambda key=key: r.control_record_type(key))


def test_control_batch_without_its_record():
    for rows in ([], [Record(0, T0, None, b"")], [Record(0, T0, bytes(4), None)], [Record(0, T0, bytes(4), bytes(5))]):
        batch = RecordBatch(build_batch(rows, control=True, transactional=True, last_offset_delta=0))
        invalid(batch.control_record)
    leader_change = RecordBatch(build_batch([Record(0, T0, bytes([0, 0, 0, 2]), b"?")], control=True))
    assert leader_change.control_record() == (ControlRecordType.LEADER_CHANGE, -1)


# Other implementations


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP])
def test_kafka_python_reads_what_we_build(codec):
    from kafka.record import MemoryRecords

    rows = [
        Record(100 + i, T0 + i, b"k%d" % i, None if i == 3 else b"v" * i, [("h", None)] * (i % 2)) for i in range(100)
    ]
    reader = MemoryRecords(bytes(build_batch(rows, base_offset=100, codec=codec)))
    found = [
        Record(record.offset, record.timestamp, record.key, record.value, list(record.headers))
        for record in reader.next_batch()
    ]
    assert found == rows


def test_we_read_what_kafka_python_builds():
    from kafka.record.memory_records import MemoryRecordsBuilder

    for codec in (0, 1):
        builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=1 << 20)
        for i in range(300):
            builder.append(timestamp=T0 + i, key=b"k", value=b"v" * i, headers=[("h", b"x")])
        builder.close()
        batch = RecordBatch(builder.buffer())
        assert batch.is_valid_crc()
        assert [record.value for record in batch.records(BUDGET)] == [b"v" * i for i in range(300)]
        assert walk(batch.block(BUDGET), 300).max_timestamp_delta == 299


def test_record_equality_and_repr():
    record = Record(1, 2, b"k", None, [("h", b"x")])
    assert record == Record(1, 2, b"k", None, (("h", b"x"),))
    assert record != Record(1, 2, b"k", b"", [("h", b"x")])
    assert record != "record"
    assert repr(record) == "Record(offset=1, timestamp_ms=2, key=b'k', value=None, headers=[('h', b'x')])"
    assert repr(RecordBatch(data_of("v2_none_3"))).startswith(
        "RecordBatch(base_offset=0, last_offset=2, size=132, magic=2,"
    )
