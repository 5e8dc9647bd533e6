"""What is only to be seen where there are several nodes: who leads, who is read from, whose settings count."""

from __future__ import annotations

import pytest

from ottla.broker.cluster import BROKER_RESOURCE, LOGGER_RESOURCE, TOPIC_RESOURCE
from ottla.broker.config_effects import BROKER, TOPIC
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.effects import MINUTE, effect
from tests.broker.test_alter_configs import SET, alter, put, value_of
from tests.broker.test_connection import FETCH, METADATA, fetch, metadata

NOBODY = -1
INTERNAL = {
    "offsets.topic": "__consumer_offsets",
    "share.coordinator.state.topic": "__share_group_state",
    "transaction.state.log": "__transaction_state",
}


def create(running: Running, configs: dict[str, str] | None = None, **options: int) -> None:
    made = running.broker.metadata
    made.create_topic(made.plan_topic("t", 1, overrides=configs, **options))


async def leader(client: Client) -> int:
    [topic] = (await client.ask(metadata("t"), METADATA)).topics
    return int(topic.partitions[0].leader_id)


@effect(BROKER, "auto.leader.rebalance.enable", "leader.imbalance.check.interval.seconds")
@pytest.mark.parametrize(
    ("settings", "after_a_minute", "after_ten"),
    [
        ({}, 2, 1),
        ({"leader.imbalance.check.interval.seconds": "30"}, 1, 1),
        ({"auto.leader.rebalance.enable": "false"}, 2, 2),
    ],
)
async def test_when_the_preferred_replica_leads_again(
    launcher: Launcher, settings: dict[str, str], after_a_minute: int, after_ten: int
) -> None:
    clock = ManualClock()
    running = await launcher.start(settings, clock=clock, nodes=2)
    create(running, replication_factor=2)
    running.broker.failover.move_leader("t", 0, 2)
    async with await running.client(node=2) as client:
        for pause_ms, wanted in ((MINUTE, after_a_minute), (9 * MINUTE, after_ten)):
            clock.advance(pause_ms)
            running.broker.timers.run_due()
            assert await leader(client) == wanted


async def without_the_only_replica_in_sync(running: Running, client: Client) -> int:
    """Who leads when it is down, and another replica is up that is not in sync."""
    running.broker.failover.set_isr("t", 0, [1])
    running.broker.failover.stop_node(1)
    return await leader(client)


@effect(TOPIC, "unclean.leader.election.enable")
@pytest.mark.parametrize(("own", "leads"), [({}, NOBODY), ({"unclean.leader.election.enable": "true"}, 2)])
async def test_whether_a_replica_out_of_sync_leads(launcher: Launcher, own: dict[str, str], leads: int) -> None:
    running = await launcher.start(nodes=2)
    create(running, own, replication_factor=2)
    async with await running.client(node=2) as client:
        assert await without_the_only_replica_in_sync(running, client) == leads
        if not own:
            await put(client, TOPIC_RESOURCE, "t", "unclean.leader.election.enable", "true")
            assert await leader(client) == 2


@effect(BROKER, "unclean.leader.election.enable")
@pytest.mark.parametrize(("settings", "leads"), [({}, NOBODY), ({"unclean.leader.election.enable": "true"}, 2)])
async def test_whether_any_replica_out_of_sync_leads(launcher: Launcher, settings: dict[str, str], leads: int) -> None:
    running = await launcher.start(settings, nodes=2)
    create(running, replication_factor=2)
    async with await running.client(node=2) as client:
        assert await without_the_only_replica_in_sync(running, client) == leads
        if not settings:
            await put(client, BROKER_RESOURCE, "", "unclean.leader.election.enable", "true")
            assert await leader(client) == 2


@effect(BROKER, "replica.selector.class")
@pytest.mark.parametrize(
    ("settings", "node"),
    [({}, NOBODY), ({"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}, 2)],
)
async def test_who_is_read_from(launcher: Launcher, settings: dict[str, str], node: int) -> None:
    running = await launcher.start(settings, nodes=2, racks=["here", "there"])
    create(running, replication_factor=2)
    request = fetch("t", 0)
    request.rack_id = "there"
    async with await running.client() as client:
        answer = await client.ask(request, FETCH)
    assert answer.responses[0].partitions[0].preferred_read_replica == node


@effect(BROKER, "default.replication.factor")
@pytest.mark.parametrize(("settings", "replicas"), [({}, 1), ({"default.replication.factor": "2"}, 2)])
async def test_how_many_replicas_a_partition_has(launcher: Launcher, settings: dict[str, str], replicas: int) -> None:
    running = await launcher.start(settings, nodes=3)
    async with await running.client() as client:
        [topic] = (await client.ask(metadata("new"), METADATA)).topics
    assert len(topic.partitions[0].replica_nodes) == replicas


@effect(BROKER, *(f"{name}.replication.factor" for name in INTERNAL))
@pytest.mark.parametrize(("factor", "replicas"), [(None, 1), ("2", 2), ("5", 3)])
@pytest.mark.parametrize("name", INTERNAL)
async def test_how_many_replicas_internal_topics_have(
    launcher: Launcher, name: str, factor: str | None, replicas: int
) -> None:
    """Never more than there are nodes: Kafka waits until there are enough."""
    settings = {} if factor is None else {f"{name}.replication.factor": factor}
    running = await launcher.start(settings, nodes=3)
    async with await running.client() as client:
        [topic] = (await client.ask(metadata(INTERNAL[name]), METADATA)).topics
    assert {len(partition.replica_nodes) for partition in topic.partitions} == {replicas}


async def test_each_node_tells_and_takes_its_own_settings(launcher: Launcher) -> None:
    running = await launcher.start({"num.partitions": "3"}, nodes=2)
    async with await running.client() as first, await running.client(node=2) as second:
        for client, node in ((first, "1"), (second, "2")):
            assert (await value_of(client, BROKER_RESOURCE, node, "node.id"))[0] == node
            assert await value_of(client, BROKER_RESOURCE, node, "num.partitions") == ("3", 4)
            await put(client, BROKER_RESOURCE, node, "max.connections", f"10{node}")
            await put(client, LOGGER_RESOURCE, node, "root", "INFO")
            code, message = await alter(client, BROKER_RESOURCE, "9", ("max.connections", SET, "5"))
            assert (code, message) == (
                ErrorCode.INVALID_REQUEST,
                f"Unexpected broker id, expected {node}, but received 9",
            )
        await put(second, BROKER_RESOURCE, "", "max.connections", "50")
    await launcher.stop()
    running = await launcher.start({"num.partitions": "3"}, nodes=3)
    for node, expected in ((1, ("101", 2)), (2, ("102", 2)), (3, ("50", 3))):
        async with await running.client(node=node) as client:
            assert await value_of(client, BROKER_RESOURCE, str(node), "max.connections") == expected
