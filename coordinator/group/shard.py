"""One partition of `__consumer_offsets`: its groups and offsets, and what each record does to them."""

from __future__ import annotations

from collections.abc import Callable

from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.offset_store import OffsetStore
from ottla.coordinator.group.records import CONSUMER_GROUP_KEYS, decode_record
from ottla.coordinator.group.steering import Steering
from ottla.coordinator.ports import Append, Events, ProducerIdentity
from ottla.coordinator.shard import Shard
from ottla.coordinator.state_record import StateRecord
from ottla.log.clock import Clock
from ottla.wire.state.consumer_offsets import (
    ConsumerGroupMetadataKey,
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)


class GroupShard(Shard):
    """State of one partition. `groups` and `offsets` are changed by `apply` alone."""

    __slots__ = ("_clock", "groups", "offsets", "on_group_removed", "steering")

    def __init__(self, partition: int, *, append: Append, clock: Clock, events: Events, steering: Steering) -> None:
        super().__init__(partition, append=append, events=events)
        self.steering = steering
        self.groups: dict[str, ClassicGroup | ConsumerGroup] = {}
        self.offsets = OffsetStore()
        self.on_group_removed: Callable[[ClassicGroup], None] = _nothing
        self._clock = clock

    def decode(self, key: bytes, value: bytes | None) -> StateRecord | None:
        return decode_record(key, value)

    def apply(self, record: StateRecord, producer: ProducerIdentity | None) -> None:
        key, value = record.key, record.value
        if isinstance(key, OffsetCommitKey):
            if value is None:
                self.offsets.forget(key.group, key.topic, key.partition)
                return
            assert isinstance(value, OffsetCommitValue)
            if key.group not in self.groups:
                self._classic(key.group)
            if producer is None:
                self.offsets.save(key.group, key.topic, key.partition, value)
            else:
                self.offsets.save_pending(key.group, key.topic, key.partition, value, producer[0])
        elif isinstance(key, GroupMetadataKey):
            if value is not None:
                assert isinstance(value, GroupMetadataValue)
                self._classic(key.group).save(value)
            elif self.classic(key.group) is not None:
                self._remove(key.group)
        elif isinstance(key, CONSUMER_GROUP_KEYS):
            if value is not None:
                self._consumer(key.group_id).apply(record)
            elif isinstance(key, ConsumerGroupMetadataKey):
                if self.consumer(key.group_id) is not None:
                    self._remove(key.group_id)
            else:
                group = self.consumer(key.group_id)
                if group is not None:
                    group.apply(record)

    def classic(self, group_id: str) -> ClassicGroup | None:
        """A group of the classic protocol."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ClassicGroup) else None

    def consumer(self, group_id: str) -> ConsumerGroup | None:
        """A group of the consumer protocol."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ConsumerGroup) else None

    def classic_groups(self) -> list[ClassicGroup]:
        """All groups of the classic protocol, as of now."""
        return [group for group in self.groups.values() if isinstance(group, ClassicGroup)]

    def consumer_groups(self) -> list[ConsumerGroup]:
        """All groups of the consumer protocol, as of now."""
        return [group for group in self.groups.values() if isinstance(group, ConsumerGroup)]

    def _classic(self, group_id: str) -> ClassicGroup:
        """For a record of a classic group. One of the other protocol that has no tombstone in a compacted log ends."""
        group = self.classic(group_id)
        if group is None:
            self._remove(group_id)
            group = self.groups[group_id] = ClassicGroup(group_id, self._clock.wall_ms())
        return group

    def _consumer(self, group_id: str) -> ConsumerGroup:
        """For a record of a consumer group; what only committed offsets so far makes room for it."""
        group = self.consumer(group_id)
        if group is None:
            self._remove(group_id)
            group = self.groups[group_id] = ConsumerGroup(group_id)
        return group

    def _remove(self, group_id: str) -> None:
        group = self.groups.pop(group_id, None)
        if self.steering.watchers:
            self.steering.tell()
        if isinstance(group, ConsumerGroup):
            group.bury()
        elif group is not None:
            self.on_group_removed(group)


def _nothing(group: ClassicGroup) -> None:
    """Before anybody listens."""
