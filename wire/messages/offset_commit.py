"""OffsetCommit, api key 8, versions 2-10, flexible from 8. Sent by consumers, tools that reset offsets."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class OffsetCommitRequest(Message):
    """Changes by version.

    v5: -retention_time_ms
    v6: +OffsetCommitRequestPartition.committed_leader_epoch
    v7: +group_instance_id
    v8: flexible
    v10: -OffsetCommitRequestTopic.name, +OffsetCommitRequestTopic.topic_id
    """

    KEY = 8
    VALID = (2, 10)
    FLEXIBLE = 8

    group_id: str = field("0+")
    generation_id_or_member_epoch: Int32 = field("1+", default=-1, ignorable=True)
    member_id: str = field("1+", ignorable=True)
    group_instance_id: str | None = field("7+", nullable="7+", default=None)
    retention_time_ms: Int64 = field("2-4", default=-1, ignorable=True)
    topics: list[OffsetCommitRequestTopic] = field("0+")

    class OffsetCommitRequestTopic(Struct):
        name: str = field("0-9", ignorable=True)
        topic_id: Uuid = field("10+", ignorable=True)
        partitions: list[OffsetCommitRequest.OffsetCommitRequestPartition] = field("0+")

    class OffsetCommitRequestPartition(Struct):
        partition_index: Int32 = field("0+")
        committed_offset: Int64 = field("0+")
        committed_leader_epoch: Int32 = field("6+", default=-1, ignorable=True)
        committed_metadata: str | None = field("0+", nullable="0+")


class OffsetCommitResponse(Message):
    """Changes by version.

    v3: +throttle_time_ms
    v8: flexible
    v10: -OffsetCommitResponseTopic.name, +OffsetCommitResponseTopic.topic_id
    """

    KEY = 8
    VALID = (2, 10)
    FLEXIBLE = 8

    throttle_time_ms: Int32 = field("3+", ignorable=True)
    topics: list[OffsetCommitResponseTopic] = field("0+")

    class OffsetCommitResponseTopic(Struct):
        name: str = field("0-9", ignorable=True)
        topic_id: Uuid = field("10+", ignorable=True)
        partitions: list[OffsetCommitResponse.OffsetCommitResponsePartition] = field("0+")

    class OffsetCommitResponsePartition(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
