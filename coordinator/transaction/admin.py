"""What DescribeTransactions and ListTransactions say of transactional ids. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ottla.coordinator.regex import compile_regex
from ottla.coordinator.transaction.records import by_topic
from ottla.coordinator.transaction.state import Transaction, TransactionState
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_transactions import DescribeTransactionsResponse
from ottla.wire.messages.list_transactions import ListTransactionsRequest, ListTransactionsResponse

_STATES = {state.label: state for state in TransactionState}


def described(transactional_id: str, transaction: Transaction | None) -> DescribeTransactionsResponse.TransactionState:
    """One transactional id."""
    if not transactional_id:
        return refused(transactional_id, ErrorCode.INVALID_REQUEST)
    if transaction is None:
        return refused(transactional_id, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
    return DescribeTransactionsResponse.TransactionState(
        transactional_id=transactional_id,
        transaction_state=transaction.state.label,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_start_time_ms=transaction.start_ms,
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        topics=[
            DescribeTransactionsResponse.TopicData(topic=topic, partitions=partitions)
            for topic, partitions in by_topic(transaction.partitions).items()
        ],
    )


def refused(transactional_id: str, code: ErrorCode) -> DescribeTransactionsResponse.TransactionState:
    """One transactional id that cannot be described."""
    return DescribeTransactionsResponse.TransactionState(transactional_id=transactional_id, error_code=code)


def listed(
    transactions: Iterable[tuple[str, Transaction]], request: ListTransactionsRequest, now_ms: int
) -> ListTransactionsResponse:
    """The transactional ids that pass all filters; a filter that is empty lets all pass.

    A state that does not exist is named in the answer, and passes nothing. Raises KafkaError
    INVALID_REGULAR_EXPRESSION.
    """
    matches = _matcher(request.transactional_id_pattern)
    states = {_STATES[name] for name in request.state_filters if name in _STATES}
    producer_ids = set(request.producer_id_filters)
    return ListTransactionsResponse(
        unknown_state_filters=[name for name in dict.fromkeys(request.state_filters) if name not in _STATES],
        transaction_states=[
            ListTransactionsResponse.TransactionState(
                transactional_id=transactional_id,
                producer_id=transaction.producer_id,
                transaction_state=transaction.state.label,
            )
            for transactional_id, transaction in transactions
            if (not request.state_filters or transaction.state in states)
            and (not producer_ids or transaction.producer_id in producer_ids)
            and (request.duration_filter < 0 or now_ms - transaction.start_ms > request.duration_filter)
            and matches(transactional_id)
        ],
    )


def _matcher(pattern: str | None) -> Callable[[str], bool]:
    if not pattern:
        return lambda transactional_id: True
    compiled = compile_regex(pattern)
    return lambda transactional_id: compiled.fullmatch(transactional_id) is not None
