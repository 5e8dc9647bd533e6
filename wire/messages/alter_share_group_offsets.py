"""AlterShareGroupOffsets, api key 91, version 0, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class AlterShareGroupOffsetsRequest(Message):
    """One version."""

    KEY = 91
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[AlterShareGroupOffsetsRequestTopic] = field("0+")

    class AlterShareGroupOffsetsRequestTopic(Struct):
        topic_name: str = field("0+")
        partitions: list[AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition] = field("0+")

    class AlterShareGroupOffsetsRequestPartition(Struct):
        partition_index: Int32 = field("0+")
        start_offset: Int64 = field("0+")


class AlterShareGroupOffsetsResponse(Message):
    """One version."""

    KEY = 91
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", default=None)
    responses: list[AlterShareGroupOffsetsResponseTopic] = field("0+")

    class AlterShareGroupOffsetsResponseTopic(Struct):
        topic_name: str = field("0+")
        topic_id: Uuid = field("0+")
        partitions: list[AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponsePartition] = field("0+")

    class AlterShareGroupOffsetsResponsePartition(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
