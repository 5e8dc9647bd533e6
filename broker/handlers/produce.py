"""Produce (0), v3-13: append one record batch to each partition named. KIP-98 (idempotence), KIP-516 (topic ids),
KIP-951.

The hot path in: the records stay a view of the receive buffer until the log has written them. Checks on records are the
log's (log/validate.py); here are those on the request, in Kafka's order.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from ottla.broker.dispatch import CloseConnection
from ottla.broker.waiting import Parked, all_settled
from ottla.log.door import Appended, Pending
from ottla.log.validate import refuse_shape
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from ottla.wire.records import (
    ATTRIBUTES,
    BATCH_LENGTH,
    CODEC_MASK,
    CURRENT_MAGIC,
    HEADER_SIZE,
    LOG_OVERHEAD,
    TRANSACTIONAL_BIT,
)
from ottla.wire.schema import Buffer

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Topic
    from ottla.broker.dispatch import Context

PartitionData = ProduceRequest.PartitionProduceData
TopicResponse = ProduceResponse.TopicProduceResponse
PartitionResponse = ProduceResponse.PartitionProduceResponse

ADMIN_CLIENT_ID = "__admin_client"  # may write to internal topics, as in Kafka
_LOW_ATTRIBUTES = ATTRIBUTES + 1
_ZSTD = 4
_SIZE_AND_MAGIC = Struct(">i4xb")  # of a batch, from BATCH_LENGTH on
# When the log refuses with these codes, Kafka does not tell the log start offset.
_WITHOUT_LOG_START = frozenset(
    (
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
    )
)


def handle(broker: Broker, context: Context, request: ProduceRequest) -> ProduceResponse | Parked | None:
    cluster = broker.cluster
    by_id = context.api_version >= 13
    refused = _refusal(request)
    responses: list[TopicResponse] = []
    waiting: list[tuple[PartitionResponse, Pending[Appended]]] = []
    failed: ErrorCode | None = None
    for topic_data in request.topic_data:
        topic = cluster.topics_by_id.get(topic_data.topic_id) if by_id else cluster.topics.get(topic_data.name)
        partitions = topic_data.partition_data
        if len(partitions) > 1:  # named twice, a partition is written once (the last wins)
            partitions = list({data.index: data for data in partitions}.values())
        answers: list[PartitionResponse] = []
        for data in partitions:
            if refused is not None:
                answer = PartitionResponse(index=data.index, error_code=refused, base_offset=-1)
            elif topic is None:
                code = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                answer = PartitionResponse(index=data.index, error_code=code, base_offset=-1)
            else:
                answer = _append(broker, context, request, topic, data, waiting)
            if answer.error_code:
                failed = ErrorCode(answer.error_code)
            answers.append(answer)
        responses.append(TopicResponse(name=topic_data.name, topic_id=topic_data.topic_id, partition_responses=answers))
    if request.acks == 0:
        if failed is not None:
            raise CloseConnection(f"Produce with acks=0 failed with {failed.name} (client id {context.client_id!r})")
        return None
    response = ProduceResponse(responses=responses)
    if not waiting:
        return response

    def finish() -> ProduceResponse:
        for answer, pending in waiting:
            try:
                _success(answer, pending.result())
            except KafkaError as error:
                answer.error_code, answer.base_offset = error.code, -1
        return response

    return Parked(all_settled([pending for _, pending in waiting]), finish)


def error(request: ProduceRequest, version: int, code: ErrorCode) -> ProduceResponse:
    if request.acks == 0:  # who expects no answer would take it for that of the next request
        raise CloseConnection(f"Produce with acks=0 failed with {code.name}")
    return ProduceResponse(
        responses=[
            TopicResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionResponse(index=data.index, error_code=code, base_offset=-1)
                    for data in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )


def _refusal(request: ProduceRequest) -> ErrorCode | None:
    """The code for every partition, if the request as a whole can't be served: transactions are not served yet."""
    for topic in request.topic_data:
        for data in topic.partition_data:
            records = data.records
            if records is not None and len(records) >= HEADER_SIZE and records[_LOW_ATTRIBUTES] & TRANSACTIONAL_BIT:
                return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    return None


def _append(
    broker: Broker,
    context: Context,
    request: ProduceRequest,
    topic: Topic,
    data: PartitionData,
    waiting: list[tuple[PartitionResponse, Pending[Appended]]],
) -> PartitionResponse:
    index = data.index
    partition = topic.partition(index)
    if partition is None:
        return PartitionResponse(index=index, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, base_offset=-1)
    log_start_offset = -1  # not told before the log is asked
    try:
        records = _one_batch(data.records, context.api_version)
        if not -1 <= request.acks <= 1:
            raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1")
        if topic.internal and context.client_id != ADMIN_CLIENT_ID:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "internal topics are written by the broker")
        if partition.leader != broker.node.id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log_start_offset = partition.log.log_start_offset
        outcome = partition.log.append(records, leader_epoch=partition.leader_epoch)
    except KafkaError as error:
        return _failure(error, index, log_start_offset)
    if isinstance(outcome, Pending):  # on its way to the disk: nobody reads it, nobody is told, before it is there
        answer = PartitionResponse(index=index)
        waiting.append((answer, outcome))
        outcome.then(lambda _: partition.grew())
        return answer
    if partition.waiters:
        partition.grew()
    return _success(PartitionResponse(index=index), outcome.value)


def _one_batch(records: Buffer | None, version: int) -> Buffer:
    """`records` if they are one complete batch of today's format. Raises KafkaError."""
    if records is None:
        raise KafkaError(ErrorCode.INVALID_RECORD, "Produce needs one record batch, there is none")
    if len(records) < HEADER_SIZE:
        refuse_shape(memoryview(records))
    length, magic = _SIZE_AND_MAGIC.unpack_from(records, BATCH_LENGTH)
    if version < 7 and magic == CURRENT_MAGIC and records[_LOW_ATTRIBUTES] & CODEC_MASK == _ZSTD:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce v7")
    if magic != CURRENT_MAGIC or length + LOG_OVERHEAD != len(records):
        refuse_shape(memoryview(records))
    return records


def _success(answer: PartitionResponse, appended: Appended) -> PartitionResponse:
    answer.base_offset = appended.base_offset
    answer.log_append_time_ms = appended.log_append_time_ms
    answer.log_start_offset = appended.log_start_offset
    return answer


def _failure(error: KafkaError, index: int, log_start_offset: int) -> PartitionResponse:
    details = [
        ProduceResponse.BatchIndexAndErrorMessage(batch_index=at, batch_index_error_message=text)
        for at, text in getattr(error, "record_errors", ())
    ]
    return PartitionResponse(
        index=index,
        error_code=error.code,
        base_offset=-1,
        log_start_offset=-1 if error.code in _WITHOUT_LOG_START else log_start_offset,
        record_errors=details,
        error_message=error.message or None,
    )
