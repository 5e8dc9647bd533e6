"""DeleteTopics (20), v1-6: remove topics by name or id. KIP-516."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse

if TYPE_CHECKING:
    from ottla.broker.app import Broker
    from ottla.broker.dispatch import Context

State = DeleteTopicsRequest.DeleteTopicState
Result = DeleteTopicsResponse.DeletableTopicResult
ZERO_UUID = bytes(16)


def handle(broker: Broker, context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    version = context.api_version
    if not broker.config.delete_topic_enable:
        return error(request, version, ErrorCode.TOPIC_DELETION_DISABLED if version >= 3 else ErrorCode.INVALID_REQUEST)
    states = _states(request, version)
    cluster = broker.cluster
    named = Counter(
        cluster.name_of(state.topic_id) or state.topic_id if state.name is None else state.name for state in states
    )
    results = []
    for state in states:
        result = Result(name=state.name, topic_id=state.topic_id)
        try:
            if (state.name is None) == (state.topic_id == ZERO_UUID):
                raise KafkaError(ErrorCode.INVALID_REQUEST, "give either the name or the id of a topic")
            if state.name is None:
                topic = cluster.topics_by_id.get(state.topic_id)
                missing = ErrorCode.UNKNOWN_TOPIC_ID
            else:
                topic = cluster.topics.get(state.name)
                missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if named[topic.name if topic is not None else state.name or state.topic_id] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named twice in the request")
            if topic is None:
                raise KafkaError(missing, "there is no such topic")
            broker.delete_topic(topic)
            result.name, result.topic_id = topic.name, topic.id
            broker.log.info("topic deleted", topic=topic.name, by=context.client_id)
        except KafkaError as failure:
            result.error_code, result.error_message = failure.code, failure.message or None
        results.append(result)
    return DeleteTopicsResponse(responses=results)


def error(request: DeleteTopicsRequest, version: int, code: ErrorCode) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(
        responses=[Result(name=s.name, topic_id=s.topic_id, error_code=code) for s in _states(request, version)]
    )


def _states(request: DeleteTopicsRequest, version: int) -> list[State]:
    """The topics of any version in the form of v6."""
    return request.topics if version >= 6 else [State(name=name) for name in request.topic_names]
