"""Errors on order, stale metadata, epochs that go up, and which requests a fault is about: as a client meets them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from ottla.broker.faults.fault import UnknownFaultError
from ottla.broker.faults.faults import Faults
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from tests.broker.conftest import Launcher, Running
from tests.broker.faults.stories import (
    FETCH,
    HEARTBEAT,
    JOIN,
    METADATA,
    NOT_LEADER,
    PRODUCE,
    SYNC,
    codes,
    fetch,
    is_idle,
    join,
    metadata,
    order,
    produce,
    produce_to,
    stored,
    values_of,
)


async def test_an_error_for_a_partition_and_the_others_are_really_served(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", topic="t", partition=0, error="NOT_LEADER_OR_FOLLOWER", times=1)
    async with await running.client() as client:
        request = produce_to({("t", 0): (b"a",), ("t", 1): (b"b",), ("u", 0): (b"c",)})
        assert codes(await client.ask(request, PRODUCE)) == {("t", 0): NOT_LEADER, ("t", 1): 0, ("u", 0): 0}
        assert [stored(running), stored(running, "t", 1), stored(running, "u")] == [[], [b"b"], [b"c"]]
        assert is_idle(running), "the fault is spent"
        assert codes(await client.ask(produce(b"again"), PRODUCE)) == {("t", 0): 0}
    assert stored(running) == [b"again"]
    (firing,) = fault.log
    assert (firing.api, firing.version, firing.partitions) == ("Produce", PRODUCE, ("t-0",))
    assert firing.did == "answered NOT_LEADER_OR_FOLLOWER for the partitions, and served the others"


async def test_an_error_for_the_whole_of_an_answer(running: Running, faults: Faults) -> None:
    order(faults, api="Produce", error="REQUEST_TIMED_OUT")
    order(faults, api="Fetch", error="UNKNOWN_SERVER_ERROR")
    order(faults, api="JoinGroup", group="g", error="COORDINATOR_LOAD_IN_PROGRESS")
    order(faults, api="Metadata", error="LEADER_NOT_AVAILABLE")
    async with await running.client() as client:
        request = produce_to({("t", 0): (b"a",), ("u", 0): (b"c",)})
        late = ErrorCode.REQUEST_TIMED_OUT
        assert codes(await client.ask(request, PRODUCE)) == {("t", 0): late, ("u", 0): late}
        assert (await client.ask(fetch(), FETCH)).error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert (await client.ask(join(), JOIN)).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        assert (await client.ask(join(group="h"), JOIN)).error_code == ErrorCode.MEMBER_ID_REQUIRED
        for asked in (metadata("t"), MetadataRequest(topics=None)):
            told = (await client.ask(asked, METADATA)).topics
            assert {topic.error_code for topic in told} == {ErrorCode.LEADER_NOT_AVAILABLE}
    assert stored(running) == []


async def test_an_error_with_acks_0_closes_the_connection_as_kafka_does(running: Running, faults: Faults) -> None:
    order(faults, api="Produce", topic="t", partition=0, error="NOT_LEADER_OR_FOLLOWER")
    async with await running.client() as client:
        await client.send(produce_to({("t", 0): (b"a",), ("t", 1): (b"b",)}, acks=0), PRODUCE)
        assert await client.closed()
    assert [stored(running), stored(running, "t", 1)] == [[], [b"b"]]


async def test_what_only_reads_is_told_an_error_for_a_partition(running: Running, faults: Faults) -> None:
    async with await running.client() as client:
        await client.ask(produce_to({("t", 0): (b"a",), ("t", 1): (b"b",)}), PRODUCE)
        order(faults, topic="t", partition=1, error="KAFKA_STORAGE_ERROR")
        answer = await client.ask(fetch(("t", 0), ("t", 1)), FETCH)
        assert codes(answer) == {("t", 0): 0, ("t", 1): ErrorCode.KAFKA_STORAGE_ERROR}
        assert values_of(answer) == {("t", 0): [b"a"], ("t", 1): []}
        told = (await client.ask(metadata("t"), METADATA)).topics[0]
        assert [(each.error_code, each.leader_id) for each in told.partitions] == [
            (0, 1),
            (ErrorCode.KAFKA_STORAGE_ERROR, -1),
        ]


async def test_a_fetch_that_would_wait_hears_of_an_error_at_once(running: Running, faults: Faults) -> None:
    order(faults, api="Fetch", topic="t", partition=1, error="NOT_LEADER_OR_FOLLOWER")
    async with await running.client() as client:
        with trio.fail_after(60):
            answer = await client.ask(fetch(("t", 0), ("t", 1), max_wait_ms=600_000), FETCH)
    assert codes(answer) == {("t", 0): 0, ("t", 1): NOT_LEADER}


async def test_a_fetch_session_hears_of_an_error_of_what_it_follows_and_does_not_name(
    running: Running, faults: Faults
) -> None:
    async with await running.client() as client:
        begun = await client.ask(fetch(("t", 0), ("t", 1), ("u", 0), session=(0, 0)), FETCH)
        nothing = FetchRequest(max_wait_ms=600_000, min_bytes=1, max_bytes=1 << 20, session_id=begun.session_id)
        nothing.session_epoch = 1
        fault = order(faults, api="Fetch", topic="t", partition=1, error="NOT_LEADER_OR_FOLLOWER", times=1)
        with trio.fail_after(60):
            assert codes(await client.ask(nothing, FETCH)) == {("t", 1): NOT_LEADER}
        assert fault.fired == 1
        nothing.session_epoch, nothing.max_wait_ms = 2, 0
        assert codes(await client.ask(nothing, FETCH)) == {("t", 1): 0}, "it is told that all is well again"
        await client.ask(produce(b"b", partition=1), PRODUCE)
        nothing.session_epoch, nothing.max_wait_ms = 3, 600_000
        told = await client.ask(nothing, FETCH)
        assert values_of(told) == {("t", 1): [b"b"]}, "the session goes on"


async def test_a_partition_that_a_session_has_forgotten_is_nobodys_fault(running: Running, faults: Faults) -> None:
    async with await running.client() as client:
        begun = await client.ask(fetch(("t", 0), ("t", 1), session=(0, 0)), FETCH)
        fault = order(faults, api="Fetch", topic="t", partition=1, error="NOT_LEADER_OR_FOLLOWER")
        forget = FetchRequest(min_bytes=1, max_bytes=1 << 20, session_id=begun.session_id, session_epoch=1)
        forget.forgotten_topics_data = [FetchRequest.ForgottenTopic(topic="t", partitions=[1])]
        assert codes(await client.ask(forget, FETCH)) == {}
    assert fault.seen == 0


async def test_a_fenced_leader_keeps_leading_in_a_new_epoch(running: Running, faults: Faults) -> None:
    partition = running.broker.cluster.topics["t"].partitions[0]
    before = (partition.leader, partition.leader_epoch)
    fault = order(faults, api="Fetch", topic="t", partition=0, fence="leader", times=1)
    async with await running.client() as client:
        answer = await client.ask(fetch(("t", 0), ("t", 1), epoch=0), FETCH)
        assert codes(answer) == {("t", 0): ErrorCode.FENCED_LEADER_EPOCH, ("t", 1): 0}
        assert codes(await client.ask(fetch(("t", 0), epoch=1), FETCH)) == {("t", 0): 0}
        (told, _) = (await client.ask(metadata("t"), METADATA)).topics[0].partitions
        assert (told.leader_epoch, partition.leader, partition.leader_epoch) == (1, before[0], before[1] + 1)
    assert fault.log[0].did == "raised the leader epoch of t-0 to 1"


async def test_a_fenced_idempotent_producer_is_told_that_its_epoch_is_old(running: Running, faults: Faults) -> None:
    async with await running.client() as client:
        write = partial(produce_to, {("t", 0): (b"a",)})
        await client.ask(write(producer=(7, 0, 0)), PRODUCE)
        order(faults, api="Produce", fence="producer", times=1)
        refused = await client.ask(write(producer=(7, 0, 1)), PRODUCE)
        assert codes(refused) == {("t", 0): ErrorCode.INVALID_PRODUCER_EPOCH}
        assert codes(await client.ask(write(producer=(7, 1, 0)), PRODUCE)) == {("t", 0): 0}
        assert codes(await client.ask(write(), PRODUCE)) == {("t", 0): 0}
    (view,) = running.broker.cluster.topics["t"].partitions[0].log.producers_view()
    assert (view.producer_id, view.epoch) == (7, 1)


async def test_a_fenced_member_is_unknown_to_the_group(running: Running, faults: Faults) -> None:
    async with await running.client() as client:
        member = (await client.ask(join(), JOIN)).member_id
        joined = await client.ask(join(member), JOIN)
        mine = [SyncGroupRequest.SyncGroupRequestAssignment(member_id=member, assignment=b"x")]
        await client.ask(
            SyncGroupRequest(
                group_id="g",
                generation_id=joined.generation_id,
                member_id=member,
                protocol_type="consumer",
                protocol_name="range",
                assignments=mine,
            ),
            SYNC,
        )
        fault = order(faults, api="Heartbeat", group="g", fence="member", times=1)
        beat = HeartbeatRequest(group_id="g", generation_id=joined.generation_id, member_id=member)
        assert (await client.ask(beat, HEARTBEAT)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
        stranger = HeartbeatRequest(group_id="g", generation_id=joined.generation_id, member_id="nobody")
        assert (await client.ask(stranger, HEARTBEAT)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert fault.fired == 1


async def test_of_several_the_first_that_fires_wins_and_all_count(running: Running, faults: Faults) -> None:
    first = order(faults, api="Produce", nth=2, error="REQUEST_TIMED_OUT")
    second = order(faults, topic="t", error="NOT_LEADER_OR_FOLLOWER", times=2)
    async with await running.client() as client:
        told = [codes(await client.ask(produce(b"a"), PRODUCE))["t", 0] for _ in range(4)]
    assert told == [NOT_LEADER, ErrorCode.REQUEST_TIMED_OUT, NOT_LEADER, 0]
    assert (first.seen, first.fired, second.seen, second.fired) == (2, 1, 3, 2)
    assert stored(running) == [b"a"]
    assert is_idle(running)


async def test_a_connection_and_a_client_of_their_own(running: Running, faults: Faults) -> None:
    async with await running.client("one") as one, await running.client("two") as two:
        await one.ask(metadata("t"), METADATA)
        await two.ask(metadata("t"), METADATA)
        order(faults, connection=2, error="UNKNOWN_SERVER_ERROR", api="Produce", times=1)
        assert codes(await one.ask(produce(b"a"), PRODUCE)) == {("t", 0): 0}
        assert codes(await two.ask(produce(b"a"), PRODUCE)) == {("t", 0): ErrorCode.UNKNOWN_SERVER_ERROR}
        order(faults, client_id="one", error="UNKNOWN_SERVER_ERROR", api="Produce")
        assert codes(await two.ask(produce(b"a"), PRODUCE)) == {("t", 0): 0}
        assert codes(await one.ask(produce(b"a"), PRODUCE)) == {("t", 0): ErrorCode.UNKNOWN_SERVER_ERROR}


async def test_a_node_of_its_own(launcher: Launcher, use_epoll: bool) -> None:
    running = await launcher.start(nodes=2)
    order(Faults.of(running.broker), node=2, api="ApiVersions", error="UNKNOWN_SERVER_ERROR")
    told = []
    for node in (1, 2):
        async with await running.client(node=node) as client:
            told.append((await client.ask(ApiVersionsRequest(), 2)).error_code)
    assert told == [0, ErrorCode.UNKNOWN_SERVER_ERROR]


async def transcript(launcher: Launcher, seed: int) -> list[Any]:
    running = await launcher.start(clock=ManualClock())
    faults = Faults.of(running.broker)
    metadata = running.broker.metadata
    if "t" not in running.broker.cluster.topics:
        metadata.create_topic(metadata.plan_topic("t", 2))
    one = order(faults, api="Produce", probability=0.5, seed=seed, error="NOT_LEADER_OR_FOLLOWER")
    two = order(faults, api="Produce", probability=0.3, error="REQUEST_TIMED_OUT")
    async with await running.client() as client:
        for number in range(40):
            await client.ask(produce(b"%d" % number, partition=number % 2), PRODUCE)
    await launcher.stop()
    return [fault.shown() for fault in (one, two)]


async def test_the_same_seed_and_requests_give_the_same_transcript(launcher: Launcher, use_epoll: bool) -> None:
    first = await transcript(launcher, 7)
    again = await transcript(launcher, 7)
    other = await transcript(launcher, 8)
    assert first == again
    assert first[0]["log"] != other[0]["log"]
    assert 10 < first[0]["fired"] < 30


async def test_what_is_waited_for_in_vain_is_said(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", drop="after", times=2)
    with pytest.raises(ValueError, match="fires 2 times and no more, so never 3 times"):
        await faults.wait_fired(fault.id, 3)
    with pytest.raises(UnknownFaultError, match="there is no fault 9; there are 1"):
        faults.get(9)
    async with trio.open_nursery() as nursery:
        failed: list[str] = []

        async def wait(so: Callable[[int], Any]) -> None:
            try:
                await so(fault.id)
            except UnknownFaultError as error:
                failed.append(str(error))

        nursery.start_soon(wait, faults.wait_fired)
        nursery.start_soon(wait, faults.wait_held)
        await trio.testing.wait_all_tasks_blocked()
        faults.clear()
    assert failed == ["fault 1 was removed while waited for; it fired 0 times"] * 2
    assert is_idle(running)
    with pytest.raises(UnknownFaultError, match="there is no fault 1; there are none"):
        faults.remove(fault.id)


async def test_without_faults_the_short_ways_are_taken_again(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", error="NOT_LEADER_OR_FOLLOWER", nth=2)
    async with await running.client() as client:
        told = [codes(await client.ask(produce(b"%d" % at), PRODUCE))["t", 0] for at in range(5)]
        assert told == [0, NOT_LEADER, 0, 0, 0]
        connection = next(iter(running.server.connections))
        assert connection.repeated is not None, "what repeats is not decoded again"
    assert fault.is_over
    assert stored(running) == [b"0", b"2", b"3", b"4"]
