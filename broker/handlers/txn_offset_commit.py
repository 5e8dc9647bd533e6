"""TxnOffsetCommit (28), v0-6: keep a group's offsets if a transaction commits. KIP-98, KIP-447 (members are fenced
too), KIP-890 (from v5 on it brings the group's partition into the transaction).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.transactions import ClientProtocol, admit_offsets
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest, TxnOffsetCommitResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.coordinator.result import Answer


def handle(
    broker: Broker, context: Context, request: TxnOffsetCommitRequest
) -> TxnOffsetCommitResponse | Pending[TxnOffsetCommitResponse]:
    def admit() -> Answer[ErrorCode]:
        return admit_offsets(
            broker,
            context.node,
            request.transactional_id,
            (request.producer_id, request.producer_epoch),
            request.group_id,
            ClientProtocol.of_offset_commit(context.api_version),
        )

    return context.node.groups.commit_transactional_offsets(context, request, context.api_version, admit)


def error(request: TxnOffsetCommitRequest, version: int, code: ErrorCode) -> TxnOffsetCommitResponse:
    # Errors of a commit stand on each partition.
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=code
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
