"""InitProducerId, api key 22, versions 0-6 (the last not stable yet), flexible from 2.

Sent by idempotent and transactional producers.
"""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, field


class InitProducerIdRequest(Message):
    """Changes by version.

    v2: flexible
    v3: +producer_id, +producer_epoch
    v6: +enable2_pc, +keep_prepared_txn
    """

    KEY = 22
    VALID = (0, 6)
    FLEXIBLE = 2

    transactional_id: str | None = field("0+", nullable="0+")
    transaction_timeout_ms: Int32 = field("0+")
    producer_id: Int64 = field("3+", default=-1)
    producer_epoch: Int16 = field("3+", default=-1)
    enable2_pc: bool = field("6+")
    keep_prepared_txn: bool = field("6+")


class InitProducerIdResponse(Message):
    """Changes by version.

    v2: flexible
    v6: +ongoing_txn_producer_id, +ongoing_txn_producer_epoch
    """

    KEY = 22
    VALID = (0, 6)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+", ignorable=True)
    error_code: Int16 = field("0+")
    producer_id: Int64 = field("0+", default=-1)
    producer_epoch: Int16 = field("0+")
    ongoing_txn_producer_id: Int64 = field("6+", default=-1)
    ongoing_txn_producer_epoch: Int16 = field("6+", default=-1)
