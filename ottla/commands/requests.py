"""What the public face of kafka-python's admin client leaves out, asked through its connections: the one module that
knows these.
"""

from __future__ import annotations

from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.protocol.admin import DescribeConfigsRequest, IncrementalAlterConfigsRequest
from kafka.protocol.api_message import ApiMessage

_SCHEMAS = "ottla.commands.schemas"


class ConsumerGroupDescribeRequest(ApiMessage, load_json=_SCHEMAS):  # type: ignore[misc, call-arg]
    """KIP-848: what DescribeGroups is for groups of the consumer protocol."""


class ConsumerGroupDescribeResponse(ApiMessage, load_json=_SCHEMAS):  # type: ignore[misc, call-arg]
    """The answer to it."""


def ask(client: KafkaAdminClient, request: ApiMessage, node_id: int | None = None) -> Any:
    """The answer to `request` from a node, any node if `node_id` is None. Raises KafkaError."""
    return client._manager.run(client._manager.send, request, node_id)


def coordinators(client: KafkaAdminClient, groups: list[str]) -> dict[str, int]:
    """The coordinator of each group. Raises KafkaError."""
    found: dict[str, int] = client._manager.run(client._find_coordinator_ids, groups)
    return found


def describe_consumer_groups(client: KafkaAdminClient, groups: list[str], node_id: int) -> list[Any]:
    """The descriptions of groups of the consumer protocol, all coordinated by one node. Raises KafkaError."""
    request = ConsumerGroupDescribeRequest(group_ids=groups, include_authorized_operations=False)
    return list(ask(client, request, node_id).groups)


def describe_configs(client: KafkaAdminClient, resources: list[tuple[int, str]], node_id: int | None) -> list[Any]:
    """Each resource's settings, with documentation where the broker has it. Raises KafkaError."""
    request = DescribeConfigsRequest(
        resources=[(kind, name, None) for kind, name in resources],
        include_synonyms=False,
        include_documentation=True,
        min_version=1,
    )
    return list(ask(client, request, node_id).results)


def alter_configs(
    client: KafkaAdminClient, kind: int, name: str, changes: list[tuple[str, int, str | None]], node_id: int | None
) -> tuple[int, str | None]:
    """Changes settings of one resource: (name, 0 set or 1 unset, value). The error code and the broker's words."""
    request = IncrementalAlterConfigsRequest(resources=[(kind, name, changes)], validate_only=False)
    answer = ask(client, request, node_id).responses[0]
    return answer.error_code, answer.error_message
