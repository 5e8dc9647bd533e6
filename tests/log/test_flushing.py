"""Group commit: who waits, who is told, what may be read meanwhile, and what a flush that fails leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.log.door import Done, Pending
from ottla.log.flushing import finish_jobs, run_jobs
from ottla.wire.errors import ErrorCode, KafkaError
from tests.log.conftest import BadDisk


def add(lab: Any, log: Any, value: bytes = b"v", **options: Any) -> Any:
    return log.append(lab.batch(value, **options), leader_epoch=0)


def settled(outcomes: list[Any]) -> list[int]:
    """Base offsets of those that are settled."""
    return [o.result().base_offset for o in outcomes if o.settled]


def code_of(outcome: Any) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        outcome.result()
    return caught.value.code


def test_every_nth_record_waits(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="3")
    first = [add(lab, log) for _ in range(3)]
    assert [type(outcome) for outcome in first] == [Done, Done, Pending]
    assert (log.log_end_offset, log.high_watermark, log.recovery_point) == (3, 2, 0)
    behind = add(lab, log)  # would not have to wait, but for the one before it
    assert isinstance(behind, Pending)
    store.flushes.run()
    assert settled([first[2], behind]) == [2, 3]
    assert (log.high_watermark, log.recovery_point) == (4, 4)
    assert isinstance(add(lab, log), Done)


def test_one_sync_for_all_who_wait(lab: Any) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    asked: list[None] = []
    store.flushes.on_due = lambda: asked.append(None)
    log = lab.log(store, flush_messages="1")
    outcomes = [add(lab, log) for _ in range(10)]
    assert len(asked) == 1  # the owner of the loop is called once
    jobs = store.flushes.begin()
    late = add(lab, log)
    assert len(asked) == 2
    errors = run_jobs(jobs)
    assert not settled([*outcomes, late])  # the thread settles nobody
    assert len(disk.synced) == 1
    finish_jobs(jobs, errors)
    assert settled(outcomes) == list(range(10))
    assert not late.settled
    assert log.high_watermark == 10
    store.flushes.run()
    assert settled([late]) == [10]


def test_nobody_reads_what_is_not_durable(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    add(lab, log, b"old")
    store.flushes.run()
    add(lab, log, b"new")
    assert lab.read_all(log) == [(0, b"old")]
    assert lab.read_batches(log, 1) == []  # within the log, beyond the high watermark: nothing, and no error
    assert (log.available_bytes(1), log.last_stable_offset) == (0, 1)
    assert log.offset_for_timestamp(0).value.offset == 0
    store.flushes.run()
    assert lab.read_all(log) == [(0, b"old"), (1, b"new")]
    assert log.last_stable_offset == 2


def test_a_retry_waits_for_the_same_flush(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    sent = {"producer_id": 5, "producer_epoch": 0, "base_sequence": 0}
    first, retry = add(lab, log, **sent), add(lab, log, **sent)
    assert not retry.settled
    store.flushes.run()
    assert (first.result().duplicate, retry.result().duplicate) == (False, True)
    assert retry.result().base_offset == 0
    assert isinstance(add(lab, log, **sent), Done)


def test_an_open_transaction_still_bounds_the_stable_offset(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    add(lab, log)
    add(lab, log, producer_id=5, producer_epoch=0, base_sequence=0, transactional=True)
    assert log.last_stable_offset == 0
    store.flushes.run()
    assert (log.high_watermark, log.last_stable_offset) == (2, 1)


@pytest.mark.parametrize("rolled", [False, True])
def test_a_flush_that_fails(lab: Any, rolled: bool) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store, flush_messages="1")
    add(lab, log, b"safe")
    store.flushes.run()
    disk.syncs = False
    sent = {"producer_id": 5, "producer_epoch": 0, "base_sequence": 0}
    outcomes = [add(lab, log, b"x", **sent), add(lab, log, b"y")]
    if rolled:
        log.roll()
        outcomes.append(add(lab, log, b"z"))
    store.flushes.run()
    assert {code_of(outcome) for outcome in outcomes} == {ErrorCode.KAFKA_STORAGE_ERROR}
    assert (log.high_watermark, log.recovery_point) == (1, 1)
    assert lab.read_all(log) == [(0, b"safe")]  # reads go on
    assert store.due_flushes() == [log]  # and the broker tries again by itself
    retry = add(lab, log, b"x", **sent)
    written: list[int] = []
    write = disk.pwrite

    def pwrite(fd: int, data: Any, position: int) -> int:
        written.append(len(data))
        return write(fd, data, position)

    disk.pwrite, disk.syncs = pwrite, True
    store.flushes.run()
    assert sum(written) == sum(segment.size for segment in log.segments) - len(lab.batch(b"safe"))
    assert (retry.result().base_offset, retry.result().duplicate) == (1, True)
    assert [value for _, value in lab.read_all(log)] == [b"safe", b"x", b"y", b"z"][: log.high_watermark]
    assert log.high_watermark == log.log_end_offset
    assert len(lab.warnings) == 1
    add(lab, log)
    written.clear()
    store.flushes.run()
    assert not written
    store.abandon()
    assert len(lab.read_all(lab.open().get("t", 0))) == log.log_end_offset


def test_pages_that_the_kernel_lost_are_not_called_durable(lab: Any) -> None:
    """After a failed write-back a file system may show the old bytes again."""
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store, flush_messages="1")
    disk.syncs = False
    add(lab, log)
    store.flushes.run()
    disk.syncs = True
    disk.pwrite(log.active.handle.open().fd, bytes(40), 30)
    retry = add(lab, log)
    store.flushes.run()
    assert code_of(retry) == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.high_watermark == 0


def test_a_flush_that_cannot_begin(lab: Any) -> None:
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    outcome = add(lab, log)
    log.give_up_files()
    path = lab.folder / "t-0" / f"{0:020d}.log"
    path.rename(path.with_suffix(".gone"))
    store.flushes.run()
    assert code_of(outcome) == ErrorCode.KAFKA_STORAGE_ERROR
    path.with_suffix(".gone").rename(path)
    log.flush()
    assert log.high_watermark == 1


def test_who_waits_when_the_log_goes_away(lab: Any) -> None:
    store = lab.open()
    closed, deleted = (lab.log(store, topic, flush_messages="1") for topic in ("closed", "deleted"))
    outcomes = [add(lab, closed), add(lab, deleted)]
    jobs = store.flushes.begin()
    store.delete("deleted", 0)
    assert code_of(outcomes[1]) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    finish_jobs(jobs, run_jobs(jobs))  # what was under way ends without harm
    assert outcomes[0].result().base_offset == 0
    assert (deleted.high_watermark, deleted.log_end_offset) == (0, 0)
    last = add(lab, closed)
    store.close()
    assert last.result().base_offset == 1


def test_new_names_are_synced_by_the_job_that_settles(lab: Any) -> None:
    """Two jobs of one log overlap: the second must not count on what the first has not done yet."""
    disk = BadDisk()
    folders: list[str] = []
    disk.sync_folder = folders.append  # type: ignore[method-assign]
    log = lab.log(lab.open(fs=disk), flush_messages="1")
    add(lab, log)
    slow = log.begin_flush()
    add(lab, log)
    quick = log.begin_flush()
    folders.clear()
    quick.run()
    assert log.folder in folders
    quick.finish()
    slow.run()
    slow.finish()
    assert (log.names_made, log.begin_flush()) == (log.names_durable, None)
    log.roll()
    add(lab, log)
    folders.clear()
    log.flush()
    assert log.folder in folders


def test_compare_and_set_is_durable_at_once(lab: Any) -> None:
    disk = BadDisk()
    log = lab.log(lab.open(fs=disk))
    assert log.append(lab.batch(b"a"), leader_epoch=0, expected_offset=0).value.base_offset == 0
    assert (len(disk.synced), log.recovery_point, log.high_watermark) == (1, 1, 1)
    disk.syncs = False
    with pytest.raises(KafkaError):
        log.append(lab.batch(b"b"), leader_epoch=0, expected_offset=1)
    assert (log.log_end_offset, log.active.size) == (1, len(lab.batch(b"a")))  # taken back
    disk.syncs = True
    assert log.append(lab.batch(b"c"), leader_epoch=0, expected_offset=1).value.base_offset == 1
    assert [value for _, value in lab.read_all(log)] == [b"a", b"c"]


def test_a_probe_says_when_the_disk_works_again(lab: Any) -> None:
    disk = BadDisk()
    store = lab.open(fs=disk)
    log = lab.log(store)
    add(lab, log)
    disk.room = 0
    for _ in range(50):
        with pytest.raises(KafkaError):
            add(lab, log)
        lab.clock.advance(1000)
        store.watch_health()
    assert len(lab.warnings) == 1
    disk.room = None
    for _ in range(10):
        lab.clock.advance(1000)
        store.watch_health()
    assert len(lab.warnings) == 2
    assert "works again" in lab.warnings[1]
    disk.room = 0
    with pytest.raises(KafkaError):
        add(lab, log)
    assert len(lab.warnings) == 3
