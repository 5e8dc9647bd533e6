"""CreateTopics (19), v2-7: new topics with their partitions and configs. KIP-464 (defaults), KIP-525 (configs in the
answer).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ottla.broker.metadata import NewTopic
from ottla.broker.names import MAX_PARTITIONS_PER_REQUEST
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Result = CreateTopicsResponse.CreatableTopicResult
ConfigResult = CreateTopicsResponse.CreatableTopicConfigs


def handle(broker: Broker, context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse:
    named = Counter(topic.name for topic in request.topics)
    wanted_partitions = sum(_partitions(broker, topic) for topic in request.topics if named[topic.name] == 1)
    results = []
    for name, wanted in {topic.name: topic for topic in request.topics}.items():
        try:
            if named[name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named twice in the request")
            if wanted_partitions > MAX_PARTITIONS_PER_REQUEST:
                raise KafkaError(
                    ErrorCode.POLICY_VIOLATION,
                    f"at most {MAX_PARTITIONS_PER_REQUEST} partitions may be created at once",
                )
            plan = _plan(broker, wanted)
            if broker.throttle is not None:
                broker.throttle.mutate(context, len(plan.assignments), strict=context.api_version >= 6)
            if not request.validate_only:
                broker.metadata.create_topic(plan)
                broker.log.info("topic created", topic=name, partitions=len(plan.assignments), by=context.client_id)
            results.append(_created(broker, plan, context.api_version))
        except KafkaError as failure:
            results.append(Result(name=name, error_code=failure.code, error_message=failure.message or None))
    return CreateTopicsResponse(topics=results)


def error(request: CreateTopicsRequest, version: int, code: ErrorCode) -> CreateTopicsResponse:
    return CreateTopicsResponse(topics=[Result(name=topic.name, error_code=code) for topic in request.topics])


def _partitions(broker: Broker, wanted: CreateTopicsRequest.CreatableTopic) -> int:
    """How many partitions are asked for."""
    if wanted.assignments:
        return len(wanted.assignments)
    return broker.config.num_partitions if wanted.num_partitions == -1 else wanted.num_partitions


def _plan(broker: Broker, wanted: CreateTopicsRequest.CreatableTopic) -> NewTopic:
    return broker.metadata.plan_topic(
        wanted.name,
        wanted.num_partitions,
        wanted.replication_factor,
        [(assignment.partition_index, assignment.broker_ids) for assignment in wanted.assignments],
        {config.name: config.value for config in wanted.configs},
    )


def _created(broker: Broker, plan: NewTopic, version: int) -> Result:
    configs = []
    if version >= 5:  # nobody sees them before
        configs = [
            ConfigResult(
                name=entry.name,
                value=entry.value,
                read_only=entry.read_only,
                config_source=entry.source,
                is_sensitive=entry.sensitive,
            )
            for entry in broker.config.describe_topic(plan.overrides, created=True)
        ]
    return Result(
        name=plan.name,
        topic_id=plan.id,
        error_message=None,
        num_partitions=len(plan.assignments),
        replication_factor=len(plan.assignments[0]),
        configs=configs,
    )
