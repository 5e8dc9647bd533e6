"""What a fetch session lets rest changes no answer: beside each session stands one that looks at all its partitions
each time, and whatever happens to the log and the cluster, both say the same and wait for the same.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.broker.broker import Broker
from ottla.broker.cluster import Partition
from ottla.broker.config import BrokerConfig
from ottla.broker.fetch_sessions import FetchSession, FetchTarget
from ottla.broker.handlers import fetch
from ottla.broker.logs import Log
from ottla.broker.nodes import Node
from ottla.broker.waiting import Parked
from ottla.log.clock import ManualClock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import KafkaError
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.records import Record, build_batch

TOPICS = ("a", "b")
PARTITIONS = 4
VERSION = 12


class Restless(FetchSession):
    """The reference: a full walk, each time."""

    __slots__ = ()

    def rest(self, target: FetchTarget, partition: Partition) -> None:
        """Never."""


class World:
    """A broker of two nodes without sockets, and two sessions at node 1 that are told the same."""

    def __init__(self, folder: Path) -> None:
        clock, ids = ManualClock(), Ids()
        config = BrokerConfig({"node.ids": "1,2", "flush.messages": "9223372036854775807"})
        log = Log(io.StringIO(), "text", clock, "info")
        self.store = Store.open(
            str(folder), clock=clock, ids=ids, node_id=1, broker_defaults=config.log_defaults(), warn=log.warning
        )
        self.nodes = [Node(1), Node(2)]
        for node in self.nodes:
            node.listen([("127.0.0.1", 9092)])
        self.clock = clock
        self.broker = Broker(config, self.store, nodes=self.nodes, clock=clock, ids=ids, log=log)
        self.broker.load()
        self.sessions = [0, 0]
        self.epoch = 0
        self.waiting: list[Parked] = []
        self._producers = 0

    # --- what happens

    def make(self, topic: str) -> None:
        if topic not in self.broker.cluster.topics:
            metadata = self.broker.metadata
            metadata.create_topic(metadata.plan_topic(topic, PARTITIONS, replication_factor=2))

    def delete(self, topic: str) -> None:
        found = self.broker.cluster.topics.get(topic)
        if found is not None:
            self.broker.metadata.delete_topics([found])

    def happen(self, what: str, partition: Partition) -> None:
        log = partition.log
        records = [Record(0, self.clock.wall_ms(), b"k", bytes(50))]
        if what == "append":
            log.append(build_batch(records), leader_epoch=partition.leader_epoch)
            partition.grew()
        elif what == "begin":
            self._producers += 1
            batch = build_batch(
                records, producer_id=self._producers, producer_epoch=0, base_sequence=0, transactional=True
            )
            log.append(batch, leader_epoch=partition.leader_epoch)
            partition.grew()
        elif what == "end":
            for view in log.producers_view():
                if log.open_transaction_epoch(view.producer_id) >= 0:
                    epoch = partition.leader_epoch
                    log.append_marker(view.producer_id, 0, True, 0, leader_epoch=epoch, transaction_version=0)
                    partition.grew()
                    break
        elif what == "trim":
            log.trim(-1)
        elif what == "move":
            node_id = 2 if partition.leader == 1 else 1
            self.broker.failover.move_leader(partition.topic.name, partition.index, node_id)

    # --- what both sessions are asked

    def ask(self, request: dict[str, Any], *, committed: bool, wait_ms: int, min_bytes: int) -> list[Any]:
        """What each says: an answer, or that it waits."""
        said = []
        for at, session_id in enumerate(self.sessions):
            asked = FetchRequest(
                max_wait_ms=wait_ms,
                min_bytes=min_bytes,
                max_bytes=120,
                isolation_level=int(committed),
                session_id=session_id,
                session_epoch=self.epoch,
                **request,
            )
            node = self.nodes[0]
            context: Any = SimpleNamespace(
                node=node, connection=SimpleNamespace(node=node), api_version=VERSION, client_id=""
            )
            answer = fetch.handle(self.broker, context, asked)
            if isinstance(answer, Parked):
                self.waiting.append(answer)
                said.append("waits")
                continue
            answer = as_objects(answer)
            if self.epoch == 0:
                self.sessions[at] = answer.session_id
                if at:
                    node.fetch_sessions._sessions[answer.session_id].__class__ = Restless
            said.append(told(answer))
        return said

    def settled(self) -> list[bool]:
        return [parked.pending.settled for parked in self.waiting]

    def finish(self) -> list[Any]:
        answers = [told(parked.finish()) for parked in self.waiting]
        for parked in self.waiting:
            assert parked.abandon is not None
            parked.abandon()
        self.waiting = []
        return answers


def as_objects(answer: Any) -> FetchResponse:
    """The answer that stands in the bytes; records that are a slice become zeros."""
    parts = []
    for part in answer.encode_parts(VERSION):
        if not isinstance(part, bytes):
            part.release()
            part = bytes(part.nbytes)
        parts.append(part)
    return FetchResponse.decode(b"".join(parts), VERSION)


def told(response: Any) -> list[Any]:
    """All that an answer says, but for the id of its session and the records' bytes."""
    response = as_objects(response)
    said: list[Any] = [response.error_code]
    for topic in response.responses:
        for data in topic.partitions:
            data.records = bytes(len(data.records or b""))
            said.append((topic.topic, repr(data)))
    return said


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    numbers = iter(range(1 << 30))
    base = tmp_path_factory.mktemp("sessions")
    return lambda: base / str(next(numbers))


EVENTS = ("append", "append", "append", "begin", "end", "trim", "move", "delete", "make")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), committed=st.booleans(), calm=st.booleans())
def test_what_rests_changes_no_answer(folders: Any, seed: int, committed: bool, calm: bool) -> None:
    random = Random(seed)
    world = World(folders())
    cluster = world.broker.cluster
    for topic in TOPICS:
        world.make(topic)

    def position(topic: str, index: int) -> int:
        """Mostly where the log is read up to, sometimes behind or beyond it."""
        partition = cluster.partition(topic, index)
        if partition is None:
            return 0
        end = partition.log.last_stable_offset if committed else partition.log.high_watermark
        return random.choice((end, end, end, max(0, end - 1), end + 1))

    def request(count: int, forget: int) -> dict[str, Any]:
        topics, forgotten = [], []
        for topic in TOPICS:
            named = random.sample(range(PARTITIONS + 1), count)
            asked = [
                FetchRequest.FetchPartition(
                    partition=index,
                    fetch_offset=position(topic, index),
                    partition_max_bytes=1000,
                    current_leader_epoch=-1,
                )
                for index in named
            ]
            topics.append(FetchRequest.FetchTopic(topic=topic, partitions=asked))
            gone = random.sample(range(PARTITIONS), forget)
            forgotten.append(FetchRequest.ForgottenTopic(topic=topic, partitions=gone))
        return {"topics": topics, "forgotten_topics_data": forgotten}

    try:
        one, other = world.ask(request(3, 0), committed=committed, wait_ms=0, min_bytes=0)
        assert one == other
        world.epoch = 1
        for _ in range(25):
            one, other = world.ask(
                request(random.choice((0, 0, 0, 1, 2)), 0 if random.random() < 0.9 else 1),
                committed=committed,
                wait_ms=random.choice((0, 500)),
                min_bytes=random.choice((1, 1, 200)),
            )
            assert one == other
            if not all(world.sessions):
                break
            world.epoch += 1
            for _ in range(random.randrange(3)):
                what = random.choice(EVENTS[:5] if calm else EVENTS)
                topic = random.choice(TOPICS)
                partition = cluster.partition(topic, random.randrange(PARTITIONS))
                with suppress(KafkaError):
                    if what == "make":
                        world.make(topic)
                    elif what == "delete":
                        world.delete(topic)
                    elif partition is not None:
                        world.happen(what, partition)
                settled = world.settled()
                assert len(set(settled)) < 2, "both wake, or none"
            answers = world.finish()
            assert len(answers) in (0, 2)
            if answers:
                assert answers[0] == answers[1]
        world.nodes[0].fetch_sessions.clear()
        for found in cluster.topics.values():
            for partition in found.partitions:
                assert not partition.resting, "no partition remembers a session that is gone"
    finally:
        world.store.close()
