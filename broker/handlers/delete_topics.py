"""DeleteTopics (20), v1-6: remove topics by name or id. KIP-516."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from ottla.wire.schema import ZERO_UUID

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Topic
    from ottla.broker.dispatch import Context

State = DeleteTopicsRequest.DeleteTopicState
Result = DeleteTopicsResponse.DeletableTopicResult


def handle(broker: Broker, context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    version = context.api_version
    if not broker.config.delete_topic_enable:
        return error(request, version, ErrorCode.TOPIC_DELETION_DISABLED if version >= 3 else ErrorCode.INVALID_REQUEST)
    # However often a topic is named, it has one result.
    named = Counter((state.name, state.topic_id) for state in _states(request, version))
    results = []
    doomed: list[tuple[Result, Topic]] = []
    for name, topic_id in named:
        result = Result(name=name, topic_id=topic_id)
        try:
            if (name is None) == (topic_id == ZERO_UUID):
                raise KafkaError(ErrorCode.INVALID_REQUEST, "give either the name or the id of a topic")
            if named[name, topic_id] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named twice in the request")
            topic = _find(broker, name, topic_id)
            result.name, result.topic_id = topic.name, topic.id
            if (topic.name, ZERO_UUID) in named and (None, topic.id) in named:
                if name is None:
                    continue  # the other one's result speaks for both
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named twice in the request")
            if broker.throttle is not None:
                broker.throttle.mutate(context, len(topic.partitions), strict=version >= 5)
            doomed.append((result, topic))
        except KafkaError as failure:
            result.error_code, result.error_message = failure.code, failure.message or None
        results.append(result)
    _delete(broker, context, doomed)
    return DeleteTopicsResponse(responses=results)


def _delete(broker: Broker, context: Context, doomed: list[tuple[Result, Topic]]) -> None:
    """All topics of a request in one change of the metadata, as Kafka does: all or none, and one flush."""
    try:
        broker.delete_topics([topic for _, topic in doomed])
    except KafkaError as failure:
        for result, _ in doomed:
            result.error_code, result.error_message = failure.code, failure.message or None
        return
    for _, topic in doomed:
        broker.log.info("topic deleted", topic=topic.name, by=context.client_id)


def _find(broker: Broker, name: str | None, topic_id: bytes) -> Topic:
    """Raises KafkaError UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION."""
    topics, by_id = broker.cluster.topics, broker.cluster.topics_by_id
    topic = by_id.get(topic_id) if name is None else topics.get(name)
    if topic is None:
        code = ErrorCode.UNKNOWN_TOPIC_ID if name is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        raise KafkaError(code, "there is no such topic")
    return topic


def error(request: DeleteTopicsRequest, version: int, code: ErrorCode) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(
        responses=[Result(name=s.name, topic_id=s.topic_id, error_code=code) for s in _states(request, version)]
    )


def _states(request: DeleteTopicsRequest, version: int) -> list[State]:
    """The topics of any version in the form of v6."""
    return request.topics if version >= 6 else [State(name=name) for name in request.topic_names]
