"""SaslHandshake, api key 17, versions 0-1, never flexible. Sent by SASL clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Message, field


class SaslHandshakeRequest(Message):
    """The same fields in all versions."""

    KEY = 17
    VALID = (0, 1)

    mechanism: str = field("0+")


class SaslHandshakeResponse(Message):
    """The same fields in all versions."""

    KEY = 17
    VALID = (0, 1)

    error_code: Int16 = field("0+")
    mechanisms: list[str] = field("0+")
