"""Each config of groups, offsets and transactions makes the difference that it is there for, seen by a client."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from ottla.broker.cluster import BROKER_RESOURCE, GROUP_RESOURCE
from ottla.broker.config_effects import BROKER, GROUP
from ottla.broker.config_types import definitions
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.records import batches
from tests.broker.conftest import Client, Launcher
from tests.broker.effects import HOUR, MINUTE, SECOND, Case, Observer, World, effect, observed, start
from tests.broker.test_alter_configs import SET, alter, put
from tests.broker.test_connection import METADATA
from tests.broker.test_describe_configs import describe
from tests.broker.transactional import (
    NEW,
    OLD,
    Producer,
    codes_of,
    group_offset,
    produce_request,
    state_of,
    transactional_batch,
)

OK = ErrorCode.NONE
EMBEDDED = b"\0\1\0\0\0\1\0\1t\xff\xff\xff\xff\0\0\0\0"  # a subscription to t


# ── classic groups ──────────────────────────────────────────────────────────────────────────────────────────────────


def join(group: str = "g") -> JoinGroupRequest:
    protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=EMBEDDED)
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=[protocol],
    )


async def code_of_join(world: World, topic: str) -> ErrorCode:
    return ErrorCode((await world.client.ask(join(), 3)).error_code)


async def group_after_a_join(world: World, topic: str) -> str:
    async with await world.running.client() as other:
        await world.client.send(join(), 3)
        await wait_all_tasks_blocked(0.01)
        [described] = (await other.ask(DescribeGroupsRequest(groups=["g"]), 5)).groups
    return str(described.group_state)


async def members_after_two_joins(world: World, topic: str) -> int:
    async with await world.running.client() as second, await world.running.client() as other:
        assert await code_of_join(world, topic) is OK
        await second.send(join(), 3)
        await wait_all_tasks_blocked(0.01)
        [described] = (await other.ask(DescribeGroupsRequest(groups=["g"]), 5)).groups
    return len(described.members)


# ── groups of KIP-848 ───────────────────────────────────────────────────────────────────────────────────────────────


async def beat(client: Client, member: str = "m", epoch: int = 0, assignor: str | None = None) -> Any:
    joins = (
        {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": ["t"], "topic_partitions": []} if not epoch else {}
    )
    request = ConsumerGroupHeartbeatRequest(
        group_id="g", member_id=member, member_epoch=epoch, server_assignor=assignor, **joins
    )
    return await client.ask(request, 1)


async def code_of_heartbeat(world: World, topic: str) -> ErrorCode:
    return ErrorCode((await beat(world.client)).error_code)


async def code_of_uniform(world: World, topic: str) -> ErrorCode:
    return ErrorCode((await beat(world.client, assignor="uniform")).error_code)


async def code_of_second_member(world: World, topic: str) -> ErrorCode:
    await beat(world.client)
    return ErrorCode((await beat(world.client, "n")).error_code)


async def code_of_heartbeat_in_a_classic_group(world: World, topic: str) -> ErrorCode:
    assert await code_of_join(world, topic) is OK
    return await code_of_heartbeat(world, topic)


async def heartbeat_interval_ms(world: World, topic: str) -> int:
    return int((await beat(world.client)).heartbeat_interval_ms)


async def code_after_47_seconds(world: World, topic: str) -> ErrorCode:
    epoch = (await beat(world.client)).member_epoch
    world.clock.advance(47 * SECOND)
    world.running.broker.timers.run_due()
    return ErrorCode((await beat(world.client, epoch=epoch)).error_code)


async def is_second_assigned_at_once(world: World, topic: str) -> bool:
    """Whether the second member is in a later epoch than the first was, when it joins."""
    first = await beat(world.client)
    return bool((await beat(world.client, "n")).member_epoch > first.member_epoch)


def code_of_own(config: str, value: int) -> Observer:
    """How the broker answers to a group's own value."""

    async def observe(world: World, topic: str) -> ErrorCode:
        return ErrorCode((await alter(world.client, GROUP_RESOURCE, "g", (config, SET, str(value))))[0])

    return observe


# ── offsets and internal topics ─────────────────────────────────────────────────────────────────────────────────────


async def commit(world: World, topic: str, note: str = "") -> ErrorCode:
    committed = OffsetCommitRequest.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=5, committed_metadata=note
    )
    request = OffsetCommitRequest(
        group_id="simple",
        generation_id_or_member_epoch=-1,
        topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[committed])],
    )
    answer = await world.client.ask(request, 8)
    return ErrorCode(answer.topics[0].partitions[0].error_code)


async def code_of_long_note(world: World, topic: str) -> ErrorCode:
    return await commit(world, topic, "ten bytes.")


def offset_after(ms: int) -> Observer:
    async def observe(world: World, topic: str) -> int | ErrorCode:
        assert await commit(world, topic) is OK
        world.clock.advance(ms)
        world.running.broker.timers.run_due()
        return await group_offset(world.client, "simple", topic)

    return observe


async def codec_of_offsets(world: World, topic: str) -> int:
    assert await commit(world, topic) is OK
    partition = FetchRequest.FetchPartition(partition=0, partition_max_bytes=1_000_000)
    request = FetchRequest(
        replica_id=-1,
        max_bytes=1_000_000,
        topics=[FetchRequest.FetchTopic(topic="__consumer_offsets", partitions=[partition])],
    )
    [batch] = batches(bytes((await world.client.ask(request, 11)).responses[0].partitions[0].records))
    return batch.codec


def partitions_of(internal: str) -> Observer:
    async def observe(world: World, topic: str) -> int:
        request = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=internal)])
        [answer] = (await world.client.ask(request, METADATA)).topics
        return len(answer.partitions)

    return observe


SIZE = "segment.bytes"


def config_of(internal: str, name: str) -> Observer:
    async def observe(world: World, topic: str) -> int:
        await partitions_of(internal)(world, topic)
        [entry] = (await describe(world.client, 2, internal, name)).configs
        return int(entry.value)

    return observe


# ── transactions ────────────────────────────────────────────────────────────────────────────────────────────────────


async def code_of_init(world: World, topic: str) -> ErrorCode:
    return await Producer(world.client, "x", NEW).init(timeout_ms=60_000)


async def code_of_send_to_unadded_partition(world: World, topic: str) -> ErrorCode:
    producer = await Producer.start(world.client, "x", OLD)
    return await producer.send_only(topic, 0, b"v")


async def state_after_8_seconds(world: World, topic: str) -> str:
    """Of a transaction that may last five."""
    producer = await Producer.start(world.client, "x", NEW, timeout_ms=5 * SECOND)
    assert await producer.send(topic, 0, b"v") is OK
    world.clock.advance(8 * SECOND)
    world.running.broker.timers.run_due()
    return await state_of(world.client, "x")


def state_unused_for(ms: int) -> Observer:
    async def observe(world: World, topic: str) -> str:
        await Producer.start(world.client, "x", NEW)
        world.clock.advance(ms)
        world.running.broker.timers.run_due()
        return await state_of(world.client, "x")

    return observe


INVALID, FORGOTTEN = ErrorCode.INVALID_CONFIG, "TRANSACTIONAL_ID_NOT_FOUND"
SESSION, BEAT, ASSIGN = (
    f"consumer.{name}.ms" for name in ("session.timeout", "heartbeat.interval", "assignment.interval")
)
OFFSETS, TRANSACTIONS, SHARE = "__consumer_offsets", "__transaction_state", "__share_group_state"
SEGMENT = 104_857_600
CASES: dict[str, Case] = {
    "group.consumer.assignment.interval.ms": Case("10000", is_second_assigned_at_once, True, False),
    "group.consumer.assignors": Case("range", code_of_uniform, OK, ErrorCode.UNSUPPORTED_ASSIGNOR),
    "group.consumer.heartbeat.interval.ms": Case("6000", heartbeat_interval_ms, 5_000, 6_000),
    "group.consumer.max.assignment.interval.ms": Case("5000", code_of_own(ASSIGN, 10_000), OK, INVALID),
    "group.consumer.max.heartbeat.interval.ms": Case("12000", code_of_own(BEAT, 13_000), OK, INVALID),
    "group.consumer.max.session.timeout.ms": Case("55000", code_of_own(SESSION, 58_000), OK, INVALID),
    "group.consumer.max.size": Case("1", code_of_second_member, OK, ErrorCode.GROUP_MAX_SIZE_REACHED),
    "group.consumer.migration.policy": Case(
        "disabled", code_of_heartbeat_in_a_classic_group, OK, ErrorCode.GROUP_ID_NOT_FOUND
    ),
    "group.consumer.min.assignment.interval.ms": Case(
        "100", code_of_own(ASSIGN, 50), OK, INVALID, {"group.consumer.assignment.interval.ms": "1000"}
    ),
    "group.consumer.min.heartbeat.interval.ms": Case(
        "7000", code_of_own(BEAT, 6_000), OK, INVALID, {"group.consumer.heartbeat.interval.ms": "10000"}
    ),
    "group.consumer.min.session.timeout.ms": Case(
        "48000", code_of_own(SESSION, 46_000), OK, INVALID, {"group.consumer.session.timeout.ms": "50000"}
    ),
    "group.consumer.session.timeout.ms": Case("50000", code_after_47_seconds, ErrorCode.UNKNOWN_MEMBER_ID, OK),
    "group.coordinator.rebalance.protocols": Case("classic", code_of_heartbeat, OK, ErrorCode.UNSUPPORTED_VERSION),
    "group.initial.rebalance.delay.ms": Case("3000", group_after_a_join, "CompletingRebalance", "PreparingRebalance"),
    "group.max.session.timeout.ms": Case("9000", code_of_join, OK, ErrorCode.INVALID_SESSION_TIMEOUT),
    "group.max.size": Case("1", members_after_two_joins, 2, 1),
    "group.min.session.timeout.ms": Case("20000", code_of_join, OK, ErrorCode.INVALID_SESSION_TIMEOUT),
    "offset.metadata.max.bytes": Case("5", code_of_long_note, OK, ErrorCode.OFFSET_METADATA_TOO_LARGE),
    "offsets.retention.check.interval.ms": Case(
        "1000", offset_after(5 * MINUTE), 5, -1, {"offsets.retention.minutes": "1"}
    ),
    "offsets.retention.minutes": Case("1", offset_after(HOUR), 5, -1),
    "offsets.topic.compression.codec": Case("1", codec_of_offsets, 0, 1, {"offsets.topic.num.partitions": "1"}),
    "offsets.topic.num.partitions": Case("3", partitions_of(OFFSETS), 50, 3),
    "offsets.topic.segment.bytes": Case("2000000", config_of(OFFSETS, SIZE), SEGMENT, 2_000_000),
    "share.coordinator.state.topic.num.partitions": Case("3", partitions_of(SHARE), 50, 3),
    "share.coordinator.state.topic.segment.bytes": Case("2000000", config_of(SHARE, SIZE), SEGMENT, 2_000_000),
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": Case(
        "1000", state_after_8_seconds, "Ongoing", "CompleteAbort"
    ),
    "transaction.max.timeout.ms": Case("1000", code_of_init, OK, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
    "transaction.partition.verification.enable": Case(
        "false", code_of_send_to_unadded_partition, ErrorCode.TRANSACTION_ABORTABLE, OK
    ),
    "transaction.remove.expired.transaction.cleanup.interval.ms": Case(
        "1000", state_unused_for(MINUTE), "Empty", FORGOTTEN, {"transactional.id.expiration.ms": "1000"}
    ),
    "transaction.state.log.min.isr": Case("2", config_of(TRANSACTIONS, "min.insync.replicas"), 1, 2),
    "transaction.state.log.num.partitions": Case("3", partitions_of(TRANSACTIONS), 50, 3),
    "transaction.state.log.segment.bytes": Case("2000000", config_of(TRANSACTIONS, SIZE), SEGMENT, 2_000_000),
    "transactional.id.expiration.ms": Case("1000", state_unused_for(2 * HOUR), "Empty", FORGOTTEN),
}


@effect(BROKER, *CASES)
@pytest.mark.parametrize("name", CASES)
async def test_at_the_start(launcher: Launcher, name: str) -> None:
    await observed(launcher, name, CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if definitions().broker[name].dynamic])
async def test_at_run_time(launcher: Launcher, name: str) -> None:
    case = CASES[name]
    world = await start(launcher, case.beside)
    world.create("t", {})
    async with world.client:
        await put(world.client, BROKER_RESOURCE, "", name, case.value)
        assert await case.observe(world, "t") == case.then


OF_GROUPS: dict[str, Case] = {
    "consumer.assignment.interval.ms": Case("10000", is_second_assigned_at_once, True, False),
    "consumer.heartbeat.interval.ms": Case("6000", heartbeat_interval_ms, 5_000, 6_000),
    "consumer.session.timeout.ms": Case("50000", code_after_47_seconds, ErrorCode.UNKNOWN_MEMBER_ID, OK),
}


@effect(GROUP, *OF_GROUPS)
@pytest.mark.parametrize("name", OF_GROUPS)
@pytest.mark.parametrize("group", ["g", "other"])
async def test_of_one_group(launcher: Launcher, name: str, group: str) -> None:
    case = OF_GROUPS[name]
    world = await start(launcher)
    world.create("t", {})
    async with world.client:
        await put(world.client, GROUP_RESOURCE, group, name, case.value)
        assert await case.observe(world, "t") == (case.then if group == "g" else case.otherwise)


@effect(BROKER, "add.partitions.to.txn.retry.backoff.ms", "add.partitions.to.txn.retry.backoff.max.ms")
@pytest.mark.parametrize(
    ("settings", "tries"),
    [
        ({}, 6),
        ({"add.partitions.to.txn.retry.backoff.ms": "50"}, 3),
        ({"add.partitions.to.txn.retry.backoff.max.ms": "40"}, 3),
    ],
)
async def test_how_often_a_partition_is_added_again(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], tries: int
) -> None:
    """While the transaction before is being completed, for as long as the producer is made to wait."""
    asked: list[int] = []

    def busy(*_: object) -> ErrorCode:
        asked.append(0)
        return ErrorCode.CONCURRENT_TRANSACTIONS

    world = await start(launcher, settings)
    world.create("t", {})
    async with world.client:
        producer = await Producer.start(world.client, "x", NEW)
        monkeypatch.setattr(TransactionCoordinator, "add_partitions", busy)
        batch = transactional_batch(producer.producer_id, producer.epoch, 0, b"v")
        request = produce_request("t", {0: batch}, transactional_id="x")
        await world.client.send(request, NEW.produce)
        for _ in range(30):
            await wait_all_tasks_blocked()
            world.clock.advance(10)
            world.running.broker.timers.run_due()
        assert codes_of(await world.client.receive(request, NEW.produce)) == {0: ErrorCode.CONCURRENT_TRANSACTIONS}
    assert len(asked) == tries
