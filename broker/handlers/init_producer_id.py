"""InitProducerId (22), v0-5: a producer id for an idempotent producer, or the next epoch of a transactional one, which
fences all before it. KIP-98, KIP-360.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.coordinator.result import Answer


def handle(broker: Broker, context: Context, request: InitProducerIdRequest) -> Answer[InitProducerIdResponse]:
    if request.transactional_id is not None:
        return context.node.transactions.init_producer_id(request, context.api_version)
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        return error(request, context.api_version, ErrorCode.INVALID_REQUEST)
    return InitProducerIdResponse(producer_id=broker.metadata.new_producer_id(), producer_epoch=0)


def error(request: InitProducerIdRequest, version: int, code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)
