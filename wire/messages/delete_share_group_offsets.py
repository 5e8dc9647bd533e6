"""DeleteShareGroupOffsets, api key 92, version 0, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uuid, field


class DeleteShareGroupOffsetsRequest(Message):
    """One version."""

    KEY = 92
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    topics: list[DeleteShareGroupOffsetsRequestTopic] = field("0+")

    class DeleteShareGroupOffsetsRequestTopic(Struct):
        topic_name: str = field("0+")


class DeleteShareGroupOffsetsResponse(Message):
    """One version."""

    KEY = 92
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", default=None)
    responses: list[DeleteShareGroupOffsetsResponseTopic] = field("0+")

    class DeleteShareGroupOffsetsResponseTopic(Struct):
        topic_name: str = field("0+")
        topic_id: Uuid = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
