"""Fetches that are answered from a template hear byte for byte what those hear that are answered by objects."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ottla.log.clock import ManualClock
from ottla.wire import lone_fetch
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

T0 = 1_700_000_000_000
SMALL, LARGE = (bytes(build_batch([Record(0, T0, None, b"v" * size)])) for size in (9, 20_000))
OPEN = bytes(
    build_batch([Record(0, T0, None, b"t")], producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
)


class Onlooker:
    """A tap that only looks: all that passes it is an object."""

    def on_request(self, context: Any) -> None:
        pass

    def on_response(self, context: Any, response: Any) -> None:
        assert type(response).__name__ != "Encoded"


async def frame_of(client: Client, asked: FetchRequest, version: int) -> bytes:
    """The answer's bytes behind the correlation id, its session id put to 0."""
    await client.stream.send_all(client.frame(asked, version))
    (size,) = struct.unpack(">i", await client._exactly(4))
    body = (await client._exactly(size))[4:]
    at = 6 + (version >= 12)  # throttle time, error code, and the header's tags
    return body[:at] + bytes(4) + body[at + 4 :]


@pytest.mark.parametrize("committed", [0, 1], ids=["uncommitted", "committed"])
@pytest.mark.parametrize("session_epoch", [-1, 0], ids=["once", "session"])
@pytest.mark.parametrize("version", [4, 7, 11, 12, 13, 16, 18])
async def test_answers(launcher: Launcher, version: int, session_epoch: int, committed: int) -> None:
    running = await launcher.start(clock=ManualClock())
    async with await running.client() as client:
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=3, replication_factor=1)
        assert (await client.ask(CreateTopicsRequest(topics=[topic]), 7)).topics[0].error_code == 0
        topic_id = running.broker.cluster.topics["t"].id
        logs = [partition.log for partition in running.broker.cluster.topics["t"].partitions]
        for batch in (SMALL, LARGE, OPEN, SMALL):
            logs[0].append(bytearray(batch), leader_epoch=0)
        logs[1].append(bytearray(OPEN), leader_epoch=0)  # and is aborted
        logs[1].append_marker(7, 0, False, 0, leader_epoch=0, transaction_version=0)
        heard = []
        for _ in ("from the template", "by objects"):
            for index in (0, 1, 2, 9):
                for offset in (0, 1, 2, 3, 4, 99):
                    for limit in (1, 100, 1 << 20):
                        wanted = FetchRequest.FetchPartition(
                            partition=index, fetch_offset=offset, partition_max_bytes=limit
                        )
                        asked = FetchRequest(
                            min_bytes=1,
                            max_bytes=1 << 20,
                            isolation_level=committed,
                            session_epoch=session_epoch if version >= 7 else -1,
                            topics=[FetchRequest.FetchTopic(topic="t", topic_id=topic_id, partitions=[wanted])],
                        )
                        heard.append(await frame_of(client, asked, version))
            running.broker.gate.taps.append(Onlooker())
        half = len(heard) // 2
        assert heard[:half] == heard[half:]
        assert len(set(heard)) > 8


async def test_the_template_is_used(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above would show nothing."""
    used: list[int] = []
    real = lone_fetch.lone_fetch
    monkeypatch.setattr(
        lone_fetch, "lone_fetch", lambda version, *rest: (used.append(version), real(version, *rest))[1]
    )
    async with await running.client() as client:
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
        await client.ask(CreateTopicsRequest(topics=[topic]), 7)
        running.broker.cluster.topics["t"].partitions[0].log.append(bytearray(SMALL), leader_epoch=0)
        wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
        asked = FetchRequest(max_bytes=1000, topics=[FetchRequest.FetchTopic(topic="t", partitions=[wanted])])
        assert SMALL[21:] in await frame_of(client, asked, 12)
    assert used == [12]
