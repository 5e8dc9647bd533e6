"""Stories of dynamic members: joining, syncing, heartbeats, leaving, and what time does to those who go silent."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.classic import TRANSITIONS, GroupState, Trigger
from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
RANGE = (("range", b"r"),)
BOTH = (("range", b"r"), ("roundrobin", b"o"))


def now(answer: Any) -> Any:
    """The response if it is there, else None."""
    if hasattr(answer, "settled"):
        return answer.result() if answer.settled else None
    return answer


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_way_into_and_out_of_every_state() -> None:
    assert {state for state, _ in TRANSITIONS} == set(GroupState) - {GroupState.DEAD}
    assert set(TRANSITIONS.values()) == set(GroupState)
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


@pytest.mark.parametrize("state", list(GroupState))
@pytest.mark.parametrize("trigger", list(Trigger))
def test_other_moves_are_refused(make_world: Any, state: GroupState, trigger: Trigger) -> None:
    world = make_world()
    world.join()
    group = world.coordinator.group("g")
    group.state = state
    if (state, trigger) in TRANSITIONS:
        group.move(trigger, 0)
        assert group.state is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(KeyError):
            group.move(trigger, 0)
        assert group.state is state


def in_state(world: Any, state: GroupState) -> tuple[str, int]:
    """A group "g" in that state, and a member of it (or who was) with its generation."""
    if state is GroupState.DEAD:
        return "client-gone", 1
    if state is GroupState.COMPLETING_REBALANCE:
        member, joined = world.new_member()
        world.settle()
        assert joined.settled
    else:
        (member,) = world.stable_group()
    if state is GroupState.PREPARING_REBALANCE:
        world.new_member()
    if state is GroupState.EMPTY:
        world.leave(member)
    assert world.state() == state.value
    return member, world.coordinator.group("g").generation


S = GroupState
EVENTS: list[tuple[GroupState, str, ErrorCode | str, GroupState]] = [
    # state, event, answer ("parked" if it has to wait), state after
    (S.DEAD, "heartbeat", E.UNKNOWN_MEMBER_ID, S.DEAD),
    (S.DEAD, "sync", E.UNKNOWN_MEMBER_ID, S.DEAD),
    (S.DEAD, "rejoin", E.UNKNOWN_MEMBER_ID, S.DEAD),
    (S.DEAD, "join", E.MEMBER_ID_REQUIRED, S.EMPTY),
    (S.DEAD, "leave", E.UNKNOWN_MEMBER_ID, S.DEAD),
    (S.DEAD, "commit", E.GROUP_ID_NOT_FOUND, S.DEAD),
    (S.DEAD, "simple commit", E.NONE, S.EMPTY),
    (S.EMPTY, "heartbeat", E.UNKNOWN_MEMBER_ID, S.EMPTY),
    (S.EMPTY, "sync", E.UNKNOWN_MEMBER_ID, S.EMPTY),
    (S.EMPTY, "rejoin", E.UNKNOWN_MEMBER_ID, S.EMPTY),
    (S.EMPTY, "join", E.MEMBER_ID_REQUIRED, S.EMPTY),
    (S.EMPTY, "join v3", "parked", S.PREPARING_REBALANCE),
    (S.EMPTY, "leave", E.UNKNOWN_MEMBER_ID, S.EMPTY),
    (S.EMPTY, "commit", E.UNKNOWN_MEMBER_ID, S.EMPTY),
    (S.EMPTY, "simple commit", E.NONE, S.EMPTY),
    (S.PREPARING_REBALANCE, "heartbeat", E.REBALANCE_IN_PROGRESS, S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "sync", E.REBALANCE_IN_PROGRESS, S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "rejoin", E.NONE, S.COMPLETING_REBALANCE),
    (S.PREPARING_REBALANCE, "join", E.MEMBER_ID_REQUIRED, S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "join v3", "parked", S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "leave", E.NONE, S.COMPLETING_REBALANCE),
    (S.PREPARING_REBALANCE, "commit", E.NONE, S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "simple commit", E.UNKNOWN_MEMBER_ID, S.PREPARING_REBALANCE),
    (S.PREPARING_REBALANCE, "session", E.NONE, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "heartbeat", E.NONE, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "sync", E.NONE, S.STABLE),
    (S.COMPLETING_REBALANCE, "rejoin", E.NONE, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "rejoin changed", E.NONE, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "join", E.MEMBER_ID_REQUIRED, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "join v3", "parked", S.PREPARING_REBALANCE),
    (S.COMPLETING_REBALANCE, "leave", E.NONE, S.EMPTY),
    (S.COMPLETING_REBALANCE, "commit", E.REBALANCE_IN_PROGRESS, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "simple commit", E.UNKNOWN_MEMBER_ID, S.COMPLETING_REBALANCE),
    (S.COMPLETING_REBALANCE, "session", E.NONE, S.EMPTY),
    (S.STABLE, "heartbeat", E.NONE, S.STABLE),
    (S.STABLE, "sync", E.NONE, S.STABLE),
    (S.STABLE, "rejoin", E.NONE, S.COMPLETING_REBALANCE),  # it is the leader
    (S.STABLE, "rejoin changed", E.NONE, S.COMPLETING_REBALANCE),
    (S.STABLE, "join", E.MEMBER_ID_REQUIRED, S.STABLE),
    (S.STABLE, "join v3", "parked", S.PREPARING_REBALANCE),
    (S.STABLE, "leave", E.NONE, S.EMPTY),
    (S.STABLE, "commit", E.NONE, S.STABLE),
    (S.STABLE, "simple commit", E.UNKNOWN_MEMBER_ID, S.STABLE),
    (S.STABLE, "session", E.NONE, S.EMPTY),
]


@pytest.mark.parametrize(("state", "event", "expected", "after"), EVENTS)
def test_every_event_in_every_state(
    world: Any, state: GroupState, event: str, expected: ErrorCode | str, after: GroupState
) -> None:
    member, generation = in_state(world, state)
    answer: Any = None
    match event:
        case "heartbeat":
            code: Any = world.heartbeat(member, generation)
        case "sync":
            answer = world.sync(member, generation, {member: b"x"})
        case "rejoin":
            answer = world.join(member)
        case "rejoin changed":
            answer = world.join(member, protocols=(("range", b"changed"),))
        case "join":
            answer = world.join()
        case "join v3":
            answer = world.join(version=3)
        case "leave":
            answer = world.leave(member).members[0]
        case "commit":
            code = world.commit_code(member, generation)
        case "simple commit":
            code = world.commit_code()
        case "session":
            world.sleep(10_000)
            code = E.NONE
    if answer is not None:
        answer = now(answer)
        code = "parked" if answer is None else answer.error_code
    assert code == expected
    assert world.state() == ("none" if after is S.DEAD else after.value)


# -- JoinGroup --------------------------------------------------------------------------------------------------------


def test_a_refused_join_makes_no_group(world: Any) -> None:
    assert world.join(group="").error_code == E.INVALID_GROUP_ID
    assert world.join(session_ms=5_999).error_code == E.INVALID_SESSION_TIMEOUT
    assert world.join(session_ms=1_800_001).error_code == E.INVALID_SESSION_TIMEOUT
    assert world.join("who").error_code == E.UNKNOWN_MEMBER_ID
    assert world.join("who", protocols=()).error_code == E.UNKNOWN_MEMBER_ID
    assert world.state() == "none"
    assert world.log == []


@pytest.mark.parametrize("offer", [{"protocols": ()}, {"protocol_type": ""}])
def test_a_join_that_offers_nothing_is_refused_and_makes_an_empty_group_as_in_kafka(
    world: Any, offer: dict[str, Any]
) -> None:
    for _ in range(2):
        assert world.join(**offer).error_code == E.INCONSISTENT_GROUP_PROTOCOL
        assert world.state() == "Empty"
        assert len(world.log) == 1


@pytest.mark.parametrize(("version", "name"), [(0, ""), (6, ""), (7, None), (9, None)])
def test_a_refused_join_names_no_protocol(world: Any, version: int, name: str | None) -> None:
    answer = world.join("who", version=version)
    assert (answer.protocol_name, answer.generation_id, answer.member_id) == (name, -1, "who")


def test_an_id_that_is_not_used_is_forgotten_after_the_session_timeout(world: Any) -> None:
    member = world.join().member_id
    assert member.startswith("client-")
    world.sleep(9_999)
    assert world.coordinator.group("g").pending
    world.sleep(1)
    assert world.join(member).error_code == E.UNKNOWN_MEMBER_ID


def test_the_join_phase_waits_for_ids_that_were_handed_out(world: Any) -> None:
    (first,) = world.stable_group()
    second, third = world.join().member_id, world.join().member_id
    joined = world.join(second)
    rejoined = world.join(first)
    assert now(joined) is None
    assert world.state() == "PreparingRebalance"
    world.sleep(5_000)
    world.join(third)
    assert now(joined).generation_id == now(rejoined).generation_id == 2
    assert [member.member_id for member in now(rejoined).members] == [first, second, third]
    assert now(joined).members == []


def test_an_id_that_expires_ends_the_wait(world: Any) -> None:
    (first,) = world.stable_group()
    second = world.join().member_id
    joined = world.join(second)
    world.join()
    rejoined = world.join(first)
    assert now(joined) is None
    world.sleep(10_000)
    assert now(joined).generation_id == now(rejoined).generation_id == 2


def test_leaving_with_an_unused_id_ends_the_wait_too(world: Any) -> None:
    (first,) = world.stable_group()
    third = world.join().member_id
    joined = world.join(version=3)
    world.join(first)
    assert now(joined) is None
    assert world.leave(third).members[0].error_code == E.NONE
    assert now(joined).generation_id == 2


def test_leaving_with_an_unused_id_does_not_disturb_a_stable_group(world: Any) -> None:
    world.stable_group()
    assert world.leave(world.join().member_id).members[0].error_code == E.NONE
    assert world.state() == "Stable"


def test_the_first_join_waits_the_initial_delay_for_more_members(make_world: Any) -> None:
    world = make_world(group_initial_rebalance_delay_ms=3_000)
    _, first = world.new_member()
    world.sleep(2_999)
    _, second = world.new_member()
    world.sleep(1)  # a member came: wait on
    assert now(first) is None
    world.sleep(2_999)
    assert now(first) is None
    world.sleep(1)
    assert now(first).generation_id == 1
    assert len(now(first).members) == 2
    assert now(second).members == []


def test_the_initial_delay_is_bounded_by_the_rebalance_timeout(make_world: Any) -> None:
    world = make_world(group_initial_rebalance_delay_ms=3_000)
    _, first = world.new_member(rebalance_ms=8_000)
    waited = 0
    while now(first) is None:
        world.join(version=3, rebalance_ms=8_000)
        world.sleep(1_000)
        waited += 1_000
    assert waited == 8_000
    assert world.coordinator.group("g").generation == 1


def test_an_eager_rebalance_ends_when_all_are_back(world: Any) -> None:
    first, second = world.stable_group(2)
    third, joined = world.new_member()
    assert world.heartbeat(first, 1) == E.REBALANCE_IN_PROGRESS
    world.join(first)
    assert now(joined) is None
    world.join(second)
    assert now(joined).generation_id == 2
    assert now(joined).leader == first
    assert world.state() == "CompletingRebalance"
    parked = world.sync(third, 2)
    assert now(parked) is None
    world.sync(first, 2, {first: b"1", third: b"3", "stranger": b"?"})
    assert now(parked).assignment == b"3"
    assert world.sync(second, 2).assignment == b""  # the leader gave it nothing
    assert world.state() == "Stable"


def test_who_does_not_rejoin_in_time_is_out(world: Any) -> None:
    first, second = world.stable_group(2, rebalance_ms=20_000, session_ms=100_000)
    _, joined = world.new_member(rebalance_ms=5_000)
    world.join(second, rebalance_ms=10_000)
    # The longest rebalance timeout known when it began counts: 20 s.
    world.sleep(19_999)
    assert now(joined) is None
    world.sleep(1)
    assert now(joined).generation_id == 2
    assert now(joined).leader == second
    assert world.heartbeat(first, 1) == E.UNKNOWN_MEMBER_ID


def test_a_new_member_whose_join_lasts_five_minutes_is_out(world: Any) -> None:
    (first,) = world.stable_group(session_ms=1_800_000, rebalance_ms=1_000_000)
    _, joined = world.new_member(rebalance_ms=1_000_000)
    world.sleep(299_999)
    assert now(joined) is None
    world.sleep(1)
    assert now(joined).error_code == E.UNKNOWN_MEMBER_ID
    assert world.state() == "PreparingRebalance"
    rejoined = world.join(first, rebalance_ms=1_000_000)
    assert now(rejoined).generation_id == 2


def test_a_parked_member_is_alive_however_long_it_waits(world: Any) -> None:
    first, second = world.stable_group(2, session_ms=10_000, rebalance_ms=200_000)
    world.new_member()
    rejoined = world.join(first)
    world.sleep(9_000)
    world.heartbeat(second, 1)
    world.sleep(9_000)
    assert now(rejoined) is None
    world.sleep(2_000)  # the second's session ends
    assert now(rejoined).generation_id == 2
    assert world.heartbeat(first, 2) == E.NONE
    world.sleep(9_999)
    assert first in world.coordinator.group("g").members


def test_a_newer_join_takes_the_place_of_the_older(world: Any) -> None:
    first, second = world.stable_group(2)
    older = world.join(first)
    newer = world.join(first)
    assert now(older).error_code == E.REBALANCE_IN_PROGRESS
    world.join(second)
    assert now(newer).generation_id == 2


def test_a_follower_that_joins_again_unchanged_gets_the_current_generation(world: Any) -> None:
    first, second = world.stable_group(2)
    answer = world.join(second)
    assert (answer.generation_id, answer.leader, answer.members) == (1, first, [])
    assert world.state() == "Stable"


def test_a_lost_join_answer_is_given_again_while_completing(world: Any) -> None:
    first, second = (world.join().member_id for _ in range(2))
    joins = [world.join(member) for member in (first, second)]
    world.settle()
    assert now(joins[0]).generation_id == 1
    again = world.join(first)
    assert again.generation_id == 1
    assert [member.member_id for member in again.members] == [first, second]
    assert world.join(second).members == []
    assert world.state() == "CompletingRebalance"


def test_changed_protocols_rebalance_and_parked_syncs_are_told(world: Any) -> None:
    first, second = (world.join().member_id for _ in range(2))
    for member in (first, second):
        world.join(member)
    world.settle()
    parked = world.sync(second, 1)
    rejoined = world.join(first, protocols=BOTH)
    assert now(parked).error_code == E.REBALANCE_IN_PROGRESS
    assert now(rejoined) is None
    world.join(second)
    assert now(rejoined).generation_id == 2


def test_the_most_wanted_protocol_that_all_offer_wins(world: Any) -> None:
    offers = [
        (("a", b"1"), ("b", b"1"), ("c", b"1")),
        (("b", b"2"), ("a", b"2")),
        (("c", b"3"), ("b", b"3"), ("a", b"3")),
        (("x", b"4"), ("b", b"4"), ("a", b"4")),
    ]
    ids = [world.join(protocols=offer).member_id for offer in offers]
    joins = [world.join(member, protocols=offer) for member, offer in zip(ids, offers, strict=True)]
    world.settle()
    assert now(joins[0]).protocol_name == "b"
    assert [member.metadata for member in now(joins[0]).members] == [b"1", b"2", b"3", b"4"]


def test_a_member_must_share_type_and_a_protocol_with_all(world: Any) -> None:
    world.stable_group()
    assert world.join(protocol_type="connect").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.join(protocols=(("other", b""),)).error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.join(protocols=(("other", b""), ("range", b""))).error_code == E.MEMBER_ID_REQUIRED


def test_connect_groups_are_groups_too(world: Any) -> None:
    options: dict[str, Any] = {"protocol_type": "connect", "protocols": (("sessioned", b"not a subscription"),)}
    member, joined = world.new_member(**options)
    world.settle()
    assert now(joined).protocol_type == "connect"
    answer = world.sync(member, 1, {member: b"tasks"}, protocol_type="connect", protocol_name="sessioned")
    assert answer.assignment == b"tasks"
    assert world.describe()[0].protocol_type == "connect"


def test_a_full_group_takes_nobody_more(make_world: Any) -> None:
    world = make_world(group_max_size=2)
    first, second = world.stable_group(2)
    refused = world.join()
    assert (refused.error_code, refused.member_id) == (E.GROUP_MAX_SIZE_REACHED, "")
    assert world.state() == "Stable"
    rejoined = world.join(first)
    joined = world.join(version=3)  # while preparing, those who have joined count
    assert now(joined) is None
    assert world.join(second).error_code == E.GROUP_MAX_SIZE_REACHED
    assert now(rejoined).generation_id == now(joined).generation_id == 2


def test_version_0_has_the_session_timeout_to_rejoin(world: Any) -> None:
    world.join(version=0, session_ms=7_000)
    world.settle()
    (member,) = world.coordinator.group("g").members.values()
    assert member.rebalance_timeout_ms == 7_000


def test_a_client_without_an_id_may_join(world: Any) -> None:
    assert world.join(client_id=None).member_id.startswith("-")


# -- SyncGroup --------------------------------------------------------------------------------------------------------


def test_sync_checks_in_order(world: Any) -> None:
    (member,) = world.stable_group()
    assert world.sync(member, 1, protocol_type=None).error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 1, protocol_name=None, group="").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 1, group="").error_code == E.INVALID_GROUP_ID
    assert world.sync(member, 1, group="none").error_code == E.UNKNOWN_MEMBER_ID
    assert world.sync("who", 9, protocol_type="x").error_code == E.UNKNOWN_MEMBER_ID
    assert world.sync(member, 1, instance="i").error_code == E.UNKNOWN_MEMBER_ID
    assert world.sync(member, 2, protocol_type="x").error_code == E.ILLEGAL_GENERATION
    assert world.sync(member, 1, protocol_type="x").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 1, protocol_name="x").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 1, protocol_type=None, protocol_name=None, version=4).error_code == E.NONE


def test_who_does_not_sync_within_the_rebalance_timeout_is_out(world: Any) -> None:
    first, second = (world.join(session_ms=100_000, rebalance_ms=10_000).member_id for _ in range(2))
    for member in (first, second):
        world.join(member, session_ms=100_000, rebalance_ms=10_000)
    world.settle()
    parked = world.sync(second, 1)
    world.sleep(9_999)
    assert now(parked) is None
    world.sleep(1)  # the leader never synced
    assert now(parked).error_code == E.REBALANCE_IN_PROGRESS
    assert world.heartbeat(first, 1) == E.UNKNOWN_MEMBER_ID
    rejoined = world.join(second)
    assert (now(rejoined).generation_id, now(rejoined).leader) == (2, second)


def test_a_follower_that_never_syncs_is_out_even_when_the_group_is_stable(world: Any) -> None:
    first, second = (world.join(session_ms=100_000, rebalance_ms=10_000).member_id for _ in range(2))
    for member in (first, second):
        world.join(member, session_ms=100_000, rebalance_ms=10_000)
    world.settle()
    world.sync(first, 1, {first: b"1"})
    assert world.state() == "Stable"
    world.sleep(10_000)
    assert world.state() == "PreparingRebalance"
    assert set(world.coordinator.group("g").members) == {first}


# -- Heartbeat, LeaveGroup --------------------------------------------------------------------------------------------


def test_heartbeats_keep_a_member_for_ever(world: Any) -> None:
    (member,) = world.stable_group()
    for _ in range(100):
        world.sleep(9_999)
        assert world.heartbeat(member, 1) == E.NONE
    assert len(world.timers) < 5
    world.sleep(10_000)
    assert world.state() == "Empty"


def test_a_commit_keeps_a_member_too(world: Any) -> None:
    (member,) = world.stable_group()
    for _ in range(5):
        world.sleep(9_999)
        assert world.commit_code(member, 1) == E.NONE
    assert world.state() == "Stable"


def test_a_leave_rebalances_the_rest(world: Any) -> None:
    first, second, third = world.stable_group(3)
    answer = world.leave(second, third, "who")
    assert [member.error_code for member in answer.members] == [E.NONE, E.NONE, E.UNKNOWN_MEMBER_ID]
    assert answer.error_code == E.NONE
    assert world.state() == "PreparingRebalance"
    assert now(world.join(first)).generation_id == 2


def test_a_leave_answers_what_the_member_still_waits_for(world: Any) -> None:
    first, second = (world.join().member_id for _ in range(2))
    for member in (first, second):
        world.join(member)
    world.settle()
    parked_sync = world.sync(second, 1)
    world.leave(second)
    assert now(parked_sync).error_code == E.UNKNOWN_MEMBER_ID
    third = world.join().member_id
    parked_join = world.join(third)
    world.leave(third)
    assert now(parked_join).error_code == E.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(("version", "code"), [(0, E.UNKNOWN_MEMBER_ID), (2, E.UNKNOWN_MEMBER_ID), (3, E.NONE)])
def test_leaving_an_unknown_group(world: Any, version: int, code: ErrorCode) -> None:
    answer = world.leave("who", version=version)
    assert answer.error_code == code
    assert [member.error_code for member in answer.members] == ([E.UNKNOWN_MEMBER_ID] if version >= 3 else [])


def test_the_last_leave_empties_the_group_and_counts_a_generation(world: Any) -> None:
    (member,) = world.stable_group()
    assert world.leave(member, version=1).error_code == E.NONE
    group = world.coordinator.group("g")
    assert (group.state, group.generation, group.protocol_type, group.leader_id) == (S.EMPTY, 2, "consumer", None)
    world.new_member()
    world.settle()
    assert group.generation == 3


def test_people_are_told_who_came_and_went(world: Any) -> None:
    (member,) = world.stable_group(client_id="app\nforged")
    world.leave(member)
    told = dict(world.told.events)
    assert told["member joined"]["client_id"] == "app\nforged"  # raw: who prints it escapes it
    assert told["member left"]["member"] == member
    assert told["new generation"]["generation"] == 1
    assert "group is empty" in told


def test_ids_that_nobody_uses_are_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ottla.coordinator.group.membership._MAX_PENDING", 3)
    oldest, *others = [world.join().member_id for _ in range(4)]
    assert [*world.coordinator.group("g").pending] == others
    assert world.join(oldest).error_code == E.UNKNOWN_MEMBER_ID
    for member_id in others:
        world.join(member_id)
    world.settle()
    assert world.state() == "CompletingRebalance"


def test_that_a_group_is_empty_is_written_when_the_disk_lets_it(world: Any) -> None:
    (only,) = world.stable_group(session_ms=10_000)
    world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
    world.sleep(10_000)
    assert world.state() == "Empty"
    assert only not in str(world.coordinator.group("g"))
    written = len(world.journal)
    world.sleep(5_000)
    assert len(world.journal) == written
    world.fail = None
    world.sleep(1_000)
    assert len(world.journal) == written + 1
