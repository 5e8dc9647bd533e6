"""ListGroups (16), v0-5: all groups, by state and type. KIP-518, KIP-848."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: ListGroupsRequest) -> ListGroupsResponse:
    return context.node.groups.list_groups(context, request, context.api_version)


def error(request: ListGroupsRequest, version: int, code: ErrorCode) -> ListGroupsResponse:
    return ListGroupsResponse(error_code=code)
