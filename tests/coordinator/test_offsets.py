"""Stories of committed offsets: who may commit, what is kept, how it is asked for, and when it is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.records import decode_record
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.offset_fetch import OffsetFetchRequest

E = ErrorCode
MINUTE_MS = 60_000
WEEK_MS = 10_080 * MINUTE_MS
SUBSCRIBED_TO_T = (("range", b"\x00\x00" + b"\x00\x00\x00\x01\x00\x01t" + b"\xff\xff\xff\xff"),)


def codes(answer: Any) -> dict[tuple[str, int], int]:
    return {
        (topic.name, partition.partition_index): partition.error_code
        for topic in answer.topics
        for partition in topic.partitions
    }


def written(world: Any) -> list[Any]:
    return [decode_record(key, value) for _, key, value in world.log]


# -- OffsetCommit -----------------------------------------------------------------------------------------------------


def test_a_bad_partition_does_not_stop_the_rest(world: Any) -> None:
    offsets = {("t", 0): 5, ("t", 10): 6, ("t", -1): 6, ("nope", 0): 7, ("u", 2): -8}
    assert codes(world.commit(offsets)) == {
        ("t", 0): E.NONE,
        ("t", 10): E.UNKNOWN_TOPIC_OR_PARTITION,
        ("t", -1): E.UNKNOWN_TOPIC_OR_PARTITION,
        ("nope", 0): E.UNKNOWN_TOPIC_OR_PARTITION,
        ("u", 2): E.NONE,
    }
    assert world.committed("t") == 5
    assert world.committed("u", 2) == -8
    assert world.batches == [2]  # one batch, one write


def test_topics_by_id(world: Any) -> None:
    answer = world.commit({("u", 1): 4, ("nope", 0): 1}, version=10)
    assert [topic.topic_id for topic in answer.topics] == [b"u" * 16, b"?" * 16]
    assert [topic.partitions[0].error_code for topic in answer.topics] == [E.NONE, E.UNKNOWN_TOPIC_ID]
    assert written(world)[-1].value.topic_id == b"u" * 16
    fetched = world.fetch(("u", [1, 2]), ("nope", [0]), version=10)
    assert [topic.topic_id for topic in fetched.topics] == [b"u" * 16, b"?" * 16]
    assert [
        (partition.committed_offset, partition.error_code) for topic in fetched.topics for partition in topic.partitions
    ] == [(4, E.NONE), (-1, E.NONE), (-1, E.UNKNOWN_TOPIC_ID)]


def test_metadata_is_limited_in_utf16_units(world: Any) -> None:
    assert world.commit_code(metadata="x" * 4096) == E.NONE
    assert world.commit_code(metadata="x" * 4097) == E.OFFSET_METADATA_TOO_LARGE
    assert world.commit_code(metadata="\N{GRINNING FACE}" * 2048) == E.NONE
    assert world.commit_code(metadata="\N{GRINNING FACE}" * 2049) == E.OFFSET_METADATA_TOO_LARGE
    assert world.commit_code(metadata=None) == E.NONE
    assert world.fetch(("t", [0])).topics[0].partitions[0].metadata == ""


def test_nobody_commits_for_a_group_that_has_members(world: Any) -> None:
    (member,) = world.stable_group()
    assert world.commit_code() == E.UNKNOWN_MEMBER_ID
    assert world.commit_code("who", 1) == E.UNKNOWN_MEMBER_ID
    assert world.commit_code(member, 0) == E.ILLEGAL_GENERATION
    assert world.commit_code(member, -1) == E.ILLEGAL_GENERATION
    assert world.commit_code(member, 1, instance="i") == E.UNKNOWN_MEMBER_ID
    assert world.commit_code(member, 1) == E.NONE


@pytest.mark.parametrize(("version", "code"), [(8, E.ILLEGAL_GENERATION), (9, E.GROUP_ID_NOT_FOUND)])
def test_a_generation_of_an_unknown_group(world: Any, version: int, code: ErrorCode) -> None:
    assert world.commit_code("who", 3, version=version) == code
    assert world.state() == "none"


def test_an_empty_group_takes_commits_without_generation_only(world: Any) -> None:
    world.leave(*world.stable_group())
    assert world.commit_code("who", 2) == E.UNKNOWN_MEMBER_ID
    assert world.commit_code("who", -1) == E.NONE


def test_a_request_without_topics_makes_no_group(world: Any) -> None:
    assert world.commit({}).topics == []
    assert world.commit_code("", -1, group="", version=8) == E.NONE
    assert world.state() == "none"
    assert world.state("") == "Empty"


def test_the_value_is_written_in_the_version_kafka_uses(world: Any) -> None:
    world.commit({("t", 0): 1}, version=8)
    world.commit({("t", 0): 1}, version=4, retention_ms=5_000)
    plain, expiring = written(world)
    assert (plain.version, plain.value.topic_id, plain.value.expire_timestamp) == (4, b"t" * 16, -1)
    assert (expiring.version, expiring.value.expire_timestamp) == (1, world.clock.wall_ms() + 5_000)
    assert world.replayed().lasting() == world.lasting()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (E.UNKNOWN_TOPIC_OR_PARTITION, E.COORDINATOR_NOT_AVAILABLE),
        (E.REQUEST_TIMED_OUT, E.COORDINATOR_NOT_AVAILABLE),
        (E.NOT_ENOUGH_REPLICAS, E.COORDINATOR_NOT_AVAILABLE),
        (E.NOT_LEADER_OR_FOLLOWER, E.NOT_COORDINATOR),
        (E.KAFKA_STORAGE_ERROR, E.NOT_COORDINATOR),
        (E.MESSAGE_TOO_LARGE, E.INVALID_COMMIT_OFFSET_SIZE),
        (E.RECORD_LIST_TOO_LARGE, E.INVALID_COMMIT_OFFSET_SIZE),
        (E.INVALID_RECORD, E.INVALID_RECORD),
    ],
)
def test_a_commit_that_cannot_be_written_changes_nothing(world: Any, error: ErrorCode, code: ErrorCode) -> None:
    world.commit({("t", 0): 1})
    before = world.lasting()
    world.fail = KafkaError(error)
    answer = world.commit({("t", 0): 2, ("t", 99): 2})
    assert codes(answer) == {("t", 0): code, ("t", 99): E.UNKNOWN_TOPIC_OR_PARTITION}
    assert world.commit_code(group="other") == code
    assert world.lasting() == before
    assert world.state("other") == "none"


def test_a_commit_is_answered_when_it_is_durable(world: Any) -> None:
    world.hold = True
    answer = world.commit({("t", 0): 1})
    assert not answer.settled
    world.release()
    assert codes(answer.result()) == {("t", 0): E.NONE}


@pytest.mark.parametrize(
    ("error", "code"),
    [(KafkaError(E.KAFKA_STORAGE_ERROR), E.NOT_COORDINATOR), (OSError("gone"), E.UNKNOWN_SERVER_ERROR)],
)
def test_a_commit_that_fails_to_become_durable_says_so(world: Any, error: Exception, code: ErrorCode) -> None:
    world.hold = True
    answer = world.commit({("t", 0): 1})
    world.release(error)
    assert codes(answer.result()) == {("t", 0): code}


# -- OffsetFetch ------------------------------------------------------------------------------------------------------


def fetch_old(world: Any, version: int, topics: dict[str, list[int]] | None) -> Any:
    asked = None
    if topics is not None:
        asked = [
            OffsetFetchRequest.OffsetFetchRequestTopic(name=name, partition_indexes=indexes)
            for name, indexes in topics.items()
        ]
    return world.ask("fetch_offsets", OffsetFetchRequest(group_id="g", topics=asked), version)


@pytest.mark.parametrize("version", range(1, 8))
def test_one_group_in_old_versions(world: Any, version: int) -> None:
    world.commit({("t", 1): 5}, metadata="m")
    answer = fetch_old(world, version, {"t": [1, 2], "nope": [0]})
    assert answer.error_code == E.NONE
    assert [
        (topic.name, partition.partition_index, partition.committed_offset, partition.metadata, partition.error_code)
        for topic in answer.topics
        for partition in topic.partitions
    ] == [("t", 1, 5, "m", 0), ("t", 2, -1, "", 0), ("nope", 0, -1, "", 0)]
    if version >= 2:
        assert [topic.name for topic in fetch_old(world, version, None).topics] == ["t"]


def test_all_offsets_and_unknown_groups(world: Any) -> None:
    world.commit({("t", 1): 5, ("t", 2): 6, ("u", 0): 7})
    everything = world.fetch()
    assert {
        (topic.name, partition.partition_index): partition.committed_offset
        for topic in everything.topics
        for partition in topic.partitions
    } == {("t", 1): 5, ("t", 2): 6, ("u", 0): 7}
    assert world.fetch(group="none").topics == []
    assert world.committed(group="none") == -1
    del world.topics.known["u"]
    assert [topic.topic_id for topic in world.fetch(version=10).topics] == [b"t" * 16]


def test_what_is_named_twice_is_answered_once(world: Any) -> None:
    world.commit({("t", 1): 5, ("t", 2): 6, ("u", 0): 7})
    group = OffsetFetchRequest.OffsetFetchRequestGroup
    topic = OffsetFetchRequest.OffsetFetchRequestTopics
    twice = [
        group(group_id="g", topics=[topic(name="t", partition_indexes=[1, 1]), topic(name="t", partition_indexes=[2])]),
        group(group_id="g", topics=[topic(name="u", partition_indexes=[0])]),
        group(group_id="other", topics=[topic(name="t", partition_indexes=[1])]),
        group(group_id="other", topics=None),
    ]
    one, other = world.ask("fetch_offsets", OffsetFetchRequest(groups=twice), 8).groups
    assert [(each.name, [p.committed_offset for p in each.partitions]) for each in one.topics] == [
        ("t", [5, 6]),
        ("u", [7]),
    ]
    assert other.topics == []
    (old,) = fetch_old(world, 7, {"t": [2, 2]}).topics
    assert [partition.committed_offset for partition in old.partitions] == [6]
    assert len(world.describe("g", "g", "other")) == 2


# -- OffsetDelete -----------------------------------------------------------------------------------------------------


def test_offsets_of_topics_that_are_read_stay(world: Any) -> None:
    (member,) = world.stable_group(protocols=SUBSCRIBED_TO_T)
    world.commit({("t", 0): 1, ("u", 0): 2, ("u", 1): 3}, member, 1)
    answer = world.delete_offsets(("t", [0]), ("u", [0, 2, 9]), ("nope", [0]))
    assert answer.error_code == E.NONE
    assert codes(answer) == {
        ("t", 0): E.GROUP_SUBSCRIBED_TO_TOPIC,
        ("u", 0): E.NONE,
        ("u", 2): E.NONE,
        ("u", 9): E.UNKNOWN_TOPIC_OR_PARTITION,
        ("nope", 0): E.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert (world.committed("t"), world.committed("u", 0), world.committed("u", 1)) == (1, -1, 3)
    assert world.replayed().lasting() == world.lasting()


def test_what_offset_delete_refuses_as_a_whole(world: Any) -> None:
    assert world.delete_offsets(("t", [0])).error_code == E.GROUP_ID_NOT_FOUND
    assert world.delete_offsets(("t", [0]), group="").error_code == E.INVALID_GROUP_ID
    world.new_member(protocol_type="connect")
    assert world.delete_offsets(("t", [0])).error_code == E.NON_EMPTY_GROUP
    world.commit({("t", 0): 1}, group="simple")
    world.fail = KafkaError(E.NOT_LEADER_OR_FOLLOWER)
    assert world.delete_offsets(("t", [0]), group="simple").error_code == E.NOT_COORDINATOR
    assert world.committed(group="simple") == 1


def test_a_deleted_topic_takes_all_offsets_along(world: Any) -> None:
    groups = [f"g{number}" for number in range(20)]
    for group in groups:
        world.commit({("t", 0): 1, ("u", 0): 2}, group=group)
    world.coordinator.on_topics_deleted({"t"})
    assert {world.committed("t", group=group) for group in groups} == {-1}
    assert {world.committed("u", group=group) for group in groups} == {2}
    assert world.replayed().lasting() == world.lasting()


def test_a_start_forgets_offsets_whose_topic_went_without_them(world: Any) -> None:
    """A crash between the deletion of the topic and the tombstones of its offsets."""
    for group in ("g", "h"):
        world.commit({("t", 0): 1, ("t", 1): 2, ("u", 0): 3}, group=group)
    known = dict(world.topics.known)
    del world.topics.known["t"]
    world.restart()
    world.topics.known["t"] = (b"n" * 16, 3)
    assert {world.committed("t", at, group=group) for at in (0, 1) for group in ("g", "h")} == {-1}
    assert {world.committed("u", group=group) for group in ("g", "h")} == {3}
    assert world.replayed().lasting() == world.lasting()
    world.commit({("t", 0): 4})
    world.topics.known["u"] = (b"m" * 16, 3)  # gone and made again, as far as its offsets know
    world.restart()
    assert (world.committed("t"), world.committed("u"), world.committed("u", group="h")) == (4, -1, -1)
    assert known["t"][0] != world.topics.known["t"][0]


def test_a_start_keeps_what_was_committed_without_topic_ids(world: Any) -> None:
    world.commit({("t", 0): 1}, version=4, retention_ms=WEEK_MS)  # a record of version 1 has none
    world.restart()
    assert world.committed() == 1


# -- retention --------------------------------------------------------------------------------------------------------


def test_a_simple_groups_offsets_expire_from_their_commit(world: Any) -> None:
    world.commit({("t", 0): 1})
    world.sleep(MINUTE_MS)
    world.commit({("t", 1): 2})
    world.sleep(WEEK_MS - MINUTE_MS - 1)
    assert world.committed() == 1
    world.sleep(1 + 10 * MINUTE_MS)
    assert world.committed() == -1
    assert world.state() == "none"
    assert world.replayed().lasting() == world.lasting() == {"groups": {}, "offsets": {}, "pending": {}}


def test_an_empty_groups_offsets_expire_from_when_it_emptied(world: Any) -> None:
    (member,) = world.stable_group(session_ms=1_800_000, protocols=SUBSCRIBED_TO_T)
    world.commit({("t", 0): 1}, member, 1)
    for _ in range(500):  # days later
        world.sleep(1_500_000)
        world.heartbeat(member, 1)
    assert world.committed() == 1
    world.leave(member)
    world.sleep(WEEK_MS - 1)
    assert world.committed() == 1
    world.restart()
    assert world.committed() == 1
    world.sleep(10 * MINUTE_MS)
    assert (world.committed(), world.state()) == (-1, "none")


def test_a_live_groups_offsets_expire_when_it_reads_the_topic_no_more(world: Any) -> None:
    (member,) = world.stable_group(session_ms=1_800_000, protocols=SUBSCRIBED_TO_T)
    world.commit({("t", 0): 1, ("u", 0): 2}, member, 1)
    for _ in range(WEEK_MS // 1_500_000 + 1):
        world.sleep(1_500_000)
        world.heartbeat(member, 1)
    assert (world.committed("t"), world.committed("u")) == (1, -1)
    assert world.state() == "Stable"


def test_an_expiry_given_with_the_commit_wins(world: Any) -> None:
    world.commit({("t", 0): 1}, version=4, retention_ms=MINUTE_MS)
    world.commit({("t", 1): 1}, version=4, retention_ms=2 * WEEK_MS)
    world.sleep(10 * MINUTE_MS)
    assert (world.committed(), world.committed(partition=1)) == (-1, 1)
    world.sleep(WEEK_MS)
    assert world.committed(partition=1) == 1


def test_expiry_that_cannot_be_written_is_tried_again(world: Any) -> None:
    world.commit({("t", 0): 1}, version=4, retention_ms=MINUTE_MS)
    before = world.lasting()
    world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
    world.sleep(10 * MINUTE_MS)
    assert world.lasting() == before
    world.fail = None
    world.sleep(10 * MINUTE_MS)
    assert world.state() == "none"


def test_tombstones_are_written_in_batches_of_bounded_size(world: Any) -> None:
    world.topics.known["big"] = (b"b" * 16, 1_200)
    world.commit({("big", partition): 1 for partition in range(1_200)})
    world.batches.clear()
    world.coordinator.on_topics_deleted({"big"})
    assert world.batches == [500, 500, 200]
