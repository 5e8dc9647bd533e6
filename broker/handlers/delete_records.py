"""DeleteRecords (21), v0-2: move the log start offset of partitions up. KIP-107.

One replica: what is asked is done by the time of the answer, so the timeout never matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.delete_records import DeleteRecordsRequest, DeleteRecordsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Topic
    from ottla.broker.dispatch import Context
    from ottla.broker.nodes import Node

TopicResult = DeleteRecordsResponse.DeleteRecordsTopicResult
PartitionResult = DeleteRecordsResponse.DeleteRecordsPartitionResult


def handle(broker: Broker, context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    asked = {(topic.name, part.partition_index): part.offset for topic in request.topics for part in topic.partitions}
    topics: dict[str, TopicResult] = {}
    for (name, index), offset in asked.items():
        result = PartitionResult(partition_index=index, low_watermark=-1)
        try:
            result.low_watermark = _delete(broker, context.node, name, index, offset)
            broker.log.info(
                "records deleted", topic=name, partition=index, below=result.low_watermark, by=context.client_id
            )
        except KafkaError as failure:
            result.error_code = failure.code
        topics.setdefault(name, TopicResult(name=name)).partitions.append(result)
    return DeleteRecordsResponse(topics=list(topics.values()))


def _delete(broker: Broker, node: Node, name: str, index: int, offset: int) -> int:
    """The log start offset that came of it. Raises KafkaError, in Kafka's order of checks."""
    topic = broker.cluster.topics.get(name)
    if topic is None or topic.partition(index) is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if topic.internal:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
    partition = broker.leader_of(node, name, index)
    if "delete" not in _cleanup_policy(broker, topic):
        raise KafkaError(ErrorCode.POLICY_VIOLATION)
    return partition.log.trim(offset)


def _cleanup_policy(broker: Broker, topic: Topic) -> list[str]:
    own = topic.overrides.get("cleanup.policy")
    return broker.config.log_cleanup_policy if own is None else [policy.strip() for policy in own.split(",")]


def error(request: DeleteRecordsRequest, version: int, code: ErrorCode) -> DeleteRecordsResponse:
    return DeleteRecordsResponse(
        topics=[
            TopicResult(
                name=topic.name,
                partitions=[
                    PartitionResult(partition_index=part.partition_index, low_watermark=-1, error_code=code)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
