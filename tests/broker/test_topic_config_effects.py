"""Each topic config makes the difference that it is there for: with it and without it the same is done to two topics.

It is given when the topic is created, put on a topic that is there, and set for all topics by the broker's setting, at
the start and at run time.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ottla.broker.cluster import BROKER_RESOURCE, TOPIC_RESOURCE
from ottla.broker.config import TOPIC_SYNONYMS
from ottla.broker.config_effects import BROKER, TOPIC
from ottla.broker.config_types import definitions
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.records import Record, RecordBatch, build_batch, recompress
from tests.broker.conftest import Launcher
from tests.broker.effects import HOUR, MIB, MINUTE, SECOND, Case, Observer, World, effect, start
from tests.broker.test_alter_configs import put

GZIP, LZ4, ZSTD = 1, 3, 4
# What compresses to different sizes at different levels.
TEXT = b"".join(b"%d and %d; " % (n * n % 977, n * 7919 % 1009) for n in range(4_000))


# ── what is done to a topic ─────────────────────────────────────────────────────────────────────────────────────────


def code_of(value: bytes = b"v", **options: Any) -> Observer:
    """How Produce answers to one record."""

    async def observe(world: World, topic: str) -> ErrorCode:
        return ErrorCode((await world.send(topic, value, **options)).error_code)

    return observe


async def stored_codec(world: World, topic: str) -> int:
    await world.send(topic)
    return (await world.stored(topic))[0].codec


async def stored_size(world: World, topic: str) -> int:
    await world.send(topic, TEXT)
    return (await world.stored(topic))[0].size


def size_at(codec: int, level: int | None) -> int:
    """How large TEXT is at a level."""
    batch = build_batch([Record(0, 0, b"k", TEXT)])
    return len(recompress(RecordBatch(batch), codec, MIB, level))


async def code_without_the_other_replica(world: World, topic: str) -> ErrorCode:
    """How Produce with acks=all answers while one of two replicas is not in sync."""
    partition = world.running.broker.cluster.topics[topic].partitions[0]
    partition.replicas, partition.isr = [1, 2], [1]
    return ErrorCode((await world.send(topic)).error_code)


async def append_time(world: World, topic: str) -> int:
    """How long ago the broker says that a record of ten seconds ago was appended, -1 if it does not say."""
    told_ms = (await world.send(topic, age_ms=10 * SECOND)).log_append_time_ms
    [batch] = await world.stored(topic)
    [record] = batch.records(MIB)
    assert world.clock.wall_ms() - record.timestamp_ms == (10 * SECOND if told_ms < 0 else 0)
    return told_ms if told_ms < 0 else world.clock.wall_ms() - told_ms


async def values_after_compaction(world: World, topic: str) -> list[bytes | None]:
    await world.send(topic, b"old")
    await world.send(topic, b"new")
    await world.compact(topic)
    return await world.values(topic)


async def tombstones_after_compaction(world: World, topic: str) -> int:
    """A tombstone lasts from its first compaction on for delete.retention.ms."""
    await world.send(topic, b"v", key=b"gone")
    await world.send(topic, None, key=b"gone")
    for number in range(2):
        await world.send(topic, b"%d" % number, key=b"%d" % number)
        await world.compact(topic)
        world.clock.advance(MINUTE)
    return (await world.values(topic)).count(None)


async def is_due_for_compaction(world: World, topic: str) -> bool:
    """After an hour, whether the cleaner would begin."""
    await world.send(topic)
    world.clock.advance(HOUR)
    await world.send(topic)
    return world.log(topic) in world.running.broker.store.cleaning.candidates()


async def files_after_delete(world: World, topic: str) -> bool:
    """A minute after its deletion, are there files of the topic?"""
    await world.send(topic)
    await world.client.ask(DeleteTopicsRequest(topic_names=[topic], timeout_ms=5000), 4)
    assert world.files(topic, ".log")
    world.clock.advance(MINUTE - 1)
    world.running.broker.store.deletions.run(world.clock.mono_ms())
    return bool(world.files(topic, ".log"))


async def flushed_at_once(world: World, topic: str) -> bool:
    await world.send(topic)
    return world.log(topic).recovery_point == 1


async def flushed_in_a_minute(world: World, topic: str) -> bool:
    await world.send(topic)
    world.clock.advance(MINUTE)
    world.running.broker.timers.run_due()
    log = world.log(topic)
    if log in world.running.broker.store.due_flushes():
        with trio.fail_after(60):
            while log.recovery_point < 1:
                await trio.sleep(0)
    return log.recovery_point == 1


async def index_bytes(world: World, topic: str) -> int:
    """Of the offset index after five batches, once the segment is closed."""
    for _ in range(5):
        await world.send(topic)
    world.log(topic).roll()
    return world.files(topic, ".index")[0]


async def file_size(world: World, topic: str) -> int:
    await world.send(topic, bytes(100))
    return world.files(topic, ".log")[0] // MIB


def segments(count: int, *, size: int = 1, pause_ms: int = 0) -> Observer:
    """How many files a log has after so many records, with a pause after each."""

    async def observe(world: World, topic: str) -> int:
        for _ in range(count):
            assert (await world.send(topic, bytes(size))).error_code == 0
            world.clock.advance(pause_ms)
        return len(world.files(topic, ".log"))

    return observe


def earliest_after(count: int, *, size: int = 1, pause_ms: int = 0) -> Observer:
    """The first offset that is left once retention has looked."""

    async def observe(world: World, topic: str) -> int:
        await segments(count, size=size, pause_ms=pause_ms)(world, topic)
        world.running.broker.store.apply_retention()
        return await world.earliest(topic)

    return observe


OK = ErrorCode.NONE
TOO_OLD = ErrorCode.INVALID_TIMESTAMP
COMPACT = {"cleanup.policy": "compact"}
SMALL = {"segment.bytes": str(MIB)}
CASES: dict[str, Case] = {
    "cleanup.policy": Case("compact", code_of(key=None), OK, ErrorCode.INVALID_RECORD),
    "compression.gzip.level": Case(
        "1", stored_size, size_at(GZIP, None), size_at(GZIP, 1), {"compression.type": "gzip"}
    ),
    "compression.lz4.level": Case("1", stored_size, size_at(LZ4, 9), size_at(LZ4, 1), {"compression.type": "lz4"}),
    "compression.type": Case("gzip", stored_codec, 0, GZIP),
    "compression.zstd.level": Case(
        "19", stored_size, size_at(ZSTD, 3), size_at(ZSTD, 19), {"compression.type": "zstd"}
    ),
    "delete.retention.ms": Case("1000", tombstones_after_compaction, 1, 0, COMPACT),
    "file.delete.delay.ms": Case("1000", files_after_delete, True, False),
    "flush.messages": Case("1", flushed_at_once, False, True),
    "flush.ms": Case("1000", flushed_in_a_minute, False, True),
    "index.interval.bytes": Case("0", index_bytes, 0, 32),
    "internal.segment.bytes": Case("100", segments(3), 1, 3),
    "max.compaction.lag.ms": Case("1000", is_due_for_compaction, False, True, COMPACT),
    "max.decompressed.message.bytes": Case("1000", code_of(bytes(5_000), codec=GZIP), OK, ErrorCode.MESSAGE_TOO_LARGE),
    "max.message.bytes": Case("200", code_of(bytes(500)), OK, ErrorCode.MESSAGE_TOO_LARGE),
    "message.timestamp.after.max.ms": Case("1000", code_of(age_ms=-MINUTE), OK, TOO_OLD),
    "message.timestamp.before.max.ms": Case("1000", code_of(age_ms=MINUTE), OK, TOO_OLD),
    "message.timestamp.type": Case("LogAppendTime", append_time, -1, 0),
    "min.cleanable.dirty.ratio": Case(
        "1", is_due_for_compaction, True, False, {"cleanup.policy": "compact", "segment.ms": "1000"}
    ),
    "min.compaction.lag.ms": Case("1000", values_after_compaction, [b"new"], [b"old", b"new"], COMPACT),
    "min.insync.replicas": Case("2", code_without_the_other_replica, OK, ErrorCode.NOT_ENOUGH_REPLICAS),
    "preallocate": Case("true", file_size, 0, 1, SMALL),
    "retention.bytes": Case("600000", earliest_after(3, size=600_000), 0, 2, SMALL),
    "retention.ms": Case(str(HOUR), earliest_after(1, pause_ms=2 * HOUR), 0, 1),
    "segment.bytes": Case(str(MIB), segments(3, size=600_000), 1, 3),
    "segment.index.bytes": Case("16", segments(5), 1, 5, {"index.interval.bytes": "0"}),
    "segment.jitter.ms": Case(str(HOUR), segments(2, pause_ms=5 * HOUR // 2), 1, 2, {"segment.ms": str(3 * HOUR)}),
    "segment.ms": Case(str(HOUR), segments(2, pause_ms=2 * HOUR), 1, 2),
}
# The broker's settings: which gives which topic config, in its unit.
_UNITS_MS = {"hours": HOUR, "minutes": MINUTE}
SETTINGS = {name: topic for topic, names in TOPIC_SYNONYMS.items() for name in names if topic in CASES}
RUN_TIME = [name for name in SETTINGS if definitions().broker[name].dynamic]


def in_unit(setting: str) -> str:
    """The value of the case for a broker setting."""
    value, unit_ms = CASES[SETTINGS[setting]].value, _UNITS_MS.get(setting.rpartition(".")[2])
    return value if unit_ms is None else str(int(value) // unit_ms)


@effect(TOPIC, *CASES)
@pytest.mark.parametrize("name", CASES)
async def test_of_the_topic(launcher: Launcher, name: str) -> None:
    case = CASES[name]
    world = await start(launcher)
    for topic in ("plain", "altered"):
        world.create(topic, case.beside)
    world.create("created", {**case.beside, name: case.value})
    await put(world.client, TOPIC_RESOURCE, "altered", name, case.value)
    async with world.client:
        for topic, wanted in (("plain", case.otherwise), ("created", case.then), ("altered", case.then)):
            assert await case.observe(world, topic) == wanted, topic
    assert "failed" not in world.running.log_text


@effect(BROKER, *SETTINGS)
@pytest.mark.parametrize("name", SETTINGS)
async def test_of_the_broker_at_its_start(launcher: Launcher, name: str) -> None:
    case = CASES[SETTINGS[name]]
    world = await start(launcher, {name: in_unit(name)})
    world.create("t", case.beside)
    async with world.client:
        assert await case.observe(world, "t") == case.then


@pytest.mark.parametrize("name", RUN_TIME)
async def test_of_the_broker_at_run_time(launcher: Launcher, name: str) -> None:
    """Topics that are there follow, also back again."""
    case = CASES[SETTINGS[name]]
    world = await start(launcher)
    for topic in ("then", "otherwise"):
        world.create(topic, case.beside)
    async with world.client:
        await put(world.client, BROKER_RESOURCE, "", name, in_unit(name))
        assert await case.observe(world, "then") == case.then
        await put(world.client, BROKER_RESOURCE, "", name, str(definitions().topic[SETTINGS[name]].default))
        assert await case.observe(world, "otherwise") == case.otherwise
