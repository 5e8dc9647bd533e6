"""ConsumerGroupDescribe (69), v0-1: state, members and assignments of consumer groups. KIP-848, KIP-1099."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.handlers.consumer_group_heartbeat import is_enabled
from ottla.broker.handlers.describe_groups import GROUP_OPERATIONS
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse:
    if not is_enabled(broker):
        return error(request, context.api_version, ErrorCode.UNSUPPORTED_VERSION)
    response = context.node.groups.consumer_group_describe(context, request, context.api_version)
    if request.include_authorized_operations:
        for group in response.groups:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = GROUP_OPERATIONS
    return response


def error(request: ConsumerGroupDescribeRequest, version: int, code: ErrorCode) -> ConsumerGroupDescribeResponse:
    return ConsumerGroupDescribeResponse(
        groups=[
            ConsumerGroupDescribeResponse.DescribedGroup(error_code=code, group_id=group) for group in request.group_ids
        ]
    )
