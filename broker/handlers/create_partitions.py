"""CreatePartitions (37), v0-3: more partitions for topics that exist. KIP-195."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ottla.broker.names import MAX_PARTITIONS_PER_REQUEST
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Topic
    from ottla.broker.dispatch import Context

Wanted = CreatePartitionsRequest.CreatePartitionsTopic
Result = CreatePartitionsResponse.CreatePartitionsTopicResult


def handle(broker: Broker, context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    named = Counter(wanted.name for wanted in request.topics)
    results = []
    planned: list[tuple[Result, Topic, list[list[int]]]] = []
    for name, wanted in {wanted.name: wanted for wanted in request.topics}.items():
        result = Result(name=name)
        try:
            if named[name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named twice in the request")
            planned.append((result, *_plan(broker, context, wanted)))
        except KafkaError as failure:
            result.error_code, result.error_message = failure.code, failure.message or None
        results.append(result)
    if not request.validate_only:
        _grow(broker, context, planned)
    return CreatePartitionsResponse(results=results)


def error(request: CreatePartitionsRequest, version: int, code: ErrorCode) -> CreatePartitionsResponse:
    return CreatePartitionsResponse(results=[Result(name=wanted.name, error_code=code) for wanted in request.topics])


def _plan(broker: Broker, context: Context, wanted: Wanted) -> tuple[Topic, list[list[int]]]:
    """The topic and the replicas of each new partition. Raises KafkaError."""
    topic = broker.cluster.topics.get(wanted.name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if wanted.count - len(topic.partitions) > MAX_PARTITIONS_PER_REQUEST:
        raise KafkaError(
            ErrorCode.POLICY_VIOLATION, f"at most {MAX_PARTITIONS_PER_REQUEST} partitions may be created at once"
        )
    given = None if wanted.assignments is None else [assignment.broker_ids for assignment in wanted.assignments]
    spread = broker.metadata.plan_partitions(topic, wanted.count, given)
    if broker.throttle is not None:
        broker.throttle.mutate(context, len(spread), strict=context.api_version >= 3)
    return topic, spread


def _grow(broker: Broker, context: Context, planned: list[tuple[Result, Topic, list[list[int]]]]) -> None:
    """All of a request in one change of the metadata: one flush."""
    try:
        broker.metadata.add_partitions([(topic, spread) for _, topic, spread in planned])
    except KafkaError as failure:
        for result, _, _ in planned:
            result.error_code, result.error_message = failure.code, failure.message or None
        return
    for _, topic, _ in planned:
        broker.log.info("partitions added", topic=topic.name, partitions=len(topic.partitions), by=context.client_id)
