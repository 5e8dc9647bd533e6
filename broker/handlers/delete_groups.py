"""DeleteGroups (42), v0-3: remove empty groups and their offsets. KIP-229."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: DeleteGroupsRequest
) -> DeleteGroupsResponse | Pending[DeleteGroupsResponse]:
    return context.node.groups.delete_groups(context, request, context.api_version)


def error(request: DeleteGroupsRequest, version: int, code: ErrorCode) -> DeleteGroupsResponse:
    return DeleteGroupsResponse(
        results=[
            DeleteGroupsResponse.DeletableGroupResult(group_id=group, error_code=code) for group in request.groups_names
        ]
    )
