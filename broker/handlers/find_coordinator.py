"""FindCoordinator (10), v0-6: which node coordinates a group or a transactional id. KIP-699 (several keys)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Coordinator = FindCoordinatorResponse.Coordinator
GROUP, TRANSACTION = 0, 1


def handle(broker: Broker, context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    version = context.api_version
    keys = request.coordinator_keys if version >= 4 else [request.key]
    found = [_find(broker, context, key, request.key_type) for key in keys]
    if version >= 4:
        return FindCoordinatorResponse(coordinators=found)
    only = found[0]
    return FindCoordinatorResponse(
        error_code=only.error_code,
        # Kafka's own oddity: a success has the text "NONE" in these versions.
        error_message=only.error_message if only.error_code else "NONE",
        node_id=only.node_id,
        host=only.host,
        port=only.port,
    )


def error(request: FindCoordinatorRequest, version: int, code: ErrorCode) -> FindCoordinatorResponse:
    if version >= 4:
        return FindCoordinatorResponse(coordinators=[_nowhere(key, code, "") for key in request.coordinator_keys])
    return FindCoordinatorResponse(error_code=code, node_id=-1, host="", port=-1)


def _find(broker: Broker, context: Context, key: str, key_type: int) -> Coordinator:
    try:
        if key_type == GROUP:
            node = broker.group_coordinator_node(key)
        elif key_type == TRANSACTION:
            node = broker.transaction_coordinator_node(key)
        else:
            return _nowhere(key, ErrorCode.INVALID_REQUEST, f"coordinator key type {key_type} is not served")
    except KafkaError:
        return _nowhere(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, "")
    host, port = node.endpoint(context.connection)
    return Coordinator(key=key, node_id=node.id, host=host, port=port, error_code=0, error_message="")


def _nowhere(key: str, code: ErrorCode, text: str) -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=code, error_message=text)
