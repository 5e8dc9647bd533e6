"""What a stop, a crash or a copied folder leaves behind is there, or not there, after the next start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from tests.broker.conftest import Launcher, Running
from tests.broker.test_connection import METADATA, PRODUCE, fetch, fetched, metadata, produce

INIT = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)


async def crash(launcher: Launcher, running: Running) -> None:
    """The folder as kill -9 would have left it now: a copy taken while the broker runs."""
    copy = launcher.folder.with_name("copy")
    shutil.copytree(launcher.folder, copy)
    await launcher.stop()
    shutil.rmtree(launcher.folder)
    (copy / ".lock").unlink()
    copy.rename(launcher.folder)


@pytest.fixture(params=["clean stop", "crash"])
def end(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def again(launcher: Launcher, running: Running, end: str) -> Running:
    if end == "crash":
        await crash(launcher, running)
    else:
        await launcher.stop()
    return await launcher.start()


async def test_topics_records_and_ids_are_there_again(launcher: Launcher, end: str) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        configs = [CreateTopicsRequest.CreatableTopicConfig(name="segment.bytes", value="2000000")]
        wanted = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=3, replication_factor=1, configs=configs)
        created = await client.ask(CreateTopicsRequest(topics=[wanted]), 7)
        await client.ask(produce("t", b"one", b"two"), PRODUCE)
        first = (await client.ask(INIT, 4)).producer_id
    for _ in range(2):
        running = await again(launcher, running, end)
        topic = running.broker.cluster.topics["t"]
        assert topic.id == created.topics[0].topic_id
        assert len(topic.partitions) == 3
        assert topic.overrides == {"segment.bytes": "2000000"}
        async with await running.client() as client:
            assert await fetched(client, fetch("t", 0)) == [b"one", b"two"]
            next_id = (await client.ask(INIT, 4)).producer_id
            assert next_id > first, "a producer id is never given twice"
            first = next_id
    async with await running.client() as client:  # and it can still be changed
        assert (await client.ask(metadata("later"), METADATA)).topics[0].error_code == 0
        assert (await client.ask(produce("t", b"three"), PRODUCE)).responses[0].partition_responses[0].base_offset == 2


async def test_a_deleted_topic_stays_deleted_and_its_name_is_free(launcher: Launcher, end: str) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(metadata("t", "other"), METADATA)
        await client.ask(produce("t", b"old"), PRODUCE)
        deleted = await client.ask(DeleteTopicsRequest(topic_names=["t"]), 4)
        assert deleted.responses[0].error_code == 0
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"new"), PRODUCE)
    running = await again(launcher, running, end)
    async with await running.client() as client:
        assert await fetched(client, fetch("t", 0)) == [b"new"]


async def test_a_deletion_cut_short_by_a_crash_is_finished(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"old"), PRODUCE)
    folder = launcher.folder / "t-0"
    kept = launcher.folder.with_name("kept")
    shutil.copytree(folder, kept)
    async with await running.client() as client:
        await client.ask(DeleteTopicsRequest(topic_names=["t"]), 4)
    await launcher.stop()
    kept.rename(folder)  # the record of the deletion is there, the rename never happened
    running = await launcher.start()
    assert not folder.exists()
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        assert await fetched(client, fetch("t", 0)) == []


async def test_a_folder_of_no_topic_is_set_aside_and_kept(launcher: Launcher) -> None:
    running = await launcher.start()
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"kept"), PRODUCE)
    await launcher.stop()
    (launcher.folder / "t-0").rename(launcher.folder / "foreign-0")
    running = await launcher.start()
    assert "foreign" in running.log_text
    strays: list[Path] = list(launcher.folder.glob("foreign-0.*-stray"))
    assert len(strays) == 1
    assert b"kept" in (strays[0] / "00000000000000000000.log").read_bytes()
    async with await running.client() as client:
        await client.ask(metadata("foreign"), METADATA)
        assert await fetched(client, fetch("foreign", 0)) == []
        answer = await client.ask(produce("t", b"again"), PRODUCE)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NONE
