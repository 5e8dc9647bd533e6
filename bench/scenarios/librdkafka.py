"""What a client sees: confluent-kafka (librdkafka) produces, consumes, and waits for its own records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench import client
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Scenario, Size

if TYPE_CHECKING:
    from confluent_kafka import Consumer

RECORD_BYTES = 1024
FIGURES = (
    Figure("produce_mb_s", "MB/s", "produced", "high"),
    Figure("consume_mb_s", "MB/s", "consumed", "high"),
    Figure(CPU_PER_UNIT, "us/MB", "broker CPU for both", "low"),
)


def _both_ways(broker: Broker, size: Size) -> Mapping[str, float]:
    """An idempotent producer with acks=all and its defaults, then a consumer from the start."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    total = size.of(200_000, 100)
    topic = client.new_topic(broker.port, 4)
    address = f"127.0.0.1:{broker.port}"
    failures: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error)

    with broker.meter() as spent:
        producer = Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 5,
            }
        )
        value = bytes(RECORD_BYTES)
        began_s = time.perf_counter()
        for at in range(total):
            producer.produce(topic, value, partition=at % 4, on_delivery=delivered)
            if not at % 1000:
                producer.poll(0)
        left = producer.flush(client.TIMEOUT_S)
        produced_s = time.perf_counter() - began_s
        if failures or left:
            raise client.BadAnswerError(f"{left} records unsent, first error {failures[:1]}")
        consumer = Consumer({"bootstrap.servers": address, "group.id": topic, "enable.auto.commit": False})
        began_s = time.perf_counter()
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
        _consume(consumer, total)
        consumed_s = time.perf_counter() - began_s
    consumer.close()
    client.drop(broker.port, [topic])
    megabytes = total * RECORD_BYTES / 1e6
    return {
        "produce_mb_s": megabytes / produced_s,
        "consume_mb_s": megabytes / consumed_s,
        CPU_PER_UNIT: spent.broker_cpu_s / megabytes * 1e6,
    }


def _consume(consumer: Consumer, total: int) -> None:
    seen = 0
    deadline_s = time.monotonic() + client.TIMEOUT_S
    while seen < total:
        messages = consumer.consume(10_000, 1.0)
        for message in messages:
            if message.error() is not None:
                raise client.BadAnswerError(str(message.error()))
        seen += len(messages)
        if time.monotonic() > deadline_s:
            raise client.BadAnswerError(f"{seen} of {total} records came")


SCENARIOS = (
    Scenario("librdkafka", "confluent-kafka produces and consumes 1 KiB records", "MB", FIGURES, (), _both_ways),
)
