"""Records of the topic `__transaction_state`: what each transactional id is doing.

KEY is the record type, the int16 before the key's fields; a value begins with its version as int16
(`ottla.wire.state_records` frames both).
"""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, field


class TransactionLogKey(Message):
    """One version."""

    KEY = 0
    VALID = (0, 0)

    transactional_id: str = field("0")


class TransactionLogValue(Message):
    """Changes by version.

    v1: +previous_producer_id, +next_producer_id, +next_producer_epoch, +client_transaction_version, flexible
    """

    KEY = 0
    VALID = (0, 1)
    FLEXIBLE = 1

    producer_id: Int64 = field("0+")
    previous_producer_id: Int64 = field("1+", tag=0, tagged="1+", default=-1)
    next_producer_id: Int64 = field("1+", tag=1, tagged="1+", default=-1)
    producer_epoch: Int16 = field("0+")
    next_producer_epoch: Int16 = field("1+", tag=3, tagged="1+", default=-1)
    transaction_timeout_ms: Int32 = field("0+")
    transaction_status: Int8 = field("0+")
    transaction_partitions: list[PartitionsSchema] | None = field("0+", nullable="0+")
    transaction_last_update_timestamp_ms: Int64 = field("0+")
    transaction_start_timestamp_ms: Int64 = field("0+")
    client_transaction_version: Int16 = field("1+", tag=2, tagged="1+")

    class PartitionsSchema(Struct):
        topic: str = field("0+")
        partition_ids: list[Int32] = field("0+")
