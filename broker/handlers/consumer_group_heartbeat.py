"""ConsumerGroupHeartbeat (68), v0-1: join, stay in and leave a group whose partitions the broker assigns. KIP-848."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.features import GROUP_VERSION, level
from ottla.coordinator.result import Answer
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: ConsumerGroupHeartbeatRequest
) -> Answer[ConsumerGroupHeartbeatResponse]:
    if not is_enabled(broker):
        return error(request, context.api_version, ErrorCode.UNSUPPORTED_VERSION)
    return context.node.groups.consumer_group_heartbeat(context, request, context.api_version)


def error(request: ConsumerGroupHeartbeatRequest, version: int, code: ErrorCode) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code)


def is_enabled(broker: Broker) -> bool:
    """Neither the cluster's group.version nor this broker's settings have turned consumer groups off."""
    protocols = broker.config.group_coordinator_rebalance_protocols
    return "consumer" in protocols and level(broker.cluster, GROUP_VERSION) >= 1
