"""From produce to consume at a steady rate: the time from when a record was due until a consumer has it."""

from __future__ import annotations

import contextlib
import select
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size

RATE = 1000
WARM = 50  # records before: the log is made, the fetch session is there
FIGURES = (
    Figure("p50_us", "us", "p50", "low"),
    Figure("p99_us", "us", "p99", "low"),
    Figure("p999_us", "us", "p99.9", "low"),
    Figure(CPU_PER_UNIT, "us/record", "broker CPU", "low"),
)


class _Consumer:
    """A connection with one fetch waiting, in a session as consumers' are."""

    def __init__(self, port: int, topic: str) -> None:
        self._connection = client.Connection(port)
        self.sock = self._connection.sock
        self.seen = 0
        self._frame = frames.fetch(topic, 0, 0, session_epoch=0)
        self._session_at, self._offset_at = frames.fetch_session_at(topic), frames.fetch_offset_at(topic)
        self._error_at, self._records_at = frames.fetch_records_at(topic)
        self._epoch = 0

    def ask(self) -> None:
        """Send a fetch from where the last answer ended."""
        struct.pack_into(">q", self._frame, self._offset_at, self.seen)
        self.sock.sendall(self._frame)

    def take(self) -> None:
        """Read the answer: each batch has one record."""
        answer = self._connection.answer()
        client.check(answer, frames.FETCH_ERROR_AT)
        session_id, topics = frames.fetch_session(answer)
        if session_id:  # without one, a broker is asked for everything each time
            self._epoch += 1
            struct.pack_into(">ii", self._frame, self._session_at, session_id, self._epoch)
        if not topics:
            return
        client.check(answer, self._error_at)
        at, size = frames.records(answer, self._records_at)
        end = at + size
        while at < end:
            at += 12 + int.from_bytes(answer[at + 8 : at + 12], "big")
            self.seen += 1


def _steady(broker: Broker, size: Size) -> Mapping[str, float]:
    """One producer and one waiting consumer. Records are sent when they are due, whether or not those before were
    acknowledged; who falls behind is measured from when the record was due.
    """
    topic = client.new_topic(broker.port, 1)
    total = size.of(4 * RATE, 50)
    request = frames.produce(topic, 0, frames.batch(1, 100))
    ack_at = frames.produce_error_at(topic)
    latencies_s: list[float] = []
    with client.Connection(broker.port) as producer, _exact_sleep():
        consumer = _Consumer(broker.port, topic)
        for _ in range(WARM):
            producer.sock.sendall(request)
            client.check(producer.answer(), ack_at)
            consumer.ask()
            consumer.take()
        if consumer.seen != WARM:
            raise client.BadAnswerError(f"{consumer.seen} of {WARM} acknowledged records came")
        with broker.meter() as spent:
            consumer.ask()
            began_s = time.perf_counter() + 0.01
            sent = acknowledged = 0
            while len(latencies_s) < total or acknowledged < total:
                due_s = began_s + sent / RATE
                held = producer.holds_answer()  # two may come at once
                wait_s = max(0.0, due_s - time.perf_counter()) if sent < total else client.TIMEOUT_S
                wait_s = 0.0 if held else wait_s
                ready, _, _ = select.select([producer.sock, consumer.sock], [], [], wait_s)
                if consumer.sock in ready:
                    consumer.take()
                    now_s = time.perf_counter()
                    for at in range(len(latencies_s), consumer.seen - WARM):
                        latencies_s.append(now_s - (began_s + at / RATE))
                    consumer.ask()
                if held or producer.sock in ready:
                    client.check(producer.answer(), ack_at)
                    acknowledged += 1
                if sent < total and time.perf_counter() >= due_s:
                    producer.sock.sendall(request)
                    sent += 1
                elif not ready and not held and sent == total:
                    raise client.BadAnswerError(f"{len(latencies_s)} of {total} records came")
        consumer.sock.close()
    client.drop(broker.port, [topic])
    return {
        "p50_us": client.percentile(latencies_s, 0.5) * 1e6,
        "p99_us": client.percentile(latencies_s, 0.99) * 1e6,
        "p999_us": client.percentile(latencies_s, 0.999) * 1e6,
        CPU_PER_UNIT: spent.broker_cpu_s / total * 1e6,
    }


@contextlib.contextmanager
def _exact_sleep() -> Iterator[None]:
    """Linux wakes a sleeper up to 50 us late, to wake several at once: that would be in every latency."""
    slack = Path("/proc/self/timerslack_ns")
    before = ""
    with contextlib.suppress(OSError):
        before = slack.read_text()
        slack.write_text("1000")
    try:
        yield
    finally:
        if before:
            slack.write_text(before)


SCENARIOS = (
    Scenario(
        "latency-1000",
        "produce to consume at 1,000 records/s",
        "record",
        FIGURES,
        (Goal("p50_us", at_most=0.5), Goal("p99_us", at_most=1.0), Goal("p999_us", at_most=1.0)),
        _steady,
        quick=True,
    ),
)
