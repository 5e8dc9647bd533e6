"""Durable acknowledgements: each request is answered when its record is on the disk (flush.messages=1 on the topic)."""

from __future__ import annotations

from collections.abc import Mapping

from bench import client
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size
from bench.scenarios import requests

CONNECTIONS = 64
FIGURES = (
    Figure("acks_s", "/s", "acknowledged", "high"),
    Figure("p50_ms", "ms", "p50", "low"),
    Figure("p99_ms", "ms", "p99", "low"),
    Figure(CPU_PER_UNIT, "us/request", "broker CPU", "low"),
)


def _flushed(broker: Broker, size: Size) -> Mapping[str, float]:
    """One record a request, one request under way on each connection, one partition."""
    spent, latencies_s = requests.one_each(broker, CONNECTIONS, size.of(80, 2), {"flush.messages": "1"})
    return {
        "acks_s": len(latencies_s) / spent.wall_s,
        "p50_ms": client.percentile(latencies_s, 0.5) * 1e3,
        "p99_ms": client.percentile(latencies_s, 0.99) * 1e3,
        CPU_PER_UNIT: spent.broker_cpu_s / len(latencies_s) * 1e6,
    }


SCENARIOS = (
    Scenario(
        "durable-64",
        "flush before acknowledgement, 64 connections",
        "request",
        FIGURES,
        (Goal("acks_s", at_least=1.0),),
        _flushed,
    ),
)
