"""TxnOffsetCommit, api key 28, versions 0-6, flexible from 3. Sent by transactional producers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class TxnOffsetCommitRequest(Message):
    """Changes by version.

    v2: +TxnOffsetCommitRequestPartition.committed_leader_epoch
    v3: +generation_id_or_member_epoch, +member_id, +group_instance_id, flexible
    v6: -TxnOffsetCommitRequestTopic.name, +TxnOffsetCommitRequestTopic.topic_id
    """

    KEY = 28
    VALID = (0, 6)
    FLEXIBLE = 3

    transactional_id: str = field("0+")
    group_id: str = field("0+")
    producer_id: Int64 = field("0+")
    producer_epoch: Int16 = field("0+")
    generation_id_or_member_epoch: Int32 = field("3+", default=-1)
    member_id: str = field("3+")
    group_instance_id: str | None = field("3+", nullable="3+", default=None)
    topics: list[TxnOffsetCommitRequestTopic] = field("0+")

    class TxnOffsetCommitRequestTopic(Struct):
        name: str = field("0-5", ignorable=True)
        topic_id: Uuid = field("6+", ignorable=True)
        partitions: list[TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition] = field("0+")

    class TxnOffsetCommitRequestPartition(Struct):
        partition_index: Int32 = field("0+")
        committed_offset: Int64 = field("0+")
        committed_leader_epoch: Int32 = field("2+", default=-1, ignorable=True)
        committed_metadata: str | None = field("0+", nullable="0+")


class TxnOffsetCommitResponse(Message):
    """Changes by version.

    v3: flexible
    v6: -TxnOffsetCommitResponseTopic.name, +TxnOffsetCommitResponseTopic.topic_id
    """

    KEY = 28
    VALID = (0, 6)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("0+")
    topics: list[TxnOffsetCommitResponseTopic] = field("0+")

    class TxnOffsetCommitResponseTopic(Struct):
        name: str = field("0-5", ignorable=True)
        topic_id: Uuid = field("6+", ignorable=True)
        partitions: list[TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition] = field("0+")

    class TxnOffsetCommitResponsePartition(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
