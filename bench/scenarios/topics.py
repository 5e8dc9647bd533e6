"""A thousand partitions: created in one request, described, and served again after a restart."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import Figure, Goal, Scenario, Size

TOPICS, PARTITIONS = 100, 10
ASKS = 50
FIGURES = (
    Figure("create_ms", "ms", "created, with leaders", "low"),
    Figure("metadata_us", "us", "Metadata of all, p50", "low"),
    Figure("restart_ms", "ms", "from exec until all are served and one is written", "low"),
)


def _thousand(broker: Broker, size: Size) -> Mapping[str, float]:
    """On a broker of its own, whose JVM is warmed by what it is asked before."""
    names = [f"wide-{at:04d}" for at in range(size.of(TOPICS, 2))]
    with broker.fresh() as own:
        own.start()
        for at in range(5):  # creating has been done before
            client.new_topic(own.port, at + 1)
        began_s = time.perf_counter()
        client.create_all(own.port, dict.fromkeys(names, PARTITIONS), {})
        created_s = time.perf_counter() - began_s
        everything = frames.frame(frames.metadata(None), frames.METADATA)
        asked_s = []
        with client.Connection(own.port) as connection:
            for _ in range(size.of(ASKS, 3)):
                began_s = time.perf_counter()
                connection.sock.sendall(everything)
                connection.answer()
                asked_s.append(time.perf_counter() - began_s)
        own.stop()
        own.start()
        await_all(own.port, dict.fromkeys(names, PARTITIONS))
        restarted_s = time.perf_counter() - own.exec_s
    return {
        "create_ms": created_s * 1e3,
        "metadata_us": client.percentile(asked_s, 0.5) * 1e6,
        "restart_ms": restarted_s * 1e3,
    }


def await_all(port: int, topics: Mapping[str, int]) -> None:
    """Until every partition has a leader, and the last one takes a record; `topics`: partitions by name."""
    (*_, last) = topics
    request = frames.produce(last, topics[last] - 1, frames.batch(1, 100))
    error_at = frames.produce_error_at(last)
    deadline_s = time.monotonic() + client.TIMEOUT_S
    while time.monotonic() < deadline_s:
        with client.Connection(port) as connection:
            described = connection.ask(frames.metadata(list(topics)), frames.METADATA).topics
            led = [
                partition
                for topic in described
                for partition in topic.partitions
                if partition.leader_id >= 0 and not partition.error_code
            ]
            if len(led) == sum(topics.values()):
                connection.sock.sendall(request)
                answer = connection.answer()
                if not answer[error_at] and not answer[error_at + 1]:
                    return
    raise client.BadAnswerError("not all partitions were served again")


SCENARIOS = (
    Scenario(
        "topics-1000",
        "100 topics of 10 partitions",
        "",
        FIGURES,
        tuple(Goal(key, at_most=0.5) for key in ("create_ms", "metadata_us", "restart_ms")),
        _thousand,
        own=True,
    ),
)
