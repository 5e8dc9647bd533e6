"""OffsetForLeaderEpoch (23), v2-4: where the records of a leader epoch end; a client so notices a log that was cut.
KIP-101, KIP-279, KIP-320.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

TopicResult = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult
EpochEndOffset = OffsetForLeaderEpochResponse.EpochEndOffset


def handle(broker: Broker, context: Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    asked = {(topic.topic, part.partition): part for topic in request.topics for part in topic.partitions}
    topics: dict[str, TopicResult] = {}
    for (name, index), part in asked.items():
        result = EpochEndOffset(partition=index)
        try:
            partition = broker.leader_of(context.node, name, index, part.current_leader_epoch)
            if part.leader_epoch == partition.leader_epoch:  # reaches to the end, also before its first record
                result.leader_epoch, result.end_offset = part.leader_epoch, partition.log.log_end_offset
            else:
                result.leader_epoch, result.end_offset = partition.log.end_offset_for_epoch(part.leader_epoch)
        except KafkaError as failure:
            result.error_code = failure.code
        topics.setdefault(name, TopicResult(topic=name)).partitions.append(result)
    return OffsetForLeaderEpochResponse(topics=list(topics.values()))


def error(request: OffsetForLeaderEpochRequest, version: int, code: ErrorCode) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        topics=[
            TopicResult(
                topic=topic.topic,
                partitions=[EpochEndOffset(partition=part.partition, error_code=code) for part in topic.partitions],
            )
            for topic in request.topics
        ]
    )
