"""CreatePartitions, api key 37, versions 0-3, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class CreatePartitionsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 37
    VALID = (0, 3)
    FLEXIBLE = 2

    topics: list[CreatePartitionsTopic] = field("0+")
    timeout_ms: Int32 = field("0+")
    validate_only: bool = field("0+")

    class CreatePartitionsTopic(Struct):
        name: str = field("0+")
        count: Int32 = field("0+")
        assignments: list[CreatePartitionsRequest.CreatePartitionsAssignment] | None = field("0+", nullable="0+")

    class CreatePartitionsAssignment(Struct):
        broker_ids: list[Int32] = field("0+")


class CreatePartitionsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 37
    VALID = (0, 3)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    results: list[CreatePartitionsTopicResult] = field("0+")

    class CreatePartitionsTopicResult(Struct):
        name: str = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
