"""Brokers for tests: ready when they are made, gone when they end, seen through without a client."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from ottla.broker.errors import StartupError
from ottla.testing import AsyncBroker, Broker, WaitTimeoutError


def produce(bootstrap: str, *values: bytes, topic: str = "orders") -> None:
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        for value in values:
            producer.send(topic, value, key=b"k", headers=[("h", b"1")])


def test_a_client_finds_it_ready_and_a_test_sees_what_it_wrote() -> None:
    with Broker(topics={"orders": 2}) as broker:
        produce(broker.bootstrap_servers, b"one", b"two")
        records = broker.records("orders")
        assert [(one.key, one.value, one.headers) for one in records] == [
            (b"k", b"one", (("h", b"1"),)),
            (b"k", b"two", (("h", b"1"),)),
        ]
        assert sum(broker.topics["orders"].ends) == 2
        consumer = KafkaConsumer("orders", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
        assert [next(consumer).value for _ in range(2)] == [b"one", b"two"]
        consumer.close()


def test_what_is_waited_for_comes_from_another_thread_to_a_topic_that_is_not_there_yet() -> None:
    with Broker() as broker:
        thread = threading.Thread(target=produce, args=(broker.bootstrap_servers, b"a", b"b", b"c"))
        thread.start()
        found = broker.wait_for("orders", 2, where=lambda one: one.value != b"a", timeout_s=60)
        thread.join()
        assert [one.value for one in found] == [b"b", b"c"]


def test_a_wait_in_vain_says_what_there_is() -> None:
    with Broker(topics=["orders"]) as broker:
        produce(broker.bootstrap_servers, b"one")
        with pytest.raises(
            WaitTimeoutError,
            match=r"not 2 records in orders after 0 s: 1 are there; the last:\n  Record\(topic='orders'",
        ):
            broker.wait_for("orders", 2, timeout_s=0)


def test_a_fault_in_the_condition_reaches_the_test() -> None:
    with Broker(topics=["orders"]) as broker:
        produce(broker.bootstrap_servers, b"one")
        with pytest.raises(ZeroDivisionError):
            broker.wait_for("orders", where=lambda one: 1 // 0 == 1)


async def test_the_same_inside_a_trio_program() -> None:
    import trio

    async with AsyncBroker(topics={"orders": 1}) as broker:
        await trio.to_thread.run_sync(produce, broker.bootstrap_servers, b"one")
        (found,) = await broker.wait_for("orders")
        assert found.value == b"one"
        assert broker.records("orders") == [found]


def test_several_nodes_and_brokers_at_once() -> None:
    with Broker(nodes=3) as three, Broker() as one:
        assert len(three.bootstrap_servers.split(",")) == 3
        produce(three.bootstrap_servers, b"there")
        assert three.wait_for("orders", timeout_s=60)[0].value == b"there"
        assert one.records("orders") == []


def test_a_folder_is_kept(tmp_path: Path) -> None:
    for expected in ([], [b"kept"]):
        with Broker(data=str(tmp_path / "data")) as broker:
            assert [one.value for one in broker.records("orders")] == expected
            if not expected:
                produce(broker.bootstrap_servers, b"kept")


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no/name"):
        Broker(topics=["no/name"]).start()
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="file"):
        Broker(data=str(tmp_path / "file")).start()
    assert StartupError
