"""A journey through time, with clients that wait, write and come in the middle of it: it is exact, and ends soon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from ottla.log.clock import ManualClock, SteeredClock
from ottla.testing import AsyncBroker, Broker

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
VERSIONS = bytes.fromhex("0000000d 0012 0000 00000007 0003 746879")  # ApiVersions 0 of the client "thy"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(settings={"group.initial.rebalance.delay.ms": "0"}) as broker:
        broker.clock.freeze()
        yield broker


def test_who_waited_goes_on_at_the_instant_at_which_his_time_comes(broker: Broker) -> None:
    broker.create_topic("orders", 1, {"message.timestamp.type": "LogAppendTime"})
    then_ms = broker.clock.now_ms
    fault = broker.faults.produce(topic="orders").delay("1h")
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        sent = producer.send("orders", b"tea")
        fault.wait_held()
        broker.clock.advance("7d")
        assert sent.get(timeout=60).timestamp == then_ms + HOUR_MS
    (record,) = broker.records("orders")
    assert record.timestamp_ms == then_ms + HOUR_MS


def test_a_fetch_whose_time_is_over_reads_what_is_there_then(broker: Broker) -> None:
    broker.create_topic("orders", 1, {"retention.ms": str(HOUR_MS)})
    broker.produce("orders", b"tea")
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers,
        auto_offset_reset="earliest",
        fetch_min_bytes=1 << 20,
        fetch_max_wait_ms=25_000,
    )
    there = TopicPartition("orders", 0)
    consumer.assign([there])
    polled: list[dict[TopicPartition, list[ConsumerRecord]]] = []
    reading = threading.Thread(target=lambda: polled.append(consumer.poll(timeout_ms=10_000)))
    reading.start()
    broker.wait_for_request("Fetch", where=lambda asked: asked.is_under_way)
    broker.clock.advance("7d")
    reading.join()
    assert [record.value for record in polled[0].get(there, [])] == [b"tea"]
    assert broker.records("orders") == [], "an hour later it went"
    consumer.close()


def test_who_speaks_on_the_way_is_heard_at_its_end() -> None:
    async def story() -> None:
        async with AsyncBroker() as broker:
            broker.clock.freeze()
            then_ms = broker.clock.now_ms
            host, _, port = broker.bootstrap_servers.partition(":")
            stream = await trio.open_tcp_stream(host, int(port))
            timers = broker._instance.broker.timers

            async def speak() -> None:
                await stream.send_all(VERSIONS)

            async with trio.open_nursery() as nursery:
                await broker.clock.advance(1)  # it is connected
                timers.schedule(HOUR_MS, lambda: nursery.start_soon(speak))
                for hour in range(2, 24):
                    timers.schedule(hour * HOUR_MS, lambda: None)  # halts, at which it could be heard
                await broker.clock.advance("1d")
                with trio.fail_after(60):
                    assert await stream.receive_some(4096)
                (asked,) = broker.requests("ApiVersions")
                assert asked.time_ms == then_ms + DAY_MS + 1
            await stream.aclose()

    trio.run(story)


@pytest.mark.parametrize("stands_still", [False, True])
def test_what_is_ordered_on_the_way_holds_from_its_end_on(broker: Broker, *, stands_still: bool) -> None:
    clock, base = broker.clock, broker._instance.broker
    time = base.time
    assert time is not None
    (clock.resume if stands_still else clock.freeze)()
    began_ms = base.clock.mono_ms()
    seen: list[int] = []

    def order() -> None:
        (time.freeze if stands_still else time.resume)()
        assert clock.is_frozen is stands_still
        seen.append(base.clock.mono_ms())

    broker._call(lambda: base.timers.schedule(HOUR_MS, order))
    broker._call(lambda: base.timers.schedule(2 * HOUR_MS, lambda: seen.append(base.clock.mono_ms())))
    clock.advance("1d")
    assert clock.is_frozen is stands_still
    first_ms, second_ms = seen
    assert first_ms - began_ms >= HOUR_MS
    assert second_ms - first_ms >= HOUR_MS - 1000, "time did not run between them, nor stop"
    assert base.clock.mono_ms() - began_ms >= DAY_MS


def test_journeys_queue_and_add_up(broker: Broker) -> None:
    then_ms = broker.clock.now_ms
    travellers = [threading.Thread(target=broker.clock.advance, args=("1d",)) for _ in range(4)]
    for one in travellers:
        one.start()
    for one in travellers:
        one.join()
    assert broker.clock.now_ms == then_ms + 4 * DAY_MS
    assert broker.clock.is_frozen


def test_an_outcome_that_waits_for_the_disk_is_there_when_it_is_over(tmp_path: Path) -> None:
    with Broker(nodes=3, data=str(tmp_path / "data"), topics=["orders:1:flush.messages=1"]) as broker:
        producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, transactional_id="till", transaction_timeout_ms=60_000
        )
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("orders", b"tea").get(timeout=60)
        broker.clock.advance("2m")
        assert broker.topics["orders"].ends == (2,), "a marker stands behind the record"
        assert broker.records("orders") == []
        producer.close(timeout=0)


def test_a_live_consumer_is_out_and_comes_back(broker: Broker) -> None:
    broker.create_topic("orders", 1)
    broker.clock.resume()
    consumer = KafkaConsumer(
        "orders", group_id="kitchen", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    )
    broker.produce("orders", b"tea")
    assert next(consumer).value == b"tea"
    (member,) = broker.groups["kitchen"].members
    broker.clock.advance("7d")
    assert "kitchen" not in broker.groups or member not in broker.groups["kitchen"].members
    broker.produce("orders", b"milk")
    assert next(consumer).value == b"milk"
    consumer.close()


def test_a_broker_that_stops_on_the_way_lets_nobody_wait() -> None:
    broker = Broker().start()
    base = broker._instance.broker
    stopping = threading.Event()
    broker._call(lambda: base.timers.schedule(HOUR_MS, stopping.set))
    ended: list[str] = []

    def for_ever() -> None:  # a job that is due again at once, so that this journey would not end
        base.timers.schedule(0, for_ever)

    def travel() -> None:
        try:
            broker.clock.advance("1d")
        except RuntimeError as error:
            ended.append(str(error))

    broker._call(lambda: base.timers.schedule(HOUR_MS, for_ever))
    traveller = threading.Thread(target=travel)
    traveller.start()
    stopping.wait()
    broker.stop()
    traveller.join()
    assert ended == ["this broker was stopped meanwhile"]


def test_there_is_no_year_10000(broker: Broker) -> None:
    for _ in range(7):
        broker.clock.advance(1000 * 365 * DAY_MS)
    with pytest.raises(ValueError, match="year 9999"):
        broker.clock.advance(1000 * 365 * DAY_MS)


legs = st.lists(st.integers(1, 3 * DAY_MS), min_size=1, max_size=4)


@given(legs)
@settings(max_examples=15, deadline=None)
def test_many_small_steps_lead_to_where_one_large_one_does(legs: list[int]) -> None:
    def effects(journeys: list[int]) -> object:
        with Broker(clock=SteeredClock(ManualClock())) as broker:
            short = {"retention.ms": str(30 * HOUR_MS), "segment.ms": "1000"}
            broker.create_topic("events", 1, {**short, "message.timestamp.type": "LogAppendTime"})
            configs = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
            broker.create_topic("prices", 1, {**configs, "max.compaction.lag.ms": str(20 * HOUR_MS)})
            for n in range(8):
                broker.produce("events", f"{n}".encode())
                broker.produce("prices", f"{n}".encode(), key=b"tea")
                broker.clock.advance("1h")
            for each in journeys:
                broker.clock.advance(each)
            seen = [(r.offset, r.timestamp_ms) for t in ("events", "prices") for r in broker.records(t)]
            return broker.clock.now_ms, seen, broker.topics["events"].starts, broker.topics["prices"].ends

    assert effects(legs) == effects([sum(legs)])
