"""Fetch from the start of a log: large batches in large fetches, and a log of small batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size

PARTITIONS = 2  # each read by a connection of its own
FIGURES = (
    Figure("mb_s", "MB/s", "throughput", "high"),
    Figure(CPU_PER_UNIT, "us/MB", "broker CPU", "low"),
)
GOALS = (
    Goal("mb_s", at_least=1.3),
    Goal(CPU_PER_UNIT, at_most=1 / 1.7),
    Goal("mb_s", "kfake", at_least=0.8),
    Goal(CPU_PER_UNIT, "kfake", at_most=1.0),
)
READS = 3  # of the same log, within one turn


def _read(batch_bytes: int, megabytes: int) -> Callable[[Broker, Size], Mapping[str, float]]:
    """Fetches of at most 1 MiB, batch headers only; the log is in the page cache."""

    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        topic = client.new_topic(broker.port, PARTITIONS)
        batch, records = frames.batch_of_bytes(batch_bytes, 1024)
        each = size.of(megabytes * 1_000_000 // len(batch) // PARTITIONS, 4)
        lanes = [
            client.Lane(
                broker.port,
                client.repeated([frames.produce(topic, partition, batch)], each),
                5,
                frames.produce_error_at(topic),
            )
            for partition in range(PARTITIONS)
        ]
        client.pump(lanes)
        readers = [
            client.Reader(broker.port, topic, partition) for partition in range(PARTITIONS) for _ in range(READS)
        ]
        with broker.meter() as spent:
            for at in range(READS):
                ours = readers[at::READS]
                client.side_by_side([partial(one.read_to, each * records) for one in ours])
        client.drop(broker.port, [topic])
        for reader in readers:
            reader.close()
        read = sum(reader.received_bytes for reader in readers) / 1e6
        return {"mb_s": read / spent.wall_s, CPU_PER_UNIT: spent.broker_cpu_s / read * 1e6}

    return tell


SCENARIOS = (
    Scenario("consume-1m", "from the start, 1 MB fetches", "MB", FIGURES, GOALS, _read(256 << 10, 300), quick=True),
    Scenario(
        "consume-16k", "from the start, a log of 16 KB batches", "MB", FIGURES, GOALS, _read(16 << 10, 150), quick=True
    ),
)
