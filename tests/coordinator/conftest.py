"""A coordinator in a bottle: a clock that is told to move, a log in a list that can fail or wait, no sockets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pytest

from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.steering import Steering
from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.timers import Timers
from ottla.log.clock import ManualClock
from ottla.log.door import Appended, Done, Outcome, Pending
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest

PARTITIONS = 5
RANGE = (("range", b"\x00\x01\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00"),)


class Context:
    """Who asks."""

    def __init__(self, client_id: str | None = "client", client_host: str = "/127.0.0.1") -> None:
        self.client_id = client_id
        self.client_host = client_host


class Topics:
    """Topics by name: (id, partitions)."""

    def __init__(self) -> None:
        self.known = {"t": (b"t" * 16, 10), "u": (b"u" * 16, 3)}

    @property
    def version(self) -> int:
        return hash(frozenset(self.known.items()))

    def names(self) -> list[str]:
        return list(self.known)

    def name_of(self, topic_id: bytes) -> str | None:
        return next((name for name, (known, _) in self.known.items() if known == topic_id), None)

    def id_of(self, name: str) -> bytes | None:
        return self.known[name][0] if name in self.known else None

    def partition_count(self, name: str) -> int | None:
        return self.known[name][1] if name in self.known else None


class Told:
    """Events as (event, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    warning = info

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


class Entry(NamedTuple):
    """A record as it was appended."""

    partition: int
    key: bytes
    value: bytes | None
    producer: ProducerIdentity | None


class Marker(NamedTuple):
    """The end of a transaction, as it was appended."""

    partition: int
    producer: ProducerIdentity
    commit: bool


class World:
    """A coordinator, its log, its clock, and short ways to ask it. Answers come as they are: perhaps `Pending`.

    `coordinator` is of the node that leads all partitions; `away` is another node's, to which they can move.
    """

    def __init__(self, **config: int) -> None:
        self.clock = ManualClock()
        self.ids = Ids(seed=7)
        self.config = GroupConfig(**config)
        self.topics = Topics()
        self.told = Told()
        self.journal: list[Entry | Marker] = []  # all that was appended, in order
        self.batches: list[int] = []  # records of each append
        self.fail: KafkaError | None = None
        self.admitted: ErrorCode | Pending[ErrorCode] = ErrorCode.NONE  # what is said of transactional commits
        self.admissions = 0
        self.hold = False
        self.held: list[Pending[Appended]] = []
        self.context = Context()
        self._build()
        self.coordinator.loaded()

    def _build(self) -> None:
        self.timers = Timers(self.clock)
        self.steering = Steering()
        self.coordinator = self._node()
        self.away: GroupCoordinator | None = None

    def _node(self, led: Collection[int] | None = None) -> GroupCoordinator:
        def append(*arguments: Any) -> Outcome[Appended]:
            assert self.coordinator is made, "a zombie coordinator wrote"
            return self._append(*arguments)

        made = GroupCoordinator(
            clock=self.clock,
            ids=self.ids,
            timers=self.timers,
            config=self.config,
            partitions=PARTITIONS,
            append=append,
            topics=self.topics,
            led=led,
            events=self.told,
            steering=self.steering,
        )
        return made

    def _append(
        self, partition: int, records: list[tuple[bytes, bytes | None]], producer: ProducerIdentity | None = None
    ) -> Outcome[Appended]:
        if self.fail is not None:
            raise self.fail
        offset = len(self.journal)
        self.journal += [Entry(partition, key, value, producer) for key, value in records]
        self.batches.append(len(records))
        appended = Appended(offset, len(self.journal) - 1, -1, 0)
        if self.hold:
            pending: Pending[Appended] = Pending()
            self.held.append(pending)
            return pending
        return Done(appended)

    def _admit(self) -> Any:
        self.admissions += 1
        return self.admitted

    @property
    def log(self) -> list[tuple[int, bytes, bytes | None]]:
        """The records written: (partition, key, value)."""
        return [entry[:3] for entry in self.journal if isinstance(entry, Entry)]

    def end_transaction(self, producer_id: int, commit: bool, *, group: str = "g") -> None:
        """The marker of a producer's transaction, as the transaction coordinator has it written."""
        marker = Marker(self.coordinator.partition_for(group), (producer_id, 0), commit)
        self.journal.append(marker)
        self.coordinator.replay_marker(*marker)

    def release(self, error: Exception | None = None) -> None:
        """Let the appends that wait be durable, or fail."""
        self.hold = False
        held, self.held = self.held, []
        for pending in held:
            if error is None:
                pending.resolve(Appended(0, 0, -1, 0))
            else:
                pending.fail(error)

    def restart(self) -> None:
        """A new coordinator from the log, as after kill -9; the old one is dropped with all who wait."""
        self._build()
        self._replay()
        self.coordinator.loaded()

    def move(self) -> None:
        """The other node leads all partitions from now on."""
        for partition in range(PARTITIONS):
            self.coordinator.resigned(partition)
        if self.away is None:
            self.away = self._node(led=())
            self.away.loaded()
        self.coordinator, self.away = self.away, self.coordinator
        for partition in range(PARTITIONS):
            self.coordinator.elected(partition)
        self._replay()
        for partition in range(PARTITIONS):
            self.coordinator.began(partition)

    def _replay(self) -> None:
        for entry in self.journal:
            if isinstance(entry, Marker):
                self.coordinator.replay_marker(*entry)
            else:
                self.coordinator.replay(*entry)

    def sleep(self, ms: int) -> None:
        """Let time pass; each timer runs when it is due."""
        end_ms = self.clock.mono_ms() + ms
        self.settle()
        while (deadline_ms := self.timers.next_deadline_ms()) is not None and deadline_ms <= end_ms:
            self.clock.advance(max(deadline_ms - self.clock.mono_ms(), 0))
            self.timers.run_due()
        self.clock.advance(end_ms - self.clock.mono_ms())

    def settle(self) -> None:
        """Run what is due now."""
        while self.timers.run_due():
            pass

    def state(self, group_id: str = "g") -> str:
        group = self.coordinator.group(group_id)
        return "none" if group is None else group.state_name

    def lasting(self) -> dict[str, Any]:
        """All lasting state, to be compared with what a replay gives."""
        groups: dict[str, Any] = {}
        for group in self.coordinator.all_groups():
            if isinstance(group, ConsumerGroup):
                soft = ("timers", "topics_version")
                groups[group.group_id] = {name: getattr(group, name) for name in group.__slots__ if name not in soft}
            else:
                groups[group.group_id] = group.saved
        offsets = {
            group_id: {topic: dict(partitions) for topic, partitions in shard.offsets.of_group(group_id).items()}
            for shard in self.coordinator._shards()
            for group_id in shard.offsets
        }
        pending = {
            group_id: {place: dict(writers) for place, writers in shard.offsets.pending_of(group_id).items()}
            for shard in self.coordinator._shards()
            for group_id in shard.groups
            if shard.offsets.pending_of(group_id)
        }
        return {"groups": groups, "offsets": offsets, "pending": pending}

    def replayed(self) -> World:
        """Another world that only knows this one's log."""
        other = type(self)()
        other.topics.known = dict(self.topics.known)
        other.journal = list(self.journal)
        other.config = self.config
        other.clock.advance(self.clock.mono_ms())
        other.restart()
        return other

    # -- requests -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, request: Any, version: int, context: Context | None = None) -> Any:
        """Ask, with request and answer as they would come over the wire at that version."""
        request = type(request).decode(request.encode(version), version)
        rest = (self._admit,) if name == "commit_transactional_offsets" else ()
        answer = getattr(self.coordinator, name)(context or self.context, request, version, *rest)
        if isinstance(answer, Pending):
            answer.then(lambda done: done.result().encode(version))
        else:
            answer.encode(version)
        return answer

    def join(
        self,
        member_id: str = "",
        *,
        group: str = "g",
        instance: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = RANGE,
        protocol_type: str = "consumer",
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        version: int = 9,
        client_id: str = "client",
    ) -> Any:
        request = JoinGroupRequest(
            group_id=group,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in protocols
            ],
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
        )
        return self.ask("join_group", request, version, Context(client_id))

    def new_member(self, **options: Any) -> tuple[str, Any]:
        """Both steps of KIP-394: (the new id, the answer to the second join)."""
        member_id = self.join(**options).member_id
        return member_id, self.join(member_id, **options)

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = "g",
        instance: str | None = None,
        protocol_type: str | None = "consumer",
        protocol_name: str | None = "range",
        version: int = 5,
    ) -> Any:
        request = SyncGroupRequest(
            group_id=group,
            member_id=member_id,
            generation_id=generation,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=to, assignment=assignment)
                for to, assignment in (assignments or {}).items()
            ],
        )
        return self.ask("sync_group", request, version)

    def heartbeat(self, member_id: str, generation: int, *, group: str = "g", instance: str | None = None) -> int:
        request = HeartbeatRequest(
            group_id=group, member_id=member_id, generation_id=generation, group_instance_id=instance
        )
        code: int = self.ask("heartbeat", request, 4).error_code
        return code

    def leave(self, *members: str | tuple[str, str | None], group: str = "g", version: int = 5) -> Any:
        if version < 3:
            (member_id,) = members
            return self.ask("leave_group", LeaveGroupRequest(group_id=group, member_id=member_id), version)
        pairs = [(member, None) if isinstance(member, str) else member for member in members]
        request = LeaveGroupRequest(
            group_id=group,
            members=[
                LeaveGroupRequest.MemberIdentity(member_id=member_id, group_instance_id=instance)
                for member_id, instance in pairs
            ],
        )
        return self.ask("leave_group", request, version)

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        member_id: str = "",
        generation: int = -1,
        *,
        group: str = "g",
        instance: str | None = None,
        metadata: str | None = "",
        retention_ms: int = -1,
        version: int = 9,
    ) -> Any:
        by_topic: dict[str, list[OffsetCommitRequest.OffsetCommitRequestPartition]] = {}
        for (topic, partition), offset in offsets.items():
            by_topic.setdefault(topic, []).append(
                OffsetCommitRequest.OffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offset, committed_metadata=metadata
                )
            )
        request = OffsetCommitRequest(
            group_id=group,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=[
                OffsetCommitRequest.OffsetCommitRequestTopic(
                    name=topic if version < 10 else "",
                    topic_id=(self.topics.id_of(topic) or b"?" * 16) if version >= 10 else bytes(16),
                    partitions=partitions,
                )
                for topic, partitions in by_topic.items()
            ],
        )
        return self.ask("commit_offsets", request, version)

    def commit_code(self, member_id: str = "", generation: int = -1, **options: Any) -> int:
        """The code for one partition."""
        answer = self.commit({("t", 0): 1}, member_id, generation, **options)
        code: int = answer.topics[0].partitions[0].error_code
        return code

    def txn_commit(
        self,
        offsets: dict[tuple[str, int], int],
        producer_id: int = 1,
        member_id: str = "",
        generation: int = -1,
        *,
        group: str = "g",
        instance: str | None = None,
        metadata: str | None = "",
        version: int = 5,
    ) -> Any:
        by_topic: dict[str, list[TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition]] = {}
        for (topic, partition), offset in offsets.items():
            by_topic.setdefault(topic, []).append(
                TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offset, committed_metadata=metadata
                )
            )
        request = TxnOffsetCommitRequest(
            transactional_id="tx",
            group_id=group,
            producer_id=producer_id,
            producer_epoch=0,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance,
            topics=[
                TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(
                    name=topic if version < 6 else "",
                    topic_id=(self.topics.id_of(topic) or b"?" * 16) if version >= 6 else bytes(16),
                    partitions=partitions,
                )
                for topic, partitions in by_topic.items()
            ],
        )
        return self.ask("commit_transactional_offsets", request, version)

    def txn_code(self, member_id: str = "", generation: int = -1, **options: Any) -> int:
        """The code for one partition."""
        answer = self.txn_commit({("t", 0): 1}, 1, member_id, generation, **options)
        code: int = answer.topics[0].partitions[0].error_code
        return code

    def fetch(self, *topics: tuple[str, list[int]], group: str = "g", version: int = 9, stable: bool = False) -> Any:
        """One group's answer; no topics: all."""
        asked = None
        if topics:
            asked = [
                OffsetFetchRequest.OffsetFetchRequestTopics(
                    name=name if version < 10 else "",
                    topic_id=(self.topics.id_of(name) or b"?" * 16) if version >= 10 else bytes(16),
                    partition_indexes=indexes,
                )
                for name, indexes in topics
            ]
        request = OffsetFetchRequest(
            groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group, topics=asked)], require_stable=stable
        )
        return self.ask("fetch_offsets", request, version).groups[0]

    def committed(self, topic: str = "t", partition: int = 0, group: str = "g") -> int:
        offset: int = self.fetch((topic, [partition]), group=group).topics[0].partitions[0].committed_offset
        return offset

    def delete_offsets(self, *topics: tuple[str, list[int]], group: str = "g") -> Any:
        request = OffsetDeleteRequest(
            group_id=group,
            topics=[
                OffsetDeleteRequest.OffsetDeleteRequestTopic(
                    name=name,
                    partitions=[
                        OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index) for index in indexes
                    ],
                )
                for name, indexes in topics
            ],
        )
        return self.ask("delete_offsets", request, 0)

    def describe(self, *groups: str, version: int = 5) -> Any:
        return self.ask("describe_groups", DescribeGroupsRequest(groups=list(groups or ("g",))), version).groups

    def list(self, states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> set[tuple[str, str]]:
        request = ListGroupsRequest(states_filter=[*states], types_filter=[*types])
        return {(group.group_id, group.group_state) for group in self.ask("list_groups", request, 5).groups}

    def delete(self, *groups: str) -> Any:
        return self.ask("delete_groups", DeleteGroupsRequest(groups_names=[*groups]), 2)

    # -- stories that many tests begin with ---------------------------------------------------------------------------

    def stable_group(self, size: int = 1, **options: Any) -> list[str]:
        """A Stable group of `size` dynamic members, generation 1; the first is the leader. Assignment = member id."""
        members = [self.join(**options).member_id for _ in range(size)]
        joins = [self.join(member_id, **options) for member_id in members]
        self.settle()
        group = options.get("group", "g")
        if size > 1 and not all(answer.settled for answer in joins):
            raise AssertionError("join phase did not end")
        generation = self.coordinator.group(group).generation  # type: ignore[union-attr]
        leader = self.coordinator.group(group).leader_id  # type: ignore[union-attr]
        assignments = {member_id: member_id.encode() for member_id in members}
        self.sync(str(leader), generation, assignments, group=group)
        for member_id in members:
            assert self.sync(member_id, generation, group=group).assignment == member_id.encode()
        return members


def value(answer: Any) -> Any:
    """The response, None while it is waited for."""
    if isinstance(answer, Pending):
        return answer.result() if answer.settled else None
    return answer


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> type[World]:
    return World
