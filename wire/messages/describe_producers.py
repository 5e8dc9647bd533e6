"""DescribeProducers, api key 61, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class DescribeProducersRequest(Message):
    """One version."""

    KEY = 61
    VALID = (0, 0)
    FLEXIBLE = 0

    topics: list[TopicRequest] = field("0+")

    class TopicRequest(Struct):
        name: str = field("0+")
        partition_indexes: list[Int32] = field("0+")


class DescribeProducersResponse(Message):
    """One version."""

    KEY = 61
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    topics: list[TopicResponse] = field("0+")

    class TopicResponse(Struct):
        name: str = field("0+")
        partitions: list[DescribeProducersResponse.PartitionResponse] = field("0+")

    class PartitionResponse(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        active_producers: list[DescribeProducersResponse.ProducerState] = field("0+")

    class ProducerState(Struct):
        producer_id: Int64 = field("0+")
        producer_epoch: Int32 = field("0+")
        last_sequence: Int32 = field("0+", default=-1)
        last_timestamp: Int64 = field("0+", default=-1)
        coordinator_epoch: Int32 = field("0+")
        current_txn_start_offset: Int64 = field("0+", default=-1)
