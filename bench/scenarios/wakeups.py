"""A thousand consumers that wait at the end of one partition, and one record that wakes them all."""

from __future__ import annotations

import contextlib
import select
import struct
import time
from collections.abc import Mapping

from bench import client, frames, processes
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size

WAITING = 1000
LOOK_S, MOST_LOOKS, IDLE_SHARE = 0.1, 30, 0.25
FIGURES = (
    Figure("all_ms", "ms", "until all have it", "low"),
    Figure(CPU_PER_UNIT, "us/wake-up", "broker CPU", "low"),
)


def _wake(broker: Broker, size: Size) -> Mapping[str, float]:
    """Several times: all wait, a record is produced, all answers come. Only the latter is measured."""
    topic = client.new_topic(broker.port, 1)
    request = frames.produce(topic, 0, frames.batch(1, 100))
    fetch = frames.fetch(topic, 0, 0, max_wait_ms=60_000)
    offset_at = frames.fetch_offset_at(topic)
    ack_at = frames.produce_error_at(topic)
    error_at, records_at = frames.fetch_records_at(topic)
    waiting, times = min(WAITING, size.of(10 * WAITING)), size.of(8, 2)  # fewer only in a tiny run
    walls_s, cpu_s = [], 0.0
    poll = select.poll()
    with contextlib.ExitStack() as stack:
        connections = {}
        for _ in range(waiting):
            connection = stack.enter_context(client.Connection(broker.port, 4096))
            connections[connection.sock.fileno()] = connection
        producer = stack.enter_context(client.Connection(broker.port))
        producer.sock.sendall(request)
        client.check(producer.answer(), ack_at)
        for turn in range(times):
            struct.pack_into(">q", fetch, offset_at, turn + 1)
            for descriptor, connection in connections.items():
                connection.sock.sendall(fetch)
                poll.register(descriptor, select.POLLIN)
            _settle(broker.pid)
            missing = waiting
            with broker.meter() as spent:
                producer.sock.sendall(request)
                while missing:
                    ready = poll.poll(client.TIMEOUT_S * 1000)
                    if not ready:
                        raise client.BadAnswerError(f"{missing} of {waiting} were not woken")
                    for descriptor, _ in ready:
                        answer = connections[descriptor].answer()
                        client.check(answer, error_at)
                        if not frames.records(answer, records_at)[1]:
                            raise client.BadAnswerError("a waiting fetch was answered without records")
                        poll.unregister(descriptor)
                    missing -= len(ready)
            client.check(producer.answer(), ack_at)
            walls_s.append(spent.wall_s)
            cpu_s += spent.broker_cpu_s
    client.drop(broker.port, [topic])
    return {"all_ms": client.percentile(walls_s, 0.5) * 1e3, CPU_PER_UNIT: cpu_s / (waiting * times) * 1e6}


def _settle(pid: int) -> None:
    """Until the broker has parked all fetches: no broker tells, but it then uses little CPU."""
    for _ in range(MOST_LOOKS):
        before_s = processes.cpu_s(pid)
        time.sleep(LOOK_S)
        if processes.cpu_s(pid) - before_s < IDLE_SHARE * LOOK_S:
            return


SCENARIOS = (
    Scenario(
        "wakeup-1000",
        "1,000 waiting fetches woken by one produce",
        "wake-up",
        FIGURES,
        (Goal("all_ms", at_most=0.7), Goal(CPU_PER_UNIT, at_most=1 / 2)),
        _wake,
        quick=True,
    ),
)
