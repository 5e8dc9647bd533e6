"""Two brokers are asked the same, over the gate and without sockets. One has a fault for some partitions: whatever is
asked, the others are answered as by the broker without, and its logs, offsets and topics hold the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.dispatch import GateParked
from ottla.broker.faults.faults import Faults
from ottla.broker.faults.layouts import layout_of
from ottla.broker.faults.rules import Rule, parse_rule
from ottla.broker.logs import Log
from ottla.broker.nodes import Node
from ottla.log.clock import ManualClock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.frame import decode_response_header, encode_request
from ottla.wire.messages.delete_records import DeleteRecordsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message

TOPICS = ("t", "u")
PARTITIONS = 3
CODE = ErrorCode.KAFKA_STORAGE_ERROR  # which nothing here says by itself
Places = list[tuple[str, int]]


class World:
    """A broker, and one connection to it."""

    def __init__(self, folder: Path) -> None:
        clock, ids = ManualClock(), Ids(seed=1)
        config = BrokerConfig({"offsets.topic.num.partitions": "1", "flush.messages": "9223372036854775807"})
        log = Log(io.StringIO(), "text", clock, "info")
        self.store = Store.open(
            str(folder), clock=clock, ids=ids, node_id=1, broker_defaults=config.log_defaults(), warn=log.warning
        )
        node = Node(1)
        listener = node.listen([("127.0.0.1", 9092)])
        self.broker = Broker(config, self.store, nodes=[node], clock=clock, ids=ids, log=log)
        self.broker.load()
        for topic in TOPICS:
            self.broker.metadata.create_topic(self.broker.metadata.plan_topic(topic, PARTITIONS))
        self.connection: Any = SimpleNamespace(
            node=node, listener=listener, local_host="h", local_port=1, host="h", port=2, number=1, repeated=None
        )
        self.connection.muted_until_ms = 0
        self.session = (0, 0)

    def ask(self, request: Message, version: int) -> Message:
        """Over the gate, as bytes."""
        key = type(request).KEY
        assert key is not None
        frame = encode_request(key, version, 1, "c", request)
        reply = self.broker.gate.handle(self.connection, memoryview(bytearray(frame)), 4, len(frame))
        assert not isinstance(reply, GateParked)
        assert reply is not None
        data = b"".join(part if isinstance(part, bytes) else part.read() for part in reply)
        for part in reply:
            if not isinstance(part, bytes):
                part.release()
        _, at = decode_response_header(data, key, version, 4)
        return API[key].response.decode(data, version, at)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    numbers = iter(range(1 << 30))
    base = tmp_path_factory.mktemp("twins")
    return lambda: base / str(next(numbers))


def rows(places: Places, row: Callable[[str, list[Any]], Any], partition: Callable[[str, int], Any]) -> list[Any]:
    topics: dict[str, list[Any]] = {}
    for topic, index in places:
        topics.setdefault(topic, []).append(partition(topic, index))
    return [row(topic, partitions) for topic, partitions in topics.items()]


def produce(world: World, places: Places, number: int) -> tuple[Message, int]:
    batch = build_batch([Record(0, 1_700_000_000_000, None, b"%d" % number)])
    data = ProduceRequest.PartitionProduceData
    topic = ProduceRequest.TopicProduceData
    return ProduceRequest(
        acks=-1,
        timeout_ms=1000,
        topic_data=rows(
            places,
            lambda name, each: topic(name=name, partition_data=each),
            lambda _, index: data(index=index, records=batch),
        ),
    ), 9


def fetch(world: World, places: Places, number: int, session: tuple[int, int] = (0, -1)) -> tuple[Message, int]:
    partition = FetchRequest.FetchPartition
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=1 << 20,
        session_id=session[0],
        session_epoch=session[1],
        topics=rows(
            places,
            lambda name, each: FetchRequest.FetchTopic(topic=name, partitions=each),
            lambda _, index: partition(partition=index, fetch_offset=0, partition_max_bytes=1 << 16),
        ),
    ), 12


def fetch_on(world: World, places: Places, number: int) -> tuple[Message, int]:
    """In a session, which begins anew if it is lost."""
    return fetch(world, places, number, world.session)


def list_offsets(world: World, places: Places, number: int) -> tuple[Message, int]:
    partition = ListOffsetsRequest.ListOffsetsPartition
    return ListOffsetsRequest(
        topics=rows(
            places,
            lambda name, each: ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=each),
            lambda _, index: partition(partition_index=index, timestamp=-1),
        ),
    ), 7


def metadata(world: World, places: Places, number: int) -> tuple[Message, int]:
    names = dict.fromkeys(topic for topic, _ in places)
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names]), 9


def commit(world: World, places: Places, number: int) -> tuple[Message, int]:
    partition = OffsetCommitRequest.OffsetCommitRequestPartition
    return OffsetCommitRequest(
        group_id="g",
        topics=rows(
            places,
            lambda name, each: OffsetCommitRequest.OffsetCommitRequestTopic(name=name, partitions=each),
            lambda _, index: partition(partition_index=index, committed_offset=number, committed_metadata=""),
        ),
    ), 8


def committed(world: World, places: Places, number: int) -> tuple[Message, int]:
    topics = rows(
        places,
        lambda name, each: OffsetFetchRequest.OffsetFetchRequestTopics(name=name, partition_indexes=each),
        lambda _, index: index,
    )
    return OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=topics)]), 9


def delete_records(world: World, places: Places, number: int) -> tuple[Message, int]:
    partition = DeleteRecordsRequest.DeleteRecordsPartition
    return DeleteRecordsRequest(
        timeout_ms=1000,
        topics=rows(
            places,
            lambda name, each: DeleteRecordsRequest.DeleteRecordsTopic(name=name, partitions=each),
            lambda _, index: partition(partition_index=index, offset=number % 3),
        ),
    ), 2


def end_of_epoch(world: World, places: Places, number: int) -> tuple[Message, int]:
    partition = OffsetForLeaderEpochRequest.OffsetForLeaderPartition
    return OffsetForLeaderEpochRequest(
        replica_id=-1,
        topics=rows(
            places,
            lambda name, each: OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=name, partitions=each),
            lambda _, index: partition(partition=index, leader_epoch=0, current_leader_epoch=-1),
        ),
    ), 4


REQUESTS = (
    produce,
    produce,
    fetch,
    fetch_on,
    fetch_on,
    list_offsets,
    metadata,
    commit,
    committed,
    delete_records,
    end_of_epoch,
)
places = st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(0, PARTITIONS)), min_size=1, max_size=6, unique=True)


def told(key: int, version: int, answer: Message, names: Any) -> Iterator[tuple[str, int, Any]]:
    """Every row about a partition: topic, partition, the row."""
    layout = layout_of(key, version)
    assert layout is not None
    for row in layout.told.rows(answer):
        name = layout.told.name_in(row, names)
        assert name is not None
        if layout.topic_error is not None and row.error_code:
            yield name, -1, row
        for partition in getattr(row, layout.told.partitions or ""):
            yield name, getattr(partition, layout.told.index or ""), partition


def error_of(row: Any) -> int:
    code: int = row.error_code
    return code


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(REQUESTS), places), min_size=1, max_size=12),
    topic=st.none() | st.sampled_from(TOPICS),
    partition=st.none() | st.integers(0, PARTITIONS - 1),
    times=st.none() | st.integers(1, 6),
)
def test_an_untouched_partition_is_served_as_without_the_fault(
    folders: Callable[[], Path], steps: list[Any], topic: str | None, partition: int | None, times: int | None
) -> None:
    if topic is None and partition is None:
        topic = "t"
    rule = parse_rule({"topic": topic, "partition": partition, "error": CODE.name, "times": times})
    plain, faulty = World(folders()), World(folders())
    try:
        fault = Faults.of(faulty.broker).add(rule)
        for number, (make, asked) in enumerate(steps):
            fired = fault.fired
            answers = []
            for world in (plain, faulty):
                request, version = make(world, asked, number)
                answer = world.ask(request, version)
                if make is fetch_on:
                    world.session = (answer.session_id, world.session[1] + 1) if answer.session_id else (0, 0)
                answers.append(answer)
            check(rule, type(request).KEY or 0, version, answers, faulty, fault.fired > fired)
        if fault.is_over or not any(rule.touches(*each) for _, asked in steps for each in asked):
            assert faulty.broker.gate.taps == ([] if fault.is_over else [Faults.of(faulty.broker)])
        for name in TOPICS:
            for one, other in zip(
                plain.broker.cluster.topics[name].partitions,
                faulty.broker.cluster.topics[name].partitions,
                strict=True,
            ):
                if rule.touches(name, one.index):
                    if times is None:
                        assert other.log.log_end_offset == 0, "nothing of it was applied, ever"
                else:
                    assert (one.log.log_start_offset, one.log.log_end_offset) == (
                        other.log.log_start_offset,
                        other.log.log_end_offset,
                    )
    finally:
        plain.store.close()
        faulty.store.close()


def check(rule: Rule, key: int, version: int, answers: list[Message], world: World, fired: bool) -> None:
    """Rows of partitions that the rule is not about are the same; those that it is about fail if it fired, and only
    then. In a session the two may differ in what they name, never in what they say of it.
    """
    names = world.broker.cluster
    both = [list(told(key, version, answer, names)) for answer in answers]
    without, with_fault = ({each[:2]: each[2] for each in rows} for rows in both)
    assert len(with_fault) == len(both[1]), "a partition is told once"
    if key != ApiKey.FETCH and not fired:
        assert set(without) == set(with_fault)
    for place, row in with_fault.items():
        touched = rule.touches(place[0], place[1] if place[1] >= 0 else None)
        if touched and fired and (key != ApiKey.METADATA or rule.partition is None or place[1] >= 0):
            assert error_of(row) == CODE, place
        else:
            assert error_of(row) != CODE, place
            if not touched and place in without:
                assert row == without[place], place
    if key == ApiKey.FETCH:  # what has records is always told
        missing = [
            place
            for place, row in without.items()
            if row.records and place not in with_fault and not rule.touches(*place)
        ]
        assert not missing
    else:
        missing = [place for place in without if place not in with_fault and not rule.touches(place[0], None)]
        assert not missing
