"""DescribeTransactions (65), v0: what transactional ids are doing. KIP-664."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest, DescribeTransactionsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

State = DescribeTransactionsResponse.TransactionState


def handle(broker: Broker, context: Context, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    return context.node.transactions.describe_transactions(request, context.api_version)


def error(request: DescribeTransactionsRequest, version: int, code: ErrorCode) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[State(transactional_id=each, error_code=code) for each in request.transactional_ids]
    )
