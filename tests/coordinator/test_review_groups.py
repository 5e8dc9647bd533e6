"""What a review found: one test for each fault, whatever part of the coordinator it was in."""

from __future__ import annotations

import pytest

from ottla.wire.errors import ErrorCode
from tests.coordinator.conftest import value
from tests.coordinator.consumer_world import ConsumerWorld, T, held
from tests.coordinator.test_consumer_mixed import classic_group, offers


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


def test_a_member_that_takes_another_instance_id_frees_the_one_it_had(world: ConsumerWorld) -> None:
    world.enter("A", instance="x")
    assert world.enter("A", instance="y").error_code == ErrorCode.NONE
    assert world.enter("B", instance="x").error_code == ErrorCode.NONE
    assert set(world.coordinator.group("g").members) == {"A", "B"}  # type: ignore[union-attr]
    assert world.replayed().lasting() == world.lasting()


def test_a_retention_beyond_the_end_of_time_is_kept_to_it(world: ConsumerWorld) -> None:
    committed = world.commit({("t", 0): 5}, retention_ms=2**63 - 1, version=2)
    assert committed.topics[0].partitions[0].error_code == ErrorCode.NONE
    world.sleep(20 * 24 * 3_600_000)
    assert world.committed() == 5


def test_the_group_without_a_name_cannot_be_described(world: ConsumerWorld) -> None:
    assert world.tell("").error_code == ErrorCode.INVALID_GROUP_ID


def test_what_a_member_still_has_to_give_up_is_described_as_its_own(world: ConsumerWorld) -> None:
    world.enter("A")
    world.enter("B")
    assert held(world.beat("A", 2)) == {T: [0, 1]}
    (member,) = (member for member in world.tell().members if member.member_id == "A")
    assert [topic.partitions for topic in member.assignment.topic_partitions] == [[0, 1, 2]]
    assert [topic.partitions for topic in member.target_assignment.topic_partitions] == [[0, 1]]


def test_a_refused_join_of_a_consumer_group_names_no_member(world: ConsumerWorld) -> None:
    world.enter("A")
    refused = world.join("stranger", instance="unknown")
    assert (refused.error_code, refused.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "")


def test_a_group_that_changes_its_protocol_in_a_second_rebalance_knows_who_holds_what(world: ConsumerWorld) -> None:
    """Cooperative members keep their partitions through a rebalance that is given up."""
    (first,) = classic_group(world)
    second = world.join(protocols=offers()).member_id
    parked = world.join(second, protocols=offers())
    world.join(first, protocols=offers(0, 1, 2))
    world.settle()
    assert value(parked).generation_id == 2
    sync = world.sync(second, 2)
    world.new_member(protocols=offers())  # the rebalance is given up before there is an assignment
    assert value(sync).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert held(world.enter("A")) == {}
    assert world.holds(first) == {T: [0, 1, 2]}
    assert world.replayed().lasting() == world.lasting()


def test_a_static_consumer_that_comes_back_classic_leaves_no_two_owners(world: ConsumerWorld) -> None:
    """The group turns classic while another member has not given up yet what the assignment takes from it."""
    (first,) = classic_group(world)  # it has all three partitions
    assert held(world.enter("S", instance="i")) == {}
    came = value(world.join("", instance="i", protocols=offers()))
    assert world.state() == "PreparingRebalance"
    assert value(world.sync(came.member_id, came.generation_id)).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert world.heartbeat(first, came.generation_id) == ErrorCode.REBALANCE_IN_PROGRESS
