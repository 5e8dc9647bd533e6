"""DescribeConfigs: which resources answer, values, sources and synonyms, as Kafka 4.4.0 tells them."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_configs import DescribeConfigsRequest
from tests.broker.conftest import Client, Launcher, Running

Resource = DescribeConfigsRequest.DescribeConfigsResource
TOPIC, BROKER = 2, 4
OVERRIDE, STATIC, DEFAULT = 1, 4, 5
BOOLEAN, STRING, INT, LONG, DOUBLE, LIST, PASSWORD = 1, 2, 3, 5, 6, 7, 9
SETTINGS = {"log.retention.hours": "24", "log.segment.bytes": "2000000", "compression.type": "gzip"}
OVERRIDES: dict[str, str | None] = {
    "cleanup.policy": " compact , delete,compact",
    "retention.ms": " 07 ",
    "preallocate": "TRUE",
}


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    running = await launcher.start(SETTINGS)
    metadata = running.broker.metadata
    metadata.create_topic(
        metadata.plan_topic("own", overrides=metadata.plan_topic("own", overrides=OVERRIDES).overrides)
    )
    metadata.create_topic(metadata.plan_topic("plain"))
    return running


async def describe(client: Client, kind: int, name: str, *keys: str, version: int = 4, **options: bool) -> Any:
    resource = Resource(resource_type=kind, resource_name=name, configuration_keys=list(keys))
    response = await client.ask(DescribeConfigsRequest(resources=[resource], **options), version)
    [result] = response.results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


# (type, name, code)
RESOURCES = [
    (TOPIC, "plain", 0),
    (TOPIC, "nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    (TOPIC, "bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
    (TOPIC, "", ErrorCode.INVALID_TOPIC_EXCEPTION),
    (BROKER, "1", 0),
    (BROKER, "", 0),
    (BROKER, "99", ErrorCode.INVALID_REQUEST),
    (BROKER, "-1", ErrorCode.INVALID_REQUEST),
    (BROKER, "abc", ErrorCode.INVALID_REQUEST),
    (0, "x", ErrorCode.INVALID_REQUEST),
    (3, "x", ErrorCode.INVALID_REQUEST),
]


@pytest.mark.parametrize(("kind", "name", "code"), RESOURCES)
async def test_resources(running: Running, kind: int, name: str, code: int) -> None:
    async with await running.client() as client:
        result = await describe(client, kind, name)
        assert result.error_code == code
        assert bool(result.configs) == (not code and name != "")
        assert bool(result.error_message) == bool(code)
        assert result.error_message is not None


# (topic, config, value, source, type, synonyms)
CONFIGS: list[tuple[str, str, str, int, int, list[tuple[str, str, int]]]] = [
    (
        "own",
        "retention.ms",
        "7",
        OVERRIDE,
        LONG,
        [("retention.ms", "7", OVERRIDE)],
    ),
    (
        "own",
        "cleanup.policy",
        "compact,delete",
        OVERRIDE,
        LIST,
        [("cleanup.policy", "compact,delete", OVERRIDE), ("log.cleanup.policy", "delete", DEFAULT)],
    ),
    (
        "own",
        "preallocate",
        "true",
        OVERRIDE,
        BOOLEAN,
        [("preallocate", "true", OVERRIDE), ("log.preallocate", "false", DEFAULT)],
    ),
    ("plain", "retention.ms", str(86_400_000), DEFAULT, LONG, []),
    (
        "plain",
        "segment.bytes",
        "2000000",
        STATIC,
        INT,
        [("log.segment.bytes", "2000000", STATIC), ("log.segment.bytes", "1073741824", DEFAULT)],
    ),
    (
        "plain",
        "compression.type",
        "gzip",
        STATIC,
        STRING,
        [("compression.type", "gzip", STATIC), ("compression.type", "producer", DEFAULT)],
    ),
    ("plain", "flush.ms", str(2**63 - 1), DEFAULT, LONG, []),
    (
        "plain",
        "min.cleanable.dirty.ratio",
        "0.5",
        DEFAULT,
        DOUBLE,
        [("log.cleaner.min.cleanable.ratio", "0.5", DEFAULT)],
    ),
    ("plain", "leader.replication.throttled.replicas", "", DEFAULT, LIST, []),
]


@pytest.mark.parametrize(("topic", "name", "value", "source", "kind", "synonyms"), CONFIGS)
async def test_topic_configs(
    running: Running, topic: str, name: str, value: str, source: int, kind: int, synonyms: list[tuple[str, str, int]]
) -> None:
    async with await running.client() as client:
        [config] = (await describe(client, TOPIC, topic, name, "no.such", include_synonyms=True)).configs
        assert (config.name, config.value, config.config_source, config.config_type) == (name, value, source, kind)
        assert (config.read_only, config.is_sensitive, config.documentation) == (False, False, None)
        assert [(each.name, each.value, each.source) for each in config.synonyms] == synonyms
        [config] = (await describe(client, TOPIC, topic, name, include_documentation=True)).configs
        assert config.synonyms == []
        assert config.documentation
        [config] = (await describe(client, TOPIC, topic, name, version=1)).configs
        assert (config.name, config.value, config.config_source) == (name, value, source)


# (config, value, source, read only)
BROKER_CONFIGS = [
    ("log.retention.hours", "24", STATIC, True),
    ("log.retention.ms", None, DEFAULT, False),
    ("message.max.bytes", "1048588", DEFAULT, False),
    ("node.id", "1", DEFAULT, True),
]


@pytest.mark.parametrize(("name", "value", "source", "read_only"), BROKER_CONFIGS)
async def test_broker_configs(running: Running, name: str, value: str | None, source: int, read_only: bool) -> None:
    async with await running.client() as client:
        [config] = (await describe(client, BROKER, "1", name, include_synonyms=True)).configs
        assert (config.value, config.config_source, config.read_only) == (value, source, read_only)


async def test_passwords_are_not_told(launcher: Launcher) -> None:
    running = await launcher.start({"ssl.keystore.password": "secret"})
    async with await running.client() as client:
        [config] = (await describe(client, BROKER, "1", "ssl.keystore.password", include_synonyms=True)).configs
        assert (config.value, config.is_sensitive, config.config_type) == (None, True, PASSWORD)
        assert [(each.value, each.source) for each in config.synonyms] == [(None, STATIC)]


async def test_each_resource_is_answered(running: Running) -> None:
    async with await running.client() as client:
        same = [Resource(resource_type=TOPIC, resource_name="plain", configuration_keys=["flush.ms"])] * 2
        response = await client.ask(DescribeConfigsRequest(resources=same), 4)
        assert [len(result.configs) for result in response.results] == [1, 1]
        everything = Resource(resource_type=TOPIC, resource_name="plain", configuration_keys=None)
        [result] = (await client.ask(DescribeConfigsRequest(resources=[everything]), 4)).results
        assert len(result.configs) == 37
        assert (await client.ask(DescribeConfigsRequest(), 4)).results == []


async def test_an_unknown_type_refuses_all_that_is_asked(running: Running) -> None:
    """As Apache Kafka 4.4.0 does."""
    asked = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.DescribeConfigsResource(resource_type=kind, resource_name=name)
            for kind, name in ((4, "1"), (99, "x"))
        ]
    )
    async with await running.client() as client:
        answer = await client.ask(asked, 4)
    assert [(one.resource_type, one.error_code, one.configs) for one in answer.results] == [(4, 42, []), (99, 42, [])]
