"""ShareAcknowledge, api key 79, versions 1-2, flexible from 0. Sent by share consumers."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uuid, field


class ShareAcknowledgeRequest(Message):
    """Changes by version.

    v2: +is_renew_ack
    """

    KEY = 79
    VALID = (1, 2)
    FLEXIBLE = 0

    group_id: str | None = field("0+", nullable="0+", default=None)
    member_id: str | None = field("0+", nullable="0+")
    share_session_epoch: Int32 = field("0+")
    is_renew_ack: bool = field("2+")
    topics: list[AcknowledgeTopic] = field("0+")

    class AcknowledgeTopic(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ShareAcknowledgeRequest.AcknowledgePartition] = field("0+")

    class AcknowledgePartition(Struct):
        partition_index: Int32 = field("0+")
        acknowledgement_batches: list[ShareAcknowledgeRequest.AcknowledgementBatch] = field("0+")

    class AcknowledgementBatch(Struct):
        first_offset: Int64 = field("0+")
        last_offset: Int64 = field("0+")
        acknowledge_types: list[Int8] = field("0+")


class ShareAcknowledgeResponse(Message):
    """Changes by version.

    v2: +acquisition_lock_timeout_ms
    """

    KEY = 79
    VALID = (1, 2)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", default=None)
    acquisition_lock_timeout_ms: Int32 = field("2+", ignorable=True)
    responses: list[ShareAcknowledgeTopicResponse] = field("0+")
    node_endpoints: list[NodeEndpoint] = field("0+")

    class ShareAcknowledgeTopicResponse(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[ShareAcknowledgeResponse.PartitionData] = field("0+")

    class PartitionData(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        current_leader: ShareAcknowledgeResponse.LeaderIdAndEpoch = field("0+")

    class LeaderIdAndEpoch(Struct):
        leader_id: Int32 = field("0+")
        leader_epoch: Int32 = field("0+")

    class NodeEndpoint(Struct):
        node_id: Int32 = field("0+")
        host: str = field("0+")
        port: Int32 = field("0+")
        rack: str | None = field("0+", nullable="0+", default=None)
