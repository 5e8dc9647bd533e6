"""ListPartitionReassignments (46), v0: the moves under way: those to a replica whose node is down. KIP-455."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.dispatch import Context

TopicResponse = ListPartitionReassignmentsResponse.OngoingTopicReassignment
PartitionResponse = ListPartitionReassignmentsResponse.OngoingPartitionReassignment


def handle(
    broker: Broker, context: Context, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    topics = broker.cluster.topics
    asked: dict[str, Iterable[Partition | None]] = {}
    if request.topics is None:
        asked = {topic.name: topic.partitions for topic in topics.values()}
    else:  # who is not there does not move
        for wanted in request.topics:
            topic = topics.get(wanted.name)
            if topic is not None:
                asked[wanted.name] = [topic.partition(index) for index in dict.fromkeys(wanted.partition_indexes)]
    found = {
        name: [_describe(one) for one in some if one is not None and one.is_moving] for name, some in asked.items()
    }
    return ListPartitionReassignmentsResponse(
        error_message=None,
        topics=[TopicResponse(name=name, partitions=moving) for name, moving in found.items() if moving],
    )


def error(
    request: ListPartitionReassignmentsRequest, version: int, code: ErrorCode
) -> ListPartitionReassignmentsResponse:
    return ListPartitionReassignmentsResponse(error_code=code, error_message=None)


def _describe(partition: Partition) -> PartitionResponse:
    return PartitionResponse(
        partition_index=partition.index,
        replicas=partition.replicas,
        adding_replicas=partition.adding,
        removing_replicas=partition.removing,
    )
