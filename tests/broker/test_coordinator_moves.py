"""Coordinators of three nodes: each answers for the partitions that it leads, and what moves goes on where it was.

Who leads what, and how nodes go and come, is tested in test_nodes.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ottla.log.clock import ManualClock
from ottla.log.flushing import FlushQueue
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.list_transactions import ListTransactionsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest
from ottla.wire.schema import Message
from tests.broker.conftest import Launcher, Running
from tests.broker.finder import GROUP, KINDS, TRANSACTION, Finder, codes, committing, heartbeat, joining, syncing
from tests.broker.transactional import NEW, OLD, Generation, Producer, committed, end_offset, group_offset, state_of

E = ErrorCode
NODES = (1, 2, 3)
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
}
generations = pytest.mark.parametrize("generation", [OLD, NEW], ids=str)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def start(launcher: Launcher, stack: AsyncExitStack, clock: ManualClock | None = None, **more: str) -> Finder:
    """Three nodes; of topics "t" and "u" node 1 leads the only partition."""
    settings = {name.replace("_", "."): value for name, value in more.items()}
    running = await launcher.start(SETTINGS | settings, nodes=3, clock=clock)
    metadata = running.broker.metadata
    for name in ("t", "u"):
        metadata.create_topic(metadata.plan_topic(name, assignments=[(0, [1, 2, 3])]))
    return Finder(running, stack)


@pytest.fixture
async def finder(launcher: Launcher, stack: AsyncExitStack) -> Finder:
    return await start(launcher, stack)


def elapse(running: Running, clock: ManualClock, ms: int) -> None:
    clock.advance(ms)
    running.broker.timers.run_due()


async def new_member(finder: Finder) -> str:
    """An id that the coordinator handed out."""
    answer = await finder.ask(joining(), 9)
    assert answer.error_code == E.MEMBER_ID_REQUIRED
    return str(answer.member_id)


async def stable_member(finder: Finder) -> str:
    """The only member of the stable group "g", in generation 1."""
    member = await new_member(finder)
    joined = await finder.ask(joining(member), 9)
    assert (joined.error_code, joined.generation_id) == (E.NONE, 1)
    assert (await finder.ask(syncing(member, given={member: b"all"}), 5)).assignment == b"all"
    return member


async def groups_of(finder: Finder, node: int) -> list[str]:
    return [group.group_id for group in (await (await finder.line(node)).ask(ListGroupsRequest(), 5)).groups]


# ── who answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

COMMITS = [
    OffsetCommitRequest.OffsetCommitRequestTopic(
        name=name,
        partitions=[
            OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=index, committed_offset=1)
            for index in indexes
        ],
    )
    for name, indexes in (("t", (0, 9)), ("nothing", (0,)))
]
TXN_COMMITS = [
    TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(
        name=name,
        partitions=[
            TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=index, committed_offset=1)
            for index in indexes
        ],
    )
    for name, indexes in (("t", (0, 9)), ("nothing", (0,)))
]
ADDED = [AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="t", partitions=[0])]
UNKNOWN = E.UNKNOWN_TOPIC_OR_PARTITION

# What Kafka 4.4 answers that does not coordinate: what is wrong with the request itself it finds before that.
ELSEWHERE: list[tuple[Message, int, list[ErrorCode]]] = [
    (joining(), 9, [E.NOT_COORDINATOR]),
    (joining(group=""), 9, [E.INVALID_GROUP_ID]),
    (JoinGroupRequest(group_id="g", session_timeout_ms=1, protocol_type=""), 9, [E.INVALID_SESSION_TIMEOUT]),
    (syncing("m"), 5, [E.NOT_COORDINATOR]),
    (SyncGroupRequest(group_id="", member_id="m"), 5, [E.INCONSISTENT_GROUP_PROTOCOL]),
    (SyncGroupRequest(group_id="", member_id="m"), 4, [E.INVALID_GROUP_ID]),
    (heartbeat("m"), 4, [E.NOT_COORDINATOR]),
    (heartbeat("m", group=""), 4, [E.INVALID_GROUP_ID]),
    (LeaveGroupRequest(group_id="g", member_id="m"), 2, [E.NOT_COORDINATOR]),
    (LeaveGroupRequest(group_id="", members=[]), 5, [E.INVALID_GROUP_ID]),
    (ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=3), 1, [E.NOT_COORDINATOR]),
    (ConsumerGroupHeartbeatRequest(group_id="g", member_id="m"), 1, [E.INVALID_REQUEST]),
    (
        ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=3, server_assignor="none"),
        1,
        [E.UNSUPPORTED_ASSIGNOR],
    ),
    (OffsetCommitRequest(group_id="g", topics=COMMITS), 9, [E.NOT_COORDINATOR, UNKNOWN, UNKNOWN]),
    (OffsetCommitRequest(group_id="", topics=COMMITS[:1]), 9, [E.NOT_COORDINATOR, UNKNOWN]),
    (
        TxnOffsetCommitRequest(transactional_id="x", group_id="g", topics=TXN_COMMITS),
        5,
        [E.NOT_COORDINATOR, UNKNOWN, UNKNOWN],
    ),
    (TxnOffsetCommitRequest(transactional_id="x", group_id="", topics=TXN_COMMITS[1:]), 5, [UNKNOWN]),
    (
        OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g", topics=None)]),
        9,
        [E.NONE, E.NOT_COORDINATOR],
    ),
    (OffsetDeleteRequest(group_id="g"), 0, [E.NOT_COORDINATOR]),
    (OffsetDeleteRequest(group_id=""), 0, [E.INVALID_GROUP_ID]),
    (DescribeGroupsRequest(groups=["g"]), 6, [E.NOT_COORDINATOR]),
    (ConsumerGroupDescribeRequest(group_ids=["g", ""]), 1, [E.NOT_COORDINATOR, E.INVALID_GROUP_ID]),
    (DeleteGroupsRequest(groups_names=["g"]), 2, [E.NOT_COORDINATOR]),
    (ListGroupsRequest(), 5, [E.NONE]),
    (InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=9), 5, [E.NOT_COORDINATOR]),
    (InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=0), 5, [E.INVALID_TRANSACTION_TIMEOUT]),
    (InitProducerIdRequest(transactional_id=""), 5, [E.INVALID_REQUEST]),
    (
        AddPartitionsToTxnRequest(v3_and_below_transactional_id="x", v3_and_below_topics=ADDED),
        3,
        [E.NONE, E.NOT_COORDINATOR],
    ),
    (
        AddPartitionsToTxnRequest(
            transactions=[
                AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                    transactional_id=name, verify_only=verify_only, topics=ADDED
                )
                for name, verify_only in (("x", False), ("x", True), ("", True))
            ]
        ),
        5,
        [E.NONE, E.NOT_COORDINATOR, E.NOT_COORDINATOR, E.INVALID_REQUEST],
    ),
    (AddOffsetsToTxnRequest(transactional_id="x", group_id="g"), 4, [E.NOT_COORDINATOR]),
    (AddOffsetsToTxnRequest(transactional_id="", group_id="g"), 4, [E.INVALID_REQUEST]),
    (EndTxnRequest(transactional_id="x"), 5, [E.NOT_COORDINATOR]),
    (EndTxnRequest(transactional_id=""), 5, [E.INVALID_REQUEST]),
    (DescribeTransactionsRequest(transactional_ids=["x", ""]), 0, [E.NOT_COORDINATOR, E.INVALID_REQUEST]),
    (ListTransactionsRequest(), 1, [E.NONE]),
]


@pytest.mark.parametrize("topics_are_there", [False, True])
async def test_who_does_not_coordinate_says_so(finder: Finder, topics_are_there: bool) -> None:
    node = 1
    if topics_are_there:
        for kind, key in ((GROUP, "g"), (GROUP, ""), (TRANSACTION, "x")):
            await finder.find(kind, key)
            finder.running.broker.failover.move_coordinator(KINDS[kind], key, 2)
    line = await finder.line(node)
    for request, version, expected in ELSEWHERE:
        answer = await line.ask(request, version)
        assert list(codes(answer)) == expected, (type(request).__name__, version)


async def test_the_first_who_looks_for_a_coordinator_makes_its_topic(finder: Finder) -> None:
    topics = finder.running.broker.cluster.topics
    for kind, key, name in ((GROUP, "g", "__consumer_offsets"), (TRANSACTION, "x", "__transaction_state")):
        assert name not in topics
        assert await finder.find(kind, key) in NODES
        assert {partition.leader for partition in topics[name].partitions} == set(NODES)
    assert (await finder.ask(committing(5), 9)).topics[0].partitions[0].error_code == E.NONE
    assert await group_offset(finder, "g", "t") == 5  # type: ignore[arg-type]


async def test_nobody_coordinates_what_nobody_leads(launcher: Launcher, stack: AsyncExitStack) -> None:
    finder = await start(
        launcher, stack, offsets_topic_replication_factor="1", transaction_state_log_replication_factor="1"
    )
    await finder.ask(committing(5), 9)
    producer = await Producer.start(finder, "x", NEW)  # type: ignore[arg-type]
    for kind, key in ((GROUP, "g"), (TRANSACTION, "x")):
        found = await finder.find(kind, key)
        assert isinstance(found, int)
        finder.stop(found)
        assert await finder.find(kind, key) is E.COORDINATOR_NOT_AVAILABLE
        if kind == TRANSACTION:  # the leader of the data cannot ask it, and its client is to try again
            assert await producer.send_only("t", 0, b"v") is E.NOT_ENOUGH_REPLICAS
        finder.running.broker.failover.start_node(found)
        assert await finder.find(kind, key) == found
    assert await group_offset(finder, "g", "t") == 5  # type: ignore[arg-type]
    assert await producer.send_only("t", 0, b"v") is E.NONE
    assert await producer.commit() is E.NONE


async def test_each_node_lists_and_describes_its_own(finder: Finder) -> None:
    groups = [f"g{number}" for number in range(12)]
    places = {group: await finder.find(GROUP, group) for group in groups}
    assert set(places.values()) == set(NODES)
    for group in groups:
        await finder.ask(committing(1, group), 9)
    asked = [OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=None) for group in groups]
    for node in NODES:
        own = {group for group in groups if places[group] == node}
        assert set(await groups_of(finder, node)) == own
        line = await finder.line(node)
        described = (await line.ask(DescribeGroupsRequest(groups=groups), 5)).groups
        assert {group.group_id for group in described if group.error_code == E.NONE} == own
        fetched = (await line.ask(OffsetFetchRequest(groups=asked), 9)).groups
        assert {group.group_id for group in fetched if group.error_code == E.NONE} == own
    line = await finder.line(1)
    deleted = (await line.ask(DeleteGroupsRequest(groups_names=groups), 2)).results
    assert {each.group_id: each.error_code for each in deleted} == {
        group: E.NONE if places[group] == 1 else E.NOT_COORDINATOR for group in groups
    }


async def test_a_deleted_topic_is_forgotten_on_every_node(finder: Finder) -> None:
    groups = [f"g{number}" for number in range(12)]
    for group in groups:
        await finder.ask(committing(1, group), 9)
    broker = finder.running.broker
    broker.delete_topics([broker.cluster.topics["t"]])
    assert {await group_offset(finder, group, "t") for group in groups} == {-1}  # type: ignore[arg-type]


async def test_one_node_takes_over_all_at_the_next_start(finder: Finder, launcher: Launcher) -> None:
    groups = [f"g{number}" for number in range(12)]
    for number, group in enumerate(groups):
        await finder.ask(committing(number, group), 9)
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert [await group_offset(client, group, "t") for group in groups] == list(range(12))


# ── groups that move ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_group_goes_on_where_it_moved_to(finder: Finder) -> None:
    member = await stable_member(finder)
    await finder.ask(committing(7, member=member, generation=1), 9)
    first = await finder.find(GROUP, "g")
    assert isinstance(first, int)
    second = await finder.move(GROUP, "g")
    old, new = await finder.line(first), await finder.line(second)
    assert (await old.ask(heartbeat(member), 4)).error_code == E.NOT_COORDINATOR
    assert (await new.ask(heartbeat(member), 4)).error_code == E.NONE
    assert (await new.ask(syncing(member), 5)).assignment == b"all"
    assert await group_offset(new, "g", "t") == 7
    assert (await groups_of(finder, first), await groups_of(finder, second)) == ([], ["g"])
    assert list(codes(await old.ask(committing(9, member=member, generation=1), 9))) == [E.NOT_COORDINATOR]
    assert list(codes(await new.ask(committing(8, member=member, generation=1), 9))) == [E.NONE]
    finder.running.broker.failover.move_coordinator("group", "g", first)
    assert (await old.ask(heartbeat(member), 4)).error_code == E.NONE
    assert await group_offset(old, "g", "t") == 8


async def test_who_waits_to_join_or_sync_hears_of_the_move_at_once(finder: Finder) -> None:
    members = [await new_member(finder) for _ in range(3)]
    place = await finder.find(GROUP, "g")
    assert isinstance(place, int)
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(await finder.running.client(node=place)) for _ in members]
        for line, member in zip(lines, members, strict=True):
            await line.send(joining(member), 9)
        joined = [await line.receive(joining(), 9) for line in lines]
        assert {answer.generation_id for answer in joined} == {1}
        leader = joined[0].leader
        follower = next(at for at, member in enumerate(members) if member != leader)
        await lines[follower].send(syncing(members[follower]), 5)
        await wait_all_tasks_blocked(0.01)
        with trio.fail_after(60):
            place = await finder.move(GROUP, "g")
            assert (await lines[follower].receive(syncing(""), 5)).error_code == E.NOT_COORDINATOR

        # Nothing of that generation was written: the members are not known any more, and join anew.
        line = await stack.enter_async_context(await finder.running.client(node=place))
        assert (await line.ask(joining(members[0]), 9)).error_code == E.UNKNOWN_MEMBER_ID
        member = await stable_member(finder)
        newcomer = await new_member(finder)
        await line.send(joining(newcomer), 9)
        await wait_all_tasks_blocked(0.01)
        with trio.fail_after(60):
            await finder.move(GROUP, "g")
            answer = await line.receive(joining(), 9)
        assert (answer.error_code, answer.member_id) == (E.NOT_COORDINATOR, newcomer)
        assert (await finder.ask(heartbeat(member), 4)).error_code == E.NONE, "the generation before goes on"


async def test_a_member_that_does_not_follow_is_out_after_its_session(
    launcher: Launcher, stack: AsyncExitStack
) -> None:
    clock = ManualClock()
    finder = await start(launcher, stack, clock)
    member = await stable_member(finder)
    elapse(finder.running, clock, 9_000)
    place = await finder.move(GROUP, "g")
    elapse(finder.running, clock, 9_000)  # a move begins sessions anew
    assert (await finder.ask(heartbeat(member), 4)).error_code == E.NONE
    elapse(finder.running, clock, 10_000)
    assert (await finder.ask(heartbeat(member), 4)).error_code == E.UNKNOWN_MEMBER_ID
    (group,) = (await (await finder.line(place)).ask(DescribeGroupsRequest(groups=["g"]), 5)).groups
    assert group.group_state == "Empty"


async def test_a_consumer_group_moves_while_its_partitions_do(finder: Finder) -> None:
    held: dict[str, set[bytes]] = {"A": set(), "B": set()}
    epochs = {"A": 0, "B": 0}

    async def beat(member: str) -> None:
        joins: dict[str, Any] = {}
        if epochs[member] == 0:
            joins = {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": ["t", "u"]}
        request = ConsumerGroupHeartbeatRequest(
            group_id="g",
            member_id=member,
            member_epoch=epochs[member],
            topic_partitions=[
                ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=topic_id, partitions=[0])
                for topic_id in sorted(held[member])
            ],
            **joins,
        )
        answer = await finder.ask(request, 1)
        assert answer.error_code == E.NONE
        epochs[member] = answer.member_epoch
        if answer.assignment is not None:
            held[member] = {topic.topic_id for topic in answer.assignment.topic_partitions if topic.partitions}
        assert held["A"].isdisjoint(held["B"])

    await beat("A")
    assert len(held["A"]) == 2
    for member in ("B", "A", "A", "B", "B", "A"):
        await finder.move(GROUP, "g")
        await beat(member)
    assert (len(held["A"]), len(held["B"])) == (1, 1)
    assert epochs["A"] == epochs["B"]


async def test_the_groups_of_a_node_that_goes_down_are_taken_over(finder: Finder) -> None:
    member = await stable_member(finder)
    await finder.ask(committing(7, member=member, generation=1), 9)
    first = await finder.find(GROUP, "g")
    assert isinstance(first, int)
    line = await finder.line(first)
    finder.stop(first)
    assert await line.closed()
    assert await finder.find(GROUP, "g") != first
    assert (await finder.ask(heartbeat(member), 4)).error_code == E.NONE
    finder.running.broker.failover.start_node(first)
    finder.running.broker.failover.move_coordinator("group", "g", first)
    assert (await finder.ask(heartbeat(member), 4)).error_code == E.NONE
    assert await group_offset(finder, "g", "t") == 7  # type: ignore[arg-type]


# ── transactions that move ──────────────────────────────────────────────────────────────────────────────────────────


@generations
@pytest.mark.parametrize("flush_messages", ["9223372036854775807", "1"], ids=["at once", "when it is durable"])
async def test_a_transaction_ends_as_asked_whatever_moves_between_its_steps(
    launcher: Launcher, stack: AsyncExitStack, generation: Generation, flush_messages: str
) -> None:
    finder = await start(launcher, stack, log_flush_interval_messages=flush_messages)
    producer = Producer(finder, "x", generation)  # type: ignore[arg-type]

    async def step(moving: tuple[tuple[int, str], ...], code: Any) -> None:
        assert await code is E.NONE
        for kind, key in moving:
            await finder.move(kind, key)

    expected: list[bytes] = []
    for number, moving in enumerate(
        [((TRANSACTION, "x"),), ((GROUP, "g"),), ((TRANSACTION, "x"), (GROUP, "g")), ((GROUP, "g"), (TRANSACTION, "x"))]
    ):
        value = b"%d" % number
        await step(moving, producer.init())
        await step(moving, producer.send("t", 0, value))
        await step(moving, producer.send_offset("g", "t", number))
        assert await group_offset(finder, "g", "t") is E.UNSTABLE_OFFSET_COMMIT  # type: ignore[arg-type]
        await step(moving, producer.send("t", 0, value))
        await step(moving, producer.commit() if number % 2 else producer.abort())
        expected += [value, value] if number % 2 else []
        assert await group_offset(finder, "g", "t", stable=False) == (number if number % 2 else number - 1)  # type: ignore[arg-type]
    await step((), producer.init())  # CONCURRENT_TRANSACTIONS until all is over
    assert await committed(await finder.line(1), "t") == expected


@generations
async def test_an_end_under_way_to_the_disk_is_carried_out_where_it_moved(
    launcher: Launcher, stack: AsyncExitStack, generation: Generation
) -> None:
    finder = await start(launcher, stack, log_flush_interval_messages="1")
    producer = await Producer.start(finder, "x", generation)  # type: ignore[arg-type]
    place = await finder.find(TRANSACTION, "x")
    assert isinstance(place, int)
    expected = []
    async with await finder.running.client(node=place) as line:
        for number in range(5):
            expected.append(b"%d" % number)
            assert await producer.send("t", 0, expected[-1]) is E.NONE
            request = EndTxnRequest(
                transactional_id="x", producer_id=producer.producer_id, producer_epoch=producer.epoch, committed=True
            )
            await line.send(request, generation.end)
            await trio.testing.wait_all_tasks_blocked()
            finder.running.broker.failover.move_coordinator("transaction", "x", place % 3 + 1)
            assert (await line.receive(request, generation.end)).error_code in (E.NONE, E.NOT_COORDINATOR)
            assert await producer.commit() is E.NONE  # asked again, as a client does that was not told
            finder.running.broker.failover.move_coordinator("transaction", "x", place)
    assert await producer.init() is E.NONE
    assert await committed(await finder.line(1), "t") == expected


async def test_nothing_is_acted_upon_before_it_is_durable(
    launcher: Launcher, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the coordinators moved to as well, be it new or not."""
    finder = await start(launcher, stack, log_flush_interval_messages="1")
    producer = await Producer.start(finder, "x", NEW)  # type: ignore[arg-type]
    assert await finder.find(GROUP, "g") in NODES
    flushes = finder.running.broker.store.flushes
    begin, holds = FlushQueue.begin, False
    monkeypatch.setattr(FlushQueue, "begin", lambda queue: [] if holds else begin(queue))
    end = EndTxnRequest(transactional_id="x", committed=True)
    for number in range(4):  # the first move is to a node whose coordinators nobody has needed
        assert await producer.send("t", 0, b"%d" % number) is E.NONE
        end.producer_id, end.producer_epoch = producer.producer_id, producer.epoch
        place, keeper = await finder.find(TRANSACTION, "x"), await finder.find(GROUP, "g")
        assert isinstance(place, int)
        assert isinstance(keeper, int)
        holds = True
        async with await finder.running.client(node=place) as ending, await finder.running.client(node=keeper) as group:
            await ending.send(end, 5)
            await group.send(committing(number), 9)
            await wait_all_tasks_blocked(0.01)
            there = await finder.line(await finder.move(TRANSACTION, "x"))
            assert await state_of(there, "x") == "NOT_COORDINATOR"
            here = await finder.line(await finder.move(GROUP, "g"))
            assert list(codes(await here.ask(heartbeat("m"), 4))) == [E.NOT_COORDINATOR]
            assert await end_offset(await finder.line(1), "t") < await end_offset(
                await finder.line(1), "t", isolation_level=0
            )
            holds = False
            flushes.on_due()
            ended = await ending.receive(end, 5)
            assert ended.error_code == E.NONE
            assert list(codes(await group.receive(committing(number), 9))) == [E.NONE]
        producer.epoch, producer._sequences = ended.producer_epoch, {}
        finder._places.clear()
        assert await group_offset(finder, "g", "t") == number  # type: ignore[arg-type]
        await finder.ask(DescribeTransactionsRequest(transactional_ids=["x"]), 0)  # until its coordinator has begun
    assert await producer.init() is E.NONE  # which would abort what is not known to have ended
    assert await committed(await finder.line(1), "t") == [b"0", b"1", b"2", b"3"]


async def test_a_decided_outcome_goes_on_where_it_moved(launcher: Launcher, stack: AsyncExitStack) -> None:
    """Its markers cannot be written before a node is there again."""
    clock = ManualClock()
    finder = await start(launcher, stack, clock)
    broker = finder.running.broker
    broker.metadata.create_topic(broker.metadata.plan_topic("alone", assignments=[(0, [3])]))
    producer = await Producer.start(finder, "x", NEW)  # type: ignore[arg-type]
    broker.failover.move_coordinator("transaction", "x", 1)
    assert await producer.send("t", 0, b"v") is E.NONE
    assert await producer.send("alone", 0, b"v") is E.NONE
    finder.stop(3)
    assert await producer.commit() is E.NONE
    broker.failover.move_coordinator("transaction", "x", 2)
    one, two = await finder.line(1), await finder.line(2)
    assert await state_of(one, "x") == "NOT_COORDINATOR"
    assert await state_of(two, "x") == "PrepareCommit"
    assert await committed(one, "t") == [b"v"]
    written = await end_offset(one, "t")
    elapse(finder.running, clock, 5_000)
    assert await state_of(two, "x") == "PrepareCommit"
    broker.failover.start_node(3)
    elapse(finder.running, clock, 1_000)
    assert await state_of(two, "x") == "CompleteCommit"
    assert await committed(await finder.line(3), "alone") == [b"v"]
    assert await end_offset(one, "t") == written, "who resigned writes no marker"


async def test_a_transaction_is_aborted_in_time_by_a_coordinator_that_nobody_asked(
    launcher: Launcher, stack: AsyncExitStack
) -> None:
    clock = ManualClock()
    finder = await start(launcher, stack, clock)
    producer = await Producer.start(finder, "x", NEW, timeout_ms=15_000)  # type: ignore[arg-type]
    assert await producer.send("t", 0, b"v") is E.NONE
    line = await finder.line(1)
    assert await end_offset(line, "t") == 0
    place = await finder.find(TRANSACTION, "x")
    assert isinstance(place, int)
    finder.running.broker.failover.move_coordinator("transaction", "x", place % 3 + 1)
    elapse(finder.running, clock, 10_000)
    assert await end_offset(line, "t") == 0
    elapse(finder.running, clock, 10_000)
    assert await end_offset(line, "t") == 2
    assert await producer.commit() is not E.NONE


@generations
async def test_nobody_is_asked_for_records_that_go_to_the_wrong_node(finder: Finder, generation: Generation) -> None:
    producer = await Producer.start(finder, "x", generation)  # type: ignore[arg-type]
    producer.client = await finder.line(2)
    assert await producer.send_only("t", 0, b"v") is E.NOT_LEADER_OR_FOLLOWER
    place = await finder.find(TRANSACTION, "x")
    assert isinstance(place, int)
    assert await state_of(await finder.line(place), "x") == "Empty"


@generations
async def test_who_begins_anew_after_a_move_fences_who_was_there(finder: Finder, generation: Generation) -> None:
    zombie = await Producer.start(finder, "x", generation)  # type: ignore[arg-type]
    assert await zombie.send("t", 0, b"lost") is E.NONE
    await finder.move(TRANSACTION, "x")
    producer = await Producer.start(finder, "x", generation)  # type: ignore[arg-type]
    await finder.move(TRANSACTION, "x")
    assert await zombie.send_only("t", 0, b"late") is E.INVALID_PRODUCER_EPOCH
    assert await zombie.commit() is E.PRODUCER_FENCED
    assert await producer.send("t", 0, b"kept") is E.NONE
    assert await producer.commit() is E.NONE
    assert await committed(await finder.line(1), "t") == [b"kept"]
