"""Assignments that a test pins: which partitions a member of a group has, whatever an assignor says. Pure.

A pin names members by member id, instance id or client id, so that it may be there before they are. It lives as long as
the process. Where it is applied: to the target assignment of a consumer group (consumer_change.py), to what the leader
of a classic group hands in (membership.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ottla.coordinator.group.records import parse_subscription
from ottla.coordinator.group.steering import Pin
from ottla.coordinator.state_record import int16
from ottla.wire.errors import ProtocolError
from ottla.wire.state.embedded import ConsumerProtocolAssignment

T = TypeVar("T", str, bytes)


class Who(NamedTuple):
    """A member, as a pin may name it."""

    member_id: str
    instance_id: str | None
    client_id: str


def resolve(pin: Pin, members: Collection[Who]) -> dict[str, Mapping[str, frozenset[int]]]:
    """Member id -> what is pinned to it. Of several that one name means, the first by member id."""
    found: dict[str, Mapping[str, frozenset[int]]] = {}
    ordered = sorted(members)
    for name, topics in pin.items():
        # by member id first, then by instance id
        meant = [who.member_id for at in range(3) for who in ordered if who[at] == name and who.member_id not in found]
        if meant:
            found[meant[0]] = topics
    return found


def pinned(
    given: Mapping[str, Mapping[T, frozenset[int]]],
    pins: Mapping[str, Mapping[T, frozenset[int]]],
    reads: Callable[[str, T], bool],
) -> dict[str, dict[T, frozenset[int]]]:
    """An assignment with the pins in force: who is named has what is pinned to it, of the topics that it reads, and
    nothing else; what it would have had goes to the others in turn, if one of them reads it, else to nobody.

    `given`: by member id, what the assignor says, every member in it. No partition gets a second owner.
    """
    bound = {
        member: {topic: partitions for topic, partitions in topics.items() if partitions and reads(member, topic)}
        for member, topics in pins.items()
        if member in given
    }
    taken = {(topic, index) for topics in bound.values() for topic, indexes in topics.items() for index in indexes}
    left = [
        (topic, index)
        for member in sorted(bound)
        for topic, indexes in sorted(given[member].items())
        for index in sorted(indexes)
        if (topic, index) not in taken
    ]
    result: dict[str, dict[T, frozenset[int]]] = {}
    free = sorted(member for member in given if member not in bound)
    extra: dict[str, list[tuple[T, int]]] = {member: [] for member in free}
    for place in left:
        readers = [member for member in free if reads(member, place[0])]
        if readers:
            extra[min(readers, key=lambda member: len(extra[member]))].append(place)
    for member in given:
        if member in bound:
            result[member] = dict(bound[member])
            continue
        kept = {
            topic: frozenset(index for index in indexes if (topic, index) not in taken)
            for topic, indexes in given[member].items()
        }
        for topic, index in extra[member]:
            kept[topic] = kept.get(topic, frozenset()) | {index}
        result[member] = {topic: indexes for topic, indexes in kept.items() if indexes}
    return result


def pinned_bytes(pin: Pin, members: Sequence[tuple[Who, bytes]], given: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the leader of a classic group of consumers hands in, with the pin in force.

    `members`: each with its subscription; `given`: member id -> assignment, both as consumers write them. A partition
    that a cooperative member still owns goes to its new owner in the next rebalance, which that member begins by giving
    it up. What cannot be read stays as it is.
    """
    try:
        subscriptions = {who.member_id: parse_subscription(metadata) for who, metadata in members}
        before = {who.member_id: _parse(given.get(who.member_id, b"")) for who, _ in members}
    except ProtocolError:
        return dict(given)
    target = pinned(
        {member: _topics(assignment) for member, assignment in before.items()},
        resolve(pin, [who for who, _ in members]),
        lambda member, topic: topic in subscriptions[member].topics,
    )
    owners = {
        (topic.topic, index): member
        for member, subscription in subscriptions.items()
        for topic in subscription.owned_partitions
        for index in topic.partitions
    }
    result = dict(given)
    for who, metadata in members:
        member = who.member_id
        mine = {
            topic: sorted(index for index in indexes if owners.get((topic, index), member) == member)
            for topic, indexes in target[member].items()
        }
        low, high = ConsumerProtocolAssignment.VALID
        version = max(low, min(int16(given.get(member) or metadata), high))
        assignment = before[member]
        assignment.assigned_partitions = [
            ConsumerProtocolAssignment.TopicPartition(topic=topic, partitions=indexes)
            for topic, indexes in sorted(mine.items())
            if indexes
        ]
        result[member] = version.to_bytes(2, "big") + assignment.encode(version)
    return result


def _parse(assignment: bytes) -> ConsumerProtocolAssignment:
    """Raises ProtocolError."""
    if not assignment:
        return ConsumerProtocolAssignment(assigned_partitions=[], user_data=None)
    low, high = ConsumerProtocolAssignment.VALID
    return ConsumerProtocolAssignment.decode(assignment, max(low, min(int16(assignment), high)), 2)


def _topics(assignment: ConsumerProtocolAssignment) -> dict[str, frozenset[int]]:
    return {topic.topic: frozenset(topic.partitions) for topic in assignment.assigned_partitions}
