"""What an acknowledgement promises over the wire: group commit, a disk that fails or is full, and what heals by
itself.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import FETCH, METADATA, PRODUCE, fetch, fetched, metadata, produce


class Disk:
    """Bends the file system of a broker that runs."""

    def __init__(self, running: Running) -> None:
        fs = running.broker.store._fs
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.syncing = 0
        self.fails: int | None = None  # with this errno
        self.full = False
        sync, write, write_file = fs.datasync, fs.pwrite, fs.write_file

        def datasync(fd: int) -> None:
            self.syncing += 1
            assert self.may_sync.wait(10)
            if self.fails is not None:
                raise OSError(self.fails, "Input/output error")
            sync(fd)

        def pwrite(fd: int, data: Any, position: int) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data, position)

        def small(path: str, data: Any, *, sync: bool, append: bool = False) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            write_file(path, data, sync=sync, append=append)

        fs.datasync, fs.pwrite = datasync, pwrite
        fs.__class__ = type("BentFileSystem", (type(fs),), {"__slots__": (), "write_file": staticmethod(small)})

    async def wait_for_sync(self) -> None:
        with trio.fail_after(60):
            while not self.syncing:
                await trio.sleep(0.001)


DURABLE = CreateTopicsRequest.CreatableTopic(
    name="t",
    num_partitions=1,
    replication_factor=1,
    configs=[CreateTopicsRequest.CreatableTopicConfig(name="flush.messages", value="1")],
)


@pytest.fixture
async def disk(running: Running) -> AsyncIterator[Disk]:
    async with await running.client() as client:
        assert (await client.ask(CreateTopicsRequest(topics=[DURABLE]), 7)).topics[0].error_code == 0
    disk = Disk(running)
    yield disk
    disk.may_sync.set()


def code(response: Any) -> ErrorCode:
    return ErrorCode(response.responses[0].partition_responses[0].error_code)


async def nothing_comes(client: Client) -> bool:
    with trio.move_on_after(0.05):
        await client.stream.receive_some(1)
        return False
    return True


@pytest.mark.parametrize("acks", [1, -1])
async def test_an_answer_waits_for_the_disk_and_readers_do_too(running: Running, disk: Disk, acks: int) -> None:
    disk.may_sync.clear()
    async with await running.client() as writer, await running.client() as reader, await running.client() as late:
        await reader.send(fetch("t", 0, max_wait_ms=5000), FETCH)
        await writer.send(produce("t", b"one", acks=acks), PRODUCE)
        await disk.wait_for_sync()
        await late.send(produce("t", b"two", acks=acks), PRODUCE)
        assert await nothing_comes(writer)
        assert await nothing_comes(reader)
        async with await running.client() as other:  # the loop goes on
            assert (await other.ask(metadata("t"), METADATA)).topics[0].error_code == 0
            assert await fetched(other, fetch("t", 0)) == []
        disk.may_sync.set()
        with trio.fail_after(60):
            for client, offset in ((writer, 0), (late, 1)):
                answer = await client.receive(produce("t"), PRODUCE)
                assert (code(answer), answer.responses[0].partition_responses[0].base_offset) == (0, offset)
            assert (await reader.receive(fetch("t", 0), FETCH)).responses[0].partitions[0].high_watermark >= 1
            assert await fetched(reader, fetch("t", 0)) == [b"one", b"two"]


async def test_nobody_waits_who_asks_for_no_answer(running: Running, disk: Disk) -> None:
    disk.may_sync.clear()
    async with await running.client() as client:
        await client.send(produce("t", b"one", acks=0), PRODUCE)
        assert (await client.ask(metadata("t"), METADATA)).topics[0].error_code == 0
        disk.may_sync.set()
        with trio.fail_after(60):
            while await fetched(client, fetch("t", 0, max_wait_ms=100)) != [b"one"]:
                pass


async def test_one_sync_serves_many(running: Running, disk: Disk) -> None:
    disk.may_sync.clear()
    clients = [await running.client() for _ in range(20)]
    for client in clients:
        await client.send(produce("t", b"x"), PRODUCE)
        await disk.wait_for_sync()
    while running.broker.store.get("t", 0).log_end_offset < 20:  # type: ignore[union-attr]
        await trio.sleep(0.001)
    disk.may_sync.set()
    with trio.fail_after(60):
        answers = [await client.receive(produce("t"), PRODUCE) for client in clients]
    assert [code(answer) for answer in answers] == [0] * 20
    assert disk.syncing == 2
    for client in clients:
        await trio.aclose_forcefully(client.stream)


async def test_a_stop_answers_who_waits(launcher: Launcher, running: Running, disk: Disk) -> None:
    disk.may_sync.clear()
    async with await running.client() as client:
        await client.send(produce("t", b"one"), PRODUCE)
        await disk.wait_for_sync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(launcher.stop)
            await trio.sleep(0.02)
            disk.may_sync.set()
            with trio.fail_after(60):
                assert code(await client.receive(produce("t"), PRODUCE)) == 0
    again = await launcher.start()
    async with await again.client() as client:
        assert await fetched(client, fetch("t", 0)) == [b"one"]


async def test_a_topic_deleted_under_who_waits(running: Running, disk: Disk) -> None:
    disk.may_sync.clear()
    async with await running.client() as client:
        await client.send(produce("t", b"one"), PRODUCE)
        await disk.wait_for_sync()
        running.broker.store.delete("t", 0)
        with trio.fail_after(60):
            assert code(await client.receive(produce("t"), PRODUCE)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        disk.may_sync.set()
        assert (await client.ask(metadata("t"), METADATA)).topics[0].error_code == 0
    assert "failed" not in running.log_text


async def test_a_sync_that_fails_is_told_and_made_good(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client() as client:
        await client.ask(CreateTopicsRequest(topics=[DURABLE]), 7)
        disk = Disk(running)
        assert code(await client.ask(produce("t", b"safe"), PRODUCE)) == 0
        disk.fails = errno.EIO
        for _ in range(10):
            assert code(await client.ask(produce("t", b"lost?"), PRODUCE)) == ErrorCode.KAFKA_STORAGE_ERROR
        assert await fetched(client, fetch("t", 0)) == [b"safe"]
        assert running.log_text.count("storage fails") == 1
        disk.fails = None
        assert code(await client.ask(produce("t", b"again"), PRODUCE)) == 0
        assert await fetched(client, fetch("t", 0)) == [b"safe", *[b"lost?"] * 10, b"again"]
        await until(running, clock, "storage works again")


async def test_a_full_disk_refuses_writes_serves_reads_and_heals(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"offsets.topic.num.partitions": "1"}, clock=clock)
    commit = OffsetCommitRequest(
        group_id="g",
        generation_id_or_member_epoch=-1,
        topics=[
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name="t",
                partitions=[OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)],
            )
        ],
    )
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        assert code(await client.ask(produce("t", b"safe"), PRODUCE)) == 0
        assert (await client.ask(commit, 8)).topics[0].partitions[0].error_code == 0
        disk = Disk(running)
        disk.full = True
        for _ in range(20):
            assert code(await client.ask(produce("t", b"lost"), PRODUCE)) == ErrorCode.KAFKA_STORAGE_ERROR
            answer = await client.ask(commit, 8)
            assert answer.topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR
            clock.advance(1000)
        created = await client.ask(
            CreateTopicsRequest(
                topics=[CreateTopicsRequest.CreatableTopic(name="new", num_partitions=1, replication_factor=1)]
            ),
            7,
        )
        assert created.topics[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
        assert "new" not in running.broker.cluster.topics
        assert await fetched(client, fetch("t", 0)) == [b"safe"]
        for _ in range(5):
            clock.advance(60_000)  # checkpoints and retention fail too
            await trio.sleep(0.001)
        said = [line for line in running.log_text.splitlines() if "WARNING" in line or "ERROR" in line]
        assert len(said) == 1, said
        assert "No space left on device" in said[0]
        disk.full = False
        assert code(await client.ask(produce("t", b"more"), PRODUCE)) == 0
        assert (await client.ask(commit, 8)).topics[0].partitions[0].error_code == 0
        assert await fetched(client, fetch("t", 0)) == [b"safe", b"more"]
        await until(running, clock, "storage works again")
    await launcher.stop()
    again = await launcher.start()
    async with await again.client() as client:
        assert await fetched(client, fetch("t", 0)) == [b"safe", b"more"]


async def until(running: Running, clock: ManualClock, text: str) -> None:
    with trio.fail_after(60):
        while text not in running.log_text:
            clock.advance(1000)
            running.broker.timers.run_due()
            await trio.lowlevel.checkpoint()


async def test_coordinators_wait_for_the_disk_too(launcher: Launcher) -> None:
    settings = {"log.flush.interval.messages": "1", "offsets.topic.num.partitions": "1"}
    running = await launcher.start(settings)
    commit = OffsetCommitRequest(
        group_id="g",
        generation_id_or_member_epoch=-1,
        topics=[
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name="t",
                partitions=[OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)],
            )
        ],
    )
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        assert (await client.ask(commit, 8)).topics[0].partitions[0].error_code == 0
        disk = Disk(running)
        disk.may_sync.clear()
        await client.send(commit, 8)
        await disk.wait_for_sync()
        assert await nothing_comes(client)
        disk.may_sync.set()
        with trio.fail_after(60):
            assert (await client.receive(commit, 8)).topics[0].partitions[0].error_code == 0
        log = running.broker.store.get("__consumer_offsets", 0)
        assert log is not None
        assert log.recovery_point == log.log_end_offset == 2
