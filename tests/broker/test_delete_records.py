"""DeleteRecords and OffsetForLeaderEpoch: the rows of what Kafka answers, and what both leave for readers."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.delete_records import DeleteRecordsRequest
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import FETCH, METADATA, PRODUCE, fetch, fetched, metadata, produce

TOPICS = {
    "t": {},
    "compacted": {"cleanup.policy": "compact"},
    "both": {"cleanup.policy": "compact,delete"},
    "__consumer_offsets": {},
}


@pytest.fixture
async def client(running: Running) -> Any:
    """Ten records in partition 0 of each topic."""
    metadata = running.broker.metadata
    for name, overrides in TOPICS.items():
        metadata.create_topic(metadata.plan_topic(name, 1, overrides=overrides))
    async with await running.client("__admin_client") as client:
        for number in range(10):
            await client.ask(produce("t", b"%d" % number), PRODUCE)
        yield client


def delete(*partitions: tuple[str, int, int]) -> DeleteRecordsRequest:
    return DeleteRecordsRequest(
        timeout_ms=1000,
        topics=[
            DeleteRecordsRequest.DeleteRecordsTopic(
                name=name,
                partitions=[DeleteRecordsRequest.DeleteRecordsPartition(partition_index=index, offset=offset)],
            )
            for name, index, offset in partitions
        ],
    )


async def answers(client: Client, request: DeleteRecordsRequest, version: int = 2) -> list[tuple[int, int]]:
    """(code, low watermark) of each partition, in the order of the answer."""
    response = await client.ask(request, version)
    return [(part.error_code, part.low_watermark) for topic in response.topics for part in topic.partitions]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (("t", 0, 4), (0, 4)),
        (("t", 0, 0), (0, 0)),
        (("t", 0, 10), (0, 10)),
        (("t", 0, -1), (0, 10)),
        (("t", 0, 11), (ErrorCode.OFFSET_OUT_OF_RANGE, -1)),
        (("t", 0, -2), (ErrorCode.OFFSET_OUT_OF_RANGE, -1)),
        (("t", 1, 0), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)),
        (("nowhere", 0, 0), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)),
        (("compacted", 0, 0), (ErrorCode.POLICY_VIOLATION, -1)),
        (("both", 0, 0), (0, 0)),
        (("__consumer_offsets", 0, 0), (ErrorCode.INVALID_TOPIC_EXCEPTION, -1)),
    ],
)
@pytest.mark.parametrize("version", [0, 1, 2])
async def test_what_is_answered(client: Client, asked: tuple[str, int, int], answer: Any, version: int) -> None:
    assert await answers(client, delete(asked), version) == [answer]


async def test_below_the_log_start_nothing_happens(client: Client) -> None:
    assert await answers(client, delete(("t", 0, 7))) == [(0, 7)]
    assert await answers(client, delete(("t", 0, 3))) == [(0, 7)]
    assert await answers(client, delete(("t", 0, -1), ("nowhere", 0, 1), ("both", 0, 0))) == [
        (0, 10),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (0, 0),
    ]


async def test_deleted_records_are_not_read_again(launcher: Launcher, client: Client) -> None:
    await answers(client, delete(("t", 0, 4)))
    data = (await client.ask(fetch("t", 3), FETCH)).responses[0].partitions[0]
    assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert await fetched(client, fetch("t", 4)) == [b"%d" % n for n in range(4, 10)]
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as again:
        data = (await again.ask(fetch("t", 4), FETCH)).responses[0].partitions[0]
        assert (data.error_code, data.log_start_offset) == (0, 4)


def epochs(topic: str, index: int, epoch: int, current: int = -1) -> OffsetForLeaderEpochRequest:
    part = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(
        partition=index, leader_epoch=epoch, current_leader_epoch=current
    )
    return OffsetForLeaderEpochRequest(
        replica_id=-1, topics=[OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic, partitions=[part])]
    )


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (("t", 0, 0), (0, 0, 10)),
        (("t", 0, 0, 0), (0, 0, 10)),
        (("both", 0, 0), (0, 0, 0)),  # nothing was written yet
        (("t", 0, 5), (0, -1, -1)),
        (("t", 0, -1), (0, -1, -1)),
        (("t", 0, 0, 3), (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)),
        (("t", 1, 0), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)),
    ],
)
@pytest.mark.parametrize("version", [2, 3, 4])
async def test_where_an_epoch_ends(client: Client, asked: Any, answer: tuple[int, int, int], version: int) -> None:
    part = (await client.ask(epochs(*asked), version)).topics[0].partitions[0]
    assert (part.error_code, part.leader_epoch, part.end_offset) == answer


async def test_an_older_epoch_ends_where_the_next_began(running: Running, client: Client) -> None:
    partition = running.broker.cluster.topics["t"].partitions[0]
    partition.leader_epoch = 3
    await client.ask(produce("t", b"new"), PRODUCE)
    for epoch, answer in ((0, (0, 10)), (1, (0, 10)), (3, (3, 11)), (4, (-1, -1))):
        part = (await client.ask(epochs("t", 0, epoch), 4)).topics[0].partitions[0]
        assert (part.error_code, part.leader_epoch, part.end_offset) == (0, *answer)
    part = (await client.ask(epochs("t", 0, 0, 2), 4)).topics[0].partitions[0]
    assert part.error_code == ErrorCode.FENCED_LEADER_EPOCH


async def test_admin_clients(running: Running) -> None:
    """kafka-python's and librdkafka's own calls."""
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", *[b"%d" % number for number in range(10)]), PRODUCE)
    bootstrap = f"127.0.0.1:{running.port}"

    def by_kafka_python() -> int:
        from kafka import KafkaAdminClient, TopicPartition

        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            partition = TopicPartition("t", 0)
            return int(admin.delete_records({partition: 4})[partition]["low_watermark"])
        finally:
            admin.close()

    def by_librdkafka() -> int:
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": bootstrap})
        (future,) = admin.delete_records([TopicPartition("t", 0, 6)]).values()
        return int(future.result(10).low_watermark)

    assert await trio.to_thread.run_sync(by_kafka_python) == 4
    assert await trio.to_thread.run_sync(by_librdkafka) == 6
