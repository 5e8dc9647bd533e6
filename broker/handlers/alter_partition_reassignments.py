"""AlterPartitionReassignments (45), v0-1: move partitions to other replicas. KIP-455, KIP-860."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.placement import reassign
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Wanted = AlterPartitionReassignmentsRequest.ReassignablePartition
TopicResponse = AlterPartitionReassignmentsResponse.ReassignableTopicResponse
PartitionResponse = AlterPartitionReassignmentsResponse.ReassignablePartitionResponse


def handle(
    broker: Broker, context: Context, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    may_change_factor = request.allow_replication_factor_change
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=may_change_factor,
        error_message=None,
        responses=[
            TopicResponse(
                name=topic.name,
                partitions=[_move(broker, topic.name, wanted, may_change_factor) for wanted in topic.partitions],
            )
            for topic in request.topics
        ],
    )


def error(
    request: AlterPartitionReassignmentsRequest, version: int, code: ErrorCode
) -> AlterPartitionReassignmentsResponse:
    return AlterPartitionReassignmentsResponse(error_code=code, error_message=None)


def _move(broker: Broker, topic: str, wanted: Wanted, may_change_factor: bool) -> PartitionResponse:
    response = PartitionResponse(partition_index=wanted.partition_index, error_message=None)
    try:
        partition = broker.cluster.partition(topic, wanted.partition_index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition")
        change = reassign(
            partition,
            wanted.replicas,
            broker.cluster.nodes.keys(),
            broker.failover.now(),
            may_change_factor=may_change_factor,
        )
        if change is not None:
            broker.metadata.change_partitions([change])
    except KafkaError as failure:
        response.error_code, response.error_message = failure.code, failure.message or None
    return response
