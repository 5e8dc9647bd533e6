"""Consumer groups and their topics: subscriptions by name and by pattern, topics that come, grow and go."""

from __future__ import annotations

import pytest

from ottla.wire.errors import ErrorCode, KafkaError
from tests.coordinator.consumer_world import ConsumerWorld, T, U, held

E = ErrorCode
V = b"v" * 16


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld()


def test_a_topic_that_comes_later(world: ConsumerWorld) -> None:
    answer = world.enter("A", "v")
    assert (answer.member_epoch, held(answer)) == (2, {})
    assert world.written() == ["5 A", "3 =2 nothing", "7 A", "6 =2", "8 A 2/0 stable"]
    assert world.beat("A", 2).assignment is None
    world.topics.known["v"] = (V, 2)
    mark = world.mark()
    answer = world.beat("A", 2)
    assert (answer.member_epoch, held(answer)) == (3, {V: [0, 1]})
    assert world.written(mark) == ["3 =3", "7 A v01", "6 =3", "8 A 3/2 stable v01"]


def test_a_topic_that_grows(world: ConsumerWorld) -> None:
    world.enter("A")
    world.topics.known["t"] = (T, 4)
    assert held(world.beat("A", 2)) == {T: [0, 1, 2, 3]}
    assert world.member("A").assigned[T] == {0: 2, 1: 2, 2: 2, 3: 3}


def test_a_topic_that_nobody_reads_matters_to_nobody(world: ConsumerWorld) -> None:
    world.enter("A")
    mark = world.mark()
    world.topics.known["v"] = (V, 2)
    assert world.beat("A", 2).member_epoch == 2
    assert world.written(mark) == []


def test_a_topic_that_goes(world: ConsumerWorld) -> None:
    world.enter("A")
    del world.topics.known["t"]
    assert world.tell().members[0].assignment.topic_partitions == []
    mark = world.mark()
    answer = world.beat("A", 2)
    assert (answer.member_epoch, held(answer)) == (2, {})
    assert world.written(mark) == ["3 =3 nothing", "7 A", "6 =3", "8 A 2/2 unrevoked gives t012"]
    assert world.beat("A", 2, owned={}).member_epoch == 3


def test_a_topic_that_is_made_anew_is_another(world: ConsumerWorld) -> None:
    world.enter("A")
    world.topics.known["t"] = (V, 1)
    assert held(world.beat("A", 2)) == {}
    answer = world.beat("A", 2, owned={})
    assert (answer.member_epoch, held(answer)) == (3, {V: [0]})


def test_topics_that_changed_while_the_broker_was_away(world: ConsumerWorld) -> None:
    world.enter("A")
    world.topics.known["t"] = (T, 4)
    world.restart()
    assert held(world.beat("A", 2)) == {T: [0, 1, 2, 3]}


def test_a_pattern_is_looked_up_after_the_answer(world: ConsumerWorld) -> None:
    answer = world.enter("A", regex="[tu]")
    assert (answer.member_epoch, held(answer)) == (1, {})
    assert world.written() == ["5 A", "8 A 1/0 stable", "16 [tu] t,u", "3 =2"]
    assert world.batches == [2, 2]
    mark = world.mark()
    answer = world.beat("A", 1)
    assert (answer.member_epoch, held(answer)) == (2, {T: [0, 1, 2], U: [0, 1]})
    assert world.written(mark) == ["7 A t012 u01", "6 =2", "8 A 2/1 stable t012 u01"]
    assert world.replayed().lasting() == world.lasting()


def test_a_pattern_that_is_known_counts_at_once(world: ConsumerWorld) -> None:
    world.enter("A", regex="t")
    world.beat("A", 1)
    mark = world.mark()
    answer = world.enter("B", "u", regex="t")
    assert (answer.member_epoch, held(answer)) == (3, {U: [0, 1]})
    assert world.written(mark)[0:2] == ["5 B", "3 =3"]


def test_a_pattern_that_matches_nothing_yet(world: ConsumerWorld) -> None:
    world.enter("A", regex="v.*")
    assert world.written() == ["5 A", "8 A 1/0 stable", "16 v.*"]
    assert world.beat("A", 1).member_epoch == 1
    world.topics.known["v1"] = (V, 1)
    mark = world.mark()
    answer = world.beat("A", 1)
    assert (answer.member_epoch, held(answer)) == (2, {V: [0]})
    assert world.written(mark)[0:2] == ["16 v.* v1", "3 =2"]


def test_a_pattern_matches_whole_names(world: ConsumerWorld) -> None:
    world.topics.known["tt"] = (V, 1)
    world.enter("A", regex="t")
    assert held(world.beat("A", 1)) == {T: [0, 1, 2]}


def test_a_pattern_that_nobody_has_is_forgotten(world: ConsumerWorld) -> None:
    world.enter("A", regex="t")
    world.enter("B", regex="t")
    world.beat("A", 1)
    world.beat("A", -1)
    assert world.coordinator.group("g").regexes == {"t": frozenset({"t"})}  # type: ignore[union-attr]
    mark = world.mark()
    world.beat("B", world.member("B").epoch, regex="", names=["u"])
    assert world.written(mark)[0:2] == ["5 B", "16 t -"]
    world.enter("C", regex="u")
    mark = world.mark()
    world.beat("C", -1)
    assert world.written(mark)[0:4] == ["8 C -", "7 C -", "5 C -", "16 u -"]


def test_another_pattern_takes_the_topics_of_the_last_away(world: ConsumerWorld) -> None:
    world.enter("A", regex="t")
    world.beat("A", 1)
    answer = world.beat("A", 2, regex="u")
    assert held(answer) == {}  # what the new one stands for is not known yet
    assert held(world.beat("A", 2, owned={})) == {U: [0, 1]}
    assert world.beat("A", world.member("A").epoch, regex="(").error_code == E.INVALID_REGULAR_EXPRESSION


def test_a_pattern_whose_topics_could_not_be_written_is_looked_up_again(world: ConsumerWorld) -> None:
    world.enter("A", "u")
    append, done = world._append, 0

    def second_fails(*args: object) -> object:
        nonlocal done
        done += 1
        if done == 2:
            raise KafkaError(E.KAFKA_STORAGE_ERROR)
        return append(*args)  # type: ignore[arg-type]

    world.coordinator._unit("g").shard._append = second_fails  # type: ignore[assignment]
    assert world.beat("A", 2, names=[], regex="t").error_code == E.NONE
    assert world.coordinator.group("g").regexes == {}  # type: ignore[union-attr]
    world.beat("A", 2)
    assert world.coordinator.group("g").regexes == {"t": frozenset({"t"})}  # type: ignore[union-attr]
