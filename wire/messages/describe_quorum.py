"""DescribeQuorum, api key 55, versions 0-2, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uint16, Uuid, field


class DescribeQuorumRequest(Message):
    """The same fields in all versions."""

    KEY = 55
    VALID = (0, 2)
    FLEXIBLE = 0

    topics: list[TopicData] = field("0+")

    class TopicData(Struct):
        topic_name: str = field("0+")
        partitions: list[DescribeQuorumRequest.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition_index: Int32 = field("0+")


class DescribeQuorumResponse(Message):
    """Changes by version.

    v1: +ReplicaState.last_fetch_timestamp, +ReplicaState.last_caught_up_timestamp
    v2: +error_message, +nodes, +PartitionData.error_message, +ReplicaState.replica_directory_id
    """

    KEY = 55
    VALID = (0, 2)
    FLEXIBLE = 0

    error_code: Int16 = field("0+")
    error_message: str | None = field("2+", nullable="2+", ignorable=True)
    topics: list[TopicData] = field("0+")
    nodes: list[Node] = field("2+")

    class TopicData(Struct):
        topic_name: str = field("0+")
        partitions: list[DescribeQuorumResponse.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("2+", nullable="2+", ignorable=True)
        leader_id: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")
        high_watermark: Int64 = field("0+")
        current_voters: list[DescribeQuorumResponse.ReplicaState] = field("0+")
        observers: list[DescribeQuorumResponse.ReplicaState] = field("0+")

    class ReplicaState(Struct):
        replica_id: Int32 = field("0+")
        replica_directory_id: Uuid = field("2+")
        log_end_offset: Int64 = field("0+")
        last_fetch_timestamp: Int64 = field("1+", default=-1, ignorable=True)
        last_caught_up_timestamp: Int64 = field("1+", default=-1, ignorable=True)

    class Node(Struct):
        node_id: Int32 = field("2+")
        listeners: list[DescribeQuorumResponse.Listener] = field("2+")

    class Listener(Struct):
        name: str = field("2+")
        host: str = field("2+")
        port: Uint16 = field("2+")
