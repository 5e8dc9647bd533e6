"""OffsetCommit (8), v2-10: keep a group's offsets. KIP-211 (retention), KIP-848 (topic ids)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: OffsetCommitRequest
) -> OffsetCommitResponse | Pending[OffsetCommitResponse]:
    return context.node.groups.commit_offsets(context, request, context.api_version)


def error(request: OffsetCommitRequest, version: int, code: ErrorCode) -> OffsetCommitResponse:
    # Errors of a commit stand on each partition.
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponse.OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponse.OffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=code
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
