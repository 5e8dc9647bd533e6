"""ExpireDelegationToken, api key 40, versions 1-2, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, field


class ExpireDelegationTokenRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 40
    VALID = (1, 2)
    FLEXIBLE = 2

    hmac: bytes = field("0+")
    expiry_time_period_ms: Int64 = field("0+")


class ExpireDelegationTokenResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 40
    VALID = (1, 2)
    FLEXIBLE = 2

    error_code: Int16 = field("0+")
    expiry_timestamp_ms: Int64 = field("0+")
    throttle_time_ms: Int32 = field("0+")
