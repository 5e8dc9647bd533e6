"""PushTelemetry, api key 72, version 0, flexible from 0. Sent by Java clients, if advertised."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Uuid, field


class PushTelemetryRequest(Message):
    """One version."""

    KEY = 72
    VALID = (0, 0)
    FLEXIBLE = 0

    client_instance_id: Uuid = field("0+")
    subscription_id: Int32 = field("0+")
    terminating: bool = field("0+")
    compression_type: Int8 = field("0+")
    metrics: bytes = field("0+")


class PushTelemetryResponse(Message):
    """One version."""

    KEY = 72
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
