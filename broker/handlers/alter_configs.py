"""AlterConfigs (33), v0-2: all configs of a resource at once; what is not named is deleted. KIP-133."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.alter_configs import Change, Operation, alter
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Result = AlterConfigsResponse.AlterConfigsResourceResponse


def handle(broker: Broker, context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse:
    wanted = [
        (
            (each.resource_type, each.resource_name),
            [Change(config.name, Operation.SET, config.value) for config in each.configs],
        )
        for each in request.resources
    ]
    return AlterConfigsResponse(
        responses=[
            Result(resource_type=kind, resource_name=name, error_code=code, error_message=message)
            for (kind, name), code, message in alter(
                broker, context.node, wanted, validate_only=request.validate_only, replace=True
            )
        ]
    )


def error(request: AlterConfigsRequest, version: int, code: ErrorCode) -> AlterConfigsResponse:
    return AlterConfigsResponse(
        responses=[
            Result(resource_type=each.resource_type, resource_name=each.resource_name, error_code=code)
            for each in request.resources
        ]
    )
