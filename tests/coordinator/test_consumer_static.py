"""Static members of consumer groups: an instance id that one process hands on to the next."""

from __future__ import annotations

import pytest

from ottla.wire.errors import ErrorCode
from tests.coordinator.consumer_world import ConsumerWorld, T, U, held

E = ErrorCode


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


def test_an_instance_is_held_until_it_is_left(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    assert world.enter("B", instance="i").error_code == E.UNRELEASED_INSTANCE_ID
    assert world.enter("A", instance="i").error_code == E.UNRELEASED_INSTANCE_ID
    assert world.beat("B", 2, instance="i").error_code == E.FENCED_INSTANCE_ID
    assert world.beat("B", -1, instance="i").error_code == E.FENCED_INSTANCE_ID
    assert world.beat("A", 2, instance="i").error_code == E.NONE
    assert world.beat("A", 2).error_code == E.NONE  # by its member id alone it is known, too


def test_the_next_process_goes_on_with_what_the_last_had(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    mark = world.mark()
    answer = world.beat("A", -2, instance="i")
    assert (answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms) == ("A", -2, 0)
    assert world.written(mark) == ["8 A -2/0 stable t012"]
    assert world.beat("A", 2, instance="i").error_code == E.FENCED_MEMBER_EPOCH

    mark = world.mark()
    answer = world.enter("B", instance="i")
    assert (answer.member_epoch, held(answer)) == (2, {T: [0, 1, 2]})
    assert world.written(mark) == [
        "8 A -",
        "7 A -",
        "5 A -",
        "5 B",
        "7 B t012",
        "8 B 0/0 stable t012",
        "8 B 2/0 stable t012",
    ]
    assert world.beat("A", 2, instance="i").error_code == E.FENCED_INSTANCE_ID
    assert world.beat("A", 2).error_code == E.UNKNOWN_MEMBER_ID
    assert world.state() == "Stable"
    assert world.replayed().lasting() == world.lasting()


def test_nobody_else_gets_what_an_absent_member_has(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    world.enter("B")
    world.beat("A", 2)
    world.beat("A", 2, owned={T: [0, 1]})
    world.beat("B", 3)
    world.beat("A", -2, instance="i")
    assert world.beat("B", 3).assignment is None
    assert world.state() == "Reconciling"
    assert held(world.enter("C", instance="i")) == {T: [0, 1]}


def test_what_an_absent_member_was_to_give_up_is_free(world: ConsumerWorld) -> None:
    world.enter("A", instance="i", rebalance_ms=5_000)
    world.enter("B")
    world.beat("A", 2)
    world.beat("A", -2, instance="i")
    assert held(world.beat("B", 3)) == {T: [2]}
    world.sleep(30_000)  # no deadline for giving up
    assert world.member("A").epoch == -2


def test_an_absence_ends_with_the_session(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    world.enter("B")
    world.beat("A", -2, instance="i")
    for _ in range(4):
        world.sleep(10_000)
        world.beat("B", 3)
    assert world.member("A").epoch == -2
    world.sleep(5_000)
    assert held(world.beat("B", 3)) == {T: [0, 1, 2]}
    assert held(world.enter("C", instance="i")) == {}


def test_an_absence_survives_a_restart(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    world.beat("A", -2, instance="i")
    world.restart()
    assert held(world.enter("B", instance="i")) == {T: [0, 1, 2]}
    world.beat("B", -2, instance="i")
    world.restart()
    world.sleep(45_000)
    assert world.state() == "Empty"


def test_the_next_process_may_read_something_else(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    world.beat("A", -2, instance="i")
    answer = world.enter("B", "u", instance="i")
    assert (answer.member_epoch, held(answer)) == (3, {U: [0, 1]})


def test_an_instance_that_leaves_for_good(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    assert world.beat("A", -1, instance="i").error_code == E.NONE
    assert world.state() == "Empty"
    assert world.enter("B", instance="i").error_code == E.NONE


def test_commits_of_an_absent_member(world: ConsumerWorld) -> None:
    world.enter("A", instance="i")
    world.beat("A", -2, instance="i")
    assert (world.tell().members[0].member_epoch, world.state()) == (-2, "Reconciling")
    assert world.commit_code("A", 2) == E.STALE_MEMBER_EPOCH
    assert world.commit_code("A", -2) == E.NONE
    world.enter("B", instance="i")
    assert world.commit_code("B", 2) == E.NONE
    assert world.commit_code("A", 2) == E.UNKNOWN_MEMBER_ID
