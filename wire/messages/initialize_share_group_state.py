"""InitializeShareGroupState, api key 83, version 0, flexible from 0. Sent by group coordinators."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class InitializeShareGroupStateRequest(Message):
    """One version."""

    KEY = 83
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[InitializeStateData] = field("0+")

    class InitializeStateData(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[InitializeShareGroupStateRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition: Int32 = field("0+")
        state_epoch: Int32 = field("0+")
        start_offset: Int64 = field("0+")


class InitializeShareGroupStateResponse(Message):
    """One version."""

    KEY = 83
    VALID = (0, 0)
    FLEXIBLE = 0

    results: list[InitializeStateResult] = field("0+")

    class InitializeStateResult(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[InitializeShareGroupStateResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
