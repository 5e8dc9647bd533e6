"""EndTxn, api key 26, versions 0-5, flexible from 3. Sent by transactional producers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, field


class EndTxnRequest(Message):
    """Changes by version.

    v3: flexible
    """

    KEY = 26
    VALID = (0, 5)
    FLEXIBLE = 3

    transactional_id: str = field("0+")
    producer_id: Int64 = field("0+")
    producer_epoch: Int16 = field("0+")
    committed: bool = field("0+")


class EndTxnResponse(Message):
    """Changes by version.

    v3: flexible
    v5: +producer_id, +producer_epoch
    """

    KEY = 26
    VALID = (0, 5)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    producer_id: Int64 = field("5+", default=-1, ignorable=True)
    producer_epoch: Int16 = field("5+", default=-1, ignorable=True)
