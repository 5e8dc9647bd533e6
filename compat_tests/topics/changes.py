"""Random changes of topics under load, kill -9 in their midst, and what must be there afterwards.

A request counts when it is answered; the one under way at the kill is there whole, with all its topics, or not at all.
"""

import contextlib
import random
import threading
import time
from typing import Any, NamedTuple

from compat_tests.differential.asking import Line
from compat_tests.harness import DEADLINE_S, Broker
from compat_tests.raw import one_batch
from ottla.log.folder import parse_folder_name
from ottla.log.ids import uuid_text
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.describe_configs import DescribeConfigsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.schema import Message

NAMES = [f"changing-{number}" for number in range(12)]
GROUP = "readers"
TOPIC_RESOURCE = 2
MAX_DELAY_S = 0.004  # between a request and the kill: most take less than half of it
IDLE_WRITER_S = 0.001


RESULTS = {CreateTopicsRequest: "topics", DeleteTopicsRequest: "responses", CreatePartitionsRequest: "results"}


class Known(NamedTuple):
    """A topic as it was answered. `topic_id` is None while nobody was told."""

    partitions: int
    retention_ms: str
    topic_id: bytes | None


Topics = dict[str, Known]


class Change(NamedTuple):
    """A request, and the topics that it leaves if it is carried out."""

    request: Message
    version: int
    after: Topics


class Writers(threading.Thread):
    """Writes records into whatever topics there are and commits offsets of them, all marked with the topic's id."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self._port = port
        self._random = random.Random(seed)
        self._stop_writing = threading.Event()
        self.error: BaseException | None = None
        self.written = 0
        self.has_written = threading.Event()

    def run(self) -> None:
        try:
            with contextlib.suppress(OSError), contextlib.closing(Line(self._port, "writer")) as line:  # until the kill
                while not self._stop_writing.wait(IDLE_WRITER_S):
                    self._write(line)
        except BaseException as error:
            self.error = error

    def _write(self, line: Line) -> None:
        topics = _topics(line)
        for name, (partitions, topic_id) in topics.items():
            index = self._random.randrange(partitions)
            if produce(line, topic_id, index) == 0:
                self.written += 1
                self.has_written.set()
            commit(line, name, index, topic_id)

    def __enter__(self) -> "Writers":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_writing.set()
        self.join(DEADLINE_S)
        assert self.error is None


class Changes:
    """Changes topics of one broker and knows which there must be."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self._broker = broker
        self._random = random.Random(seed)
        self._topics: Topics = {}
        self._unsure: Topics | None = None  # what there is if the change under way at the kill was carried out
        self.written = 0  # records
        self.carried_out = 0  # of those under way at a kill
        self.undone = 0
        self.answered = 0  # before the kill

    def round(self, number: int) -> None:
        """Some changes under load, a kill in the last of them, and a look at all that is there."""
        with (
            Writers(self._broker.port, number) as writers,
            contextlib.closing(Line(self._broker.port, "changes")) as line,
        ):
            for _ in range(self._random.randrange(4, 12)):
                self._carry_out(line, self._next())
            if self._topics:  # however fast the changes were: there is load beside them
                assert writers.has_written.wait(DEADLINE_S)
            last = self._next()
            line.send(last.request, last.version)
            time.sleep(self._random.uniform(0, MAX_DELAY_S))
            self._broker.kill()
            self._after_the_kill(line, last)
        self.written += writers.written
        self._broker.start()

    def _after_the_kill(self, line: Line, last: Change) -> None:
        """What was answered must be there; else the broker says which it is."""
        try:
            answer = line.receive()
        except OSError:
            self._unsure = last.after
        else:
            self._settle(last, answer)
            self._unsure = None
            self.answered += 1

    def check(self) -> None:
        """Each topic is there whole, or not at all, and so are files, configs and offsets."""
        with contextlib.closing(Line(self._broker.port, "checks")) as line:
            found = _topics(line)
            self._decide(found)
            assert {name: partitions for name, (partitions, _) in found.items()} == {
                name: known.partitions for name, known in self._topics.items()
            }
            self._check_ids(found)
            self._check_configs(line)
            self._check_offsets(line, found)
            self._check_folders(found)
            for partitions, topic_id in found.values():
                for index in range(partitions):
                    assert produce(line, topic_id, index) == 0
                    check_records(line, topic_id, index)
            self._check_folders(found)

    def _decide(self, found: dict[str, tuple[int, bytes]]) -> None:
        """Was the change under way carried out? It must be all of it or nothing."""
        after, self._unsure = self._unsure, None
        if after is None:
            return
        counts = {name: partitions for name, (partitions, _) in found.items()}
        if counts == {name: known.partitions for name, known in after.items()}:
            self._topics = after
            self.carried_out += 1
        else:
            self.undone += 1

    def _check_ids(self, found: dict[str, tuple[int, bytes]]) -> None:
        for name, known in self._topics.items():
            topic_id = found[name][1]
            assert known.topic_id in (None, topic_id)
            self._topics[name] = known._replace(topic_id=topic_id)

    def _check_configs(self, line: Line) -> None:
        resources = [
            DescribeConfigsRequest.DescribeConfigsResource(
                resource_type=TOPIC_RESOURCE, resource_name=name, configuration_keys=["retention.ms"]
            )
            for name in NAMES
        ]
        answer = _ask(line, DescribeConfigsRequest(resources=resources), 4)
        told = {each.resource_name: each.configs[0].value for each in answer.results if not each.error_code}
        assert told == {name: known.retention_ms for name, known in self._topics.items()}

    def _check_offsets(self, line: Line, found: dict[str, tuple[int, bytes]]) -> None:
        group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=GROUP, topics=None)
        answer = _ask(line, OffsetFetchRequest(groups=[group]), 8)
        for topic in answer.groups[0].topics:
            assert topic.name in found, f"offsets of {topic.name}, which is not there"
            assert {each.metadata for each in topic.partitions} == {found[topic.name][1].hex()}
            assert max(each.partition_index for each in topic.partitions) < found[topic.name][0]

    def _check_folders(self, found: dict[str, tuple[int, bytes]]) -> None:
        for path in self._broker.data.iterdir():
            assert not path.name.endswith("-stray")
            parsed = parse_folder_name(path.name) if path.is_dir() else None
            if parsed is not None and parsed[0] in NAMES:
                partitions, topic_id = found[parsed[0]]
                assert parsed[1] < partitions
                assert uuid_text(topic_id) in (path / "partition.metadata").read_text()

    def finish(self) -> None:
        """Delete all: nothing is left."""
        with contextlib.closing(Line(self._broker.port, "ends")) as line:
            if self._topics:
                self._carry_out(line, Change(_deletion(list(self._topics)), 6, {}))
            self._unsure = None
            deadline_s = time.monotonic() + DEADLINE_S
            while left := [path.name for path in self._broker.data.iterdir() if path.name.startswith(NAMES[0][:8])]:
                assert time.monotonic() < deadline_s, left
                time.sleep(0.05)
        self.check()

    # -- changes ------------------------------------------------------------------------------------------------------

    def _carry_out(self, line: Line, change: Change) -> None:
        self._settle(change, _ask(line, change.request, change.version))

    def _settle(self, change: Change, answer: Any) -> None:
        """It was answered: so it is."""
        assert {each.error_code for each in getattr(answer, RESULTS[type(change.request)])} == {0}
        self._topics = dict(change.after)
        if isinstance(change.request, CreateTopicsRequest):
            for each in answer.topics:
                self._topics[each.name] = self._topics[each.name]._replace(topic_id=each.topic_id)

    def _next(self) -> Change:
        """A random change that must be possible."""
        here, free = list(self._topics), [name for name in NAMES if name not in self._topics]
        kind = self._random.choice(["create"] * bool(free) + ["delete", "grow"] * bool(here))
        possible = free if kind == "create" else here
        names = self._random.sample(possible, self._random.randrange(1, len(possible) + 1))
        after = dict(self._topics)
        if kind == "delete":
            for name in names:
                del after[name]
            return Change(_deletion(names), 6, after)
        if kind == "create":
            for name in names:
                retention_ms = str(self._random.randrange(1 << 32, 1 << 40))
                after[name] = Known(self._random.randrange(1, 5), retention_ms, None)
            return Change(_creation({name: after[name] for name in names}), 7, after)
        for name in names:
            after[name] = after[name]._replace(partitions=after[name].partitions + self._random.randrange(1, 3))
        return Change(_growth({name: after[name] for name in names}), 3, after)


def _deletion(names: list[str]) -> DeleteTopicsRequest:
    return DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name=name) for name in names])


def _creation(topics: Topics) -> CreateTopicsRequest:
    return CreateTopicsRequest(
        topics=[
            CreateTopicsRequest.CreatableTopic(
                name=name,
                num_partitions=known.partitions,
                replication_factor=1,
                configs=[CreateTopicsRequest.CreatableTopicConfig(name="retention.ms", value=known.retention_ms)],
            )
            for name, known in topics.items()
        ]
    )


def _growth(topics: Topics) -> CreatePartitionsRequest:
    return CreatePartitionsRequest(
        topics=[
            CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=known.partitions, assignments=None)
            for name, known in topics.items()
        ]
    )


def _ask(line: Line, request: Message, version: int) -> Any:
    line.send(request, version)
    return line.receive()


def _topics(line: Line) -> dict[str, tuple[int, bytes]]:
    """Name -> number of partitions and id, of the topics that change."""
    answer = _ask(line, MetadataRequest(topics=None), 12)
    found = {}
    for topic in answer.topics:
        if topic.name in NAMES:
            assert topic.error_code == 0
            assert sorted(each.partition_index for each in topic.partitions) == list(range(len(topic.partitions)))
            assert {each.error_code for each in topic.partitions} == {0}
            found[topic.name] = (len(topic.partitions), topic.topic_id)
    return found


def produce(line: Line, topic_id: bytes, index: int) -> int:
    """One record whose value is the topic's id; gives the error code."""
    data = ProduceRequest.TopicProduceData(
        topic_id=topic_id,
        partition_data=[ProduceRequest.PartitionProduceData(index=index, records=one_batch([topic_id]))],
    )
    answer = _ask(line, ProduceRequest(acks=-1, timeout_ms=10_000, topic_data=[data]), 13)
    return int(answer.responses[0].partition_responses[0].error_code)


def commit(line: Line, name: str, index: int, topic_id: bytes) -> None:
    """An offset of a group without members, marked with the topic's id: by id, so that a new topic of that name is not
    meant."""
    partition = OffsetCommitRequest.OffsetCommitRequestPartition(
        partition_index=index, committed_offset=1, committed_metadata=topic_id.hex()
    )
    topic = OffsetCommitRequest.OffsetCommitRequestTopic(topic_id=topic_id, partitions=[partition])
    _ask(line, OffsetCommitRequest(group_id=GROUP, topics=[topic]), 10)


def check_records(line: Line, topic_id: bytes, index: int) -> None:
    """From the first offset on there are records, and of this topic only."""
    wanted = FetchRequest.FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=1 << 20)
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=1 << 24,
        session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic_id=topic_id, partitions=[wanted])],
    )
    answer = _ask(line, request, 16).responses[0].partitions[0]
    assert (answer.error_code, answer.log_start_offset) == (0, 0)
    assert bytes(answer.records).count(topic_id) == answer.high_watermark > 0
