"""Each setting of the broker about connections, topics and the disk makes the difference that it is there for.

Those that are defaults of topic configs: test_topic_config_effects.py; those of coordinators:
test_coordinator_config_effects.py.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ottla.broker.app import make_nodes
from ottla.broker.cluster import BROKER_RESOURCE
from ottla.broker.config_effects import BROKER
from ottla.broker.config_types import definitions
from ottla.broker.options import ServeOptions
from ottla.log.cleaner_manager import CleanerManager
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.describe_producers import DescribeProducersRequest
from ottla.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message
from tests.broker import test_produce, test_quotas
from tests.broker.conftest import Client, Launcher
from tests.broker.effects import HOUR, MINUTE, SECOND, Case, World, effect, observed, start
from tests.broker.test_alter_configs import put
from tests.broker.test_connection import METADATA, PRODUCE, metadata, produce
from tests.broker.test_options import advertised, listening, options, refused, write

OK = ErrorCode.NONE


# ── connections and requests ────────────────────────────────────────────────────────────────────────────────────────


async def is_open(client: Client, request: Message | None = None) -> bool:
    """Whether the broker still answers."""
    try:
        await client.ask(request or metadata("t"), METADATA)
    except (ConnectionResetError, trio.BrokenResourceError):
        return False
    return True


async def is_open_after_a_minute(world: World, topic: str) -> bool:
    assert await is_open(world.client)  # it has been accepted
    assert await is_open(world.client)
    world.clock.advance(MINUTE)
    world.running.server.sweep()
    await wait_all_tasks_blocked()
    return await is_open(world.client)


async def is_second_served(world: World, topic: str) -> bool:
    async with await world.running.client() as second:
        return await is_open(second)


async def second_waits(world: World, topic: str) -> bool:
    """Until the first one is gone."""
    [quotas] = world.running.broker.connection_quotas.values()
    answered = trio.Event()

    async def ask(client: Client) -> None:
        await client.ask(metadata("t"), METADATA)
        answered.set()

    with trio.fail_after(60):
        async with world.client as first, await world.running.client() as second, trio.open_nursery() as nursery:
            await first.ask(metadata("t"), METADATA)
            nursery.start_soon(ask, second)
            while not quotas.waiting and not answered.is_set():
                await trio.sleep(0.01)
            waits = not answered.is_set()
            await trio.aclose_forcefully(first.stream)
    return waits


async def is_large_request_served(world: World, topic: str) -> bool:
    return await is_open(world.client, metadata(*(f"{number:0200}" for number in range(8))))


def buffer_is_small(option: int) -> Callable[[World, str], Any]:
    """Whether the broker's end of the connection has a buffer of 8 KiB (which Linux doubles)."""

    async def observe(world: World, topic: str) -> bool:
        await world.client.ask(metadata(topic), METADATA)
        [connection] = world.running.server.connections
        return connection._sock.getsockopt(socket.SOL_SOCKET, option) in (8_192, 16_384)

    return observe


async def bytes_under_way(world: World, topic: str) -> bool:
    """Whether the broker makes room for three large requests at a time."""
    clients = [await world.running.client() for _ in range(3)]
    for client in clients:
        frame = client.frame(produce(topic, bytes(600_000)), PRODUCE)
        for sent in range(0, 100_000, 20_000):
            await client.stream.send_all(frame[sent : sent + 20_000])
            await wait_all_tasks_blocked(0.005)
    used = world.running.server.budget.used
    for client in clients:
        await trio.aclose_forcefully(client.stream)
    return used > 600_000


async def batches_in_an_answer(world: World, topic: str) -> int:
    for _ in range(3):
        await world.send(topic, bytes(900))
    return len(await world.stored(topic))


async def has_fetch_session(world: World, topic: str) -> bool:
    partition = FetchRequest.FetchPartition(partition=0, partition_max_bytes=1)
    request = FetchRequest(
        replica_id=-1,
        session_epoch=0,
        max_bytes=1,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[partition])],
    )
    return bool((await world.client.ask(request, 12)).session_id)


async def partitions_in_an_answer(world: World, topic: str) -> int:
    wanted = DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in (topic, "other")]
    )
    world.create("other", {})
    return sum(len(each.partitions) for each in (await world.client.ask(wanted, 0)).topics)


async def throttle_of_20000_bytes(world: World, topic: str) -> int:
    """In whole seconds, at 1,000 bytes a second."""
    assert await test_quotas.alter(world.client, [("client-id", "tester")], producer_byte_rate=1000.0) == 0
    return int((await world.client.ask(produce(topic, bytes(20_000)), PRODUCE)).throttle_time_ms) // SECOND


async def code_of_16th_partition(world: World, topic: str) -> ErrorCode:
    """At one partition a second, after fifteen at once."""
    assert await test_quotas.alter(world.client, [("client-id", "tester")], controller_mutation_rate=1.0) == 0
    assert await test_quotas.create(world.client, "many", 15, 6) == (0, 0)
    return ErrorCode((await test_quotas.create(world.client, "one", 1, 6))[0])


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def auto_created(world: World, topic: str) -> tuple[ErrorCode, int]:
    """(code, partitions) of a topic that nobody made."""
    request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="new")])
    [answer] = (await world.client.ask(request, METADATA)).topics
    return ErrorCode(answer.error_code), len(answer.partitions)


async def code_of_delete(world: World, topic: str) -> ErrorCode:
    answer = await world.client.ask(DeleteTopicsRequest(topic_names=[topic], timeout_ms=3000), 4)
    return ErrorCode(answer.responses[0].error_code)


async def node_id(world: World, topic: str) -> int:
    [broker] = (await world.client.ask(metadata(topic), METADATA)).brokers
    return int(broker.node_id)


async def code_of_malformed_record(world: World, topic: str) -> ErrorCode:
    """The batch says that its only record is longer than it is; its CRC is right."""
    batch = test_produce.put(test_produce.batch(at=world.clock.wall_ms()), 61, b"\x7e")
    return ErrorCode((await test_produce.ask(world.client, test_produce.produce(topic, (0, batch))))[0].error_code)


# ── the disk and time ───────────────────────────────────────────────────────────────────────────────────────────────


def earliest_after(ms: int) -> Callable[[World, str], Any]:
    """The first offset that is left of one record, by the broker's own clock."""

    async def observe(world: World, topic: str) -> int:
        world.running.broker.timers.run_due()
        await world.send(topic)
        world.clock.advance(ms)
        world.running.broker.timers.run_due()
        return await world.earliest(topic)

    return observe


async def is_noted_after_a_while(world: World, topic: str) -> bool:
    await world.send(topic)
    world.clock.advance(5 * SECOND)
    world.running.broker.timers.run_due()
    checkpoint = Path(world.running.broker.store.path, "replication-offset-checkpoint")
    return checkpoint.exists() and f"{topic} 0 1" in checkpoint.read_text("utf-8")


def producers_after(ms: int) -> Callable[[World, str], Any]:
    """How many producers of a partition are known so long after their only batch."""

    async def observe(world: World, topic: str) -> int:
        record = Record(0, world.clock.wall_ms(), b"k", b"v")
        batch = build_batch([record], producer_id=1, producer_epoch=0, base_sequence=0)
        data = ProduceRequest.PartitionProduceData(index=0, records=batch)
        named = ProduceRequest.TopicProduceData(name=topic, partition_data=[data])
        await world.client.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[named]), PRODUCE)
        world.clock.advance(ms)
        world.running.broker.timers.run_due()
        wanted = DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=[0])
        answer = await world.client.ask(DescribeProducersRequest(topics=[wanted]), 0)
        return len(answer.topics[0].partitions[0].active_producers)

    return observe


async def passes_of_compaction(world: World, topic: str) -> int:
    """How many it takes for two hundred keys."""
    batch = build_batch([Record(at, world.clock.wall_ms(), b"%d" % at, b"v") for at in range(200)])
    world.log(topic).append(batch, leader_epoch=0)
    world.running.broker.housekeeping.in_process = True
    return await world.running.broker.housekeeping.clean_now(topic)


OLD = {"log.retention.ms": "1000"}
CASES: dict[str, Case] = {
    "auto.create.topics.enable": Case("false", auto_created, (OK, 1), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0)),
    "broker.id": Case("7", node_id, 1, 7),
    "connections.max.idle.ms": Case("1000", is_open_after_a_minute, True, False),
    "controller.quota.window.num": Case("30", code_of_16th_partition, ErrorCode.THROTTLING_QUOTA_EXCEEDED, OK),
    "controller.quota.window.size.seconds": Case("2", code_of_16th_partition, ErrorCode.THROTTLING_QUOTA_EXCEEDED, OK),
    "delete.topic.enable": Case("false", code_of_delete, OK, ErrorCode.TOPIC_DELETION_DISABLED),
    "fetch.max.bytes": Case("1024", batches_in_an_answer, 3, 1),
    "log.cleaner.dedupe.buffer.size": Case("2400", passes_of_compaction, 1, 3, {"log.cleanup.policy": "compact"}),
    "log.flush.offset.checkpoint.interval.ms": Case("1000", is_noted_after_a_while, False, True),
    "log.initial.task.delay.ms": Case("1000", earliest_after(5 * SECOND), 0, 1, OLD),
    "log.retention.check.interval.ms": Case(
        "1000", earliest_after(MINUTE), 0, 1, {**OLD, "log.initial.task.delay.ms": "0"}
    ),
    "max.connections": Case("1", second_waits, False, True),
    "max.connections.per.ip": Case("1", is_second_served, True, False),
    "max.incremental.fetch.session.cache.slots": Case("0", has_fetch_session, True, False),
    "max.request.partition.size.limit": Case("1", partitions_in_an_answer, 2, 1),
    "node.id": Case("7", node_id, 1, 7),
    "num.partitions": Case("3", auto_created, (OK, 1), (OK, 3)),
    "ottla.record.validation": Case("header", code_of_malformed_record, ErrorCode.INVALID_RECORD, OK),
    "producer.id.expiration.check.interval.ms": Case(
        "1000", producers_after(MINUTE), 1, 0, {"producer.id.expiration.ms": "1000"}
    ),
    "producer.id.expiration.ms": Case("1000", producers_after(HOUR), 1, 0),
    "queued.max.request.bytes": Case("100000", bytes_under_way, True, False),
    "quota.window.num": Case("2", throttle_of_20000_bytes, 10, 19),
    "quota.window.size.seconds": Case("2", throttle_of_20000_bytes, 10, 0),
    "socket.receive.buffer.bytes": Case("8192", buffer_is_small(socket.SO_RCVBUF), False, True),
    "socket.request.max.bytes": Case("1000", is_large_request_served, True, False),
    "socket.send.buffer.bytes": Case("8192", buffer_is_small(socket.SO_SNDBUF), False, True),
}


@effect(BROKER, *CASES)
@pytest.mark.parametrize("name", CASES)
async def test_at_the_start(launcher: Launcher, name: str) -> None:
    await observed(launcher, name, CASES[name])


@pytest.mark.parametrize("name", ["max.connections", "max.connections.per.ip", "producer.id.expiration.ms"])
async def test_at_run_time(launcher: Launcher, name: str) -> None:
    assert definitions().broker[name].dynamic
    case = CASES[name]
    world = await start(launcher, case.beside)
    world.create("t", {})
    async with world.client:
        await put(world.client, BROKER_RESOURCE, "", name, case.value)
        assert await case.observe(world, "t") == case.then


@effect(BROKER, "log.cleaner.backoff.ms", "log.cleaner.enable")
@pytest.mark.parametrize(
    ("settings", "looks"),
    [({}, 4), ({"log.cleaner.backoff.ms": "5000"}, 12), ({"log.cleaner.enable": "false"}, 0)],
)
async def test_how_often_the_cleaner_looks(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], looks: int
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(CleanerManager, "candidates", lambda _: seen.append(0) or [])
    world = await start(launcher, settings)
    async with world.client:
        for _ in range(MINUTE // SECOND):
            world.clock.advance(SECOND)
            world.running.broker.timers.run_due()
    assert len(seen) == looks


# ── where the broker is, which only its start decides ───────────────────────────────────────────────────────────────

# By name: lines of a server.properties; what is asked of the options; the answer without the last line, and with it.
AT_A_START: dict[str, tuple[list[str], Callable[[ServeOptions], Any], Any, Any]] = {
    "advertised.listeners": (
        ["advertised.listeners=PLAINTEXT://kafka:29092"],
        lambda found: advertised(found)["PLAINTEXT"],
        (None, None),
        ("kafka", 29092),
    ),
    "broker.rack": (["broker.rack=r1"], lambda found: make_nodes(found.nodes)[0].rack, None, "r1"),
    "controller.listener.names": (
        [
            "listeners=PLAINTEXT://:9092,CONTROL://:9093",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROL:PLAINTEXT",
            "controller.listener.names=CONTROL",
        ],
        listening,
        [("", 9092), ("", 9093)],
        [("", 9092)],
    ),
    "listeners": (
        ["listeners=PLAINTEXT://10.0.0.1:19092"],
        listening,
        [("127.0.0.1", 9092), ("::1", 9092)],
        [("10.0.0.1", 19092)],
    ),
    "log.dir": (["log.dir=/one"], lambda found: found.data_dir, "./ottla-data", "/one"),
    "log.dirs": (["log.dir=/one", "log.dirs=/two"], lambda found: found.data_dir, "/one", "/two"),
}


@effect(BROKER, *AT_A_START)
@pytest.mark.parametrize("name", AT_A_START)
def test_where_the_broker_is(tmp_path: Path, name: str) -> None:
    lines, ask, otherwise, then = AT_A_START[name]
    assert ask(options("--config", write(tmp_path, *lines[:-1]))) == otherwise
    assert ask(options("--config", write(tmp_path, *lines))) == then


@effect(BROKER, "listener.security.protocol.map", "process.roles")
def test_what_the_broker_is(tmp_path: Path) -> None:
    named = "listeners=MINE://:9092"
    assert "listener MINE has no protocol" in refused("--config", write(tmp_path, named))
    mapped = write(tmp_path, named, "listener.security.protocol.map=MINE:PLAINTEXT")
    assert listening(options("--config", mapped)) == [("", 9092)]
    alone = write(tmp_path, "listeners=PLAINTEXT://:9092", "process.roles=controller")
    assert "process.roles=controller has no broker in it" in refused("--config", alone)


async def test_the_memory_of_the_cleaner_at_run_time(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def begin(*_: object, memory_bytes: int, overdue: bool) -> None:
        given.append(memory_bytes)

    monkeypatch.setattr(CleanerManager, "begin", begin)
    world = await start(launcher)
    world.create("t", {"cleanup.policy": "compact"})
    async with world.client:
        for value in (2_000_000, 1_048_576):
            await put(world.client, BROKER_RESOURCE, "1", "log.cleaner.dedupe.buffer.size", str(value))
            await world.compact("t")
    assert given == [2_000_000, 1_048_576]
