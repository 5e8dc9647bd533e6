"""GetTelemetrySubscriptions, api key 71, version 0, flexible from 0. Sent by Java clients, if advertised."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Uuid, field


class GetTelemetrySubscriptionsRequest(Message):
    """One version."""

    KEY = 71
    VALID = (0, 0)
    FLEXIBLE = 0

    client_instance_id: Uuid = field("0+")


class GetTelemetrySubscriptionsResponse(Message):
    """One version."""

    KEY = 71
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    client_instance_id: Uuid = field("0+")
    subscription_id: Int32 = field("0+")
    accepted_compression_types: list[Int8] = field("0+")
    push_interval_ms: Int32 = field("0+")
    telemetry_max_bytes: Int32 = field("0+")
    delta_temporality: bool = field("0+")
    requested_metrics: list[str] = field("0+")
