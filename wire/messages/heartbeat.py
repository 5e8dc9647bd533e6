"""Heartbeat, api key 12, versions 0-4, flexible from 4. Sent by classic consumers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, field


class HeartbeatRequest(Message):
    """Changes by version.

    v3: +group_instance_id
    v4: flexible
    """

    KEY = 12
    VALID = (0, 4)
    FLEXIBLE = 4

    group_id: str = field("0+")
    generation_id: Int32 = field("0+")
    member_id: str = field("0+")
    group_instance_id: str | None = field("3+", nullable="3+", default=None)


class HeartbeatResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v4: flexible
    """

    KEY = 12
    VALID = (0, 4)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("0+")
