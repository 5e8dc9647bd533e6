"""How fast a group settles: a hundred members join, then one leaves; Ottla beside Apache Kafka, in turns.

    python -m bench.groups [--members 100] [--partitions 200] [--rounds 3] [--protocol classic|consumer] [--json]

Every member is a bare connection of this one process that does what a consumer's library does and nothing else: classic
(JoinGroup, the leader assigns, SyncGroup) or KIP-848 (ConsumerGroupHeartbeat, the broker assigns). `join` is the time
from the first connection until all own their share in one generation or epoch; `leave` from one member's farewell until
the others own everything. Each turn has a fresh broker. Apache Kafka takes part if OTTLA_COMPAT_KAFKA names a folder
with its start.sh and stop.sh (compat_tests/harness.py); nothing else may load the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import trio

from compat_tests import harness
from ottla.wire.apis import API, request_header_version, response_header_version
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.schema import Message
from ottla.wire.state.embedded import ConsumerProtocolAssignment, ConsumerProtocolSubscription

GROUP, TOPIC, STRATEGY = "bench", "bench", "roundrobin"
HEARTBEAT_MS = 500
SESSION_MS = 30_000
DEADLINE_S = 120
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",  # a wait that both would only sleep through
    "group.consumer.min.heartbeat.interval.ms": str(HEARTBEAT_MS),
    "group.consumer.heartbeat.interval.ms": str(HEARTBEAT_MS),
}


class Turn(NamedTuple):
    """One broker's run. CPU covers both steps; the client's is this process's."""

    broker: str
    protocol: str
    join_s: float
    leave_s: float
    broker_cpu_s: float
    client_cpu_s: float


class Connection:
    """One connection: asks and waits for the answer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._correlation_id = 0
        self._buffer = bytearray()

    async def ask(self, request: Message, version: int) -> Any:
        """The decoded response."""
        key = type(request).KEY
        assert key is not None
        self._correlation_id += 1
        head = b"".join(number.to_bytes(2, "big") for number in (key, version))
        head += self._correlation_id.to_bytes(4, "big") + b"\x00\x05bench"
        head += b"\x00" * (request_header_version(key, version) == 2)
        payload = head + request.encode(version)
        await self._stream.send_all(len(payload).to_bytes(4, "big") + payload)
        while True:
            answer = await self._frame()
            if int.from_bytes(answer[:4], "big") == self._correlation_id:  # else of an ask that was cancelled
                return API[key].response.decode(answer, version, 4 + response_header_version(key, version))

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


class Ownership:
    """What each member owns, and the wait for everything being owned once in one generation (or epoch)."""

    def __init__(self, partitions: int) -> None:
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
        del self._held[member]
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


async def classic_member(connection: Connection, number: int, partitions: int, group: Ownership) -> None:
    """Joins, syncs, and stays with heartbeats; joins again whenever told to. Leaves when cancelled."""
    member_id = ""
    try:
        while True:
            joined = await connection.ask(_join(member_id), 9)
            member_id = joined.member_id
            if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                continue
            _require(joined.error_code)
            synced = await connection.ask(_sync(joined, partitions), 5)
            if synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS:
                continue
            _require(synced.error_code)
            assignment = ConsumerProtocolAssignment.decode(synced.assignment[2:], 0)
            owned = frozenset(p for topic in assignment.assigned_partitions for p in topic.partitions)
            group.holds(number, joined.generation_id, owned)
            beat = HeartbeatRequest(group_id=GROUP, generation_id=joined.generation_id, member_id=member_id)
            code = ErrorCode.NONE
            while code != ErrorCode.REBALANCE_IN_PROGRESS:
                _require(code)
                await trio.sleep(HEARTBEAT_MS / 1000)
                code = (await connection.ask(beat, 4)).error_code
    finally:
        with trio.CancelScope(shield=True):
            who = LeaveGroupRequest.MemberIdentity(member_id=member_id)
            await connection.ask(LeaveGroupRequest(group_id=GROUP, members=[who]), 5)
            group.gone(number)


def _join(member_id: str) -> JoinGroupRequest:
    metadata = b"\x00\x00" + ConsumerProtocolSubscription(topics=[TOPIC]).encode(0)
    return JoinGroupRequest(
        group_id=GROUP,
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=60_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name=STRATEGY, metadata=metadata)],
    )


def _sync(joined: JoinGroupResponse, partitions: int) -> SyncGroupRequest:
    """The leader's has the assignments: partitions dealt out like cards."""
    members = [one.member_id for one in joined.members]  # of the leader only: the others are told none
    assignments = []
    for place, member_id in enumerate(members):
        share = ConsumerProtocolAssignment.TopicPartition(
            topic=TOPIC, partitions=list(range(place, partitions, len(members)))
        )
        assignment = b"\x00\x00" + ConsumerProtocolAssignment(assigned_partitions=[share]).encode(0)
        assignments.append(SyncGroupRequest.SyncGroupRequestAssignment(member_id=member_id, assignment=assignment))
    return SyncGroupRequest(
        group_id=GROUP,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name=STRATEGY,
        assignments=assignments,
    )


async def consumer_member(connection: Connection, number: int, partitions: int, group: Ownership) -> None:
    """Joins and stays with heartbeats; owns what it is told to at once, and says so at once. Leaves when cancelled."""
    member_id = str(uuid.uuid4())
    first = ConsumerGroupHeartbeatRequest(
        group_id=GROUP,
        member_id=member_id,
        member_epoch=0,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[TOPIC],
        topic_partitions=[],
    )
    try:
        answer, held = await connection.ask(first, 1), frozenset[int]()
        while True:
            _require(answer.error_code)
            beat = ConsumerGroupHeartbeatRequest(group_id=GROUP, member_id=member_id, member_epoch=answer.member_epoch)
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
            farewell = ConsumerGroupHeartbeatRequest(group_id=GROUP, member_id=member_id, member_epoch=-1)
            await connection.ask(farewell, 1)
            group.gone(number)


def _require(code: int) -> None:
    if code != ErrorCode.NONE:
        raise AssertionError(f"the broker answered {ErrorCode(code).name}")


PROTOCOLS = {"classic": classic_member, "consumer": consumer_member}


async def settle(port: int, protocol: str, members: int, partitions: int) -> tuple[float, float]:
    """(join, leave) in seconds."""
    group = Ownership(partitions)
    scopes: list[trio.CancelScope] = []

    async def live(number: int, scope: trio.CancelScope) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            with scope:
                await PROTOCOLS[protocol](Connection(stream), number, partitions, group)

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        topic = CreateTopicsRequest.CreatableTopic(name=TOPIC, num_partitions=partitions, replication_factor=1)
        created = await Connection(stream).ask(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), 7)
        _require(created.topics[0].error_code)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            began = time.perf_counter()
            for number in range(members):
                scopes.append(trio.CancelScope())
                nursery.start_soon(live, number, scopes[-1])
            await group.settled(members)
            joined = time.perf_counter()
            await trio.sleep(HEARTBEAT_MS / 2000)  # not on the beat at which all have joined
            left = time.perf_counter()
            scopes[-1].cancel()
            await group.settled(members - 1)
            ended = time.perf_counter()
            nursery.cancel_scope.cancel()
    return joined - began, ended - left


def turns(brokers: dict[str, Callable[..., harness.Broker]], args: argparse.Namespace) -> Iterator[Turn]:
    """Each round has every protocol, each protocol every broker, another one first each round."""
    names = list(brokers)
    for turn in range(args.rounds):
        for protocol in [args.protocol] if args.protocol else PROTOCOLS:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                with tempfile.TemporaryDirectory() as folder, brokers[name](Path(folder), settings=SETTINGS) as broker:
                    broker_s, client_s = harness.cpu_seconds(broker.pid), time.process_time()
                    join_s, leave_s = trio.run(settle, broker.port, protocol, args.members, args.partitions)
                    broker_s = harness.cpu_seconds(broker.pid) - broker_s
                    yield Turn(name, protocol, join_s, leave_s, broker_s, time.process_time() - client_s)


def table(results: list[Turn]) -> str:
    """Medians (least to most) of each broker and protocol, in markdown."""
    lines = [
        "| protocol | broker | join s | leave s | broker CPU s | client CPU s |",
        "| --- | --- " + "| ---: " * 4 + "|",
    ]
    for protocol, broker in dict.fromkeys((one.protocol, one.broker) for one in results):
        mine = [one for one in results if (one.protocol, one.broker) == (protocol, broker)]
        figures = (_figure([one[column] for one in mine]) for column in range(2, 6))
        lines.append(f"| {protocol} | {broker} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _figure(values: list[Any]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    """Runs the turns and prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), help="one protocol only")
    parser.add_argument("--json", action="store_true", help="every turn, as JSON")
    args = parser.parse_args()
    brokers: dict[str, Callable[..., harness.Broker]] = {"Ottla": harness.Broker}
    if "OTTLA_COMPAT_KAFKA" in os.environ:
        brokers["Apache Kafka"] = harness.ApacheKafka
    results = list(turns(brokers, args))
    print(json.dumps([one._asdict() for one in results], indent=1) if args.json else table(results))


if __name__ == "__main__":
    main()
