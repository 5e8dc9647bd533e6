"""ListTransactions (66), v0-2: the transactional ids that pass some filters. KIP-664, KIP-994, KIP-1152."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_transactions import ListTransactionsRequest, ListTransactionsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: ListTransactionsRequest) -> ListTransactionsResponse:
    return context.node.transactions.list_transactions(request, context.api_version)


def error(request: ListTransactionsRequest, version: int, code: ErrorCode) -> ListTransactionsResponse:
    return ListTransactionsResponse(error_code=code)
