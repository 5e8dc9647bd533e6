"""Many topics in one request, and topics deleted under whoever uses them: one change of the metadata, answers at once,
and a name that is free. Codes as Kafka 4.4.0 gives them.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest
import trio
import trio.testing

from ottla.broker.metadata import METADATA_TOPIC
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, batches, build_batch
from tests.broker.conftest import Client, Running
from tests.broker.transactional import NEW, OLD, Generation, Producer, committed, end_offset, state_of

GONE, UNKNOWN_ID = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID
ZERO = bytes(16)
LONG_MS = 60_000


async def create(client: Client, *names: str, partitions: int = 1, **configs: str) -> list[Any]:
    own = [CreateTopicsRequest.CreatableTopicConfig(name=key.replace("_", "."), value=configs[key]) for key in configs]
    wanted = [
        CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1, configs=own)
        for name in names
    ]
    answered: list[Any] = (await client.ask(CreateTopicsRequest(topics=wanted), 7)).topics
    return answered


async def delete(client: Client, *names: str, topic_id: bytes = ZERO) -> list[int]:
    named = [DeleteTopicsRequest.DeleteTopicState(name=name) for name in names]
    if topic_id != ZERO:
        named.append(DeleteTopicsRequest.DeleteTopicState(name=None, topic_id=topic_id))
    return [each.error_code for each in (await client.ask(DeleteTopicsRequest(topics=named), 6)).responses]


async def grow(client: Client, count: int, *names: str) -> list[int]:
    wanted = [CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=count, assignments=None) for name in names]
    return [each.error_code for each in (await client.ask(CreatePartitionsRequest(topics=wanted), 3)).results]


def fetch(*topic_ids: bytes, wait_ms: int = 0) -> FetchRequest:
    wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1,
        max_bytes=1 << 24,
        session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic_id=topic_id, partitions=[wanted]) for topic_id in topic_ids],
    )


def produce(topic_id: bytes, value: bytes) -> ProduceRequest:
    data = ProduceRequest.PartitionProduceData(index=0, records=build_batch([Record(0, 1, None, value)]))
    return ProduceRequest(
        acks=-1, timeout_ms=5000, topic_data=[ProduceRequest.TopicProduceData(topic_id=topic_id, partition_data=[data])]
    )


async def produced(client: Client, topic_id: bytes, value: bytes = b"v") -> int:
    answer = await client.ask(produce(topic_id, value), 13)
    return int(answer.responses[0].partition_responses[0].error_code)


def changes(running: Running) -> int:
    """How many batches the metadata log holds: each is a change, and a flush."""
    log: Any = running.broker.store.get(METADATA_TOPIC, 0)
    return len(list(batches(log.read(0, 1 << 26, min_one_batch=True).value.take())))


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_is_one_change_of_the_metadata(running: Running) -> None:
    names = [f"t{number}" for number in range(100)]
    async with await running.client() as client:
        await create(client, "first")
        before = changes(running)
        answered = await create(client, *names, "first", partitions=3)
        assert [each.error_code for each in answered] == [0] * 100 + [ErrorCode.TOPIC_ALREADY_EXISTS]
        assert changes(running) == before + 1
        assert await grow(client, 4, *names, "nope") == [0] * 100 + [GONE]
        assert changes(running) == before + 2
        assert await delete(client, *names, "nope") == [0] * 100 + [GONE]
        assert changes(running) == before + 3
        assert await delete(client, *names) == [GONE] * 100
        assert await create(client) == []
        assert changes(running) == before + 3
    assert set(running.broker.cluster.topics) == {"first"}


async def test_a_request_that_cannot_be_written_changes_nothing(running: Running) -> None:
    fs: Any = running.broker.store._fs
    sync = fs.datasync

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "no disk today")

    refused = [ErrorCode.KAFKA_STORAGE_ERROR] * 2
    async with await running.client() as client:
        await create(client, "a", "b")
        ids = [running.broker.cluster.topics[name].id for name in "ab"]
        assert [await produced(client, topic_id) for topic_id in ids] == [0, 0]
        fs.datasync = fail
        assert [each.error_code for each in await create(client, "c", "d")] == refused
        assert await grow(client, 2, "a", "b") == refused
        assert await delete(client, "a", "b") == refused
        assert [await produced(client, topic_id) for topic_id in ids] == [0, 0]
        fs.datasync = sync
        assert await delete(client, "a", "b") == [0, 0]
    assert running.broker.cluster.topics == {}


async def test_names_that_collide_may_come_together_only(running: Running) -> None:
    """Kafka looks at the topics that are there, not at the others of the request."""
    async with await running.client() as client:
        assert [each.error_code for each in await create(client, "a.b", "a_b", "c_d")] == [0, 0, 0]
        answered = await create(client, "c.d", "e.f")
        assert [each.error_code for each in answered] == [ErrorCode.INVALID_TOPIC_EXCEPTION, 0]
        await delete(client, "c_d")
        assert [each.error_code for each in await create(client, "c.d")] == [0]


async def test_topics_with_other_configs_are_told_their_own(running: Running) -> None:
    async with await running.client() as client:
        answered = [
            *await create(client, "a", "b"),
            *await create(client, "c", retention_ms="1"),
            *await create(client, "d", retention_ms="2"),
        ]
        told = [{each.name: each.value for each in topic.configs}["retention.ms"] for topic in answered]
        assert told == ["604800000", "604800000", "1", "2"]


# ── deleted under who uses it ───────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_waits_hears_it_at_once(running: Running) -> None:
    async with await running.client() as admin, await running.client() as both, await running.client() as one:
        ids = [each.topic_id for each in await create(admin, "a", "b", "stays")]
        for client, wanted in ((both, ids[:2]), (one, ids[:1])):
            await client.send(fetch(*wanted, wait_ms=LONG_MS), 16)
        await trio.testing.wait_all_tasks_blocked()
        assert await delete(admin, "a", "b") == [0, 0]
        with trio.fail_after(60):
            for client, wanted in ((both, ids[:2]), (one, ids[:1])):
                answer = await client.receive(fetch(*wanted), 16)
                codes = [each.error_code for topic in answer.responses for each in topic.partitions]
                assert set(codes) <= {GONE, UNKNOWN_ID}
                assert len(codes) == len(wanted)
        assert not running.broker.cluster.topics["stays"].partitions[0].waiters


async def test_a_name_is_free_at_once_and_the_old_id_is_nobodys(running: Running) -> None:
    async with await running.client() as client:
        (old,) = await create(client, "t", partitions=2)
        assert await produced(client, old.topic_id, b"old") == 0
        assert await commit(client, old.topic_id) == 0
        assert await fetch_offsets(client) == {("t", 0): 5}
        assert await delete(client, topic_id=old.topic_id) == [0]
        (new,) = await create(client, "t")
        assert new.topic_id != old.topic_id
        assert await fetch_offsets(client) == {}

        answer = await client.ask(fetch(old.topic_id), 16)
        assert answer.responses[0].partitions[0].error_code == UNKNOWN_ID
        assert await produced(client, old.topic_id) == UNKNOWN_ID
        assert await commit(client, old.topic_id) == UNKNOWN_ID
        named = MetadataRequest.MetadataRequestTopic(topic_id=old.topic_id, name=None)
        assert (await client.ask(MetadataRequest(topics=[named]), 12)).topics[0].error_code == UNKNOWN_ID
        assert await delete(client, topic_id=old.topic_id) == [UNKNOWN_ID]

        assert await produced(client, new.topic_id, b"new") == 0
        answer = await client.ask(fetch(new.topic_id), 16)
        found = answer.responses[0].partitions[0]
        assert (found.error_code, found.high_watermark) == (0, 1)
        assert b"new" in bytes(found.records)


async def commit(client: Client, topic_id: bytes) -> int:
    partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=5)
    topic = OffsetCommitRequest.OffsetCommitRequestTopic(topic_id=topic_id, partitions=[partition])
    answer = await client.ask(OffsetCommitRequest(group_id="g", topics=[topic]), 10)
    return int(answer.topics[0].partitions[0].error_code)


async def fetch_offsets(client: Client) -> dict[tuple[str, int], int]:
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)
    answer = await client.ask(OffsetFetchRequest(groups=[group]), 8)
    return {
        (topic.name, each.partition_index): each.committed_offset
        for topic in answer.groups[0].topics
        for each in topic.partitions
    }


@pytest.mark.parametrize("generation", [OLD, NEW], ids=str)
async def test_a_transaction_over_a_topic_that_was_made_anew(running: Running, generation: Generation) -> None:
    """It ends, and the new topic holds nothing of it that anybody would wait for."""
    async with await running.client() as client:
        await create(client, "t", "anew", partitions=3)
        producer = await Producer.start(client, "x", generation)
        for name in ("anew", "t"):
            assert await producer.send(name, 0, b"v") is ErrorCode.NONE
        assert await delete(client, "anew") == [0]
        (new,) = await create(client, "anew", partitions=3)
        assert await produced(client, new.topic_id, b"new") == 0
        assert await producer.commit() is ErrorCode.NONE
        assert await state_of(client, "x") == "CompleteCommit"
        assert await committed(client, "t") == [b"v"]
        assert await committed(client, "anew") == [b"new"]
        stable = await end_offset(client, "anew", 0, isolation_level=1)
        assert stable == await end_offset(client, "anew", 0, isolation_level=0)
