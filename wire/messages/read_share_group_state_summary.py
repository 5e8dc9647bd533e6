"""ReadShareGroupStateSummary, api key 87, versions 0-1, flexible from 0. Sent by group coordinators."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class ReadShareGroupStateSummaryRequest(Message):
    """The same fields in all versions."""

    KEY = 87
    VALID = (0, 1)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[ReadStateSummaryData] = field("0+")

    class ReadStateSummaryData(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ReadShareGroupStateSummaryRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")


class ReadShareGroupStateSummaryResponse(Message):
    """Changes by version.

    v1: +PartitionResult.delivery_complete_count
    """

    KEY = 87
    VALID = (0, 1)
    FLEXIBLE = 0

    results: list[ReadStateSummaryResult] = field("0+")

    class ReadStateSummaryResult(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ReadShareGroupStateSummaryResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        state_epoch: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")
        start_offset: Int64 = field("0+")
        delivery_complete_count: Int32 = field("1+", default=-1, ignorable=True)
