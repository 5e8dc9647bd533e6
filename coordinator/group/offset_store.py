"""The offsets of one shard: those that count, and those of open transactions that may yet (KIP-98).

State only, changed by replay; who may commit and what is written are decided in commits.py and offsets.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from ottla.wire.state.consumer_offsets import OffsetCommitValue

_Place = tuple[str, int]  # topic, partition


class OffsetStore:
    """The last committed offset of each (group, topic, partition) of a shard, as its record has it.

    A commit of a transaction is pending until the transaction's marker. Of all commits the one later in the log wins,
    whenever its marker comes: else compaction, which keeps the later record, would change what a replay gives.
    """

    __slots__ = ("_groups", "_open", "_pending")

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, dict[int, OffsetCommitValue]]] = {}
        # group -> place -> producer id -> value, oldest commit first; None where a later commit counts already.
        self._pending: dict[str, dict[_Place, dict[int, OffsetCommitValue | None]]] = {}
        self._open: dict[int, set[tuple[str, _Place]]] = {}  # producer id -> where it has pending commits

    # -- replay -------------------------------------------------------------------------------------------------------

    def save(self, group_id: str, topic: str, partition: int, value: OffsetCommitValue) -> None:
        """A commit outside of any transaction."""
        self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = value
        if self._pending:
            writers = self._pending.get(group_id, {}).get((topic, partition))
            for producer_id in writers or ():
                writers[producer_id] = None  # type: ignore[index]  # not None if there is something to iterate

    def save_pending(
        self, group_id: str, topic: str, partition: int, value: OffsetCommitValue, producer_id: int
    ) -> None:
        """A commit in the open transaction of a producer."""
        place = (topic, partition)
        writers = self._pending.setdefault(group_id, {}).setdefault(place, {})
        writers.pop(producer_id, None)  # the newest stands last
        writers[producer_id] = value
        self._open.setdefault(producer_id, set()).add((group_id, place))

    def end_transaction(self, producer_id: int, commit: bool) -> None:
        """The marker of a producer's transaction: its pending commits count now, or never."""
        for group_id, place in self._open.pop(producer_id, ()):
            writers = self._pending[group_id][place]
            value = writers[producer_id]
            if commit and value is not None:
                for earlier in writers:
                    if earlier == producer_id:
                        break
                    writers[earlier] = None
                topic, partition = place
                self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = value
            del writers[producer_id]
            if not writers:
                self._drop(group_id, place)

    def forget(self, group_id: str, topic: str, partition: int) -> None:
        """A tombstone: whatever was committed before, pending or not, is gone."""
        topics = self._groups.get(group_id, {})
        partitions = topics.get(topic, {})
        if partitions.pop(partition, None) is not None and not partitions:
            del topics[topic]
            if not topics:
                del self._groups[group_id]
        place = (topic, partition)
        for producer_id in self._pending.get(group_id, {}).get(place, ()):
            places = self._open[producer_id]
            places.remove((group_id, place))
            if not places:
                del self._open[producer_id]
        self._drop(group_id, place)

    def _drop(self, group_id: str, place: _Place) -> None:
        places = self._pending.get(group_id, {})
        if places.pop(place, None) is not None and not places:
            del self._pending[group_id]

    # -- what counts --------------------------------------------------------------------------------------------------

    def get(self, group_id: str, topic: str, partition: int) -> OffsetCommitValue | None:
        """The committed offset, if any."""
        return self.of_topic(group_id, topic).get(partition)

    def of_topic(self, group_id: str, topic: str) -> dict[int, OffsetCommitValue]:
        """By partition; not to be changed by the caller."""
        return self._groups.get(group_id, {}).get(topic, {})

    def of_group(self, group_id: str) -> dict[str, dict[int, OffsetCommitValue]]:
        """By topic and partition; not to be changed by the caller."""
        return self._groups.get(group_id, {})

    def __iter__(self) -> Iterator[str]:
        """Groups with committed offsets."""
        return iter(self._groups)

    def __len__(self) -> int:
        """How many committed offsets there are."""
        return sum(len(partitions) for topics in self._groups.values() for partitions in topics.values())

    # -- what is pending ----------------------------------------------------------------------------------------------

    def pending_of(self, group_id: str) -> dict[_Place, dict[int, OffsetCommitValue | None]]:
        """Pending commits by (topic, partition) and producer id; not to be changed by the caller."""
        return self._pending.get(group_id, {})

    @property
    def pending_count(self) -> int:
        """How many commits wait for their marker."""
        return sum(len(places) for places in self._open.values())

    # -- both ---------------------------------------------------------------------------------------------------------

    def places_of(self, group_id: str) -> list[_Place]:
        """Every (topic, partition) that the group has an offset of, pending ones too."""
        committed = [
            (topic, partition) for topic, partitions in self.of_group(group_id).items() for partition in partitions
        ]
        return list(dict.fromkeys([*committed, *self.pending_of(group_id)]))

    def places_on(self, topics: Set[str]) -> list[tuple[str, str, int]]:
        """Every (group, topic, partition) with an offset of one of the topics, pending ones too."""
        committed = [
            (group_id, topic, partition)
            for group_id, held in self._groups.items()
            for topic in held.keys() & topics
            for partition in held[topic]
        ]
        pending = [
            (group_id, topic, partition)
            for group_id, places in self._pending.items()
            for topic, partition in places
            if topic in topics
        ]
        return list(dict.fromkeys([*committed, *pending]))

    def values(self) -> Iterator[tuple[str, str, int, OffsetCommitValue]]:
        """Group, topic, partition and value of all that counts, or may once its marker comes."""
        for group_id, topics in self._groups.items():
            for topic, partitions in topics.items():
                for partition, value in partitions.items():
                    yield group_id, topic, partition, value
        for group_id, places in self._pending.items():
            for (topic, partition), writers in places.items():
                for pending in writers.values():
                    if pending is not None:
                        yield group_id, topic, partition, pending
