"""ListConfigResources (74), v0-1: which resources have configs that can be described. KIP-1142."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    LOGGER_RESOURCE,
    TOPIC_RESOURCE,
)
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_config_resources import ListConfigResourcesRequest, ListConfigResourcesResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Resource = ListConfigResourcesResponse.ConfigResource
_TYPES = (GROUP_RESOURCE, CLIENT_METRICS_RESOURCE, LOGGER_RESOURCE, BROKER_RESOURCE, TOPIC_RESOURCE)


def handle(broker: Broker, context: Context, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    if context.api_version == 0:
        wanted = {CLIENT_METRICS_RESOURCE}  # ListClientMetricsResources, which it was first
    else:
        wanted = set(request.resource_types or _TYPES)
    if not wanted <= set(_TYPES):
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    return ListConfigResourcesResponse(
        config_resources=[
            Resource(resource_name=name, resource_type=kind)
            for kind in _TYPES
            if kind in wanted
            for name in _names(broker, kind)
        ]
    )


def error(request: ListConfigResourcesRequest, version: int, code: ErrorCode) -> ListConfigResourcesResponse:
    return ListConfigResourcesResponse(error_code=code)


def _names(broker: Broker, kind: int) -> list[str]:
    """Topics and nodes that exist; groups and subscriptions that have configs."""
    if kind == TOPIC_RESOURCE:
        return list(broker.cluster.topics)
    if kind in (BROKER_RESOURCE, LOGGER_RESOURCE):
        return [str(node_id) for node_id in broker.cluster.nodes]
    return [name for each, name in broker.cluster.configs if each == kind]
