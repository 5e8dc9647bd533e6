"""What clients pushed of their own metrics (KIP-714), as client_metrics.py keeps it."""

from __future__ import annotations

from typing import Any

from ottla.broker.control.routes import Call, Refused, Route


def _instances(call: Call) -> Any:
    return {"instances": call.broker.client_metrics.instances()}


def _metrics(call: Call) -> Any:
    instance = call.params["instance"]
    try:
        payload = call.broker.client_metrics.metrics(instance)
    except ValueError as error:
        raise Refused(f"what {instance} pushed is not OTLP: {error}", 409) from None
    if payload is None:
        raise Refused(f"there is no client instance {instance}; GET /v1/client-metrics lists those that pushed", 404)
    return payload


ROUTES = (
    Route("GET", "/client-metrics", _instances, "Clients that pushed metrics of their own (KIP-714), the latest last."),
    Route("GET", "/client-metrics/{instance}", _metrics, "The metrics that a client instance pushed last."),
)
