"""EndTxn (26), v0-5: commit or abort a transaction. KIP-98; from v5 on the producer gets its next epoch (KIP-890)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.end_txn import EndTxnRequest, EndTxnResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.coordinator.result import Answer


def handle(broker: Broker, context: Context, request: EndTxnRequest) -> Answer[EndTxnResponse]:
    return context.node.transactions.end_txn(request, context.api_version)


def error(request: EndTxnRequest, version: int, code: ErrorCode) -> EndTxnResponse:
    return EndTxnResponse(error_code=code)
