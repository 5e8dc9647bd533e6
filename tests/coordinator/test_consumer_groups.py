"""Consumer groups (KIP-848): who joins, what moves from one member to another and when, who is fenced, who expires."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode, KafkaError
from tests.coordinator.conftest import value
from tests.coordinator.consumer_world import ConsumerWorld, T, U, held

E = ErrorCode


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


# -- the request alone ------------------------------------------------------------------------------------------------

JOIN: dict[str, Any] = {"names": ["t"], "owned": {}, "rebalance_ms": 30_000}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"member_id": ""}, E.INVALID_REQUEST),
        ({"member_id": " "}, E.INVALID_REQUEST),
        ({"group": ""}, E.INVALID_REQUEST),
        ({"instance": ""}, E.INVALID_REQUEST),
        ({"rack": ""}, E.INVALID_REQUEST),
        ({"rebalance_ms": -1}, E.INVALID_REQUEST),
        ({"owned": None}, E.INVALID_REQUEST),
        ({"owned": {T: [0]}}, E.INVALID_REQUEST),
        ({"names": None}, E.INVALID_REQUEST),
        ({"epoch": -2}, E.INVALID_REQUEST),
        ({"epoch": -3}, E.INVALID_REQUEST),
        ({"assignor": "nope"}, E.UNSUPPORTED_ASSIGNOR),
        ({"regex": "("}, E.INVALID_REGULAR_EXPRESSION),
        ({"names": None, "regex": ""}, E.NONE),
        ({"names": []}, E.NONE),
        ({"version": 0, "member_id": ""}, E.NONE),
        ({"version": 0, "member_id": "", "epoch": 1}, E.INVALID_REQUEST),
        ({"version": 0, "member_id": "", "epoch": -1}, E.INVALID_REQUEST),
    ],
)
def test_what_a_join_must_say(world: ConsumerWorld, changed: dict[str, Any], code: ErrorCode) -> None:
    asked = {"member_id": "A", "epoch": 0, **JOIN, **changed}
    answer = world.beat(asked.pop("member_id"), asked.pop("epoch"), **asked)
    assert answer.error_code == code
    if code is not E.NONE:
        assert (answer.member_epoch, answer.heartbeat_interval_ms, answer.assignment) == (0, 0, None)
        assert answer.error_message
        assert world.state() == "none"


def test_before_version_1_the_server_names_the_member(world: ConsumerWorld) -> None:
    answer = world.enter("", version=0)
    assert len(answer.member_id) == 22
    assert world.beat(answer.member_id, answer.member_epoch, version=0).error_code == E.NONE


@pytest.mark.parametrize("epoch", [1, -1])
def test_who_is_not_known(world: ConsumerWorld, epoch: int) -> None:
    assert world.beat("A", epoch).error_code == E.GROUP_ID_NOT_FOUND
    assert world.beat("A", epoch, instance="i").error_code == E.GROUP_ID_NOT_FOUND
    world.enter("A")
    assert world.beat("B", epoch).error_code == E.UNKNOWN_MEMBER_ID
    assert world.beat("B", epoch, instance="i").error_code == E.UNKNOWN_MEMBER_ID


def test_a_full_group_takes_only_those_who_are_in() -> None:
    world = ConsumerWorld(group_consumer_max_size=1)
    world.enter("A")
    assert world.enter("B").error_code == E.GROUP_MAX_SIZE_REACHED
    assert world.enter("A").error_code == E.NONE
    world.beat("A", -1)
    assert world.enter("B").error_code == E.NONE


# -- epochs, assignment, records --------------------------------------------------------------------------------------


def test_the_first_member_has_all_at_once(world: ConsumerWorld) -> None:
    answer = world.enter("A")
    assert (answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms) == ("A", 2, 5_000)
    assert held(answer) == {T: [0, 1, 2]}
    assert world.state() == "Stable"
    assert world.written() == ["5 A", "3 =2", "7 A t012", "6 =2", "8 A 2/0 stable t012"]
    assert world.batches == [5]
    mark = world.mark()
    for asked in ({}, {"owned": {T: [0, 1, 2]}}, {"names": ["t"]}):
        answer = world.beat("A", 2, **asked)
        assert (answer.error_code, answer.member_epoch, answer.assignment) == (E.NONE, 2, None)
    assert world.written(mark) == []


def test_a_second_member_gets_what_the_first_gives_up(world: ConsumerWorld) -> None:
    world.enter("A")
    mark = world.mark()
    answer = world.enter("B")
    assert (answer.member_epoch, held(answer)) == (3, {})
    assert world.state() == "Reconciling"
    assert world.written(mark) == ["5 B", "3 =3", "7 A t01", "7 B t2", "6 =3", "8 B 3/0 unreleased"]

    mark = world.mark()
    assert held(world.beat("A", 2)) == {T: [0, 1]}  # told to give up one
    assert world.beat("A", 2, owned={T: [0, 1, 2]}).assignment is None  # has not
    assert held(world.beat("B", 3)) is None  # so it is not free
    assert world.holds("A") == {T: [0, 1]}
    answer = world.beat("A", 2, owned={T: [0, 1]})
    assert (answer.member_epoch, answer.assignment) == (3, None)
    answer = world.beat("B", 3)
    assert (answer.member_epoch, held(answer)) == (3, {T: [2]})
    assert world.state() == "Stable"
    assert world.written(mark) == [
        "8 A 2/2 unrevoked t01 gives t2",
        "8 B 3/3 unreleased",  # one step: the epoch that it comes from is the same now
        "8 A 3/2 stable t01",
        "8 B 3/3 stable t2",
    ]
    assert world.replayed().lasting() == world.lasting()


def test_whoever_joins_again_is_told_what_it_has(world: ConsumerWorld) -> None:
    world.enter("A")
    world.beat("A", 2, names=["t", "u"])
    mark = world.mark()
    answer = world.enter("A", "t", "u")
    assert (answer.error_code, answer.member_epoch, held(answer)) == (E.NONE, 3, {T: [0, 1, 2], U: [0, 1]})
    assert world.written(mark) == []
    full = world.beat("A", 3, names=["u", "t"], rebalance_ms=30_000, owned={T: [0]})
    assert held(full) == {T: [0, 1, 2], U: [0, 1]}


def test_joining_again_is_giving_up(world: ConsumerWorld) -> None:
    world.enter("A")
    world.enter("B")
    world.beat("A", 2)
    assert held(world.enter("A")) == {T: [0, 1]}
    assert world.member("A").epoch == 3
    assert held(world.beat("B", 3)) == {T: [2]}


def test_another_subscription_moves_what_is_not_read_any_more(world: ConsumerWorld) -> None:
    world.enter("A", "t", "u")
    world.enter("B", "t")
    mark = world.mark()
    answer = world.beat("A", 2, names=["u"])
    assert held(answer) == {U: [0, 1]}
    assert world.written(mark) == [
        "5 A",
        "3 =4",
        "7 A u01",
        "7 B t012",
        "6 =4",
        "8 A 2/2 unrevoked u01 gives t012",
    ]
    assert world.beat("A", 2, owned={U: [0, 1]}).member_epoch == 4
    assert held(world.beat("B", 3)) == {T: [0, 1, 2]}


def test_what_does_not_change_the_assignment_is_written_without_an_epoch(world: ConsumerWorld) -> None:
    world.enter("A")
    mark = world.mark()
    for asked in ({"rack": "r"}, {"rebalance_ms": 5_000}, {"client_id": "other"}, {"client_id": "other"}):
        assert world.beat("A", 2, **asked).member_epoch == 2
    assert world.written(mark) == ["5 A", "5 A", "5 A"]
    member = world.member("A")
    assert (member.rack_id, member.rebalance_timeout_ms, member.client_id) == ("r", 5_000, "other")


def test_the_assignor_that_most_want(world: ConsumerWorld) -> None:
    world.enter("A")
    assert world.tell().assignor_name == "uniform"
    answer = world.beat("A", 2, assignor="range")
    assert answer.member_epoch == 3
    assert world.tell().assignor_name == "range"
    world.enter("B", assignor="uniform")
    assert world.tell().assignor_name == "uniform"  # as many: the one that the broker names first
    world.enter("C", assignor="range")
    assert world.tell().assignor_name == "range"


def test_a_target_is_made_at_most_once_in_the_interval() -> None:
    world = ConsumerWorld(group_consumer_assignment_interval_ms=1_000)
    assert world.enter("A").member_epoch == 2
    mark = world.mark()
    answer = world.enter("B")
    assert (answer.member_epoch, held(answer)) == (2, {})
    assert world.state() == "Assigning"
    assert world.written(mark) == ["5 B", "3 =3", "8 B 2/0 stable"]
    world.sleep(999)
    assert world.beat("A", 2).assignment is None
    world.sleep(1)
    assert held(world.beat("A", 2)) == {T: [0, 1]}
    assert world.state() == "Reconciling"


def test_members_of_different_taste(world: ConsumerWorld) -> None:
    world.enter("A", "t")
    world.enter("B", "u")
    world.enter("C", "nothing")
    assert world.holds("A") == {T: [0, 1, 2]}
    assert world.holds("B") == {U: [0, 1]}
    assert world.holds("C") == {}
    assert [world.beat(member_id, epoch).member_epoch for member_id, epoch in (("A", 2), ("B", 3), ("C", 4))] == [4] * 3
    assert world.state() == "Stable"


# -- lost answers, fencing --------------------------------------------------------------------------------------------


def test_the_epoch_before_is_taken_if_the_answer_was_lost(world: ConsumerWorld) -> None:
    world.enter("A")
    world.enter("B")
    world.beat("A", 2)
    assert world.beat("A", 2, owned={T: [0, 1]}).member_epoch == 3
    assert world.beat("A", 2, owned={T: [0, 1]}).member_epoch == 3
    assert world.beat("A", 2, owned={T: [1]}).member_epoch == 3
    for epoch, owned in ((2, None), (2, {T: [0, 1, 2]}), (2, {U: [0]}), (1, {T: [0, 1]}), (4, {T: [0, 1]}), (4, None)):
        assert world.beat("A", epoch, owned=owned).error_code == E.FENCED_MEMBER_EPOCH
    assert world.beat("A", 3).error_code == E.NONE


def test_a_state_of_a_later_version_is_fenced_while_it_owns_something(world: ConsumerWorld) -> None:
    world.enter("A")
    partition, key, written = world.log[-1]
    assert written is not None
    at = 2 + 4 + 4  # the version, then both epochs
    world.coordinator.replay(partition, key, written[:at] + b"\x09" + written[at + 1 :])
    assert world.beat("A", 2).error_code == E.FENCED_MEMBER_EPOCH
    assert world.beat("A", 2, owned={T: [0]}).error_code == E.FENCED_MEMBER_EPOCH
    answer = world.beat("A", 2, owned={})
    assert (answer.error_code, world.member("A").state.name) == (E.NONE, "STABLE")


# -- leaving and time -------------------------------------------------------------------------------------------------


def test_leaving_frees_what_a_member_had(world: ConsumerWorld) -> None:
    world.enter("A")
    world.enter("B")
    mark = world.mark()
    answer = world.beat("A", -1)
    assert (answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms) == ("A", -1, 0)
    assert world.written(mark) == ["8 A -", "7 A -", "5 A -", "3 =4"]
    assert world.beat("A", -1).error_code == E.UNKNOWN_MEMBER_ID
    assert held(world.beat("B", 3)) == {T: [0, 1, 2]}
    mark = world.mark()
    world.beat("B", -1)
    assert world.written(mark) == ["8 B -", "7 B -", "5 B -", "3 =5 nothing", "6 =5 nobody"]
    assert world.state() == "Empty"


def test_a_member_that_is_silent_is_out(world: ConsumerWorld) -> None:
    world.enter("A")
    world.sleep(30_000)
    world.enter("B")
    world.sleep(14_999)
    assert world.beat("A", 2, owned={T: [0, 1]}).member_epoch == 3
    world.sleep(30_001)
    assert world.beat("B", 3).error_code == E.UNKNOWN_MEMBER_ID
    assert held(world.beat("A", 3)) == {T: [0, 1, 2]}
    world.sleep(45_000)
    assert world.state() == "Empty"
    assert world.told.names().count("member left") == 2


def test_a_member_that_does_not_give_up_in_time_is_out(world: ConsumerWorld) -> None:
    world.enter("A", rebalance_ms=10_000)
    world.enter("B")
    world.sleep(5_000)
    world.beat("A", 2)  # told now: from here on it has its ten seconds
    for _ in range(9):
        world.sleep(1_000)
        assert world.beat("A", 2, owned={T: [0, 1, 2]}).error_code == E.NONE
        assert world.beat("B", 3).assignment is None
    world.sleep(1_000)
    assert world.beat("A", 2).error_code == E.UNKNOWN_MEMBER_ID
    assert held(world.beat("B", 3)) == {T: [0, 1, 2]}


def test_a_member_that_gave_up_has_no_deadline(world: ConsumerWorld) -> None:
    world.enter("A", rebalance_ms=10_000)
    world.enter("B")
    world.beat("A", 2)
    world.beat("A", 2, owned={T: [0, 1]})
    world.sleep(40_000)
    assert world.beat("A", 3).error_code == E.NONE


# -- restarts and a log that fails ------------------------------------------------------------------------------------


def test_a_restart_changes_nothing(world: ConsumerWorld) -> None:
    world.enter("A", rebalance_ms=10_000)
    world.enter("B")
    world.beat("A", 2)
    before = world.lasting()
    world.restart()
    assert world.lasting() == before
    assert world.beat("A", 2, owned={T: [0, 1, 2]}).error_code == E.NONE
    world.sleep(10_000)  # the deadline for giving up began anew
    assert world.beat("A", 2).error_code == E.UNKNOWN_MEMBER_ID
    world.sleep(45_000)
    assert world.state() == "Empty"


def test_what_cannot_be_written_did_not_happen(world: ConsumerWorld) -> None:
    world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
    assert world.enter("A").error_code == E.NOT_COORDINATOR
    assert world.state() == "none"
    world.fail = None
    world.enter("A")
    before = world.lasting()
    world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
    assert world.enter("B").error_code == E.NOT_COORDINATOR
    assert world.beat("A", 2).error_code == E.NONE  # changes nothing, so there is nothing to write
    assert world.beat("A", -1).error_code == E.NOT_COORDINATOR
    world.sleep(60_000)
    assert world.lasting() == before
    world.fail = None
    world.sleep(1_000)
    assert world.state() == "Empty"


def test_an_answer_waits_until_it_is_durable(world: ConsumerWorld) -> None:
    world.hold = True
    answer = world.enter("A")
    assert value(answer) is None
    world.release()
    assert value(answer).member_epoch == 2


def test_a_coordinator_that_stops(world: ConsumerWorld) -> None:
    world.enter("A")
    world.coordinator.shutdown()
    assert world.beat("A", 2).error_code == E.NOT_COORDINATOR
    assert world.tell().error_code == E.NOT_COORDINATOR
    world.sleep(100_000)
    assert world.state() == "Stable"  # no timer acts any more
