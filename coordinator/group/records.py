"""The records of `__consumer_offsets` that this coordinator writes and replays, and how they are read.

Deciding what to write is done elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.state_record import StateRecord, int16
from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Message
from ottla.wire.state.consumer_offsets import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    GroupMetadataKey,
    GroupMetadataValue,
    LegacyOffsetCommitKey,
    OffsetCommitKey,
    OffsetCommitValue,
)
from ottla.wire.state.embedded import ConsumerProtocolSubscription

if TYPE_CHECKING:
    from ottla.coordinator.group.classic import ClassicGroup

# Two key types stand for a committed offset: the legacy one is that of brokers before 0.9, with the same fields.
_OFFSET_COMMIT_TYPES = (LegacyOffsetCommitKey.KEY, OffsetCommitKey.KEY)
CONSUMER_GROUP_KEYS = (
    ConsumerGroupMetadataKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupRegularExpressionKey,
)
"""Keys of the records of a consumer group: `ConsumerGroup.apply`. ConsumerGroupPartitionMetadata is obsolete."""
_CONSUMER_GROUP_TYPES: dict[int, tuple[type[Message], type[Message]]] = {
    3: (ConsumerGroupMetadataKey, ConsumerGroupMetadataValue),
    5: (ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue),
    6: (ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue),
    7: (ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue),
    8: (ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue),
    16: (ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue),
}
_GROUP_METADATA_VERSION = 3
_OFFSET_COMMIT_VERSION = 4
_OFFSET_COMMIT_EXPIRING_VERSION = 1  # the one version with a timestamp of expiry
_SUBSCRIPTION_MAX_VERSION = ConsumerProtocolSubscription.VALID[1]


def decode_record(key: bytes, value: bytes | None) -> StateRecord | None:
    """The record, None if it is of a type that this coordinator does not keep. Raises ProtocolError."""
    record_type = int16(key)
    if record_type in _OFFSET_COMMIT_TYPES:
        commit_key = OffsetCommitKey.decode(key, 0, 2)
        if value is None:
            return StateRecord(commit_key)
        version = int16(value)
        return StateRecord(commit_key, OffsetCommitValue.decode(value, version, 2), version)
    if record_type == GroupMetadataKey.KEY:
        group_key = GroupMetadataKey.decode(key, 0, 2)
        if value is None:
            return StateRecord(group_key)
        version = int16(value)
        return StateRecord(group_key, GroupMetadataValue.decode(value, version, 2), version)
    if record_type in _CONSUMER_GROUP_TYPES:
        key_class, value_class = _CONSUMER_GROUP_TYPES[record_type]
        consumer_key = key_class.decode(key, 0, 2)
        if value is None:
            return StateRecord(consumer_key)
        version = int16(value)
        return StateRecord(consumer_key, value_class.decode(value, version, 2), version)
    return None


def commit_record(
    group_id: str,
    topic: str,
    partition: int,
    *,
    offset: int,
    leader_epoch: int,
    metadata: str,
    commit_timestamp_ms: int,
    expire_timestamp_ms: int | None,
    topic_id: bytes,
) -> StateRecord:
    """A committed offset. With an expiry of its own it is written in the only version that holds one, which has neither
    leader epoch nor topic id; the value then has neither, so that replay gives the same."""
    key = OffsetCommitKey(group=group_id, topic=topic, partition=partition)
    if expire_timestamp_ms is not None:
        value = OffsetCommitValue(
            offset=offset,
            metadata=metadata,
            commit_timestamp=commit_timestamp_ms,
            expire_timestamp=expire_timestamp_ms,
        )
        return StateRecord(key, value, _OFFSET_COMMIT_EXPIRING_VERSION)
    value = OffsetCommitValue(
        offset=offset,
        leader_epoch=leader_epoch,
        metadata=metadata,
        commit_timestamp=commit_timestamp_ms,
        topic_id=topic_id,
    )
    return StateRecord(key, value, _OFFSET_COMMIT_VERSION)


def commit_tombstone(group_id: str, topic: str, partition: int) -> StateRecord:
    """Forget a committed offset."""
    return StateRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition))


def group_record(group: ClassicGroup, assignments: dict[str, bytes]) -> StateRecord:
    """The group as it is now, with these assignments by member id (b"" for members without)."""
    members = [
        GroupMetadataValue.MemberMetadata(
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout=member.rebalance_timeout_ms,
            session_timeout=member.session_timeout_ms,
            subscription=member.metadata(group.protocol_name),
            assignment=assignments.get(member.member_id, b""),
        )
        for member in group.members.values()
    ]
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation,
        protocol=group.protocol_name,
        leader=group.leader_id,
        current_state_timestamp=group.state_since_ms,
        members=members,
    )
    return classic_group_record(group.group_id, value)


def classic_group_record(group_id: str, value: GroupMetadataValue) -> StateRecord:
    """A classic group that is this."""
    return StateRecord(GroupMetadataKey(group=group_id), value, _GROUP_METADATA_VERSION)


def empty_group_record(group_id: str, now_ms: int) -> StateRecord:
    """A group that nobody joined yet."""
    value = GroupMetadataValue(protocol=None, leader=None, current_state_timestamp=now_ms)
    return classic_group_record(group_id, value)


def group_tombstone(group_id: str) -> StateRecord:
    """Forget a group."""
    return StateRecord(GroupMetadataKey(group=group_id))


def parse_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """A consumer's metadata; newer versions than known are read as the newest known. Raises ProtocolError."""
    version = int16(metadata)
    if version < 0:
        raise ProtocolError("a subscription of a negative version")
    return ConsumerProtocolSubscription.decode(metadata, min(version, _SUBSCRIPTION_MAX_VERSION), 2)
