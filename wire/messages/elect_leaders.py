"""ElectLeaders, api key 43, versions 0-2, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class ElectLeadersRequest(Message):
    """Changes by version.

    v1: +election_type
    v2: flexible
    """

    KEY = 43
    VALID = (0, 2)
    FLEXIBLE = 2

    election_type: Int8 = field("1+")
    topic_partitions: list[TopicPartitions] | None = field("0+", nullable="0+")
    timeout_ms: Int32 = field("0+", default=60000)

    class TopicPartitions(Struct):
        topic: str = field("0+")
        partitions: list[Int32] = field("0+")


class ElectLeadersResponse(Message):
    """Changes by version.

    v1: +error_code
    v2: flexible
    """

    KEY = 43
    VALID = (0, 2)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("1+")
    replica_election_results: list[ReplicaElectionResult] = field("0+")

    class ReplicaElectionResult(Struct):
        topic: str = field("0+")
        partition_result: list[ElectLeadersResponse.PartitionResult] = field("0+")

    class PartitionResult(Struct):
        partition_id: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
