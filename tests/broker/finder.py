"""A client of three nodes that finds its coordinators as real ones do, and what a member of a group says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import trio

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.schema import Message, Struct
from tests.broker.conftest import Client, Running

E = ErrorCode
GROUP, TRANSACTION = 0, 1
KINDS = {GROUP: "group", TRANSACTION: "transaction"}
_ASK_AGAIN = (
    E.NOT_COORDINATOR,
    E.COORDINATOR_NOT_AVAILABLE,
    E.COORDINATOR_LOAD_IN_PROGRESS,
    E.CONCURRENT_TRANSACTIONS,
)
OF_TRANSACTIONS = (InitProducerIdRequest, AddPartitionsToTxnRequest, AddOffsetsToTxnRequest, EndTxnRequest)


def codes(message: Any) -> Iterator[ErrorCode]:
    """Every code in an answer."""
    for name in message.__slots__:
        value = getattr(message, name)
        if name.endswith("error_code"):
            yield ErrorCode(value)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Struct):
                yield from codes(each)


class Finder:
    """A client that finds its coordinators, and asks again when they have moved, as clients do."""

    def __init__(self, running: Running, stack: AsyncExitStack) -> None:
        self.running = running
        self._stack = stack
        self._lines: dict[int, Client] = {}
        self._places: dict[tuple[int, str], int] = {}

    async def line(self, node: int) -> Client:
        if node not in self._lines:
            self._lines[node] = await self._stack.enter_async_context(await self.running.client(node=node))
        return self._lines[node]

    async def find(self, kind: int, key: str) -> int | ErrorCode:
        """The node that coordinates, or why nobody does; whichever node is asked."""
        request = FindCoordinatorRequest(key_type=kind, coordinator_keys=[key])
        told = set()
        for node in self.running.broker.cluster.live_nodes:
            (found,) = (await (await self.line(node.id)).ask(request, 4)).coordinators
            told.add(ErrorCode(found.error_code) if found.error_code else found.node_id)
        (answer,) = told
        return answer

    async def ask(self, request: Message, version: int) -> Any:
        """What the right node answers; one that is busy, or not the right one any more, is asked again."""
        with trio.fail_after(60):
            while True:
                node = await self._node(request)
                answer = await (await self.line(node)).ask(request, version)
                told = set(codes(answer))
                if told.isdisjoint(_ASK_AGAIN):
                    return answer
                self._places.clear()

    async def _node(self, request: Any) -> int:
        if isinstance(request, ProduceRequest):
            return self.running.broker.cluster.topics[request.topic_data[0].name].partitions[0].leader
        if isinstance(request, OF_TRANSACTIONS):
            key = getattr(request, "transactional_id", None) or getattr(request, "v3_and_below_transactional_id", "")
            place = TRANSACTION, str(key)
        elif isinstance(request, OffsetFetchRequest):
            place = GROUP, request.groups[0].group_id
        elif isinstance(request, DescribeTransactionsRequest):
            place = TRANSACTION, request.transactional_ids[0]
        else:
            place = GROUP, request.group_id
        if place not in self._places:
            found = await self.find(*place)
            assert not isinstance(found, ErrorCode)
            self._places[place] = found
        return self._places[place]

    def stop(self, node: int) -> None:
        """Take a node down."""
        self.running.broker.failover.stop_node(node)
        self._lines.pop(node, None)
        self._places.clear()

    async def move(self, kind: int, key: str) -> int:
        """Another node coordinates from now on: which."""
        before = await self.find(kind, key)
        assert not isinstance(before, ErrorCode)
        after = before % 3 + 1
        self.running.broker.failover.move_coordinator(KINDS[kind], key, after)
        assert await self.find(kind, key) == after
        return after


# ── what a member says ──────────────────────────────────────────────────────────────────────────────────────────────


def joining(member: str = "", group: str = "g") -> JoinGroupRequest:
    return JoinGroupRequest(
        group_id=group,
        member_id=member,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"m")],
    )


def syncing(member: str, generation: int = 1, given: dict[str, bytes] | None = None) -> SyncGroupRequest:
    return SyncGroupRequest(
        group_id="g",
        member_id=member,
        generation_id=generation,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[
            SyncGroupRequest.SyncGroupRequestAssignment(member_id=to, assignment=share)
            for to, share in (given or {}).items()
        ],
    )


def heartbeat(member: str, generation: int = 1, group: str = "g") -> HeartbeatRequest:
    return HeartbeatRequest(group_id=group, member_id=member, generation_id=generation)


def committing(offset: int, group: str = "g", member: str = "", generation: int = -1) -> OffsetCommitRequest:
    partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    return OffsetCommitRequest(
        group_id=group,
        member_id=member,
        generation_id_or_member_epoch=generation,
        topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name="t", partitions=[partition])],
    )
