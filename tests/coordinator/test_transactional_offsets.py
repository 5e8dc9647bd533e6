"""Stories of offsets committed in transactions: pending until the marker, real or gone after it."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
WEEK_MS = 10_080 * 60_000
OTHER_THAN_T = (("range", b"\x00\x00" + b"\x00\x00\x00\x01\x00\x01u" + b"\xff\xff\xff\xff"),)


def codes(answer: Any) -> list[int]:
    return [partition.error_code for topic in answer.topics for partition in topic.partitions]


def stable(world: Any, topic: str = "t", partition: int = 0, **options: Any) -> tuple[int, int]:
    """(code, offset) of a fetch that requires stable offsets."""
    answer = world.fetch((topic, [partition]), stable=True, **options).topics[0].partitions[0]
    return answer.error_code, answer.committed_offset


@pytest.fixture(autouse=True)
def replayed_at_the_end(world: Any) -> Any:
    """Whatever the story was, a replay of what was written gives what there is."""
    yield
    assert world.replayed().lasting() == world.lasting()


def test_a_commit_waits_for_its_marker(world: Any) -> None:
    world.commit({("t", 0): 5})
    assert codes(world.txn_commit({("t", 0): 7, ("t", 1): 8})) == [E.NONE, E.NONE]
    assert world.journal[-1].producer == (1, 0)
    assert (world.committed(), world.committed(partition=1)) == (5, -1)
    assert stable(world) == stable(world, partition=1) == (E.UNSTABLE_OFFSET_COMMIT, -1)
    assert stable(world, partition=2) == (E.NONE, -1)
    world.end_transaction(1, commit=True)
    assert (stable(world), stable(world, partition=1)) == ((E.NONE, 7), (E.NONE, 8))
    assert world.coordinator.stats["offsets_pending"] == 0


def test_an_aborted_commit_was_never_there(world: Any) -> None:
    world.commit({("t", 0): 5})
    world.txn_commit({("t", 0): 7, ("u", 1): 8})
    world.end_transaction(1, commit=False)
    assert (stable(world), stable(world, "u", 1)) == ((E.NONE, 5), (E.NONE, -1))


def test_all_offsets_of_a_group_when_some_are_pending(world: Any) -> None:
    world.commit({("t", 0): 5, ("u", 0): 6})
    world.txn_commit({("t", 0): 7, ("t", 9): 7})
    found = {
        (topic.name, partition.partition_index): (partition.error_code, partition.committed_offset)
        for topic in world.fetch(stable=True).topics
        for partition in topic.partitions
    }
    assert found == {("t", 0): (E.UNSTABLE_OFFSET_COMMIT, -1), ("u", 0): (E.NONE, 6)}


@pytest.mark.parametrize("version", range(7))
def test_every_version(world: Any, version: int) -> None:
    answer = world.txn_commit({("t", 0): 7, ("t", 10): 7, ("nope", 0): 7}, version=version)
    unknown = E.UNKNOWN_TOPIC_ID if version >= 6 else E.UNKNOWN_TOPIC_OR_PARTITION
    assert codes(answer) == [E.NONE, E.UNKNOWN_TOPIC_OR_PARTITION, unknown]
    world.end_transaction(1, commit=True)
    assert world.committed() == 7


# -- which commit wins ------------------------------------------------------------------------------------------------


def test_a_later_plain_commit_wins_over_the_transaction(world: Any) -> None:
    world.txn_commit({("t", 0): 7})
    world.commit({("t", 0): 9})
    assert (world.committed(), stable(world)) == (9, (E.UNSTABLE_OFFSET_COMMIT, -1))
    world.end_transaction(1, commit=True)
    assert stable(world) == (E.NONE, 9)


def test_a_commit_after_the_plain_one_in_the_same_transaction_wins(world: Any) -> None:
    world.txn_commit({("t", 0): 7})
    world.commit({("t", 0): 9})
    world.txn_commit({("t", 0): 8})
    world.end_transaction(1, commit=True)
    assert stable(world) == (E.NONE, 8)


@pytest.mark.parametrize("first_marker", [1, 2])
def test_of_two_transactions_the_later_commit_wins(world: Any, first_marker: int) -> None:
    world.txn_commit({("t", 0): 7}, 1)
    world.txn_commit({("t", 0): 8}, 2)
    world.end_transaction(first_marker, commit=True)
    assert stable(world) == (E.UNSTABLE_OFFSET_COMMIT, -1)
    assert world.committed() == {1: 7, 2: 8}[first_marker]
    world.end_transaction(3 - first_marker, commit=True)
    assert stable(world) == (E.NONE, 8)


def test_a_later_transaction_that_is_aborted_takes_nothing_away(world: Any) -> None:
    world.txn_commit({("t", 0): 7}, 1)
    world.txn_commit({("t", 0): 8}, 2)
    world.end_transaction(2, commit=False)
    world.end_transaction(1, commit=True)
    assert stable(world) == (E.NONE, 7)


def test_markers_of_others_and_second_markers_do_nothing(world: Any) -> None:
    world.txn_commit({("t", 0): 7})
    world.end_transaction(2, commit=True)
    assert stable(world) == (E.UNSTABLE_OFFSET_COMMIT, -1)
    world.end_transaction(1, commit=True)
    world.end_transaction(1, commit=False)
    assert stable(world) == (E.NONE, 7)


def test_a_marker_ends_the_transaction_for_every_group_of_its_partition(world: Any) -> None:
    here = world.coordinator.partition_for("g")
    names = [f"g{number}" for number in range(50)]
    near = [name for name in names if world.coordinator.partition_for(name) == here]
    far = next(name for name in names if world.coordinator.partition_for(name) != here)
    for name in [*near, far]:
        world.txn_commit({("t", 0): 7}, group=name)
    world.end_transaction(1, commit=True)
    assert len(near) > 1
    assert {world.committed(group=name) for name in near} == {7}
    assert world.committed(group=far) == -1


# -- who may commit ---------------------------------------------------------------------------------------------------


def test_a_group_that_nobody_knows(world: Any) -> None:
    assert world.txn_code("who", 3) == E.ILLEGAL_GENERATION
    assert world.txn_code(group="") == E.INVALID_GROUP_ID
    assert world.state() == "none"
    assert world.txn_code() == E.NONE
    assert world.state() == "Empty"


def test_members_are_checked_if_the_producer_names_one(world: Any) -> None:
    (member,) = world.stable_group()
    assert world.txn_code(member, 1) == E.NONE
    assert world.txn_code() == E.NONE  # KIP-447: a producer of the old kind fences by its transactional id
    assert world.txn_code("who", 1) == E.UNKNOWN_MEMBER_ID
    assert world.txn_code("who", -1) == E.UNKNOWN_MEMBER_ID
    assert world.txn_code("", 1) == E.UNKNOWN_MEMBER_ID
    assert world.txn_code(member, 0) == E.ILLEGAL_GENERATION
    assert world.txn_code(member, 2) == E.ILLEGAL_GENERATION
    assert world.txn_code(member, 1, instance="i") == E.UNKNOWN_MEMBER_ID


def test_a_fenced_instance(world: Any) -> None:
    world.join(instance="i")
    world.settle()
    (old,) = world.coordinator.group("g").members
    world.join(instance="i")
    assert world.txn_code(old, 1, instance="i") == E.FENCED_INSTANCE_ID


def test_a_rebalance_does_not_stop_a_transaction(world: Any) -> None:
    member, _ = world.new_member()
    world.settle()
    assert world.state() == "CompletingRebalance"
    assert world.commit_code(member, 1) == E.REBALANCE_IN_PROGRESS
    assert world.txn_code(member, 1) == E.NONE


def test_a_transactional_commit_does_not_keep_a_member_alive(world: Any) -> None:
    (member,) = world.stable_group(session_ms=10_000)
    world.sleep(9_999)
    assert world.txn_code(member, 1) == E.NONE
    world.sleep(1)
    assert world.state() == "Empty"


def test_metadata_has_a_limit(world: Any) -> None:
    assert world.txn_code(metadata="x" * 4097) == E.OFFSET_METADATA_TOO_LARGE
    assert world.txn_code(metadata=None) == E.NONE
    assert world.txn_code("who", 3, metadata="x" * 4097) == E.UNKNOWN_MEMBER_ID  # what the group says comes first


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (E.KAFKA_STORAGE_ERROR, E.NOT_COORDINATOR),
        (E.NOT_ENOUGH_REPLICAS, E.COORDINATOR_NOT_AVAILABLE),
        (E.MESSAGE_TOO_LARGE, E.UNKNOWN_SERVER_ERROR),
        (E.INVALID_PRODUCER_EPOCH, E.INVALID_PRODUCER_EPOCH),
    ],
)
def test_a_commit_that_cannot_be_written_is_not_pending(world: Any, error: ErrorCode, code: ErrorCode) -> None:
    world.fail = KafkaError(error)
    assert world.txn_code() == code
    assert stable(world) == (E.NONE, -1)
    assert world.state() == "none"


def test_a_commit_is_answered_when_it_is_durable(world: Any) -> None:
    world.hold = True
    answer = world.txn_commit({("t", 0): 7})
    assert not answer.settled
    world.end_transaction(1, commit=True)
    world.release()
    assert codes(answer.result()) == [E.NONE]
    assert world.committed() == 7


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (E.INVALID_PRODUCER_EPOCH, E.INVALID_PRODUCER_EPOCH),
        (E.INVALID_PRODUCER_ID_MAPPING, E.INVALID_PRODUCER_ID_MAPPING),
        (E.TRANSACTION_ABORTABLE, E.TRANSACTION_ABORTABLE),
        (E.CONCURRENT_TRANSACTIONS, E.CONCURRENT_TRANSACTIONS),
        (E.KAFKA_STORAGE_ERROR, E.NOT_COORDINATOR),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_the_transaction_is_asked_before_the_group(
    world: Any, verdict: ErrorCode, code: ErrorCode, later: bool
) -> None:
    world.admitted = Pending() if later else verdict
    answer = world.txn_commit({("t", 0): 7, ("t", 10): 7}, 1, "who", 3)
    if later:
        assert not answer.settled
        world.admitted.resolve(verdict)
        answer = answer.result()
    assert codes(answer) == [code, E.UNKNOWN_TOPIC_OR_PARTITION]
    assert world.state() == "none"


def test_a_commit_that_is_admitted_late(world: Any) -> None:
    world.admitted = Pending()
    answer = world.txn_commit({("t", 0): 7})
    world.admitted.resolve(E.NONE)
    assert codes(answer.result()) == [E.NONE]
    assert stable(world) == (E.UNSTABLE_OFFSET_COMMIT, -1)
    world.admitted = Pending()
    answer = world.txn_commit({("t", 0): 7})
    world.coordinator.shutdown()
    world.admitted.resolve(E.NONE)
    assert codes(answer.result()) == [E.NOT_COORDINATOR]
    world.restart()


def test_nobody_is_asked_when_nothing_can_be_committed(world: Any) -> None:
    assert codes(world.txn_commit({("nope", 0): 7, ("t", 10): 7})) == [E.UNKNOWN_TOPIC_OR_PARTITION] * 2
    assert codes(world.txn_commit({("t", 0): 7, ("t", 10): 7}, group="")) == [
        E.INVALID_GROUP_ID,
        E.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert world.admissions == 0


# -- what pending commits keep, and what takes them away ---------------------------------------------------------------


def test_what_is_pending_does_not_expire_and_keeps_its_group(world: Any) -> None:
    world.commit({("t", 0): 5, ("t", 1): 6})
    world.txn_commit({("t", 0): 7})
    world.txn_commit({("t", 0): 8}, group="only pending")
    world.sleep(2 * WEEK_MS)
    assert (world.committed(), world.committed(partition=1)) == (5, -1)
    assert world.state("only pending") == "Empty"
    world.end_transaction(1, commit=False)
    world.end_transaction(1, commit=False, group="only pending")
    world.sleep(WEEK_MS)
    assert world.state() == world.state("only pending") == "none"


def test_a_deleted_offset_is_gone_also_where_it_is_pending(world: Any) -> None:
    world.stable_group(protocols=OTHER_THAN_T, session_ms=1_800_000)
    world.txn_commit({("t", 0): 7, ("t", 1): 7})
    assert codes(world.delete_offsets(("t", [0]))) == [E.NONE]
    assert stable(world) == (E.NONE, -1)
    world.end_transaction(1, commit=True)
    assert (stable(world), stable(world, partition=1)) == ((E.NONE, -1), (E.NONE, 7))


def test_a_deleted_group_takes_its_pending_offsets_along(world: Any) -> None:
    world.commit({("t", 0): 5})
    world.txn_commit({("t", 0): 7, ("t", 1): 8})
    assert world.delete("g").results[0].error_code == E.NONE
    assert world.state() == "none"
    world.end_transaction(1, commit=True)
    assert (world.state(), world.committed()) == ("none", -1)


def test_a_deleted_topic_takes_pending_offsets_along(world: Any) -> None:
    world.txn_commit({("t", 0): 7, ("u", 0): 8})
    world.coordinator.on_topics_deleted({"t"})
    world.end_transaction(1, commit=True)
    assert (world.committed(), world.committed("u")) == (-1, 8)


def test_a_start_forgets_pending_offsets_whose_topic_went_without_them(world: Any) -> None:
    world.txn_commit({("t", 0): 7, ("u", 0): 8})
    world.txn_commit({("t", 1): 9}, 2)
    world.topics.known["t"] = (b"n" * 16, 3)
    world.restart()
    for producer in (1, 2):
        world.end_transaction(producer, commit=True)
    assert (world.committed(), world.committed(partition=1), world.committed("u")) == (-1, -1, 8)
    assert world.replayed().lasting() == world.lasting()


def test_a_start_keeps_what_the_new_topic_has(world: Any) -> None:
    """Logs of before may hold offsets of both."""
    world.txn_commit({("t", 0): 7})
    world.topics.known["t"] = (b"n" * 16, 3)
    world.commit({("t", 0): 3})
    world.restart()
    assert world.committed() == 3


def test_a_restart_with_an_open_transaction(world: Any) -> None:
    world.commit({("t", 0): 5})
    world.txn_commit({("t", 0): 7})
    world.restart()
    assert (world.committed(), stable(world)) == (5, (E.UNSTABLE_OFFSET_COMMIT, -1))
    world.end_transaction(1, commit=True)
    assert stable(world) == (E.NONE, 7)
    world.restart()
    assert stable(world) == (E.NONE, 7)


def test_after_shutdown_nobody_commits(world: Any) -> None:
    world.coordinator.shutdown()
    assert world.txn_code() == E.NOT_COORDINATOR
