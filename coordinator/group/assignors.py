"""The server-side assignors of KIP-848: who gets which partitions. Pure functions over ids and counts.

`uniform` balances the whole group and moves as little as it can; `range` gives each member one contiguous range of each
topic. Not here: when a target assignment is made, and how members get from the present one to it (consumer.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple, TypeAlias

ASSIGNORS: Final = ("uniform", "range")
"""Every assignor that a broker can be told to offer, in the order of Kafka's default of group.consumer.assignors."""

Assignment: TypeAlias = dict[str, dict[bytes, frozenset[int]]]
"""Member id -> topic id -> partitions; every member is there, topics without partitions are not."""

# Rounds of balancing over all topics if subscriptions differ. Each about halves what is uneven; most groups need one.
_MAX_ROUNDS: Final = 16


class MemberSpec(NamedTuple):
    """A member as an assignor sees it. `assigned`: its part of the present target assignment."""

    instance_id: str | None
    rack_id: str | None
    topic_ids: frozenset[bytes]
    assigned: Mapping[bytes, Collection[int]]


class TopicSpec(NamedTuple):
    name: str
    partitions: int


def assign(assignor_name: str, members: Mapping[str, MemberSpec], topics: Mapping[bytes, TopicSpec]) -> Assignment:
    """The target assignment of a group. A subscribed topic that is not in `topics` has no partitions.

    Every partition of a subscribed topic has exactly one owner. The order of the mappings does not matter.
    """
    if not members:
        return {}
    if assignor_name == "range":
        return _range(members, topics)
    if assignor_name != "uniform":
        raise ValueError(f"there is no assignor {assignor_name!r}")
    subscriptions = {member.topic_ids for member in members.values()}
    return _even(members, topics) if len(subscriptions) == 1 else _Balancer(members, topics).assignment()


def _by_name(topic_ids: Collection[bytes], topics: Mapping[bytes, TopicSpec]) -> list[bytes]:
    return sorted((topic_id for topic_id in topic_ids if topic_id in topics), key=lambda each: topics[each].name)


# ── range ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _range(members: Mapping[str, MemberSpec], topics: Mapping[bytes, TopicSpec]) -> Assignment:
    """Members in a fixed order (static ones by instance id, then the others by member id) share each topic in ranges.

    Topics with as many partitions and the same subscribers are cut alike: a member has the same numbers of each.
    Nothing is remembered: static members keep their ranges because their order stays.
    """
    ordered = sorted(members, key=lambda each: (members[each].instance_id is None, members[each].instance_id or each))
    assignment: Assignment = {member_id: {} for member_id in members}
    for topic_id, topic in topics.items():
        subscribers = [each for each in ordered if topic_id in members[each].topic_ids]
        if not subscribers:
            continue
        size, longer = divmod(topic.partitions, len(subscribers))
        start = 0
        for number, member_id in enumerate(subscribers):
            end = start + size + (number < longer)
            if end > start:
                assignment[member_id][topic_id] = frozenset(range(start, end))
            start = end
    return assignment


# ── uniform ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Holdings:
    """What members still own of their present assignment while a new one is made, and what nobody owns."""

    __slots__ = ("_free", "counts", "owned", "topic_ids")

    def __init__(self, members: Mapping[str, MemberSpec], topics: Mapping[bytes, TopicSpec]) -> None:
        subscribed = frozenset().union(*(member.topic_ids for member in members.values()))
        self.topic_ids = _by_name(subscribed, topics)
        self._free = {topic_id: set(range(topics[topic_id].partitions)) for topic_id in self.topic_ids}
        self.owned: dict[str, dict[bytes, set[int]]] = {}
        self.counts: dict[str, int] = {}
        for member_id in sorted(members):
            member = members[member_id]
            # Only what is there, is subscribed to, and that no other keeps.
            self.owned[member_id] = owned = {
                topic_id: self._free[topic_id].intersection(partitions)
                for topic_id, partitions in member.assigned.items()
                if topic_id in self._free and topic_id in member.topic_ids
            }
            for topic_id, partitions in owned.items():
                self._free[topic_id] -= partitions
            self.counts[member_id] = sum(map(len, owned.values()))

    def free(self, topic_id: bytes) -> list[int]:
        return sorted(self._free[topic_id])

    def give(self, member_id: str, topic_id: bytes, partition: int) -> None:
        self.owned[member_id].setdefault(topic_id, set()).add(partition)
        self._free[topic_id].discard(partition)
        self.counts[member_id] += 1

    def take(self, member_id: str, topic_id: bytes) -> int:
        """The member's highest partition of a topic, which is free from now on."""
        partition = max(self.owned[member_id][topic_id])
        self.owned[member_id][topic_id].remove(partition)
        self._free[topic_id].add(partition)
        self.counts[member_id] -= 1
        return partition

    def assignment(self) -> Assignment:
        return {
            member_id: {topic_id: frozenset(partitions) for topic_id, partitions in owned.items() if partitions}
            for member_id, owned in self.owned.items()
        }


def _even(members: Mapping[str, MemberSpec], topics: Mapping[bytes, TopicSpec]) -> Assignment:
    """All members subscribe to the same topics: each gets its equal share, and gives up only what is above that."""
    holdings = _Holdings(members, topics)
    counts = holdings.counts
    share, larger = divmod(sum(topics[topic_id].partitions for topic_id in holdings.topic_ids), len(members))
    # Who has more than a share already may keep one more: nothing moves that need not.
    shares = {
        member_id: share + (place < larger)
        for place, member_id in enumerate(sorted(counts, key=lambda each: (counts[each] <= share, each)))
    }
    for member_id, owned in holdings.owned.items():
        for topic_id in reversed(_by_name(owned, topics)):
            while owned[topic_id] and counts[member_id] > shares[member_id]:
                holdings.take(member_id, topic_id)
    free = _walk(holdings)
    for member_id in counts:
        while counts[member_id] < shares[member_id]:
            holdings.give(member_id, *next(free))
    return holdings.assignment()


def _walk(holdings: _Holdings) -> Iterator[tuple[bytes, int]]:
    for topic_id in holdings.topic_ids:
        for partition in holdings.free(topic_id):
            yield topic_id, partition


class _Balancer:
    """Subscriptions differ: free partitions go to whoever has least, then the most loaded give to the least loaded."""

    def __init__(self, members: Mapping[str, MemberSpec], topics: Mapping[bytes, TopicSpec]) -> None:
        self._holdings = _Holdings(members, topics)
        self._subscribers = {
            topic_id: [each for each in self._holdings.counts if topic_id in members[each].topic_ids]
            for topic_id in self._holdings.topic_ids
        }
        # Those that load their members most come first, so that the others can make up for it.
        self._topic_ids = sorted(
            self._holdings.topic_ids,
            key=lambda each: (
                -topics[each].partitions / len(self._subscribers[each]),
                len(self._subscribers[each]),
                topics[each].name,
            ),
        )

    def assignment(self) -> Assignment:
        for topic_id in self._topic_ids:
            self._fill(topic_id)
        for _ in range(_MAX_ROUNDS):
            if not sum(self._balance(topic_id) for topic_id in self._topic_ids):
                break
        return self._holdings.assignment()

    def _fill(self, topic_id: bytes) -> None:
        counts = self._holdings.counts
        least = [(counts[each], each) for each in self._subscribers[topic_id]]
        heapify(least)
        for partition in self._holdings.free(topic_id):
            member_id = least[0][1]
            self._holdings.give(member_id, topic_id, partition)
            heapreplace(least, (counts[member_id], member_id))

    def _balance(self, topic_id: bytes) -> int:
        """Move partitions of one topic while a subscriber has two more than another. Returns how many moved."""
        counts, owned = self._holdings.counts, self._holdings.owned
        subscribers = self._subscribers[topic_id]
        least = [(counts[each], each) for each in subscribers]
        most = [(-counts[each], each) for each in subscribers if owned[each].get(topic_id)]
        heapify(least)
        heapify(most)
        moved = 0
        # Who gives never becomes one that takes, or the other way round, before the loop ends: entries stay true.
        while most and -most[0][0] - least[0][0] > 1:
            giver, taker = most[0][1], least[0][1]
            self._holdings.give(taker, topic_id, self._holdings.take(giver, topic_id))
            heapreplace(least, (counts[taker], taker))
            if owned[giver][topic_id]:
                heapreplace(most, (-counts[giver], giver))
            else:
                heappop(most)
            moved += 1
        return moved
