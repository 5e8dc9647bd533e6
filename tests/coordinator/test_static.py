"""Stories of static members (KIP-345): a process that comes back under its instance id, and the one it replaces."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
BOTH = (("roundrobin", b"o"), ("range", b"r"))


def now(answer: Any) -> Any:
    """The response if it is there, else None."""
    if hasattr(answer, "settled"):
        return answer.result() if answer.settled else None
    return answer


def stable(world: Any, *instances: str, **options: Any) -> list[str]:
    """A Stable group of static members, generation 1 once all have joined; the first leads."""
    joins = [world.join(instance=instance, **options) for instance in instances]
    world.settle()
    ids = [now(joined).member_id for joined in joins]
    world.sync(ids[0], 1, {member: member.encode() for member in ids})
    for member in ids[1:]:
        world.sync(member, 1)
    assert world.state() == "Stable"
    return ids


def test_a_static_member_joins_in_one_step(world: Any) -> None:
    (member,) = stable(world, "i1")
    assert member.startswith("i1-")
    assert world.heartbeat(member, 1, instance="i1") == E.NONE
    assert world.heartbeat(member, 1) == E.NONE


@pytest.mark.parametrize("version", [9, 8])
def test_a_leader_that_comes_back_does_not_rebalance(world: Any, version: int) -> None:
    old, other = stable(world, "i1", "i2")
    answer = world.join(instance="i1", version=version)
    new = answer.member_id
    assert new != old
    assert answer.generation_id == 1
    if version >= 9:
        assert (answer.skip_assignment, answer.leader) == (True, new)
        assert {member.member_id for member in answer.members} == {new, other}
    else:
        assert (answer.skip_assignment, answer.leader, answer.members) == (False, old, [])
    assert world.sync(new, 1).assignment == old.encode()
    assert world.state() == "Stable"
    for code in (
        world.heartbeat(old, 1, instance="i1"),
        world.sync(old, 1, instance="i1").error_code,
        world.commit_code(old, 1, instance="i1"),
        world.join(old, instance="i1").error_code,
        world.leave((old, "i1")).members[0].error_code,
    ):
        assert code == E.FENCED_INSTANCE_ID
    assert world.heartbeat(old, 1) == E.UNKNOWN_MEMBER_ID


def test_a_follower_that_comes_back_does_not_rebalance(world: Any) -> None:
    leader, old = stable(world, "i1", "i2")
    answer = world.join(instance="i2")
    assert (answer.generation_id, answer.leader, answer.members, answer.skip_assignment) == (1, leader, [], False)
    assert world.sync(answer.member_id, 1).assignment == old.encode()


def test_the_group_knows_where_it_runs_now(world: Any) -> None:
    stable(world, "i1")
    world.join(instance="i1", client_id="moved")
    assert [member.client_id for member in world.describe()[0].members] == ["moved"]


def test_its_replacement_outlives_a_restart(world: Any) -> None:
    stable(world, "i1", "i2")
    new = world.join(instance="i2").member_id
    world.restart()
    assert world.state() == "Stable"
    assert world.heartbeat(new, 1, instance="i2") == E.NONE


def test_it_may_be_away_for_its_session_timeout(world: Any) -> None:
    first, second = stable(world, "i1", "i2")
    world.sleep(9_999)
    world.heartbeat(first, 1)
    new = world.join(instance="i2").member_id
    world.sleep(9_999)
    assert world.state() == "Stable"
    assert world.heartbeat(new, 1) == E.NONE
    world.sleep(10_000)
    assert world.state() == "Empty"
    assert world.join(second, instance="i2").error_code == E.UNKNOWN_MEMBER_ID


def test_a_changed_protocol_choice_rebalances(world: Any) -> None:
    (old,) = stable(world, "i1", protocols=(("range", b"r"), ("roundrobin", b"o")))
    answer = now(world.join(instance="i1", protocols=BOTH))
    assert (answer.generation_id, answer.protocol_name) == (2, "roundrobin")
    assert world.heartbeat(old, 2, instance="i1") == E.FENCED_INSTANCE_ID


def test_coming_back_while_the_leader_assigns_rebalances(world: Any) -> None:
    joins = [world.join(instance=instance) for instance in ("i1", "i2")]
    world.settle()
    first, second = (now(joined).member_id for joined in joins)
    parked = world.sync(second, 1)
    rejoined = world.join(instance="i2")
    assert now(parked).error_code == E.FENCED_INSTANCE_ID
    assert world.state() == "PreparingRebalance"
    assert now(rejoined) is None
    world.join(first)
    assert now(rejoined).generation_id == 2


def test_coming_back_while_its_old_self_is_parked(world: Any) -> None:
    first, second = stable(world, "i1", "i2")
    world.new_member()
    parked = world.join(second, instance="i2")
    rejoined = world.join(instance="i2")
    assert now(parked).error_code == E.FENCED_INSTANCE_ID
    world.join(first)
    assert now(rejoined).generation_id == 2
    assert len(world.coordinator.group("g").members) == 3


def test_a_static_member_that_misses_the_rebalance_is_waited_for_once_more(world: Any) -> None:
    stable(world, "i1", "i2", session_ms=200_000, rebalance_ms=10_000)
    _, joined = world.new_member(rebalance_ms=10_000, session_ms=200_000)
    world.sleep(10_000)
    # It stays a member of the new generation, led by the one that is there ...
    assert now(joined).generation_id == 2
    assert len(world.coordinator.group("g").members) == 3
    world.sync(now(joined).member_id, 2, {})
    # ... and is out when it does not sync either.
    world.sleep(10_000)
    assert len(world.coordinator.group("g").members) == 1


def test_with_only_absent_static_members_the_rebalance_goes_on(world: Any) -> None:
    stable(world, "i1", "i2", session_ms=35_000, rebalance_ms=10_000)
    dynamic, joined = world.new_member(rebalance_ms=10_000)
    world.leave(dynamic)
    assert now(joined).error_code == E.UNKNOWN_MEMBER_ID
    world.sleep(30_000)
    assert world.state() == "PreparingRebalance"
    world.sleep(5_000)
    assert world.state() == "Empty"


def test_an_admin_removes_by_instance_id(world: Any) -> None:
    stable(world, "i1", "i2")
    answer = world.leave(("", "i2"), ("", "i9"), ("", None))
    assert [member.error_code for member in answer.members] == [E.NONE, E.UNKNOWN_MEMBER_ID, E.UNKNOWN_MEMBER_ID]
    assert [member.member_id for member in answer.members] == ["", "", ""]
    assert world.state() == "PreparingRebalance"


def test_who_is_not_who_it_says_is_refused(world: Any) -> None:
    first, _ = stable(world, "i1", "i2")
    assert world.join("who", instance="i1").error_code == E.FENCED_INSTANCE_ID
    assert world.join("who", instance="i9").error_code == E.UNKNOWN_MEMBER_ID
    assert world.join(first, instance="i2").error_code == E.FENCED_INSTANCE_ID
    pending = world.join().member_id
    assert world.join(pending, instance="i9").error_code == E.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("later", [False, True])
def test_if_it_cannot_be_written_the_old_one_goes_on(world: Any, later: bool) -> None:
    old, _ = stable(world, "i1", "i2")
    before = world.lasting()
    error = KafkaError(E.NOT_LEADER_OR_FOLLOWER)
    if later:
        world.hold = True
        parked = world.join(instance="i1", protocols=BOTH[1:])
        assert now(parked) is None
        world.release(error)
        answer = now(parked)
    else:
        world.fail = error
        answer = now(world.join(instance="i1", protocols=BOTH[1:]))
        assert world.lasting() == before
    assert (answer.error_code, answer.member_id) == (E.NOT_COORDINATOR, "")
    assert world.heartbeat(old, 1, instance="i1") == E.NONE
    assert world.state() == "Stable"


def test_replaced_twice_while_the_first_is_being_written(world: Any) -> None:
    stable(world, "i1")
    world.hold = True
    first = world.join(instance="i1")
    second = world.join(instance="i1")
    assert now(first) is None
    world.release()
    assert now(first).error_code == E.FENCED_INSTANCE_ID
    assert now(second).error_code == E.NONE
    assert world.heartbeat(now(second).member_id, 1, instance="i1") == E.NONE
