"""DescribeConfigs (32), v1-4: the configs of topics and of this broker. KIP-226 (synonyms), KIP-569 (types,
documentation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import TOPIC_RESOURCE
from ottla.broker.describe_configs import ConfigEntry
from ottla.broker.names import name_fault
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

Resource = DescribeConfigsRequest.DescribeConfigsResource
Result = DescribeConfigsResponse.DescribeConfigsResult
ConfigResult = DescribeConfigsResponse.DescribeConfigsResourceResult
SynonymResult = DescribeConfigsResponse.DescribeConfigsSynonym
BROKER_RESOURCE = 4


def handle(broker: Broker, context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    results = []
    for resource in request.resources:
        result = Result(resource_type=resource.resource_type, resource_name=resource.resource_name)
        try:
            wanted = set(resource.configuration_keys or ())  # none or an empty list: all
            result.configs = [
                _result(entry, request) for entry in _entries(broker, resource) if not wanted or entry.name in wanted
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


def _entries(broker: Broker, resource: Resource) -> list[ConfigEntry]:
    name = resource.resource_name
    if resource.resource_type == TOPIC_RESOURCE:
        fault = name_fault(name)
        if fault is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
        topic = broker.cluster.topics.get(name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name!r}")
        return broker.config.describe_topic(topic.overrides)
    if resource.resource_type == BROKER_RESOURCE:
        if not name:
            return []  # what is set for all brokers at run time: nothing can be yet
        if name != str(broker.node.id):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"this is broker {broker.node.id}, not {name!r}")
        return broker.config.describe_broker()
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"configs of resource type {resource.resource_type} are not served yet")


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
        documentation=entry.documentation if request.include_documentation else None,
    )
