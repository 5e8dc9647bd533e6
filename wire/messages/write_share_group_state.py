"""WriteShareGroupState, api key 85, versions 0-1, flexible from 0. Sent by brokers."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uuid, field


class WriteShareGroupStateRequest(Message):
    """Changes by version.

    v1: +PartitionData.delivery_complete_count
    """

    KEY = 85
    VALID = (0, 1)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[WriteStateData] = field("0+")

    class WriteStateData(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[WriteShareGroupStateRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition: Int32 = field("0+")
        state_epoch: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")
        start_offset: Int64 = field("0+")
        delivery_complete_count: Int32 = field("1+", default=-1, ignorable=True)
        state_batches: list[WriteShareGroupStateRequest.StateBatch] = field("0+")

    class StateBatch(Struct):
        first_offset: Int64 = field("0+")
        last_offset: Int64 = field("0+")
        delivery_state: Int8 = field("0+")
        delivery_count: Int16 = field("0+")


class WriteShareGroupStateResponse(Message):
    """The same fields in all versions."""

    KEY = 85
    VALID = (0, 1)
    FLEXIBLE = 0

    results: list[WriteStateResult] = field("0+")

    class WriteStateResult(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[WriteShareGroupStateResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
