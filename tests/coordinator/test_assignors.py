"""The server-side assignors of KIP-848: cases that Apache Kafka 4.4.0 was asked, and what holds for every group."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.coordinator.group.assignors import ASSIGNORS, Assignment, MemberSpec, TopicSpec, assign


def topics(**counts: int) -> dict[bytes, TopicSpec]:
    return {name.encode(): TopicSpec(name, count) for name, count in counts.items()}


def member(
    *names: str, instance: str | None = None, assigned: Mapping[bytes, frozenset[int]] | None = None
) -> MemberSpec:
    return MemberSpec(instance, None, frozenset(name.encode() for name in names), assigned or {})


def shown(assignment: Assignment) -> dict[str, dict[str, list[int]]]:
    return {
        member_id: {topic_id.decode(): sorted(partitions) for topic_id, partitions in owned.items()}
        for member_id, owned in assignment.items()
    }


def sizes(assignment: Assignment) -> dict[str, int]:
    return {member_id: sum(map(len, owned.values())) for member_id, owned in assignment.items()}


def settled(members: Mapping[str, MemberSpec], assignment: Assignment) -> dict[str, MemberSpec]:
    """The members when each has what was assigned."""
    return {each: spec._replace(assigned=assignment.get(each, {})) for each, spec in members.items()}


def moved(before: Assignment, after: Assignment) -> int:
    """How many partitions have another owner than before."""
    return sum(
        len(partitions - after.get(member_id, {}).get(topic_id, frozenset()))
        for member_id, owned in before.items()
        for topic_id, partitions in owned.items()
    )


def test_nobody_gets_nothing() -> None:
    for name in ASSIGNORS:
        assert assign(name, {}, topics(a=3)) == {}
        assert assign(name, {"m": member()}, topics(a=3)) == {"m": {}}
        assert assign(name, {"m": member("gone")}, topics(a=3)) == {"m": {}}


def test_an_unknown_assignor() -> None:
    with pytest.raises(ValueError, match="cooperative"):
        assign("cooperative", {"m": member("a")}, topics(a=1))


# What Kafka 4.4.0 answered, member by member as they came.


def test_range_as_kafka_does_it() -> None:
    there = topics(a10=10, b10=10, c7=7)
    members = {"m5": member("a10", "b10", "c7"), "m1": member("a10", "b10", "c7")}
    assert shown(assign("range", members, there)) == {
        "m1": {"a10": [0, 1, 2, 3, 4], "b10": [0, 1, 2, 3, 4], "c7": [0, 1, 2, 3]},
        "m5": {"a10": [5, 6, 7, 8, 9], "b10": [5, 6, 7, 8, 9], "c7": [4, 5, 6]},
    }
    members["m3"] = member("a10", "b10", instance="i1")  # static members come first
    assert shown(assign("range", members, there)) == {
        "m1": {"a10": [4, 5, 6], "b10": [4, 5, 6], "c7": [0, 1, 2, 3]},
        "m3": {"a10": [0, 1, 2, 3], "b10": [0, 1, 2, 3]},
        "m5": {"a10": [7, 8, 9], "b10": [7, 8, 9], "c7": [4, 5, 6]},
    }


def test_uniform_as_kafka_does_it() -> None:
    there = topics(n12=12)
    members = {name: member("n12") for name in ("m5", "m1", "m3")}
    assert shown(assign("uniform", members, there)) == {
        "m1": {"n12": [0, 1, 2, 3]},
        "m3": {"n12": [4, 5, 6, 7]},
        "m5": {"n12": [8, 9, 10, 11]},
    }


def test_uniform_over_several_topics_moves_as_little_as_kafka() -> None:
    there = topics(a10=10, b10=10, c7=7)
    members: dict[str, MemberSpec] = {}
    before: Assignment = {}
    for name, size, moves in (("m5", [27], 0), ("m1", [13, 14], 13), ("m3", [9, 9, 9], 9)):
        members[name] = member("a10", "b10", "c7")
        members = settled(members, before)
        after = assign("uniform", members, there)
        assert sorted(sizes(after).values()) == size
        assert moved(before, after) == moves
        before = after
    del members["m5"]
    after = assign("uniform", settled(members, before), there)
    assert sorted(sizes(after).values()) == [13, 14]
    assert moved(before, after) == 9  # those of m5, no other


def test_uniform_with_different_subscriptions_as_kafka_does_it() -> None:
    members = {"m5": member("h12", "h3"), "m1": member("h12"), "m3": member("h3", "h8")}
    assert sizes(assign("uniform", members, topics(h12=12, h3=3, h8=8))) == {"m1": 7, "m3": 8, "m5": 8}


def test_a_member_for_one_topic_gets_all_of_it() -> None:
    there = topics(a10=10, b10=10, c7=7)
    members = {"m1": member("a10", "b10", "c7"), "m3": member("a10", "b10", "c7")}
    members = settled(members, assign("uniform", members, there))
    members["m2"] = member("c7")
    after = assign("uniform", members, there)
    assert shown(after)["m2"] == {"c7": [0, 1, 2, 3, 4, 5, 6]}
    assert sizes(after) == {"m1": 10, "m2": 7, "m3": 10}


# Rules.


def test_who_has_one_more_keeps_it() -> None:
    there = topics(a=5)
    held = {b"a": frozenset({2, 3, 4})}
    members = {"m1": member("a", assigned={b"a": frozenset({0, 1})}), "m2": member("a", assigned=held)}
    assert shown(assign("uniform", members, there)) == {"m1": {"a": [0, 1]}, "m2": {"a": [2, 3, 4]}}


def test_added_partitions_move_nothing() -> None:
    members = {"m1": member("a"), "m2": member("a")}
    before = assign("uniform", members, topics(a=4))
    after = assign("uniform", settled(members, before), topics(a=7))
    assert moved(before, after) == 0
    assert sorted(sizes(after).values()) == [3, 4]


def test_what_is_gone_or_not_subscribed_to_or_held_twice_is_not_kept() -> None:
    held = {b"a": frozenset({0, 9}), b"old": frozenset({0}), b"gone": frozenset({1})}
    members = {"m1": member("a", assigned=held), "m2": member("a", assigned=held)}
    assert shown(assign("uniform", members, topics(a=2, old=1))) == {"m1": {"a": [0]}, "m2": {"a": [1]}}
    members["m3"] = member("a", "old")
    assert shown(assign("uniform", members, topics(a=2, old=1))) == {
        "m1": {"a": [0]},
        "m2": {"a": [1]},
        "m3": {"old": [0]},
    }


def test_range_with_more_members_than_partitions() -> None:
    members = {f"m{number}": member("a") for number in range(4)}
    assert shown(assign("range", members, topics(a=2))) == {"m0": {"a": [0]}, "m1": {"a": [1]}, "m2": {}, "m3": {}}


def test_a_static_member_that_returns_under_a_new_id_keeps_its_range() -> None:
    there = topics(a=4)
    before = assign("range", {"z": member("a", instance="i1"), "b": member("a", instance="i2")}, there)
    after = assign("range", {"y": member("a", instance="i1"), "b": member("a", instance="i2")}, there)
    assert (after["y"], after["b"]) == (before["z"], before["b"])


# What holds for every group.

TOPICS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 12), min_size=1)
MEMBERS = st.dictionaries(st.sampled_from("123456789"), st.sets(st.sampled_from("abcdef")), min_size=1)


@settings(max_examples=100)
@given(st.sampled_from(ASSIGNORS), TOPICS, st.lists(MEMBERS, min_size=1, max_size=4))
def test_each_partition_has_one_owner_who_subscribes_to_it(
    name: str, counts: dict[str, int], generations: list[dict[str, set[str]]]
) -> None:
    there = topics(**counts)
    before: Assignment = {}
    for subscriptions in generations:
        members = settled({each: member(*names) for each, names in subscriptions.items()}, before)
        before = assign(name, members, there)
        assert before.keys() == members.keys()
        owned = [
            (topic_id, partition)
            for member_id, parts in before.items()
            for topic_id, partitions in parts.items()
            for partition in partitions
            if topic_id in members[member_id].topic_ids
        ]
        wanted = frozenset().union(*(spec.topic_ids for spec in members.values()))
        everything = [(topic_id, each) for topic_id in wanted & there.keys() for each in range(there[topic_id][1])]
        assert sorted(owned) == sorted(everything)
        assert all(all(parts.values()) for parts in before.values())
        # Nothing changed: nothing moves.
        again = assign(name, settled(members, before), there)
        assert moved(before, again) == 0


@settings(max_examples=100)
@given(TOPICS, st.lists(st.sets(st.sampled_from("123456789"), min_size=1), min_size=1, max_size=4))
def test_uniform_is_even_and_moves_no_more_than_it_must(counts: dict[str, int], generations: list[set[str]]) -> None:
    there, total = topics(**counts), sum(counts.values())
    before: Assignment = {}
    for member_ids in generations:
        members = settled({each: member(*counts) for each in member_ids}, before)
        after = assign("uniform", members, there)
        held = sorted((sizes(before).get(each, 0) for each in member_ids), reverse=True)
        share, larger = divmod(total, len(member_ids))
        shares = [share + 1] * larger + [share] * (len(member_ids) - larger)
        assert sorted(sizes(after).values(), reverse=True) == shares
        surplus = sum(max(0, has - gets) for has, gets in zip(held, shares, strict=True))
        lost = sum(size for each, size in sizes(before).items() if each not in member_ids)
        assert moved(before, after) == surplus + lost
        before = after


@settings(max_examples=100)
@given(TOPICS, MEMBERS)
def test_uniform_leaves_no_two_subscribers_of_a_topic_apart(
    counts: dict[str, int], wanted: dict[str, set[str]]
) -> None:
    members = {each: member(*names) for each, names in wanted.items()}
    after = assign("uniform", members, topics(**counts))
    count = sizes(after)
    for member_id, owned in after.items():
        for topic_id in owned:
            least = min(count[each] for each, spec in members.items() if topic_id in spec.topic_ids)
            assert count[member_id] - least <= 1
