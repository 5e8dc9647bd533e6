"""A fault rule as a value: what may be ordered, what is refused and how, which requests match, and when it fires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.broker.faults.rules import Action, Rule, chance, parse_rule, parse_rules, shown
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode


@dataclass
class Asked:
    """A request, as a rule looks at it."""

    key: int = ApiKey.PRODUCE
    version: int = 9
    client_id: str = "c"
    connection: int = 1
    node: int = 1
    topics: Mapping[str, Sequence[int] | None] = field(default_factory=lambda: {"t": [0, 1]})
    groups: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("order", "action"),
    [
        ({"error": "NOT_LEADER_OR_FOLLOWER"}, Action("error", ErrorCode.NOT_LEADER_OR_FOLLOWER)),
        ({"error": "not_coordinator"}, Action("error", ErrorCode.NOT_COORDINATOR)),
        ({"error": 6}, Action("error", ErrorCode.NOT_LEADER_OR_FOLLOWER)),
        ({"delay": "500ms"}, Action("delay", 500, "before")),
        ({"delay": 1500, "when": "after"}, Action("delay", 1500, "after")),
        ({"drop": "before"}, Action("drop", "before", "before")),
        ({"drop": "after"}, Action("drop", "after", "after")),
        ({"cut": 10}, Action("cut", 10)),
        ({"cut": 0}, Action("cut", 0)),
        ({"cut": 0.5}, Action("cut", 0.5)),
        ({"corrupt": "crc"}, Action("corrupt", "crc")),
        ({"throttle": "1s"}, Action("throttle", 1000)),
        ({"hold": "before"}, Action("hold", "before", "before")),
        ({"hold": "after"}, Action("hold", "after", "after")),
        ({"stale": True}, Action("stale", True)),
        ({"fence": "leader"}, Action("fence", "leader")),
    ],
)
def test_every_action_may_be_ordered(order: dict[str, Any], action: Action) -> None:
    assert parse_rule(order).action == action


def test_all_that_a_rule_looks_at() -> None:
    order = {
        "api": "offsetcommit",
        "versions": "2-8",
        "topic": "orders",
        "partition": 0,
        "group": "g",
        "client_id": "c",
        "connection": 3,
        "node": 1,
        "nth": 3,
        "probability": 0.5,
        "seed": 7,
        "times": 3,
        "drop": "after",
    }
    assert parse_rule(order) == Rule(
        Action("drop", "after", "after"),
        key=ApiKey.OFFSET_COMMIT,
        versions=(2, 8),
        topic="orders",
        partition=0,
        group="g",
        client_id="c",
        connection=3,
        node=1,
        nth=3,
        probability=0.5,
        seed=7,
        times=3,
    )
    assert parse_rule({**order, "group": None, "nth": None}).group is None  # as if it were left out


@pytest.mark.parametrize(
    ("order", "key"),
    [({"corrupt": "crc"}, ApiKey.FETCH), ({"stale": True}, ApiKey.METADATA), ({"drop": "after"}, None)],
)
def test_an_action_that_one_api_can_have_implies_it(order: dict[str, Any], key: int | None) -> None:
    assert parse_rule(order).key == key


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ([], "a fault is an object"),
        ({"api": "Produce"}, "exactly one action of error, delay, .* this one has none"),
        ({"drop": "after", "cut": 1}, "this one has drop and cut"),
        ({"drop": "after", "topick": "t"}, "no field 'topick'; did you mean 'topic'"),
        ({"drop": "after", "zzz": "t"}, "no field 'zzz'; there are api, versions, "),
        ({"api": "Produze", "drop": "after"}, "serves no API 'Produze'; did you mean Produce"),
        ({"api": 7, "drop": "after"}, "api takes the name of an API, as in Produce, not 7"),
        ({"error": "NOT_LEADER"}, "not 'NOT_LEADER'; did you mean NOT_LEADER_OR_FOLLOWER"),
        ({"error": "NONE"}, "error takes the name of an error of Kafka, not 'NONE'"),
        ({"error": 0}, "error takes the name of an error"),
        ({"error": 9999}, "error takes the name of an error"),
        ({"delay": "soon"}, "delay: 'soon' is no length of time; give one as"),
        ({"delay": 0}, "delay takes a time above 0"),
        ({"delay": "100d"}, "delay takes a time above 0 and below 24 days"),
        ({"delay": "1s", "when": "now"}, "when takes before or after, not 'now'"),
        ({"drop": "after", "when": "after"}, "'when' belongs to delay"),
        ({"drop": True}, "drop takes before or after, not True"),
        ({"hold": "x"}, "hold takes before or after"),
        ({"cut": -1}, "cut takes a number of bytes, or a share of the answer"),
        ({"cut": 1.5}, "cut takes a number of bytes"),
        ({"cut": True}, "cut takes a number of bytes"),
        ({"corrupt": "md5"}, "corrupt takes crc, not 'md5'"),
        ({"api": "Produce", "corrupt": "crc"}, "corrupt is about Fetch, not Produce; leave api out"),
        ({"stale": False}, "stale takes true"),
        ({"api": "Fetch", "stale": True}, "stale is about Metadata, not Fetch"),
        ({"fence": "coordinator"}, "fence takes leader or producer or member"),
        ({"api": "Heartbeat", "fence": "leader"}, "Heartbeat has no leader to fence; these have: Produce, Fetch"),
        ({"api": "Fetch", "fence": "producer"}, "Fetch has no producer to fence"),
        ({"api": "Fetch", "fence": "member"}, "Fetch has no member to fence"),
        (
            {"api": "Heartbeat", "topic": "t", "drop": "after"},
            "Heartbeat names no topic; leave topic and partition out",
        ),
        ({"api": "CreateTopics", "partition": 1, "drop": "after"}, "names topics without partitions; leave partition"),
        ({"api": "Fetch", "group": "g", "drop": "after"}, "Fetch names no group; leave group out"),
        ({"versions": "x", "drop": "after"}, "versions takes a version or a range, as in 9, 9- or 3-7, not 'x'"),
        ({"versions": "-", "drop": "after"}, "versions takes a version or a range"),
        ({"versions": "7-3", "drop": "after"}, "'7-3' is empty; the lower one comes first"),
        ({"api": "Produce", "versions": "99", "drop": "after"}, "serves Produce in versions 3-13, none of '99'"),
        ({"partition": -1, "drop": "after"}, "partition takes a number from 0 on, not -1"),
        ({"connection": 0, "drop": "after"}, "connection takes a number from 1 on"),
        ({"times": 0, "drop": "after"}, "times takes a number from 1 on"),
        ({"nth": "3", "drop": "after"}, "nth takes a number from 1 on, not '3'"),
        ({"topic": "", "drop": "after"}, "topic takes a name"),
        ({"probability": 0, "drop": "after"}, "probability takes a number above 0 and up to 1"),
        ({"probability": 1.5, "drop": "after"}, "probability takes a number above 0"),
    ],
)
def test_a_mistake_is_one_sentence(order: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as found:
        parse_rule(order)
    assert "\n" not in str(found.value)


def test_a_list_of_rules_names_the_one_at_fault() -> None:
    good = {"api": "Produce", "drop": "after"}
    assert parse_rules([good, good]) == parse_rules({"faults": [good, good]}) == [parse_rule(good)] * 2
    with pytest.raises(ValueError, match=r"^rule 2: a fault has exactly one action"):
        parse_rules([good, {"api": "Produce"}])
    with pytest.raises(ValueError, match="faults are a list of rules"):
        parse_rules(good)


@pytest.mark.parametrize(
    ("text", "matching", "not_matching"),
    [
        ("9", [9], [8, 10]),
        (9, [9], [8, 10]),
        ("9-", [9, 13], [8]),
        ("9+", [9, 13], [8]),
        ("-4", [3, 4], [5]),
        ("3-7", [3, 7], [8]),
    ],
)
def test_versions(text: Any, matching: list[int], not_matching: list[int]) -> None:
    for key in (None, "Produce"):
        rule = parse_rule({"api": key, "versions": text, "drop": "after"})
        assert all(rule.matches(Asked(version=version)) for version in matching)
        assert not any(rule.matches(Asked(version=version)) for version in not_matching)


@pytest.mark.parametrize(
    ("matchers", "asked", "matches"),
    [
        ({}, Asked(), True),
        ({"api": "Fetch"}, Asked(), False),
        ({"api": "Produce"}, Asked(), True),
        ({"client_id": "c"}, Asked(), True),
        ({"client_id": ""}, Asked(), False),
        ({"connection": 2}, Asked(), False),
        ({"node": 2}, Asked(node=2), True),
        ({"topic": "t"}, Asked(), True),
        ({"topic": "u"}, Asked(), False),
        ({"topic": "t"}, Asked(topics={}), False),
        ({"topic": "t", "partition": 1}, Asked(), True),
        ({"topic": "t", "partition": 2}, Asked(), False),
        ({"partition": 1}, Asked(topics={"u": [1]}), True),
        ({"topic": "t"}, Asked(topics={"t": []}), False),
        ({"topic": "t", "partition": 7}, Asked(topics={"t": None}), True),  # all of them
        ({"group": "g"}, Asked(groups=frozenset("g")), True),
        ({"group": "g"}, Asked(), False),
    ],
)
def test_which_requests_match(matchers: dict[str, Any], asked: Asked, matches: bool) -> None:
    assert parse_rule({**matchers, "drop": "after"}).matches(asked) is matches


def test_a_fence_matches_what_has_such_an_epoch_only() -> None:
    assert not parse_rule({"fence": "leader"}).matches(Asked(key=ApiKey.HEARTBEAT))
    assert parse_rule({"fence": "leader"}).matches(Asked(key=ApiKey.FETCH))


def fired_at(rule: Rule, requests: int, seed: int = 1) -> list[int]:
    fired: list[int] = []
    for seen in range(1, requests + 1):
        if rule.fires(seen, len(fired), seed):
            fired.append(seen)
    return fired


@pytest.mark.parametrize(
    ("counts", "fired"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"times": 2}, [1, 2]),
        ({"nth": 3}, [3]),
        ({"nth": 3, "times": 2}, [3, 4]),
    ],
)
def test_when_it_fires(counts: dict[str, int], fired: list[int]) -> None:
    assert fired_at(parse_rule({**counts, "drop": "after"}), 6) == fired


def test_chance_is_decided_by_the_seed() -> None:
    half = parse_rule({"probability": 0.5, "seed": 7, "drop": "after"})
    often = fired_at(half, 1000)
    assert often == fired_at(half, 1000, seed=2)  # its own seed counts
    assert often != fired_at(replace(half, seed=8), 1000)
    assert 400 < len(often) < 600
    assert fired_at(replace(half, seed=None), 100, seed=7) == fired_at(half, 100)
    assert all(0 <= chance(seed, draw) < 1 for seed in range(20) for draw in range(20))


names = st.text("abc-", min_size=1, max_size=5)
numbers = st.integers(1, 1000)
orders = st.fixed_dictionaries(
    {},
    optional={
        "topic": names,
        "partition": numbers,
        "group": names,
        "client_id": names,
        "connection": numbers,
        "node": numbers,
        "nth": numbers,
        "times": numbers,
        "probability": st.floats(0.01, 1),
        "seed": numbers,
        "versions": st.sampled_from(["1-9", "3", "5-"]),
    },
)
actions = st.sampled_from(
    [
        {"error": "NOT_COORDINATOR"},
        {"delay": "1s", "when": "after"},
        {"delay": 3},
        {"drop": "after"},
        {"cut": 3},
        {"cut": 0.25},
        {"throttle": "1m"},
        {"hold": "before"},
        {"fence": "leader"},
    ]
)


@given(orders, actions)
def test_a_rule_as_json_is_the_same_rule(order: dict[str, Any], action: dict[str, Any]) -> None:
    rule = parse_rule({**order, **action})
    assert parse_rule(shown(rule)) == rule


touched = st.dictionaries(st.sampled_from("tuv"), st.none() | st.lists(st.integers(0, 3), max_size=4), max_size=3)


@given(touched, st.none() | st.sampled_from("tuv"), st.none() | st.integers(0, 3))
def test_it_matches_when_it_touches_something(
    topics: dict[str, list[int] | None], topic: str | None, partition: int | None
) -> None:
    rule = Rule(Action("drop", "after"), topic=topic, partition=partition)
    found = rule.touched(topics)
    if rule.picks_partitions:
        assert rule.matches(Asked(topics=topics)) is bool(found)
    for name, indexes in found.items():
        assert topic in (None, name)
        for index in indexes or ():
            assert partition in (None, index)
            whole = topics[name]
            assert whole is None or index in whole
