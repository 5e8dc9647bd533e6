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
    answers: list[Result | NewTopic] = []
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
            answers.append(plan)
        except KafkaError as failure:
            answers.append(_refused(name, failure))
    refusal = None if request.validate_only else _create(broker, context, answers)
    descriptions = _Descriptions(broker, context.api_version)
    results = []
    for answer in answers:
        if isinstance(answer, Result):
            results.append(answer)
        else:
            results.append(_refused(answer.name, refusal) if refusal is not None else _created(answer, descriptions))
    return CreateTopicsResponse(topics=results)


def _create(broker: Broker, context: Context, answers: list[Result | NewTopic]) -> KafkaError | None:
    """All topics of a request in one change of the metadata, as Kafka does: all or none, and one flush."""
    plans = [answer for answer in answers if isinstance(answer, NewTopic)]
    try:
        broker.metadata.create_topics(plans)
    except KafkaError as failure:
        return failure
    for plan in plans:
        broker.log.info("topic created", topic=plan.name, partitions=len(plan.assignments), by=context.client_id)
    return None


def _refused(name: str, failure: KafkaError) -> Result:
    return Result(name=name, error_code=failure.code, error_message=failure.message or None)


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


class _Descriptions:
    """The configs of new topics as the answer has them: made once for all that have the same."""

    __slots__ = ("_broker", "_known", "_version")

    def __init__(self, broker: Broker, version: int) -> None:
        self._broker = broker
        self._version = version
        self._known: dict[frozenset[tuple[str, str]], list[ConfigResult]] = {}

    def of(self, overrides: dict[str, str]) -> list[ConfigResult]:
        if self._version < 5:  # nobody sees them
            return []
        key = frozenset(overrides.items())
        configs = self._known.get(key)
        if configs is None:
            configs = self._known[key] = [
                ConfigResult(
                    name=entry.name,
                    value=entry.value,
                    read_only=entry.read_only,
                    config_source=entry.source,
                    is_sensitive=entry.sensitive,
                )
                for entry in self._broker.config.describe_topic(overrides, created=True)
            ]
        return configs


def _created(plan: NewTopic, descriptions: _Descriptions) -> Result:
    return Result(
        name=plan.name,
        topic_id=plan.id,
        error_message=None,
        num_partitions=len(plan.assignments),
        replication_factor=len(plan.assignments[0]),
        configs=descriptions.of(plan.overrides),
    )
