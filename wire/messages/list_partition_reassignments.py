"""ListPartitionReassignments, api key 46, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class ListPartitionReassignmentsRequest(Message):
    """One version."""

    KEY = 46
    VALID = (0, 0)
    FLEXIBLE = 0

    timeout_ms: Int32 = field("0+", default=60000)
    topics: list[ListPartitionReassignmentsTopics] | None = field("0+", nullable="0+", default=None)

    class ListPartitionReassignmentsTopics(Struct):
        name: str = field("0+")
        partition_indexes: list[Int32] = field("0+")


class ListPartitionReassignmentsResponse(Message):
    """One version."""

    KEY = 46
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    topics: list[OngoingTopicReassignment] = field("0+")

    class OngoingTopicReassignment(Struct):
        name: str = field("0+")
        partitions: list[ListPartitionReassignmentsResponse.OngoingPartitionReassignment] = field("0+")

    class OngoingPartitionReassignment(Struct):
        partition_index: Int32 = field("0+")
        replicas: list[Int32] = field("0+")
        adding_replicas: list[Int32] = field("0+")
        removing_replicas: list[Int32] = field("0+")
