"""One log: order and offsets, reads and their sizes, rolling, lookups, trim, idempotence, failures of the disk."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.log.door import PartitionLog
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import RecordBatch, build_control_batch
from tests.log.conftest import BadDisk

NOW = 1_700_000_000_000


def code_of(call: Any, *args: Any, **options: Any) -> ErrorCode:
    try:
        call(*args, **options)
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE


def test_it_keeps_the_door(lab: Any) -> None:
    log: PartitionLog = lab.log(lab.open())
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark, log.last_stable_offset) == (0, 0, 0, 0)


def test_batches_are_stored_byte_for_byte_but_for_the_stamp(lab: Any) -> None:
    log = lab.log(lab.open())
    sent = lab.batch(b"a", b"b", codec=4)
    done = log.append(bytes(sent), leader_epoch=6).value
    assert (done.base_offset, done.last_offset, done.log_append_time_ms, done.duplicate) == (0, 1, -1, False)
    assert lab.append(log, b"c") == 2
    (first, second) = lab.read_batches(log, 0)
    assert bytes(first.memory())[16:] == sent[16:]
    assert (first.base_offset, first.partition_leader_epoch, second.base_offset) == (0, 6, 2)
    assert first.is_valid_crc()


def test_append_stamps_a_writable_buffer_in_place(lab: Any) -> None:
    log = lab.log(lab.open())
    lab.append(log)
    frame = bytearray(b"before") + lab.batch(b"x") + b"after"
    log.append(memoryview(frame)[6:-5], leader_epoch=3)
    assert RecordBatch(frame, 6).base_offset == 1
    assert (frame[:6], frame[-5:]) == (b"before", b"after")


def test_append_time(lab: Any) -> None:
    log = lab.log(lab.open(), message_timestamp_type="LogAppendTime")
    lab.clock.advance(1234)
    assert log.append(lab.batch(b"a"), leader_epoch=0).value.log_append_time_ms == NOW + 1234
    assert lab.read_batches(log, 0)[0].max_timestamp == NOW + 1234


def test_compare_and_set(lab: Any) -> None:
    log = lab.log(lab.open())
    assert log.append(lab.batch(b"a"), leader_epoch=0, expected_offset=0).value.base_offset == 0
    assert code_of(log.append, lab.batch(b"a"), leader_epoch=0, expected_offset=0) == ErrorCode.INVALID_UPDATE_VERSION
    assert log.log_end_offset == 1


# --- reads


@pytest.fixture
def ten(lab: Any) -> Any:
    """Ten batches of two records in segments of three batches, a dense index."""
    log = lab.log(lab.open(), segment_bytes="400", index_interval_bytes="100")
    for number in range(10):
        lab.append(log, b"%030d" % number, b"y")
    assert len(log.segments) > 3
    return log


def test_reads_start_at_the_batch_that_holds_the_offset(lab: Any, ten: Any) -> None:
    for offset in range(20):
        assert lab.read_batches(ten, offset)[0].base_offset == offset // 2 * 2
    assert [offset for offset, _ in lab.read_all(ten)] == list(range(20))


def test_a_read_stays_in_one_segment(lab: Any, ten: Any) -> None:
    second = ten.segments[1].base_offset
    assert lab.read_batches(ten, 0)[-1].next_offset == second


def test_read_sizes(lab: Any, ten: Any) -> None:
    def nbytes(offset: int, max_bytes: int, at_least_one: bool) -> int:
        return len(ten.read(offset, max_bytes, min_one_batch=at_least_one).value.take())

    size = lab.read_batches(ten, 0)[0].size
    assert [nbytes(0, limit, True) for limit in (0, 1, size - 1, size, size + 7)] == [size, size, size, size, size + 7]
    assert [nbytes(0, limit, False) for limit in (0, 1, size - 1, size, size + 7)] == [0, 0, 0, size, size + 7]
    assert nbytes(0, 1 << 30, False) == ten.segments[0].size
    assert nbytes(20, 1 << 30, True) == 0


def test_reads_outside_the_log(ten: Any) -> None:
    assert code_of(ten.read, -1, 100, min_one_batch=True) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert code_of(ten.read, 21, 100, min_one_batch=True) == ErrorCode.OFFSET_OUT_OF_RANGE
    result = ten.read(20, 100, min_one_batch=True).value
    assert (result.records, result.high_watermark, result.last_stable_offset, result.log_start_offset) == (
        b"",
        20,
        20,
        0,
    )


def test_an_empty_log_reads_as_nothing(lab: Any) -> None:
    log = lab.log(lab.open())
    assert log.read(0, 100, min_one_batch=True).value.records == b""
    assert log.available_bytes(0) == 0
    assert not lab.folder.joinpath("t-0").exists()


def test_available_bytes_is_never_too_low(lab: Any, ten: Any) -> None:
    for offset in range(20):
        assert ten.available_bytes(offset) >= sum(b.size for b in lab.read_batches(ten, offset))
    assert ten.available_bytes(20) == 0
    last = lab.read_batches(ten, 18)[0]
    assert ten.available_bytes(19) == last.size
    first, second = (segment.size for segment in ten.segments[:2])
    assert ten.available_bytes(0) == ten.size_bytes()
    assert ten.available_bytes(0, enough=first) == first
    assert ten.available_bytes(0, enough=first + 1) == first + second


def test_big_batches_are_found(lab: Any) -> None:
    log = lab.log(lab.open())
    for size in (1, 20_000, 3, 100_000, 5, 7, 50_000):
        lab.append(log, bytes(size))
    for offset in (6, 0, 3, 2, 5, 4, 1, 1, 3):
        assert lab.read_batches(log, offset)[0].base_offset == offset


# --- rolling


def test_roll_by_size(lab: Any) -> None:
    log = lab.log(lab.open(), segment_bytes="300")
    size = len(lab.batch(b"a" * 60))
    assert 300 // size == 2
    for _ in range(5):
        lab.append(log, b"a" * 60)
    assert [s.base_offset for s in log.segments] == [0, 2, 4]
    names = sorted(f.name for f in lab.folder.joinpath("t-0").iterdir())
    assert "00000000000000000002.snapshot" in names
    assert "00000000000000000000.index" in names


def test_roll_by_record_time(lab: Any) -> None:
    log = lab.log(lab.open(), segment_ms="1000")
    for ms in (0, 1000, 500, 1001, 1002):
        lab.append(log, b"a", timestamp_ms=NOW + ms)
    assert [s.base_offset for s in log.segments] == [0, 3]


def test_roll_by_the_clock_without_timestamps(lab: Any) -> None:
    log = lab.log(lab.open(), segment_ms="1000")
    for ms in (0, 600, 600):
        lab.clock.advance(ms)
        lab.append(log, b"a", timestamp_ms=-1)
    assert [s.base_offset for s in log.segments] == [0, 2]


def test_roll_when_the_index_is_full(lab: Any) -> None:
    log = lab.log(lab.open(), index_interval_bytes="0", segment_index_bytes="24")
    for _ in range(8):
        lab.append(log, b"a", timestamp_ms=-1)
    assert [s.base_offset for s in log.segments] == [0, 4]


def test_roll_with_jitter_comes_earlier(lab: Any) -> None:
    log = lab.log(lab.open(), segment_ms="1000", segment_jitter_ms="1000")
    lab.append(log, timestamp_ms=NOW)
    lab.append(log, timestamp_ms=NOW + 1000)
    assert len(log.segments) == 2


# --- lookups


def test_offset_for_timestamp(lab: Any) -> None:
    log = lab.log(lab.open(), segment_bytes="500", index_interval_bytes="0")
    stamps = [5, 3, 9, 9, 1, 20, 15, 30, 30, 2, 40, 38]
    for stamp in stamps:
        lab.append(log, b"v" * 40, timestamp_ms=NOW + stamp)
    for target in range(45):
        expected = next((i for i, stamp in enumerate(stamps) if stamp >= target), -1)
        found = log.offset_for_timestamp(NOW + target).value
        assert found.offset == expected, target
        assert found.timestamp_ms == (NOW + stamps[expected] if expected >= 0 else -1)
    assert log.offset_of_max_timestamp().value.offset == 10
    log.trim(11)
    assert log.offset_of_max_timestamp().value.offset == 11
    assert log.offset_for_timestamp(NOW).value.offset == 11


def test_timestamps_inside_a_batch(lab: Any) -> None:
    from ottla.wire.records import Record, build_batch

    log = lab.log(lab.open())
    for codec in range(5):
        log.append(
            build_batch([Record(i, NOW + 10 * codec + t, b"k", b"v") for i, t in enumerate((0, 4, 2))], codec=codec),
            leader_epoch=codec,
        )
    found = log.offset_for_timestamp(NOW + 31).value
    assert (found.offset, found.timestamp_ms, found.leader_epoch) == (10, NOW + 34, 3)
    assert log.offset_of_max_timestamp().value.offset == 13


def test_lookups_in_an_empty_log(lab: Any) -> None:
    log = lab.log(lab.open())
    assert log.offset_for_timestamp(0).value.offset == -1
    assert log.offset_of_max_timestamp().value.offset == -1
    assert (log.epoch_at_start(), log.latest_epoch(), log.end_offset_for_epoch(0)) == (-1, -1, (-1, -1))


def test_leader_epochs(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store)
    for epoch in (0, 0, 2, 5, 5):
        log.append(lab.batch(b"a"), leader_epoch=epoch)
    answers = [log.end_offset_for_epoch(epoch) for epoch in (0, 1, 2, 5, 6)]
    assert answers == [(0, 2), (0, 2), (2, 3), (5, 5), (-1, -1)]
    assert (log.epoch_at_start(), log.latest_epoch()) == (0, 5)
    log.trim(3)
    assert log.epoch_at_start() == 5
    assert (lab.folder / "t-0" / "leader-epoch-checkpoint").read_text() == "0\n1\n5 3\n"


# --- trim


def test_trim(lab: Any, ten: Any) -> None:
    assert ten.trim(5) == 5
    assert ten.trim(3) == 5
    assert code_of(ten.trim, 21) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert code_of(ten.trim, -2) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert code_of(ten.read, 4, 100, min_one_batch=True) == ErrorCode.OFFSET_OUT_OF_RANGE
    assert lab.read_batches(ten, 5)[0].base_offset == 4
    assert ten.trim(-1) == 20
    assert ten.log_end_offset == 20


# --- idempotence and transactions


def idempotent(lab: Any, sequence: int, count: int = 1, epoch: int = 0, **options: Any) -> bytearray:
    return lab.batch(*[b"v"] * count, producer_id=9, producer_epoch=epoch, base_sequence=sequence, **options)


def test_a_retry_gets_the_first_offset(lab: Any) -> None:
    log = lab.log(lab.open())
    lab.append(log, b"other")
    log.append(idempotent(lab, 0, 3), leader_epoch=0)
    log.append(idempotent(lab, 3), leader_epoch=0)
    again = log.append(idempotent(lab, 0, 3), leader_epoch=0).value
    assert (again.base_offset, again.last_offset, again.duplicate, again.log_append_time_ms) == (1, 3, True, NOW)
    assert log.log_end_offset == 5
    assert code_of(log.append, idempotent(lab, 5), leader_epoch=0) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert code_of(log.append, idempotent(lab, 4, epoch=-1), leader_epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert log.log_end_offset == 5


def test_an_open_transaction_holds_the_stable_offset(lab: Any) -> None:
    log = lab.log(lab.open())
    lab.append(log)
    log.append(idempotent(lab, 0, transactional=True), leader_epoch=0)
    lab.append(log)
    assert (log.last_stable_offset, log.high_watermark) == (1, 3)
    assert len(log.read(0, 1000, min_one_batch=True, committed_only=True).value.take()) == len(lab.batch())
    assert log.read(1, 1000, min_one_batch=True, committed_only=True).value.records == b""
    marker = build_control_batch(9, 0, True, 0, timestamp_ms=NOW)
    log.append(marker, leader_epoch=0, from_client=False)
    assert log.last_stable_offset == log.high_watermark == 4


# --- durability and failing disks


@pytest.mark.parametrize("room", [0, 1, 30, 65])
@pytest.mark.parametrize("truncates", [True, False])
def test_a_full_disk_leaves_all_as_it_was(lab: Any, room: int, truncates: bool) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    log.append(idempotent(lab, 0), leader_epoch=0)
    before = (log.log_end_offset, log.active.size, log.producers.encode(), log.active.max_timestamp_ms)
    disk.room, disk.truncates = room, truncates
    for _ in range(2):
        assert (
            code_of(log.append, idempotent(lab, 1, timestamp_ms=NOW + 5), leader_epoch=0)
            == ErrorCode.KAFKA_STORAGE_ERROR
        )
    assert (log.log_end_offset, log.active.size, log.producers.encode(), log.active.max_timestamp_ms) == before
    assert len(lab.read_all(log)) == 1  # reads go on
    disk.room, disk.truncates = None, True
    if truncates:
        assert (lab.folder / "t-0" / "00000000000000000000.log").stat().st_size == log.active.size
    assert log.append(idempotent(lab, 1), leader_epoch=0).value.base_offset == 1  # and so do writes, once there is room
    assert (lab.folder / "t-0" / "00000000000000000000.log").stat().st_size == log.active.size
    store.abandon()
    assert len(lab.read_all(lab.open().get("t", 0))) == 2
    assert [text.split(":")[0] for text in lab.warnings] == ["storage fails"]  # once


def test_a_roll_that_fails_half_way_is_done_again(lab: Any) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store, segment_bytes="500", index_interval_bytes="0")
    lab.append(log, b"v" * 100)
    while log.active.size + len(lab.batch(b"v" * 100)) <= 500:
        lab.append(log, b"v" * 100)
    end = log.log_end_offset
    disk.room = 1000
    assert code_of(log.append, lab.batch(b"v" * 100), leader_epoch=0) == ErrorCode.KAFKA_STORAGE_ERROR
    assert (log.log_end_offset, len(log.segments)) == (end, 1)
    disk.room = None
    assert lab.append(log, b"v" * 100) == end
    assert len(log.segments) == 2
    store.close()
    again = lab.open().get("t", 0)
    assert [offset for offset, _ in lab.read_all(again)] == list(range(end + 1))
    assert [text.split(":")[0] for text in lab.warnings] == ["storage fails"]


def test_the_first_append_on_a_full_disk(lab: Any) -> None:
    disk = BadDisk()
    log = lab.log(lab.open(fs=disk))
    disk.room = 0
    assert code_of(log.append, lab.batch(b"a"), leader_epoch=0) == ErrorCode.KAFKA_STORAGE_ERROR
    disk.room = None
    assert lab.append(log) == 0


def test_flush(lab: Any) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store, segment_bytes="300", flush_ms="1000")
    for _ in range(5):
        lab.append(log, b"a" * 60)
    assert (log.recovery_point, disk.synced) == (0, [])
    assert store.due_flushes() == [log]  # it rolled
    job = log.begin_flush()
    lab.append(log, b"a")
    job.run()
    job.finish()
    assert (log.recovery_point, len(disk.synced)) == (5, 3)
    assert log.names_durable == log.names_made > 0
    assert store.due_flushes() == []
    lab.clock.advance(1000)
    assert store.due_flushes() == [log]
    log.flush()
    assert (log.recovery_point, log.begin_flush()) == (6, None)


def test_many_partitions_over_few_descriptors(lab: Any) -> None:
    store = lab.open(max_open_files=4)
    logs = [store.create("many", number, lab.ids.uuid(), {}, lazy=True) for number in range(12)]
    for turn in range(3):
        for log in logs:
            assert lab.append(log, b"x%d" % turn) == turn
    for log in logs:
        assert [value for _, value in lab.read_all(log)] == [b"x0", b"x1", b"x2"]
    assert sum(segment.handle.file is not None for log in logs for segment in log.segments) <= 4
