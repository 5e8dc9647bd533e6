"""UnregisterBroker (64), v0: forget a broker that is gone. KIP-631."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse:
    if request.broker_id not in broker.cluster.nodes:
        code, text = ErrorCode.BROKER_ID_NOT_REGISTERED, f"no broker {request.broker_id} is registered"
    else:  # it is part of this process, up or down; Kafka forgets it, and it registers again at its next heartbeat
        code, text = ErrorCode.INVALID_REQUEST, f"broker {request.broker_id} is running; stop it first"
    return UnregisterBrokerResponse(error_code=code, error_message=text)


def error(request: UnregisterBrokerRequest, version: int, code: ErrorCode) -> UnregisterBrokerResponse:
    return UnregisterBrokerResponse(error_code=code, error_message=None)
