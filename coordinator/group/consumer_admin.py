"""What ConsumerGroupDescribe says of a consumer group (KIP-848). Reads only."""

from __future__ import annotations

from ottla.coordinator.group.consumer import ConsumerGroup, ConsumerMember, Partitions, partitions_of
from ottla.coordinator.ports import TopicLookup
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeResponse

_CLASSIC_MEMBER, _CONSUMER_MEMBER = 0, 1


def describe(
    group_id: str, group: ConsumerGroup | None, assignors: tuple[str, ...], topics: TopicLookup
) -> ConsumerGroupDescribeResponse.DescribedGroup:
    """One group, None for one that is unknown or classic. Topics that were deleted are left out."""
    if group is None:
        return refused(group_id, ErrorCode.GROUP_ID_NOT_FOUND, f"There is no consumer group {group_id}.")
    return ConsumerGroupDescribeResponse.DescribedGroup(
        group_id=group_id,
        group_state=group.state_name,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor(assignors),
        members=[_member(group, member, topics) for member in group.members.values()],
    )


def refused(group_id: str, code: ErrorCode, message: str | None = None) -> ConsumerGroupDescribeResponse.DescribedGroup:
    """A group of which nothing is said."""
    return ConsumerGroupDescribeResponse.DescribedGroup(group_id=group_id, error_code=code, error_message=message)


def _member(group: ConsumerGroup, member: ConsumerMember, topics: TopicLookup) -> ConsumerGroupDescribeResponse.Member:
    return ConsumerGroupDescribeResponse.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex,
        assignment=_assignment(_held(member), topics),
        target_assignment=_assignment(group.target(member.member_id), topics),
        member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
    )


def _held(member: ConsumerMember) -> Partitions:
    """What it has, and what it has not given up yet."""
    held = partitions_of(member.assigned)
    for topic_id, partitions in partitions_of(member.revoking).items():
        held[topic_id] = held.get(topic_id, frozenset()) | partitions
    return held


def _assignment(partitions: Partitions, topics: TopicLookup) -> ConsumerGroupDescribeResponse.Assignment:
    described = []
    for topic_id, indexes in partitions.items():
        name = topics.name_of(topic_id)
        if name is not None:
            described.append(
                ConsumerGroupDescribeResponse.TopicPartitions(
                    topic_id=topic_id, topic_name=name, partitions=sorted(indexes)
                )
            )
    return ConsumerGroupDescribeResponse.Assignment(topic_partitions=described)
