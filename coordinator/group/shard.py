"""One partition of `__consumer_offsets`: its groups and offsets, and what each record does to them."""

from __future__ import annotations

from collections.abc import Callable

from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.offsets import OffsetStore
from ottla.coordinator.group.records import decode_record
from ottla.coordinator.ports import Append, Events, ProducerIdentity
from ottla.coordinator.shard import Shard
from ottla.coordinator.state_record import StateRecord
from ottla.log.clock import Clock
from ottla.wire.state.consumer_offsets import (
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)


class GroupShard(Shard):
    """State of one partition. `groups` and `offsets` are changed by `apply` alone."""

    __slots__ = ("_clock", "groups", "offsets", "on_group_removed")

    def __init__(self, partition: int, *, append: Append, clock: Clock, events: Events) -> None:
        super().__init__(partition, append=append, events=events)
        self.groups: dict[str, ClassicGroup] = {}
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
            self._group(key.group)
            self.offsets.save(key.group, key.topic, key.partition, value)
        elif isinstance(key, GroupMetadataKey):
            if value is None:
                group = self.groups.pop(key.group, None)
                if group is not None:
                    self.on_group_removed(group)
            else:
                assert isinstance(value, GroupMetadataValue)
                self._group(key.group).save(value)

    def _group(self, group_id: str) -> ClassicGroup:
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = ClassicGroup(group_id, self._clock.wall_ms())
        return group


def _nothing(group: ClassicGroup) -> None:
    """Before anybody listens."""
