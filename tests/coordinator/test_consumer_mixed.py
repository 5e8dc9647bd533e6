"""Online migration: a classic group becomes a consumer group and back, and classic members live inside (KIP-848)."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.records import parse_subscription
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.consumer_offsets import GroupMetadataValue
from ottla.wire.state.embedded import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from tests.coordinator.conftest import value
from tests.coordinator.consumer_world import ConsumerWorld, T, held

E = ErrorCode
Protocols = tuple[tuple[str, bytes], ...]


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


def offers(*partitions: int, topics: tuple[str, ...] = ("t",), names: tuple[str, ...] = ("range",)) -> Protocols:
    """What a classic consumer says that reads `topics` and owns these partitions of "t"."""
    owned = [ConsumerProtocolSubscription.TopicPartition(topic="t", partitions=list(partitions))] if partitions else []
    subscription = ConsumerProtocolSubscription(topics=list(topics), owned_partitions=owned).encode(3)
    return tuple((name, b"\x00\x03" + subscription) for name in names)


def given(*partitions: int) -> bytes:
    """An assignment of partitions of "t"."""
    topics = [ConsumerProtocolAssignment.TopicPartition(topic="t", partitions=list(partitions))] if partitions else []
    return b"\x00\x03" + ConsumerProtocolAssignment(assigned_partitions=topics).encode(3)


def classic_group(world: ConsumerWorld, *protocols: Protocols, session_ms: int = 10_000) -> list[str]:
    """A Stable classic group of generation 1; the first member has all three partitions of "t"."""
    answers = [world.new_member(protocols=each, session_ms=session_ms) for each in protocols or (offers(),)]
    world.settle()
    members = [member_id for member_id, _ in answers]
    generation = value(answers[0][1]).generation_id
    leader = value(answers[0][1]).leader
    assignments = dict.fromkeys(members, given()) | {members[0]: given(0, 1, 2)}
    world.sync(leader, generation, assignments)
    for member_id in members:
        assert value(world.sync(member_id, generation)).assignment == assignments[member_id]
    return members


def rejoin(world: ConsumerWorld, member_id: str, *partitions: int, **options: Any) -> Any:
    return world.join(member_id, protocols=offers(*partitions), **options)


# -- up ---------------------------------------------------------------------------------------------------------------


def test_a_classic_group_that_a_consumer_joins(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    mark = world.mark()
    answer = world.enter("A")
    assert (answer.error_code, answer.member_epoch, held(answer)) == (E.NONE, 2, {})
    assert world.written(mark) == [
        "2 -",
        f"5 {member_id}",
        "3 =1",
        f"7 {member_id} t012",
        "6 =1 nobody",
        f"8 {member_id} 1/1 stable t012",
        "5 A",
        "3 =2",
        f"7 {member_id} t01",
        "7 A t2",
        "6 =2",
        "8 A 2/0 unreleased",
    ]
    assert [member.member_type for member in world.tell().members] == [0, 1]
    assert world.replayed().lasting() == world.lasting()

    # The classic member goes on: it is told to join, gives up, joins again.
    assert world.heartbeat(member_id, 1) == E.REBALANCE_IN_PROGRESS
    assert world.sync(member_id, 1).error_code == E.REBALANCE_IN_PROGRESS
    answer = rejoin(world, member_id, 0, 1, 2)
    assert (answer.error_code, answer.generation_id, answer.leader, answer.members) == (E.NONE, 1, "", [])
    assert (answer.member_id, answer.protocol_type, answer.protocol_name) == (member_id, "consumer", "range")
    assert world.sync(member_id, 1).assignment == given(0, 1)
    assert world.heartbeat(member_id, 1) == E.REBALANCE_IN_PROGRESS
    assert world.beat("A", 2).assignment is None
    assert rejoin(world, member_id, 0, 1).generation_id == 2
    assert world.sync(member_id, 2).assignment == given(0, 1)
    assert world.heartbeat(member_id, 2) == E.NONE
    assert held(world.beat("A", 2)) == {T: [2]}
    assert world.state() == "Stable"
    assert world.replayed().lasting() == world.lasting()


def test_a_rebalance_under_way_ends_when_the_group_changes(world: ConsumerWorld) -> None:
    first, second = classic_group(world, offers(), offers())
    parked = rejoin(world, first)
    assert value(parked) is None
    assert world.enter("A").error_code == E.NONE
    assert value(parked).error_code == E.REBALANCE_IN_PROGRESS
    assert rejoin(world, first).error_code == E.NONE
    assert world.heartbeat(second, 1) == E.REBALANCE_IN_PROGRESS
    world.sleep(9_999)
    assert len(world.tell().members) == 3
    world.sleep(1)
    assert [member.member_id for member in world.tell().members] == ["A"]  # sessions of ten seconds


def test_a_first_rebalance_is_taken_over_too(world: ConsumerWorld) -> None:
    world = ConsumerWorld(group_initial_rebalance_delay_ms=3_000)
    member_id, parked = world.new_member(protocols=offers())
    assert value(parked) is None
    assert world.enter("A").member_epoch == 2
    assert value(parked).error_code == E.REBALANCE_IN_PROGRESS
    assert rejoin(world, member_id).generation_id == 2


@pytest.mark.parametrize("policy", ["disabled", "downgrade"])
def test_a_group_that_may_not_change(policy: str) -> None:
    world = ConsumerWorld(group_consumer_migration_policy=policy)
    classic_group(world)
    before = world.lasting()
    assert world.enter("A").error_code == E.GROUP_ID_NOT_FOUND
    assert world.lasting() == before


def test_groups_that_cannot_change(world: ConsumerWorld) -> None:
    world.new_member(protocol_type="connect", group="connect")
    world.new_member(protocols=(("range", b"\x00\x03rubbish"),), group="rubbish")
    world.settle()
    small = ConsumerWorld(group_consumer_max_size=1)
    classic_group(small, offers(), offers())
    for where, group in ((world, "connect"), (world, "rubbish"), (small, "g")):
        assert where.enter("A", group=group).error_code == E.GROUP_ID_NOT_FOUND
        assert where.list(types=("consumer",)) == set()


def test_a_group_whose_change_cannot_be_written_stays(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
    assert world.enter("A").error_code == E.NOT_COORDINATOR
    world.fail = None
    assert world.heartbeat(member_id, 1) == E.NONE


def test_only_a_join_changes_a_classic_group(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    assert world.beat(member_id, 1).error_code == E.GROUP_ID_NOT_FOUND
    assert world.beat(member_id, -1).error_code == E.GROUP_ID_NOT_FOUND


# -- classic members --------------------------------------------------------------------------------------------------


def test_a_classic_member_joins_a_consumer_group(world: ConsumerWorld) -> None:
    world.enter("A")
    first = world.join(protocols=offers())
    assert (first.error_code, len(first.member_id)) == (E.MEMBER_ID_REQUIRED, 22)
    assert len(world.tell().members) == 1
    answer = rejoin(world, first.member_id)
    assert (answer.error_code, answer.generation_id, answer.member_id) == (E.NONE, 3, first.member_id)
    assert world.sync(answer.member_id, 3).assignment == given()
    assert world.heartbeat(answer.member_id, 3) == E.NONE  # what it lacks, A still has
    world.beat("A", 2)
    world.beat("A", 2, owned={T: [0, 1]})
    assert world.heartbeat(answer.member_id, 3) == E.REBALANCE_IN_PROGRESS
    assert rejoin(world, answer.member_id).generation_id == 3
    assert world.sync(answer.member_id, 3).assignment == given(2)
    assert world.heartbeat(answer.member_id, 3) == E.NONE
    assert world.state() == "Stable"


def test_what_a_classic_member_must_say(world: ConsumerWorld) -> None:
    world.enter("A")
    for protocols in ((), (("range", b""),), (("range", b"\xff\xff"),)):
        answer = world.join("M", protocols=protocols)
        assert answer.error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.join("M", protocols=offers(), session_ms=1).error_code == E.INVALID_SESSION_TIMEOUT
    member = rejoin(world, "M").member_id
    assert world.join("N", protocols=offers(names=("other",))).error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.join("N", protocols=offers(names=("other", "range"))).protocol_name == "other"
    assert world.heartbeat(member, 2) == E.ILLEGAL_GENERATION
    assert world.sync(member, 2).error_code == E.ILLEGAL_GENERATION
    assert world.sync(member, 3, protocol_name="other").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 3, protocol_type="connect").error_code == E.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync(member, 3, protocol_type=None).error_code == E.INCONSISTENT_GROUP_PROTOCOL


def test_a_full_group_takes_no_classic_member_either() -> None:
    world = ConsumerWorld(group_consumer_max_size=1)
    world.enter("A")
    assert world.join(protocols=offers()).error_code == E.GROUP_MAX_SIZE_REACHED


def test_before_version_4_a_classic_member_joins_at_once(world: ConsumerWorld) -> None:
    world.enter("A")
    answer = world.join(protocols=offers(), version=3)
    assert (answer.error_code, answer.generation_id) == (E.NONE, 3)
    assert world.member(answer.member_id).rebalance_timeout_ms == 60_000
    answer = world.join(protocols=offers(), version=0)
    assert world.member(answer.member_id).rebalance_timeout_ms == 10_000


def test_commits_of_a_classic_member(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    world.enter("A")
    assert world.commit_code(member_id, 1, version=8) == E.NONE
    rejoin(world, member_id, 0, 1, 2)
    rejoin(world, member_id, 0, 1)
    assert world.commit_code(member_id, 2, version=2) == E.NONE
    assert world.commit_code(member_id, 1) == E.NONE  # it has had the partition since then
    assert world.commit_code(member_id, 3) == E.ILLEGAL_GENERATION
    assert world.commit_code("A", 2, version=8) == E.UNSUPPORTED_VERSION


def test_a_classic_member_turns_to_the_consumer_protocol(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    world.enter("A")
    assert world.beat(member_id, 1, owned={T: [0, 1]}).member_epoch == 2
    assert [member.member_type for member in world.tell().members] == [1, 1]
    assert world.heartbeat(member_id, 2) == E.UNKNOWN_MEMBER_ID
    world.sleep(40_000)
    assert len(world.tell().members) == 2  # its session is that of its new protocol


def test_a_classic_member_that_does_not_come(world: ConsumerWorld) -> None:
    world.enter("A")
    member = rejoin(world, "M", rebalance_ms=5_000, session_ms=30_000).member_id
    world.sleep(4_999)
    assert member in world.coordinator.group("g").members  # type: ignore[union-attr]
    world.sleep(1)  # no SyncGroup
    assert member not in world.coordinator.group("g").members  # type: ignore[union-attr]

    rejoin(world, "M", rebalance_ms=5_000, session_ms=30_000)
    world.sync("M", 5)
    world.enter("B")
    assert world.heartbeat("M", 5) == E.REBALANCE_IN_PROGRESS
    world.sleep(4_000)
    assert world.heartbeat("M", 5) == E.REBALANCE_IN_PROGRESS
    world.sleep(1_000)  # no JoinGroup
    assert world.heartbeat("M", 5) == E.UNKNOWN_MEMBER_ID

    world.beat("A", world.member("A").epoch, owned={})
    rejoin(world, "M", session_ms=10_000)
    world.sync("M", world.member("M").epoch)
    world.sleep(10_000)
    assert "M" not in world.coordinator.group("g").members  # type: ignore[union-attr]


def test_static_classic_members(world: ConsumerWorld) -> None:
    world.enter("A")
    first = world.join(protocols=offers(), instance="i").member_id
    assert world.sync(first, 3, instance="i").error_code == E.NONE
    second = world.join(protocols=offers(), instance="i")
    assert (second.error_code, second.generation_id) == (E.NONE, 3)
    assert world.heartbeat(first, 3, instance="i") == E.FENCED_INSTANCE_ID
    assert world.heartbeat(first, 3) == E.UNKNOWN_MEMBER_ID
    assert world.join(first, protocols=offers(), instance="i").error_code == E.FENCED_INSTANCE_ID
    assert world.join("x", protocols=offers(), instance="j").error_code == E.UNKNOWN_MEMBER_ID
    assert world.heartbeat(second.member_id, 3, instance="i") == E.NONE
    assert world.leave(("", "i")).members[0].error_code == E.NONE
    assert world.heartbeat(second.member_id, 3) == E.UNKNOWN_MEMBER_ID


# -- down -------------------------------------------------------------------------------------------------------------


def leave(world: ConsumerWorld) -> None:
    world.beat("A", -1)


def be_removed(world: ConsumerWorld) -> None:
    world.leave("A")


def be_silent(world: ConsumerWorld) -> None:
    world.sleep(45_000)


@pytest.mark.parametrize("how", [leave, be_removed, be_silent])
def test_the_last_consumer_goes(world: ConsumerWorld, how: Any) -> None:
    (member_id,) = classic_group(world, offers(names=("range", "other")), session_ms=60_000)
    world.enter("A")
    mark = world.mark()
    how(world)
    assert world.written(mark) == [
        f"8 {member_id} -",
        "8 A -",
        f"7 {member_id} -",
        "7 A -",
        "6 -",
        f"5 {member_id} -",
        "5 A -",
        "4 -",
        "3 -",
        "2",
    ]
    saved = world.coordinator.group("g").saved  # type: ignore[union-attr]
    assert isinstance(saved, GroupMetadataValue)
    assert (saved.generation, saved.protocol_type, saved.protocol, saved.leader) == (2, "consumer", "range", member_id)
    assert saved.members[0].assignment == given(0, 1)
    assert parse_subscription(saved.members[0].subscription).topics == ["t"]
    assert world.replayed().lasting() == world.lasting()

    assert world.state() == "PreparingRebalance"
    assert world.heartbeat(member_id, 2) == E.REBALANCE_IN_PROGRESS
    answer = world.join(member_id, protocols=offers(0, 1, names=("other",)))  # all that it offered is known
    assert (value(answer).generation_id, value(answer).leader) == (3, member_id)
    world.sync(member_id, 3, {member_id: given(0, 1, 2)}, protocol_name="other")
    assert world.state() == "Stable"


@pytest.mark.parametrize("policy", ["disabled", "upgrade"])
def test_a_group_that_may_not_change_back(policy: str) -> None:
    world = ConsumerWorld(group_consumer_migration_policy=policy)
    world.enter("A")
    rejoin(world, "M")
    world.beat("A", -1)
    assert world.list(types=("consumer",)) == {("g", "Assigning")}
    assert world.heartbeat("M", 3) == E.REBALANCE_IN_PROGRESS
    rejoin(world, "M")
    assert world.sync("M", 4).assignment == given(0, 1, 2)


def test_a_group_too_large_for_the_classic_protocol_stays() -> None:
    world = ConsumerWorld(group_max_size=1)
    world.enter("A")
    rejoin(world, "M")
    rejoin(world, "N")
    world.beat("A", -1)
    assert world.list(types=("classic",)) == set()


def test_an_empty_group_stays_a_consumer_group(world: ConsumerWorld) -> None:
    world.enter("A")
    world.beat("A", -1)
    assert world.list(types=("consumer",)) == {("g", "Empty")}


def test_a_static_consumer_that_comes_back_as_a_classic_one(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    answer = world.join(protocols=offers(), instance="i")
    assert (answer.error_code, answer.generation_id) == (E.NONE, 2)
    assert world.list(types=("classic",)) == {("g", "Stable")}
    synced = value(world.sync(answer.member_id, 2, instance="i"))
    assert synced.assignment == given(0, 1, 2)
    assert world.heartbeat(answer.member_id, 2, instance="i") == E.NONE
    assert world.replayed().lasting() == world.lasting()

    back = world.enter("B", instance="i")  # and again as a consumer
    assert (back.member_epoch, held(back)) == (2, {T: [0, 1, 2]})
    assert world.state() == "Stable"
    assert [member.member_type for member in world.tell().members] == [1]
    assert world.heartbeat(answer.member_id, 2, instance="i") == E.FENCED_INSTANCE_ID


def test_a_restart_amid_both_kinds(world: ConsumerWorld) -> None:
    (member_id,) = classic_group(world)
    world.enter("A")
    world.restart()
    assert world.heartbeat(member_id, 1) == E.REBALANCE_IN_PROGRESS
    world.sleep(10_000)
    assert [member.member_id for member in world.tell().members] == ["A"]
