"""Between the protocols, online: the records that make a classic group a consumer group, and back (KIP-848).

Members that speak the classic protocol go on as they are, inside a consumer group too (mixed.py). Pure: what is decided
here is written and carried out by consumer_membership.py.
"""

from __future__ import annotations

from collections import Counter

from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.consumer import (
    CONSUMER_TYPE,
    FIRST_EPOCH,
    ClassicSide,
    ConsumerGroup,
    ConsumerMember,
    Partitions,
)
from ottla.coordinator.group.consumer_change import metadata_hash_of
from ottla.coordinator.group.consumer_records import (
    assignment_epoch_record,
    consumer_group_tombstones,
    current_record,
    epoch_record,
    member_record,
    target_record,
)
from ottla.coordinator.group.records import classic_group_record, parse_subscription
from ottla.coordinator.ports import TopicLookup
from ottla.coordinator.state_record import StateRecord, int16
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.state.consumer_offsets import GroupMetadataValue
from ottla.wire.state.embedded import ConsumerProtocolAssignment

_ASSIGNMENT_VERSIONS = ConsumerProtocolAssignment.VALID


def upgrade_records(group: ClassicGroup, config: GroupConfig, topics: TopicLookup) -> list[StateRecord]:
    """What makes a classic group, whose tombstone comes before these, a consumer group: none if it has no members,
    else the members with what they have. Raises KafkaError GROUP_ID_NOT_FOUND when it must stay what it is.
    """
    if group.is_empty:
        return []
    if not config.may_upgrade:
        raise _stays(group, "online upgrade is disabled")
    if group.protocol_type != CONSUMER_TYPE:
        raise _stays(group, "its members are no consumers")
    if len(group.members) > config.group_consumer_max_size:
        raise _stays(group, "it has too many members")
    epoch = max(group.generation, FIRST_EPOCH)
    try:
        members = [_converted(group, member_id, epoch, topics) for member_id in group.members]
    except ProtocolError as error:
        raise _stays(group, "what its members say of themselves cannot be read") from error
    group_id = group.group_id
    metadata_hash = metadata_hash_of({topic for member in members for topic in member.topics}, topics)
    targets = {member.member_id: {id_: frozenset(held) for id_, held in member.assigned.items()} for member in members}
    return [
        *(member_record(group_id, member) for member in members),
        epoch_record(group_id, epoch, metadata_hash),
        *(target_record(group_id, member_id, target) for member_id, target in targets.items()),
        assignment_epoch_record(group_id, epoch, 0),
        *(current_record(group_id, member) for member in members),
    ]


def may_downgrade(group: ConsumerGroup, config: GroupConfig) -> bool:
    """Whether a group, as it is after a member left, is to be a classic one: only classic members are in."""
    return (
        config.may_downgrade
        and bool(group.members)
        and group.all_classic
        and len(group.members) <= config.group_max_size
        and bool(_common_protocols(group))
    )


def downgrade_records(
    before: ConsumerGroup, group: ConsumerGroup, topics: TopicLookup, now_ms: int
) -> list[StateRecord]:
    """What makes `group`, which `may_downgrade`, a classic one of the same generation; `before`: as it is written now.

    Assignments are what each member was to have in the end. `now_ms` is wall time.
    """
    common = _common_protocols(group)
    votes = Counter(
        next(name for name, _ in member.classic.protocols if name in common)
        for member in group.members.values()
        if member.classic is not None
    )
    protocol = max(votes, key=votes.__getitem__)
    saved: list[GroupMetadataValue.MemberMetadata] = []
    for member in group.members.values():
        assert member.classic is not None
        subscription = dict(member.classic.protocols)[protocol]
        saved.append(
            GroupMetadataValue.MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.classic.session_timeout_ms,
                subscription=subscription,
                assignment=assignment_bytes(group.target(member.member_id), subscription, topics),
            )
        )
    value = GroupMetadataValue(
        protocol_type=CONSUMER_TYPE,
        generation=group.epoch,
        protocol=protocol,
        leader=saved[0].member_id,
        current_state_timestamp=now_ms,
        members=saved,
    )
    return [*consumer_group_tombstones(before), classic_group_record(group.group_id, value)]


def assignment_bytes(partitions: Partitions, subscription: bytes, topics: TopicLookup) -> bytes:
    """Partitions as a classic consumer reads them, in the version in which it wrote its subscription."""
    low, high = _ASSIGNMENT_VERSIONS
    version = max(low, min(int16(subscription), high))
    named = [(topics.name_of(topic_id), sorted(indexes)) for topic_id, indexes in partitions.items() if indexes]
    assignment = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignment.TopicPartition(topic=name, partitions=indexes)
            for name, indexes in named
            if name is not None
        ]
    )
    return version.to_bytes(2, "big") + assignment.encode(version)


def _converted(group: ClassicGroup, member_id: str, epoch: int, topics: TopicLookup) -> ConsumerMember:
    """A classic member with the group's last assignment, also if a rebalance that was given up made that void: a
    cooperative member keeps what it has meanwhile. One whose rebalance is under way is made to join again.
    """
    member = group.members[member_id]
    saved = group.saved_members.get(member_id)
    subscription = parse_subscription(member.metadata(group.protocol_name) or member.protocols[0][1])
    assigned = {
        topic_id: dict.fromkeys(sorted(partitions), epoch)
        for topic_id, partitions in _assigned(bytes(saved.assignment) if saved is not None else b"", topics).items()
    }
    return ConsumerMember(
        member_id,
        instance_id=member.instance_id,
        rack_id=subscription.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topics=tuple(sorted(set(subscription.topics))),
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        classic=ClassicSide(member.session_timeout_ms, member.protocols),
        epoch=epoch,
        previous_epoch=epoch,
        assigned=assigned,
    )


def _assigned(assignment: bytes, topics: TopicLookup) -> dict[bytes, set[int]]:
    """Raises ProtocolError."""
    if not assignment:
        return {}
    low, high = _ASSIGNMENT_VERSIONS
    version = int16(assignment)
    if version < low:
        raise ProtocolError("an assignment of a negative version")
    assigned: dict[bytes, set[int]] = {}
    for topic in ConsumerProtocolAssignment.decode(assignment, min(version, high), 2).assigned_partitions:
        topic_id = topics.id_of(topic.topic)
        if topic_id is not None and topic.partitions:
            assigned.setdefault(topic_id, set()).update(topic.partitions)
    return assigned


def _common_protocols(group: ConsumerGroup) -> set[str]:
    """What all classic members offer."""
    offers = [
        {name for name, _ in member.classic.protocols}
        for member in group.members.values()
        if member.classic is not None
    ]
    return set.intersection(*offers) if offers else set()


def _stays(group: ClassicGroup, why: str) -> KafkaError:
    return KafkaError(
        ErrorCode.GROUP_ID_NOT_FOUND, f"Classic group {group.group_id} does not become a consumer group: {why}."
    )
