"""ShareGroupDescribe, api key 77, version 1, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uuid, field


class ShareGroupDescribeRequest(Message):
    """One version."""

    KEY = 77
    VALID = (1, 1)
    FLEXIBLE = 0

    group_ids: list[str] = field("0+")
    include_authorized_operations: bool = field("0+")


class ShareGroupDescribeResponse(Message):
    """One version."""

    KEY = 77
    VALID = (1, 1)
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
        members: list[ShareGroupDescribeResponse.Member] = field("0+")
        authorized_operations: Int32 = field("0+", default=-2147483648)

    class Member(Struct):
        member_id: str = field("0+")
        rack_id: str | None = field("0+", nullable="0+", default=None)
        member_epoch: Int32 = field("0+")
        client_id: str = field("0+")
        client_host: str = field("0+")
        subscribed_topic_names: list[str] = field("0+")
        assignment: ShareGroupDescribeResponse.Assignment = field("0+")

    class Assignment(Struct):
        topic_partitions: list[ShareGroupDescribeResponse.TopicPartitions] = field("0+")

    class TopicPartitions(Struct):
        topic_id: Uuid = field("0+")
        topic_name: str = field("0+")
        partitions: list[Int32] = field("0+")
