"""Long work leaves the loop to others: how much is done between two turns is counted, never timed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import NoReturn

import pytest
from trio.testing import wait_all_tasks_blocked

from ottla.broker import state_log
from ottla.broker.turns import TURN_US, Turns
from ottla.coordinator.timers import Timers
from ottla.log.clock import ManualClock
from ottla.log.door import PartitionLog
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.list_transactions import ListTransactionsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.schema import Message
from tests.broker.conftest import Launcher
from tests.broker.finder import GROUP, TRANSACTION, Finder, codes, committing, heartbeat, joining, syncing
from tests.broker.transactional import NEW, Producer, group_offset

E = ErrorCode
LOADING = E.COORDINATOR_LOAD_IN_PROGRESS


# ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def timers() -> Timers:
    return Timers(ManualClock())


def steps(done: list[str], name: str, count: int, cost_us: int) -> Iterator[int]:
    for _ in range(count):
        done.append(name)
        yield cost_us


def test_what_fits_a_turn_is_done_at_once(timers: Timers) -> None:
    done: list[str] = []
    Turns(timers).begin(steps(done, "a", 3, TURN_US // 4))
    assert done == ["a"] * 3


def test_what_does_not_waits_for_the_next_turns_first_come_first_served(timers: Timers) -> None:
    done: list[str] = []
    turns = Turns(timers)
    turns.begin(steps(done, "a", 5, TURN_US // 2))
    turns.begin(steps(done, "b", 1, TURN_US // 2))
    counts = [len(done)]
    while timers.run_due():
        counts.append(len(done))
    assert "".join(done) == "aaaaab"
    assert counts == [2, 4, 6, 6]


def test_small_works_of_one_turn_add_up(timers: Timers) -> None:
    done: list[str] = []
    turns = Turns(timers)
    for _ in range(10):
        turns.begin(steps(done, "a", 1, TURN_US // 4))
    assert len(done) == 4
    turns.finish()
    assert len(done) == 10


def test_a_work_that_fails_takes_no_other_along(timers: Timers) -> None:
    done: list[str] = []
    turns = Turns(timers)

    def failing() -> Iterator[int]:
        yield TURN_US
        raise OSError("a step")

    turns.begin(failing())
    turns.begin(steps(done, "b", 1, 1))
    with pytest.raises(OSError, match="a step"):
        timers.run_due()
    assert done == []
    timers.run_due()
    assert done == ["b"]


def test_a_step_may_begin_another_work(timers: Timers) -> None:
    done: list[str] = []
    turns = Turns(timers)

    def beginning() -> Iterator[int]:
        turns.begin(steps(done, "b", 1, 1))
        done.append("a")
        yield 1

    turns.begin(beginning())
    assert done == ["a", "b"]


# ── coordinators that load ──────────────────────────────────────────────────────────────────────────────────────────

COMMITS = 600  # some turns
GROUPS = {
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "3",
}


@pytest.fixture
async def finder(launcher: Launcher) -> AsyncIterator[Finder]:
    async with AsyncExitStack() as stack:
        running = await launcher.start(GROUPS, nodes=3)
        metadata = running.broker.metadata
        metadata.create_topic(metadata.plan_topic("t", assignments=[(0, [1, 2, 3])]))
        yield Finder(running, stack)


COMMITTED = OffsetCommitRequest.OffsetCommitRequestTopic(
    name="t", partitions=[OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)]
)
ADDED = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="t", partitions=[0])

# What Kafka answers while the partition of the group or id is read in; a heartbeat hears that all is well.
WHILE_LOADING: list[tuple[Message, int, list[ErrorCode]]] = [
    (joining(), 9, [LOADING]),
    (joining(group=""), 9, [E.INVALID_GROUP_ID]),
    (syncing("m"), 5, [LOADING]),
    (heartbeat("m"), 4, [E.NONE]),
    (LeaveGroupRequest(group_id="g", member_id="m"), 2, [LOADING]),
    (ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=3), 1, [LOADING]),
    (OffsetCommitRequest(group_id="g", topics=[COMMITTED]), 9, [LOADING]),
    (
        OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)]),
        9,
        [E.NONE, LOADING],
    ),
    (OffsetDeleteRequest(group_id="g"), 0, [LOADING]),
    (DescribeGroupsRequest(groups=["g"]), 6, [LOADING]),
    (ConsumerGroupDescribeRequest(group_ids=["g"]), 1, [LOADING]),
    (DeleteGroupsRequest(groups_names=["g"]), 2, [LOADING]),
    (ListGroupsRequest(), 5, [LOADING]),
    (InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=9), 5, [LOADING]),
    (
        AddPartitionsToTxnRequest(v3_and_below_transactional_id="x", v3_and_below_topics=[ADDED]),
        3,
        [E.NONE, LOADING],
    ),
    (EndTxnRequest(transactional_id="x"), 5, [LOADING]),
    (DescribeTransactionsRequest(transactional_ids=["x"]), 0, [LOADING]),
    (ListTransactionsRequest(), 1, [LOADING]),
]


async def test_while_it_is_read_in_a_coordinator_says_so_and_others_are_served(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = finder.running.broker
    for number in range(COMMITS):
        await finder.ask(committing(number, f"g{number % 7}"), 9)
    await finder.ask(committing(5), 9)
    producer = await Producer.start(finder, "x", NEW)  # type: ignore[arg-type]
    turns: list[None] = []
    with monkeypatch.context() as held:  # no turn comes but the first, whose time is over
        held.setattr(broker.turns, "_left_us", 0)
        held.setattr(broker.turns, "_next_is_due", True)
        place = await finder.move(GROUP, "g")
        line = await finder.line(place)
        for request, version, expected in WHILE_LOADING:
            if isinstance(request, InitProducerIdRequest):  # from here on it is about transactions
                line = await finder.line(await finder.move(TRANSACTION, "x"))
            assert list(codes(await line.ask(request, version))) == expected, (type(request).__name__, version)
        assert await finder.find(GROUP, "g") == place
        assert await producer.send_only("t", 0, b"v") is E.NOT_ENOUGH_REPLICAS
    while broker.turns.is_busy:
        turns.append(None)
        broker.turns.turn()
    assert len(turns) > 1, "all was read in in one turn"
    assert await group_offset(finder, "g", "t") == 5  # type: ignore[arg-type]
    assert await producer.send_only("t", 0, b"v") is E.NONE
    assert await producer.commit() is E.NONE
    assert (await (await finder.line(place)).ask(ListGroupsRequest(), 5)).error_code == E.NONE


async def test_a_coordinator_that_moves_on_while_it_loads(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = finder.running.broker
    for number in range(COMMITS):
        await finder.ask(committing(number), 9)
    with monkeypatch.context() as held:
        held.setattr(broker.turns, "_next_is_due", True)
        first = await finder.find(GROUP, "g")
        assert isinstance(first, int)
        second = await finder.move(GROUP, "g")
        assert broker.turns.is_busy
        broker.failover.move_coordinator("group", "g", first)
        line = await finder.line(second)
        assert list(codes(await line.ask(committing(9), 9))) == [E.NOT_COORDINATOR]
    broker.turns.turn()
    await wait_all_tasks_blocked()
    assert await group_offset(finder, "g", "t") == COMMITS - 1  # type: ignore[arg-type]
    assert not broker.turns.is_busy
    assert broker.cluster.nodes[second].groups.stats["offsets"] == 0


async def test_a_start_is_over_when_all_is_loaded(finder: Finder, launcher: Launcher) -> None:
    for number in range(COMMITS):
        await finder.ask(committing(number), 9)
    await launcher.stop()
    broker = (await launcher.start(GROUPS, nodes=3)).broker
    assert not broker.turns.is_busy
    assert sum(node.groups.stats["offsets"] for node in broker.cluster.nodes.values()) == 1


async def test_a_start_with_a_coordinator_that_cannot_be_read(
    finder: Finder, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(log: PartitionLog, offset: int | None = None) -> NoReturn:
        raise KafkaError(E.KAFKA_STORAGE_ERROR, "the disk is gone")

    await finder.ask(committing(7), 9)
    await launcher.stop()
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as broken:
            broken.setattr(state_log, "read_batches", unreadable)
            again = Finder(await launcher.start(GROUPS, nodes=3), stack)
            place = await again.find(GROUP, "g")
            assert isinstance(place, int)
            assert list(codes(await (await again.line(place)).ask(committing(9), 9))) == [E.NOT_COORDINATOR]
        await again.move(GROUP, "g")
        assert await group_offset(again, "g", "t") == 7  # type: ignore[arg-type]


async def test_a_marker_that_comes_while_a_group_loads_counts_once(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = finder.running.broker
    for number in range(COMMITS):
        await finder.ask(committing(number), 9)
    producer = await Producer.start(finder, "x", NEW)  # type: ignore[arg-type]
    assert await producer.send_offset("g", "t", 7_000) is E.NONE
    with monkeypatch.context() as held:
        held.setattr(broker.turns, "_next_is_due", True)
        place = await finder.move(GROUP, "g")
        assert broker.turns.is_busy
        assert await producer.commit() is E.NONE
        assert list(codes(await (await finder.line(place)).ask(committing(9), 9))) == [LOADING]
    broker.turns.turn()
    await wait_all_tasks_blocked()
    assert await group_offset(finder, "g", "t") == 7_000  # type: ignore[arg-type]
    assert broker.cluster.nodes[place].groups.stats["offsets_pending"] == 0
