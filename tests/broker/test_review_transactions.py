"""Transactions where two things happen at once, and requests that ask for more than they should get."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import trio.testing

from ottla.broker.coordinators import OnDemand
from ottla.log.clock import ManualClock
from ottla.log.flushing import FlushJob
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.describe_producers import DescribeProducersRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.write_txn_markers import WriteTxnMarkersRequest
from tests.broker.conftest import Launcher, Running
from tests.broker.test_transactions import markers_fail, move, with_topics
from tests.broker.transactional import NEW, Producer, committed, end_offset, state_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def running(launcher: Launcher, clock: ManualClock) -> Running:
    running = await launcher.start(clock=clock)
    with_topics(running)
    return running


async def sent_while(
    running: Running, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
) -> ErrorCode:
    """What a Produce gets that waits for the transaction before to be completed, if something happens meanwhile."""
    answers: list[ErrorCode] = []
    async with markers_fail(monkeypatch, lambda index: index == 0), await running.client() as client:
        producer = await Producer.start(client, "x", NEW)
        await producer.send("t", 0, b"v")
        assert await producer.commit() is ErrorCode.NONE

        async def send() -> None:
            answers.append(await producer.send("t", 1, b"v"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not answers
            meanwhile()
            with trio.fail_after(60):
                while not answers:
                    move(running, clock, 20)
                    await trio.testing.wait_all_tasks_blocked(0.005)
    return answers[0]


async def test_a_topic_made_anew_has_not_admitted_anybody(
    running: Running, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_anew() -> None:
        running.broker.delete_topics([running.broker.cluster.topics["t"]])
        with_topics(running)

    assert await sent_while(running, clock, monkeypatch, make_anew) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    async with await running.client() as client:
        assert await end_offset(client, "t", 1, isolation_level=0) == 0, "or nobody would ever end it"


async def test_a_coordinator_that_cannot_be_read_is_told(
    running: Running, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def unreadable(self: OnDemand[object]) -> object:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the disk is gone")

        code = await sent_while(running, clock, monkeypatch, lambda: patch.setattr(OnDemand, "get", unreadable))
    assert code is ErrorCode.KAFKA_STORAGE_ERROR


async def test_what_is_named_often_is_described_once(running: Running) -> None:
    async with await running.client() as client:
        producer = await Producer.start(client, "x", NEW)
        await producer.send("t", 0, b"v")
        described = await client.ask(DescribeTransactionsRequest(transactional_ids=["x", "y", "x"]), 0)
        assert [each.transactional_id for each in described.transaction_states] == ["x", "y"]
        asked = [DescribeProducersRequest.TopicRequest(name="t", partition_indexes=[0, 1, 0])] * 2
        answer = await client.ask(DescribeProducersRequest(topics=asked), 0)
        assert [[part.partition_index for part in topic.partitions] for topic in answer.topics] == [[0, 1]]


async def test_a_topic_that_grows_forgets_no_outcome(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator begins anew with the number of partitions, but not without what is on its way to the disk."""
    running = await launcher.start({"log.flush.interval.messages": "1"})
    with_topics(running)
    broker = running.broker
    run, disk_is_slow, go_on = FlushJob.run, threading.Event(), threading.Event()

    def slow(job: FlushJob) -> None:
        if disk_is_slow.is_set() and job.partition.topic == "__transaction_state":
            assert go_on.wait(10)
        run(job)

    monkeypatch.setattr(FlushJob, "run", slow)
    codes: list[ErrorCode] = []
    async with await running.client() as client:
        producer = await Producer.start(client, "x", NEW)
        assert await producer.send("t", 0, b"v") is ErrorCode.NONE
        disk_is_slow.set()

        async def commit() -> None:
            codes.append(await producer.commit())

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit)
                topic = broker.cluster.topics["__transaction_state"]
                stored = topic.partitions[broker.cluster.nodes[1].transactions.partition_for("x")].log
                while stored.log_end_offset == stored.high_watermark:
                    await trio.sleep(0)
                broker.metadata.add_partitions([(topic, broker.metadata.plan_partitions(topic, 60, None))])
                assert broker.cluster.nodes[1].transactions.partitions == 50, "not yet"
                go_on.set()
            assert codes == [ErrorCode.NONE]
            while broker.cluster.nodes[1].transactions.partitions < 60 or not (seen := await committed(client, "t")):
                await trio.sleep(0)
        assert seen == [b"v"]
        assert await state_of(client, "y") == "TRANSACTIONAL_ID_NOT_FOUND"


async def test_a_marker_is_written_once_however_often_it_is_asked_for(running: Running) -> None:
    topic = WriteTxnMarkersRequest.WritableTxnMarkerTopic(name="t", partition_indexes=[0, 1, 0])
    marker = WriteTxnMarkersRequest.WritableTxnMarker(producer_id=7, producer_epoch=0, topics=[topic])
    async with await running.client() as client:
        answer = await client.ask(WriteTxnMarkersRequest(markers=[marker]), 1)
        assert [part.error_code for part in answer.markers[0].topics[0].partitions] == [0, 0]
        assert [await end_offset(client, "t", index) for index in (0, 1)] == [1, 1]
    assert running.log_text.count("markers written") == 1
