"""Pinned assignments: who is named has what is pinned, the others the rest, and no partition has two owners."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.group.pins import Who, pinned, pinned_bytes, resolve
from ottla.wire.state.embedded import ConsumerProtocolAssignment, ConsumerProtocolSubscription

NAMES = st.sampled_from(["a", "b", "c", "d"])
PLACES = st.tuples(st.sampled_from(["t", "u"]), st.integers(0, 5))
Topics = Mapping[str, frozenset[int]]


def topics_of(places: set[tuple[str, int]]) -> dict[str, frozenset[int]]:
    return {topic: frozenset(at for name, at in places if name == topic) for topic in {name for name, _ in places}}


def places_of(topics: Topics) -> set[tuple[str, int]]:
    return {(topic, index) for topic, indexes in topics.items() for index in indexes}


@st.composite
def assignments(draw: st.DrawFn) -> dict[str, dict[str, frozenset[int]]]:
    """Each place at one member at most."""
    members = draw(st.sets(NAMES, min_size=1))
    owners = draw(st.dictionaries(PLACES, st.sampled_from(sorted(members))))
    return {member: topics_of({place for place, owner in owners.items() if owner == member}) for member in members}


@given(assignments(), assignments(), st.sets(st.tuples(NAMES, st.sampled_from(["t", "u"]))))
def test_no_partition_has_two_owners_and_pins_hold(
    given_: dict[str, dict[str, frozenset[int]]],
    pins: dict[str, dict[str, frozenset[int]]],
    reads: set[tuple[str, str]],
) -> None:
    given_ = {
        member: {topic: indexes for topic, indexes in topics.items() if (member, topic) in reads}
        for member, topics in given_.items()
    }
    result = pinned(given_, pins, lambda member, topic: (member, topic) in reads)
    assert result.keys() == given_.keys()
    owned = [place for topics in result.values() for place in places_of(topics)]
    assert len(owned) == len(set(owned))
    for member, topics in result.items():
        assert all((member, topic) in reads for topic in topics)
        if member in pins:
            assert places_of(topics) == {place for place in places_of(pins[member]) if (member, place[0]) in reads}
    # what had an owner and is pinned to nobody has one still, if somebody else who is free may read it
    free = [member for member in given_ if member not in pins]
    for topics in given_.values():
        for place in places_of(topics) - set(owned):
            assert not any((member, place[0]) in reads for member in free)


def test_names_are_looked_for_by_member_id_then_instance_then_client() -> None:
    members = [Who("m2", "i", "client"), Who("m1", None, "client"), Who("m3", None, "i")]
    first, second = {"t": frozenset({0})}, {"t": frozenset({1})}
    assert resolve({"i": first, "client": second}, members) == {"m2": first, "m1": second}
    assert resolve({"m3": first, "nobody": second}, members) == {"m3": first}


def subscription(*owned: int, version: int = 1) -> bytes:
    """Of a consumer that reads t, and has these partitions of it."""
    message = ConsumerProtocolSubscription(
        topics=["t"],
        owned_partitions=[ConsumerProtocolSubscription.TopicPartition(topic="t", partitions=list(owned))]
        if owned
        else [],
    )
    return version.to_bytes(2, "big") + message.encode(version)


def assignment(*indexes: int, user_data: bytes | None = None) -> bytes:
    message = ConsumerProtocolAssignment(
        assigned_partitions=[ConsumerProtocolAssignment.TopicPartition(topic="t", partitions=list(indexes))]
        if indexes
        else [],
        user_data=user_data,
    )
    return b"\0\1" + message.encode(1)


def test_what_a_leader_hands_in_is_written_anew() -> None:
    members = [(Who("a", None, "ada"), subscription()), (Who("b", None, "bob"), subscription())]
    result = pinned_bytes(
        {"bob": {"t": frozenset({0})}}, members, {"a": assignment(0, 1, user_data=b"mine"), "b": assignment(2)}
    )
    assert result == {"a": assignment(1, 2, user_data=b"mine"), "b": assignment(0)}


def test_a_cooperative_member_gives_up_first_what_another_gets() -> None:
    pin = {"bob": {"t": frozenset({0})}}
    members = [(Who("a", None, "ada"), subscription(0, 1)), (Who("b", None, "bob"), subscription())]
    first = pinned_bytes(pin, members, {"a": assignment(0, 1), "b": assignment()})
    assert first == {"a": assignment(1), "b": assignment()}
    members[0] = (Who("a", None, "ada"), subscription(1))
    assert pinned_bytes(pin, members, {"a": assignment(0, 1), "b": assignment()}) == {
        "a": assignment(1),
        "b": assignment(0),
    }


@pytest.mark.parametrize("broken", [b"\0", b"\0\1\xff\xff\xff\x7f", b"\xff\xff"])
def test_what_cannot_be_read_stays_as_it_is(broken: bytes) -> None:
    members = [(Who("a", None, "ada"), subscription())]
    pin = {"ada": {"t": frozenset({0})}}
    assert pinned_bytes(pin, members, {"a": broken}) == {"a": broken}
    assert pinned_bytes(pin, [(Who("a", None, "ada"), broken)], {"a": assignment(1)}) == {"a": assignment(1)}
