"""The records of consumer groups in `__consumer_offsets` (types 3 to 8 and 16): from the model to messages.

Reading them back into the model is `ConsumerGroup.apply`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ottla.coordinator.group.consumer import Assigned, ConsumerGroup, ConsumerMember, Partitions
from ottla.coordinator.group.group import Group
from ottla.coordinator.group.records import group_tombstone
from ottla.coordinator.state_record import StateRecord
from ottla.wire.state.consumer_offsets import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)


def epoch_record(group_id: str, epoch: int, metadata_hash: int) -> StateRecord:
    """The group's epoch, and the hash of the topics' metadata that it was reached with."""
    return StateRecord(
        ConsumerGroupMetadataKey(group_id=group_id),
        ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash),
    )


def member_record(group_id: str, member: ConsumerMember) -> StateRecord:
    """What a member says of itself."""
    classic = None
    if member.classic is not None:
        classic = ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(
            session_timeout_ms=member.classic.session_timeout_ms,
            supported_protocols=[
                ConsumerGroupMemberMetadataValue.ClassicProtocol(name=name, metadata=metadata)
                for name, metadata in member.classic.protocols
            ],
        )
    return StateRecord(
        ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        ConsumerGroupMemberMetadataValue(
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=list(member.topics),
            subscribed_topic_regex=member.regex,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            server_assignor=member.assignor,
            classic_member_metadata=classic,
        ),
    )


def current_record(group_id: str, member: ConsumerMember) -> StateRecord:
    """What a member has."""
    return StateRecord(
        ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=member.epoch,
            previous_member_epoch=member.previous_epoch,
            state=member.state,
            assigned_partitions=_held(member.assigned),
            partitions_pending_revocation=_held(member.revoking),
        ),
    )


def target_record(group_id: str, member_id: str, target: Partitions) -> StateRecord:
    """What a member is to have in the end."""
    return StateRecord(
        ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        ConsumerGroupTargetAssignmentMemberValue(
            topic_partitions=[
                ConsumerGroupTargetAssignmentMemberValue.TopicPartition(
                    topic_id=topic_id, partitions=sorted(partitions)
                )
                for topic_id, partitions in target.items()
            ]
        ),
    )


def assignment_epoch_record(group_id: str, epoch: int, now_ms: int) -> StateRecord:
    """The epoch of the target assignment, and when it was made (wall clock)."""
    return StateRecord(
        ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id),
        ConsumerGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms),
    )


def regex_record(group_id: str, regex: str, topics: Iterable[str], now_ms: int) -> StateRecord:
    """The topics that a pattern stands for. No version of the topics is kept: after a start they are looked up anew."""
    return StateRecord(
        ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex),
        ConsumerGroupRegularExpressionValue(topics=sorted(topics), version=0, timestamp=now_ms),
    )


def regex_tombstone(group_id: str, regex: str) -> StateRecord:
    """Forget a pattern that no member has any more."""
    return StateRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex))


def member_tombstones(group_id: str, member_id: str) -> list[StateRecord]:
    """Forget a member."""
    return [
        StateRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id)),
        StateRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)),
        StateRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id)),
    ]


def consumer_group_tombstones(group: ConsumerGroup) -> list[StateRecord]:
    """Forget a group and all its members."""
    group_id = group.group_id
    each = [member_tombstones(group_id, member_id) for member_id in group.members]
    return [
        *(current for current, _, _ in each),
        *(target for _, target, _ in each),
        StateRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id)),
        *(metadata for _, _, metadata in each),
        *(regex_tombstone(group_id, regex) for regex in group.regexes),
        StateRecord(ConsumerGroupPartitionMetadataKey(group_id=group_id)),  # what Kafka 4.0 left behind
        StateRecord(ConsumerGroupMetadataKey(group_id=group_id)),
    ]


def group_tombstones(group: Group) -> list[StateRecord]:
    """Forget a group of either protocol."""
    return consumer_group_tombstones(group) if isinstance(group, ConsumerGroup) else [group_tombstone(group.group_id)]


def _held(assigned: Assigned) -> list[ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions]:
    return [
        ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions(
            topic_id=topic_id,
            partitions=sorted(partitions),
            assignment_epochs=[partitions[partition] for partition in sorted(partitions)],
        )
        for topic_id, partitions in assigned.items()
        if partitions
    ]
