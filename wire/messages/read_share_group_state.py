"""ReadShareGroupState, api key 84, version 0, flexible from 0. Sent by brokers."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uuid, field


class ReadShareGroupStateRequest(Message):
    """One version."""

    KEY = 84
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[ReadStateData] = field("0+")

    class ReadStateData(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ReadShareGroupStateRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")


class ReadShareGroupStateResponse(Message):
    """One version."""

    KEY = 84
    VALID = (0, 0)
    FLEXIBLE = 0

    results: list[ReadStateResult] = field("0+")

    class ReadStateResult(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ReadShareGroupStateResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        state_epoch: Int32 = field("0+")
        start_offset: Int64 = field("0+")
        state_batches: list[ReadShareGroupStateResponse.StateBatch] = field("0+")

    class StateBatch(Struct):
        first_offset: Int64 = field("0+")
        last_offset: Int64 = field("0+")
        delivery_state: Int8 = field("0+")
        delivery_count: Int16 = field("0+")
