"""From exec to the first acknowledged record, as a test suite meets it each time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from bench import client, frames
from bench.brokers import Broker
from bench.processes import cpu_s, rss_mib
from bench.scenario import Figure, Goal, Scenario, Size

TOPIC = "first"
FIGURES = (
    Figure("first_ack_ms", "ms", "exec to the first acknowledged record", "low"),
    Figure("cpu_s", "s", "CPU till then", "low"),
    Figure("rss_mib", "MiB", "RSS then", "low"),
)


def _first(broker: Broker, size: Size) -> Mapping[str, float]:
    """The topic is made by asking for it; Kafka's storage was formatted before."""
    produce = frames.produce(TOPIC, 0, frames.batch(1, 100))
    error_at = frames.produce_error_at(TOPIC)
    with broker.fresh() as own:
        own.prepare()
        own.start()
        deadline_s = time.monotonic() + client.TIMEOUT_S
        while not _is_acknowledged(own.port, produce, error_at):
            if time.monotonic() > deadline_s:
                raise client.BadAnswerError("no record was acknowledged")
        took_s = time.perf_counter() - own.exec_s
        return {"first_ack_ms": took_s * 1e3, "cpu_s": cpu_s(own.pid), "rss_mib": rss_mib(own.pid)}


def _is_acknowledged(port: int, produce: bytes, error_at: int) -> bool:
    with contextlib.suppress(OSError, client.BadAnswerError), client.Connection(port) as connection:
        connection.ask(frames.metadata([TOPIC], create=True), frames.METADATA)
        connection.sock.sendall(produce)
        answer = connection.answer()
        return not answer[error_at] and not answer[error_at + 1]
    return False


SCENARIOS = (
    Scenario(
        "startup",
        "exec to the first acknowledged record",
        "",
        FIGURES,
        (
            Goal("first_ack_ms", at_most=0.1),
            Goal("cpu_s", against=None, at_most=0.25),
        ),
        _first,
        own=True,
    ),
)
