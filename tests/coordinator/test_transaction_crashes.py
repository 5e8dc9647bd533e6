"""A crash at every point between a decision and its last marker, also during the recovery from one: whatever is cut
off, a transaction ends in the one outcome that was decided, in all partitions.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.transaction.records import decode_record
from ottla.coordinator.transaction.state import PREPARE_COMMIT, PREPARED
from ottla.log.door import Outcome
from ottla.wire.errors import ErrorCode
from tests.coordinator.transaction_world import A0, A1, B0, Data, TransactionWorld

TOUCHED = (A0, A1, B0)


class CrashError(BaseException):
    """The process is gone."""


class CrashingWorld(TransactionWorld):
    """Crashes at its n-th write: before it, or right after it."""

    def __init__(self, **config: int) -> None:
        self.writes_left: int | None = None
        self.before = False
        super().__init__(**config)

    def crash_at(self, writes: int, before: bool) -> None:
        self.writes_left, self.before = writes, before

    def _crash(self, before: bool) -> None:
        if self.writes_left is None or before is not self.before:
            return
        self.writes_left -= 1
        if self.writes_left <= 0:
            self.writes_left = None
            raise CrashError

    def _append(self, *arguments: Any) -> Outcome[Any]:
        self._crash(before=True)
        outcome = super()._append(*arguments)
        self._crash(before=False)
        return outcome

    def _write_marker(self, *arguments: Any, **options: Any) -> Outcome[None]:
        self._crash(before=True)
        outcome = super()._write_marker(*arguments, **options)
        self._crash(before=False)
        return outcome


def begin(world: TransactionWorld, generation: int) -> ProducerIdentity:
    """A transaction that has written everywhere."""
    producer = world.producer(timeout_ms=15_000)
    if generation == 2:
        assert world.coordinator.add_partitions("x", *producer, TOUCHED) is ErrorCode.NONE
    else:
        assert world.add(producer, *TOUCHED) == ErrorCode.NONE
    for partition in TOUCHED:
        world.partitions[partition].entries.append(Data(*producer, "record"))
    return producer


def decided(world: TransactionWorld) -> bool | None:
    """The outcome that the log knows, None if none was decided."""
    outcomes = set()
    for _, key, value in world.log:
        record = decode_record(key, value)
        assert record is not None
        assert record.transaction is not None
        if record.transaction.state in PREPARED:
            outcomes.add(record.transaction.state is PREPARE_COMMIT)
    assert len(outcomes) <= 1, "decided twice"
    return next(iter(outcomes), None)


def check(world: TransactionWorld, outcome: bool) -> None:
    assert world.state() == ("CompleteCommit" if outcome else "CompleteAbort")
    for partition in TOUCHED:
        assert world.partitions[partition].outcomes() == {"record": outcome}
    assert world.lasting() == world.replayed().lasting()
    assert world.coordinator.stats["outcomes_under_way"] == 0


def try_to(operation: Any) -> bool:
    """Whether it went through without a crash."""
    try:
        operation()
    except CrashError:
        return False
    return True


ENDS = ["commit", "abort", "fence", "time-out"]


def end(world: TransactionWorld, producer: ProducerIdentity, how: str, generation: int) -> None:
    if how == "fence":
        world.init()
    elif how == "time-out":
        world.sleep(20_000)
    else:
        world.end(producer, how == "commit", version=4 if generation == 1 else 5)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("before", [True, False], ids=["before a write", "after a write"])
def test_one_crash(how: str, generation: int, before: bool) -> None:
    for writes in count(1):
        world = CrashingWorld()
        producer = begin(world, generation)
        world.crash_at(writes, before)
        if try_to(lambda: end(world, producer, how, generation)):  # noqa: B023 - called at once
            assert writes == 6  # the decision, three markers, the end; then there is nothing left to crash at
            break
        world.restart()
        outcome = decided(world)
        if outcome is None:
            assert world.state() == "Ongoing"
            end(world, producer, how, generation)
            outcome = decided(world)
        assert outcome is (how == "commit")
        check(world, outcome)
        if how in ("commit", "abort"):  # the client, who heard nothing, asks again
            assert world.end(producer, outcome, version=4 if generation == 1 else 5).error_code == ErrorCode.NONE
        check(world, outcome)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("commit", [True, False])
def test_a_crash_in_the_recovery_from_a_crash(generation: int, commit: bool) -> None:
    how = "commit" if commit else "abort"
    for first in range(1, 6):
        for second in count(1):
            world = CrashingWorld()
            producer = begin(world, generation)
            world.crash_at(first, before=False)
            assert not try_to(lambda: end(world, producer, how, generation))  # noqa: B023 - called at once
            world.crash_at(second, before=False)
            recovered = try_to(world.restart)
            world.writes_left = None
            world.restart()
            assert decided(world) is commit
            check(world, commit)
            if recovered:
                break


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("commit", [True, False])
def test_every_prefix_of_the_log_with_every_prefix_of_the_markers(generation: int, commit: bool) -> None:
    """Also those that no crash can leave behind, such as markers that are lost after their Complete was written, are
    replayed without an error; all that a crash can leave behind ends as it was decided."""
    whole = TransactionWorld()
    producer = begin(whole, generation)
    open_records = len(whole.log)
    assert whole.end(producer, commit, version=4 if generation == 1 else 5).error_code == ErrorCode.NONE
    for records in range(len(whole.log) + 1):
        for markers in range(len(TOUCHED) + 1):
            world = TransactionWorld()
            world.log = whole.log[:records]
            for number, partition in enumerate(TOUCHED):
                entries = whole.partitions[partition].entries
                world.partitions[partition].entries = entries if number < markers else entries[:1]
            world.restart()
            prepared = records > open_records
            if (markers and not prepared) or (markers < len(TOUCHED) and records == len(whole.log)):
                continue
            if not prepared and records == open_records:
                assert world.end(producer, commit, version=4 if generation == 1 else 5).error_code == ErrorCode.NONE
            if records >= open_records:
                check(world, commit)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("held", ["decision", "markers", "end"])
def test_a_power_cut_takes_what_was_not_flushed(generation: int, held: str) -> None:
    """Nothing that was answered, and nothing that others could see, is taken back."""
    world = TransactionWorld()
    producer = begin(world, generation)
    for partition in world.partitions.values():
        partition.durable = len(partition.entries)
    version = 4 if generation == 1 else 5
    if held == "decision":
        world.hold = True
        world.end(producer, version=version)
    else:
        world.hold_markers = True
        assert world.end(producer, version=version).error_code == ErrorCode.NONE
        if held == "end":
            world.hold = True
            world.release_markers()
    world.restart(power_cut=True)
    if held == "decision":
        assert world.state() == "Ongoing"
        assert all(world.partitions[partition].outcomes() == {"record": None} for partition in TOUCHED)
        assert world.end(producer, False, version=version).error_code == ErrorCode.NONE  # still free to decide
        check(world, False)
    else:
        check(world, True)
