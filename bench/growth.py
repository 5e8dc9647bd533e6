"""How cost grows: the same requests at 1, 10, 100 and 1,000 partitions, topics, connections and segments, and at 0.1, 1
and 10 GB of log. Nothing on a hot path may grow with what idles beside it.

Scenarios as those in scenarios/, told with `python -m bench --growth`; picture.py draws them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import Figure, Scenario, Size
from bench.scenarios import requests, topics
from ottla.wire.messages.offset_commit import OffsetCommitRequest

STEPS = (1, 10, 100, 1000)
LOG_GB = (0.1, 1.0, 10.0)
REQUESTS = 3000  # of each kind, on one connection, one under way
BUSY_REQUESTS = 15_000  # on all connections together
BATCH_BYTES = 64 << 10  # of the large logs
READS = 1000  # of a large log
SEGMENT_BYTES = 1 << 20  # the least that Kafka takes
OFFSET_COMMIT = 8
LOG_CONFIGS = {"retention.ms": "-1", "retention.bytes": "-1"}  # its timestamps are old

PRODUCE = Figure("produce_us", "us", "Produce of one record, us", "low")
FOLLOW = Figure("follow_us", "us", "one record, produced and fetched, us", "low")
COMMIT = Figure("commit_us", "us", "OffsetCommit of one partition, us", "low")
METADATA = Figure("metadata_us", "us", "Metadata of one topic, us", "low")
SEEK = Figure("seek_us", "us", "Fetch of 64 KB anywhere, us", "low")
BY_TIME = Figure("by_time_us", "us", "ListOffsets by time, us", "low")
RESTART = Figure("restart_ms", "ms", "from exec until one is written, ms", "low")


def by_wall(figure: Figure) -> Figure:
    """Beside the broker CPU of a request: how long its client waits, mostly."""
    return Figure(f"p50_{figure.key}", figure.unit, f"{figure.what} by the wall, p50", figure.better)


class Axis(NamedTuple):
    """What grows: one chart of `costs`, with a scenario at each step."""

    name: str
    what: str
    steps: Sequence[float]
    costs: tuple[Figure, ...]
    tell: Callable[[float, Broker, Size], Mapping[str, float]]
    own: bool = False

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The costs, and the waits that belong to them."""
        return (*self.costs, *(by_wall(figure) for figure in self.costs if figure.unit == "us"))

    def scenario(self, step: float) -> Scenario:
        """What is told at one step."""
        what = self.what.format(step=f"{step:,g}")
        return Scenario(
            f"grow-{self.name}-{step:g}", what, "", self.figures, (), partial(self.tell, step), own=self.own
        )


def _partitions(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """One topic of so many partitions, all followed by one fetch session; one of them is written."""
    topic = client.new_topic(broker.port, int(step))
    try:
        return {**_produce(broker, topic, size), **_follow(broker, {topic: int(step)}, size)}
    finally:
        client.drop(broker.port, [topic])


def _topics(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """So many topics of one partition, all followed; one is written and described."""
    topic = client.new_topic(broker.port, 1)
    names = [topic, *(f"{topic}-{at:04d}" for at in range(1, int(step)))]
    client.create_all(broker.port, dict.fromkeys(names[1:], 1), {})
    try:
        return {
            **_produce(broker, topic, size),
            **_follow(broker, dict.fromkeys(names, 1), size),
            **_describe(broker, topic, size),
            **_commit(broker, topic, size),
        }
    finally:
        client.drop(broker.port, names)


def _idle(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """So many connections that asked once and are silent since."""
    topic = client.new_topic(broker.port, 1)
    with contextlib.ExitStack() as stack:
        for _ in range(int(step)):
            stack.enter_context(client.Connection(broker.port)).ask(frames.metadata([]), frames.METADATA)
        try:
            return {
                **_produce(broker, topic, size),
                **_follow(broker, {topic: 1}, size),
                **_describe(broker, topic, size),
                **_commit(broker, topic, size),
            }
        finally:
            client.drop(broker.port, [topic])


def _busy(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """So many connections, each with a Produce under way."""
    connections = int(step)
    spent, latencies_s = requests.one_each(broker, connections, size.of(BUSY_REQUESTS // connections, 2), {})
    return _told(PRODUCE, spent.broker_cpu_s, latencies_s)


def _log(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """So many GB in one partition."""
    return _stored(broker, size.of(int(step * 1e9)), LOG_CONFIGS, size)


def _segments(step: float, broker: Broker, size: Size) -> Mapping[str, float]:
    """So many small segments in one partition."""
    configs = {**LOG_CONFIGS, "segment.bytes": str(SEGMENT_BYTES)}
    return _stored(broker, size.of(int(step), 1) * SEGMENT_BYTES, configs, size)


def _stored(broker: Broker, nbytes: int, configs: Mapping[str, str], size: Size) -> Mapping[str, float]:
    """A broker of its own with a log of so many bytes: its end, anywhere in it, by time, and a restart."""
    with broker.fresh() as own:
        own.start()
        topic = client.new_topic(own.port, 1, configs)
        batches, records = _fill(own.port, topic, nbytes)
        os.sync()  # else the kernel writes back, and the broker flushes what it rolled, beside what is measured
        figures = {**_produce(own, topic, size), **_seek(own, topic, batches * records, size)}
        figures.update(_by_time(own, topic, batches, size))
        own.stop()
        own.start()
        topics.await_all(own.port, {topic: 1})
        figures[RESTART.key] = (time.perf_counter() - own.exec_s) * 1e3
    return figures


def _fill(port: int, topic: str, nbytes: int) -> tuple[int, int]:
    """Write batches of growing timestamps, 1 s apart; how many, and the records of each."""
    batch, records = frames.batch_of_bytes(BATCH_BYTES, 1024)
    frame = bytearray(frames.produce(topic, 0, batch))
    total = max(2, nbytes // len(batch))

    def timed() -> Iterator[bytearray]:
        for at in range(total):
            frames.set_time(frame, len(batch), frames.T0_MS + at * 1000)
            yield bytearray(frame)

    ours = timed()
    client.pump([client.Lane(port, lambda: next(ours, None), 5, frames.produce_error_at(topic))])
    return total, records


def _costs(broker: Broker, figure: Figure, total: int, once: Callable[[int], None]) -> Mapping[str, float]:
    """Broker CPU of `once(number)` and its p50, behind some that are not counted."""
    for at in range(max(1, total // 10)):
        once(at)
    latencies_s = []
    with broker.meter() as spent:
        for at in range(total):
            began_s = time.perf_counter()
            once(at)
            latencies_s.append(time.perf_counter() - began_s)
    return _told(figure, spent.broker_cpu_s, latencies_s)


def _told(figure: Figure, broker_cpu_s: float, latencies_s: Sequence[float]) -> Mapping[str, float]:
    return {
        figure.key: broker_cpu_s / len(latencies_s) * 1e6,
        by_wall(figure).key: client.percentile(latencies_s, 0.5) * 1e6,
    }


def _produce(broker: Broker, topic: str, size: Size) -> Mapping[str, float]:
    request = frames.produce(topic, 0, frames.batch(1, 100))
    error_at = frames.produce_error_at(topic)
    with client.Connection(broker.port) as connection:

        def once(_: int) -> None:
            connection.sock.sendall(request)
            client.check(connection.answer(), error_at)

        return _costs(broker, PRODUCE, size.of(REQUESTS, 5), once)


def _follow(broker: Broker, followed: Mapping[str, int], size: Size) -> Mapping[str, float]:
    """A session over all partitions; each time one record comes in one of them, and the session is asked for news."""
    (first, *_) = followed
    request = frames.produce(first, 0, frames.batch(1, 100))
    error_at = frames.produce_error_at(first)
    with client.Connection(broker.port) as producer, client.Connection(broker.port) as consumer:
        follower = _Follower(consumer, followed)

        def once(_: int) -> None:
            producer.sock.sendall(request)
            client.check(producer.answer(), error_at)
            follower.hear(first)

        return _costs(broker, FOLLOW, size.of(REQUESTS // 3, 5), once)


class _Follower:
    """A consumer at the ends of all partitions, in one incremental session (KIP-227)."""

    def __init__(self, connection: client.Connection, followed: Mapping[str, int]) -> None:
        self._connection = connection
        ends = connection.ask(frames.list_offsets(followed), frames.LIST_OFFSETS).topics
        self._offsets = {(topic.name, one.partition_index): one.offset for topic in ends for one in topic.partitions}
        self._epoch = 0
        self._session_id = 0
        self._ask(self._offsets)

    def hear(self, topic: str) -> None:
        """One record has come to partition 0 of `topic`."""
        answer = self._ask({(topic, 0): self._offsets[topic, 0]})
        told = [(each.topic, one.partition_index) for each in answer.responses for one in each.partitions]
        if told != [(topic, 0)] or not answer.responses[0].partitions[0].records:
            raise client.BadAnswerError(f"the session was told of {told}")
        self._offsets[topic, 0] += 1

    def _ask(self, offsets: Mapping[tuple[str, int], int]) -> Any:
        request = frames.follow(offsets, self._session_id, self._epoch)
        answer = self._connection.ask(request, frames.FETCH)
        if answer.error_code:
            raise client.BadAnswerError(f"error {answer.error_code} of a fetch session")
        self._session_id = answer.session_id
        self._epoch += 1
        return answer


def _describe(broker: Broker, topic: str, size: Size) -> Mapping[str, float]:
    wanted = frames.metadata([topic])
    request = frames.frame(wanted, frames.METADATA)
    with client.Connection(broker.port) as connection:
        connection.sock.sendall(request)
        expected = bytes(connection.answer())
        (described,) = frames.decode(wanted, frames.METADATA, expected).topics
        if described.error_code or not described.partitions:
            raise client.BadAnswerError(f"error {described.error_code} of the metadata of {topic}")

        def once(_: int) -> None:
            connection.sock.sendall(request)
            if connection.answer() != expected:
                raise client.BadAnswerError(f"the metadata of {topic} changed")

        return _costs(broker, METADATA, size.of(REQUESTS // 3, 5), once)


def _commit(broker: Broker, topic: str, size: Size) -> Mapping[str, float]:
    """By a consumer that is no member of a group."""
    group = f"{topic}-group"
    client.await_coordinator(broker.port, group)
    with client.Connection(broker.port) as connection:

        def once(at: int) -> None:
            one = OffsetCommitRequest.OffsetCommitRequestPartition(committed_offset=at, committed_metadata="")
            named = OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[one])
            answer = connection.ask(OffsetCommitRequest(group_id=group, topics=[named]), OFFSET_COMMIT)
            if code := answer.topics[0].partitions[0].error_code:
                raise client.BadAnswerError(f"error {code} of an OffsetCommit")

        return _costs(broker, COMMIT, size.of(REQUESTS // 3, 5), once)


def _seek(broker: Broker, topic: str, records: int, size: Size) -> Mapping[str, float]:
    """Fetches all over the log, each of one batch."""
    with contextlib.ExitStack() as stack:
        reader = client.Reader(broker.port, topic, 0, max_bytes=1)
        stack.callback(reader.close)

        def once(at: int) -> None:
            wanted = reader.offset = at * 7919 * records // 1000 % records
            reader.read_to(wanted + 1)

        return _costs(broker, SEEK, size.of(READS, 5), once)


def _by_time(broker: Broker, topic: str, batches: int, size: Size) -> Mapping[str, float]:
    with client.Connection(broker.port) as connection:

        def once(at: int) -> None:
            wanted = frames.list_offsets({topic: 1}, frames.T0_MS + at * 7919 % batches * 1000)
            (answer,) = connection.ask(wanted, frames.LIST_OFFSETS).topics[0].partitions
            if answer.error_code or answer.timestamp != wanted.topics[0].partitions[0].timestamp:
                raise client.BadAnswerError(f"asked for a time that is there, told {answer}")

        return _costs(broker, BY_TIME, size.of(READS, 5), once)


_FOLLOWED = "all in one fetch session"
STORED = (PRODUCE, SEEK, BY_TIME, RESTART)
AXES = (
    Axis("partitions", "partitions of a topic, " + _FOLLOWED, STEPS, (PRODUCE, FOLLOW), _partitions),
    Axis("topics", "topics, " + _FOLLOWED, STEPS, (PRODUCE, FOLLOW, METADATA, COMMIT), _topics),
    Axis("idle", "idle connections", STEPS, (PRODUCE, FOLLOW, METADATA, COMMIT), _idle),
    Axis("busy", "connections, a Produce under way on each", STEPS, (PRODUCE,), _busy),
    Axis("segments", "segments of 1 MiB in one partition", STEPS, STORED, _segments, own=True),
    Axis("log", "GB of log in one partition", LOG_GB, STORED, _log, own=True),
)
SCENARIOS = {scenario.name: scenario for axis in AXES for scenario in map(axis.scenario, axis.steps)}
