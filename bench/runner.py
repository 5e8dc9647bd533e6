"""Takes the turns: all brokers run side by side, are warmed, and hear each scenario one after another, round by round.

Who goes first changes with each round. Results are kept as they come. Not here: what a scenario does, the table.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import client, frames
from bench.brokers import Broker, BrokerError, tree_revision
from bench.processes import Spent
from bench.scenario import Scenario, Size

WARM_BYTES = 1_000_000_000  # a JVM compiles what has run often enough: a cold one would flatter us
WARM_REQUESTS = 50_000
MOST_FAILURES = 2  # of a broker in a scenario: then it is left out of the rounds to come
# Waits that every broker would only sleep through; kfake takes no properties.
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
}

FAULTS = (client.BadAnswerError, BrokerError, OSError)  # of a broker: the row says FAILED, the run goes on

Say = Callable[[str], None]
Turn = dict[str, Any]


class Results:
    """All turns so far, and what they were taken on; a JSON file that is whole at every moment, if `path` is given."""

    def __init__(self, path: Path | None, size: Size, brokers: Sequence[Broker]) -> None:
        self.path = path
        self.document: dict[str, Any] = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": {
                "cpus": os.cpu_count(),
                "model": _cpu_model(),
                "system": platform.system(),
                "release": platform.release(),
            },
            "python": platform.python_version(),
            "revision": tree_revision(),
            "size": size.name,
            "brokers": [{"name": broker.name, "kind": broker.kind, "version": broker.version()} for broker in brokers],
            "turns": [],
        }
        self._save()

    @property
    def turns(self) -> list[Turn]:
        turns: list[Turn] = self.document["turns"]
        return turns

    def add(self, turn: Turn) -> None:
        """Keep it."""
        self.turns.append(turn)
        self._save()

    def _save(self) -> None:
        if self.path is not None:
            unfinished = self.path.with_suffix(".partial")
            unfinished.write_text(json.dumps(self.document, indent=1))
            unfinished.replace(self.path)


def run(
    brokers: Sequence[Broker],
    scenarios: Sequence[Scenario],
    size: Size,
    rounds: int,
    results: Results,
    say: Say,
    *,
    profile: Callable[[Broker, Scenario], None] | None = None,
) -> None:
    """Run everything. `profile` is called for each broker behind the last round of a scenario. A broker that does not
    start is left out; raises BrokerError if no one is left.
    """
    shared = [scenario for scenario in scenarios if not scenario.own]
    own = [scenario for scenario in scenarios if scenario.own]
    started: list[Broker] = []
    gc.collect()
    gc.disable()
    try:
        able = []
        for broker in brokers:
            broker.settings = SETTINGS
            try:
                broker.prepare()
                if shared:
                    started.append(broker)
                    broker.start()
                    say(f"warming {broker.name}")
                    warm_up(broker, 1.0 if broker.kind == "kafka" else min(1.0, size.scale))
            except (BrokerError, client.BadAnswerError) as error:
                say(f"without {broker.name}: {error}")
            else:
                able.append(broker)
        if not able:
            raise BrokerError("none of the brokers could be started; see above")
        _take_turns(able, shared, size, rounds, results, say, profile)
        for broker in started:
            broker.stop()
        _take_turns(able, own, size, rounds, results, say, profile)
    finally:
        for broker in started:
            broker.kill()
        gc.enable()


def warm_up(broker: Broker, scale: float = 1.0) -> None:
    """A gigabyte in and out, every byte of it checked, and fifty thousand requests."""
    topic = client.new_topic(broker.port, 2)
    batch, records = frames.batch_of_bytes(256 << 10, 1024)
    error_at = frames.produce_error_at(topic)
    each = max(1, int(WARM_BYTES * scale) // len(batch) // 2)
    lanes = [
        client.Lane(broker.port, client.repeated([frames.produce(topic, partition, batch)], each), 5, error_at)
        for partition in range(2)
    ]
    client.pump(lanes)
    readers = [client.Reader(broker.port, topic, partition, check_crc=True) for partition in range(2)]
    client.side_by_side([partial(one.read_to, each * records) for one in readers])
    for reader in readers:
        reader.close()
    client.drop(broker.port, [topic])
    topic = client.new_topic(broker.port, 1)
    small = frames.produce(topic, 0, frames.batch(1, 100))
    each = max(1, int(WARM_REQUESTS * scale) // 8)
    client.pump([client.Lane(broker.port, client.repeated([small], each), 1, error_at) for _ in range(8)])
    client.drop(broker.port, [topic])


def _take_turns(
    brokers: Sequence[Broker],
    scenarios: Sequence[Scenario],
    size: Size,
    rounds: int,
    results: Results,
    say: Say,
    profile: Callable[[Broker, Scenario], None] | None,
) -> None:
    for scenario in scenarios:
        failures: dict[str, int] = {}
        for number in range(rounds):
            first = number % len(brokers)
            for broker in [*brokers[first:], *brokers[:first]]:
                if failures.get(broker.name, 0) >= MOST_FAILURES:
                    continue
                turn = _take_turn(broker, scenario, size, number)
                failures[broker.name] = failures.get(broker.name, 0) + ("error" in turn)
                results.add(turn)
                shown = turn.get("error") or "  ".join(f"{key} {value:.4g}" for key, value in turn["figures"].items())
                say(f"{scenario.name} {number + 1}/{rounds} {broker.name}: {shown}")
        if profile is not None:
            for broker in brokers:
                try:
                    profile(broker, scenario)
                except FAULTS as error:
                    say(f"{scenario.name}, {broker.name}: no profile, {error}")


def _take_turn(broker: Broker, scenario: Scenario, size: Size, number: int) -> Turn:
    """One turn: its figures or the error, and what the meters saw beside them."""
    turn: Turn = {"scenario": scenario.name, "broker": broker.name, "round": number}
    broker.spent.clear()
    try:
        turn["figures"] = dict(scenario.tell(broker, size))
    except FAULTS as error:
        turn["error"] = str(error) or type(error).__name__
    for key in Spent.__slots__:
        turn[key] = round(sum(getattr(spent, key) for spent in broker.spent), 6)
    turn["load"] = os.getloadavg()[0]
    gc.collect()
    return turn


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def to_stderr(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
