"""DeleteShareGroupState, api key 86, version 0, flexible from 0. Sent by group coordinators."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uuid, field


class DeleteShareGroupStateRequest(Message):
    """One version."""

    KEY = 86
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[DeleteStateData] = field("0+")

    class DeleteStateData(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[DeleteShareGroupStateRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition: Int32 = field("0+")


class DeleteShareGroupStateResponse(Message):
    """One version."""

    KEY = 86
    VALID = (0, 0)
    FLEXIBLE = 0

    results: list[DeleteStateResult] = field("0+")

    class DeleteStateResult(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[DeleteShareGroupStateResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
