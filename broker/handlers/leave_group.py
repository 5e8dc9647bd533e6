"""LeaveGroup (13), v0-5: members leave or are removed. KIP-345 (batches), KIP-800 (reasons)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: LeaveGroupRequest
) -> LeaveGroupResponse | Pending[LeaveGroupResponse]:
    return context.node.groups.leave_group(context, request, context.api_version)


def error(request: LeaveGroupRequest, version: int, code: ErrorCode) -> LeaveGroupResponse:
    return LeaveGroupResponse(error_code=code)
