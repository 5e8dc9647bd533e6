"""Heartbeat (12), v0-4: a member lives, and hears of rebalances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: HeartbeatRequest) -> HeartbeatResponse:
    return context.node.groups.heartbeat(context, request, context.api_version)


def error(request: HeartbeatRequest, version: int, code: ErrorCode) -> HeartbeatResponse:
    return HeartbeatResponse(error_code=code)
