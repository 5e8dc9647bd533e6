"""Metadata keeps what it says of a topic, encoded, until the topic changes: at every version, and after each change,
the kept answer is the one that a fresh encoding gives.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from ottla.broker.cluster import NO_LEADER, Cluster, Topic
from ottla.broker.handlers.metadata import CLUSTER_OPERATIONS, DESCRIPTIONS_KEPT, NOT_ASKED, TOPIC_OPERATIONS
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from ottla.wire.state.cluster_metadata import PartitionChangeRecord
from tests.broker.conftest import Client, Launcher, Running

VERSIONS = range(MetadataRequest.VALID[0], MetadataRequest.VALID[1] + 1)
WantedTopic = MetadataRequest.MetadataRequestTopic


@pytest.fixture
async def cluster(launcher: Launcher) -> Running:
    """Three nodes that all hold topic "t" of 3 partitions and "u" of 1; 150 small topics, so that counts are long."""
    running = await launcher.start({"default.replication.factor": "3"}, nodes=3, racks=("a", "b", "c"))
    metadata = running.broker.metadata
    metadata.create_topics([metadata.plan_topic("t", 3), metadata.plan_topic("u", 1)])
    metadata.create_topics([metadata.plan_topic(f"small-{index}", 1, 1) for index in range(150)])
    metadata.internal_topic("__consumer_offsets")
    return running


def fresh(cluster: Cluster, topics: list[Topic], version: int, *, operations: bool) -> MetadataResponse:
    """What there is to be said, of the cluster as it is, as `version` can say it."""
    up = [node.id for node in cluster.nodes.values() if node.is_up]
    response = MetadataResponse(
        brokers=[
            MetadataResponse.MetadataResponseBroker(
                node_id=node.id, host="127.0.0.1", port=next(iter(node.listeners.values())).port, rack=node.rack
            )
            for node in cluster.nodes.values()
            if node.is_up
        ],
        cluster_id=cluster.cluster_id,
        controller_id=up[0],
        cluster_authorized_operations=CLUSTER_OPERATIONS if operations and 8 <= version <= 10 else NOT_ASKED,
        topics=[
            MetadataResponse.MetadataResponseTopic(
                name=topic.name,
                topic_id=topic.id,
                is_internal=topic.name.startswith("__"),
                topic_authorized_operations=TOPIC_OPERATIONS if operations else NOT_ASKED,
                partitions=[
                    MetadataResponse.MetadataResponsePartition(
                        error_code=0 if partition.leader != NO_LEADER else ErrorCode.LEADER_NOT_AVAILABLE,
                        partition_index=index,
                        leader_id=partition.leader,
                        leader_epoch=partition.leader_epoch,
                        replica_nodes=partition.replicas,
                        isr_nodes=partition.isr,
                        offline_replicas=[replica for replica in partition.replicas if replica not in up],
                    )
                    for index, partition in enumerate(topic.partitions)
                ],
            )
            for topic in topics
        ],
    )
    return MetadataResponse.decode(response.encode(version), version)


async def check(running: Running, client: Client) -> None:
    """All topics and some, at each version, with and without operations; twice each, so that what is kept is told."""
    cluster = running.broker.cluster
    for version in (*VERSIONS, *VERSIONS):
        for operations in (False, True) if version >= 8 else (False,):
            more: dict[str, Any] = {"include_topic_authorized_operations": operations}
            if 8 <= version <= 10:
                more["include_cluster_authorized_operations"] = operations
            every = MetadataRequest(topics=None if version else [], **more)
            assert await client.ask(every, version) == fresh(
                cluster, list(cluster.topics.values()), version, operations=operations
            )
            some = [cluster.topics[name] for name in ("u", "t") if name in cluster.topics]
            named = MetadataRequest(topics=[WantedTopic(name=topic.name) for topic in some], **more)
            assert await client.ask(named, version) == fresh(cluster, some, version, operations=operations)
            if version >= 12:
                by_id = MetadataRequest(topics=[WantedTopic(name=None, topic_id=topic.id) for topic in some], **more)
                assert await client.ask(by_id, version) == fresh(cluster, some, version, operations=operations)


async def test_each_change_of_a_topic_is_told(cluster: Running) -> None:
    broker = cluster.broker
    metadata, topics = broker.metadata, broker.cluster.topics
    async with await cluster.client() as client:
        await check(cluster, client)

        metadata.add_partitions([(topics["t"], metadata.plan_partitions(topics["t"], 5, None))])
        await check(cluster, client)

        change = PartitionChangeRecord(topic_id=topics["t"].id, partition_id=1, leader=3)
        metadata.change_partitions([change])  # another leader, its epoch one higher
        await check(cluster, client)

        change = PartitionChangeRecord(topic_id=topics["u"].id, partition_id=0, leader=-2, isr=[1])
        metadata.change_partitions([change])  # out of sync
        await check(cluster, client)

        change = PartitionChangeRecord(topic_id=topics["u"].id, partition_id=0, leader=NO_LEADER, isr=[])
        metadata.change_partitions([change])
        await check(cluster, client)

        change = PartitionChangeRecord(topic_id=topics["t"].id, partition_id=0, leader=-2, replicas=[1, 2], isr=[2, 1])
        metadata.change_partitions([change])
        await check(cluster, client)

        first_id = topics["t"].id
        metadata.delete_topics([topics["t"]])
        await check(cluster, client)
        metadata.create_topics([metadata.plan_topic("t", 2)])
        assert topics["t"].id != first_id
        await check(cluster, client)


async def test_nodes_that_go_and_come_are_told(cluster: Running) -> None:
    async with await cluster.client() as client:
        await check(cluster, client)
        node = cluster.broker.cluster.nodes[3]
        node.is_up = False  # alone: no record says so
        await check(cluster, client)
        node.is_up = True
        await check(cluster, client)


async def test_what_is_kept_is_bounded(cluster: Running) -> None:
    async with await cluster.client() as client:
        await check(cluster, client)
        for topic in cluster.broker.cluster.topics.values():
            assert 0 < len(topic.described) <= DESCRIPTIONS_KEPT


async def test_unknown_topics_stand_among_known_ones(cluster: Running) -> None:
    async with await cluster.client() as client:
        for version in VERSIONS:
            names = ["t", "not-there", "u", "!"]
            request = MetadataRequest(topics=[WantedTopic(name=name) for name in names])
            request.allow_auto_topic_creation = version < 4
            cluster.broker.config.auto_create_topics_enable = False
            told = [(topic.name, topic.error_code) for topic in (await client.ask(request, version)).topics]
            unknown, invalid = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.INVALID_TOPIC_EXCEPTION
            assert told == [("t", 0), ("not-there", unknown), ("u", 0), ("!", invalid)]
        ids = [cluster.broker.cluster.topics["t"].id, bytes(15) + b"\x07"]
        request = MetadataRequest(topics=[WantedTopic(name=None, topic_id=topic_id) for topic_id in ids])
        told = [(topic.name, topic.error_code) for topic in (await client.ask(request, 13)).topics]
        assert told == [("t", 0), (None, ErrorCode.UNKNOWN_TOPIC_ID)]


class Look:
    """A tap that reads every response as an object."""

    def __init__(self) -> None:
        self.seen: list[MetadataResponse] = []

    def on_request(self, context: object) -> None:
        return None

    def on_response(self, context: object, response: Any) -> None:
        self.seen.append(copy.copy(response.topics))
        response.throttle_time_ms = 77


async def test_taps_see_objects(cluster: Running) -> None:
    look = Look()
    cluster.broker.gate.taps.append(look)
    async with await cluster.client() as client:
        for version in VERSIONS:
            answer = await client.ask(MetadataRequest(topics=[WantedTopic(name="t")]), version)
            assert answer.topics == look.seen.pop()
            assert answer.throttle_time_ms == (77 if version >= 3 else 0)


async def test_random_changes(cluster: Running) -> None:
    """Any order of changes, each looked at after any other."""
    broker = cluster.broker
    chance = random.Random(9)
    async with await cluster.client() as client:
        for _ in range(60):
            topic = broker.cluster.topics[chance.choice(("t", "u"))]
            kind = chance.randrange(3)
            if kind == 0 and len(topic.partitions) < 9:
                plan = broker.metadata.plan_partitions(topic, len(topic.partitions) + 1, None)
                broker.metadata.add_partitions([(topic, plan)])
            elif kind == 1:
                index = chance.randrange(len(topic.partitions))
                change = PartitionChangeRecord(topic_id=topic.id, partition_id=index, leader=chance.choice((1, 2, 3)))
                broker.metadata.change_partitions([change])
            else:
                node = broker.cluster.nodes[chance.choice((2, 3))]
                node.is_up = not node.is_up
            version = chance.choice(VERSIONS)
            some = list(broker.cluster.topics.values())[:2]
            request = MetadataRequest(topics=[WantedTopic(name=topic.name) for topic in some])
            assert await client.ask(request, version) == fresh(broker.cluster, some, version, operations=False)
