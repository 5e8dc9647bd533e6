"""DescribeProducers (61), v0: what the log of each partition remembers of its producers. KIP-664.

`kafka-transactions find-hanging` compares it with what the transaction coordinator knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.names import name_fault
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.describe_producers import DescribeProducersRequest, DescribeProducersResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.dispatch import Context
    from ottla.broker.nodes import Node

TopicResponse = DescribeProducersResponse.TopicResponse
PartitionResponse = DescribeProducersResponse.PartitionResponse
ProducerState = DescribeProducersResponse.ProducerState


def handle(broker: Broker, context: Context, request: DescribeProducersRequest) -> DescribeProducersResponse:
    # Each partition once: else a small request could ask for an answer of any size.
    asked: dict[str, dict[int, None]] = {}
    for topic in request.topics:
        asked.setdefault(topic.name, {}).update(dict.fromkeys(topic.partition_indexes))
    return DescribeProducersResponse(
        topics=[
            TopicResponse(name=name, partitions=[_describe(broker, context.node, name, index) for index in indexes])
            for name, indexes in asked.items()
        ]
    )


def _describe(broker: Broker, node: Node, topic: str, index: int) -> PartitionResponse:
    try:
        known = _partition(broker, node, topic, index).log.producers_view()
    except KafkaError as failure:
        return PartitionResponse(partition_index=index, error_code=failure.code, error_message=failure.message or None)
    return PartitionResponse(
        partition_index=index,
        active_producers=[
            ProducerState(
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.last_timestamp_ms,
                coordinator_epoch=producer.coordinator_epoch,
                current_txn_start_offset=producer.transaction_first_offset,
            )
            for producer in known
        ],
    )


def _partition(broker: Broker, node: Node, topic: str, index: int) -> Partition:
    """Raises KafkaError; a topic at fault is explained, a partition is not, as with Kafka."""
    fault = name_fault(topic)
    if fault is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
    if topic not in broker.cluster.topics:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic")
    partition = broker.cluster.partition(topic, index)
    if partition is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if node.id not in partition.replicas:  # followers know too
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    return partition


def error(request: DescribeProducersRequest, version: int, code: ErrorCode) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=asked.name,
                partitions=[
                    PartitionResponse(partition_index=index, error_code=code) for index in asked.partition_indexes
                ],
            )
            for asked in request.topics
        ]
    )
