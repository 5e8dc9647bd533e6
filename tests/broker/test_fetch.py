"""Fetch: positions, sizes, epochs and sessions (KIP-227), as Kafka 4.4.0 does them. Waiting: test_connection.py too."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

Wanted = FetchRequest.FetchPartition
OUT_OF_RANGE, UNKNOWN = ErrorCode.OFFSET_OUT_OF_RANGE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
UNKNOWN_EPOCH = ErrorCode.UNKNOWN_LEADER_EPOCH
NOT_LEADER, UNKNOWN_ID = ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.UNKNOWN_TOPIC_ID
LARGE = 1 << 20
MINUTE = 60_000


def wanted(partition: int, offset: int, max_bytes: int = LARGE, *, epoch: int = -1, last_epoch: int = -1) -> Wanted:
    return Wanted(
        partition=partition,
        fetch_offset=offset,
        partition_max_bytes=max_bytes,
        current_leader_epoch=epoch,
        last_fetched_epoch=last_epoch,
    )


def fetch(
    *partitions: Wanted,
    topic: str | bytes = "t",
    session: tuple[int, int] = (0, -1),
    forget: list[int] | None = None,
    max_bytes: int = LARGE,
    committed: bool = False,
    replica: int = -1,
) -> FetchRequest:
    named: dict[str, Any] = {"topic_id": topic} if isinstance(topic, bytes) else {"topic": topic}
    return FetchRequest(
        replica_id=replica,
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=max_bytes,
        isolation_level=int(committed),
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchRequest.FetchTopic(partitions=list(partitions), **named)] if partitions else [],
        forgotten_topics_data=[FetchRequest.ForgottenTopic(partitions=forget, **named)] if forget else [],
    )


def partitions(response: Any) -> dict[int, Any]:
    return {data.partition_index: data for topic in response.responses for data in topic.partitions}


def codes(response: Any) -> dict[int, int]:
    return {index: data.error_code for index, data in partitions(response).items()}


def put(running: Running, partition: int, *, topic: str = "t", count: int = 2) -> None:
    batch = build_batch([Record(at, 0, b"k", bytes(100)) for at in range(count)])
    target = running.broker.cluster.topics[topic].partitions[partition]
    target.log.append(batch, leader_epoch=0)
    target.grew()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def running(launcher: Launcher, clock: ManualClock) -> Running:
    """Partition 0 of t holds three batches of two records, 1 is empty, 2 holds one batch of one and one of two."""
    running = await launcher.start({"max.incremental.fetch.session.cache.slots": "2"}, clock=clock)
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 3))
    for _ in range(3):
        put(running, 0)
    put(running, 2, count=1)
    put(running, 2)
    return running


# (partition wanted, code, bytes, high watermark, diverging epoch and end)
POSITIONS = {
    "from the start": (wanted(0, 0), 0, 3, 6, (-1, -1)),
    "inside a batch": (wanted(0, 3), 0, 2, 6, (-1, -1)),
    "at the end": (wanted(0, 6), 0, 0, 6, (-1, -1)),
    "past the end": (wanted(0, 7), OUT_OF_RANGE, 0, -1, (-1, -1)),
    "negative": (wanted(0, -5), OUT_OF_RANGE, 0, -1, (-1, -1)),
    "of none": (wanted(1, 0), 0, 0, 0, (-1, -1)),
    "unknown partition": (wanted(7, 0), UNKNOWN, 0, -1, (-1, -1)),
    "negative partition": (wanted(-1, 0), UNKNOWN, 0, -1, (-1, -1)),
    "our epoch": (wanted(0, 0, epoch=0), 0, 3, 6, (-1, -1)),
    "an epoch to come": (wanted(0, 0, epoch=5), UNKNOWN_EPOCH, 0, -1, (-1, -1)),
    "epoch before offset": (wanted(0, 9, epoch=5), UNKNOWN_EPOCH, 0, -1, (-1, -1)),
    "epoch before last epoch": (wanted(0, 0, epoch=5, last_epoch=9), UNKNOWN_EPOCH, 0, -1, (-1, -1)),
    "last epoch agrees": (wanted(0, 4, last_epoch=0), 0, 1, 6, (-1, -1)),
    "last epoch to come": (wanted(0, 4, last_epoch=7), OUT_OF_RANGE, 0, -1, (-1, -1)),
    "further than its last epoch went": (wanted(0, 40, last_epoch=0), 0, 0, 6, (0, 6)),
    "last epoch of none": (wanted(1, 0, last_epoch=0), 0, 0, 0, (-1, -1)),
    "further than none": (wanted(1, 5, last_epoch=0), 0, 0, 0, (0, 0)),
}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize(("asked", "code", "batches", "mark", "diverging"), POSITIONS.values(), ids=POSITIONS.keys())
async def test_positions(
    running: Running, asked: Wanted, code: int, batches: int, mark: int, diverging: tuple[int, int], committed: bool
) -> None:
    async with await running.client() as client:
        response = await client.ask(fetch(asked, committed=committed), 12)
    assert (response.error_code, response.session_id) == (0, 0)
    data = partitions(response)[asked.partition]
    assert (data.error_code, data.high_watermark, data.last_stable_offset) == (code, mark, mark)
    assert data.log_start_offset == min(mark, 0)
    one_batch = running.broker.cluster.topics["t"].partitions[0].log.size_bytes() // 3
    assert len(data.records) == batches * one_batch
    assert (data.diverging_epoch.epoch, data.diverging_epoch.end_offset) == diverging
    # [] where there is nothing, null where nobody asked or where a read failed
    listed = code == UNKNOWN or (committed and not code and diverging == (-1, -1))
    assert data.aborted_transactions == ([] if listed else None)


async def test_what_is_unknown(running: Running) -> None:
    known = running.broker.cluster.topics["t"].id
    async with await running.client() as client:
        assert codes(await client.ask(fetch(wanted(0, 0), topic="nope"), 12)) == {0: UNKNOWN}
        assert codes(await client.ask(fetch(wanted(0, 0), topic=bytes(range(16))), 13)) == {0: UNKNOWN_ID}
        assert codes(await client.ask(fetch(wanted(0, 0), topic=bytes(16)), 13)) == {0: UNKNOWN_ID}
        assert codes(await client.ask(fetch(wanted(0, 0), wanted(7, 0), topic=known), 13)) == {0: 0, 7: UNKNOWN}
        assert (await client.ask(fetch(), 12)).responses == []


async def test_a_topic_that_goes_while_a_fetch_waits_is_missed_by_the_read(running: Running) -> None:
    """Kafka's field for aborted transactions tells the two apart: [] for what was never there."""
    topic = running.broker.cluster.topics["t"]
    asked = fetch(wanted(0, topic.partitions[0].log.log_end_offset), committed=True)
    asked.max_wait_ms = MINUTE
    asked.topics += fetch(wanted(0, 0), topic="nope").topics
    async with await running.client() as client:
        await client.send(asked, 12)
        await trio.testing.wait_all_tasks_blocked()
        running.broker.metadata.delete_topics([topic])
        answer = await client.receive(asked, 12)
    assert [topic.topic for topic in answer.responses] == ["t", "nope"]
    gone, absent = (topic.partitions[0] for topic in answer.responses)
    assert (gone.error_code, gone.aborted_transactions) == (UNKNOWN, None)
    assert (absent.error_code, absent.aborted_transactions) == (UNKNOWN, [])


async def test_no_broker_follows(running: Running) -> None:
    async with await running.client() as client:
        asked = fetch(wanted(0, 0), wanted(1, 9), wanted(2, 0, epoch=5), replica=5)
        assert codes(await client.ask(asked, 12)) == {0: NOT_LEADER, 1: NOT_LEADER, 2: UNKNOWN_EPOCH}
        assert codes(await client.ask(fetch(wanted(0, 0), replica=-2), 12)) == {0: 0}


async def test_an_old_leader_epoch_is_fenced(running: Running) -> None:
    running.broker.cluster.topics["t"].partitions[0].leader_epoch = 3
    async with await running.client() as client:
        asked = fetch(wanted(0, 0, epoch=2))
        assert codes(await client.ask(asked, 12)) == {0: ErrorCode.FENCED_LEADER_EPOCH}


# (partitions wanted, most bytes in all, batches answered by partition); a fraction is a batch cut short
SIZES: dict[str, tuple[list[Wanted], int, dict[int, float]]] = {
    "partition limit below a batch": ([wanted(0, 0, 10)], LARGE, {0: 1}),
    "no bytes at all": ([wanted(0, 0)], 0, {0: 1}),
    "limit 0 passes on": ([wanted(1, 0), wanted(0, 0), wanted(2, 0)], 0, {1: 0, 0: 1, 2: 0}),
    "limit below a batch": ([wanted(0, 0), wanted(2, 0)], 10, {0: 1, 2: 0}),
    "the second is cut": ([wanted(0, 0, 400)], LARGE, {0: 1.5}),
    "the rest of the limit": ([wanted(0, 0, 300), wanted(0 + 2, 1)], LARGE, {0: 1.1, 2: 1}),
}


@pytest.mark.parametrize(("asked", "max_bytes", "batches"), SIZES.values(), ids=SIZES.keys())
async def test_sizes(running: Running, asked: list[Wanted], max_bytes: int, batches: dict[int, float]) -> None:
    one_batch = running.broker.cluster.topics["t"].partitions[0].log.size_bytes() // 3
    async with await running.client() as client:
        answered = partitions(await client.ask(fetch(*asked, max_bytes=max_bytes), 12))
    assert list(answered) == list(batches)
    for index, count in batches.items():
        assert int(len(answered[index].records) / one_batch) == int(count)
        assert (len(answered[index].records) % one_batch > 0) == (count % 1 > 0)


class Session:
    """A client that follows partitions; each step is the next epoch."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.id = 0
        self.epoch = 0

    async def ask(self, *asked: Wanted, forget: list[int] | None = None) -> Any:
        response = await self._client.ask(fetch(*asked, session=(self.id, self.epoch), forget=forget), 12)
        assert response.error_code == 0
        self.id = response.session_id
        self.epoch += 1
        return response


async def test_a_session_tells_only_news(running: Running) -> None:
    async with await running.client() as client:
        session = Session(client)
        assert codes(await session.ask(wanted(0, 6), wanted(1, 0), wanted(9, 0))) == {0: 0, 1: 0, 9: UNKNOWN}
        assert session.id > 0
        assert codes(await session.ask()) == {9: UNKNOWN}, "an error is always told"
        assert codes(await session.ask(wanted(2, 3), forget=[9])) == {2: 0}, "what is added is told once"
        assert codes(await session.ask()) == {}
        put(running, 1)
        assert codes(await session.ask()) == {1: 0}
        assert codes(await session.ask()) == {1: 0}, "records that the client did not move past"
        assert codes(await session.ask(wanted(1, 2))) == {}
        assert codes(await session.ask(wanted(0, 50))) == {0: OUT_OF_RANGE}
        assert codes(await session.ask(wanted(0, 6))) == {0: 0}, "healed"
        running.broker.cluster.topics["t"].partitions[0].log.trim(2)
        assert codes(await session.ask()) == {0: 0}, "the log starts elsewhere"
        assert codes(await session.ask(wanted(2, 3), forget=[2])) == {}, "forgetting comes last"
        put(running, 2)
        assert codes(await session.ask()) == {}
        closed = session.id
        response = await session.ask(forget=[0, 1])
        assert (response.session_id, codes(response)) == (0, {}), "nothing is left to follow"
        gone = await client.ask(fetch(session=(closed, session.epoch)), 12)
        assert gone.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


async def test_what_is_produced_ends_the_rest_of_a_partition(running: Running) -> None:
    """By a Produce of each kind: the first of a connection, and those like it."""
    async with await running.client() as client, await running.client() as producer:
        session = Session(client)
        assert codes(await session.ask(wanted(0, 6), wanted(1, 0))) == {0: 0, 1: 0}
        for count in range(1, 5):
            assert codes(await session.ask()) == {}
            records = build_batch([Record(0, 0, b"k", b"v")])
            data = ProduceRequest.PartitionProduceData(index=1, records=records)
            topics = [ProduceRequest.TopicProduceData(name="t", partition_data=[data])]
            answer = await producer.ask(ProduceRequest(acks=-1, timeout_ms=1000, topic_data=topics), 9)
            assert answer.responses[0].partition_responses[0].base_offset == count - 1
            assert codes(await session.ask()) == {1: 0}
            assert codes(await session.ask(wanted(1, count))) == {}


async def test_no_partition_starves_in_a_session(running: Running) -> None:
    async with await running.client() as client:
        first = await client.ask(fetch(wanted(0, 0), wanted(2, 0), session=(0, 0), max_bytes=10), 12)
        for epoch, served in ((1, 2), (2, 0), (3, 2)):
            response = await client.ask(fetch(session=(first.session_id, epoch), max_bytes=10), 12)
            with_records = [index for index, data in partitions(response).items() if len(data.records)]
            assert with_records == [served]


async def test_refused_sessions(running: Running) -> None:
    known = running.broker.cluster.topics["t"].id
    # (session id relative to ours, or None for none; epoch; version; code)
    rows = [
        (1, 1, 12, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (None, 5, 12, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (None, -7, 12, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (0, 9, 12, ErrorCode.INVALID_FETCH_SESSION_EPOCH),
        (0, 1, 13, ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR),
        (0, 2, 13, ErrorCode.INVALID_FETCH_SESSION_EPOCH),
    ]
    async with await running.client() as client:
        opened = await client.ask(fetch(wanted(0, 6), session=(0, 0)), 12)
        for relative, epoch, version, code in rows:
            session_id = 0 if relative is None else opened.session_id + relative
            topic = known if version >= 13 else "t"
            response = await client.ask(fetch(wanted(0, 0), topic=topic, session=(session_id, epoch)), version)
            assert (response.error_code, response.session_id, response.responses) == (code, 0, [])
        still = await client.ask(fetch(session=(opened.session_id, 1)), 12)
        assert (still.error_code, still.session_id) == (0, opened.session_id)


async def test_sessions_close_and_start_again(running: Running) -> None:
    async with await running.client() as client:
        opened = await client.ask(fetch(wanted(0, 6), session=(0, 0)), 12)
        again = await client.ask(fetch(wanted(0, 6), session=(opened.session_id, 0)), 12)
        assert again.session_id not in (0, opened.session_id)
        last = await client.ask(fetch(wanted(0, 6), session=(again.session_id, -1)), 12)
        assert (last.session_id, codes(last)) == (0, {0: 0})
        for session_id in (opened.session_id, again.session_id):
            gone = await client.ask(fetch(session=(session_id, 1)), 12)
            assert gone.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        assert (await client.ask(fetch(wanted(0, 6), session=(999, -1)), 12)).error_code == 0
        assert (await client.ask(fetch(session=(0, 0)), 12)).session_id > 0, "of nothing yet"


async def test_the_cache_of_sessions_is_bounded(running: Running, clock: ManualClock) -> None:
    async with await running.client() as client:
        kept = [(await client.ask(fetch(wanted(0, 6), session=(0, 0)), 12)).session_id for _ in range(2)]
        full = await client.ask(fetch(wanted(0, 6), wanted(1, 0), session=(0, 0)), 12)
        assert (full.session_id, codes(full)) == (0, {0: 0, 1: 0})
        clock.advance(2 * MINUTE + 1)
        assert (await client.ask(fetch(session=(kept[0], 1)), 12)).error_code == 0
        larger = await client.ask(fetch(wanted(0, 6), wanted(1, 0), session=(0, 0)), 12)
        assert larger.session_id > 0, "the one that was idle made room"
        gone = await client.ask(fetch(session=(kept[1], 1)), 12)
        assert gone.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        assert (await client.ask(fetch(session=(kept[0], 2)), 12)).error_code == 0
