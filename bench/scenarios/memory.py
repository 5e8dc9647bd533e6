"""Memory: of a broker that idles, and of one that a gigabyte went through."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bench import client, frames
from bench.brokers import Broker
from bench.processes import peak_rss_mib, rss_mib
from bench.scenario import Figure, Goal, Scenario, Size

THROUGH_BYTES = 1 << 30
SETTLE_S = 1.0  # what a start leaves to do is done
FIGURES = (
    Figure("idle_mib", "MiB", "RSS, idle", "low"),
    Figure("after_mib", "MiB", "RSS after 1 GiB in and out", "low"),
    Figure("peak_mib", "MiB", "the most it was", "low"),
)


def _through(broker: Broker, size: Size) -> Mapping[str, float]:
    """Eight connections produce batches of 1 MB, two read them."""
    with broker.fresh() as own:
        own.start()
        time.sleep(SETTLE_S)
        idle_mib = rss_mib(own.pid)
        topic = client.new_topic(own.port, 2)
        batch, records = frames.batch_of_bytes(1_000_000, 1024)
        each = size.of(THROUGH_BYTES // len(batch) // 8)
        error_at = frames.produce_error_at(topic)
        client.pump(
            [
                client.Lane(own.port, client.repeated([frames.produce(topic, at % 2, batch)], each), 2, error_at)
                for at in range(8)
            ]
        )
        readers = [client.Reader(own.port, topic, partition) for partition in range(2)]
        client.side_by_side([lambda one=one: one.read_to(4 * each * records) for one in readers])  # type: ignore[misc]
        for reader in readers:
            reader.close()
        return {"idle_mib": idle_mib, "after_mib": rss_mib(own.pid), "peak_mib": peak_rss_mib(own.pid)}


SCENARIOS = (
    Scenario(
        "memory",
        "RSS before and after 1 GiB",
        "",
        FIGURES,
        (Goal("idle_mib", at_most=0.1), Goal("after_mib", against=None, at_most=60)),
        _through,
        own=True,
    ),
)
