"""AddPartitionsToTxn (24), v0-5: partitions join a producer's transaction. KIP-98; v4 on is what brokers ask for their
clients, several transactions at once (KIP-890).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import INTERNAL_TOPICS
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.coordinator.result import Answer

Topics = list[AddPartitionsToTxnRequest.AddPartitionsToTxnTopic]
TopicResult = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
PartitionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult


def handle(broker: Broker, context: Context, request: AddPartitionsToTxnRequest) -> Answer[AddPartitionsToTxnResponse]:
    by_client = context.api_version < 4

    def check_partition(topic: str, index: int) -> ErrorCode:
        if by_client and topic in INTERNAL_TOPICS:  # for the partition of a group's offsets there is AddOffsetsToTxn
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
        found = broker.cluster.partition(topic, index)
        return ErrorCode.NONE if found is not None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    return context.node.transactions.add_partitions_to_txn(
        request, context.api_version, check_partition=check_partition
    )


def error(request: AddPartitionsToTxnRequest, version: int, code: ErrorCode) -> AddPartitionsToTxnResponse:
    if version >= 4:
        return AddPartitionsToTxnResponse(error_code=code)
    return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=_results(request.v3_and_below_topics, code))


def _results(topics: Topics, code: ErrorCode) -> list[TopicResult]:
    return [
        TopicResult(
            name=topic.name,
            results_by_partition=[
                PartitionResult(partition_index=index, partition_error_code=code) for index in topic.partitions
            ],
        )
        for topic in topics
    ]
