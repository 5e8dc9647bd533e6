"""AddOffsetsToTxn, api key 25, versions 0-4, flexible from 3. Sent by transactional producers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, field


class AddOffsetsToTxnRequest(Message):
    """Changes by version.

    v3: flexible
    """

    KEY = 25
    VALID = (0, 4)
    FLEXIBLE = 3

    transactional_id: str = field("0+")
    producer_id: Int64 = field("0+")
    producer_epoch: Int16 = field("0+")
    group_id: str = field("0+")


class AddOffsetsToTxnResponse(Message):
    """Changes by version.

    v3: flexible
    """

    KEY = 25
    VALID = (0, 4)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
