"""A crash at every change of files while topics are created, grown and deleted: each is there whole, or not at all.

No server runs here: the handlers work on a broker whose file system stops at a given step, as under kill -9.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.handlers import create_partitions, create_topics, delete_topics, offset_commit, offset_fetch
from ottla.broker.logs import Log
from ottla.broker.nodes import Node
from ottla.log.clock import ManualClock
from ottla.log.folder import parse_folder_name, read_topic_id
from ottla.log.ids import Ids, uuid_text
from ottla.log.store import Store
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.records import Record, build_batch
from tests.log.test_compaction import Crash, Faulty

NAMES = ("a", "b", "c")
SETTINGS = {"offsets.topic.num.partitions": "1"}
COMMITTED = 7
DELAY_MS = 60_000  # file.delete.delay.ms
# A topic is (number of partitions, its configs, offset committed in each partition or None); absent ones are left out.
State = dict[str, tuple[int, dict[str, str], int | None]]


class Stopping(Faulty):
    """Folders are changes, too; what `torn` writes stops half-way through."""

    def __init__(self, *, torn: bool) -> None:
        super().__init__()
        pwrite = self.pwrite

        def torn_pwrite(fd: int, data: Any, position: int) -> int:
            if torn and self.count + 1 == self.at:
                self.at = -1
                pwrite(fd, bytes(data)[: len(data) // 2], position)
                self.at = self.count + 1
            return pwrite(fd, data, position)

        self.pwrite = torn_pwrite

    def make_folder(self, path: str) -> None:
        self.step()
        super().make_folder(path)

    def remove_folder(self, path: str) -> None:
        self.step()
        super().remove_folder(path)


class World:
    """A broker without sockets, which begins again on its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.text = io.StringIO()
        self.fs = Stopping(torn=False)
        self.broker: Broker
        self.store: Store
        self.node: Node

    def start(self, *, torn: bool = False) -> None:
        """After a first start or a crash. Nothing but the change under way is to be seen in the log for people."""
        config = BrokerConfig(SETTINGS)
        self.fs = Stopping(torn=torn)
        log = Log(self.text, "text", self.clock, "warning")
        self.store = Store.open(
            str(self.folder),
            clock=self.clock,
            ids=Ids(),
            node_id=config.own_id,
            broker_defaults=config.log_defaults(),
            warn=log.warning,
            fs=self.fs,
        )
        self.node = Node(config.own_id)
        self.broker = Broker(config, self.store, nodes=[self.node], clock=self.clock, ids=Ids(), log=log)
        self.broker.load()

    def context(self, version: int) -> Any:
        return SimpleNamespace(api_version=version, client_id="me", client_host="/127.0.0.1", node=self.node)

    # what is done, each one request

    def create(self, **topics: int) -> None:
        """Name -> partitions; each with a config of its own."""
        config = CreateTopicsRequest.CreatableTopicConfig(name="segment.bytes", value="2000000")
        wanted = [
            CreateTopicsRequest.CreatableTopic(name=name, num_partitions=n, replication_factor=1, configs=[config])
            for name, n in topics.items()
        ]
        answer: Any = create_topics.handle(self.broker, self.context(7), CreateTopicsRequest(topics=wanted))
        assert [topic.error_code for topic in answer.topics] == [0] * len(topics)

    def grow(self, **topics: int) -> None:
        """Name -> partitions."""
        wanted = [
            CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=n, assignments=None)
            for name, n in topics.items()
        ]
        answer: Any = create_partitions.handle(self.broker, self.context(3), CreatePartitionsRequest(topics=wanted))
        assert [topic.error_code for topic in answer.results] == [0] * len(topics)

    def delete(self, *names: str) -> None:
        wanted = [DeleteTopicsRequest.DeleteTopicState(name=name) for name in names]
        answer: Any = delete_topics.handle(self.broker, self.context(6), DeleteTopicsRequest(topics=wanted))
        assert [topic.error_code for topic in answer.responses] == [0] * len(names)

    def write(self) -> None:
        """A record into each partition of each topic."""
        for topic in self.broker.cluster.topics.values():
            if not topic.internal:
                for partition in topic.partitions:
                    batch = build_batch([Record(0, self.clock.wall_ms(), None, topic.id, ())])
                    partition.log.append(batch, leader_epoch=partition.leader_epoch)

    def commit(self) -> None:
        """An offset for each partition of each topic."""
        topics = [
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name=topic.name,
                partitions=[
                    OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=n, committed_offset=COMMITTED)
                    for n in range(len(topic.partitions))
                ],
            )
            for topic in self.broker.cluster.topics.values()
            if not topic.internal
        ]
        answer: Any = offset_commit.handle(
            self.broker, self.context(8), OffsetCommitRequest(group_id="g", topics=topics)
        )
        assert {each.error_code for topic in answer.topics for each in topic.partitions} <= {0}

    def checkpoint(self) -> None:
        """With recovery points at the ends of the logs."""
        for topic in self.broker.cluster.topics.values():
            for partition in topic.partitions:
                log: Any = partition.log
                log.flush()
        self.store.checkpoint()

    def remove_files(self) -> None:
        """As after file.delete.delay.ms."""
        self.clock.advance(DELAY_MS)
        self.store.deletions.run(self.clock.mono_ms())

    # what there is

    def committed(self) -> dict[tuple[str, int], int]:
        group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)
        answer: Any = offset_fetch.handle(self.broker, self.context(8), OffsetFetchRequest(groups=[group]))
        return {
            (topic.name, each.partition_index): each.committed_offset
            for topic in answer.groups[0].topics
            for each in topic.partitions
        }

    def state(self) -> State:
        committed = self.committed()
        found: State = {}
        for topic in self.broker.cluster.topics.values():
            if not topic.internal:
                offsets = {committed.pop((topic.name, n), None) for n in range(len(topic.partitions))}
                offset = offsets.pop() if len(offsets) == 1 else None
                found[topic.name] = (len(topic.partitions), dict(topic.overrides), offset)
        assert not committed, "offsets of a topic that is not there"
        return found

    def check_folders(self) -> None:
        """Each folder is that of a partition, and of the topic of today."""
        for path in self.folder.iterdir():
            found = parse_folder_name(path.name) if path.is_dir() else None
            if found is None:
                assert not path.is_dir(), path
            elif not found[0].startswith("__"):
                topic = self.broker.cluster.topics[found[0]]
                assert topic.partition(found[1]) is not None
                assert read_topic_id(self.fs, str(path)) == uuid_text(topic.id)

    def check_records(self) -> None:
        """Each partition can be written and read, and holds records of its own topic only."""
        self.write()
        for topic in self.broker.cluster.topics.values():
            for partition in topic.partitions if not topic.internal else ():
                log = partition.log
                assert (log.log_start_offset, log.high_watermark) == (0, log.log_end_offset)
                got: Any = log.read(0, 1 << 20, min_one_batch=True)
                assert got.value.take().count(topic.id) == log.log_end_offset > 0


CONFIGS = {"segment.bytes": "2000000"}


def story(world: World) -> list[tuple[Any, State]]:
    """(what is done, the topics as they are after it): a crash in it leaves those, or the ones before."""
    new, grown = (2, CONFIGS, None), (3, CONFIGS, None)
    alone = {"c": (1, CONFIGS, COMMITTED)}
    return [
        (lambda: world.create(a=2, b=2), {**alone, "a": new, "b": new}),
        (lambda: world.write(), {**alone, "a": new, "b": new}),
        (lambda: world.commit(), {**alone, "a": (2, CONFIGS, COMMITTED), "b": (2, CONFIGS, COMMITTED)}),
        (lambda: world.write(), {**alone, "a": (2, CONFIGS, COMMITTED), "b": (2, CONFIGS, COMMITTED)}),
        (lambda: world.checkpoint(), {**alone, "a": (2, CONFIGS, COMMITTED), "b": (2, CONFIGS, COMMITTED)}),
        (lambda: world.grow(a=3, b=3), {**alone, "a": grown, "b": grown}),
        (lambda: world.write(), {**alone, "a": grown, "b": grown}),
        (lambda: world.delete("a", "b"), alone),
        (lambda: world.create(a=2), {**alone, "a": new}),
        (lambda: world.write(), {**alone, "a": new}),
        (lambda: world.remove_files(), {**alone, "a": new}),
        (lambda: world.delete("a"), alone),
        (lambda: world.remove_files(), alone),
    ]


def begun(folder: Path, *, torn: bool = False) -> World:
    """A broker that holds topic c and the offsets topic."""
    world = World(folder)
    world.start(torn=torn)
    world.create(c=1)
    world.write()
    world.commit()
    return world


def steps(folder: Path) -> int:
    """How many changes of files the whole story makes."""
    world = begun(folder)
    world.fs.at, world.fs.count = 1 << 30, 0
    for action, after in story(world):
        action()
        assert world.state() == after
    count = world.fs.count
    world.fs.at = -1
    world.check_folders()
    world.store.abandon()
    shutil.rmtree(folder)
    return count


@pytest.mark.parametrize("torn", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_crash_at_any_step(tmp_path: Path, *, torn: bool) -> None:
    total = steps(tmp_path / "first")
    assert total > 60
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        world = begun(folder, torn=torn)
        before: State = world.state()
        world.fs.at, world.fs.count = at, 0
        after = before
        try:
            for action, after in story(world):
                action()
                before = after
        except Crash:
            pass
        else:
            raise AssertionError("there was no crash")
        world.store.abandon()

        world.start()
        found = world.state()
        assert found in (before, after), f"step {at}"
        world.remove_files()
        world.check_folders()
        world.check_records()
        world.check_folders()

        # A name that is free is free for good, and what is here can be deleted.
        for name in NAMES:
            if name in found:
                world.delete(name)
            world.create(**{name: 1})
        world.check_records()
        world.store.abandon()
        world.start()
        assert world.state() == dict.fromkeys(NAMES, (1, CONFIGS, None))
        world.check_records()
        world.delete(*NAMES)
        world.remove_files()
        world.check_folders()
        assert world.state() == {}
        world.store.close()
        world.start()
        assert world.state() == {}
        world.store.abandon()
        shutil.rmtree(folder)
        assert "set aside" not in world.text.getvalue()
        assert "lost" not in world.text.getvalue()


def test_a_crash_at_any_step_of_the_start_that_follows(tmp_path: Path) -> None:
    """A start that finishes what the crash left is interrupted itself."""
    world = begun(tmp_path / "data")
    world.create(a=2, b=1)
    world.write()
    world.commit()
    world.fs.at, world.fs.count = 2, 0  # the deletion is decided and nothing else is done
    with pytest.raises(Crash):
        world.delete("a", "b")
    world.store.abandon()
    crashed = tmp_path / "crashed"
    shutil.copytree(world.folder, crashed)
    at = 0
    over = False
    while not over:
        at += 1
        shutil.rmtree(world.folder)
        shutil.copytree(crashed, world.folder)
        try:
            start_until(world, at)
        except Crash:
            world.store.abandon()
            world.start()
        else:
            over = True
        assert world.state() == {"c": (1, CONFIGS, COMMITTED)}
        world.remove_files()
        world.check_folders()
        world.create(a=2, b=1)
        assert world.committed() == {("c", 0): COMMITTED}
        world.check_records()
        world.store.abandon()
    assert at > 3
    assert "set aside" not in world.text.getvalue()


def start_until(world: World, at: int) -> None:
    """A start whose `at`-th change of files is its last."""

    class Late(Stopping):
        def __init__(self, *, torn: bool) -> None:
            super().__init__(torn=torn)
            self.at = at

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.broker.test_topic_crashes.Stopping", Late)
        world.start()
    world.fs.at = -1
