"""SyncGroup (14), v0-5: the leader hands in the assignment, everyone gets theirs. KIP-559."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: SyncGroupRequest
) -> SyncGroupResponse | Pending[SyncGroupResponse]:
    return context.node.groups.sync_group(context, request, context.api_version)


def error(request: SyncGroupRequest, version: int, code: ErrorCode) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=code, assignment=b"")
