"""Stories of whole groups: described, listed, deleted, restarted, shut down, and kept when the log refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.records import decode_record
from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
STORAGE = KafkaError(E.KAFKA_STORAGE_ERROR)


def now(answer: Any) -> Any:
    """The response if it is there, else None."""
    if hasattr(answer, "settled"):
        return answer.result() if answer.settled else None
    return answer


# -- DescribeGroups, ListGroups, DeleteGroups -------------------------------------------------------------------------


def test_metadata_is_described_when_stable_only(world: Any) -> None:
    (member,) = world.stable_group()
    (group,) = world.describe()
    assert (group.group_state, group.protocol_type, group.protocol_data) == ("Stable", "consumer", "range")
    assert group.members[0].member_metadata != b""
    assert group.members[0].member_assignment == member.encode()
    assert (group.members[0].client_id, group.members[0].client_host) == ("client", "/127.0.0.1")
    world.join(member)
    (group,) = world.describe()
    assert (group.group_state, group.protocol_data) == ("CompletingRebalance", "")
    assert group.members[0].member_metadata == b""
    assert group.members[0].member_assignment == member.encode()
    world.new_member()  # the rebalance is given up, and with it what was assigned
    assert [each.member_assignment for each in world.describe()[0].members] == [b"", b""]


@pytest.mark.parametrize(("version", "code"), [(0, E.NONE), (5, E.NONE), (6, E.GROUP_ID_NOT_FOUND)])
def test_an_unknown_group_is_dead(world: Any, version: int, code: ErrorCode) -> None:
    (group,) = world.describe("none", version=version)
    assert (group.error_code, group.group_state, group.members) == (code, "Dead", [])


def test_groups_are_listed_by_state_and_type(world: Any) -> None:
    world.stable_group()
    world.commit({("t", 0): 1}, group="simple")
    world.new_member(group="forming")
    everything = {("g", "Stable"), ("simple", "Empty"), ("forming", "PreparingRebalance")}
    assert world.list() == everything
    assert world.list(states=("STABLE", "empty")) == {("g", "Stable"), ("simple", "Empty")}
    assert world.list(types=("Classic",)) == everything
    assert world.list(types=("consumer",)) == world.list(states=("bogus",)) == set()


def test_only_empty_groups_are_deleted(world: Any) -> None:
    world.stable_group()
    world.commit({("t", 0): 1, ("u", 0): 2}, group="simple")
    answer = world.delete("g", "none", "simple", "simple")
    assert {result.group_id: result.error_code for result in answer.results} == {
        "g": E.NON_EMPTY_GROUP,
        "none": E.GROUP_ID_NOT_FOUND,
        "simple": E.NONE,
    }
    assert (world.state("simple"), world.committed(group="simple")) == ("none", -1)
    assert world.replayed().lasting() == world.lasting()


def test_an_id_handed_out_by_a_deleted_group_is_unknown(world: Any) -> None:
    member = world.join().member_id
    world.delete("g")
    assert world.join(member).error_code == E.UNKNOWN_MEMBER_ID
    world.sleep(20_000)


def test_deletions_wait_to_be_durable(world: Any) -> None:
    for group in ("a", "b"):
        world.commit({("t", 0): 1}, group=group)
    world.hold = True
    answer = world.delete("a", "b", "none")
    assert now(answer) is None
    world.release()
    assert {result.group_id: result.error_code for result in now(answer).results} == {
        "a": E.NONE,
        "b": E.NONE,
        "none": E.GROUP_ID_NOT_FOUND,
    }


# -- restart ----------------------------------------------------------------------------------------------------------


def test_a_stable_group_goes_on_after_a_restart_without_joins(world: Any) -> None:
    members = world.stable_group(3)
    world.commit({("t", 0): 7}, members[1], 1)
    world.sleep(9_000)
    world.restart()
    assert world.state() == "Stable"
    world.sleep(9_000)  # a whole session timeout from the restart on
    for member in members:
        assert world.heartbeat(member, 1) == E.NONE
        assert world.sync(member, 1).assignment == member.encode()
    assert world.commit_code(members[0], 1) == E.NONE
    assert world.coordinator.group("g").leader_id == members[0]
    assert world.join(members[1]).generation_id == 1  # a follower, unchanged
    world.sleep(10_000)
    assert world.state() == "Empty"


def test_a_restart_during_a_rebalance_goes_back_to_the_last_generation(world: Any) -> None:
    first, second = world.stable_group(2)
    third, parked = world.new_member()
    world.join(first)
    world.join(second)
    assert now(parked).generation_id == 2
    world.restart()
    assert (world.state(), world.coordinator.group("g").generation) == ("Stable", 1)
    assert world.heartbeat(third, 2) == E.UNKNOWN_MEMBER_ID
    assert world.heartbeat(first, 2) == E.ILLEGAL_GENERATION
    assert world.commit_code(first, 2) == E.ILLEGAL_GENERATION
    rejoined = world.join(first)
    world.join(second)
    assert now(rejoined).generation_id == 2


def test_a_group_over_its_size_after_a_restart_rebalances(make_world: Any) -> None:
    world = make_world()
    world.stable_group(3)
    world.config.group_max_size = 2
    world.restart()
    assert world.state() == "PreparingRebalance"


def test_records_of_other_kinds_are_skipped_and_counted(world: Any) -> None:
    world.coordinator.replay(0, b"\x00\x0b\x00\x01g", b"\x00\x00\x00\x00\x00\x01\x00")  # ShareGroupMetadata
    world.coordinator.replay(0, b"\x00\x02\x00\x09g", b"\x00\x03")
    world.coordinator.replay(0, b"", None)
    world.coordinator.replay(0, b"\x00\x02\x00\x01g", b"\x00\x63")
    assert world.coordinator.stats["records_not_understood"] == 4
    assert world.coordinator.stats["groups"] == 0
    assert world.told.names().count("state record not understood") == 3


def test_a_legacy_commit_is_read(world: Any) -> None:
    key = b"\x00\x00" + b"\x00\x01g" + b"\x00\x01t" + b"\x00\x00\x00\x00"
    value = b"\x00\x00" + (9).to_bytes(8, "big") + b"\x00\x01m" + (5).to_bytes(8, "big")
    partition = world.coordinator.partition_for("g")
    world.coordinator.replay(partition, key, value)
    assert world.committed() == 9
    world.coordinator.replay(partition, key, None)
    assert world.committed() == -1


def test_stats_count(world: Any) -> None:
    world.stable_group(2)
    world.commit({("t", 0): 1, ("t", 1): 1}, group="simple")
    stats = world.coordinator.stats
    assert (stats["groups"], stats["groups_Stable"], stats["groups_Empty"]) == (2, 1, 1)
    assert (stats["members"], stats["offsets"]) == (2, 2)


# -- shutdown ---------------------------------------------------------------------------------------------------------


def test_shutdown_answers_all_who_wait(world: Any) -> None:
    first, second = (world.join().member_id for _ in range(2))
    for member in (first, second):
        world.join(member)
    world.settle()
    sync = world.sync(second, 1)
    _, join = world.new_member(group="other")
    world.coordinator.shutdown()
    assert now(sync).error_code == now(join).error_code == E.NOT_COORDINATOR
    assert world.timers.next_deadline_ms() is None
    assert world.heartbeat(first, 1) == E.NOT_COORDINATOR
    assert world.join().error_code == E.NOT_COORDINATOR
    assert world.sync(first, 1).error_code == E.NOT_COORDINATOR
    assert world.leave(first).error_code == E.NOT_COORDINATOR
    assert world.commit_code() == E.NOT_COORDINATOR
    assert world.fetch(("t", [0])).error_code == E.NOT_COORDINATOR
    assert world.delete_offsets(("t", [0])).error_code == E.NOT_COORDINATOR
    assert world.describe()[0].error_code == E.NOT_COORDINATOR
    assert world.delete("g").results[0].error_code == E.NOT_COORDINATOR


# -- a log that refuses -----------------------------------------------------------------------------------------------


def test_no_group_is_made_that_cannot_be_written(world: Any) -> None:
    world.fail = STORAGE
    answer = world.join()
    assert (answer.error_code, answer.member_id) == (E.NOT_COORDINATOR, "")
    assert world.state() == "none"
    assert world.timers.next_deadline_ms() == 600_000  # nothing but housekeeping
    world.fail = None
    assert world.join().error_code == E.MEMBER_ID_REQUIRED


@pytest.mark.parametrize("later", [False, True])
def test_an_assignment_that_cannot_be_written_begins_another_rebalance(world: Any, later: bool) -> None:
    first, second = (world.join().member_id for _ in range(2))
    for member in (first, second):
        world.join(member)
    world.settle()
    follower = world.sync(second, 1)
    world.hold, world.fail = later, None if later else STORAGE
    leader = world.sync(first, 1, {first: b"1", second: b"2"})
    if later:
        assert now(follower) is None
        assert world.heartbeat(first, 1) == E.NONE
        world.release(STORAGE)
    assert now(leader).error_code == now(follower).error_code == E.NOT_COORDINATOR
    assert world.state() == "PreparingRebalance"
    world.fail = None
    rejoined = world.join(first)
    world.join(second)
    assert now(rejoined).generation_id == 2
    assert world.sync(first, 2, {first: b"1"}).assignment == b"1"


def test_an_assignment_is_given_when_it_is_durable(world: Any) -> None:
    first, second = (world.join().member_id for _ in range(2))
    for member in (first, second):
        world.join(member)
    world.settle()
    follower = world.sync(second, 1)
    world.hold = True
    leader = world.sync(first, 1, {first: b"1", second: b"2"})
    late = world.sync(second, 1)  # asks again meanwhile
    assert now(follower).error_code == E.REBALANCE_IN_PROGRESS
    assert now(leader) is None
    assert world.state() == "CompletingRebalance"
    world.release()
    assert (now(leader).assignment, now(late).assignment) == (b"1", b"2")
    assert world.state() == "Stable"


def test_an_assignment_that_comes_too_late_is_dropped(world: Any) -> None:
    (first,) = world.stable_group()
    world.join(first)
    world.hold = True
    parked = world.sync(first, 2, {first: b"old"})
    world.new_member()
    assert now(parked).error_code == E.REBALANCE_IN_PROGRESS
    world.release()
    assert world.state() == "PreparingRebalance"
    assert now(world.join(first)).generation_id == 3


def test_a_group_that_empties_while_the_log_refuses_is_written_later(world: Any) -> None:
    (member,) = world.stable_group()
    before = world.lasting()
    world.fail = STORAGE
    assert world.leave(member).error_code == E.NOT_COORDINATOR
    assert world.state() == "Empty"
    assert world.lasting() == before
    world.sleep(5_000)
    world.fail = None
    world.sleep(1_000)
    record = decode_record(*world.log[-1][1:])
    assert record is not None
    assert (record.value.generation, record.value.members) == (2, [])
    assert world.replayed().state() == "Empty"


def test_a_leave_waits_until_the_empty_group_is_durable(world: Any) -> None:
    (member,) = world.stable_group()
    world.hold = True
    answer = world.leave(member)
    assert now(answer) is None
    world.release()
    assert now(answer).members[0].error_code == E.NONE


def test_who_is_answered_may_ask_again_at_once(world: Any) -> None:
    """The broker may handle a member's next request in the very call that answers its last one."""
    members = [world.join().member_id for _ in range(300)]
    syncs: dict[str, Any] = {}

    def ask_again(member: str) -> None:
        syncs[member] = world.sync(member, 1, {each: each.encode() for each in members})

    for member in members:
        world.join(member).then(lambda done, member=member: ask_again(member))
    world.settle()
    assert {member: now(sync).assignment for member, sync in syncs.items()} == {
        member: member.encode() for member in members
    }
    assert world.state() == "Stable"
