"""OffsetDelete, api key 47, version 0, never flexible. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class OffsetDeleteRequest(Message):
    """One version."""

    KEY = 47
    VALID = (0, 0)

    group_id: str = field("0+")
    topics: list[OffsetDeleteRequestTopic] = field("0+")

    class OffsetDeleteRequestTopic(Struct):
        name: str = field("0+")
        partitions: list[OffsetDeleteRequest.OffsetDeleteRequestPartition] = field("0+")

    class OffsetDeleteRequestPartition(Struct):
        partition_index: Int32 = field("0+")


class OffsetDeleteResponse(Message):
    """One version."""

    KEY = 47
    VALID = (0, 0)

    error_code: Int16 = field("0+")
    throttle_time_ms: Int32 = field("0+", ignorable=True)
    topics: list[OffsetDeleteResponseTopic] = field("0+")

    class OffsetDeleteResponseTopic(Struct):
        name: str = field("0+")
        partitions: list[OffsetDeleteResponse.OffsetDeleteResponsePartition] = field("0+")

    class OffsetDeleteResponsePartition(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
