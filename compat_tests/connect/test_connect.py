"""Kafka Connect copies a file through a topic to another file, while its workers and its broker come and go."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from compat_tests.confluent.adapter import Adapter
from compat_tests.connect.workers import Worker
from compat_tests.drivers import missing
from compat_tests.harness import Broker

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(missing("connect") is not None, reason=str(missing("connect"))),
]

TOPIC = "lines"
Start = Callable[..., Worker]


@pytest.fixture
def start(own_broker: Broker, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker of the test's cluster: start("name", setting=value)."""
    with ExitStack() as stack:

        def one(name: str, **settings: str) -> Worker:
            dotted = {key.replace("_", "."): value for key, value in settings.items()}
            return stack.enter_context(Worker(tmp_path / name, own_broker.bootstrap, "cluster", dotted))

        yield one


class Copy:
    """A file source, a topic, a file sink."""

    def __init__(self, folder: Path) -> None:
        self.source, self.sink = folder / "source.txt", folder / "sink.txt"
        self.written = 0
        self.source.touch()

    def begin(self, worker: Worker) -> None:
        """Creates both connectors and waits until they run."""
        self.begin_source(worker)
        begin_sink(worker, "sink", self.sink)

    def begin_source(self, worker: Worker) -> str:
        """Creates the source alone; gives the name of the worker that it runs on."""
        config = {"connector.class": "FileStreamSource", "file": str(self.source), "topic": TOPIC, "tasks.max": "1"}
        worker.do("PUT", "/connectors/source/config", config)
        (where,) = worker.runs("source")
        return where

    def write(self, lines: int) -> None:
        """Appends so many lines, each with its number."""
        with self.source.open("a") as file:
            file.writelines(f"line {self.written + n}\n" for n in range(lines))
        self.written += lines

    def arrived(self) -> Counter[str]:
        """Line -> how often it is in the sink's file."""
        return Counter(lines(self.sink))

    def all_of_it(self) -> set[str]:
        """What was written."""
        return {f"line {n}" for n in range(self.written)}

    def is_copied(self) -> bool:
        """Whether each line has arrived."""
        return set(self.arrived()) == self.all_of_it()

    def once(self) -> bool:
        """Whether each line has arrived once and no oftener."""
        return self.arrived() == Counter(self.all_of_it())


def lines(sink: Path) -> list[str]:
    """What a sink's file holds; none before its first line came."""
    return sink.read_text().splitlines() if sink.exists() else []


def begin_sink(worker: Worker, name: str, file: Path) -> None:
    """Creates a sink and waits until it runs."""
    config = {"connector.class": "FileStreamSink", "file": str(file), "topics": TOPIC, "tasks.max": "1"}
    quick = {"consumer.override.session.timeout.ms": "6000", "consumer.override.heartbeat.interval.ms": "500"}
    worker.do("PUT", f"/connectors/{name}/config", {**config, **quick})
    worker.runs(name)


def test_the_workers_own_topics_are_compacted(own_broker: Broker, start: Start, tmp_path: Path) -> None:
    copy, client = Copy(tmp_path), Adapter(own_broker.bootstrap)
    copy.begin(start("only"))
    partitions = {"cluster-config": 1, "cluster-offset": 5, "cluster-status": 5}
    assert client.topics().items() >= partitions.items()
    assert {client.config(topic)["cleanup.policy"] for topic in partitions} == {"compact"}


def test_each_line_arrives_once_also_after_a_clean_restart_of_the_worker(start: Start, tmp_path: Path) -> None:
    copy, worker = Copy(tmp_path), start("only")
    copy.begin(worker)
    copy.write(1_000)
    worker.until("all lines are copied", copy.is_copied)
    worker.stop()
    copy.write(500)
    worker.start()
    worker.until("the lines written meanwhile are copied", copy.is_copied)
    assert copy.once()


def test_the_tasks_of_a_killed_worker_move_to_the_other(start: Start, tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    first, second = start("first"), start("second")
    copy.begin(first)
    copy.write(500)
    first.until("all lines are copied", copy.is_copied)
    by_name = {first.name: first, second.name: second}
    (busy,) = first.runs("source")
    left = next(worker for name, worker in by_name.items() if name != busy)
    by_name[busy].kill()
    copy.write(500)
    left.until("the other worker has the source", lambda: left.runs("source") == [left.name])
    left.until("the other worker has the sink", lambda: left.runs("sink") == [left.name])
    left.until("nothing is lost", copy.is_copied)


@pytest.mark.parametrize("kill", [True, False], ids=["kill-9", "clean"])
def test_copying_goes_on_after_the_broker_was_away(
    own_broker: Broker, start: Start, tmp_path: Path, kill: bool
) -> None:
    copy, worker = Copy(tmp_path), start("only")
    copy.begin(worker)
    copy.write(500)
    worker.until("all lines are copied", copy.is_copied)
    own_broker.restart(kill=kill)
    copy.write(500)
    worker.until("nothing is lost", copy.is_copied)


def test_a_connector_is_paused_resumed_and_deleted(start: Start, tmp_path: Path) -> None:
    copy, worker, witness = Copy(tmp_path), start("only"), tmp_path / "witness.txt"
    copy.begin(worker)
    begin_sink(worker, "witness", witness)
    copy.write(10)
    worker.until("all lines are copied", copy.is_copied)
    worker.do("PUT", "/connectors/sink/pause")
    worker.runs("sink", "PAUSED")
    copy.write(10)
    worker.until("the sink that is not paused has all", lambda: set(lines(witness)) == copy.all_of_it())
    assert copy.arrived().total() == 10
    worker.do("PUT", "/connectors/sink/resume")
    worker.runs("sink")
    worker.until("what came during the pause is copied", copy.is_copied)
    worker.do("DELETE", "/connectors/sink")
    worker.until("sink is gone", lambda: sorted(worker.ask("GET", "/connectors") or ()) == ["source", "witness"])
    assert copy.once()


def test_an_exactly_once_source_writes_each_line_once_though_its_worker_is_killed(
    own_broker: Broker, start: Start, tmp_path: Path
) -> None:
    copy = Copy(tmp_path)
    worker = start("only", exactly_once_source_support="enabled")
    copy.begin_source(worker)
    with Adapter(own_broker.bootstrap).reader(TOPIC, [0], isolation="read_committed") as reader:
        copy.write(500)
        reader.seek({0: 0})
        taken = reader.take(500)
        for _ in range(2):
            copy.write(500)
            worker.kill()
            worker.start()
            worker.runs("source")
            taken += reader.take(500)
        copy.write(1)
        taken += reader.take(1)
    assert [(one.value or b"").decode() for one in taken] == [f"line {n}" for n in range(copy.written)]


def test_a_worker_that_slept_while_another_took_its_exactly_once_source_is_fenced(
    own_broker: Broker, start: Start, tmp_path: Path
) -> None:
    copy = Copy(tmp_path)
    workers = {one.name: one for one in (start(name, exactly_once_source_support="enabled") for name in "ab")}
    sleeper = workers[copy.begin_source(next(iter(workers.values())))]
    (other,) = (one for one in workers.values() if one is not sleeper)
    with Adapter(own_broker.bootstrap).reader(TOPIC, [0], isolation="read_committed") as reader:
        copy.write(500)
        reader.seek({0: 0})
        taken = reader.take(500)
        sleeper.sleep()
        copy.write(500)
        other.until("the other worker has the source", lambda: other.runs("source") == [other.name])
        taken += reader.take(500)
        copy.write(500)
        sleeper.wake()  # it has the source too, as it knows, and 1000 lines that it has not sent
        taken += reader.take(500)
        other.until("it is back", lambda: sleeper.ask("GET", "/connectors/source/status"))
        copy.write(1)
        taken += reader.take(1)
    assert [(one.value or b"").decode() for one in taken] == [f"line {n}" for n in range(copy.written)]
