"""DescribeTopicPartitions (75), v0: topics and their partitions page by page, from a cursor on. KIP-966."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.handlers.metadata import TOPIC_OPERATIONS
from ottla.broker.names import name_fault
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.dispatch import Context

TopicResponse = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
PartitionResponse = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition
Cursor = DescribeTopicPartitionsResponse.Cursor


def handle(
    broker: Broker, context: Context, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    cursor = request.cursor
    topics = broker.cluster.topics
    asked = {topic.name for topic in request.topics}
    if cursor is not None and (cursor.partition_index < 0 or (asked and cursor.topic_name not in asked)):
        return error(request, context.api_version, ErrorCode.INVALID_REQUEST)
    names = sorted(asked or topics)
    first = 0
    if cursor is not None:
        names = [name for name in names if name >= cursor.topic_name]
        if names and names[0] == cursor.topic_name:  # else it is gone: the next one begins at its own beginning
            first = cursor.partition_index
    left = max(1, min(request.response_partition_limit, broker.config.max_request_partition_size_limit))
    response = DescribeTopicPartitionsResponse(topics=[])
    for name in names:
        if left == 0:
            response.next_cursor = Cursor(topic_name=name, partition_index=0)
            break
        topic = topics.get(name)
        if topic is None:
            response.topics.append(_missing(name))
        else:
            shown = topic.partitions[first : first + left]
            left -= len(shown)
            response.topics.append(
                TopicResponse(
                    name=name,
                    topic_id=topic.id,
                    is_internal=topic.internal,
                    partitions=[_describe(broker.cluster, partition) for partition in shown],
                    topic_authorized_operations=TOPIC_OPERATIONS,
                )
            )
            if first + len(shown) < len(topic.partitions):
                response.next_cursor = Cursor(topic_name=name, partition_index=first + len(shown))
                break
        first = 0
    return response


def error(request: DescribeTopicPartitionsRequest, version: int, code: ErrorCode) -> DescribeTopicPartitionsResponse:
    return DescribeTopicPartitionsResponse(
        topics=[TopicResponse(name=topic.name, error_code=code) for topic in request.topics]
    )


def _missing(name: str) -> TopicResponse:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if name_fault(name) is None else ErrorCode.INVALID_TOPIC_EXCEPTION
    return TopicResponse(name=name, error_code=code, topic_authorized_operations=TOPIC_OPERATIONS)


def _describe(cluster: Cluster, partition: Partition) -> PartitionResponse:
    return PartitionResponse(
        error_code=ErrorCode.NONE,  # also without a leader
        partition_index=partition.index,
        leader_id=partition.leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=partition.replicas,
        isr_nodes=partition.isr,
        offline_replicas=cluster.offline(partition.replicas),
        eligible_leader_replicas=partition.elr,
        last_known_elr=partition.last_known_elr,
    )
