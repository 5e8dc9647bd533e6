"""AlterConfigs, IncrementalAlterConfigs and ListConfigResources: what may be set, that it lasts, and that it acts.

data/alter_configs.jsonl.gz: what Apache Kafka 4.4.0 answered to 221 requests on a fresh node, in the order asked; each
answer is compared whole, texts included, but for the documentation.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.alter_configs import Operation
from ottla.broker.cluster import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    LOGGER_RESOURCE,
    TOPIC_RESOURCE,
)
from ottla.log.cleaner_manager import CleanerManager
from ottla.log.clock import ManualClock
from ottla.log.store import Store
from ottla.wire.apis import API
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import produce
from tests.broker.test_describe_configs import describe
from tests.broker.test_observed import build, key_of, plain, snake

DATA = Path(__file__).parent / "data" / "alter_configs.jsonl.gz"
SET, DELETE = Operation.SET, Operation.DELETE
# As the node that was asked.
SETTINGS = {"log.retention.hours": "168", "log.segment.bytes": "1073741824"}

_WORDS = "the words are Ottla's own"
_MIN_ISR = "Kafka guards min.insync.replicas while it keeps eligible leader replicas (KIP-966), which one node has not"
_MESSAGE = "Responses[0].ErrorMessage"
_INTERVAL = "group.consumer.assignment.interval.ms is 0 here, 1000 in Kafka"
_INTERVAL_0 = {"Results[0].Configs[0].Value": "0", "Results[0].Configs[0].Synonyms[0].Value": "0"}
# By scenario: why Ottla answers otherwise, and what it says there.
DIFFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "topic lag order": (
        _WORDS,
        {_MESSAGE: "min.compaction.lag.ms (100) must not be larger than max.compaction.lag.ms (50)"},
    ),
    "topic remote": (_WORDS, {_MESSAGE: "Tiered storage is not served here: remote.storage.enable must stay false"}),
    "topic bad name": (_WORDS, {_MESSAGE: "a topic name consists of ASCII letters, digits, '.', '_' and '-'"}),
    "topic throttled bad": (
        _WORDS,
        {
            _MESSAGE: "Invalid value x for configuration leader.replication.throttled.replicas: Value must be the"
            " literal '*' or a list [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        },
    ),
    "broker retention zero": (
        _WORDS,
        {_MESSAGE: "log.retention.ms must be at least 1, or -1 to keep records for ever"},
    ),
    "broker dedupe too small": (
        _WORDS,
        {_MESSAGE: "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
    ),
    "broker threads double": (
        _WORDS,
        {
            _MESSAGE: "Dynamic thread count update validation failed for num.io.threads=100, value should not be"
            " greater than double the current value 8"
        },
    ),
    "broker group dynamic out of range": (
        _WORDS,
        {
            _MESSAGE: "group.consumer.assignment.interval.ms=200000 must be less than or equal to"
            " group.consumer.max.assignment.interval.ms=15000"
        },
    ),
    "group share reset": (
        _WORDS,
        {
            _MESSAGE: "Invalid value sometimes for configuration share.auto.offset.reset: Value must be earliest,"
            " latest or of the format by_duration:<PnDTnHnMn.nS>"
        },
    ),
    "group share reset bad duration": (
        _WORDS,
        {
            _MESSAGE: "Invalid value by_duration:1h for configuration share.auto.offset.reset: Value must be earliest,"
            " latest or of the format by_duration:<PnDTnHnMn.nS>"
        },
    ),
    "broker group dynamic describe": (_INTERVAL, {"Results[0].Configs[0].Synonyms[1].Value": "0"}),
    "broker group dynamic group": (_INTERVAL, {"Results[0].Configs[0].Synonyms[1].Value": "0"}),
    "group describe all": (_INTERVAL, {"Results[0].Configs[0].Value": "0"}),
    "group describe all synonyms": (_INTERVAL, _INTERVAL_0),
    "group describe after": (_INTERVAL, _INTERVAL_0),
    "logger describe": ("Ottla has one logger", {"Results[0].Configs.length": 1}),
    "broker min isr delete": (_MIN_ISR, {"Responses[0].ErrorCode": 0, _MESSAGE: None}),
    "broker min isr own": (_MIN_ISR, {"Responses[0].ErrorCode": 0, _MESSAGE: None}),
    "broker describe two": (
        _MIN_ISR,
        {
            "Results[1].Configs.length": 0,
            **{
                f"Results[{at}].Configs[0].{field}": 2
                for at in (0, 2)
                for field in ("ConfigSource", "Synonyms[0].Source")
            },
            **{f"Results[{at}].Configs[0].{field}": "2" for at in (0, 2) for field in ("Value", "Synonyms[0].Value")},
        },
    ),
}


def differences(theirs: Any, ours: Any, path: str = "") -> dict[str, Any]:
    """path -> ours, wherever the two differ; configs and resources in any order."""
    if isinstance(theirs, dict):
        return {
            where: value
            for name, inner in theirs.items()
            if name != "Documentation"
            for where, value in differences(inner, ours[snake(name)], f"{path}.{name}".lstrip(".")).items()
        }
    if isinstance(theirs, list):
        if len(theirs) != len(ours):
            return {f"{path}.length": len(ours)}
        if path.endswith((".Configs", "ConfigResources")):
            theirs, ours = (
                sorted(each, key=lambda item: [str(item.get(key)) for key in keys])
                for each, keys in (
                    (theirs, ("Name", "ResourceType", "ResourceName")),
                    (ours, ("name", "resource_type", "resource_name")),
                )
            )
        return {
            where: value
            for number, (their, our) in enumerate(zip(theirs, ours, strict=True))
            for where, value in differences(their, our, f"{path}[{number}]").items()
        }
    return {} if theirs == ours else {path: ours}


async def test_every_answer_is_that_of_kafka(launcher: Launcher) -> None:
    running = await launcher.start(SETTINGS)
    metadata = running.broker.metadata
    for name in ("ct", "cu"):
        metadata.create_topic(metadata.plan_topic(name))
    wrong: list[str] = []
    differing = set()
    async with await running.client() as client:
        with gzip.open(DATA, "rt", encoding="utf-8") as file:
            for line in file:
                exchange = json.loads(line)
                request = build(API[key_of(exchange["api"])].request, exchange["request"], lambda _, value: value)
                answer = plain(await client.ask(request, exchange["version"]))
                found = differences(exchange["response"], answer)
                scenario = exchange["scenario"]
                if found and found == DIFFERENCES.get(scenario, ("", {}))[1]:
                    differing.add(scenario)
                elif found:
                    wrong.append(f"{scenario}: {found}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert differing == DIFFERENCES.keys(), "no longer different"
    assert "request failed" not in running.log_text


# ── that it lasts, and that it acts ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    running = await launcher.start()
    metadata = running.broker.metadata
    for name in ("own", "plain"):
        metadata.create_topic(metadata.plan_topic(name))
    return running


@pytest.fixture
async def client(running: Running) -> AsyncIterator[Client]:
    async with await running.client() as client:
        yield client


async def alter(client: Client, kind: int, name: str, *configs: tuple[str, int, str | None]) -> tuple[int, str | None]:
    """(code, message)"""
    request = IncrementalAlterConfigsRequest(
        resources=[
            IncrementalAlterConfigsRequest.AlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    IncrementalAlterConfigsRequest.AlterableConfig(name=config, config_operation=operation, value=value)
                    for config, operation, value in configs
                ],
            )
        ]
    )
    [answer] = (await client.ask(request, 1)).responses
    return answer.error_code, answer.error_message


async def put(client: Client, kind: int, name: str, config: str, value: str) -> None:
    assert await alter(client, kind, name, (config, SET, value)) == (0, None)


async def value_of(client: Client, kind: int, name: str, config: str) -> tuple[str, int]:
    """(value, source)"""
    [entry] = (await describe(client, kind, name, config)).configs
    return entry.value, entry.config_source


async def produced(client: Client, topic: str, size: int) -> int:
    response = await client.ask(produce(topic, b"v" * size), 9)
    return int(response.responses[0].partition_responses[0].error_code)


async def test_a_limit_of_a_topic_holds_at_once(client: Client) -> None:
    assert await produced(client, "own", 500) == 0
    await put(client, TOPIC_RESOURCE, "own", "max.message.bytes", "200")
    assert await produced(client, "own", 500) == ErrorCode.MESSAGE_TOO_LARGE
    assert await produced(client, "plain", 500) == 0
    assert await alter(client, TOPIC_RESOURCE, "own", ("max.message.bytes", DELETE, None)) == (0, None)
    assert await produced(client, "own", 500) == 0


@pytest.mark.parametrize("broker", ["1", ""])
async def test_a_setting_of_the_broker_is_the_default_of_topics(client: Client, broker: str) -> None:
    await put(client, TOPIC_RESOURCE, "own", "max.message.bytes", "1000")
    await put(client, BROKER_RESOURCE, broker, "message.max.bytes", "200")
    assert await produced(client, "plain", 500) == ErrorCode.MESSAGE_TOO_LARGE
    assert await produced(client, "own", 500) == 0
    assert await value_of(client, TOPIC_RESOURCE, "plain", "max.message.bytes") == ("200", 2 if broker else 3)
    assert await alter(client, BROKER_RESOURCE, broker, ("message.max.bytes", DELETE, None)) == (0, None)
    assert await produced(client, "plain", 500) == 0


async def test_a_new_topic_gets_the_defaults_of_now(running: Running, client: Client) -> None:
    await put(client, BROKER_RESOURCE, "", "log.cleaner.max.compaction.lag.ms", "50")
    metadata = running.broker.metadata
    with pytest.raises(KafkaError, match=r"min\.compaction\.lag\.ms"):
        metadata.plan_topic("new", overrides={"min.compaction.lag.ms": "100"})
    topic = metadata.create_topic(metadata.plan_topic("new"))
    assert topic.partitions[0].log.config.max_compaction_lag_ms == 50


async def test_old_records_go_when_the_brokers_retention_shrinks(launcher: Launcher) -> None:
    running = await launcher.start({"log.segment.bytes": "1048576", "log.retention.ms": "-1"})
    metadata = running.broker.metadata
    log = metadata.create_topic(metadata.plan_topic("t")).partitions[0].log
    async with await running.client() as client:
        for _ in range(3):
            assert await produced(client, "t", 600_000) == 0
        running.broker.store.apply_retention()
        assert log.log_start_offset == 0
        await put(client, BROKER_RESOURCE, "", "log.retention.bytes", "700000")
        running.broker.store.apply_retention()
        assert log.log_start_offset == 1


async def test_what_was_set_lasts(launcher: Launcher) -> None:
    running = await launcher.start()
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t"))
    everything = [
        (TOPIC_RESOURCE, "t", "flush.ms", "5", 1),
        (BROKER_RESOURCE, "1", "message.max.bytes", "200", 2),
        (BROKER_RESOURCE, "", "log.retention.ms", "7000", 3),
        (GROUP_RESOURCE, "g", "consumer.session.timeout.ms", "50000", 8),
        (CLIENT_METRICS_RESOURCE, "m", "interval.ms", "1000", 7),
    ]
    async with await running.client() as client:
        for kind, name, config, value, _ in everything:
            await put(client, kind, name, config, value)
        await put(client, LOGGER_RESOURCE, "1", "root", "ERROR")
    for _ in range(2):
        await launcher.stop()
        running = await launcher.start()
        async with await running.client() as client:
            for kind, name, config, value, source in everything:
                assert await value_of(client, kind, name, config) == (value, source)
            assert await produced(client, "t", 500) == ErrorCode.MESSAGE_TOO_LARGE
            assert await value_of(client, LOGGER_RESOURCE, "1", "root") == ("DEBUG", 6)  # as it was started
        assert running.broker.configs.of("g").session_timeout_ms == 50_000


async def test_a_change_that_cannot_be_written_is_none(
    running: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(running.broker.metadata, "_commit", refuse)
        for kind, name, config in (
            (TOPIC_RESOURCE, "plain", "flush.ms"),
            (BROKER_RESOURCE, "", "log.retention.ms"),
            (GROUP_RESOURCE, "g", "consumer.session.timeout.ms"),
        ):
            answer = await alter(client, kind, name, (config, SET, "50000"))
            assert answer == (ErrorCode.KAFKA_STORAGE_ERROR, "the disk is full")
    assert (await value_of(client, TOPIC_RESOURCE, "plain", "flush.ms"))[1] == 5
    assert (await value_of(client, BROKER_RESOURCE, "1", "log.retention.ms"))[1] == 5
    assert (await value_of(client, GROUP_RESOURCE, "g", "consumer.session.timeout.ms"))[1] == 5


async def test_listeners_stay_as_they_were_at_the_start(client: Client) -> None:
    """Kafka opens and closes them at once."""
    for name, value in (("listeners", "PLAINTEXT://:9"), ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT")):
        code, message = await alter(client, BROKER_RESOURCE, "1", (name, SET, value))
        assert code == ErrorCode.INVALID_REQUEST
        assert message == f"Ottla opens its listeners when it starts; set these where it finds them then: [{name}]"


async def test_a_secret_is_not_told(client: Client) -> None:
    name = "listener.name.plaintext.ssl.keystore.password"
    await put(client, BROKER_RESOURCE, "1", name, "opensesame")
    response = await describe(client, BROKER_RESOURCE, "1", include_synonyms=True)
    assert name in {entry.name for entry in response.configs}
    assert "opensesame" not in repr(plain(response))


async def test_the_level_of_the_log_changes_at_once(running: Running, client: Client) -> None:
    running.broker.log.info("before")
    await put(client, LOGGER_RESOURCE, "1", "root", "WARN")
    running.broker.log.info("hidden")
    running.broker.log.warning("shown")
    await put(client, LOGGER_RESOURCE, "1", "root", "TRACE")
    running.broker.log.debug("after")
    events = [event for event in ("before", "hidden", "shown", "after") if event in running.log_text]
    assert events == ["before", "shown", "after"]


async def test_connections_are_limited_at_once_and_after_a_start(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client, await running.client() as second:
        await value_of(second, BROKER_RESOURCE, "1", "max.connections")
        await put(client, BROKER_RESOURCE, "", "max.connections", "1")
        assert await second.closed()
        await put(client, BROKER_RESOURCE, "", "max.connections.per.ip", "1")
        await put(client, BROKER_RESOURCE, "", "max.connections", "2")
        async with await running.client() as third:
            assert await third.closed()
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert await value_of(client, BROKER_RESOURCE, "1", "max.connections") == ("2", 3)
        async with await running.client() as second:
            assert await second.closed()


async def test_the_cleaner_looks_as_often_as_it_is_told(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(wall_ms=1_800_000_000_000)
    running = await launcher.start({"log.cleaner.backoff.ms": "3600000"}, clock=clock)
    looks: list[int] = []

    def look(_: Store) -> list[Any]:
        looks.append(clock.mono_ms())
        return []

    monkeypatch.setattr(CleanerManager, "candidates", look)
    async with await running.client() as client:
        await put(client, BROKER_RESOURCE, "1", "log.cleaner.backoff.ms", "100")
        started_ms = clock.mono_ms()
        for _ in range(3):
            clock.advance(100)
            running.broker.timers.run_due()
    assert looks == [started_ms + 100, started_ms + 200, started_ms + 300]


async def test_a_deleted_topic_takes_its_configs_along(running: Running, client: Client) -> None:
    await put(client, TOPIC_RESOURCE, "own", "flush.ms", "5")
    metadata = running.broker.metadata
    running.broker.delete_topics([running.broker.cluster.topics["own"]])
    metadata.create_topic(metadata.plan_topic("own"))
    assert (await value_of(client, TOPIC_RESOURCE, "own", "flush.ms"))[1] == 5


async def test_bytes_that_are_no_sensible_config(running: Running, client: Client) -> None:
    """Any text is a value that is refused or kept; none breaks the broker."""
    for text in ("", " ", "\0", "9" * 30_000, "é" * 5_000, "\n", "1e999", "-0", "+7", "NaN"):
        for kind, name, config in (
            (TOPIC_RESOURCE, "own", "retention.ms"),
            (TOPIC_RESOURCE, "own", "min.cleanable.dirty.ratio"),
            (TOPIC_RESOURCE, "own", "cleanup.policy"),
            (BROKER_RESOURCE, "", "log.cleaner.min.cleanable.ratio"),
            (BROKER_RESOURCE, "1", "log.roll.ms"),
            (GROUP_RESOURCE, "g", "share.auto.offset.reset"),
            (CLIENT_METRICS_RESOURCE, "m", "match"),
            (LOGGER_RESOURCE, "1", "root"),
        ):
            code, _ = await alter(client, kind, name, (config, SET, text))
            assert code in (0, ErrorCode.INVALID_CONFIG, ErrorCode.INVALID_REQUEST), (text[:20], config)
            await describe(client, kind, name)
    assert "request failed" not in running.log_text
