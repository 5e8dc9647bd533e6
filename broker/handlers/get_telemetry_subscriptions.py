"""GetTelemetrySubscriptions (71), v0: which metrics a client instance is to push, and how often. KIP-714."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.client_metrics import ACCEPTED_CODECS, Client
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.get_telemetry_subscriptions import (
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
)

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(
    broker: Broker, context: Context, request: GetTelemetrySubscriptionsRequest
) -> GetTelemetrySubscriptionsResponse:
    metrics = broker.client_metrics
    subscription = metrics.subscribe(client_of(context), request.client_instance_id)
    return GetTelemetrySubscriptionsResponse(
        client_instance_id=subscription.instance_id,
        subscription_id=subscription.id,
        accepted_compression_types=[int(codec) for codec in ACCEPTED_CODECS],
        push_interval_ms=subscription.interval_ms,
        telemetry_max_bytes=metrics.max_bytes,
        delta_temporality=True,
        requested_metrics=subscription.metrics,
    )


def error(
    request: GetTelemetrySubscriptionsRequest, version: int, code: ErrorCode
) -> GetTelemetrySubscriptionsResponse:
    return GetTelemetrySubscriptionsResponse(error_code=code)


def client_of(context: Context) -> Client:
    """Who asks, as subscriptions select clients."""
    connection = context.connection
    name, version = connection.software
    return Client(context.node.id, context.client_id, name, version, connection)
