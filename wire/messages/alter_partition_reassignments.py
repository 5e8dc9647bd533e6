"""AlterPartitionReassignments, api key 45, versions 0-1, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class AlterPartitionReassignmentsRequest(Message):
    """Changes by version.

    v1: +allow_replication_factor_change
    """

    KEY = 45
    VALID = (0, 1)
    FLEXIBLE = 0

    timeout_ms: Int32 = field("0+", default=60000)
    allow_replication_factor_change: bool = field("1+", default=True)
    topics: list[ReassignableTopic] = field("0+")

    class ReassignableTopic(Struct):
        name: str = field("0+")
        partitions: list[AlterPartitionReassignmentsRequest.ReassignablePartition] = field("0+")

    class ReassignablePartition(Struct):
        partition_index: Int32 = field("0+")
        replicas: list[Int32] | None = field("0+", nullable="0+", default=None)


class AlterPartitionReassignmentsResponse(Message):
    """Changes by version.

    v1: +allow_replication_factor_change
    """

    KEY = 45
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    allow_replication_factor_change: bool = field("1+", default=True, ignorable=True)
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    responses: list[ReassignableTopicResponse] = field("0+")

    class ReassignableTopicResponse(Struct):
        name: str = field("0+")
        partitions: list[AlterPartitionReassignmentsResponse.ReassignablePartitionResponse] = field("0+")

    class ReassignablePartitionResponse(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
