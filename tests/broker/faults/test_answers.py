"""Answers that come late, in part, spoiled or not at all: what a client gets and when, what was applied, and that
nothing is left behind.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from ottla.broker.faults.faults import Faults
from ottla.broker.recording import Recorder
from ottla.log.clock import ManualClock
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.message_json import encode_records
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.records import batches
from ottla.wire.state.cluster_metadata import ClientQuotaRecord
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.faults.stories import (
    FETCH,
    JOIN,
    METADATA,
    NOT_LEADER,
    PRODUCE,
    codes,
    fetch,
    is_idle,
    join,
    metadata,
    order,
    produce,
    stored,
    values_of,
)


async def test_held_before_it_is_applied_its_records_survive_what_others_send(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", client_id="slow", hold="before")
    async with await running.client("slow") as slow, await running.client() as other:
        request = produce(b"a" * 3000)
        await slow.send(request, PRODUCE)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
        for _ in range(3):  # into the same receive buffer
            await other.ask(produce(b"z" * 4000, topic="u"), PRODUCE)
        assert stored(running) == []
        faults.release(fault.id)
        assert codes(await slow.receive(request, PRODUCE)) == {("t", 0): 0}
        assert stored(running) == [b"a" * 3000]
        assert (fault.fired, len(fault.waiting)) == (1, 0)
        await slow.ask(request, PRODUCE)
    assert fault.fired == 1, "once released it holds no more"
    assert is_idle(running)


async def test_held_after_it_was_applied(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", hold="after")
    async with await running.client() as client:
        request = produce(b"a")
        await client.send(request, PRODUCE)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
        assert stored(running) == [b"a"]
        faults.release(fault.id, keep=True)
        assert codes(await client.receive(request, PRODUCE)) == {("t", 0): 0}
        await client.send(request, PRODUCE)
        with trio.fail_after(60):
            await faults.wait_fired(fault.id, 2)
        assert len(fault.waiting) == 1, "it goes on"
        faults.remove(fault.id)
        assert codes(await client.receive(request, PRODUCE)) == {("t", 0): 0}
    assert is_idle(running)


async def test_who_comes_to_a_hold_that_was_released_meanwhile_is_not_held(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Fetch", hold="after")
    async with await running.client() as reader, await running.client() as writer:
        await reader.send(fetch(max_wait_ms=600_000), FETCH)
        with trio.fail_after(60):
            await faults.wait_fired(fault.id)
            faults.release(fault.id)
            await writer.ask(produce(b"a"), PRODUCE)
            assert values_of(await reader.receive(fetch(), FETCH)) == {("t", 0): [b"a"]}


async def test_what_was_sent_behind_a_held_request_is_answered_behind_it(running: Running, faults: Faults) -> None:
    fault = order(faults, api="Produce", hold="before")
    async with await running.client() as client:
        requests = [(produce(b"a"), PRODUCE), (metadata("t"), METADATA), (fetch(), FETCH)]
        await client.stream.send_all(b"".join(client.frame(request, version) for request, version in requests))
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
        faults.release(fault.id)
        answers = [await client.receive(request, version) for request, version in requests]
    assert values_of(answers[2]) == {("t", 0): [b"a"]}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("behind", [False, True], ids=["waits", "talks-on"])
async def test_who_hangs_up_while_held_is_let_go(running: Running, faults: Faults, when: str, behind: bool) -> None:
    fault = order(faults, hold=when, api="Fetch")
    async with await running.client() as client:
        await client.ask(produce(b"a" * 20_000), PRODUCE)
        await client.send(fetch(), FETCH)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
        if behind:
            await client.send(metadata("t"), METADATA)
    with trio.fail_after(60):
        while fault.waiting:
            await fault.changed.wait()
        while running.server.connections:
            await trio.sleep(0.001)  # the connection ends in a task of its own
    faults.remove(fault.id)
    assert is_idle(running)
    assert running.broker.timers.next_deadline_ms() is not None


async def test_who_hangs_up_while_a_fetch_under_a_fault_waits_for_records_is_let_go(
    running: Running, faults: Faults
) -> None:
    fault = order(faults, hold="after", api="Fetch")
    partition = running.broker.cluster.topics["t"].partitions[0]
    async with await running.client() as client:
        await client.send(fetch(max_wait_ms=600_000), FETCH)
        with trio.fail_after(60):
            await faults.wait_fired(fault.id)
        assert len(partition.waiters) == 1
    with trio.fail_after(60):
        while running.server.connections:
            await trio.sleep(0.001)
    assert not partition.waiters
    faults.remove(fault.id)
    assert is_idle(running)


async def test_who_hangs_up_while_delayed_leaves_no_timer_behind(launcher: Launcher, use_epoll: bool) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    faults = Faults.of(running.broker)
    fault = order(faults, delay="1ms", api="Metadata")
    async with await running.client() as client:
        await client.send(metadata("t"), METADATA)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
        assert running.broker.timers.next_deadline_ms() == 1
    with trio.fail_after(60):
        while fault.waiting:
            await fault.changed.wait()
    assert running.broker.timers.next_deadline_ms() != 1


@pytest.mark.parametrize(
    "rule",
    [
        {"hold": "after"},
        {"drop": "after"},
        {"cut": 10},
        {"corrupt": "crc"},
        {"topic": "t", "error": "UNKNOWN_TOPIC_ID"},
    ],
    ids=lambda rule: next(iter(rule)),
)
async def test_a_slice_of_a_file_that_is_not_sent_is_given_back(
    running: Running, faults: Faults, rule: dict[str, Any]
) -> None:
    async with await running.client() as client:
        await client.ask(produce(b"a" * 20_000), PRODUCE)
        before = holders(running)
        begun = await client.ask(fetch(("t", 0), session=(0, 0)), FETCH)
        fault = order(faults, api="Fetch", **rule)
        go_on = fetch(("t", 0), session=(begun.session_id, 1))
        await client.send(go_on, FETCH)
        with trio.fail_after(60):
            await faults.wait_fired(fault.id)
        if "hold" in rule:
            await faults.wait_held(fault.id)
            assert holders(running) == before + 1
        elif "corrupt" in rule or "error" in rule:
            await client.receive(go_on, FETCH)
    with trio.fail_after(60):
        while running.server.connections:
            await trio.sleep(0.001)
    assert holders(running) == before


def holders(running: Running) -> int:
    """Of the file of the log of t-0."""
    log = running.broker.cluster.topics["t"].partitions[0].log
    read: Any = log.read(0, 1 << 20, min_one_batch=True)
    count: int = read.value.records._file.holders
    read.value.let_go()
    return count


async def test_a_held_request_is_answered_when_the_broker_stops(launcher: Launcher) -> None:
    running = await launcher.start()
    faults = Faults.of(running.broker)
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 2))
    held = order(faults, api="Produce", hold="before", client_id="before")
    kept = order(faults, api="Produce", hold="after", client_id="after")
    late = order(faults, api="Produce", delay="1h", client_id="late")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await running.client(name)) for name in ("before", "after", "late")]
        for client in clients:
            await client.send(produce(client.client_id.encode()), PRODUCE)
        with trio.fail_after(60):
            for fault in (held, kept, late):
                await faults.wait_held(fault.id)
            await launcher.stop()
            for client in clients:
                assert codes(await client.receive(produce(), PRODUCE)) == {("t", 0): 0}
                assert await client.closed()


async def test_a_held_join_lets_the_group_form_when_it_is_released(running: Running, faults: Faults) -> None:
    fault = order(faults, api="JoinGroup", group="g", hold="before")
    async with await running.client() as client:
        await client.send(join(), JOIN)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
            faults.release(fault.id, keep=True)
            member = (await client.receive(join(), JOIN)).member_id
            await client.send(join(member), JOIN)
            await faults.wait_held(fault.id)
            faults.release(fault.id)
            joined = await client.receive(join(), JOIN)  # which the coordinator let wait, too
    assert (joined.error_code, joined.member_id, joined.leader) == (0, member, member)


async def test_a_delay_goes_by_the_brokers_clock(launcher: Launcher, use_epoll: bool) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 1))
    faults = Faults.of(running.broker)
    before = order(faults, api="Produce", delay="1h", client_id="before")
    after = order(faults, api="Produce", delay="2h", when="after", client_id="after")
    async with await running.client("before") as one, await running.client("after") as two:
        await one.send(produce(b"1"), PRODUCE)
        await two.send(produce(b"2"), PRODUCE)
        with trio.fail_after(60):
            await faults.wait_held(before.id)
            await faults.wait_held(after.id)
            assert stored(running) == [b"2"]
            clock.advance(3_600_000)
            running.broker.timers.run_due()
            assert codes(await one.receive(produce(), PRODUCE)) == {("t", 0): 0}
            assert stored(running) == [b"2", b"1"]
            assert len(after.waiting) == 1
            clock.advance(3_600_000)
            running.broker.timers.run_due()
            assert codes(await two.receive(produce(), PRODUCE)) == {("t", 0): 0}
    assert [fault.log[0].did for fault in (before, after)] == [
        "delayed by 3600000 ms before applying",
        "delayed by 7200000 ms after applying",
    ]


@pytest.mark.parametrize(("when", "applied"), [("before", []), ("after", [b"a"])])
@pytest.mark.parametrize("acks", [-1, 0])
async def test_a_connection_that_closes_instead_of_an_answer(
    running: Running, faults: Faults, when: str, applied: list[bytes], acks: int
) -> None:
    fault = order(faults, api="Produce", drop=when, times=1)
    async with await running.client() as client:
        await client.send(produce(b"a", acks=acks), PRODUCE)
        assert await client.closed()
    assert stored(running) == applied
    assert "closed the connection" in fault.log[0].did
    assert f"fault {fault.id} closed the connection {when} applying" in running.log_text
    assert is_idle(running)


async def test_answers_before_the_one_that_is_dropped_still_leave(running: Running, faults: Faults) -> None:
    order(faults, api="Produce", drop="after", times=1)
    async with await running.client() as client:
        frames = client.frame(metadata("t"), METADATA) + client.frame(produce(b"a"), PRODUCE)
        await client.stream.send_all(frames + client.frame(metadata("t"), METADATA))
        assert (await client.receive(metadata(), METADATA)).topics[0].name == "t"
        assert await client.closed()


@pytest.mark.parametrize("much", [0, 1, 4, 10, 0.5, 1000])
async def test_an_answer_that_is_cut(running: Running, faults: Faults, much: float) -> None:
    async with await running.client() as client:
        await client.send(produce(b"a"), PRODUCE)
        whole = await received(client)
    order(faults, api="Produce", cut=much)
    async with await running.client() as client:
        await client.send(produce(b"b"), PRODUCE)
        cut = await received_until_closed(client)
    assert stored(running) == [b"a", b"b"], "it was applied"
    length = min(much, len(whole)) if isinstance(much, int) else len(whole) // 2
    assert len(cut) == length
    assert cut[:8] == whole[:8][:length]  # the size, and the same correlation id on a new connection


async def test_a_cut_answer_leaves_whole_however_slowly_it_is_read(running: Running, faults: Faults) -> None:
    value = bytes(900_000)
    async with await running.client() as client:
        for _ in range(16):
            await client.ask(produce(value), PRODUCE)
        request = fetch()
        request.topics[0].partitions[0].partition_max_bytes = 1 << 24
        order(faults, api="Fetch", cut=0.9)
        await client.send(request, FETCH)
        head = await client._exactly(4)  # the rest does not fit into the sockets at once
        with trio.fail_after(60):
            cut = len(client._buffer) + len(await received_until_closed(client))
    whole = int.from_bytes(head, "big") + 4
    assert whole > 14_000_000
    assert len(head) + cut == whole * 9 // 10


async def test_a_fetch_cut_in_the_middle_of_its_records(running: Running, faults: Faults) -> None:
    value = bytes(range(256)) * 4000  # a slice of a file, longer than a socket takes at once
    async with await running.client() as client:
        await client.ask(produce(value), PRODUCE)
        order(faults, api="Fetch", cut=0.75)
        await client.send(fetch(), FETCH)
        with trio.fail_after(60):
            cut = await received_until_closed(client)
    size = int.from_bytes(cut[:4], "big")
    assert len(cut) == (size + 4) * 3 // 4
    assert value[:256_000] in cut


async def received(client: Client) -> bytes:
    """A whole frame."""
    head = await client._exactly(4)
    return head + await client._exactly(int.from_bytes(head, "big"))


async def received_until_closed(client: Client) -> bytes:
    data = b""
    while piece := await client.stream.receive_some(65536):
        data += piece
    return data


@pytest.mark.parametrize("value", [b"a" * 10, b"a" * 20_000], ids=["in-memory", "slice-of-a-file"])
async def test_a_crc_that_is_wrong_on_the_way_out_only(running: Running, faults: Faults, value: bytes) -> None:
    async with await running.client() as client:
        await client.ask(produce(value), PRODUCE)
        await client.ask(produce(b"u", topic="u"), PRODUCE)
        fault = order(faults, corrupt="crc", topic="t", times=1)
        assert values_of(await client.ask(fetch(("u", 0)), FETCH)) == {("u", 0): [b"u"]}
        assert values_of(await client.ask(fetch(("t", 1)), FETCH)) == {("t", 1): []}
        assert (fault.seen, fault.fired) == (0, 0), "what has no batch is not spoiled, and not counted"
        answer = await client.ask(fetch(("t", 0), ("u", 0)), FETCH)
        (bad,) = batches(answer.responses[0].partitions[0].records)
        (good,) = batches(answer.responses[1].partitions[0].records)
        assert (bad.is_valid_crc(), good.is_valid_crc()) == (False, True)
        assert values_of(await client.ask(fetch(), FETCH)) == {("t", 0): [value]}
    assert [firing.did for firing in fault.log] == ["flipped a bit of the CRC of the batch at t-0:0"]
    assert is_idle(running)


async def test_a_fetch_that_waited_is_spoiled_when_records_come(running: Running, faults: Faults) -> None:
    fault = order(faults, corrupt="crc", times=1)
    async with await running.client() as reader, await running.client() as writer:
        await reader.send(fetch(max_wait_ms=600_000), FETCH)
        await writer.ask(metadata("t"), METADATA)
        await writer.ask(produce(b"a"), PRODUCE)
        with trio.fail_after(60):
            answer = await reader.receive(fetch(), FETCH)
        (batch,) = batches(answer.responses[0].partitions[0].records)
    assert not batch.is_valid_crc()
    assert fault.fired == 1


async def test_a_throttled_client_is_told_and_not_listened_to(launcher: Launcher, use_epoll: bool) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    faults = Faults.of(running.broker)
    order(faults, api="ApiVersions", throttle="10s", times=1)
    async with await running.client() as client:
        frames = [client.frame(ApiVersionsRequest(), 2) for _ in range(2)]
        await client.stream.send_all(frames[0])
        assert (await client.receive(ApiVersionsRequest(), 2)).throttle_time_ms == 10_000
        await client.stream.send_all(frames[1])
        async with await running.client() as other:  # by now that, too, has come
            await other.ask(ApiVersionsRequest(), 2)
        assert running.broker.gate.counts[ApiKey.API_VERSIONS, 2] == 2, "one of each client"
        clock.advance(10_000)
        running.broker.timers.run_due()
        with trio.fail_after(60):
            assert (await client.receive(ApiVersionsRequest(), 2)).throttle_time_ms == 0


async def test_metadata_as_it_was(launcher: Launcher, use_epoll: bool) -> None:
    running = await launcher.start(nodes=2)
    broker = running.broker
    broker.metadata.create_topic(broker.metadata.plan_topic("t", 2, replication_factor=2))
    async with await running.client() as client:
        before = [await client.ask(asked, METADATA) for asked in (metadata("t"), MetadataRequest(topics=None))]
        fault = order(Faults.of(broker), stale=True)
        for partition in broker.cluster.topics["t"].partitions:
            other = next(node for node in partition.replicas if node != partition.leader)
            broker.failover.move_leader("t", partition.index, other)
        broker.metadata.create_topic(broker.metadata.plan_topic("new", 1))
        stale = [await client.ask(asked, METADATA) for asked in (metadata("t"), MetadataRequest(topics=None))]
        assert stale == before
        (told,) = (await client.ask(metadata("new"), METADATA)).topics
        assert told.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        Faults.of(broker).remove(fault.id)
        fresh = await client.ask(metadata("t"), METADATA)
        assert fresh != before[0]


@pytest.mark.parametrize("version", range(14))
async def test_stale_metadata_says_the_same_in_every_version(running: Running, faults: Faults, version: int) -> None:
    asked = MetadataRequest(topics=None, include_topic_authorized_operations=version >= 8)
    asked.include_cluster_authorized_operations = 8 <= version <= 10
    if version == 0:
        asked.topics = []
    async with await running.client() as client:
        fresh = await client.ask(asked, version)
        order(faults, stale=True)
        assert await client.ask(asked, version) == fresh


# ── beside what else hangs at the gate ──────────────────────────────────────────────────────────────────────────────


class Lines:
    """A sink of a recording."""

    def __init__(self) -> None:
        self.records = encode_records
        self.lines: list[Any] = []

    def write(self, line: Any) -> None:
        self.lines.append(line)

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        """No more will come."""


async def test_a_recording_holds_what_clients_really_got(running: Running, faults: Faults) -> None:
    recorder, sink = Recorder.of(running.broker, trio.current_time), Lines()
    recorder.add(sink)
    order(faults, api="Produce", topic="t", error="NOT_LEADER_OR_FOLLOWER", times=1)
    order(faults, api="Produce", drop="after", times=1)
    async with await running.client() as client:
        await client.ask(produce(b"a"), PRODUCE)
        await client.send(produce(b"b"), PRODUCE)
        assert await client.closed()
    told = [line for line in sink.lines if line["kind"] == "response"]
    assert told[0]["response"]["responses"][0]["partitionResponses"][0]["errorCode"] == NOT_LEADER
    assert told[1]["refused"] == "fault 2 closed the connection after applying"
    assert running.broker.gate.taps == [recorder]
    recorder.remove(sink)


async def test_a_quota_and_a_fault_throttle_for_the_longer_of_the_two(launcher: Launcher, use_epoll: bool) -> None:
    running = await launcher.start(clock=ManualClock())
    broker = running.broker
    broker.metadata.create_topic(broker.metadata.plan_topic("t", 1))
    limit = ClientQuotaRecord(
        entity=[ClientQuotaRecord.EntityData(entity_type="client-id", entity_name="tester")],
        key="producer_byte_rate",
        value=1.0,
    )
    broker.metadata.change_quotas([limit])
    broker.apply_quotas()
    order(Faults.of(broker), api="Produce", throttle="1ms", times=1)
    async with await running.client() as client:
        answer = await client.ask(produce(b"a" * 1000), PRODUCE)
    assert answer.throttle_time_ms > 1


async def test_who_is_held_at_a_node_that_goes_down_is_let_go(launcher: Launcher, use_epoll: bool) -> None:
    running = await launcher.start(nodes=2)
    faults = Faults.of(running.broker)
    fault = order(faults, node=2, api="Metadata", hold="before")
    async with await running.client(node=2) as client:
        await client.send(metadata("t"), METADATA)
        with trio.fail_after(60):
            await faults.wait_held(fault.id)
            running.broker.failover.stop_node(2)
            while fault.waiting:
                await fault.changed.wait()
        assert await client.closed()
