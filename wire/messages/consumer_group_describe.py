"""ConsumerGroupDescribe, api key 69, versions 0-1, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, Uuid, field


class ConsumerGroupDescribeRequest(Message):
    """The same fields in all versions."""

    KEY = 69
    VALID = (0, 1)
    FLEXIBLE = 0

    group_ids: list[str] = field("0+")
    include_authorized_operations: bool = field("0+")


class ConsumerGroupDescribeResponse(Message):
    """Changes by version.

    v1: +Member.member_type
    """

    KEY = 69
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    groups: list[DescribedGroup] = field("0+")

    class DescribedGroup(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        group_id: str = field("0+")
        group_state: str = field("0+")
        group_epoch: Int32 = field("0+")
        assignment_epoch: Int32 = field("0+")
        assignor_name: str = field("0+")
        members: list[ConsumerGroupDescribeResponse.Member] = field("0+")
        authorized_operations: Int32 = field("0+", default=-2147483648)

    class Member(Struct):
        member_id: str = field("0+")
        instance_id: str | None = field("0+", nullable="0+", default=None)
        rack_id: str | None = field("0+", nullable="0+", default=None)
        member_epoch: Int32 = field("0+")
        client_id: str = field("0+")
        client_host: str = field("0+")
        subscribed_topic_names: list[str] = field("0+")
        subscribed_topic_regex: str | None = field("0+", nullable="0+", default=None)
        assignment: ConsumerGroupDescribeResponse.Assignment = field("0+")
        target_assignment: ConsumerGroupDescribeResponse.Assignment = field("0+")
        member_type: Int8 = field("1+", default=-1, ignorable=True)

    class Assignment(Struct):
        topic_partitions: list[ConsumerGroupDescribeResponse.TopicPartitions] = field("0+")

    class TopicPartitions(Struct):
        topic_id: Uuid = field("0+")
        topic_name: str = field("0+")
        partitions: list[Int32] = field("0+")
