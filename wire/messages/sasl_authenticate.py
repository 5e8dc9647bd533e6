"""SaslAuthenticate, api key 36, versions 0-2, flexible from 2. Sent by SASL clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int64, Message, field


class SaslAuthenticateRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 36
    VALID = (0, 2)
    FLEXIBLE = 2

    auth_bytes: bytes = field("0+")


class SaslAuthenticateResponse(Message):
    """Changes by version.

    v1: +session_lifetime_ms
    v2: flexible
    """

    KEY = 36
    VALID = (0, 2)
    FLEXIBLE = 2

    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    auth_bytes: bytes = field("0+")
    session_lifetime_ms: Int64 = field("1+", ignorable=True)
