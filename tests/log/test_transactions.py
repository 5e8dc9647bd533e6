"""Transactions in one log: markers and what refuses them, the last stable offset, lists of aborted transactions, and
all of it after a restart, a crash and a trim. What is expected was asked of Kafka 4.4.0.
"""

from __future__ import annotations

from typing import Any

import pytest

from ottla.log.door import Done, ProducerView
from ottla.log.partition import Partition
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import CONTROL_BIT, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT, Record, batches, build_batch
from tests.log.conftest import BadDisk

EPOCH, ORDER, STATE, FENCED = (
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.INVALID_TXN_STATE,
    ErrorCode.TRANSACTION_COORDINATOR_FENCED,
)
# What Kafka had in its log: one record, aborted; two records, committed; and when it wrote the markers.
ABORTED = (
    "00000000000000000000003a00000000020fe5aac3001000000000000001a20409d6af000001a20409d6af0000000000000004000400000000"
    "0000000110000000026b027600"
)
ABORT = (
    "0000000000000001000000420000000002"
    "9827f948003000000000000001a20409d770000001a20409d77000000000000000040004ffffffff000000012000000008000000000c0000"
    "0000000000"
)
COMMITTED = (
    "00000000000000020000004300000000"
    "02d97b601e001000000001000001a20409d8e0000001a20409d8e000000000000000040004000000010000000210000000026b0276001000"
    "0002026b027600"
)
COMMIT = (
    "0000000000000004000000420000000002d59331d8003000000000000001a20409d974000001a20409d97400000000000000040004ffffffff"
    "000000012000000008000000010c00000000000000"
)
ABORT_MS, COMMIT_MS = 0x1A20409D770, 0x1A20409D974


class Transactions:
    """Appends to one log on behalf of producers, each with its epoch and next sequence."""

    def __init__(self, log: Partition) -> None:
        self.log = log

    def send(
        self,
        producer_id: int,
        sequence: int,
        *,
        epoch: int = 0,
        count: int = 1,
        size: int = 1,
        transactional: bool = True,
    ) -> int:
        records = [Record(at, 1_700_000_000_000, b"k", b"v" * size) for at in range(count)]
        batch = build_batch(
            records,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            transactional=transactional,
        )
        outcome = self.log.append(batch, leader_epoch=0)
        assert isinstance(outcome, Done)
        return outcome.value.base_offset

    def end(
        self, producer_id: int, commit: bool, *, epoch: int = 0, coordinator: int = 0, version: int = 1
    ) -> int | ErrorCode:
        """The marker's offset, or why there is none."""
        try:
            outcome = self.log.append_marker(
                producer_id, epoch, commit, coordinator, leader_epoch=0, transaction_version=version
            )
        except KafkaError as error:
            return error.code
        assert isinstance(outcome, Done)
        return outcome.value.base_offset

    def aborted(self, offset: int = 0, max_bytes: int = 1 << 20) -> list[tuple[int, int]]:
        """(producer id, first offset) of what a read of committed records is told."""
        outcome = self.log.read(offset, max_bytes, min_one_batch=True, committed_only=True)
        assert isinstance(outcome, Done)
        outcome.value.take()
        return [(entry.producer_id, entry.first_offset) for entry in outcome.value.aborted]

    @property
    def offsets(self) -> tuple[int, int]:
        return self.log.last_stable_offset, self.log.high_watermark


@pytest.fixture
def made(lab: Any) -> Transactions:
    return Transactions(lab.log(lab.open()))


def code_of(append: Any) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        append()
    return caught.value.code


# --- markers


def test_the_log_holds_the_bytes_of_kafka(lab: Any) -> None:
    log = lab.log(lab.open())
    for data, commit, marker_ms in ((ABORTED, False, ABORT_MS), (COMMITTED, True, COMMIT_MS)):
        sent = bytearray.fromhex(data)
        sent[:8] = bytes(8)
        lab.clock.advance(marker_ms - lab.clock.wall_ms())
        log.append(sent, leader_epoch=0)
        log.append_marker(4, 4, commit, 0, leader_epoch=0, transaction_version=1)
    result = log.read(0, 1 << 20, min_one_batch=True, committed_only=True).value
    assert result.take().hex() == ABORTED + ABORT + COMMITTED + COMMIT
    assert [entry[:2] for entry in result.aborted] == [(4, 0)]


@pytest.mark.parametrize("topic_time", ["CreateTime", "LogAppendTime"])
def test_what_a_marker_is(lab: Any, topic_time: str) -> None:
    made = Transactions(lab.log(lab.open(), message_timestamp_type=topic_time))
    made.send(1, 0)
    assert made.end(1, True) == 1
    [marker] = lab.read_batches(made.log, 1)
    stamped = LOG_APPEND_TIME_BIT if topic_time == "LogAppendTime" else 0
    assert marker.attributes == CONTROL_BIT | TRANSACTIONAL_BIT | stamped
    assert marker.max_timestamp == lab.clock.wall_ms()
    assert marker.is_valid_crc


# Version of the transaction, what the producer (epoch 3, coordinator epoch 5) has open -> markers tried and answers.
MARKERS: dict[tuple[int, bool], list[tuple[int, int, int | ErrorCode]]] = {
    (1, True): [(2, 5, EPOCH), (3, 4, FENCED), (3, 5, 3)],
    (1, False): [(2, 5, EPOCH), (3, 4, FENCED), (3, 5, 2)],
    (2, True): [(2, 5, EPOCH), (3, 5, EPOCH), (4, 4, FENCED), (4, 5, 3)],
    (2, False): [(2, 5, EPOCH), (3, 4, FENCED), (3, 5, 2)],
}


@pytest.mark.parametrize(("version", "is_open"), MARKERS)
def test_which_markers_are_refused(made: Transactions, version: int, is_open: bool) -> None:
    made.send(1, 0, epoch=3)
    assert made.end(1, True, epoch=3, coordinator=5) == 1
    if is_open:
        made.send(1, 1, epoch=3)
    for epoch, coordinator, expected in MARKERS[version, is_open]:
        assert made.end(1, False, epoch=epoch, coordinator=coordinator, version=version) == expected
    assert made.offsets[0] == made.log.log_end_offset


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_marker_that_ends_nothing_is_stored(made: Transactions, version: int) -> None:
    assert [made.end(9, False, epoch=7, version=version) for _ in range(2)] == [0, 1]
    assert made.end(9, False, epoch=6, version=version) == EPOCH
    assert made.aborted() == []
    assert made.log.producers_view() == [ProducerView(9, 7, -1, made.log._env.clock.wall_ms(), 0, -1)]


def test_an_epoch_for_each_transaction(made: Transactions) -> None:
    """KIP-890, as asked of Kafka step by step."""
    made.send(4, 0, epoch=3)
    assert made.end(4, True, epoch=3, version=2) == EPOCH
    assert made.end(4, True, epoch=4, version=2) == 1
    assert made.end(4, True, epoch=4, version=2) == 2  # written again after a crash
    assert code_of(lambda: made.send(4, 1, epoch=3)) == EPOCH
    assert code_of(lambda: made.send(4, 1, epoch=4)) == ORDER
    assert made.send(4, 0, epoch=4) == 3
    assert code_of(lambda: made.send(4, 1, epoch=4, transactional=False)) == STATE
    assert made.send(4, 0, epoch=4) == 3  # a duplicate
    assert made.end(4, False, epoch=4, version=2) == EPOCH  # too late for the transaction before, too early for this
    assert made.log.open_transaction_epoch(4) == 4
    assert made.end(4, False, epoch=5, version=2) == 4
    assert made.log.open_transaction_epoch(4) == made.log.open_transaction_epoch(77) == -1


@pytest.mark.parametrize(("version", "sequence", "taken"), [(1, 5, True), (2, 5, False), (2, 0, True)])
def test_who_is_not_known_begins_at_zero(made: Transactions, version: int, sequence: int, taken: bool) -> None:
    batch = build_batch(
        [Record(0, 1, b"k", b"v")], producer_id=1, producer_epoch=0, base_sequence=sequence, transactional=True
    )

    def append() -> object:
        return made.log.append(batch, leader_epoch=0, transaction_version=version)

    if taken:
        append()
    else:
        assert code_of(append) == ORDER
    assert made.log.log_end_offset == int(taken)


def test_a_coordinator_need_not_count(made: Transactions) -> None:
    """Offsets committed in a transaction have sequence 0, all of them; but their epoch must not be an old one."""
    records = [Record(0, 1, b"k", b"v")]

    def append(epoch: int) -> object:
        batch = build_batch(records, producer_id=1, producer_epoch=epoch, base_sequence=0, transactional=True)
        return made.log.append(batch, leader_epoch=0, from_client=False)

    for _ in range(3):
        append(1)
    assert (made.offsets, made.end(1, True, epoch=1)) == ((0, 3), 3)
    assert code_of(lambda: append(0)) == EPOCH


def test_a_marker_that_cannot_be_written_changes_nothing(lab: Any) -> None:
    disk = BadDisk()
    made = Transactions(lab.log(lab.open(fs=disk)))
    made.send(1, 0)
    disk.room = 20
    for _ in range(2):
        assert made.end(1, False) == ErrorCode.KAFKA_STORAGE_ERROR
    assert (made.offsets, made.aborted(), made.log.open_transaction_epoch(1)) == ((0, 1), [], 0)
    disk.room = None
    assert (made.end(1, False), made.offsets, made.aborted()) == (1, (2, 2), [(1, 0)])


# --- what readers of committed records get


def test_the_oldest_open_transaction_bounds_what_is_read(made: Transactions) -> None:
    made.send(1, 0)
    made.send(2, 0)
    made.send(1, 1)
    made.send(7, 0, transactional=False)
    assert (made.offsets, made.aborted()) == ((0, 4), [])
    made.end(2, False)
    assert (made.offsets, made.aborted()) == ((0, 5), [])
    made.send(3, 0)
    made.end(1, False)
    assert made.offsets == (5, 7)
    assert made.aborted() == made.aborted(3) == made.aborted(0, 80) == [(2, 1), (1, 0)]  # in the order of the markers
    made.end(3, True)
    assert made.offsets == (8, 8)


def test_lists_follow_the_bytes_that_are_read(made: Transactions) -> None:
    """As far as the offset index knows where they end; so does Kafka."""
    for number in range(6):
        made.send(600 + number, 0, size=1500)
    for number in range(6):
        made.end(600 + number, commit=number % 2 == 1)
    everyone = [(600, 0), (602, 2), (604, 4)]
    assert made.aborted() == everyone
    assert made.aborted(0, 1000) == made.aborted(0, 3200) == everyone[:2]
    assert made.aborted(2, 3200) == made.aborted(5, 1000) == everyone
    assert made.aborted(8) == everyone[1:]


def test_lists_reach_over_segments(lab: Any) -> None:
    made = Transactions(lab.log(lab.open()))
    made.send(1, 0)
    made.log.roll()
    made.send(2, 0)
    made.end(2, False)
    made.log.roll()
    made.end(1, False)
    assert made.aborted(0) == [(1, 0)]  # a read ends with its segment
    assert made.aborted(1) == [(2, 1), (1, 0)]
    assert made.aborted(3) == [(1, 0)]


def test_what_was_trimmed_holds_nobody_up(lab: Any) -> None:
    store = lab.open()
    made = Transactions(lab.log(store))
    made.send(1, 0)
    made.send(1, 1)
    lab.append(made.log)
    assert made.offsets == (0, 3)
    made.log.trim(2)
    assert made.offsets == (2, 3)
    assert made.log.producers_view()[0].transaction_first_offset == 0
    store.abandon()
    made = Transactions(lab.log(lab.open()))
    assert made.offsets == (2, 3)
    assert made.end(1, False) == 3
    assert (made.offsets, made.aborted(2)) == ((4, 4), [(1, 0)])


def test_bytes_that_count(made: Transactions) -> None:
    """For readers of committed records, those below the last stable offset."""

    def available(offset: int, committed_only: bool) -> int:
        return made.log.available_bytes(offset, committed_only=committed_only)

    made.send(7, 0, transactional=False)
    size = available(0, True)
    assert size == available(0, False) > 0
    made.send(1, 0)
    assert (available(0, True), available(1, True), available(1, False)) == (size, 0, size)
    made.log.roll()
    made.send(7, 1, transactional=False)
    assert (available(0, True), available(0, False), available(2, True), available(2, False)) == (
        size,
        3 * size,
        0,
        size,
    )
    made.end(1, True)
    assert available(0, True) == available(0, False)
    made.send(2, 0)  # open, in the second segment
    assert available(0, True) == available(0, False) - size
    assert available(3, True) == available(0, True) - 2 * size  # all of the segment: the index knows no better


# --- durability


def test_a_marker_counts_once_it_is_durable(lab: Any) -> None:
    """Nobody reads records as committed whose marker a power cut could take."""
    store = lab.open()
    log = lab.log(store, flush_messages="1")
    data = lab.batch(producer_id=1, producer_epoch=0, base_sequence=0, transactional=True)
    log.append(data, leader_epoch=0)
    log.append(lab.batch(), leader_epoch=0)
    jobs = store.flushes.begin()
    marker = log.append_marker(1, 0, True, 0, leader_epoch=0, transaction_version=1)
    for job in jobs:  # they make durable what came before the marker
        job.run()
        job.finish()
    assert (log.high_watermark, log.last_stable_offset, marker.settled) == (2, 0, False)
    store.flushes.run()
    assert (log.high_watermark, log.last_stable_offset, marker.settled) == (3, 3, True)
    log.append_marker(1, 0, True, 0, leader_epoch=0, transaction_version=1)
    assert log.last_stable_offset == 3


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("rolled", [True, False])
def test_all_is_known_again_after_a_start(lab: Any, clean: bool, rolled: bool) -> None:
    store = lab.open()
    made = Transactions(lab.log(store))
    made.send(1, 0)
    made.send(2, 0, epoch=5)
    made.end(2, False, epoch=6, coordinator=3, version=2)
    if rolled:
        made.log.roll()
    made.send(3, 0)
    made.end(3, False)
    before = (made.offsets, made.aborted(), made.log.producers_view())
    if clean:
        store.close()
    else:
        store.abandon()
    made = Transactions(lab.log(lab.open()))
    assert (made.offsets, made.aborted(), made.log.producers_view()) == before
    assert made.log.open_transaction_epoch(1) == 0
    assert code_of(lambda: made.send(2, 0, epoch=5)) == EPOCH
    assert made.end(2, False, epoch=6, coordinator=2, version=2) == FENCED
    assert made.send(1, 1) == made.log.log_end_offset - 1
    assert made.end(1, False) == made.log.log_end_offset - 1
    assert made.offsets[0] == made.log.log_end_offset
    assert [batch.base_offset for batch in batches_of(made.log) if batch.is_control] == [2, 4, 6]


def batches_of(log: Partition) -> list[Any]:
    found: list[Any] = []
    offset = 0
    while offset < log.high_watermark:
        outcome = log.read(offset, 1 << 20, min_one_batch=True)
        assert isinstance(outcome, Done)
        found += batches(outcome.value.take())
        offset = found[-1].next_offset
    return found
