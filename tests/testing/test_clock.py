"""The clock of a broker that a test moves: what falls due is done when `advance` returns, in order, in no time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from ottla.log.clock import ManualClock
from ottla.testing import AsyncBroker, Broker

WEEK_MS = 7 * 86_400_000


def produce(broker: Broker, topic: str, *values: bytes) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for value in values:
            producer.send(topic, value)


def test_a_record_outlives_six_days_and_not_eight() -> None:
    with Broker() as broker:
        broker.create_topic("events", 1, {"retention.ms": str(WEEK_MS)})
        produce(broker, "events", b"opened")
        broker.clock.advance("6d")
        assert [record.value for record in broker.records("events")] == [b"opened"]
        broker.clock.advance("2d")
        assert broker.records("events") == []
        assert broker.topics["events"].starts == (1,)


def test_records_are_stamped_with_the_time_of_the_broker() -> None:
    with Broker() as broker:
        broker.create_topic("events", 1, {"message.timestamp.type": "LogAppendTime"})
        broker.clock.freeze()
        then_ms = broker.clock.now_ms
        produce(broker, "events", b"first")
        broker.clock.advance("1h30m")
        produce(broker, "events", b"second")
        stamps = [record.timestamp_ms for record in broker.records("events")]
        assert stamps == [then_ms, then_ms + 5_400_000]


def test_it_goes_on_from_where_it_stood() -> None:
    with Broker() as broker:
        clock = broker.clock
        clock.freeze()
        assert clock.is_frozen
        then_ms = clock.now_ms
        assert clock.now_ms == then_ms
        clock.advance(500)
        assert clock.now_ms == then_ms + 500
        clock.resume()
        assert not clock.is_frozen
        assert clock.now_ms - then_ms >= 500
        clock.advance("1d")
        assert clock.now_ms - then_ms >= 86_400_500


def test_a_member_that_does_not_speak_is_out_and_its_offsets_stay_for_a_week() -> None:
    with Broker(topics={"orders": 1}, settings={"group.initial.rebalance.delay.ms": "0"}) as broker:
        produce(broker, "orders", b"tea")
        consumer = KafkaConsumer(
            "orders", group_id="kitchen", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
        )
        assert next(consumer).value == b"tea"
        consumer.commit()
        assert len(broker.groups["kitchen"].members) == 1
        broker.clock.advance("1m")
        assert not broker.groups["kitchen"].members
        consumer.close(autocommit=False)
        assert broker.groups["kitchen"].committed == {"orders": {0: 1}}
        broker.clock.advance("6d")
        assert "kitchen" in broker.groups
        broker.clock.advance("2d")
        assert "kitchen" not in broker.groups


def test_a_transaction_that_takes_too_long_is_aborted() -> None:
    with Broker(topics={"orders": 1}) as broker:
        producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, transactional_id="till", transaction_timeout_ms=60_000
        )
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("orders", b"tea").get(timeout=60)
        broker.clock.advance("2m")
        end = broker.topics["orders"].ends[0]
        assert end == 2, "a marker stands behind the record"
        with pytest.raises(Exception, match=r"(?i)fenc|epoch|mapping"):
            producer.commit_transaction()
        producer.close(timeout=0)
        assert broker.records("orders") == []


def test_compaction_that_is_due_is_done() -> None:
    with Broker() as broker:
        configs = {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.01"}
        broker.create_topic("prices", 1, configs)
        for price in (b"1", b"2", b"3"):
            broker.produce("prices", price, key=b"tea")
            broker.clock.advance("2h")
        assert [record.value for record in broker.records("prices")] == [b"2", b"3"]


def test_files_go_when_their_time_is_over(tmp_path: Path) -> None:
    with Broker(data=str(tmp_path / "data"), topics={"orders": 1}) as broker:
        produce(broker, "orders", b"tea")
        broker.delete_all("orders")
        assert list(tmp_path.glob("data/orders-0*-delete"))
        broker.clock.advance("2m")
        assert not list(tmp_path.glob("data/orders-0*"))


def test_a_waiting_fetch_is_answered_when_its_time_is_over() -> None:
    with Broker(topics={"orders": 1}) as broker:
        consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, fetch_max_wait_ms=25_000)
        consumer.assign([TopicPartition("orders", 0)])
        reading = threading.Thread(target=consumer.poll, kwargs={"timeout_ms": 60_000})
        reading.start()
        broker.wait_for_request("Fetch", where=lambda asked: asked.took_ms is None)
        broker.clock.advance("30s")
        broker.wait_for_request("Fetch", where=lambda asked: asked.took_ms is not None)
        broker.produce("orders", b"tea")  # which ends the poll
        reading.join()
        consumer.close()


def test_what_is_done_now_and_then_is_done_on_the_way(tmp_path: Path) -> None:
    with Broker(data=str(tmp_path / "data"), topics=["orders:1:flush.ms=60000"]) as broker:
        broker.produce("orders", b"tea")
        broker.clock.advance("30s")
        assert "orders 0 1" not in noted(tmp_path, "recovery-point-offset-checkpoint")
        broker.clock.advance("2m")
        assert "orders 0 1" in noted(tmp_path, "recovery-point-offset-checkpoint")
        assert "orders 0 1" in noted(tmp_path, "replication-offset-checkpoint")


def noted(folder: Path, name: str) -> str:
    file = folder / "data" / name
    return file.read_text() if file.exists() else ""


def test_a_producer_that_is_silent_for_a_day_is_forgotten() -> None:
    with Broker(topics={"orders": 1}) as broker:
        produce(broker, "orders", b"tea")
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        there = [TopicPartition("orders", 0)]
        assert len(admin.describe_producers(there)[there[0]].active_producers) == 1
        broker.clock.advance("23h")
        assert len(admin.describe_producers(there)[there[0]].active_producers) == 1
        broker.clock.advance("2h")
        assert len(admin.describe_producers(there)[there[0]].active_producers) == 0
        admin.close()


def test_connections_do_not_grow_idle_by_a_clock_that_is_moved() -> None:
    with Broker(topics={"orders": 1}) as broker:
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            producer.send("orders", b"tea").get(timeout=60)
            broker.clock.advance("30d")
            producer.send("orders", b"milk").get(timeout=60)
        peers = {asked.peer for asked in broker.requests("Produce")}
        assert len(peers) == 1


def test_an_hour_in_which_nothing_comes_is_over_when_it_is_moved() -> None:
    with Broker(topics={"orders": 1}) as broker:
        broker.clock.freeze()
        came: list[object] = []
        waiting = threading.Thread(target=lambda: came.append(broker.expect_no_more("orders", for_s=3600)))
        waiting.start()
        while waiting.is_alive():
            broker.clock.advance("30m")
        assert came == [[]]


def test_seven_days_take_no_time() -> None:
    with Broker() as broker:
        configs = {"retention.ms": str(WEEK_MS), "segment.bytes": "1048576"}
        broker.create_topic("events", 4, configs)
        for partition in range(4):
            for _ in range(25):
                broker.produce("events", b"x" * 600_000, partition=partition)
                broker.produce("events", b"x" * 600_000, partition=partition)
        for n in range(10):
            consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=f"g{n}")
            consumer.commit({TopicPartition("events", 0): OffsetAndMetadata(1, "", -1)})
            consumer.close()
        began_s = time.perf_counter()
        broker.clock.advance("8d")
        took_ms = (time.perf_counter() - began_s) * 1000
        assert broker.records("events") == []
        assert broker.groups == {}
        print(f"eight days, 100 segments, 10 groups: {took_ms:.1f} ms")


async def test_the_same_inside_a_trio_program() -> None:
    async with AsyncBroker() as broker:
        broker.clock.freeze()
        then_ms = broker.clock.now_ms
        await broker.clock.advance("1d")
        assert broker.clock.now_ms == then_ms + 86_400_000
        assert broker.clock.is_frozen
        broker.clock.resume()


def test_a_clock_may_stand_still_from_the_start() -> None:
    with Broker(topics=["orders"], clock="frozen") as broker:
        broker.produce("orders", "tea")
        broker.clock.advance("1h")
        broker.produce("orders", "milk")
        tea, milk = broker.records("orders")
        assert milk.timestamp_ms - tea.timestamp_ms == 3_600_000
        assert broker.clock.is_frozen
    with pytest.raises(ValueError, match="clock='slow': it is 'frozen', or a clock of your own"):
        Broker(clock="slow")  # type: ignore[arg-type]


def test_what_cannot_be_done_says_why() -> None:
    with Broker() as broker:
        for length in ("soon", "-1s", -1, True, "7 parsecs", float("nan")):
            with pytest.raises(ValueError, match="no length of time"):
                broker.clock.advance(length)
    with Broker(clock=ManualClock()) as broker, pytest.raises(ValueError, match="leave out clock="):
        broker.clock.freeze()
