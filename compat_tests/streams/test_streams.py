"""Kafka Streams, exactly_once_v2: a word count and a windowed join are exact after the app and the broker died."""

import json
import random
import shutil
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from compat_tests.confluent.adapter import Adapter
from compat_tests.drivers import driver, missing
from compat_tests.harness import DEADLINE_S, ROOT, Broker, make_broker

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(missing("streams") is not None, reason=str(missing("streams"))),
]

PARTITIONS = 2
WORDS = [f"word{n}" for n in range(12)]
KEYS = [f"key{n}" for n in range(8)]
WINDOW_MS = 10_000
START_MS = 1_700_000_000_000
TAKE_DEADLINE_S = 300.0
RETENTION = {"retention.ms": "-1"}  # the records' times are not of today


class Record(NamedTuple):
    """A record of an output topic."""

    key: str
    value: str


class App:
    """The Streams application as a process."""

    def __init__(self, bootstrap: str, state: Path) -> None:
        self._process = subprocess.Popen(
            [*driver("streams"), bootstrap, "exact", str(state)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.events: list[tuple[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def restored(self) -> Counter[str]:
        """Store -> how many records of its changelog were read back."""
        found: Counter[str] = Counter()
        for name, value in self.events:
            if name == "restored":
                found[value[0]] += value[1]
        return found

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)

    def stop(self) -> None:
        """A clean end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(2 * DEADLINE_S) == 0
        self._thread.join(DEADLINE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else a kill cut it off
                name, value = json.loads(line)
                self.events.append((name, value))


class Sink:
    """The records of an output topic, read as they come."""

    def __init__(self, bootstrap: str, topic: str, isolation: str) -> None:
        self.records: list[Record] = []
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "unused",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "reconnect.backoff.max.ms": 500,
                "metadata.recovery.strategy": "none",
            }
        )
        self._assign()

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])

    def take_until(self, count: int) -> None:
        """Reads until so many records have come altogether."""
        done = threading.Event()
        timer = threading.Timer(TAKE_DEADLINE_S, done.set)
        timer.start()
        while len(self.records) < count and not done.is_set():
            self._poll()
        timer.cancel()
        assert len(self.records) >= count, f"{len(self.records)} of {count} records of {self._topic}"

    def all_again(self) -> list[Record]:
        """The topic from its beginning to its end."""
        self.records = []
        self._assign()
        ends: set[int] = set()
        while len(ends) < PARTITIONS:
            end = self._poll()
            if end is not None:
                ends.add(end)
        return self.records

    def _poll(self) -> int | None:
        """One record, or the number of a partition whose end was reached."""
        message = self._consumer.poll(1)
        if message is None:
            return None
        if (error := message.error()) is not None:
            return message.partition() if error.name() == "_PARTITION_EOF" else None
        self.records.append(Record((message.key() or b"").decode(), (message.value() or b"").decode()))
        return None

    def close(self) -> None:
        self._consumer.close()


MakeSink = Callable[..., Sink]


class Source:
    """The inputs, and what must come of them."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "metadata.recovery.strategy": "none"})
        self._random = random.Random(7)
        self._now_ms = START_MS
        self._sides: dict[str, list[tuple[str, int, str]]] = {"left": [], "right": []}
        self.words: Counter[str] = Counter()

    def send(self, count: int) -> None:
        """So many lines, and records of each side; returns when all are acknowledged."""
        for _ in range(count):
            self._now_ms += self._random.randrange(2_000)
            words = self._random.choices(WORDS, k=5)
            self.words.update(words)
            self._producer.produce("lines", " ".join(words), str(self._now_ms), timestamp=self._now_ms)
            for side, sent in self._sides.items():
                key, value = self._random.choice(KEYS), f"{side[0]}{len(sent)}"
                at_ms = self._now_ms + self._random.randrange(3_000)
                sent.append((key, at_ms, value))
                self._producer.produce(side, value, key, timestamp=at_ms)
        assert self._producer.flush(DEADLINE_S) == 0

    def joined(self) -> Counter[Record]:
        """Each pair that the window joins, once."""
        return Counter(
            Record(key, f"{left}|{right}")
            for key, left_ms, left in self._sides["left"]
            for other, right_ms, right in self._sides["right"]
            if key == other and abs(left_ms - right_ms) <= WINDOW_MS
        )


@pytest.fixture
def streams_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker whose groups notice soon that a member has died."""
    settings = {"group.min.session.timeout.ms": "500", "group.initial.rebalance.delay.ms": "0"}
    with make_broker(tmp_path, settings=settings) as broker:
        yield broker


@pytest.fixture
def sink(streams_broker: Broker) -> Iterator[MakeSink]:
    """Makes sinks."""
    made: list[Sink] = []

    def make(topic: str, isolation: str = "read_committed") -> Sink:
        made.append(Sink(streams_broker.bootstrap, topic, isolation))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_results_are_exact_after_crashes(streams_broker: Broker, sink: MakeSink, tmp_path: Path) -> None:
    broker, state = streams_broker, tmp_path / "state"
    for topic in ("lines", "left", "right", "counts", "joined"):
        Adapter(broker.bootstrap).create_topic(topic, PARTITIONS, RETENTION)
    source, counts, joined = Source(broker.bootstrap), sink("counts"), sink("joined")
    uncommitted = sink("counts", "read_uncommitted")
    restored: Counter[str] = Counter()

    app = App(broker.bootstrap, state)
    try:
        for victim in ("app", "broker", "app", "broker", "app"):
            before = len(uncommitted.all_again())
            source.send(60)
            uncommitted.take_until(before + 20)  # a transaction has begun
            if victim == "app":
                app.kill()
                restored += app.restored()
                shutil.rmtree(state)
                app = App(broker.bootstrap, state)
            else:
                broker.restart(kill=True)
        source.send(20)
        counts.take_until(source.words.total())
        joined.take_until(source.joined().total())
        app.stop()
    finally:
        app.kill()

    _exact_counts(counts.all_again(), source.words)
    assert Counter(joined.all_again()) == source.joined()
    assert len(uncommitted.all_again()) > source.words.total(), "no blow fell into a transaction"
    restored += app.restored()
    assert restored["word-counts"] > len(WORDS), "the changelog of the counts was not read back"
    assert any("JOINTHIS" in store for store in restored), restored


def _exact_counts(records: list[Record], expected: Counter[str]) -> None:
    """Each word was counted from 1 to its number, in that order, each count once."""
    found: dict[str, list[int]] = defaultdict(list)
    for word, count in records:
        found[word].append(int(count))
    assert found == {word: list(range(1, number + 1)) for word, number in expected.items()}
