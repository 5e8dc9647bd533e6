"""Consumer groups and everyone else: commits by epoch, listing, describing, deleting, and groups of the other kind."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from tests.coordinator.conftest import value
from tests.coordinator.consumer_world import ConsumerWorld, T, U, held

E = ErrorCode
DAY_MS = 24 * 3_600_000


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


def codes(answer: Any) -> list[int]:
    return [partition.error_code for topic in answer.topics for partition in topic.partitions]


def fetch_code(world: ConsumerWorld, member_id: str | None, epoch: int) -> int:
    group = OffsetFetchRequest.OffsetFetchRequestGroup(
        group_id="g", member_id=member_id, member_epoch=epoch, topics=None
    )
    code: int = world.ask("fetch_offsets", OffsetFetchRequest(groups=[group]), 9).groups[0].error_code
    return code


def grown(world: ConsumerWorld) -> None:
    """A member in epoch 3, which has `t` since epoch 2 and `u` since 3."""
    world.enter("A")
    assert world.beat("A", 2, names=["t", "u"]).member_epoch == 3


# -- offsets ----------------------------------------------------------------------------------------------------------


def test_an_older_epoch_commits_what_it_had_already(world: ConsumerWorld) -> None:
    grown(world)
    expected = {3: (E.NONE, E.NONE), 2: (E.NONE, E.STALE_MEMBER_EPOCH), 1: (E.STALE_MEMBER_EPOCH,) * 2}
    expected[4] = expected[0] = expected[-1] = expected[1]
    for epoch, (of_t, of_u) in expected.items():
        assert codes(world.commit({("t", 0): 1}, "A", epoch)) == [of_t], epoch
        assert codes(world.commit({("u", 0): 1}, "A", epoch)) == [of_u], epoch


def test_what_a_member_never_had_it_commits_in_its_own_epoch_only(world: ConsumerWorld) -> None:
    world.topics.known["v"] = (b"v" * 16, 1)
    grown(world)
    assert codes(world.commit({("v", 0): 1}, "A", 3)) == [E.NONE]
    assert codes(world.commit({("v", 0): 1}, "A", 2)) == [E.STALE_MEMBER_EPOCH]


def test_what_a_member_is_giving_up_it_commits_still(world: ConsumerWorld) -> None:
    world.enter("A")
    world.enter("B")
    world.beat("A", 2)
    assert codes(world.commit({("t", 2): 1}, "A", 2)) == [E.NONE]
    world.beat("A", 2, owned={T: [0, 1]})
    assert codes(world.commit({("t", 2): 1}, "A", 2)) == [E.STALE_MEMBER_EPOCH]
    assert codes(world.commit({("t", 1): 1}, "A", 2)) == [E.NONE]
    assert codes(world.commit({("t", 1): 1}, "A", 3)) == [E.NONE]


def test_a_commit_with_one_partition_too_many_is_refused_whole(world: ConsumerWorld) -> None:
    grown(world)
    assert codes(world.commit({("t", 0): 1, ("u", 0): 1}, "A", 2)) == [E.STALE_MEMBER_EPOCH] * 2
    assert world.committed("t") == -1


def test_who_may_commit(world: ConsumerWorld) -> None:
    grown(world)
    assert world.commit_code("", -1) == E.UNKNOWN_MEMBER_ID
    assert world.commit_code("B", 3) == E.UNKNOWN_MEMBER_ID
    assert world.commit_code("A", 3, version=8) == E.UNSUPPORTED_VERSION
    assert world.commit_code("A", 3, version=10) == E.NONE
    assert world.commit_code("A", 3, instance="i") == E.NONE
    world.beat("A", -1)
    assert world.commit_code("", -1) == E.NONE
    assert world.commit_code("A", 3) == E.UNKNOWN_MEMBER_ID


def test_who_may_fetch(world: ConsumerWorld) -> None:
    grown(world)
    expected = {("A", 3): E.NONE, (None, -1): E.NONE, ("A", 2): E.STALE_MEMBER_EPOCH, ("A", 4): E.STALE_MEMBER_EPOCH}
    expected |= {("A", -1): E.STALE_MEMBER_EPOCH, ("", -1): E.UNKNOWN_MEMBER_ID, ("B", 3): E.UNKNOWN_MEMBER_ID}
    for (member_id, epoch), code in expected.items():
        assert fetch_code(world, member_id, epoch) == code, (member_id, epoch)


def test_offsets_of_what_is_read_stay(world: ConsumerWorld) -> None:
    world.enter("A")
    world.commit({("t", 0): 1, ("u", 0): 1}, "A", 2)
    assert codes(world.delete_offsets(("t", [0]), ("u", [0]))) == [E.GROUP_SUBSCRIBED_TO_TOPIC, E.NONE]
    world.beat("A", 2, names=[], regex="u")
    assert codes(world.delete_offsets(("t", [0]), ("u", [0]))) == [E.NONE, E.GROUP_SUBSCRIBED_TO_TOPIC]


def test_offsets_and_the_group_outlive_their_time_and_go(world: ConsumerWorld) -> None:
    world.enter("A")
    world.commit({("t", 0): 1, ("u", 0): 1}, "A", 2)
    for _ in range(8 * 24 * 90):
        world.sleep(40_000)
        world.beat("A", 2)
    assert (world.committed("t"), world.committed("u")) == (1, -1)
    world.beat("A", -1)
    mark = world.mark()
    world.sleep(DAY_MS)
    assert world.state() == "none"
    assert world.written(mark) == ["1 -", "6 -", "4 -", "3 -"]
    assert world.replayed().lasting() == world.lasting()


# -- list, describe, delete -------------------------------------------------------------------------------------------


def test_how_a_group_is_listed(world: ConsumerWorld) -> None:
    world.enter("A")
    world.stable_group(group="c")
    (group,) = world.ask("list_groups", ListGroupsRequest(types_filter=["CONSUMER"]), 5).groups
    assert (group.group_id, group.protocol_type, group.group_state, group.group_type) == (
        "g",
        "consumer",
        "Stable",
        "consumer",
    )
    assert world.list(states=("stable",)) == {("g", "Stable"), ("c", "Stable")}
    assert world.list(types=("classic",)) == {("c", "Stable")}
    world.enter("B")
    assert world.list(states=("reconciling",)) == {("g", "Reconciling")}
    world.beat("B", -1)
    assert world.list(states=("ASSIGNING",)) == {("g", "Assigning")}
    world.beat("A", -1)
    assert world.list(states=("empty",)) == {("g", "Empty")}
    assert world.coordinator.stats["groups_Empty"] == 1


def test_how_a_group_is_described(world: ConsumerWorld) -> None:
    world.enter("A", "t", instance="i", rack="r")
    world.enter("B", regex="t")
    group = world.tell()
    assert (group.error_code, group.group_id, group.group_state, group.group_epoch, group.assignment_epoch) == (
        E.NONE,
        "g",
        "Assigning",
        3,
        2,
    )
    assert (group.assignor_name, group.authorized_operations) == ("uniform", -(2**31))
    first, second = group.members
    assert (first.member_id, first.instance_id, first.rack_id, first.member_epoch) == ("A", "i", "r", 2)
    assert (first.client_id, first.client_host, first.member_type) == ("client", "/127.0.0.1", 1)
    assert (first.subscribed_topic_names, first.subscribed_topic_regex) == (["t"], "")
    assert (second.subscribed_topic_names, second.subscribed_topic_regex) == ([], "t")
    (topic,) = first.assignment.topic_partitions
    assert (topic.topic_id, topic.topic_name, topic.partitions) == (T, "t", [0, 1, 2])
    assert second.target_assignment.topic_partitions == []


def test_what_is_no_consumer_group_is_not_found(world: ConsumerWorld) -> None:
    world.stable_group(group="c")
    for group in world.tell("none", "c"):
        assert (group.error_code, group.group_state, group.members) == (E.GROUP_ID_NOT_FOUND, "", [])
        assert group.error_message
    world.enter("A")
    (classic,) = world.describe("g")
    assert (classic.error_code, classic.group_state) == (E.NONE, "Dead")
    (classic,) = world.describe("g", version=6)
    assert classic.error_code == E.GROUP_ID_NOT_FOUND


def test_a_group_is_deleted_when_it_is_empty(world: ConsumerWorld) -> None:
    world.enter("A")
    world.commit({("t", 0): 1}, "A", 2)
    assert world.delete("g").results[0].error_code == E.NON_EMPTY_GROUP
    world.beat("A", -1)
    mark = world.mark()
    assert world.delete("g").results[0].error_code == E.NONE
    assert world.written(mark) == ["1 -", "6 -", "4 -", "3 -"]
    assert world.state() == "none"
    assert world.committed() == -1
    assert world.enter("A").member_epoch == 2  # as a new one
    assert world.replayed().lasting() == world.lasting()


# -- groups of the other kind -----------------------------------------------------------------------------------------


def test_a_group_that_only_commits_becomes_a_consumer_group(world: ConsumerWorld) -> None:
    assert world.commit_code("", -1) == E.NONE
    mark = world.mark()
    assert held(world.enter("A")) == {T: [0, 1, 2]}
    assert world.written(mark)[0:2] == ["2 -", "5 A"]
    assert world.committed() == 1
    assert world.replayed().lasting() == world.lasting()


def test_a_classic_group_without_members_becomes_a_consumer_group(world: ConsumerWorld) -> None:
    (member_id,) = world.stable_group()
    world.commit({("t", 0): 7}, member_id, 1)
    world.leave(member_id)
    assert world.state() == "Empty"
    assert world.enter("A").member_epoch == 2
    assert world.list(types=("consumer",)) == {("g", "Stable")}
    assert world.committed() == 7


def test_a_consumer_group_without_members_becomes_a_classic_group(world: ConsumerWorld) -> None:
    world.enter("A")
    world.commit({("t", 0): 7}, "A", 2)
    world.beat("A", -1)
    assert world.join("x").error_code == E.UNKNOWN_MEMBER_ID
    assert world.list(types=("consumer",)) == {("g", "Empty")}
    mark = world.mark()
    _, answer = world.new_member()
    assert world.written(mark) == ["6 -", "4 -", "3 -", "2"]
    world.settle()
    assert (value(answer).error_code, value(answer).generation_id) == (E.NONE, 1)
    assert world.list(types=("classic",)) == {("g", "CompletingRebalance")}
    assert world.committed() == 7
    assert world.replayed().lasting() == world.lasting()


def test_classic_requests_to_a_consumer_group(world: ConsumerWorld) -> None:
    world.enter("A")
    for member_id in ("A", "x"):
        assert world.heartbeat(member_id, 2) == E.UNKNOWN_MEMBER_ID
        assert world.sync(member_id, 2).error_code == E.UNKNOWN_MEMBER_ID
    assert world.heartbeat("A", 2, instance="i") == E.UNKNOWN_MEMBER_ID
    assert world.join(protocol_type="connect").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    answer = world.leave("x", ("", "i"), "A")
    assert answer.error_code == E.NONE
    assert [each.error_code for each in answer.members] == [E.UNKNOWN_MEMBER_ID, E.UNKNOWN_MEMBER_ID, E.NONE]
    assert world.state() == "Empty"
    assert world.leave("A", version=2).error_code == E.UNKNOWN_MEMBER_ID


def test_records_that_a_compacted_log_left(world: ConsumerWorld) -> None:
    world.enter("A", "t", "u")
    world.enter("B", "t", "u", regex="t")
    world.beat("A", 2)
    world.beat("A", 2, owned={T: [0, 1]})
    world.beat("B", 3)
    world.beat("B", -1)
    last = {entry[:2]: number for number, entry in enumerate(world.log)}
    kept = [entry for number, entry in enumerate(world.log) if last[entry[:2]] == number]
    before = world.lasting()
    other = ConsumerWorld()
    for partition, key, written in kept:
        other.coordinator.replay(partition, key, written)
    other.coordinator.loaded()
    assert other.lasting() == before
    alive = [entry for entry in kept if entry[2] is not None]
    other = ConsumerWorld()
    for partition, key, written in alive:
        other.coordinator.replay(partition, key, written)
    assert other.lasting() == before


def test_an_owner_is_known_by_id_and_partition(world: ConsumerWorld) -> None:
    world.enter("A", "u")
    assert world.coordinator.group("g").owners == {U: {0: "A", 1: "A"}}  # type: ignore[union-attr]
