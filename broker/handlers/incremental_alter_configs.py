"""IncrementalAlterConfigs (44), v0-1: set, delete, append to and subtract from single configs. KIP-339."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.alter_configs import Change, alter
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Result = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse


def handle(
    broker: Broker, context: Context, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    wanted = [
        (
            (each.resource_type, each.resource_name),
            [Change(config.name, config.config_operation, config.value) for config in each.configs],
        )
        for each in request.resources
    ]
    return IncrementalAlterConfigsResponse(
        responses=[
            Result(resource_type=kind, resource_name=name, error_code=code, error_message=message)
            for (kind, name), code, message in alter(broker, context.node, wanted, validate_only=request.validate_only)
        ]
    )


def error(request: IncrementalAlterConfigsRequest, version: int, code: ErrorCode) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(
        responses=[
            Result(resource_type=each.resource_type, resource_name=each.resource_name, error_code=code)
            for each in request.resources
        ]
    )
