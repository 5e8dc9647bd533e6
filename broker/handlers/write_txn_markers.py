"""WriteTxnMarkers (27), v1-2: end transactions in the partitions named. KIP-98, KIP-890.

Sent by `kafka-transactions abort` for transactions that hang; our own coordinator writes its markers without a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.markers import write_marker
from ottla.broker.waiting import Parked, all_settled
from ottla.log.door import Outcome, Pending
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.write_txn_markers import WriteTxnMarkersRequest, WriteTxnMarkersResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.broker.nodes import Node

Marker = WriteTxnMarkersRequest.WritableTxnMarker
MarkerResult = WriteTxnMarkersResponse.WritableTxnMarkerResult
TopicResult = WriteTxnMarkersResponse.WritableTxnMarkerTopicResult
PartitionResult = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult
Codes = dict[int, dict[str, dict[int, ErrorCode]]]  # producer id -> topic -> partition -> code


def handle(broker: Broker, context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse | Parked:
    codes: Codes = {}  # several markers of one producer share its entry
    waiting: list[tuple[dict[int, ErrorCode], int, Pending[None]]] = []
    for marker in request.markers:
        for topic in marker.topics:
            answers = codes.setdefault(marker.producer_id, {}).setdefault(topic.name, {})
            written: list[int] = []
            for index in dict.fromkeys(topic.partition_indexes):
                answers[index] = ErrorCode.NONE
                try:
                    _check_leader(broker, context.node, topic.name, index)
                    outcome = _write(broker, marker, topic.name, index)
                except KafkaError as error:
                    answers[index] = error.code
                    continue
                if isinstance(outcome, Pending):
                    waiting.append((answers, index, outcome))
                written.append(index)
            if written:
                broker.log.info(
                    "transaction markers written",
                    topic=topic.name,
                    partitions=written,
                    producer_id=marker.producer_id,
                    commit=marker.transaction_result,
                    by=context.client_id,
                )
    if not waiting:
        return _response(codes)

    def finish() -> WriteTxnMarkersResponse:
        for answers, index, pending in waiting:
            try:
                pending.result()
            except KafkaError as error:
                answers[index] = error.code
        return _response(codes)

    return Parked(all_settled([pending for _, _, pending in waiting]), finish)


def _check_leader(broker: Broker, node: Node, topic: str, index: int) -> None:
    """Raises KafkaError as `leader_of`; a node that holds no replica does not know the partition, as in Kafka."""
    partition = broker.cluster.partition(topic, index)
    if partition is not None and node.id not in partition.replicas:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    broker.leader_of(node, topic, index)


def _write(broker: Broker, marker: Marker, topic: str, index: int) -> Outcome[None]:
    if marker.producer_id < 0 or marker.producer_epoch < 0:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a marker needs a producer id and its epoch")
    return write_marker(
        broker,
        topic,
        index,
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        coordinator_epoch=marker.coordinator_epoch,
        commit=marker.transaction_result,
        transaction_version=marker.transaction_version,
    )


def error(request: WriteTxnMarkersRequest, version: int, code: ErrorCode) -> WriteTxnMarkersResponse:
    return _response(
        {
            marker.producer_id: {topic.name: dict.fromkeys(topic.partition_indexes, code) for topic in marker.topics}
            for marker in request.markers
        }
    )


def _response(codes: Codes) -> WriteTxnMarkersResponse:
    return WriteTxnMarkersResponse(
        markers=[
            MarkerResult(
                producer_id=producer_id,
                topics=[
                    TopicResult(
                        name=name,
                        partitions=[
                            PartitionResult(partition_index=index, error_code=code) for index, code in answers.items()
                        ],
                    )
                    for name, answers in topics.items()
                ],
            )
            for producer_id, topics in codes.items()
        ]
    )
