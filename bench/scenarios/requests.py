"""Requests of one record: what a request costs, alone and beside others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bench import client, frames
from bench.brokers import Broker
from bench.processes import Spent
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size

FIGURES = (
    Figure("requests_s", "/s", "requests", "high"),
    Figure("p50_us", "us", "acknowledged, p50", "low"),
    Figure("p99_us", "us", "acknowledged, p99", "low"),
    Figure(CPU_PER_UNIT, "us/request", "broker CPU", "low"),
)


def _one_connection(broker: Broker, size: Size) -> Mapping[str, float]:
    """Send, wait for the answer, send again: on a blocking socket, so that the client adds as little as it can."""
    topic = client.new_topic(broker.port, 1)
    request = frames.produce(topic, 0, frames.batch(1, 100))
    error_at = frames.produce_error_at(topic)
    total = size.of(10_000, 20)
    latencies_s = []
    with client.Connection(broker.port) as connection:
        send, answer, now_s = connection.sock.send, connection.answer, time.perf_counter
        with broker.meter() as spent:
            for _ in range(total):
                began_s = now_s()
                send(request)
                client.check(answer(), error_at)
                latencies_s.append(now_s() - began_s)
    client.drop(broker.port, [topic])
    return _figures(spent.wall_s, spent.broker_cpu_s, latencies_s)


def _many(connections: int) -> Callable[[Broker, Size], Mapping[str, float]]:
    """One request under way on each connection."""

    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        spent, latencies_s = one_each(broker, connections, size.of(30_000 // connections, 2), {})
        return _figures(spent.wall_s, spent.broker_cpu_s, latencies_s)

    return tell


def one_each(broker: Broker, connections: int, each: int, configs: Mapping[str, str]) -> tuple[Spent, list[float]]:
    """`each` one-record requests on every connection, one under way at a time, into one partition of a topic with
    `configs`; what was spent, and the latencies in seconds.
    """
    topic = client.new_topic(broker.port, 1, configs)
    request = frames.produce(topic, 0, frames.batch(1, 100))
    lanes = [
        client.Lane(broker.port, client.repeated([request], each), 1, frames.produce_error_at(topic))
        for _ in range(connections)
    ]
    with broker.meter() as spent:
        latencies_s = client.pump(lanes)
    client.drop(broker.port, [topic])
    return spent, latencies_s


def _figures(wall_s: float, cpu_s: float, latencies_s: list[float]) -> Mapping[str, float]:
    return {
        "requests_s": len(latencies_s) / wall_s,
        "p50_us": client.percentile(latencies_s, 0.5) * 1e6,
        "p99_us": client.percentile(latencies_s, 0.99) * 1e6,
        CPU_PER_UNIT: cpu_s / len(latencies_s) * 1e6,
    }


SCENARIOS = (
    Scenario(
        "requests-1",
        "one-record requests, acks=all, 1 connection",
        "request",
        FIGURES,
        (
            Goal("p50_us", at_most=0.6),
            Goal("requests_s", at_least=1.4),
            Goal(CPU_PER_UNIT, at_most=1 / 2),
            Goal("requests_s", "kfake", at_least=0.8),
        ),
        _one_connection,
        quick=True,
    ),
    Scenario(
        "requests-50",
        "the same, 50 connections",
        "request",
        FIGURES,
        (
            Goal("requests_s", at_least=1.1),
            Goal(CPU_PER_UNIT, at_most=1 / 1.5),
            Goal("requests_s", "kfake", at_least=0.8),
        ),
        _many(50),
        quick=True,
    ),
)
