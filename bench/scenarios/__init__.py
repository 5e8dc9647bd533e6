"""All scenarios, in the order of the table."""

from __future__ import annotations

from bench.scenario import Scenario
from bench.scenarios import (
    consume,
    durable,
    groups,
    latency,
    librdkafka,
    memory,
    produce,
    requests,
    startup,
    topics,
    wakeups,
)

MODULES = (produce, requests, consume, latency, wakeups, durable, groups, topics, startup, memory, librdkafka)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for module in MODULES for scenario in module.SCENARIOS}
