"""DeleteTopics, api key 20, versions 1-6, flexible from 4. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uuid, field


class DeleteTopicsRequest(Message):
    """Changes by version.

    v4: flexible
    v6: +topics, -topic_names
    """

    KEY = 20
    VALID = (1, 6)
    FLEXIBLE = 4

    topics: list[DeleteTopicState] = field("6+")
    topic_names: list[str] = field("0-5", ignorable=True)
    timeout_ms: Int32 = field("0+")

    class DeleteTopicState(Struct):
        name: str | None = field("6+", nullable="6+", default=None)
        topic_id: Uuid = field("6+")


class DeleteTopicsResponse(Message):
    """Changes by version.

    v4: flexible
    v5: +DeletableTopicResult.error_message
    v6: +DeletableTopicResult.topic_id
    """

    KEY = 20
    VALID = (1, 6)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    responses: list[DeletableTopicResult] = field("0+")

    class DeletableTopicResult(Struct):
        name: str | None = field("0+", nullable="6+")
        topic_id: Uuid = field("6+", ignorable=True)
        error_code: Int16 = field("0+")
        error_message: str | None = field("5+", nullable="5+", default=None, ignorable=True)
