"""OffsetForLeaderEpoch, api key 23, versions 2-4, flexible from 4. Sent by consumers (truncation check), replicas."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class OffsetForLeaderEpochRequest(Message):
    """Changes by version.

    v3: +replica_id
    v4: flexible
    """

    KEY = 23
    VALID = (2, 4)
    FLEXIBLE = 4

    replica_id: Int32 = field("3+", default=-2, ignorable=True)
    topics: list[OffsetForLeaderTopic] = field("0+")

    class OffsetForLeaderTopic(Struct):
        topic: str = field("0+")
        partitions: list[OffsetForLeaderEpochRequest.OffsetForLeaderPartition] = field("0+")

    class OffsetForLeaderPartition(Struct):
        partition: Int32 = field("0+")
        current_leader_epoch: Int32 = field("2+", default=-1, ignorable=True)
        leader_epoch: Int32 = field("0+")


class OffsetForLeaderEpochResponse(Message):
    """Changes by version.

    v4: flexible
    """

    KEY = 23
    VALID = (2, 4)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("2+", ignorable=True)
    topics: list[OffsetForLeaderTopicResult] = field("0+")

    class OffsetForLeaderTopicResult(Struct):
        topic: str = field("0+")
        partitions: list[OffsetForLeaderEpochResponse.EpochEndOffset] = field("0+")

    class EpochEndOffset(Struct):
        error_code: Int16 = field("0+")
        partition: Int32 = field("0+")
        leader_epoch: Int32 = field("1+", default=-1, ignorable=True)
        end_offset: Int64 = field("0+", default=-1)
