"""A client that writes while nodes go and come and leads move at random: nothing is lost, nothing is there twice."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio

from ottla.broker.cluster import NO_LEADER
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, batches, build_batch
from tests.broker.conftest import Client, Launcher, Running

NODES = (1, 2, 3)
PARTITIONS = 3
ROUNDS = 250
# What a client meets while leads move; it asks again, at the leader that it is told of or at any node.
PASSING = frozenset(
    (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
)


class Writer:
    """An idempotent producer: one record a request, each until it is acknowledged."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._clients: dict[int, Client] = {}
        self._believed = dict.fromkeys(range(PARTITIONS), 1)  # the leader of each partition
        self._sequences = dict.fromkeys(range(PARTITIONS), 0)
        self._producer: tuple[int, int] = (-1, -1)
        self.acknowledged: dict[int, list[bytes]] = {index: [] for index in range(PARTITIONS)}
        self.refused = 0

    async def begin(self) -> None:
        client = await self._client(1)
        answer = await client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 4)
        assert answer.producer_id >= 0
        self._producer = (answer.producer_id, answer.producer_epoch)

    async def write(self, index: int, value: bytes, random: Random, otherwise: Any) -> None:
        """`otherwise` is called after each attempt that failed."""
        producer_id, epoch = self._producer
        batch = build_batch(
            [Record(0, 1, None, value)],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=self._sequences[index],
        )
        data = ProduceRequest.PartitionProduceData(index=index, records=batch)
        topic = ProduceRequest.TopicProduceData(name="t", partition_data=[data])
        request = ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic])
        while True:
            node = self._believed[index]
            try:
                answer = await (await self._client(node)).ask(request, 10)
            except (OSError, trio.BrokenResourceError):  # the node is down
                self._clients.pop(node, None)
                self._believed[index] = random.choice(NODES)
            else:
                part = answer.responses[0].partition_responses[0]
                if part.error_code == ErrorCode.NONE:
                    self._sequences[index] += 1
                    self.acknowledged[index].append(value)
                    return
                assert part.error_code in PASSING, ErrorCode(part.error_code)
                if part.current_leader.leader_id != NO_LEADER:
                    self._believed[index] = part.current_leader.leader_id
            self.refused += 1
            otherwise()

    async def _client(self, node: int) -> Client:
        if node not in self._clients:
            self._clients[node] = await self._running.client(node=node)
        return self._clients[node]


def disturb(running: Running, random: Random) -> None:
    """Something happens to the cluster; what cannot be is refused."""
    failover, node, index = running.broker.failover, random.choice(NODES), random.randrange(PARTITIONS)
    with suppress(KafkaError):
        match random.randrange(6):
            case 0:
                failover.stop_node(node)
            case 1 | 2:
                failover.start_node(node)
            case 3:
                failover.move_leader("t", index, node)
            case 4:
                failover.set_isr("t", index, random.sample(NODES, random.randint(1, 3)))
            case 5:
                partition = running.broker.cluster.topics["t"].partitions[index]
                failover.elect(partition, random.randrange(2))


async def read(running: Running, index: int) -> list[bytes]:
    """All values of a partition, from whichever node holds it."""
    partition = running.broker.cluster.topics["t"].partitions[index]
    wanted = FetchRequest.FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=1 << 20)
    topic = FetchRequest.FetchTopic(topic_id=partition.topic.id, partitions=[wanted])
    async with await running.client(node=partition.replicas[-1]) as client:
        request = FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, session_epoch=-1, topics=[topic])
        answer = await client.ask(request, 16)
    records = answer.responses[0].partitions[0].records
    return [bytes(record.value) for batch in batches(records) for record in batch.records(1 << 20)]


SETTINGS = {"default.replication.factor": "3", "min.insync.replicas": "2"}


@pytest.mark.parametrize("durable", [False, True])
async def test_nothing_is_lost_or_doubled(launcher: Launcher, durable: bool) -> None:
    """`durable`: leads also move while records are on their way to the disk."""
    random = Random(8)
    running = await launcher.start(SETTINGS | ({"log.flush.interval.messages": "1"} if durable else {}), nodes=3)
    metadata, failover = running.broker.metadata, running.broker.failover
    metadata.create_topic(metadata.plan_topic("t", PARTITIONS))
    writer = Writer(running)
    await writer.begin()

    async def disturb_meanwhile() -> None:
        while True:
            disturb(running, random)
            for _ in range(random.randrange(30)):
                await trio.lowlevel.checkpoint()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            if durable:
                nursery.start_soon(disturb_meanwhile)
            for number in range(ROUNDS):
                disturb(running, random)
                index = random.randrange(PARTITIONS)
                await writer.write(index, b"%d" % number, random, lambda: disturb(running, random))
            nursery.cancel_scope.cancel()
    for node in running.broker.cluster.nodes.values():
        if not node.is_up:
            failover.start_node(node.id)
    assert writer.refused > ROUNDS // 5, "the cluster was hardly disturbed"
    assert "request failed" not in running.log_text
    for index in range(PARTITIONS):
        assert await read(running, index) == writer.acknowledged[index]
    await launcher.stop()
    running = await launcher.start(nodes=3)
    for index in range(PARTITIONS):
        assert await read(running, index) == writer.acknowledged[index]
