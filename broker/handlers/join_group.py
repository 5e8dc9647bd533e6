"""JoinGroup (11), v0-9: enter a group or rejoin it; waits until the others have. KIP-394, KIP-345, KIP-800, KIP-814."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: JoinGroupRequest
) -> JoinGroupResponse | Pending[JoinGroupResponse]:
    return context.node.groups.join_group(context, request, context.api_version)


def error(request: JoinGroupRequest, version: int, code: ErrorCode) -> JoinGroupResponse:
    # A null protocol name may only be sent from v7 on.
    return JoinGroupResponse(
        error_code=code,
        generation_id=-1,
        protocol_name=None if version >= 7 else "",
        leader="",
        member_id=request.member_id,
    )
