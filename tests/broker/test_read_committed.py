"""Readers of committed records: Fetch, ListOffsets and their waits, and what operators see and do about transactions
(DescribeProducers, WriteTxnMarkers). What is expected was asked of Kafka 4.4.0.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ottla.broker.cluster import Partition
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_producers import DescribeProducersRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.write_txn_markers import WriteTxnMarkersRequest
from ottla.wire.records import Record, batches, build_batch
from tests.broker.conftest import Client, Launcher, Running

NOW = ManualClock().wall_ms()
LARGE = 1 << 20
FENCED, EPOCH = ErrorCode.TRANSACTION_COORDINATOR_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH
UNKNOWN, INVALID = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.INVALID_REQUEST
Marker = WriteTxnMarkersRequest.WritableTxnMarker


class Producers:
    """Writes to partition 0 of t as producers do: producer id 0 is no producer, each batch is one record."""

    def __init__(self, running: Running) -> None:
        self.partition: Partition = running.broker.cluster.topics["t"].partitions[0]
        self._sequences: dict[int, int] = {}

    def send(self, *producer_ids: int, size: int = 1) -> None:
        for producer_id in producer_ids:
            records = [Record(0, NOW, b"k", b"v" * size)]
            identity: dict[str, Any] = {}
            if producer_id:
                sequence = self._sequences.get(producer_id, 0)
                self._sequences[producer_id] = sequence + 1
                identity = {
                    "producer_id": producer_id,
                    "producer_epoch": 0,
                    "base_sequence": sequence,
                    "transactional": True,
                }
            self.partition.log.append(build_batch(records, **identity), leader_epoch=0)
            self.partition.grew()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def running(launcher: Launcher, clock: ManualClock) -> Running:
    running = await launcher.start({"producer.id.expiration.check.interval.ms": "5000"}, clock=clock)
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 2))
    return running


@pytest.fixture
def producers(running: Running) -> Producers:
    return Producers(running)


def fetch(
    offset: int = 0,
    *,
    committed: bool = True,
    min_bytes: int = 1,
    max_bytes: int = LARGE,
    wait_ms: int = 0,
    session: tuple[int, int] = (0, -1),
) -> FetchRequest:
    wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=min_bytes,
        max_bytes=LARGE,
        isolation_level=int(committed),
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchRequest.FetchTopic(topic="t", partitions=[wanted])],
    )


def mark(
    producer_id: int,
    commit: bool,
    *,
    topic: str = "t",
    partitions: tuple[int, ...] = (0,),
    epoch: int = 0,
    coordinator: int = 0,
    version: int = 0,
) -> Marker:
    return Marker(
        producer_id=producer_id,
        producer_epoch=epoch,
        transaction_result=commit,
        coordinator_epoch=coordinator,
        transaction_version=version,
        topics=[WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic, partition_indexes=list(partitions))],
    )


async def end(client: Client, *markers: Marker, version: int = 2) -> dict[int, dict[str, dict[int, int]]]:
    """Producer id -> topic -> partition -> code."""
    response = await client.ask(WriteTxnMarkersRequest(markers=list(markers)), version)
    return {
        result.producer_id: {
            topic.name: {partition.partition_index: partition.error_code for partition in topic.partitions}
            for topic in result.topics
        }
        for result in response.markers
    }


class Got:
    """The one partition of a Fetch response."""

    def __init__(self, response: Any) -> None:
        [topic] = response.responses
        [data] = topic.partitions
        self.code = data.error_code
        self.offsets = (data.last_stable_offset, data.high_watermark)
        self.records = [batch.base_offset for batch in batches(bytes(data.records))]
        listed = data.aborted_transactions
        self.aborted = None if listed is None else [(each.producer_id, each.first_offset) for each in listed]


async def read(client: Client, request: FetchRequest, version: int = 12) -> Got:
    return Got(await client.ask(request, version))


# --- Fetch


@pytest.mark.parametrize("version", [4, 6, 7, 11, 12])
async def test_what_a_reader_of_committed_records_gets(running: Running, producers: Producers, version: int) -> None:
    producers.send(1, 2, 1, 0)
    async with await running.client() as client:

        async def got(**options: Any) -> tuple[list[int], list[tuple[int, int]] | None, tuple[int, int]]:
            found = await read(client, fetch(**options), version)
            return found.records, found.aborted, found.offsets

        assert await got() == ([], [], (0, 4))
        assert await got(offset=2) == ([], [], (0, 4))
        assert await got(committed=False) == ([0, 1, 2, 3], None, (0, 4))
        await end(client, mark(2, commit=False))
        producers.send(3)
        assert await got() == ([], [], (0, 6))
        await end(client, mark(1, commit=False))
        both = [(2, 1), (1, 0)]  # as their markers come
        assert await got() == ([0, 1, 2, 3, 4], both, (5, 7))
        assert await got(offset=3) == ([3, 4], both, (5, 7))
        assert await got(max_bytes=80) == ([0], both, (5, 7))
        assert await got(offset=6) == ([], [], (5, 7))
        assert await got(committed=False) == ([0, 1, 2, 3, 4, 5, 6], None, (5, 7))
        await end(client, mark(3, commit=True))
        assert await got(offset=5) == ([5, 6, 7], [(1, 0)], (8, 8))
        assert await got(offset=8) == ([], [], (8, 8))
        past = await read(client, fetch(9), version)
        assert (past.code, past.aborted, past.offsets) == (ErrorCode.OFFSET_OUT_OF_RANGE, None, (-1, -1))


async def test_only_a_marker_ends_the_wait(running: Running, producers: Producers) -> None:
    """Records of an open transaction wake nobody who waits for committed ones."""
    producers.send(1)
    got: dict[str, Got] = {}

    async def wait(name: str, request: FetchRequest) -> None:
        async with await running.client() as client:
            got[name] = await read(client, request)

    async with trio.open_nursery() as nursery, await running.client() as admin:
        nursery.start_soon(wait, "committed", fetch(wait_ms=60_000))
        nursery.start_soon(wait, "all", fetch(1, committed=False, wait_ms=60_000))
        await wait_all_tasks_blocked(0.01)
        producers.send(1, 0)
        await wait_all_tasks_blocked(0.01)
        assert list(got) == ["all"]
        assert await end(admin, mark(1, commit=True)) == {1: {"t": {0: 0}}}
    assert (got["committed"].records, got["committed"].offsets) == ([0, 1, 2, 3], (4, 4))


async def test_only_committed_bytes_count(running: Running, producers: Producers) -> None:
    producers.send(0, size=300)
    producers.send(1, size=3000)
    got: list[Got] = []

    async def wait() -> None:
        async with await running.client() as client:
            got.append(await read(client, fetch(min_bytes=1000, wait_ms=60_000)))

    async with trio.open_nursery() as nursery, await running.client() as admin:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked(0.01)
        producers.send(0, size=3000)
        await wait_all_tasks_blocked(0.01)
        assert not got
        assert (await read(admin, fetch(committed=False, min_bytes=1000, wait_ms=60_000))).records == [0, 1, 2]
        assert (await read(admin, fetch(min_bytes=100, wait_ms=60_000))).records == [0]
        await end(admin, mark(1, commit=False))
    assert (got[0].records, got[0].aborted) == ([0, 1, 2, 3], [(1, 1)])


async def test_a_session_of_committed_records(running: Running, producers: Producers) -> None:
    producers.send(1)
    async with await running.client() as client:
        opened = await client.ask(fetch(session=(0, 0)), 12)
        assert (opened.session_id > 0, Got(opened).records) == (True, [])

        def follow(epoch: int) -> FetchRequest:
            asked = fetch(session=(opened.session_id, epoch))
            asked.topics = []
            return asked

        assert (await client.ask(follow(1), 12)).responses == []
        producers.send(1)  # the high watermark is news, whoever reads
        assert Got(await client.ask(follow(2), 12)).records == []
        await end(client, mark(1, commit=False))
        found = Got(await client.ask(follow(3), 12))
        assert (found.records, found.aborted, found.offsets) == ([0, 1, 2], [(1, 0)], (3, 3))


async def test_what_was_deleted_holds_nobody_up(running: Running, producers: Producers) -> None:
    producers.send(1, 1, 0)
    producers.partition.log.trim(2)
    async with await running.client() as client:
        found = await read(client, fetch(2))
        assert (found.records, found.offsets) == ([], (2, 3))
        await end(client, mark(1, commit=False))
        found = await read(client, fetch(2))
        assert (found.records, found.aborted, found.offsets) == ([2, 3], [(1, 0)], (4, 4))


# --- ListOffsets


async def offset(client: Client, timestamp: int, *, committed: bool = True) -> tuple[int, int]:
    """(offset, timestamp) that are found."""
    wanted = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=int(committed),
        topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[wanted])],
    )
    [topic] = (await client.ask(request, 7)).topics
    [answer] = topic.partitions
    assert answer.error_code == 0
    return answer.offset, answer.timestamp


async def test_offsets_of_committed_records(running: Running, producers: Producers, clock: ManualClock) -> None:
    """Markers are records with a time of their own; what lies beyond the last stable offset is not found."""
    producers.send(0, 1)
    async with await running.client() as client:
        clock.advance(700)
        await end(client, mark(2, commit=True))  # the largest timestamp, behind an open transaction
        assert (await offset(client, -1), await offset(client, -1, committed=False)) == ((1, -1), (3, -1))
        assert (await offset(client, -3), await offset(client, -3, committed=False)) == ((-1, -1), (2, NOW + 700))
        assert (await offset(client, NOW + 1), await offset(client, NOW)) == ((-1, -1), (0, NOW))
        assert await offset(client, NOW + 1, committed=False) == (2, NOW + 700)
        assert await offset(client, -2) == (0, -1)
        await end(client, mark(1, commit=True))
        assert (await offset(client, -1), await offset(client, -3)) == ((4, -1), (2, NOW + 700))
        assert await offset(client, NOW + 1) == (2, NOW + 700)


# --- what operators see and do


async def describe(client: Client, topic: str, *partitions: int) -> list[tuple[int, bool, list[tuple[int, ...]]]]:
    """(code, whether it is explained, producers) of each partition."""
    asked = DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=list(partitions))
    response = await client.ask(DescribeProducersRequest(topics=[asked]), 0)
    return [
        (
            answer.error_code,
            answer.error_message is not None,
            [
                (
                    known.producer_id,
                    known.producer_epoch,
                    known.last_sequence,
                    known.last_timestamp,
                    known.coordinator_epoch,
                    known.current_txn_start_offset,
                )
                for known in answer.active_producers
            ],
        )
        for answer in response.topics[0].partitions
    ]


async def test_producers_are_described(running: Running, producers: Producers) -> None:
    producers.send(1, 2, 1)
    async with await running.client() as client:
        await end(client, mark(2, commit=True, epoch=1, coordinator=5, version=2))
        assert await describe(client, "t", 0, 1, 7) == [
            (0, False, [(1, 0, 1, NOW, -1, 0), (2, 1, -1, NOW, 5, -1)]),
            (0, False, []),
            (UNKNOWN, False, []),
        ]
        assert await describe(client, "nope", 0) == [(UNKNOWN, True, [])]
        for name in ("bad name!", ""):
            assert await describe(client, name, 0) == [(ErrorCode.INVALID_TOPIC_EXCEPTION, True, [])]


async def test_producers_are_forgotten(running: Running, producers: Producers, clock: ManualClock) -> None:
    producers.send(1, 2)
    day_ms = 86_400_000
    async with await running.client() as client:
        await end(client, mark(2, commit=True))
        for passed_ms, left in ((day_ms - 1, [1, 2]), (1, [1, 2]), (5_000, [1])):  # at the next check
            clock.advance(passed_ms)
            running.broker.timers.run_due()
            [(_, _, known)] = await describe(client, "t", 0)
            assert [producer_id for producer_id, *_ in known] == left, "an open transaction keeps its producer"


async def test_markers_are_answered_one_by_one(running: Running, producers: Producers) -> None:
    producers.send(1, 2)
    async with await running.client() as client:
        answered = await end(
            client,
            mark(1, commit=True, partitions=(0, 9), coordinator=5),
            mark(1, commit=True, partitions=(1,)),
            mark(2, commit=False, version=2),
            mark(3, commit=True, topic="nope"),
            mark(-1, commit=True),
            mark(4, commit=True, epoch=-1),
        )
        assert answered == {
            1: {"t": {0: 0, 9: UNKNOWN, 1: 0}},
            2: {"t": {0: EPOCH}},
            3: {"nope": {0: UNKNOWN}},
            -1: {"t": {0: INVALID}},
            4: {"t": {0: INVALID}},
        }
        assert await end(client, mark(1, commit=True, coordinator=4)) == {1: {"t": {0: FENCED}}}
        assert await end(client, mark(2, commit=False), version=1) == {2: {"t": {0: 0}}}
        assert await end(client) == {}
        assert await end(client, Marker(producer_id=6, producer_epoch=0)) == {}
        assert (await read(client, fetch())).offsets == (4, 4)
    assert "transaction markers written" in running.log_text


async def test_offsets_of_a_group_hear_of_the_end(
    running: Running, monkeypatch: pytest.MonkeyPatch, producers: Producers
) -> None:
    heard: list[tuple[int, tuple[int, int], bool]] = []

    def replay_marker(_: GroupCoordinator, partition: int, producer: tuple[int, int], commit: bool) -> None:
        heard.append((partition, producer, commit))

    monkeypatch.setattr(GroupCoordinator, "replay_marker", replay_marker)
    running.broker.metadata.internal_topic("__consumer_offsets")
    async with await running.client() as client:
        for commit in (True, False):
            answered = await end(client, mark(5, commit, topic="__consumer_offsets", partitions=(3,), epoch=2))
            assert answered == {5: {"__consumer_offsets": {3: 0}}}
        await end(client, mark(5, commit=True, topic="__consumer_offsets", partitions=(3,), epoch=1))  # refused
        await end(client, mark(5, commit=True))
    assert heard == [(3, (5, 2), True), (3, (5, 2), False)]


async def test_a_marker_is_answered_when_it_is_durable(running: Running) -> None:
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("safe", 1, overrides={"flush.messages": "1"}))
    log = running.broker.cluster.topics["safe"].partitions[0].log
    async with await running.client() as client:
        assert await end(client, mark(5, commit=True, topic="safe")) == {5: {"safe": {0: 0}}}
        assert (log.high_watermark, log.last_stable_offset) == (1, 1)
