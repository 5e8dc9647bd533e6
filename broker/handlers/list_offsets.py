"""ListOffsets (2), v1-11: an offset by timestamp, or one of the special ones. KIP-79, KIP-734, KIP-405, KIP-1005,
KIP-1023.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ottla.broker.waiting import Parked, all_settled
from ottla.log.door import Done, Outcome, Pending, TimestampOffset
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.dispatch import Context

TopicResponse = ListOffsetsResponse.ListOffsetsTopicResponse
PartitionResponse = ListOffsetsResponse.ListOffsetsPartitionResponse

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -1, -2, -3, -4, -5, -6
_SPECIAL_FROM_VERSION = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
_NEVER = 1 << 15
_NOTHING = TimestampOffset(-1, -1, -1)
READ_COMMITTED = 1


def handle(broker: Broker, context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse | Parked:
    named = Counter((topic.name, part.partition_index) for topic in request.topics for part in topic.partitions)
    asked = {(topic.name, part.partition_index): part for topic in request.topics for part in topic.partitions}
    waiting: list[tuple[PartitionResponse, Pending[TimestampOffset]]] = []
    topics: dict[str, TopicResponse] = {}
    for (name, index), part in asked.items():
        answer = PartitionResponse(partition_index=index)
        try:
            if named[name, index] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST)
            if part.timestamp < 0 and context.api_version < _SPECIAL_FROM_VERSION.get(part.timestamp, _NEVER):
                raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
            partition = broker.leader_of(context.node, name, index, part.current_leader_epoch)
            outcome = _find(partition, part.timestamp, request.isolation_level)
            if isinstance(outcome, Done):
                _fill(answer, outcome.value, context.api_version)
            else:
                waiting.append((answer, outcome))
        except KafkaError as error:
            answer.error_code = error.code
        topics.setdefault(name, TopicResponse(name=name)).partitions.append(answer)
    response = ListOffsetsResponse(topics=list(topics.values()))
    if not waiting:
        return response

    def finish() -> ListOffsetsResponse:
        for answer, pending in waiting:
            try:
                _fill(answer, pending.result(), context.api_version)
            except KafkaError as error:
                answer.error_code = error.code
        return response

    return Parked(all_settled([pending for _, pending in waiting]), finish)


def error(request: ListOffsetsRequest, version: int, code: ErrorCode) -> ListOffsetsResponse:
    return ListOffsetsResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[
                    PartitionResponse(partition_index=part.partition_index, error_code=code)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _fill(answer: PartitionResponse, found: TimestampOffset, version: int) -> None:
    answer.offset, answer.timestamp = found.offset, found.timestamp_ms
    if version >= 4:  # not ignorable: a lower version must not even try to say it
        answer.leader_epoch = found.leader_epoch


def _find(partition: Partition, timestamp: int, isolation_level: int) -> Outcome[TimestampOffset]:
    log = partition.log
    limit = log.last_stable_offset if isolation_level == READ_COMMITTED else log.high_watermark
    if timestamp == LATEST:
        return Done(TimestampOffset(limit, -1, partition.leader_epoch))
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        # An empty log has no epochs yet, but its leader has one.
        epoch = partition.leader_epoch if log.log_start_offset == log.log_end_offset else log.epoch_at_start()
        return Done(TimestampOffset(log.log_start_offset, -1, epoch))
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):  # no tiered storage: nothing is there
        return Done(_NOTHING)
    outcome = log.offset_of_max_timestamp() if timestamp == MAX_TIMESTAMP else log.offset_for_timestamp(timestamp)
    if isinstance(outcome, Done) and outcome.value.offset >= limit:
        return Done(_NOTHING)
    return outcome
