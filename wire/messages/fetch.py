"""Fetch, api key 1, versions 4-18, flexible from 12. Sent by consumers, replicas."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, SlicedRecords, Struct, Uuid, field


class FetchRequest(Message):
    """Changes by version.

    v5: +FetchPartition.log_start_offset
    v7: +session_id, +session_epoch, +forgotten_topics_data
    v9: +FetchPartition.current_leader_epoch
    v11: +rack_id
    v12: +cluster_id, +FetchPartition.last_fetched_epoch, flexible
    v13: -FetchTopic.topic, +FetchTopic.topic_id, -ForgottenTopic.topic, +ForgottenTopic.topic_id
    v15: -replica_id, +replica_state
    v17: +FetchPartition.replica_directory_id
    v18: +FetchPartition.high_watermark
    """

    KEY = 1
    VALID = (4, 18)
    FLEXIBLE = 12

    cluster_id: str | None = field("12+", nullable="12+", tag=0, tagged="12+", default=None, ignorable=True)
    replica_id: Int32 = field("0-14", default=-1)
    replica_state: ReplicaState = field("15+", tag=1, tagged="15+")
    max_wait_ms: Int32 = field("0+")
    min_bytes: Int32 = field("0+")
    max_bytes: Int32 = field("3+", default=2147483647, ignorable=True)
    isolation_level: Int8 = field("4+", ignorable=True)
    session_id: Int32 = field("7+", ignorable=True)
    session_epoch: Int32 = field("7+", default=-1, ignorable=True)
    topics: list[FetchTopic] = field("0+")
    forgotten_topics_data: list[ForgottenTopic] = field("7+")
    rack_id: str = field("11+", ignorable=True)

    class ReplicaState(Struct):
        replica_id: Int32 = field("15+", default=-1)
        replica_epoch: Int64 = field("15+", default=-1)

    class FetchTopic(Struct):
        topic: str = field("0-12", ignorable=True)
        topic_id: Uuid = field("13+", ignorable=True)
        partitions: list[FetchRequest.FetchPartition] = field("0+")

    class FetchPartition(Struct):
        partition: Int32 = field("0+")
        current_leader_epoch: Int32 = field("9+", default=-1, ignorable=True)
        fetch_offset: Int64 = field("0+")
        last_fetched_epoch: Int32 = field("12+", default=-1)
        log_start_offset: Int64 = field("5+", default=-1, ignorable=True)
        partition_max_bytes: Int32 = field("0+")
        replica_directory_id: Uuid = field("17+", tag=0, tagged="17+", ignorable=True)
        high_watermark: Int64 = field("18+", tag=1, tagged="18+", default=9223372036854775807, ignorable=True)

    class ForgottenTopic(Struct):
        topic: str = field("7-12", ignorable=True)
        topic_id: Uuid = field("13+", ignorable=True)
        partitions: list[Int32] = field("7+")


class FetchResponse(Message):
    """Changes by version.

    v5: +PartitionData.log_start_offset
    v7: +error_code, +session_id
    v11: +PartitionData.preferred_read_replica
    v12: +PartitionData.diverging_epoch, +PartitionData.current_leader, +PartitionData.snapshot_id, flexible
    v13: -FetchableTopicResponse.topic, +FetchableTopicResponse.topic_id
    v16: +node_endpoints
    """

    KEY = 1
    VALID = (4, 18)
    FLEXIBLE = 12

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("7+", ignorable=True)
    session_id: Int32 = field("7+")
    responses: list[FetchableTopicResponse] = field("0+")
    node_endpoints: list[NodeEndpoint] = field("16+", tag=0, tagged="16+")

    class FetchableTopicResponse(Struct):
        topic: str = field("0-12", ignorable=True)
        topic_id: Uuid = field("13+", ignorable=True)
        partitions: list[FetchResponse.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        high_watermark: Int64 = field("0+")
        last_stable_offset: Int64 = field("4+", default=-1, ignorable=True)
        log_start_offset: Int64 = field("5+", default=-1, ignorable=True)
        diverging_epoch: FetchResponse.EpochEndOffset = field("12+", tag=0, tagged="12+")
        current_leader: FetchResponse.LeaderIdAndEpoch = field("12+", tag=1, tagged="12+")
        snapshot_id: FetchResponse.SnapshotId = field("12+", tag=2, tagged="12+")
        aborted_transactions: list[FetchResponse.AbortedTransaction] | None = field("4+", nullable="4+", ignorable=True)
        preferred_read_replica: Int32 = field("11+", default=-1)
        records: SlicedRecords | None = field("0+", nullable="0+")

    class EpochEndOffset(Struct):
        epoch: Int32 = field("12+", default=-1)
        end_offset: Int64 = field("12+", default=-1)

    class LeaderIdAndEpoch(Struct):
        leader_id: Int32 = field("12+", default=-1)
        leader_epoch: Int32 = field("12+", default=-1)

    class SnapshotId(Struct):
        end_offset: Int64 = field("0+", default=-1)
        epoch: Int32 = field("0+", default=-1)

    class AbortedTransaction(Struct):
        producer_id: Int64 = field("4+")
        first_offset: Int64 = field("4+")

    class NodeEndpoint(Struct):
        node_id: Int32 = field("16+")
        host: str = field("16+")
        port: Int32 = field("16+")
        rack: str | None = field("16+", nullable="16+", default=None)
