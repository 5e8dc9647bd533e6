"""ListOffsets, api key 2, versions 1-11, flexible from 6. Sent by consumers (seek, reset), admin clients (lag)."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, field


class ListOffsetsRequest(Message):
    """Changes by version.

    v2: +isolation_level
    v4: +ListOffsetsPartition.current_leader_epoch
    v6: flexible
    v10: +timeout_ms
    """

    KEY = 2
    VALID = (1, 11)
    FLEXIBLE = 6

    replica_id: Int32 = field("0+")
    isolation_level: Int8 = field("2+")
    topics: list[ListOffsetsTopic] = field("0+")
    timeout_ms: Int32 = field("10+", ignorable=True)

    class ListOffsetsTopic(Struct):
        name: str = field("0+")
        partitions: list[ListOffsetsRequest.ListOffsetsPartition] = field("0+")

    class ListOffsetsPartition(Struct):
        partition_index: Int32 = field("0+")
        current_leader_epoch: Int32 = field("4+", default=-1, ignorable=True)
        timestamp: Int64 = field("0+")


class ListOffsetsResponse(Message):
    """Changes by version.

    v2: +throttle_time_ms
    v4: +ListOffsetsPartitionResponse.leader_epoch
    v6: flexible
    """

    KEY = 2
    VALID = (1, 11)
    FLEXIBLE = 6

    throttle_time_ms: Int32 = field("2+", ignorable=True)
    topics: list[ListOffsetsTopicResponse] = field("0+")

    class ListOffsetsTopicResponse(Struct):
        name: str = field("0+")
        partitions: list[ListOffsetsResponse.ListOffsetsPartitionResponse] = field("0+")

    class ListOffsetsPartitionResponse(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        timestamp: Int64 = field("1+", default=-1)
        offset: Int64 = field("1+", default=-1)
        leader_epoch: Int32 = field("4+", default=-1)
