"""Produce (0), v3-13: append one record batch to each partition named. KIP-98 (idempotence, transactions), KIP-516
(topic ids), KIP-890 (v11: transactions are verified, v12: partitions join them here), KIP-951.

The hot path in: the records stay a view of the receive buffer until the log has written them. Checks on records are the
log's (log/validate.py); here are those on the request, in Kafka's order.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from ottla.broker.dispatch import CloseConnection
from ottla.broker.leader_hints import leader_endpoints
from ottla.broker.waiting import Parked, all_settled
from ottla.log.door import Appended, Done, Pending
from ottla.log.validate import refuse_shape
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.frame import encode_response
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from ottla.wire.records import (
    ATTRIBUTES,
    BATCH_LENGTH,
    CODEC_MASK,
    CURRENT_MAGIC,
    HEADER_SIZE,
    LOG_OVERHEAD,
    TRANSACTIONAL_BIT,
    RecordBatch,
)
from ottla.wire.schema import Buffer

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition, Topic
    from ottla.broker.dispatch import Context
    from ottla.broker.nodes import Node
    from ottla.broker.transactions import Verdicts
    from ottla.coordinator.ports import ProducerIdentity
    from ottla.wire.repeats import RepeatedProduce
    from ottla.wire.schema import Message

PartitionData = ProduceRequest.PartitionProduceData
TopicResponse = ProduceResponse.TopicProduceResponse
PartitionResponse = ProduceResponse.PartitionProduceResponse

Waiting = tuple[PartitionResponse, "Partition", Pending[Appended]]

ALL = -1  # acks
ADMIN_CLIENT_ID = "__admin_client"  # may write to internal topics, as in Kafka
_LOW_ATTRIBUTES = ATTRIBUTES + 1
_ZSTD = 4
_TELLS_LEADER_FROM = 10
_BY_ID_FROM = 13
_ANSWERED = Struct(">ihqqq")  # of a partition, in the answer: index, error, base offset, append time, log start offset
_SIZE_AND_MAGIC = Struct(">i4xb")  # of a batch, from BATCH_LENGTH on
# Older clients would not try again for these; for NOT_ENOUGH_REPLICAS they do, without asking for metadata.
_COORDINATOR_AWAY = frozenset(
    (
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NETWORK_EXCEPTION,
    )
)
# When the log refuses with these codes, Kafka does not tell the log start offset.
_WITHOUT_LOG_START = frozenset(
    (
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
    )
)


def handle(
    broker: Broker, context: Context, request: ProduceRequest
) -> ProduceResponse | Parked | Pending[Message | None] | None:
    if len(request.topic_data) > 1:
        _merge_topics(request)
    if not _is_transactional(request):
        return _append_all(broker, context, request, None, None)
    if request.transactional_id is None:
        return _append_all(broker, context, request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None)
    verdicts = _admit(broker, context, request, request.transactional_id)
    if not isinstance(verdicts, Pending):
        return _append_all(broker, context, request, None, verdicts)
    for topic in request.topic_data:  # they leave the receive buffer
        for data in topic.partition_data:
            data.records = None if data.records is None else bytearray(data.records)
    answer: Pending[Message | None] = Pending()

    def admitted(verdicts: Pending[Verdicts]) -> None:
        try:
            appended = _append_all(broker, context, request, None, verdicts.result())
        except Exception as error:
            answer.fail(error)
            return
        if isinstance(appended, Parked):
            appended.pending.then(lambda _: answer.resolve(appended.finish()))
        else:
            answer.resolve(appended)

    verdicts.then(admitted)
    return answer


def _merge_topics(request: ProduceRequest) -> None:
    """A topic named twice is one, as in Kafka: else a partition that is under both would be written twice."""
    merged: dict[tuple[str, bytes], ProduceRequest.TopicProduceData] = {}
    for topic in request.topic_data:
        same = merged.setdefault((topic.name, topic.topic_id), topic)
        if same is not topic:
            same.partition_data = [*same.partition_data, *topic.partition_data]
    if len(merged) < len(request.topic_data):
        request.topic_data = list(merged.values())


class _Answer:
    """The frame that answers a Produce of one partition that went well, but for what differs each time."""

    __slots__ = ("_behind", "_between", "_size")

    def __init__(self, version: int, topic: ProduceRequest.TopicProduceData) -> None:
        marks = PartitionResponse(
            index=0x01020304, base_offset=0x05060708, log_append_time_ms=0x090A0B0C, log_start_offset=0x0D0E0F10
        )
        responses = [TopicResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=[marks])]
        (frame,) = encode_response(ApiKey.PRODUCE, version, 0, ProduceResponse(responses=responses))
        assert isinstance(frame, bytes)
        found = _ANSWERED.pack(marks.index, 0, marks.base_offset, marks.log_append_time_ms, marks.log_start_offset)
        at = frame.index(found)
        self._size = frame[:4]
        self._between = frame[8:at]
        self._behind = frame[at + _ANSWERED.size :]

    def frame(self, correlation_id: int, index: int, appended: Appended) -> bytes:
        """The frame's bytes, size included."""
        told = _ANSWERED.pack(index, 0, appended.base_offset, appended.log_append_time_ms, appended.log_start_offset)
        return b"".join((self._size, correlation_id.to_bytes(4, "big", signed=True), self._between, told, self._behind))


def handle_again(broker: Broker, node: Node, repeated: RepeatedProduce) -> bytes | ProduceResponse | None:
    """As `handle`, of a request of one partition that repeats (wire/repeats.py): the answer's frame, or what the log
    refused; two fifths less CPU. None, and nothing has been done, where anything is unusual: that is for `handle`.
    """
    request: ProduceRequest = repeated.request
    if request.acks != ALL and request.acks != 1:
        return None
    topic_data = request.topic_data[0]
    cluster = broker.cluster
    if repeated.version >= _BY_ID_FROM:
        topic = cluster.topics_by_id.get(topic_data.topic_id)
    else:
        topic = cluster.topics.get(topic_data.name)
    data = topic_data.partition_data[0]
    partition = topic.partition(data.index) if topic is not None and not topic.internal else None
    records = data.records
    if (
        partition is None
        or partition.leader != node.id
        or len(partition.isr) < len(partition.replicas)
        or not partition.log.appends_at_once
        or records is None
        or len(records) < HEADER_SIZE
        or records[_LOW_ATTRIBUTES] & TRANSACTIONAL_BIT
    ):
        return None
    try:
        batch = _one_batch(records, repeated.version)
    except KafkaError:
        return None
    log_start_offset = partition.log.log_start_offset
    try:
        outcome = partition.log.append(batch, leader_epoch=partition.leader_epoch)
    except KafkaError as error:
        failed = _failure(error, data.index, log_start_offset)
        response = TopicResponse(name=topic_data.name, topic_id=topic_data.topic_id, partition_responses=[failed])
        return ProduceResponse(responses=[response])
    assert isinstance(outcome, Done), "the log appends at once"
    if partition.waiters or partition.resting:
        partition.grew()
    answer = repeated.answer
    if answer is None:
        answer = repeated.answer = _Answer(repeated.version, topic_data)
    frame: bytes = answer.frame(repeated.correlation_id, data.index, outcome.value)
    return frame


def _append_all(
    broker: Broker,
    context: Context,
    request: ProduceRequest,
    refused: ErrorCode | None,
    verdicts: Verdicts | None,
) -> ProduceResponse | Parked | None:
    """`refused`: the code for every partition, if the request as a whole can't be served. `verdicts`: where batches of
    a transaction may be appended."""
    cluster = broker.cluster
    by_id = context.api_version >= _BY_ID_FROM
    responses: list[TopicResponse] = []
    waiting: list[Waiting] = []
    failed: ErrorCode | None = None
    led_elsewhere = False
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
                answer = _append(broker, context, request, topic, data, verdicts, waiting)
            if answer.error_code:
                failed = ErrorCode(answer.error_code)
                led_elsewhere |= failed is ErrorCode.NOT_LEADER_OR_FOLLOWER
            answers.append(answer)
        responses.append(TopicResponse(name=topic_data.name, topic_id=topic_data.topic_id, partition_responses=answers))
    if request.acks == 0:
        if failed is not None:
            raise CloseConnection(f"Produce with acks=0 failed with {failed.name} (client id {context.client_id!r})")
        return None
    response = ProduceResponse(responses=responses)
    if not waiting:
        if led_elsewhere:
            _tell_leaders(broker, context, response)
        return response

    def finish() -> ProduceResponse:
        explain = led_elsewhere
        for answer, partition, pending in waiting:
            try:
                appended = pending.result()
                if request.acks == ALL:
                    _check_still(broker, context, partition)
                _success(answer, appended)
            except KafkaError as error:
                answer.error_code, answer.base_offset = error.code, -1
                explain |= error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
        if explain:
            _tell_leaders(broker, context, response)
        return response

    return Parked(all_settled([pending for _, _, pending in waiting]), finish)


def _check_still(broker: Broker, context: Context, partition: Partition) -> None:
    """With acks=all the leader answers for what is in sync when the records are durable; if it is the leader still.
    Raises KafkaError NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS_AFTER_APPEND: the records have their place anyway.
    """
    if partition.leader != context.connection.node.id:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    try:
        broker.check_min_isr(partition)
    except KafkaError as error:
        raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND, error.message) from None


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


def _tell_leaders(broker: Broker, context: Context, response: ProduceResponse) -> None:
    """KIP-951: put into the answer who leads what was refused, and where they are, if its version can say so."""
    if context.api_version < _TELLS_LEADER_FROM:
        return
    cluster = broker.cluster
    refused: list[Partition] = []
    for topic_answer in response.responses:
        topic = cluster.topics.get(topic_answer.name) or cluster.topics_by_id.get(topic_answer.topic_id)
        for answer in topic_answer.partition_responses:
            partition = topic.partition(answer.index) if topic is not None else None
            if partition is None or answer.error_code != ErrorCode.NOT_LEADER_OR_FOLLOWER:
                continue
            answer.current_leader = ProduceResponse.LeaderIdAndEpoch(
                leader_id=partition.leader, leader_epoch=partition.leader_epoch
            )
            refused.append(partition)
    response.node_endpoints = [
        ProduceResponse.NodeEndpoint(node_id=node_id, host=host, port=port, rack=rack)
        for node_id, host, port, rack in leader_endpoints(cluster, context.connection, refused)
    ]


def _is_transactional(request: ProduceRequest) -> bool:
    """Whether any batch is part of a transaction."""
    for topic in request.topic_data:
        for data in topic.partition_data:
            records = data.records
            if records is not None and len(records) >= HEADER_SIZE and records[_LOW_ATTRIBUTES] & TRANSACTIONAL_BIT:
                return True
    return False


def _admit(
    broker: Broker, context: Context, request: ProduceRequest, transactional_id: str
) -> Verdicts | Pending[Verdicts]:
    """Where the batches of the producer's transaction may be appended; what else is wrong is found when they are.

    Raises KafkaError INVALID_PRODUCER_ID_MAPPING if they are of several producers.
    """
    from ottla.broker.transactions import ClientProtocol, admit

    cluster = broker.cluster
    version = context.api_version
    producers: set[ProducerIdentity] = set()
    partitions: list[Partition] = []
    for topic_data in request.topic_data:
        topic = cluster.topics_by_id.get(topic_data.topic_id) if version >= 13 else cluster.topics.get(topic_data.name)
        for data in topic_data.partition_data:
            partition = topic.partition(data.index) if topic is not None else None
            if partition is None or partition.leader != context.connection.node.id:
                continue
            try:
                batch = RecordBatch(_one_batch(data.records, version))
            except KafkaError:
                continue
            if batch.is_transactional and batch.producer_id >= 0:
                producers.add((batch.producer_id, batch.producer_epoch))
                partitions.append(partition)
    if not partitions:
        return {}
    if len(producers) > 1:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING, "batches of more than one transactional producer")
    protocol = ClientProtocol.of_produce(version)
    return admit(broker, context.node, transactional_id, producers.pop(), partitions, protocol)


def _append(
    broker: Broker,
    context: Context,
    request: ProduceRequest,
    topic: Topic,
    data: PartitionData,
    verdicts: Verdicts | None,
    waiting: list[Waiting],
) -> PartitionResponse:
    index = data.index
    partition = topic.partition(index)
    if partition is None:
        return PartitionResponse(index=index, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, base_offset=-1)
    log_start_offset = -1  # not told before the log is asked
    try:
        records = _one_batch(data.records, context.api_version)
        transaction_version = 0
        if verdicts is not None:
            if partition.leader != context.connection.node.id:  # nobody asked the coordinator
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            transaction_version = _check_verdict(verdicts.get(partition), RecordBatch(records), context.api_version)
        if not -1 <= request.acks <= 1:
            raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1")
        if topic.internal and context.client_id != ADMIN_CLIENT_ID:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "internal topics are written by the broker")
        if partition.leader != context.connection.node.id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log_start_offset = partition.log.log_start_offset
        if request.acks == ALL and len(partition.isr) < len(partition.replicas):
            broker.check_min_isr(partition)
        outcome = partition.log.append(
            records, leader_epoch=partition.leader_epoch, transaction_version=transaction_version
        )
    except KafkaError as error:
        return _failure(error, index, log_start_offset)
    if isinstance(outcome, Pending):  # on its way to the disk: nobody reads it, nobody is told, before it is there
        answer = PartitionResponse(index=index)
        waiting.append((answer, partition, outcome))
        outcome.then(lambda _: partition.grew())
        return answer
    if partition.waiters or partition.resting:
        partition.grew()
    return _success(PartitionResponse(index=index), outcome.value)


def _check_verdict(verdict: ErrorCode | None, batch: RecordBatch, version: int) -> int:
    """The transaction version of a batch, 0 if it is not transactional (no verdict). Raises KafkaError."""
    if verdict is None:
        if batch.is_transactional and batch.producer_id >= 0:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "the topic was made anew while the request waited")
        return 0
    if verdict is ErrorCode.NOT_LEADER_OR_FOLLOWER:
        raise KafkaError(verdict)
    adds_itself = version >= 12
    if verdict in _COORDINATOR_AWAY or (verdict is ErrorCode.CONCURRENT_TRANSACTIONS and not adds_itself):
        raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS, f"the transaction cannot be verified now: {verdict.name}")
    if verdict:
        raise KafkaError(verdict, "the partition is not part of a transaction of this producer")
    return 2 if adds_itself else 1


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
