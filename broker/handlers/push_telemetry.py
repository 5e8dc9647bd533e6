"""PushTelemetry (72), v0: a client instance sends its metrics, which are kept to be shown. KIP-714."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.handlers.get_telemetry_subscriptions import client_of
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.push_telemetry import PushTelemetryRequest, PushTelemetryResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context


def handle(broker: Broker, context: Context, request: PushTelemetryRequest) -> PushTelemetryResponse:
    broker.client_metrics.push(
        client_of(context),
        request.client_instance_id,
        request.subscription_id,
        terminating=request.terminating,
        codec=request.compression_type,
        data=bytes(request.metrics),
    )
    return PushTelemetryResponse()


def error(request: PushTelemetryRequest, version: int, code: ErrorCode) -> PushTelemetryResponse:
    return PushTelemetryResponse(error_code=code)
