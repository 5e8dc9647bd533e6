"""Produce requests that repeat on a connection are answered byte for byte as if each were the first."""

from __future__ import annotations

import struct

import pytest

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import fetch, fetched

T0 = 1_700_000_000_000
USUAL = bytes(build_batch([Record(0, T0, None, b"value")]))
LONGER = bytes(build_batch([Record(at, T0, b"key", b"value" * 9) for at in range(40)]))
BATCHES = [
    USUAL,
    LONGER,
    USUAL[:-1] + b"?",  # its CRC is wrong
    USUAL + USUAL,
    USUAL[:-1],
    USUAL[:30],
    b"",
    USUAL,
    bytes(build_batch([Record(0, T0, None, b"x" * 2_000_000)])),  # more than message.max.bytes
    bytes(build_batch([Record(0, T0, None, b"1")], producer_id=7, producer_epoch=0, base_sequence=0)),
    bytes(build_batch([Record(0, T0, None, b"2")], producer_id=7, producer_epoch=0, base_sequence=1)),
    bytes(build_batch([Record(0, T0, None, b"2")], producer_id=7, producer_epoch=0, base_sequence=1)),  # a duplicate
    bytes(build_batch([Record(0, T0, None, b"9")], producer_id=7, producer_epoch=0, base_sequence=9)),
    bytes(
        build_batch([Record(0, T0, None, b"t")], producer_id=7, producer_epoch=0, base_sequence=2, transactional=True)
    ),
    bytes(build_batch([Record(0, T0, None, b"c")], control=True)),
    LONGER,
]


def request(topic: str, batch: bytes, *, index: int = 0, acks: int = -1) -> ProduceRequest:
    data = ProduceRequest.PartitionProduceData(index=index, records=batch)
    return ProduceRequest(
        acks=acks, timeout_ms=5000, topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])]
    )


async def create(client: Client, name: str, configs: dict[str, str]) -> None:
    topic = CreateTopicsRequest.CreatableTopic(
        name=name,
        num_partitions=2,
        replication_factor=1,
        configs=[CreateTopicsRequest.CreatableTopicConfig(name=key, value=configs[key]) for key in configs],
    )
    assert (await client.ask(CreateTopicsRequest(topics=[topic]), 7)).topics[0].error_code == 0


async def raw(client: Client, asked: ProduceRequest, version: int) -> bytes:
    """The answer's bytes behind the correlation id."""
    await client.stream.send_all(client.frame(asked, version))
    (size,) = struct.unpack(">i", await client._exactly(4))
    return (await client._exactly(size))[4:]


@pytest.mark.parametrize(
    "configs",
    [{}, {"message.timestamp.type": "LogAppendTime"}, {"flush.messages": "1"}, {"cleanup.policy": "compact"}],
    ids=lambda configs: next(iter(configs.values()), "usual"),
)
@pytest.mark.parametrize("version", [9, 12])
@pytest.mark.parametrize("acks", [-1, 1, 5])
async def test_answers_are_those_of_a_connection_that_remembers_nothing(
    launcher: Launcher, configs: dict[str, str], version: int, acks: int
) -> None:
    running = await launcher.start(clock=ManualClock())
    async with await running.client() as again:
        for name in ("here", "then"):
            await create(again, name, configs)
        for index in (0, 1, 2):  # there is no third partition
            for batch in BATCHES:
                answer = await raw(again, request("here", batch, index=index, acks=acks), version)
                async with await running.client() as once:
                    expected = await raw(once, request("then", batch, index=index, acks=acks), version)
                assert answer == expected.replace(b"then", b"here")
        here = await again.ask(fetch("here", 0), 11)
        then = await again.ask(fetch("then", 0), 11)
        assert bytes(here.responses[0].partitions[0].records) == bytes(then.responses[0].partitions[0].records)


async def test_a_topic_that_went_and_came_again_is_looked_up_each_time(running: Running) -> None:
    async with await running.client() as client, await running.client() as admin:
        for offset in (0, 0, 0):
            await create(admin, "t", {})
            for expected in (offset, offset + 1):
                answer = await client.ask(request("t", USUAL), 9)
                assert answer.responses[0].partition_responses[0].base_offset == expected
            await admin.ask(DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name="t")]), 6)
            answer = await client.ask(request("t", USUAL), 9)
            assert answer.responses[0].partition_responses[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_lead_that_moved_is_noticed(launcher: Launcher) -> None:
    running = await launcher.start(nodes=2)
    async with await running.client() as client:
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=2)
        await client.ask(CreateTopicsRequest(topics=[topic]), 7)
        partition = running.broker.cluster.topics["t"].partitions[0]
        async with await running.client(node=partition.leader) as leader:
            for expected in (0, 1):
                answer = await leader.ask(request("t", USUAL), 10)
                assert answer.responses[0].partition_responses[0].base_offset == expected
            other = next(node for node in partition.replicas if node != partition.leader)
            running.broker.failover.move_leader("t", 0, other)
            answer = await leader.ask(request("t", USUAL), 10)
            told = answer.responses[0].partition_responses[0]
            assert told.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
            assert told.current_leader.leader_id == other


async def test_waiting_fetches_are_woken_by_a_request_that_repeats(running: Running) -> None:
    async with await running.client() as client, await running.client() as reader:
        await create(client, "t", {})
        for offset in range(4):
            waiting = fetch("t", offset, max_wait_ms=60_000)
            await reader.send(waiting, 11)
            await client.ask(request("t", USUAL), 9)
            answer = await reader.receive(waiting, 11)
            assert answer.responses[0].partitions[0].high_watermark == offset + 1
        assert await fetched(reader, fetch("t", 0)) == [b"value"] * 4
