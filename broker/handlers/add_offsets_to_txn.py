"""AddOffsetsToTxn (25), v0-4: the partition that holds a group's offsets joins a producer's transaction. KIP-98."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.coordinator.result import Answer


def handle(broker: Broker, context: Context, request: AddOffsetsToTxnRequest) -> Answer[AddOffsetsToTxnResponse]:
    return context.node.transactions.add_offsets_to_txn(request, context.api_version, broker.offsets_partition)


def error(request: AddOffsetsToTxnRequest, version: int, code: ErrorCode) -> AddOffsetsToTxnResponse:
    return AddOffsetsToTxnResponse(error_code=code)
