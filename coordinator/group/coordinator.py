"""The group coordinator as the broker sees it: a method a request, `replay` and `loaded` to begin, `shutdown` to end.

It finds what serves a group and hands on; a group whose partition another node leads gets NOT_COORDINATOR, and
COORDINATOR_LOAD_IN_PROGRESS while the partition is replayed.
Authorization comes before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Set
from functools import partial

from ottla.coordinator.group import admin, commits, consumer_admin, offsets
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.config import GroupConfig, GroupConfigs, SameForAll
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.consumer_membership import ConsumerMembership, check_heartbeat, heartbeat_error
from ottla.coordinator.group.membership import (
    BATCHED_LEAVE_FROM,
    NOBODY,
    ClassicMembership,
    check_join,
    check_sync,
    join_error,
    leave_error,
    sync_error,
)
from ottla.coordinator.group.mixed import ClassicMembers
from ottla.coordinator.group.records import commit_tombstone
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.steering import Steering
from ottla.coordinator.ports import Append, Events, NoEvents, ProducerIdentity, RequestContext, TopicLookup
from ottla.coordinator.result import Answer, Result, chain, gather, group_write_error
from ottla.coordinator.state_record import StateRecord
from ottla.coordinator.timers import Repeating, Timers
from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import partition_for_group
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse
from ottla.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from ottla.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from ottla.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from ottla.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from ottla.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from ottla.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from ottla.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest, TxnOffsetCommitResponse

# Tombstones that housekeeping writes in one batch: well below any batch size limit.
_TOMBSTONES_PER_BATCH = 500


class GroupCoordinator:
    """All groups of one node, over `partitions` partitions of `__consumer_offsets`.

    Methods that take a request return the response, or a `Pending` of it that is settled later: a parked Join or Sync,
    or a write whose durability is waited for. None of them raises for what a client may send.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        timers: Timers,
        config: GroupConfig,
        partitions: int,
        append: Append,
        topics: TopicLookup,
        led: Collection[int] | None = None,
        events: Events | None = None,
        configs: GroupConfigs | None = None,
        steering: Steering | None = None,
    ) -> None:
        """`led`: the partitions that are this node's, all by default. `configs`: what operators set for single groups,
        none by default. `steering`: what tests order, shared with the other nodes."""
        self._clock = clock
        self._timers = timers
        self._config = config
        self._topics = topics
        self._events = events if events is not None else NoEvents()
        self._units: list[_Unit | None] = [None] * partitions
        self._loading: dict[int, _Unit] = {}  # of partitions that are being replayed
        self._make_unit = partial(
            _Unit,
            append=append,
            clock=clock,
            ids=ids,
            timers=timers,
            topics=topics,
            config=config,
            configs=configs if configs is not None else SameForAll(config),
            events=self._events,
            steering=steering if steering is not None else Steering(),
        )
        for partition in range(partitions) if led is None else led:
            self.elected(partition)
        self._closed = False
        self._housekeeping: Repeating | None = None
        self._replayed = 0
        self._not_understood = 0

    # -- begin and end ------------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> int:
        """Over how many partitions of `__consumer_offsets` groups are spread, over all nodes."""
        return len(self._units)

    def partition_for(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that holds a group."""
        return partition_for_group(group_id, len(self._units))

    def leads(self, partition: int) -> bool:
        """Whether the groups of a partition are this node's to coordinate, and replayed."""
        return self._units[partition] is not None

    def elected(self, partition: int) -> None:
        """The partition is this node's from now on: what it holds is to be replayed next, then `began`. Until then
        requests get COORDINATOR_LOAD_IN_PROGRESS."""
        self._loading[partition] = self._make_unit(partition)

    def replay(self, partition: int, key: bytes, value: bytes | None, producer: ProducerIdentity | None = None) -> None:
        """Apply a stored record, in log order. Unknown kinds are skipped and counted in `stats`."""
        self._replayed += 1
        unit = self._holder(partition)
        if unit is not None and not unit.shard.replay(key, value, producer):
            self._not_understood += 1

    def replay_marker(self, partition: int, producer: ProducerIdentity, commit: bool) -> None:
        """The transaction of `producer` ended in this partition: its pending offsets count now, or never."""
        unit = self._holder(partition)
        if unit is not None:
            unit.shard.offsets.end_transaction(producer[0], commit)

    def loaded(self) -> None:
        """At start all is replayed: groups go on where they were, sessions and housekeeping start."""
        for partition in tuple(self._loading):
            self.began(partition)
        self._housekeeping = self._timers.repeat(
            self._config.offsets_retention_check_interval_ms, self._expire_offsets, acts=self._something_expires
        )

    def began(self, partition: int) -> None:
        """The partition is replayed: its groups go on where they were, their sessions start anew."""
        unit = self._loading.pop(partition, None)
        if unit is not None:
            self._units[partition] = unit
            unit.memberships.loaded()
            unit.consumers.loaded()
            self._write(unit.shard, _batches(offsets.orphan_records(unit.shard.offsets, self._topics)))
            unit.shard.steering.tell()

    def resigned(self, partition: int) -> None:
        """Another node leads the partition: who waits gets NOT_COORDINATOR, what was never written is forgotten."""
        unit = self._holder(partition)
        if unit is not None:
            self._units[partition] = None
            self._loading.pop(partition, None)
            unit.resign()

    def shutdown(self) -> None:
        """Answer all who wait with NOT_COORDINATOR; every later request gets that too."""
        self._closed = True
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        for unit in (*self._units, *self._loading.values()):
            if unit is not None:
                unit.resign()

    # -- members ------------------------------------------------------------------------------------------------------

    def join_group(self, ctx: RequestContext, request: JoinGroupRequest, version: int) -> Answer[JoinGroupResponse]:
        """JoinGroup (11): parked until the join phase ends."""
        code = check_join(request, self._config)
        if code is not ErrorCode.NONE:
            return join_error(code, request.member_id, version)
        unit = self._unit(request.group_id)
        if unit is None:
            return join_error(self._away(request.group_id), "", version)
        group = unit.shard.consumer(request.group_id)
        if group is not None and group.members:
            return unit.mixed.join(ctx, group, request, version)
        return unit.memberships.join(ctx, request, version)

    def sync_group(self, ctx: RequestContext, request: SyncGroupRequest, version: int) -> Answer[SyncGroupResponse]:
        """SyncGroup (14): parked until the leader's assignment is written."""
        code = check_sync(request, version)
        if code is not ErrorCode.NONE:
            return sync_error(code)
        unit = self._unit(request.group_id)
        if unit is None:
            return sync_error(self._away(request.group_id))
        group = unit.shard.consumer(request.group_id)
        if group is not None:
            return unit.mixed.sync(group, request)
        return unit.memberships.sync(ctx, request)

    def heartbeat(self, ctx: RequestContext, request: HeartbeatRequest, version: int) -> HeartbeatResponse:
        """Heartbeat (12)."""
        if not request.group_id:
            return HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        unit = self._unit(request.group_id)
        if unit is None:
            away = self._away(request.group_id)
            # While the group is read in, Kafka, too, lets the member believe that all is well.
            return HeartbeatResponse(
                error_code=ErrorCode.NONE if away is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS else away
            )
        group = unit.shard.consumer(request.group_id)
        if group is not None:
            return unit.mixed.heartbeat(group, request)
        return unit.memberships.heartbeat(ctx, request, version)

    def leave_group(self, ctx: RequestContext, request: LeaveGroupRequest, version: int) -> Answer[LeaveGroupResponse]:
        """LeaveGroup (13)."""
        if not request.group_id:
            return leave_error(ErrorCode.INVALID_GROUP_ID)
        unit = self._unit(request.group_id)
        if unit is None:
            return leave_error(self._away(request.group_id))
        group = unit.shard.consumer(request.group_id)
        if group is not None:
            return unit.mixed.leave(group, request, version)
        return unit.memberships.leave(ctx, request, version)

    def consumer_group_heartbeat(
        self, ctx: RequestContext, request: ConsumerGroupHeartbeatRequest, version: int
    ) -> Answer[ConsumerGroupHeartbeatResponse]:
        """ConsumerGroupHeartbeat (68): answered once what it changed is written."""
        try:
            check_heartbeat(request, version, self._config.group_consumer_assignors)
        except KafkaError as error:
            return heartbeat_error(error.code, error.message)
        unit = self._unit(request.group_id)
        if unit is None:
            return heartbeat_error(self._away(request.group_id))
        return unit.consumers.heartbeat(ctx, request)

    # -- orders -------------------------------------------------------------------------------------------------------

    def rebalance(self, group_id: str, reason: str) -> None:
        """Let a group with members rebalance: a classic one joins again, one of KIP-848 gets a new epoch. Raises
        KafkaError as `_with_members`.
        """
        unit, group = self._with_members(group_id)
        if isinstance(group, ClassicGroup):
            unit.memberships.rebalance(group, reason)
        else:
            unit.consumers.rebalance(group)

    def fence(self, group_id: str, member_id: str) -> ErrorCode:
        """Make what a member says next outdated. What it will hear: FENCED_MEMBER_EPOCH in a group of KIP-848;
        ILLEGAL_GENERATION there if it speaks the classic protocol; in a classic group FENCED_INSTANCE_ID if it is a
        static member, whose place another process takes, else UNKNOWN_MEMBER_ID: it is out. Raises KafkaError.
        """
        unit, group = self._with_members(group_id)
        if member_id not in group.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"there is no member {member_id} in {group_id}")
        if isinstance(group, ConsumerGroup):
            consumer = group.members[member_id]
            unit.consumers.fence(group, consumer)
            return ErrorCode.ILLEGAL_GENERATION if consumer.classic is not None else ErrorCode.FENCED_MEMBER_EPOCH
        member = group.members[member_id]
        if member.instance_id is not None:
            unit.memberships.replace_instance(group, member)
            return ErrorCode.FENCED_INSTANCE_ID
        self._expel(unit, group, member_id, "fenced")
        return ErrorCode.UNKNOWN_MEMBER_ID

    def kick(self, group_id: str, member_id: str) -> None:
        """Remove a member as an administrator does, its next request gets UNKNOWN_MEMBER_ID. Raises KafkaError."""
        unit, group = self._with_members(group_id)
        self._expel(unit, group, member_id, "kicked")

    def _expel(self, unit: _Unit, group: ClassicGroup | ConsumerGroup, member_id: str, reason: str) -> None:
        identity = LeaveGroupRequest.MemberIdentity(member_id=member_id, reason=reason)
        leaving = LeaveGroupRequest(group_id=group.group_id, members=[identity])
        version = BATCHED_LEAVE_FROM
        if isinstance(group, ConsumerGroup):
            answer = unit.mixed.leave(group, leaving, version)
        else:
            answer = unit.memberships.leave(NOBODY, leaving, version)
        if not isinstance(answer, LeaveGroupResponse):  # it waits for the disk: that it is out is decided
            return
        code = answer.error_code or answer.members[0].error_code
        if code:
            raise KafkaError(ErrorCode(code), f"{member_id} is no member of {group.group_id} that could go")

    def _with_members(self, group_id: str) -> tuple[_Unit, ClassicGroup | ConsumerGroup]:
        """Raises KafkaError NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS; GROUP_ID_NOT_FOUND also without members."""
        unit = self._unit(group_id)
        if unit is None:
            raise KafkaError(self._away(group_id))
        group = unit.shard.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group_id}")
        if not group.members:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"the group {group_id} has no members")
        return unit, group

    # -- offsets ------------------------------------------------------------------------------------------------------

    def commit_offsets(
        self, ctx: RequestContext, request: OffsetCommitRequest, version: int
    ) -> Answer[OffsetCommitResponse]:
        """OffsetCommit (8): answered once it is written. Whether topics exist is checked here, rights are not."""
        unit = self._unit(request.group_id)
        group = unit.shard.groups.get(request.group_id) if unit is not None else None
        result = commits.decide_commit(
            group,
            request,
            version,
            refusal=ErrorCode.NONE if unit is not None else self._away(request.group_id),
            topics=self._topics,
            config=self._config,
            now_ms=self._clock.wall_ms(),
        )
        if unit is None:
            return result.answer
        if isinstance(group, ClassicGroup) and result.records:
            unit.memberships.keep_alive(group, request.member_id)
        return unit.shard.run(result)

    def commit_transactional_offsets(
        self,
        ctx: RequestContext,
        request: TxnOffsetCommitRequest,
        version: int,
        admit: Callable[[], Answer[ErrorCode]],
    ) -> Answer[TxnOffsetCommitResponse]:
        """TxnOffsetCommit (28): pending from when it is written until `replay_marker`.

        `admit` is called once if there is something to commit: NONE if the group's partition is part of the producer's
        transaction, else what is wrong.
        """
        if not request.group_id:
            return self._commit_transactional(request, version, ErrorCode.INVALID_GROUP_ID)
        if self._unit(request.group_id) is None or not commits.names_something(request, version, self._topics):
            return self._commit_transactional(request, version, ErrorCode.NONE)
        return chain(admit(), lambda code: self._commit_transactional(request, version, code))

    def _commit_transactional(
        self, request: TxnOffsetCommitRequest, version: int, refusal: ErrorCode
    ) -> Answer[TxnOffsetCommitResponse]:
        unit = self._unit(request.group_id)  # anew: it may have moved while the transaction's coordinator was asked
        if unit is None and refusal is ErrorCode.NONE:
            refusal = self._away(request.group_id)
        result = commits.decide_transactional_commit(
            unit.shard.groups.get(request.group_id) if unit is not None else None,
            request,
            version,
            refusal=refusal,
            topics=self._topics,
            config=self._config,
            now_ms=self._clock.wall_ms(),
        )
        return unit.shard.run(result) if unit is not None else result.answer

    def fetch_offsets(self, ctx: RequestContext, request: OffsetFetchRequest, version: int) -> OffsetFetchResponse:
        """OffsetFetch (9), of one group or several."""
        if version < offsets.GROUPS_FROM:
            single = offsets.single_group_request(request)
            answer = self._fetch_group(single, version, request.require_stable)
            return offsets.single_group_response(single, answer, version)
        return OffsetFetchResponse(
            groups=[
                self._fetch_group(asked, version, request.require_stable) for asked in offsets.each_once(request.groups)
            ]
        )

    def delete_offsets(
        self, ctx: RequestContext, request: OffsetDeleteRequest, version: int
    ) -> Answer[OffsetDeleteResponse]:
        """OffsetDelete (47)."""
        if not request.group_id:
            return OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        unit = self._unit(request.group_id)
        if unit is None:
            return OffsetDeleteResponse(error_code=self._away(request.group_id))
        shard = unit.shard
        group = shard.groups.get(request.group_id)
        return shard.run(offsets.decide_delete(shard.offsets, group, request, self._topics))

    def on_topics_deleted(self, names: Set[str]) -> None:
        """Forget every group's offsets of these topics."""
        for shard in self._shards():
            self._write(shard, _batches([commit_tombstone(*place) for place in shard.offsets.places_on(names)]))

    # -- groups -------------------------------------------------------------------------------------------------------

    def describe_groups(
        self, ctx: RequestContext, request: DescribeGroupsRequest, version: int
    ) -> DescribeGroupsResponse:
        """DescribeGroups (15), each group once; authorized operations are for the caller to fill in."""
        described = []
        for group_id in dict.fromkeys(request.groups):
            unit = self._unit(group_id)
            if unit is None:
                described.append(
                    DescribeGroupsResponse.DescribedGroup(group_id=group_id, error_code=self._away(group_id))
                )
            else:
                described.append(admin.describe(group_id, unit.shard.classic(group_id), version))
        return DescribeGroupsResponse(groups=described)

    def consumer_group_describe(
        self, ctx: RequestContext, request: ConsumerGroupDescribeRequest, version: int
    ) -> ConsumerGroupDescribeResponse:
        """ConsumerGroupDescribe (69); authorized operations are for the caller to fill in."""
        described = []
        for group_id in dict.fromkeys(request.group_ids):
            unit = self._unit(group_id)
            if not group_id:
                described.append(consumer_admin.refused(group_id, ErrorCode.INVALID_GROUP_ID))
            elif unit is None:
                described.append(consumer_admin.refused(group_id, self._away(group_id)))
            else:
                group = unit.shard.consumer(group_id)
                assignors = self._config.group_consumer_assignors
                described.append(consumer_admin.describe(group_id, group, assignors, self._topics))
        return ConsumerGroupDescribeResponse(groups=described)

    def list_groups(self, ctx: RequestContext, request: ListGroupsRequest, version: int) -> ListGroupsResponse:
        """ListGroups (16): all groups; which of them may be seen is for the caller to say."""
        if self._closed:
            return ListGroupsResponse(error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE)
        if self._loading:
            return ListGroupsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        states = {state.lower() for state in request.states_filter}
        types = {kind.lower() for kind in request.types_filter}
        return ListGroupsResponse(groups=admin.listed(self.all_groups(), states, types))

    def delete_groups(
        self, ctx: RequestContext, request: DeleteGroupsRequest, version: int
    ) -> Answer[DeleteGroupsResponse]:
        """DeleteGroups (42): empty groups, with their offsets."""
        answers = [self._delete_group(group_id) for group_id in dict.fromkeys(request.groups_names)]
        return gather(answers, lambda results: DeleteGroupsResponse(results=results))

    # -- for the broker's eyes ----------------------------------------------------------------------------------------

    def group(self, group_id: str) -> ClassicGroup | ConsumerGroup | None:
        """A group as it is now; not to be changed by the caller."""
        unit = self._units[self.partition_for(group_id)]
        return unit.shard.groups.get(group_id) if unit is not None else None

    def all_groups(self) -> Iterator[ClassicGroup | ConsumerGroup]:
        """All groups of this node; not to be changed by the caller."""
        for shard in self._shards():
            yield from shard.groups.values()

    @property
    def stats(self) -> dict[str, int]:
        """Counts: groups (in all and by state), members, offsets, records replayed and records skipped."""
        states = Counter(group.state_name for group in self.all_groups())
        return {
            "groups": sum(states.values()),
            **{f"groups_{state}": count for state, count in sorted(states.items())},
            "members": sum(len(group.members) for group in self.all_groups()),
            "offsets": sum(len(shard.offsets) for shard in self._shards()),
            "offsets_pending": sum(shard.offsets.pending_count for shard in self._shards()),
            "records_replayed": self._replayed,
            "records_not_understood": self._not_understood,
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _unit(self, group_id: str) -> _Unit | None:
        """What serves the group; None if this node does not coordinate it, which `_away` explains."""
        return None if self._closed else self._units[partition_for_group(group_id, len(self._units))]

    def _away(self, group_id: str) -> ErrorCode:
        """Why nothing here serves the group."""
        loading = not self._closed and self.partition_for(group_id) in self._loading
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if loading else ErrorCode.NOT_COORDINATOR

    def _holder(self, partition: int) -> _Unit | None:
        """What the partition's records go to, whether they are all there or not."""
        return self._loading.get(partition) or self._units[partition]

    def _shards(self) -> Iterator[GroupShard]:
        return (unit.shard for unit in self._units if unit is not None)

    def _fetch_group(
        self, asked: OffsetFetchRequest.OffsetFetchRequestGroup, version: int, require_stable: bool
    ) -> OffsetFetchResponse.OffsetFetchResponseGroup:
        unit = self._unit(asked.group_id)
        if unit is None:
            return offsets.fetch_refused(asked, self._away(asked.group_id))
        group = unit.shard.groups.get(asked.group_id)
        return offsets.fetch_group(
            unit.shard.offsets, group, asked, version, self._topics, require_stable=require_stable
        )

    def _delete_group(self, group_id: str) -> Answer[DeleteGroupsResponse.DeletableGroupResult]:
        unit = self._unit(group_id)
        if unit is None:
            return admin.deleted(group_id, self._away(group_id))
        shard = unit.shard
        group = shard.groups.get(group_id)
        code = admin.check_delete(group)
        if group is None or code is not ErrorCode.NONE:
            return admin.deleted(group_id, code)
        *early, last = _batches(offsets.delete_group_records(shard.offsets, group))
        code = self._write(shard, early)
        if code is not ErrorCode.NONE:
            return admin.deleted(group_id, group_write_error(code))
        return shard.run(
            Result(
                admin.deleted(group_id, ErrorCode.NONE),
                last,
                refused=lambda code: admin.deleted(group_id, group_write_error(code)),
            )
        )

    def _write(self, shard: GroupShard, batches: list[list[StateRecord]]) -> ErrorCode:
        """Write records that nobody waits for, up to the first batch that cannot be written."""
        failure = ErrorCode.NONE

        def settled(code: ErrorCode) -> None:
            nonlocal failure
            failure = code

        for batch in batches:
            shard.run(Result(None, batch, settled=settled))
            if failure is not ErrorCode.NONE:
                break
        return failure

    def _expire_offsets(self) -> None:
        now_ms = self._clock.wall_ms()
        for shard in self._shards():
            self._write(shard, _batches(self._expired(shard, now_ms)))

    def _something_expires(self, ahead_ms: int) -> bool:
        now_ms = self._clock.wall_ms() + ahead_ms
        return any(self._expired(shard, now_ms) for shard in self._shards())

    def _expired(self, shard: GroupShard, now_ms: int) -> list[StateRecord]:
        records: list[StateRecord] = []
        for group in shard.groups.values():
            records += offsets.expired_records(shard.offsets, group, self._config, now_ms)
        return records


class _Unit:
    """One partition of `__consumer_offsets` that this node leads: its state, and what acts on it."""

    __slots__ = ("consumers", "memberships", "mixed", "shard")

    def __init__(
        self,
        partition: int,
        *,
        append: Append,
        clock: Clock,
        ids: Ids,
        timers: Timers,
        topics: TopicLookup,
        config: GroupConfig,
        configs: GroupConfigs,
        events: Events,
        steering: Steering,
    ) -> None:
        self.shard = GroupShard(partition, append=append, clock=clock, events=events, steering=steering)
        self.memberships = ClassicMembership(
            self.shard, clock=clock, ids=ids, timers=timers, config=config, events=events
        )
        self.consumers = ConsumerMembership(
            self.shard,
            self.memberships,
            clock=clock,
            ids=ids,
            timers=timers,
            topics=topics,
            config=config,
            configs=configs,
            events=events,
        )
        self.mixed = ClassicMembers(self.consumers, clock=clock, ids=ids, topics=topics, config=config)

    def resign(self) -> None:
        """Answer all who wait with NOT_COORDINATOR, and write nothing any more."""
        self.shard.resigned = True
        self.memberships.shutdown()
        self.consumers.shutdown()


def _batches(records: list[StateRecord]) -> list[list[StateRecord]]:
    return [records[start : start + _TOMBSTONES_PER_BATCH] for start in range(0, len(records), _TOMBSTONES_PER_BATCH)]
