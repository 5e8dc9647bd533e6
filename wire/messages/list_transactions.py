"""ListTransactions, api key 66, versions 0-2, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class ListTransactionsRequest(Message):
    """Changes by version.

    v1: +duration_filter
    v2: +transactional_id_pattern
    """

    KEY = 66
    VALID = (0, 2)
    FLEXIBLE = 0

    state_filters: list[str] = field("0+")
    producer_id_filters: list[Int64] = field("0+")
    duration_filter: Int64 = field("1+", default=-1)
    transactional_id_pattern: str | None = field("2+", nullable="2+", default=None)


class ListTransactionsResponse(Message):
    """The same fields in all versions."""

    KEY = 66
    VALID = (0, 2)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    unknown_state_filters: list[str] = field("0+")
    transaction_states: list[TransactionState] = field("0+")

    class TransactionState(Struct):
        transactional_id: str = field("0+")
        producer_id: Int64 = field("0+")
        transaction_state: str = field("0+")
