"""A kafka-python consumer of a topic, as an application makes one that may be started while its broker is away."""

import time
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaError

POLL_MS = 5_000
"""Longer than a rebalance: the client loses an assignment that comes between two polls (FINDINGS.md)."""


def subscribed(
    topic: str, timeout_s: float, listener: ConsumerRebalanceListener | None = None, **settings: Any
) -> KafkaConsumer:
    """A consumer that has subscribed to the topic, and knows it: a leader that does not assigns nothing at first.

    One that loses its broker while it asks for the topic has subscribed to nothing and is thrown away. Raises
    KafkaError if the broker does not come within the time.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        consumer = None
        try:
            consumer = KafkaConsumer(metrics_enabled=False, **_patience(deadline_s), **settings)
            if consumer.partitions_for_topic(topic):
                consumer.subscribe([topic], listener=listener)
                return consumer
        except KafkaError:
            if time.monotonic() > deadline_s:
                raise
        if consumer is not None:
            consumer.close(autocommit=False)
        time.sleep(0.1)


def _patience(deadline_s: float) -> dict[str, int]:
    """How long the constructor may look for a broker; version 2 looks once."""
    if "bootstrap_timeout_ms" not in KafkaConsumer.DEFAULT_CONFIG:
        return {}
    return {"bootstrap_timeout_ms": max(1, int((deadline_s - time.monotonic()) * 1000))}
