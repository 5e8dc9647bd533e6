"""DescribeConfigs (32), v1-4: the configs of topics, of this broker and its loggers, of groups and client metrics.

KIP-226 (synonyms), KIP-569 (types, documentation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker import describe_configs
from ottla.broker.cluster import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    LOGGER_RESOURCE,
    TOPIC_RESOURCE,
)
from ottla.broker.describe_configs import ConfigEntry
from ottla.broker.names import name_fault
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.broker.nodes import Node

Resource = DescribeConfigsRequest.DescribeConfigsResource
_TYPES = frozenset((TOPIC_RESOURCE, BROKER_RESOURCE, LOGGER_RESOURCE, GROUP_RESOURCE, CLIENT_METRICS_RESOURCE))
Result = DescribeConfigsResponse.DescribeConfigsResult
ConfigResult = DescribeConfigsResponse.DescribeConfigsResourceResult
SynonymResult = DescribeConfigsResponse.DescribeConfigsSynonym


def handle(broker: Broker, context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    unknown = {resource.resource_type for resource in request.resources} - _TYPES
    if unknown:  # it refuses all that was asked, as in Kafka
        refusal = error(request, context.api_version, ErrorCode.INVALID_REQUEST)
        for result in refusal.results:
            result.error_message = f"Unsupported resource type: {min(unknown)}"
        return refusal
    results = []
    for resource in request.resources:
        result = Result(resource_type=resource.resource_type, resource_name=resource.resource_name)
        try:
            wanted = set(resource.configuration_keys or ())  # none or an empty list: all
            result.configs = [
                _result(entry, request)
                for entry in _entries(broker, context.node, resource)
                if not wanted or entry.name in wanted
            ]
        except KafkaError as failure:
            result.error_code, result.error_message = failure.code, failure.message or None
        results.append(result)
    return DescribeConfigsResponse(results=results)


def error(request: DescribeConfigsRequest, version: int, code: ErrorCode) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(
        results=[
            Result(error_code=code, resource_type=each.resource_type, resource_name=each.resource_name)
            for each in request.resources
        ]
    )


def _entries(broker: Broker, node: Node, resource: Resource) -> list[ConfigEntry]:
    name, config = resource.resource_name, broker.configs.settings_of(node)
    if resource.resource_type == TOPIC_RESOURCE:
        fault = name_fault(name)
        if fault is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
        topic = broker.cluster.topics.get(name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name!r}")
        return config.describe_topic(topic.overrides)
    if resource.resource_type == BROKER_RESOURCE:
        if not name:
            return describe_configs.describe_broker_defaults(config)
        _check_node(node, name)
        return config.describe_broker()
    if resource.resource_type == LOGGER_RESOURCE:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
        _check_node(node, name)
        return describe_configs.describe_loggers(broker.configs.loggers)
    overrides = broker.cluster.configs.get((resource.resource_type, name), {})
    if resource.resource_type == GROUP_RESOURCE:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
        return describe_configs.describe_group(overrides, config)
    if not name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
    return describe_configs.describe_client_metrics(overrides)


def _check_node(node: Node, name: str) -> None:
    """Raises KafkaError INVALID_REQUEST unless `name` is the id of `node`."""
    try:
        node_id = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}") from None
    if node_id != node.id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {node.id} but received {name}")


def _result(entry: ConfigEntry, request: DescribeConfigsRequest) -> ConfigResult:
    return ConfigResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=(
            [SynonymResult(name=each.name, value=each.value, source=each.source) for each in entry.synonyms]
            if request.include_synonyms
            else []
        ),
        config_type=entry.type_code,
        documentation=entry.documentation if request.include_documentation or entry.documentation == "" else None,
    )
