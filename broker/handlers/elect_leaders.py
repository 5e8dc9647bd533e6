"""ElectLeaders (43), v0-2: give the lead back to the preferred replicas. KIP-460."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.placement import PREFERRED, UNCLEAN
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

TopicResult = ElectLeadersResponse.ReplicaElectionResult
Result = ElectLeadersResponse.PartitionResult


def handle(broker: Broker, context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse:
    if request.election_type not in (PREFERRED, UNCLEAN):
        return error(request, context.api_version, ErrorCode.INVALID_REQUEST)
    if request.topic_partitions is None:  # all; told are those that changed, or should have
        asked = {topic.name: range(len(topic.partitions)) for topic in broker.cluster.topics.values()}
        found = [_elect(broker, name, indexes, request.election_type) for name, indexes in asked.items()]
        for topic in found:
            topic.partition_result = [
                result for result in topic.partition_result if result.error_code != ErrorCode.ELECTION_NOT_NEEDED
            ]
        return ElectLeadersResponse(replica_election_results=found)
    return ElectLeadersResponse(
        replica_election_results=[
            _elect(broker, topic.topic, topic.partitions, request.election_type) for topic in request.topic_partitions
        ]
    )


def error(request: ElectLeadersRequest, version: int, code: ErrorCode) -> ElectLeadersResponse:
    refused = [_refused(topic, code) for topic in request.topic_partitions or ()]
    at_top = code if version >= 1 else ErrorCode.NONE  # v0 has a place for it with each partition only
    return ElectLeadersResponse(error_code=at_top, replica_election_results=refused)


def _refused(topic: ElectLeadersRequest.TopicPartitions, code: ErrorCode) -> TopicResult:
    results = [Result(partition_id=index, error_code=code, error_message=None) for index in topic.partitions]
    return TopicResult(topic=topic.topic, partition_result=results)


def _elect(broker: Broker, topic: str, indexes: list[int] | range, kind: int) -> TopicResult:
    return TopicResult(topic=topic, partition_result=[_elect_one(broker, topic, index, kind) for index in indexes])


def _elect_one(broker: Broker, topic: str, index: int, kind: int) -> Result:
    result = Result(partition_id=index, error_message=None)
    try:
        partition = broker.cluster.partition(topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition")
        broker.failover.elect(partition, kind)
    except KafkaError as failure:
        result.error_code, result.error_message = failure.code, failure.message or None
    return result
