"""DescribeTransactions, api key 65, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class DescribeTransactionsRequest(Message):
    """One version."""

    KEY = 65
    VALID = (0, 0)
    FLEXIBLE = 0

    transactional_ids: list[str] = field("0+")


class DescribeTransactionsResponse(Message):
    """One version."""

    KEY = 65
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    transaction_states: list[TransactionState] = field("0+")

    class TransactionState(Struct):
        error_code: Int16 = field("0+")
        transactional_id: str = field("0+")
        transaction_state: str = field("0+")
        transaction_timeout_ms: Int32 = field("0+")
        transaction_start_time_ms: Int64 = field("0+")
        producer_id: Int64 = field("0+")
        producer_epoch: Int16 = field("0+")
        topics: list[DescribeTransactionsResponse.TopicData] = field("0+")

    class TopicData(Struct):
        topic: str = field("0+")
        partitions: list[Int32] = field("0+")
