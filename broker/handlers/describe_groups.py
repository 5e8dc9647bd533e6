"""DescribeGroups (15), v0-6: state, members and assignments of classic groups. KIP-430, KIP-1043."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.group.classic import GroupState
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


GROUP_OPERATIONS = 3400  # what a client may do to a group without an authorizer, as a bit set


def handle(broker: Broker, context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    response = context.node.groups.describe_groups(context, request, context.api_version)
    if request.include_authorized_operations:
        for group in response.groups:
            if group.error_code == ErrorCode.NONE:
                group.authorized_operations = GROUP_OPERATIONS
    return response


def error(request: DescribeGroupsRequest, version: int, code: ErrorCode) -> DescribeGroupsResponse:
    state = GroupState.DEAD.value if code is ErrorCode.GROUP_ID_NOT_FOUND else ""
    return DescribeGroupsResponse(
        groups=[
            DescribeGroupsResponse.DescribedGroup(error_code=code, group_id=group, group_state=state)
            for group in request.groups
        ]
    )
