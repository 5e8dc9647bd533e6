"""UnregisterController, api key 94, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, field


class UnregisterControllerRequest(Message):
    """One version."""

    KEY = 94
    VALID = (0, 0)
    FLEXIBLE = 0

    controller_id: Int32 = field("0+")


class UnregisterControllerResponse(Message):
    """One version."""

    KEY = 94
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
