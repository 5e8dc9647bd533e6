"""AddPartitionsToTxn, api key 24, versions 0-5, flexible from 3. Sent by transactional producers, brokers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class AddPartitionsToTxnRequest(Message):
    """Changes by version.

    v3: flexible
    v4: +transactions, -v3_and_below_transactional_id, -v3_and_below_producer_id, -v3_and_below_producer_epoch,
        -v3_and_below_topics
    """

    KEY = 24
    VALID = (0, 5)
    FLEXIBLE = 3

    transactions: list[AddPartitionsToTxnTransaction] = field("4+")
    v3_and_below_transactional_id: str = field("0-3")
    v3_and_below_producer_id: Int64 = field("0-3")
    v3_and_below_producer_epoch: Int16 = field("0-3")
    v3_and_below_topics: list[AddPartitionsToTxnTopic] = field("0-3")

    class AddPartitionsToTxnTransaction(Struct):
        transactional_id: str = field("4+")
        producer_id: Int64 = field("4+")
        producer_epoch: Int16 = field("4+")
        verify_only: bool = field("4+")
        topics: list[AddPartitionsToTxnRequest.AddPartitionsToTxnTopic] = field("4+")

    class AddPartitionsToTxnTopic(Struct):
        name: str = field("0+")
        partitions: list[Int32] = field("0+")


class AddPartitionsToTxnResponse(Message):
    """Changes by version.

    v3: flexible
    v4: +error_code, +results_by_transaction, -results_by_topic_v3_and_below
    """

    KEY = 24
    VALID = (0, 5)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("4+", ignorable=True)
    results_by_transaction: list[AddPartitionsToTxnResult] = field("4+")
    results_by_topic_v3_and_below: list[AddPartitionsToTxnTopicResult] = field("0-3")

    class AddPartitionsToTxnResult(Struct):
        transactional_id: str = field("4+")
        topic_results: list[AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult] = field("4+")

    class AddPartitionsToTxnTopicResult(Struct):
        name: str = field("0+")
        results_by_partition: list[AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult] = field("0+")

    class AddPartitionsToTxnPartitionResult(Struct):
        partition_index: Int32 = field("0+")
        partition_error_code: Int16 = field("0+")
