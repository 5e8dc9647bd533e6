"""The group coordinator as the broker sees it: a method a request, `replay` and `loaded` to begin, `shutdown` to end.

It finds the shard of a group and hands on. Authorization, and whether this node coordinates the group, come before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ottla.coordinator.group import admin, commits, consumer_admin, offsets
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.config import GroupConfig, GroupConfigs, SameForAll
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.consumer_membership import ConsumerMembership, heartbeat_error
from ottla.coordinator.group.membership import ClassicMembership, join_error, leave_error, sync_error
from ottla.coordinator.group.mixed import ClassicMembers
from ottla.coordinator.group.records import commit_tombstone
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.ports import Append, Events, NoEvents, ProducerIdentity, RequestContext, TopicLookup
from ottla.coordinator.result import Answer, Result, chain, gather, group_write_error
from ottla.coordinator.state_record import StateRecord
from ottla.coordinator.timers import TimerHandle, Timers
from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode
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
        events: Events | None = None,
        configs: GroupConfigs | None = None,
    ) -> None:
        """`configs`: what operators set for single groups; none by default."""
        self._clock = clock
        self._timers = timers
        self._config = config
        self._topics = topics
        self._events = events if events is not None else NoEvents()
        self._shards: list[GroupShard] = []
        self._memberships: list[ClassicMembership] = []
        self._consumers: list[ConsumerMembership] = []
        self._mixed: list[ClassicMembers] = []
        configs = configs if configs is not None else SameForAll(config)
        for partition in range(partitions):
            shard = GroupShard(partition, append=append, clock=clock, events=self._events)
            membership = ClassicMembership(
                shard, clock=clock, ids=ids, timers=timers, config=config, events=self._events
            )
            self._shards.append(shard)
            self._memberships.append(membership)
            consumers = ConsumerMembership(
                shard,
                membership,
                clock=clock,
                ids=ids,
                timers=timers,
                topics=topics,
                config=config,
                configs=configs,
                events=self._events,
            )
            self._consumers.append(consumers)
            self._mixed.append(ClassicMembers(consumers, clock=clock, ids=ids, topics=topics, config=config))
        self._closed = False
        self._housekeeping: TimerHandle | None = None
        self._replayed = 0
        self._not_understood = 0

    # -- begin and end ------------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> int:
        """Over how many partitions of `__consumer_offsets` groups are spread."""
        return len(self._shards)

    def partition_for(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that holds a group."""
        return partition_for_group(group_id, len(self._shards))

    def replay(self, partition: int, key: bytes, value: bytes | None, producer: ProducerIdentity | None = None) -> None:
        """Apply a stored record at start-up, in log order. Unknown kinds are skipped and counted in `stats`."""
        self._replayed += 1
        if not self._shards[partition].replay(key, value, producer):
            self._not_understood += 1

    def replay_marker(self, partition: int, producer: ProducerIdentity, commit: bool) -> None:
        """The transaction of `producer` ended in this partition: its pending offsets count now, or never."""
        self._shards[partition].offsets.end_transaction(producer[0], commit)

    def loaded(self) -> None:
        """All is replayed: groups go on where they were, sessions and housekeeping start."""
        for membership in self._memberships:
            membership.loaded()
        for consumers in self._consumers:
            consumers.loaded()
        self._schedule_housekeeping()

    def shutdown(self) -> None:
        """Answer all who wait with NOT_COORDINATOR; every later request gets that too."""
        self._closed = True
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        for membership in self._memberships:
            membership.shutdown()
        for consumers in self._consumers:
            consumers.shutdown()

    # -- members ------------------------------------------------------------------------------------------------------

    def join_group(self, ctx: RequestContext, request: JoinGroupRequest, version: int) -> Answer[JoinGroupResponse]:
        """JoinGroup (11): parked until the join phase ends."""
        if self._closed:
            return join_error(ErrorCode.NOT_COORDINATOR, request.member_id, version)
        index = self.partition_for(request.group_id)
        group = self._shards[index].consumer(request.group_id)
        if group is not None and group.members:
            return self._mixed[index].join(ctx, group, request, version)
        return self._memberships[index].join(ctx, request, version)

    def sync_group(self, ctx: RequestContext, request: SyncGroupRequest, version: int) -> Answer[SyncGroupResponse]:
        """SyncGroup (14): parked until the leader's assignment is written."""
        if self._closed:
            return sync_error(ErrorCode.NOT_COORDINATOR)
        index = self.partition_for(request.group_id)
        group = self._shards[index].consumer(request.group_id)
        if group is not None:
            return self._mixed[index].sync(group, request, version)
        return self._memberships[index].sync(ctx, request, version)

    def heartbeat(self, ctx: RequestContext, request: HeartbeatRequest, version: int) -> HeartbeatResponse:
        """Heartbeat (12)."""
        if self._closed:
            return HeartbeatResponse(error_code=ErrorCode.NOT_COORDINATOR)
        index = self.partition_for(request.group_id)
        group = self._shards[index].consumer(request.group_id)
        if group is not None:
            return self._mixed[index].heartbeat(group, request)
        return self._memberships[index].heartbeat(ctx, request, version)

    def leave_group(self, ctx: RequestContext, request: LeaveGroupRequest, version: int) -> Answer[LeaveGroupResponse]:
        """LeaveGroup (13)."""
        if self._closed:
            return leave_error(ErrorCode.NOT_COORDINATOR)
        index = self.partition_for(request.group_id)
        group = self._shards[index].consumer(request.group_id)
        if group is not None:
            return self._mixed[index].leave(group, request, version)
        return self._memberships[index].leave(ctx, request, version)

    def consumer_group_heartbeat(
        self, ctx: RequestContext, request: ConsumerGroupHeartbeatRequest, version: int
    ) -> Answer[ConsumerGroupHeartbeatResponse]:
        """ConsumerGroupHeartbeat (68): answered once what it changed is written."""
        if self._closed:
            return heartbeat_error(ErrorCode.NOT_COORDINATOR)
        return self._consumers[self.partition_for(request.group_id)].heartbeat(ctx, request, version)

    # -- offsets ------------------------------------------------------------------------------------------------------

    def commit_offsets(
        self, ctx: RequestContext, request: OffsetCommitRequest, version: int
    ) -> Answer[OffsetCommitResponse]:
        """OffsetCommit (8): answered once it is written. Whether topics exist is checked here, rights are not."""
        if self._closed:
            return commits.commit_refused(request, ErrorCode.NOT_COORDINATOR)
        index = self.partition_for(request.group_id)
        shard = self._shards[index]
        group = shard.groups.get(request.group_id)
        result = commits.decide_commit(
            group, request, version, topics=self._topics, config=self._config, now_ms=self._clock.wall_ms()
        )
        if isinstance(group, ClassicGroup) and result.records:
            self._memberships[index].keep_alive(group, request.member_id)
        return shard.run(result)

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
        if self._closed:
            return commits.transactional_commit_refused(request, ErrorCode.NOT_COORDINATOR)
        if not request.group_id:
            return self._commit_transactional(request, version, ErrorCode.INVALID_GROUP_ID)
        if not commits.names_something(request, version, self._topics):
            return self._commit_transactional(request, version, ErrorCode.NONE)
        return chain(
            admit(),
            lambda code: self._commit_transactional(
                request, version, ErrorCode.NOT_COORDINATOR if self._closed else code
            ),
        )

    def _commit_transactional(
        self, request: TxnOffsetCommitRequest, version: int, refusal: ErrorCode
    ) -> Answer[TxnOffsetCommitResponse]:
        shard = self._shard(request.group_id)
        return shard.run(
            commits.decide_transactional_commit(
                shard.groups.get(request.group_id),
                request,
                version,
                refusal=refusal,
                topics=self._topics,
                config=self._config,
                now_ms=self._clock.wall_ms(),
            )
        )

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
        if self._closed:
            return OffsetDeleteResponse(error_code=ErrorCode.NOT_COORDINATOR)
        if not request.group_id:
            return OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID)
        shard = self._shard(request.group_id)
        group = shard.groups.get(request.group_id)
        return shard.run(offsets.decide_delete(shard.offsets, group, request, self._topics))

    def on_topic_deleted(self, name: str) -> None:
        """Forget every group's offsets of a topic."""
        for shard in self._shards:
            records = [
                commit_tombstone(group_id, name, partition) for group_id, partition in shard.offsets.places_on(name)
            ]
            self._write(shard, _batches(records))

    # -- groups -------------------------------------------------------------------------------------------------------

    def describe_groups(
        self, ctx: RequestContext, request: DescribeGroupsRequest, version: int
    ) -> DescribeGroupsResponse:
        """DescribeGroups (15), each group once; authorized operations are for the caller to fill in."""
        described = []
        for group_id in dict.fromkeys(request.groups):
            if self._closed:
                described.append(
                    DescribeGroupsResponse.DescribedGroup(group_id=group_id, error_code=ErrorCode.NOT_COORDINATOR)
                )
            else:
                described.append(admin.describe(group_id, self._shard(group_id).classic(group_id), version))
        return DescribeGroupsResponse(groups=described)

    def consumer_group_describe(
        self, ctx: RequestContext, request: ConsumerGroupDescribeRequest, version: int
    ) -> ConsumerGroupDescribeResponse:
        """ConsumerGroupDescribe (69); authorized operations are for the caller to fill in."""
        described = []
        for group_id in dict.fromkeys(request.group_ids):
            if self._closed:
                described.append(consumer_admin.refused(group_id, ErrorCode.NOT_COORDINATOR))
            elif not group_id:
                described.append(consumer_admin.refused(group_id, ErrorCode.INVALID_GROUP_ID))
            else:
                group = self._shard(group_id).consumer(group_id)
                assignors = self._config.group_consumer_assignors
                described.append(consumer_admin.describe(group_id, group, assignors, self._topics))
        return ConsumerGroupDescribeResponse(groups=described)

    def list_groups(self, ctx: RequestContext, request: ListGroupsRequest, version: int) -> ListGroupsResponse:
        """ListGroups (16): all groups; which of them may be seen is for the caller to say."""
        if self._closed:
            return ListGroupsResponse(error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE)
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
        return self._shard(group_id).groups.get(group_id)

    def all_groups(self) -> Iterator[ClassicGroup | ConsumerGroup]:
        """All groups of all partitions; not to be changed by the caller."""
        for shard in self._shards:
            yield from shard.groups.values()

    @property
    def stats(self) -> dict[str, int]:
        """Counts: groups (in all and by state), members, offsets, records replayed and records skipped."""
        states = Counter(group.state_name for group in self.all_groups())
        return {
            "groups": sum(states.values()),
            **{f"groups_{state}": count for state, count in sorted(states.items())},
            "members": sum(len(group.members) for group in self.all_groups()),
            "offsets": sum(len(shard.offsets) for shard in self._shards),
            "offsets_pending": sum(shard.offsets.pending_count for shard in self._shards),
            "records_replayed": self._replayed,
            "records_not_understood": self._not_understood,
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _shard(self, group_id: str) -> GroupShard:
        return self._shards[self.partition_for(group_id)]

    def _fetch_group(
        self, asked: OffsetFetchRequest.OffsetFetchRequestGroup, version: int, require_stable: bool
    ) -> OffsetFetchResponse.OffsetFetchResponseGroup:
        if self._closed:
            return offsets.fetch_refused(asked, ErrorCode.NOT_COORDINATOR)
        shard = self._shard(asked.group_id)
        group = shard.groups.get(asked.group_id)
        return offsets.fetch_group(shard.offsets, group, asked, version, self._topics, require_stable=require_stable)

    def _delete_group(self, group_id: str) -> Answer[DeleteGroupsResponse.DeletableGroupResult]:
        shard = self._shard(group_id)
        group = shard.groups.get(group_id)
        code = ErrorCode.NOT_COORDINATOR if self._closed else admin.check_delete(group)
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

    def _schedule_housekeeping(self) -> None:
        self._housekeeping = self._timers.schedule(
            self._config.offsets_retention_check_interval_ms, self._expire_offsets
        )

    def _expire_offsets(self) -> None:
        now_ms = self._clock.wall_ms()
        for shard in self._shards:
            records: list[StateRecord] = []
            for group in shard.groups.values():
                records += offsets.expired_records(shard.offsets, group, self._config, now_ms)
            self._write(shard, _batches(records))
        self._schedule_housekeeping()


def _batches(records: list[StateRecord]) -> list[list[StateRecord]]:
    return [records[start : start + _TOMBSTONES_PER_BATCH] for start in range(0, len(records), _TOMBSTONES_PER_BATCH)]
