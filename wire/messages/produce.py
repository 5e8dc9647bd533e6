"""Produce, api key 0, versions 3-13, flexible from 9. Sent by producers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Records, Struct, Uuid, field


class ProduceRequest(Message):
    """Changes by version.

    v9: flexible
    v13: -TopicProduceData.name, +TopicProduceData.topic_id
    """

    KEY = 0
    VALID = (3, 13)
    FLEXIBLE = 9

    transactional_id: str | None = field("3+", nullable="3+", default=None)
    acks: Int16 = field("0+")
    timeout_ms: Int32 = field("0+")
    topic_data: list[TopicProduceData] = field("0+")

    class TopicProduceData(Struct):
        name: str = field("0-12", ignorable=True)
        topic_id: Uuid = field("13+", ignorable=True)
        partition_data: list[ProduceRequest.PartitionProduceData] = field("0+")

    class PartitionProduceData(Struct):
        index: Int32 = field("0+")
        records: Records | None = field("0+", nullable="0+")


class ProduceResponse(Message):
    """Changes by version.

    v5: +PartitionProduceResponse.log_start_offset
    v8: +PartitionProduceResponse.record_errors, +PartitionProduceResponse.error_message
    v9: flexible
    v10: +node_endpoints, +PartitionProduceResponse.current_leader
    v13: -TopicProduceResponse.name, +TopicProduceResponse.topic_id
    """

    KEY = 0
    VALID = (3, 13)
    FLEXIBLE = 9

    responses: list[TopicProduceResponse] = field("0+")
    throttle_time_ms: Int32 = field("1+", ignorable=True)
    node_endpoints: list[NodeEndpoint] = field("10+", tag=0, tagged="10+")

    class TopicProduceResponse(Struct):
        name: str = field("0-12", ignorable=True)
        topic_id: Uuid = field("13+", ignorable=True)
        partition_responses: list[ProduceResponse.PartitionProduceResponse] = field("0+")

    class PartitionProduceResponse(Struct):
        index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        base_offset: Int64 = field("0+")
        log_append_time_ms: Int64 = field("2+", default=-1, ignorable=True)
        log_start_offset: Int64 = field("5+", default=-1, ignorable=True)
        record_errors: list[ProduceResponse.BatchIndexAndErrorMessage] = field("8+", ignorable=True)
        error_message: str | None = field("8+", nullable="8+", default=None, ignorable=True)
        current_leader: ProduceResponse.LeaderIdAndEpoch = field("10+", tag=0, tagged="10+")

    class BatchIndexAndErrorMessage(Struct):
        batch_index: Int32 = field("8+")
        batch_index_error_message: str | None = field("8+", nullable="8+", default=None)

    class LeaderIdAndEpoch(Struct):
        leader_id: Int32 = field("10+", default=-1)
        leader_epoch: Int32 = field("10+", default=-1)

    class NodeEndpoint(Struct):
        node_id: Int32 = field("10+")
        host: str = field("10+")
        port: Int32 = field("10+")
        rack: str | None = field("10+", nullable="10+", default=None)
