"""OffsetFetch (9), v1-10: a group's committed offsets. KIP-709 (several groups), KIP-447 (require stable)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse:
    return context.node.groups.fetch_offsets(context, request, context.api_version)


def error(request: OffsetFetchRequest, version: int, code: ErrorCode) -> OffsetFetchResponse:
    if version >= 8:
        groups = [
            OffsetFetchResponse.OffsetFetchResponseGroup(group_id=group.group_id, error_code=code)
            for group in request.groups
        ]
        return OffsetFetchResponse(groups=groups)
    if version >= 2:
        return OffsetFetchResponse(error_code=code)
    # v1 has no place for an error but the partitions asked for.
    topics = [
        OffsetFetchResponse.OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponse.OffsetFetchResponsePartition(
                    partition_index=index, committed_offset=-1, error_code=code
                )
                for index in topic.partition_indexes
            ],
        )
        for topic in request.topics or ()
    ]
    return OffsetFetchResponse(topics=topics)
