"""DescribeClientQuotas (48), v0-1: the limits of those that a filter finds. KIP-546."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.quotas import CLIENT_ID, IP, USER, Entity
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasRequest, DescribeClientQuotasResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Component = DescribeClientQuotasRequest.ComponentData
EXACT, DEFAULT, ANY = 0, 1, 2


def handle(broker: Broker, context: Context, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    try:
        wanted = _checked(request.components)
    except KafkaError as failure:
        refused = error(request, context.api_version, failure.code)
        refused.error_message = failure.message
        return refused
    return DescribeClientQuotasResponse(
        error_message="",
        entries=[
            DescribeClientQuotasResponse.EntryData(
                entity=[
                    DescribeClientQuotasResponse.EntityData(entity_type=kind, entity_name=name) for kind, name in entity
                ],
                values=[DescribeClientQuotasResponse.ValueData(key=key, value=value) for key, value in limits.items()],
            )
            for entity, limits in broker.cluster.quotas
            if _matches(entity, wanted, request.strict)
        ],
    )


def error(request: DescribeClientQuotasRequest, version: int, code: ErrorCode) -> DescribeClientQuotasResponse:
    return DescribeClientQuotasResponse(error_code=code, error_message=None, entries=None)


def _checked(components: list[Component]) -> dict[str, Component]:
    """By entity type. Raises KafkaError UNSUPPORTED_VERSION, INVALID_REQUEST."""
    wanted: dict[str, Component] = {}
    for component in components:
        kind = component.entity_type
        if not kind:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "an entity type is missing")
        if kind not in (USER, CLIENT_ID, IP):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"unknown entity type {kind!r}")
        if kind in wanted:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"the filter names entity type {kind!r} twice")
        if component.match_type not in (EXACT, DEFAULT, ANY):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"unknown match type {component.match_type}")
        if (component.match is not None) != (component.match_type == EXACT):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "an exact match, and only that, names what it matches")
        wanted[kind] = component
    if IP in wanted and len(wanted) > 1:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "an ip cannot be combined with a user or client-id")
    return wanted


def _matches(entity: Entity, wanted: dict[str, Component], strict: bool) -> bool:
    parts = dict(entity)
    if strict and parts.keys() != wanted.keys():
        return False
    for kind, component in wanted.items():
        if kind not in parts:
            return False
        name = parts[kind]
        if component.match_type == EXACT and name != component.match:
            return False
        if component.match_type == DEFAULT and name is not None:
            return False
    return True
