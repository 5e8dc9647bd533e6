"""Produce: large batches of large and small records, compressed ones, and small batches of idempotent producers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size

LZ4 = 3
CONNECTIONS = 2
WINDOW = 5
LARGE_BATCH = 256 << 10
SMALL_BATCH = 16 << 10

FIGURES = (
    Figure("mb_s", "MB/s", "throughput", "high"),
    Figure("p50_ms", "ms", "acknowledged, p50", "low"),
    Figure("p99_ms", "ms", "acknowledged, p99", "low"),
    Figure(CPU_PER_UNIT, "us/MB", "broker CPU", "low"),
)


def _large(
    record_bytes: int, megabytes: int, *, codec: int = 0, spread: float = 0.0
) -> Callable[[Broker, Size], Mapping[str, float]]:
    """Batches of 256 KiB before compression, four partitions, two connections with five requests under way each."""

    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        topic = client.new_topic(broker.port, 4)
        batch, records = frames.batch_of_bytes(LARGE_BATCH, record_bytes, codec=codec, text=codec != 0, spread=spread)
        requests = [frames.produce(topic, partition, batch) for partition in range(4)]
        each = size.of(megabytes * 1_000_000 // (records * record_bytes) // CONNECTIONS, 4)
        lanes = [
            client.Lane(broker.port, client.repeated(requests, each), WINDOW, frames.produce_error_at(topic))
            for _ in range(CONNECTIONS)
        ]
        with broker.meter() as spent:
            latencies_s = client.pump(lanes)
        client.drop(broker.port, [topic])
        return _figures(
            spent.wall_s, spent.broker_cpu_s, each * CONNECTIONS * records * record_bytes / 1e6, latencies_s
        )

    return tell


def _trusting_headers(
    tell: Callable[[Broker, Size], Mapping[str, float]],
) -> Callable[[Broker, Size], Mapping[str, float]]:
    """The same on an Ottla of its own that does not walk the records. Other brokers have no such setting."""

    def tell_own(broker: Broker, size: Size) -> Mapping[str, float]:
        if broker.kind != "ottla":
            return tell(broker, size)
        with broker.fresh({"ottla.record.validation": "header"}) as own:
            own.start()
            tell(own, Size("warm", size.scale / 10))
            own.spent.clear()
            return tell(own, size)

    return tell_own


def _idempotent(broker: Broker, size: Size) -> Mapping[str, float]:
    """Two producers, each on its connection, batches of 16 KB into six partitions, numbered as they are sent."""
    topic = client.new_topic(broker.port, 6)
    batch, records = frames.batch_of_bytes(SMALL_BATCH, 1024)
    each = size.of(3000, 12)

    def numbered() -> Callable[[], bytearray | None]:
        with client.Connection(broker.port) as connection:
            producer = connection.ask(frames.init_producer_id(), frames.INIT_PRODUCER_ID)
        rings = []  # more frames than may be under way: one that is being sent must not be changed
        for partition in range(6):
            ring = [bytearray(frames.produce(topic, partition, batch)) for _ in range(WINDOW + 1)]
            for frame in ring:
                frames.make_idempotent(frame, len(batch), producer.producer_id, producer.producer_epoch)
            rings.append(ring)
        sent = 0

        def next_frame() -> bytearray | None:
            nonlocal sent
            if sent == each:
                return None
            turn, partition = divmod(sent, 6)
            frame = rings[partition][turn % (WINDOW + 1)]
            frames.set_sequence(frame, len(batch), turn * records)
            sent += 1
            return frame

        return next_frame

    lanes = [client.Lane(broker.port, numbered(), WINDOW, frames.produce_error_at(topic)) for _ in range(CONNECTIONS)]
    with broker.meter() as spent:
        latencies_s = client.pump(lanes)
    client.drop(broker.port, [topic])
    return _figures(spent.wall_s, spent.broker_cpu_s, each * CONNECTIONS * records * 1024 / 1e6, latencies_s)


def _figures(wall_s: float, cpu_s: float, megabytes: float, latencies_s: list[float]) -> Mapping[str, float]:
    return {
        "mb_s": megabytes / wall_s,
        "p50_ms": client.percentile(latencies_s, 0.5) * 1e3,
        "p99_ms": client.percentile(latencies_s, 0.99) * 1e3,
        CPU_PER_UNIT: cpu_s / megabytes * 1e6,
    }


def _goals(wall: float, cpu: float) -> tuple[Goal, ...]:
    return (
        Goal("mb_s", at_least=wall),
        Goal(CPU_PER_UNIT, at_most=cpu),
        Goal("mb_s", "kfake", at_least=0.8),
        Goal(CPU_PER_UNIT, "kfake", at_most=1.0),
    )


SCENARIOS = (
    Scenario(
        "produce-1k",
        "1 KiB records in 256 KiB batches, acks=all",
        "MB",
        FIGURES,
        _goals(1.5, 1 / 2.5),
        _large(1024, 400),
        quick=True,
    ),
    Scenario(
        "produce-100", "the same with 100 B records", "MB", FIGURES, _goals(1.2, 1.0), _large(100, 200), quick=True
    ),
    Scenario(
        "produce-100-mixed",
        "records of 20 to 180 B, one unlike the other",
        "MB",
        FIGURES,
        (),
        _large(100, 200, spread=0.8),
    ),
    Scenario(
        "produce-100-header",
        "100 B records, ottla.record.validation=header",
        "MB",
        FIGURES,
        _goals(1.8, 1 / 2.5),
        _trusting_headers(_large(100, 200)),
    ),
    Scenario(
        "produce-lz4",
        "1 KiB records of text, lz4",
        "MB",
        FIGURES,
        _goals(1.2, 1.0),
        _large(1024, 400, codec=LZ4),
        quick=True,
    ),
    Scenario(
        "produce-lz4-header",
        "lz4, ottla.record.validation=header",
        "MB",
        FIGURES,
        _goals(1.8, 1 / 2.5),
        _trusting_headers(_large(1024, 400, codec=LZ4)),
    ),
    Scenario(
        "produce-16k-idempotent",
        "16 KB batches, idempotent, 6 partitions",
        "MB",
        FIGURES,
        _goals(1.3, 1 / 3),
        _idempotent,
        quick=True,
    ),
)
