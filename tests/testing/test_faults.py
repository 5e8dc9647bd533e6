"""Every fault as a test orders it, and what kafka-python does about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any, TypeVar

import pytest
import trio
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from ottla.testing import AsyncBroker, Broker, WaitTimeoutError

T = TypeVar("T")
DEADLINE_S = 60
WAIT_MS = DEADLINE_S * 1000


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(topics={"t": 2}) as running:
        yield running


def producer_of(broker: Broker, **options: Any) -> Any:
    return closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers, retry_backoff_ms=1, **options))


def consumer_of(broker: Broker, *topics: str, **options: Any) -> Any:
    options = {"auto_offset_reset": "earliest", "retry_backoff_ms": 1, **options}
    return closing(KafkaConsumer(*topics, bootstrap_servers=broker.bootstrap_servers, **options))


def polled(consumer: Any, count: int) -> list[bytes]:
    """So many values, however many polls that takes."""
    values: list[bytes] = []
    while len(values) < count:
        for records in consumer.poll(WAIT_MS).values():
            values += [record.value for record in records]
    return values


def in_thread(work: Callable[[], T]) -> Future[T]:
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def stored(broker: Broker, partition: int = 0) -> list[bytes | None]:
    return [record.value for record in broker.records("t") if record.partition == partition]


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_retriable_error_is_tried_again_and_the_other_partition_never_fails(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t", partition=0).error("NOT_LEADER_OR_FOLLOWER", times=3)
    with producer_of(broker) as producer:
        sent = [producer.send("t", b"0", partition=0), producer.send("t", b"1", partition=1)]
        assert [each.get(DEADLINE_S).offset for each in sent] == [0, 0]
    assert [stored(broker, partition) for partition in (0, 1)] == [[b"0"], [b"1"]]
    assert (fault.fired, fault.held) == (3, 0)
    assert [firing.partitions for firing in fault.log] == [("t-0",)] * 3
    metadata = broker.requests("Metadata")
    assert len(metadata) > 1, "it asked again who leads"


def test_a_final_error_reaches_the_application(broker: Broker) -> None:
    with (
        broker.faults.produce(topic="t").error("TOPIC_AUTHORIZATION_FAILED"),
        producer_of(broker) as producer,
        pytest.raises(KafkaError, match="TopicAuthorizationFailed"),
    ):
        producer.send("t", b"0").get(DEADLINE_S)
    assert broker.records("t") == []
    with producer_of(broker) as producer:  # at the end of the block the fault is gone
        producer.send("t", b"1", partition=0).get(DEADLINE_S)
    assert stored(broker) == [b"1"]


def test_a_coordinator_that_loads_is_asked_again(broker: Broker) -> None:
    broker.produce("t", b"0", partition=0)
    fault = broker.faults.on("OffsetFetch", group="g").error("COORDINATOR_LOAD_IN_PROGRESS", times=2)
    with consumer_of(broker, "t", group_id="g") as consumer:
        assert polled(consumer, 1) == [b"0"]
    assert fault.fired == 2


# ── answers that are lost ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_answer_is_no_duplicate_if_the_producer_is_idempotent(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t").drop("after", times=1)
    with producer_of(broker, enable_idempotence=True) as producer:
        assert producer.send("t", b"once", partition=0).get(DEADLINE_S).offset == 0
    assert fault.fired == 1
    assert stored(broker) == [b"once"]
    assert len(broker.requests("Produce")) == 2


def test_a_lost_answer_is_a_duplicate_if_it_is_not(broker: Broker) -> None:
    broker.faults.produce(topic="t").drop("after", times=1)
    with producer_of(broker, enable_idempotence=False, acks="all", retries=5) as producer:
        producer.send("t", b"twice", partition=0).get(DEADLINE_S)
    assert stored(broker) == [b"twice", b"twice"]


@pytest.mark.parametrize(
    "order", [lambda on: on.drop("before", times=1), lambda on: on.cut(0.5, times=1)], ids=["drop", "cut"]
)
def test_a_connection_that_closes_is_opened_again(broker: Broker, order: Callable[[Any], Any]) -> None:
    fault = order(broker.faults.produce(topic="t"))
    with producer_of(broker, enable_idempotence=True) as producer:
        producer.send("t", b"once", partition=0).get(DEADLINE_S)
    assert fault.fired == 1
    assert stored(broker) == [b"once"]
    assert len({request.peer for request in broker.requests("Produce")}) == 2


def test_a_fetch_that_is_cut_in_its_records_is_fetched_again(broker: Broker) -> None:
    broker.produce("t", b"x" * 100_000, partition=0)
    fault = broker.faults.fetch(topic="t").cut(50_000, times=1)
    with consumer_of(broker, "t") as consumer:
        assert polled(consumer, 1) == [b"x" * 100_000]
    assert fault.fired == 1


def test_without_an_answer_at_acks_0_nobody_notices(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t").delay("1h", times=1)
    with producer_of(broker, acks=0, enable_idempotence=False) as producer:
        producer.send("t", b"0", partition=0).get(DEADLINE_S)
        fault.wait_held()
        broker.clock.advance("1h")
        broker.wait_for("t", 1)


# ── answers that are wrong ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_crc_is_noticed_and_the_log_is_whole(broker: Broker) -> None:
    broker.produce("t", b"0", partition=0)
    fault = broker.faults.fetch(topic="t").corrupt("crc", times=1)
    with consumer_of(broker) as consumer:
        consumer.assign([TopicPartition("t", 0)])
        consumer.seek_to_beginning()
        with pytest.raises(CorruptRecordError):
            polled(consumer, 1)
    assert [firing.did for firing in fault.log] == ["flipped a bit of the CRC of the batch at t-0:0"]
    with consumer_of(broker, "t") as consumer:
        assert polled(consumer, 1) == [b"0"]


def test_stale_metadata_hides_a_new_topic_until_it_is_removed(broker: Broker) -> None:
    with broker.faults.metadata().stale() as fault:
        broker.create_topic("new", 1)
        with consumer_of(broker) as consumer:
            assert consumer.topics() == {"t"}
            assert fault.fired >= 1
            fault.remove()
            assert consumer.topics() == {"t", "new"}


def test_a_throttled_producer_is_told_so(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t").throttle("250ms", times=1)
    with producer_of(broker) as producer:
        producer.send("t", b"0", partition=0).get(DEADLINE_S)
        producer.send("t", b"1", partition=0).get(DEADLINE_S)
    assert fault.fired == 1
    told = [request.response or {} for request in broker.requests("Produce")]
    assert [answer["throttleTimeMs"] for answer in told] == [250, 0]


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_join_that_is_held_lets_nobody_in_until_it_is_released(broker: Broker) -> None:
    broker.produce("t", b"0", partition=0)
    fault = broker.faults.on("JoinGroup", group="g").hold()
    with consumer_of(broker, "t", group_id="g") as consumer:
        values = in_thread(lambda: polled(consumer, 1))
        fault.wait_held()
        assert "g" not in broker.groups
        fault.release()
        assert values.result(DEADLINE_S) == [b"0"]
    assert (fault.fired, fault.held) == (1, 0)


def test_a_held_answer_times_out_at_the_client_and_is_let_go(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t").hold("after", times=1)
    with producer_of(
        broker, request_timeout_ms=200, delivery_timeout_ms=200, linger_ms=0, retries=0, enable_idempotence=False
    ) as producer:
        with pytest.raises(KafkaError):
            producer.send("t", b"0", partition=0).get(DEADLINE_S)
        assert stored(broker) == [b"0"], "it was applied all the same"
    broker.wait_for_request("Produce", where=lambda one: not one.is_under_way)
    assert fault.held == 0


def test_a_delay_passes_by_the_brokers_clock(broker: Broker) -> None:
    broker.clock.freeze()
    fault = broker.faults.produce(topic="t").delay("1h")
    with producer_of(broker) as producer:
        sent = producer.send("t", b"0", partition=0)
        fault.wait_held()
        assert stored(broker) == []
        broker.clock.advance("1h")
        assert sent.get(DEADLINE_S).offset == 0
        fault.remove()


# ── epochs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_consumer_follows_a_leader_into_its_new_epoch(broker: Broker) -> None:
    broker.produce("t", b"0", b"1", partition=0)
    fault = broker.faults.fetch(topic="t").fence("leader", times=1)
    with consumer_of(broker, "t") as consumer:
        assert polled(consumer, 2) == [b"0", b"1"]
    assert fault.fired == 1


def test_a_fenced_member_joins_again_and_goes_on(broker: Broker) -> None:
    broker.produce("t", b"0", partition=0)
    with consumer_of(broker, "t", group_id="g", heartbeat_interval_ms=50, enable_auto_commit=False) as consumer:
        assert polled(consumer, 1) == [b"0"]
        (before,) = broker.groups["g"].members
        fault = broker.faults.on("Heartbeat", group="g").fence("member", times=1)
        fault.wait_fired(timeout_s=DEADLINE_S)
        rejoined = in_thread(lambda: polled(consumer, 1))
        assert rejoined.result(DEADLINE_S) == [b"0"], "nothing was committed"
        (after,) = broker.groups["g"].members
    assert before != after


def test_a_fenced_transactional_producer_cannot_commit(broker: Broker) -> None:
    with producer_of(broker, transactional_id="tx") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("t", b"0", partition=0).get(DEADLINE_S)
        fault = broker.faults.on("EndTxn").fence("producer", times=1)
        with pytest.raises(KafkaError):
            producer.commit_transaction()
    assert fault.fired == 1
    assert broker.records("t") == []


# ── the words ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_faults_are_listed_added_as_json_and_cleared(broker: Broker) -> None:
    one = broker.faults.add(api="Produce", topic="t", drop="after", times=2)
    two = broker.faults.on(client_id="c").cut(3)
    assert [each.id for each in broker.faults.all()] == [one.id, two.id] == [1, 2]
    assert one.rule == {"api": "Produce", "topic": "t", "drop": "after", "times": 2}
    assert repr(two) == "<fault 2: {'client_id': 'c', 'cut': 3}, fired 0 times, holds 0>"
    broker.faults.clear()
    assert broker.faults.all() == []
    one.remove()  # as often as one likes


def test_what_a_fault_did_can_be_read_when_the_broker_is_gone() -> None:
    with Broker(topics=["t"]) as broker:
        fault = broker.faults.produce(topic="t").error("NOT_LEADER_OR_FOLLOWER", times=1)
        with producer_of(broker) as producer:
            producer.send("t", b"0").get(DEADLINE_S)
    assert (fault.seen, fault.fired, fault.held, len(fault.log)) == (1, 1, 0, 1)


def test_a_mistake_is_a_sentence_where_the_fault_is_ordered(broker: Broker) -> None:
    with pytest.raises(ValueError, match="did you mean NOT_LEADER_OR_FOLLOWER"):
        broker.faults.produce(topic="t").error("NOT_LEADER")
    with pytest.raises(ValueError, match="no field 'topik'; did you mean 'topic'"):
        broker.faults.produce(topik="t").drop("after")


def test_a_wait_in_vain_says_what_there_was(broker: Broker) -> None:
    fault = broker.faults.produce(topic="t").drop("after")
    with pytest.raises(WaitTimeoutError, match=r"not 2 firings within 0 s: <fault 1: .* fired 0 times, holds 0>"):
        fault.wait_fired(2, timeout_s=0)
    with pytest.raises(WaitTimeoutError, match="not 1 requests held within 0 s"):
        fault.wait_held(timeout_s=0)


def test_the_same_in_a_trio_program() -> None:
    async def story() -> None:
        async with AsyncBroker(topics=["t"]) as broker:
            with broker.faults.produce(topic="t").hold() as fault:

                def produce() -> int:
                    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers)) as producer:
                        offset: int = producer.send("t", b"0").get(DEADLINE_S).offset
                        return offset

                async with trio.open_nursery() as nursery:
                    offsets: list[int] = []

                    async def run() -> None:
                        offsets.append(await trio.to_thread.run_sync(produce))

                    nursery.start_soon(run)
                    await fault.wait_held()
                    assert broker.records("t") == []
                    fault.release()
                    await fault.wait_fired(1)
                assert offsets == [0]

    trio.run(story)
