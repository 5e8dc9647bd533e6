"""Consumer groups: fifty members join at once, then one leaves; classic and KIP-848.

Every member is a bare connection of this one process that does what a consumer's library does and nothing else: classic
(JoinGroup, the leader assigns, SyncGroup) or KIP-848 (ConsumerGroupHeartbeat, the broker assigns). `join` is the time
from the first connection until all own their share in one generation or epoch; `leave` from one member's farewell until
the others own everything.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import trio

from bench import client, frames
from bench.brokers import Broker
from bench.scenario import CPU_PER_UNIT, Figure, Goal, Scenario, Size
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.schema import Message
from ottla.wire.state.embedded import ConsumerProtocolAssignment, ConsumerProtocolSubscription

MEMBERS = 50
STRATEGY = "roundrobin"
HEARTBEAT_MS = 500  # as runner.SETTINGS tell the brokers
SESSION_MS = 30_000
DEADLINE_S = 120


class Connection:
    """One connection: asks and waits for the answer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._owed = 0  # answers of asks that were cancelled
        self._buffer = bytearray()

    async def ask(self, request: Message, version: int) -> Any:
        """The decoded response."""
        await self._stream.send_all(frames.frame(request, version))
        self._owed += 1
        while True:
            answer = await self._frame()
            self._owed -= 1
            if not self._owed:
                return frames.decode(request, version, answer)

    async def _frame(self) -> bytes:
        """The next answer, without its size. Being cancelled loses nothing."""
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            piece = await self._stream.receive_some(1 << 16)
            if not piece:
                raise ConnectionResetError("closed by the broker")
            self._buffer += piece
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        frame = bytes(self._buffer[4:end])
        del self._buffer[:end]
        return frame


class Group:
    """A group of one topic: what each member owns, and the wait for all being owned once in one generation or epoch."""

    def __init__(self, name: str, topic: str, partitions: int) -> None:
        self.name = name
        self.topic = topic
        self._partitions = partitions
        self._held: dict[int, tuple[int, frozenset[int]]] = {}
        self._changed = trio.Event()

    def holds(self, member: int, generation: int, partitions: frozenset[int]) -> None:
        """Told by each member as often as it likes."""
        if self._held.get(member) != (generation, partitions):
            self._held[member] = (generation, partitions)
            self._wake()

    def gone(self, member: int) -> None:
        """The member has left."""
        self._held.pop(member, None)  # it may have left before it owned anything
        self._wake()

    async def settled(self, members: int) -> None:
        """Waits until so many members share everything in one generation."""
        while not self._is_settled(members):
            await self._changed.wait()

    def _is_settled(self, members: int) -> bool:
        shares = [partitions for _, partitions in self._held.values()]
        return (
            len(self._held) == members
            and len({generation for generation, _ in self._held.values()}) == 1
            and all(shares)
            and sorted(p for share in shares for p in share) == list(range(self._partitions))
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def classic_member(connection: Connection, number: int, partitions: int, group: Group) -> None:
    """Joins, syncs, and stays with heartbeats; joins again whenever told to. Leaves when cancelled."""
    member_id = ""
    try:
        while True:
            joined = await connection.ask(_join(group, member_id), 9)
            member_id = joined.member_id
            if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                continue
            _require(joined.error_code)
            synced = await connection.ask(_sync(group, joined, partitions), 5)
            if synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
                continue
            _require(synced.error_code)
            assignment = ConsumerProtocolAssignment.decode(synced.assignment[2:], 0)
            owned = frozenset(p for topic in assignment.assigned_partitions for p in topic.partitions)
            group.holds(number, joined.generation_id, owned)
            beat = HeartbeatRequest(group_id=group.name, generation_id=joined.generation_id, member_id=member_id)
            code = ErrorCode.NONE
            while code != ErrorCode.REBALANCE_IN_PROGRESS:
                _require(code)
                await trio.sleep(HEARTBEAT_MS / 1000)
                code = (await connection.ask(beat, 4)).error_code
    finally:
        with trio.CancelScope(shield=True):
            who = LeaveGroupRequest.MemberIdentity(member_id=member_id)
            await connection.ask(LeaveGroupRequest(group_id=group.name, members=[who]), 5)
            group.gone(number)


def _join(group: Group, member_id: str) -> JoinGroupRequest:
    metadata = b"\x00\x00" + ConsumerProtocolSubscription(topics=[group.topic]).encode(0)
    return JoinGroupRequest(
        group_id=group.name,
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=60_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name=STRATEGY, metadata=metadata)],
    )


def _sync(group: Group, joined: JoinGroupResponse, partitions: int) -> SyncGroupRequest:
    """The leader's has the assignments: partitions dealt out like cards."""
    members = [one.member_id for one in joined.members]  # of the leader only: the others are told none
    assignments = []
    for place, member_id in enumerate(members):
        share = ConsumerProtocolAssignment.TopicPartition(
            topic=group.topic, partitions=list(range(place, partitions, len(members)))
        )
        assignment = b"\x00\x00" + ConsumerProtocolAssignment(assigned_partitions=[share]).encode(0)
        assignments.append(SyncGroupRequest.SyncGroupRequestAssignment(member_id=member_id, assignment=assignment))
    return SyncGroupRequest(
        group_id=group.name,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name=STRATEGY,
        assignments=assignments,
    )


async def consumer_member(connection: Connection, number: int, partitions: int, group: Group) -> None:
    """Joins and stays with heartbeats; owns what it is told to at once, and says so at once. Leaves when cancelled."""
    member_id = str(uuid.uuid4())
    first = ConsumerGroupHeartbeatRequest(
        group_id=group.name,
        member_id=member_id,
        member_epoch=0,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[group.topic],
        topic_partitions=[],
    )
    try:
        answer, held = await connection.ask(first, 1), frozenset[int]()
        while True:
            _require(answer.error_code)
            beat = ConsumerGroupHeartbeatRequest(
                group_id=group.name, member_id=member_id, member_epoch=answer.member_epoch
            )
            if answer.assignment is None:
                await trio.sleep(answer.heartbeat_interval_ms / 1000)
            else:
                owned = [
                    ConsumerGroupHeartbeatRequest.TopicPartitions(topic_id=one.topic_id, partitions=one.partitions)
                    for one in answer.assignment.topic_partitions
                ]
                beat.topic_partitions = owned
                held = frozenset(p for one in owned for p in one.partitions)
            group.holds(number, answer.member_epoch, held)
            answer = await connection.ask(beat, 1)
    finally:
        with trio.CancelScope(shield=True):
            farewell = ConsumerGroupHeartbeatRequest(group_id=group.name, member_id=member_id, member_epoch=-1)
            await connection.ask(farewell, 1)
            group.gone(number)


def _require(code: int) -> None:
    if code != ErrorCode.NONE:
        raise client.BadAnswerError(f"the broker answered {ErrorCode(code).name}")


PROTOCOLS = {"classic": classic_member, "consumer": consumer_member}


async def settle(port: int, protocol: str, group: Group, members: int, partitions: int) -> tuple[float, float]:
    """(join, leave) in seconds."""
    scopes: list[trio.CancelScope] = []

    async def live(number: int, scope: trio.CancelScope) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with scope:
                await PROTOCOLS[protocol](Connection(stream), number, partitions, group)

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            began_s = time.perf_counter()
            for number in range(members):
                scopes.append(trio.CancelScope())
                nursery.start_soon(live, number, scopes[-1])
            await group.settled(members)
            joined_s = time.perf_counter()
            await trio.sleep(HEARTBEAT_MS / 2000)  # not on the beat at which all have joined
            left_s = time.perf_counter()
            scopes[-1].cancel()
            await group.settled(members - 1)
            ended_s = time.perf_counter()
            nursery.cancel_scope.cancel()
    return joined_s - began_s, ended_s - left_s


def _story(protocol: str) -> Callable[[Broker, Size], Mapping[str, float]]:
    def tell(broker: Broker, size: Size) -> Mapping[str, float]:
        members = size.of(MEMBERS, 4)
        topic = client.new_topic(broker.port, members * 2)
        group = Group(f"{topic}-group", topic, members * 2)
        client.await_coordinator(broker.port, group.name)
        with broker.meter() as spent:
            try:
                join_s, leave_s = trio.run(settle, broker.port, protocol, group, members, members * 2)
            except (trio.TooSlowError, BaseExceptionGroup) as error:
                raise client.BadAnswerError(f"the group did not settle: {error!r}") from None
        client.drop(broker.port, [topic])
        return {"join_ms": join_s * 1e3, "leave_ms": leave_s * 1e3, CPU_PER_UNIT: spent.broker_cpu_s / members * 1e6}

    return tell


FIGURES = (
    Figure("join_ms", "ms", "until all own their share", "low"),
    Figure("leave_ms", "ms", "until the others own everything again", "low"),
    Figure(CPU_PER_UNIT, "us/member", "broker CPU", "low"),
)
GOALS = (Goal("join_ms", at_most=1.0), Goal("leave_ms", at_most=1.0))
SCENARIOS = (
    Scenario("group-50", "50 members join, one leaves; classic", "member", FIGURES, GOALS, _story("classic")),
    Scenario("group-50-848", "the same with KIP-848", "member", FIGURES, GOALS, _story("consumer")),
)
