"""What a coordinator leaves behind when another node leads its partitions: whoever resigned never acts again.

The worlds in which these happen fail if a coordinator that has resigned writes a record or a marker.
"""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode, KafkaError
from tests.coordinator.conftest import value
from tests.coordinator.consumer_world import ConsumerWorld
from tests.coordinator.transaction_world import A0, A1, B0, Data, Partition, TransactionWorld

E = ErrorCode
STORAGE = KafkaError(E.KAFKA_STORAGE_ERROR)


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_timers_of_a_group_end_with_the_move(world: Any) -> None:
    first, _ = world.stable_group(2)
    world.join(first)  # the second has to join again within the rebalance timeout
    world.new_member(group="other")
    world.settle()
    world.sync("nobody", 1, group="other")
    there = world.timers.next_deadline_ms()
    world.coordinator.resigned(world.coordinator.partition_for("g"))
    world.coordinator.resigned(world.coordinator.partition_for("other"))
    world.coordinator.shutdown()
    assert there is not None
    assert world.timers.next_deadline_ms() is None


def test_timers_of_a_consumer_group_end_with_the_move() -> None:
    world = ConsumerWorld()
    world.enter("A")
    world.enter("B")
    world.beat("A", world.member("A").epoch)
    world.coordinator.resigned(world.coordinator.partition_for("g"))
    world.coordinator.shutdown()
    assert world.timers.next_deadline_ms() is None


def test_what_was_never_written_is_forgotten(world: Any) -> None:
    member = world.join().member_id
    join = world.join(member)
    world.move()
    assert value(join).error_code == E.NOT_COORDINATOR
    assert world.join(member).error_code == E.UNKNOWN_MEMBER_ID
    assert world.state() == "Empty"


def test_who_waits_for_the_disk_is_told_how_that_ends(world: Any) -> None:
    """And whatever it was, a coordinator that resigned does nothing about it."""
    for error, code in ((None, E.NONE), (STORAGE, E.NOT_COORDINATOR)):
        world.hold = True
        commit = world.commit({("t", 0): 5})
        world.move()
        assert value(commit) is None
        world.release(error)
        assert value(commit).topics[0].partitions[0].error_code == code
        assert world.committed() == 5, "it has its place in the log"


@pytest.mark.parametrize("well", [True, False])
def test_an_assignment_on_its_way_to_the_disk_counts_where_the_group_moved(world: Any, well: bool) -> None:
    member, join = world.new_member()
    world.settle()
    world.hold = True
    sync = world.sync(member, value(join).generation_id, {member: b"all"})
    world.move()
    assert value(sync).error_code == E.NOT_COORDINATOR
    world.release(None if well else STORAGE)
    assert world.state() == "Stable"
    assert world.sync(member, 1).assignment == b"all"
    world.sleep(100_000)
    assert world.state() == "Empty"


@pytest.mark.parametrize("well", [True, False])
def test_a_group_that_turns_empty_during_the_move(world: Any, well: bool) -> None:
    (member,) = world.stable_group()
    world.hold = True
    world.leave(member)
    world.move()
    world.release(None if well else STORAGE)
    assert world.state() == "Empty"
    world.sleep(100_000)
    assert world.replayed().lasting() == world.lasting()


@pytest.mark.parametrize("well", [True, False])
def test_a_static_member_that_comes_back_during_the_move(world: Any, well: bool) -> None:
    join = world.join(instance="i")
    world.settle()
    member = value(join).member_id
    world.sync(member, 1, {member: b"all"}, instance="i")
    world.hold = True
    back = world.join(instance="i")
    world.move()
    world.release(None if well else STORAGE)
    assert value(back).error_code == E.NOT_COORDINATOR
    again = value(world.join(instance="i"))
    assert (again.error_code, again.generation_id) == (E.NONE, 1)
    world.told.events.clear()
    world.sleep(100_000)
    assert world.state() == "Empty"
    assert world.told.names().count("member left") == 1, "the old coordinator keeps no session"


# ── transactions ────────────────────────────────────────────────────────────────────────────────────────────────────


def begin(world: TransactionWorld) -> tuple[int, int]:
    """A transaction that has written everywhere."""
    producer = world.producer()
    assert world.add(producer, A0, A1, B0) == E.NONE
    for partition in (A0, A1, B0):
        world.partitions[partition].entries.append(Data(*producer, "record"))
    return producer


def check_committed(world: TransactionWorld, markers: int = 1) -> None:
    assert world.state() == "CompleteCommit"
    assert {partition.outcomes()["record"] for partition in world.partitions.values()} == {True}
    assert {len(world.markers(partition)) for partition in world.partitions} == {markers}
    assert world.away is not None
    for coordinator in (world.coordinator, world.away):
        assert coordinator.stats["outcomes_under_way"] == 0
    assert world.replayed().lasting() == world.lasting()


def test_a_marker_that_is_to_be_tried_again_is_tried_by_the_new_one_alone() -> None:
    world = TransactionWorld()
    producer = begin(world)
    world.broken = dict.fromkeys((A0, A1, B0), STORAGE)
    assert world.end(producer).error_code == E.NONE
    world.move()
    world.broken.clear()
    world.sleep(5_000)
    check_committed(world)


def test_an_outcome_on_its_way_to_the_disk_is_carried_out_by_the_new_one_alone() -> None:
    world = TransactionWorld()
    producer = begin(world)
    world.hold = True
    end = world.end(producer)
    world.move()
    assert world.end(producer).error_code == E.NOT_COORDINATOR, "not before the disk has it"
    assert world.describe("x")[0].error_code == E.NOT_COORDINATOR
    world.release()
    assert value(end).error_code == E.NONE
    world.sleep(5_000)
    check_committed(world)


def test_an_outcome_that_failed_on_its_way_to_the_disk_is_carried_out_once_it_is_there() -> None:
    world = TransactionWorld()
    producer = begin(world)
    world.hold = True
    end = world.end(producer)
    world.release(STORAGE)
    assert value(end).error_code == E.NOT_COORDINATOR
    world.move()  # while the old one meant to write it again
    world.sleep(5_000)
    assert not any(world.markers(partition) for partition in world.partitions)
    world.durable = len(world.log)
    world.take_over()
    check_committed(world)


@pytest.mark.parametrize("well", [True, False])
def test_markers_on_their_way_to_the_disk_are_written_again_by_the_new_one(well: bool) -> None:
    world = TransactionWorld()
    producer = begin(world)
    world.hold_markers = True
    assert world.end(producer).error_code == E.NONE
    held, world.held_markers, world.hold_markers = world.held_markers, [], False
    world.move()
    check_committed(world, markers=2)
    log = len(world.log)
    world.held_markers = held
    world.release_markers(None if well else STORAGE)
    world.sleep(5_000)
    assert len(world.log) == log
    check_committed(world, markers=2)


def test_the_rest_of_a_long_round_of_markers_is_the_new_ones() -> None:
    world = TransactionWorld()
    producer = world.producer()
    many = [("many", index) for index in range(100)]
    world.partitions = {place: Partition() for place in many}
    assert world.add(producer, *many) == E.NONE
    for place in many:
        world.partitions[place].entries.append(Data(*producer, "record"))
    assert world.end(producer).error_code == E.NONE
    begun = sum(len(world.markers(place)) for place in many)
    assert 0 < begun < 100
    world.move()
    world.sleep(5_000)
    assert world.state() == "CompleteCommit"
    assert sum(len(world.markers(place)) for place in many) == 100 + begun


def test_a_partition_that_comes_back_begins_with_what_was_written_meanwhile() -> None:
    world = TransactionWorld()
    producer = begin(world)
    world.move()
    assert world.end(producer).error_code == E.NONE
    world.move()
    check_committed(world)
    again = world.producer()
    assert again == (producer[0], producer[1] + 1)
    assert world.end(producer).error_code == E.PRODUCER_FENCED
