"""Who is in a classic group: join, sync, heartbeat, leave, and the timers that act for members that went silent.

Each operation decides, has its records written (`Shard.run`), and only then answers. Answers are collected and given at
the end of the operation: who gets one may at once ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from ottla.coordinator.group.classic import (
    HEARTBEAT_ANSWERS,
    ClassicGroup,
    GroupState,
    Member,
    Protocols,
    Trigger,
)
from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.consumer import CONSUMER_TYPE
from ottla.coordinator.group.consumer_records import consumer_group_tombstones
from ottla.coordinator.group.pins import Who, pinned_bytes
from ottla.coordinator.group.records import empty_group_record, group_record
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.steering import Pin
from ottla.coordinator.ports import Events, RequestContext
from ottla.coordinator.result import Answer, Result, group_write_error, unpark
from ottla.coordinator.state_record import StateRecord
from ottla.coordinator.timers import Deadline, Timers
from ottla.log.clock import Clock
from ottla.log.door import Pending
from ottla.log.ids import Ids, uuid_hex
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

T = TypeVar("T")

MEMBER_ID_REQUIRED_FROM = 4  # JoinGroup version: KIP-394
_NULL_PROTOCOL_NAME_FROM = 7
_SKIP_ASSIGNMENT_FROM = 9
BATCHED_LEAVE_FROM = 3
_SYNC_NAMES_PROTOCOL_FROM = 5
# Ids of one group that are handed out and not used: of more the oldest is forgotten, and who holds it asks again.
_MAX_PENDING = 10_000


def join_error(code: ErrorCode, member_id: str, version: int) -> JoinGroupResponse:
    """A refused JoinGroup."""
    name = None if version >= _NULL_PROTOCOL_NAME_FROM else ""
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=name)


def check_join(request: JoinGroupRequest, config: GroupConfig) -> ErrorCode:
    """What can be wrong with a JoinGroup whatever its group is, as Kafka finds it before it looks for that."""
    if not request.group_id:
        return ErrorCode.INVALID_GROUP_ID
    timeout_ms = request.session_timeout_ms
    if not config.group_min_session_timeout_ms <= timeout_ms <= config.group_max_session_timeout_ms:
        return ErrorCode.INVALID_SESSION_TIMEOUT
    return ErrorCode.NONE


def check_sync(request: SyncGroupRequest, version: int) -> ErrorCode:
    """As `check_join`, of a SyncGroup."""
    if version >= _SYNC_NAMES_PROTOCOL_FROM and (request.protocol_type is None or request.protocol_name is None):
        return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    return ErrorCode.NONE if request.group_id else ErrorCode.INVALID_GROUP_ID


def sync_error(code: ErrorCode) -> SyncGroupResponse:
    """A refused SyncGroup."""
    return SyncGroupResponse(error_code=code)


def leave_error(code: ErrorCode) -> LeaveGroupResponse:
    """A refused LeaveGroup."""
    return LeaveGroupResponse(error_code=code)


class ClassicMembership:
    """The operations over the classic groups of one shard."""

    __slots__ = ("_clock", "_config", "_events", "_flushing", "_ids", "_outbox", "_shard", "_timers")

    def __init__(
        self, shard: GroupShard, *, clock: Clock, ids: Ids, timers: Timers, config: GroupConfig, events: Events
    ) -> None:
        self._shard = shard
        self._clock = clock
        self._ids = ids
        self._timers = timers
        self._config = config
        self._events = events
        self._outbox: deque[Callable[[], None]] = deque()
        self._flushing = False

    # -- requests -----------------------------------------------------------------------------------------------------

    def join(self, ctx: RequestContext, request: JoinGroupRequest, version: int) -> Answer[JoinGroupResponse]:
        """JoinGroup, checked: at once when it is refused or changes nothing, else parked until the join phase ends."""
        member_id = request.member_id
        protocols = tuple({protocol.name: bytes(protocol.metadata) for protocol in request.protocols}.items())
        group = self._shard.classic(request.group_id)
        if group is None:
            if member_id:
                return join_error(ErrorCode.UNKNOWN_MEMBER_ID, member_id, version)
            code = self._create(request.group_id)  # also for one that offers nothing and is refused below, as in Kafka
            if code is not ErrorCode.NONE:
                return join_error(code, "", version)
            group = self._shard.classic(request.group_id)
            assert group is not None

        joining = _Joining(ctx, request, version, protocols)
        if not group.has_room(member_id, self._config.group_max_size):
            records = self._evict(group, member_id)
            answer: Answer[JoinGroupResponse] = join_error(ErrorCode.GROUP_MAX_SIZE_REACHED, "", version)
            return self._run(group, records, answer)
        if not group.accepts(request.protocol_type, protocols):
            return join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id, version)
        if not member_id:
            return self._join_without_id(group, joining)
        return self._join_with_id(group, joining)

    def sync(self, ctx: RequestContext, request: SyncGroupRequest) -> Answer[SyncGroupResponse]:
        """SyncGroup, checked: the assignment at once in Stable, else parked until the leader's is written."""
        group = self._shard.classic(request.group_id)
        if group is None:
            return sync_error(ErrorCode.UNKNOWN_MEMBER_ID)
        code = group.check_member(request.member_id, request.group_instance_id)
        if code is not ErrorCode.NONE:
            return sync_error(code)
        if request.generation_id != group.generation:
            return sync_error(ErrorCode.ILLEGAL_GENERATION)
        if (request.protocol_type is not None and request.protocol_type != group.protocol_type) or (
            request.protocol_name is not None and request.protocol_name != group.protocol_name
        ):
            return sync_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.state is GroupState.PREPARING_REBALANCE:
            return sync_error(ErrorCode.REBALANCE_IN_PROGRESS)

        member = group.members[request.member_id]
        self._synced(group, member)
        if group.state is GroupState.STABLE:
            self._restart_session(member)
            return self._assignment(group, member)

        # CompletingRebalance: Empty has no members, so nobody of it comes this far.
        self._answer_sync(group, member, sync_error(ErrorCode.REBALANCE_IN_PROGRESS))
        parked = member.parked_sync = Pending()
        if group.leader_id == member.member_id:
            assignments = {given.member_id: bytes(given.assignment) for given in request.assignments}
            pin = self._shard.steering.pins.get(group.group_id)
            if pin is not None and group.protocol_type == CONSUMER_TYPE:
                assignments = self._pinned(group, pin, assignments)
            generation = group.generation
            self._shard.run(
                Result(
                    None,
                    [group_record(group, assignments)],
                    settled=lambda code: self._assigned(group, generation, code),
                )
            )
        self._flush()
        return unpark(parked)

    def heartbeat(self, ctx: RequestContext, request: HeartbeatRequest, version: int) -> HeartbeatResponse:
        """Heartbeat: keeps the session, and tells of a rebalance."""
        group = self._shard.classic(request.group_id)
        if group is None:
            return HeartbeatResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID)
        code = group.check_member(request.member_id, request.group_instance_id)
        if code is not ErrorCode.NONE:
            return HeartbeatResponse(error_code=code)
        if request.generation_id != group.generation:
            return HeartbeatResponse(error_code=ErrorCode.ILLEGAL_GENERATION)
        self._restart_session(group.members[request.member_id])
        return HeartbeatResponse(error_code=HEARTBEAT_ANSWERS[group.state])

    def leave(self, ctx: RequestContext, request: LeaveGroupRequest, version: int) -> Answer[LeaveGroupResponse]:
        """LeaveGroup: members go at once; by instance id alone (an admin) or by member id."""
        identities = (
            request.members
            if version >= BATCHED_LEAVE_FROM
            else [LeaveGroupRequest.MemberIdentity(member_id=request.member_id)]
        )
        group = self._shard.classic(request.group_id)
        responses: list[LeaveGroupResponse.MemberResponse] = []
        leaving: list[str] = []
        forgot = False
        for identity in identities:
            code = ErrorCode.UNKNOWN_MEMBER_ID
            member_id = identity.member_id
            if group is None:
                pass
            elif not member_id:
                static_id = group.static_ids.get(identity.group_instance_id or "")
                if static_id is not None:
                    member_id, code = static_id, ErrorCode.NONE
            elif group.forget_pending(member_id):
                forgot, code = True, ErrorCode.NONE
            else:
                code = group.check_member(member_id, identity.group_instance_id)
            if group is not None and code is ErrorCode.NONE and member_id in group.members:
                leaving.append(member_id)
                self._remove(group, member_id, f"left ({identity.reason or 'no reason given'})")
            responses.append(
                LeaveGroupResponse.MemberResponse(
                    member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=code
                )
            )
        if version < BATCHED_LEAVE_FROM:
            answer = LeaveGroupResponse(error_code=responses[0].error_code)
        else:
            answer = LeaveGroupResponse(members=responses)
        if group is None:
            return answer
        records: list[StateRecord] = []
        if leaving:
            records = self._rebalance(group, f"{len(leaving)} left")
        elif forgot:
            records = self._complete_join_if_ready(group)
        return self._run(group, records, answer, refused=lambda code: leave_error(group_write_error(code)))

    def keep_alive(self, group: ClassicGroup, member_id: str) -> None:
        """A commit of a member restarts its session in Stable and PreparingRebalance."""
        if group.state in (GroupState.STABLE, GroupState.PREPARING_REBALANCE):
            member = group.members.get(member_id)
            if member is not None:
                self._restart_session(member)

    # -- from and to the consumer protocol -----------------------------------------------------------------------------

    def give_up(self, group: ClassicGroup) -> None:
        """A group that became a consumer group, whose tombstone is written: who waits in it is to join that one."""
        for member in group.members.values():
            code = ErrorCode.REBALANCE_IN_PROGRESS
            self._answer_join(group, member, join_error(code, member.member_id, member.join_version))
            self._answer_sync(group, member, sync_error(code))
        self._flush()

    def adopt(self, group: ClassicGroup, protocols: Mapping[str, Protocols], *, rebalance: bool) -> None:
        """A group that was a consumer group, whose record is written. `protocols`: what its members offer, by id."""
        self._restore(group)
        for member in group.members.values():
            group.update(member, protocols[member.member_id], member.rebalance_timeout_ms, member.session_timeout_ms)
        if rebalance:
            self._run(group, self._rebalance(group, "its last member of the consumer protocol left"), None)

    # -- begin and end ------------------------------------------------------------------------------------------------

    def loaded(self) -> None:
        """After replay: groups go on in their saved generation, each member with a whole session timeout."""
        self._shard.on_group_removed = self._deleted
        for group in self._shard.classic_groups():
            self._restore(group)
            if group.members:
                self._events.info(
                    "group loaded", group=group.group_id, generation=group.generation, members=len(group.members)
                )
            if len(group.members) > self._config.group_max_size:
                self._run(group, self._rebalance(group, "more members than group.max.size"), None)

    def shutdown(self) -> None:
        """Answer all who wait with NOT_COORDINATOR and drop every timer."""
        for group in self._shard.classic_groups():
            self._bury(group)
            for member in group.members.values():
                self._answer_join(
                    group, member, join_error(ErrorCode.NOT_COORDINATOR, member.member_id, member.join_version)
                )
                self._answer_sync(group, member, sync_error(ErrorCode.NOT_COORDINATOR))
        self._flush()

    def _restore(self, group: ClassicGroup) -> None:
        group.restore(lambda member_id: self._session(group, member_id))
        for member in group.members.values():
            self._restart_session(member)

    def _deleted(self, group: ClassicGroup) -> None:
        """The group's tombstone is written: whoever still holds it sees Dead."""
        if not group.members:  # else it is a consumer group from now on
            self._events.info("group deleted", group=group.group_id)
        self._bury(group)

    def _bury(self, group: ClassicGroup) -> None:
        if group.state is not GroupState.DEAD:
            group.move(Trigger.DELETED, self._clock.wall_ms())
        for deadline in group.pending.values():
            deadline.clear()
        group.pending.clear()
        for member in group.members.values():
            member.session.clear()
        self._cancel_join_timer(group)
        self._cancel_sync_timer(group)

    # -- join ---------------------------------------------------------------------------------------------------------

    def _create(self, group_id: str) -> ErrorCode:
        """Write an empty group; nothing exists if that fails."""
        refusal = ErrorCode.NONE

        def settled(code: ErrorCode) -> None:
            nonlocal refusal
            refusal = code

        records = [empty_group_record(group_id, self._clock.wall_ms())]
        consumer_group = self._shard.consumer(group_id)
        if consumer_group is not None:  # without members, else it would have got the request
            records = consumer_group_tombstones(consumer_group) + records
        self._shard.run(Result(None, records, settled=settled))
        return ErrorCode.NONE if self._shard.classic(group_id) is not None else group_write_error(refusal)

    def _evict(self, group: ClassicGroup, member_id: str) -> list[StateRecord]:
        """A full group: who is refused must not be waited for."""
        if group.forget_pending(member_id):
            return self._complete_join_if_ready(group)
        if member_id not in group.members:
            return []
        self._remove(group, member_id, "group is full")
        return self._complete_join_if_ready(group)

    def _join_without_id(self, group: ClassicGroup, joining: _Joining) -> Answer[JoinGroupResponse]:
        instance_id = joining.request.group_instance_id
        new_id = f"{instance_id if instance_id is not None else joining.client_id}-{uuid_hex(self._ids.uuid())}"
        if instance_id is None:
            if joining.version >= MEMBER_ID_REQUIRED_FROM:
                session = Deadline(self._timers, lambda: self._pending_expired(group, new_id))
                session.set(joining.request.session_timeout_ms)
                group.pending[new_id] = session
                if len(group.pending) > _MAX_PENDING:
                    group.forget_pending(next(iter(group.pending)))
                return join_error(ErrorCode.MEMBER_ID_REQUIRED, new_id, joining.version)
            return self._add(group, joining, new_id)
        old_id = group.static_ids.get(instance_id)
        if old_id is None:
            return self._add(group, joining, new_id)
        return self._replace_static(group, joining, group.members[old_id], new_id)

    def _join_with_id(self, group: ClassicGroup, joining: _Joining) -> Answer[JoinGroupResponse]:
        request = joining.request
        member_id = request.member_id
        if member_id in group.pending and request.group_instance_id is None:
            group.forget_pending(member_id)
            return self._add(group, joining, member_id)
        code = group.check_member(member_id, request.group_instance_id)
        if code is not ErrorCode.NONE:
            return join_error(code, member_id, joining.version)
        member = group.members[member_id]
        unchanged = member.protocols == joining.protocols
        if (group.state is GroupState.COMPLETING_REBALANCE and unchanged) or (
            group.state is GroupState.STABLE and unchanged and group.leader_id != member_id
        ):
            # The answer to its join was lost, or it asks for no reason: nothing changed for the group.
            return self._generation(group, member)
        why = "changed its protocols" if not unchanged else "joined again"
        parked = self._park_join(group, member, joining)
        self._update(group, member, joining)
        return self._run(group, self._rebalance(group, f"member {why}{joining.said}"), parked)

    def _add(self, group: ClassicGroup, joining: _Joining, member_id: str) -> Answer[JoinGroupResponse]:
        if not group.members:
            group.protocol_type = joining.request.protocol_type
        member = Member(
            member_id,
            instance_id=joining.request.group_instance_id,
            client_id=joining.client_id,
            client_host=joining.client_host,
            rebalance_timeout_ms=joining.rebalance_timeout_ms,
            session_timeout_ms=joining.request.session_timeout_ms,
            protocols=joining.protocols,
            session=self._session(group, member_id),
            is_new=True,
        )
        group.joined_during_delay = group.is_first_join
        group.add(member)
        self._events.info(
            "member joined",
            group=group.group_id,
            member=member_id,
            client_id=member.client_id,
            host=member.client_host,
            reason=joining.request.reason,
        )
        parked = self._park_join(group, member, joining)
        # It never heard its id, so it cannot heartbeat, and a parked connection's end goes unnoticed.
        member.session.set(self._config.new_member_join_timeout_ms)
        return self._run(group, self._rebalance(group, f"a member joined{joining.said}"), parked)

    def _replace_static(
        self, group: ClassicGroup, joining: _Joining, member: Member, new_id: str
    ) -> Answer[JoinGroupResponse]:
        old_id, old_leader = member.member_id, group.leader_id or ""
        before = (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms)
        process = (member.client_id, member.client_host)
        fenced = ErrorCode.FENCED_INSTANCE_ID
        self._answer_join(group, member, join_error(fenced, old_id, member.join_version))
        self._answer_sync(group, member, sync_error(fenced))
        group.rename(member, new_id, self._session(group, new_id))
        self._update(group, member, joining)
        member.client_id, member.client_host = joining.client_id, joining.client_host
        self._restart_session(member)
        if group.state is GroupState.STABLE and group.vote() == group.protocol_name:
            parked: Pending[JoinGroupResponse] = Pending()

            def settled(code: ErrorCode) -> None:
                if group.state is GroupState.DEAD:  # its coordinator has moved or ends
                    self._later(parked, join_error(ErrorCode.NOT_COORDINATOR, "", joining.version))
                elif group.members.get(new_id) is not member:
                    # While the write was waited for, it left or was replaced in turn.
                    self._later(parked, join_error(fenced, new_id, joining.version))
                elif code is not ErrorCode.NONE:
                    group.rename(member, old_id, self._session(group, old_id))
                    group.update(member, *before)
                    member.client_id, member.client_host = process
                    self._restart_session(member)
                    self._later(parked, join_error(group_write_error(code), "", joining.version))
                else:
                    self._replaced(group, member, joining.version, old_leader, parked)
                self._flush()

            assignments = {
                new_id if member_id == old_id else member_id: bytes(saved.assignment)
                for member_id, saved in group.saved_members.items()
            }
            self._shard.run(Result(None, [group_record(group, assignments)], settled=settled))
            return unpark(parked)
        self._tell_replaced(group, member, rebalance=True)
        parked = self._park_join(group, member, joining)
        return self._run(group, self._rebalance(group, f"static member {member.instance_id} came back"), parked)

    def _replaced(
        self,
        group: ClassicGroup,
        member: Member,
        version: int,
        old_leader: str,
        parked: Pending[JoinGroupResponse],
    ) -> None:
        """Let a static member go on in the same generation. A leader must not assign anew: KIP-814, or the old id."""
        self._tell_replaced(group, member, rebalance=False)
        response = self._generation(group, member)
        if version < _SKIP_ASSIGNMENT_FROM:
            response.leader = old_leader
            response.members = []
        else:
            response.skip_assignment = group.leader_id == member.member_id
        self._later(parked, response)

    def _tell_replaced(self, group: ClassicGroup, member: Member, *, rebalance: bool) -> None:
        self._events.info(
            "static member came back",
            group=group.group_id,
            instance=member.instance_id,
            member=member.member_id,
            client_id=member.client_id,
            host=member.client_host,
            rebalance=rebalance,
        )

    def _park_join(self, group: ClassicGroup, member: Member, joining: _Joining) -> Pending[JoinGroupResponse]:
        # A newer join of the same member takes the older one's place; who still waits for that is told to try again.
        self._answer_join(
            group, member, join_error(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id, member.join_version)
        )
        parked: Pending[JoinGroupResponse] = Pending()
        group.park_join(member, parked, joining.version)
        return parked

    def _update(self, group: ClassicGroup, member: Member, joining: _Joining) -> None:
        group.update(member, joining.protocols, joining.rebalance_timeout_ms, joining.request.session_timeout_ms)

    # -- rebalance ----------------------------------------------------------------------------------------------------

    def _rebalance(self, group: ClassicGroup, reason: str) -> list[StateRecord]:
        """Begin a rebalance, or see whether the one going on can end. Returns what is to be written."""
        if not group.can_rebalance:
            return self._complete_join_if_ready(group)
        if group.state is GroupState.COMPLETING_REBALANCE:
            self._answer_syncs(group, ErrorCode.REBALANCE_IN_PROGRESS)
        self._cancel_sync_timer(group)
        self._events.info("group rebalances", group=group.group_id, generation=group.generation, reason=reason)
        group.move(Trigger.REBALANCE, self._clock.wall_ms())
        if group.is_first_join:
            delay_ms = self._config.group_initial_rebalance_delay_ms
            left_ms = max(group.rebalance_timeout_ms() - delay_ms, 0)
            self._schedule_initial_join(group, delay_ms, left_ms)
            return []
        if group.all_joined:
            return self._complete_join(group)
        self._schedule_join(group)
        return []

    def _complete_join_if_ready(self, group: ClassicGroup) -> list[StateRecord]:
        if group.state is GroupState.PREPARING_REBALANCE and group.all_joined and not group.is_first_join:
            return self._complete_join(group)
        return []

    def _complete_join(self, group: ClassicGroup) -> list[StateRecord]:
        """End the join phase: who did not join again is out, the rest is a new generation."""
        self._cancel_join_timer(group)
        for member in list(group.members.values()):
            if member.parked_join is None and member.instance_id is None:
                self._remove(group, member.member_id, "did not join the rebalance in time")
        if group.members and not group.elect_leader():
            # Only static members are left and none came: they may until their sessions end.
            self._schedule_join(group)
            return []
        group.next_generation(self._clock.wall_ms())
        if group.state is GroupState.EMPTY:
            self._events.info("group is empty", group=group.group_id, generation=group.generation)
            return [group_record(group, {})]
        self._events.info(
            "new generation",
            group=group.group_id,
            generation=group.generation,
            protocol=group.protocol_name,
            members=len(group.members),
            leader=group.leader_id,
        )
        for member in group.members.values():
            self._answer_join(group, member, self._generation(group, member))
            self._restart_session(member)
            member.is_new = False
            group.pending_sync.add(member.member_id)
        generation = group.generation
        group.sync_timer = self._timers.schedule(
            group.rebalance_timeout_ms(), lambda: self._sync_expired(group, generation)
        )
        return []

    def _generation(self, group: ClassicGroup, member: Member) -> JoinGroupResponse:
        """The current generation; the leader also gets all members with their metadata."""
        members: list[JoinGroupResponse.JoinGroupResponseMember] = []
        if group.leader_id == member.member_id:
            members = [
                JoinGroupResponse.JoinGroupResponseMember(
                    member_id=each.member_id,
                    group_instance_id=each.instance_id,
                    metadata=each.metadata(group.protocol_name),
                )
                for each in group.members.values()
            ]
        return JoinGroupResponse(
            generation_id=group.generation,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name or "",
            leader=group.leader_id or "",
            member_id=member.member_id,
            members=members,
        )

    # -- sync ---------------------------------------------------------------------------------------------------------

    def _synced(self, group: ClassicGroup, member: Member) -> None:
        group.pending_sync.discard(member.member_id)
        if not group.pending_sync:
            self._cancel_sync_timer(group)

    def _assigned(self, group: ClassicGroup, generation: int, code: ErrorCode) -> None:
        """The leader's assignment is written, or is not."""
        code = group_write_error(code)
        if group.state is not GroupState.COMPLETING_REBALANCE or group.generation != generation:
            return
        records: list[StateRecord] = []
        if code is not ErrorCode.NONE:
            self._answer_syncs(group, code)
            records = self._rebalance(group, f"the assignment could not be written: {code.name}")
        else:
            group.assignments_void = False
            group.move(Trigger.ASSIGNED, self._clock.wall_ms())
            self._events.info(
                "group is stable", group=group.group_id, generation=generation, members=len(group.members)
            )
            for member in group.members.values():
                if self._answer_sync(group, member, self._assignment(group, member)):
                    self._restart_session(member)
        self._run(group, records, None)

    def _assignment(self, group: ClassicGroup, member: Member) -> SyncGroupResponse:
        return SyncGroupResponse(
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name,
            assignment=group.assignment(member.member_id),
        )

    def _answer_syncs(self, group: ClassicGroup, code: ErrorCode) -> None:
        """The rebalance is given up before it has an assignment."""
        group.assignments_void = True
        for member in group.members.values():
            if self._answer_sync(group, member, sync_error(code)):
                self._restart_session(member)

    def _pinned(self, group: ClassicGroup, pin: Pin, assignments: dict[str, bytes]) -> dict[str, bytes]:
        members = [
            (Who(each.member_id, each.instance_id, each.client_id), each.metadata(group.protocol_name))
            for each in group.members.values()
        ]
        return pinned_bytes(pin, members, assignments)

    # -- orders -------------------------------------------------------------------------------------------------------

    def rebalance(self, group: ClassicGroup, reason: str) -> None:
        """Let its members join again, as if one of them had asked for it."""
        self._run(group, self._rebalance(group, reason), None)

    def replace_instance(self, group: ClassicGroup, member: Member) -> None:
        """Another process takes the place of a static member, with the same words, and is not heard of again."""
        assert member.instance_id is not None
        joining = JoinGroupRequest(
            group_id=group.group_id,
            session_timeout_ms=member.session_timeout_ms,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            group_instance_id=member.instance_id,
            protocol_type=group.protocol_type or "",
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name, metadata in member.protocols
            ],
        )
        self.join(_Context(member.client_id, member.client_host), joining, _SKIP_ASSIGNMENT_FROM)

    # -- timers -------------------------------------------------------------------------------------------------------

    def _session(self, group: ClassicGroup, member_id: str) -> Deadline:
        return Deadline(self._timers, lambda: self._session_expired(group, member_id))

    def _restart_session(self, member: Member) -> None:
        member.session.set(member.session_timeout_ms)

    def _session_expired(self, group: ClassicGroup, member_id: str) -> None:
        member = group.members.get(member_id)
        if member is None or (member.is_parked and not member.is_new):
            return  # who waits for us is alive; the session restarts with the answer
        reason = f"no heartbeat for {member.session_timeout_ms} ms"
        self._remove(group, member_id, "join was given up" if member.is_new else reason)
        self._run(group, self._rebalance(group, "a member's session expired"), None)

    def _pending_expired(self, group: ClassicGroup, member_id: str) -> None:
        if group.forget_pending(member_id):
            self._run(group, self._complete_join_if_ready(group), None)

    def _schedule_join(self, group: ClassicGroup) -> None:
        self._cancel_join_timer(group)
        group.join_timer = self._timers.schedule(
            group.rebalance_timeout_ms(), lambda: self._run(group, self._complete_join(group), None)
        )

    def _schedule_initial_join(self, group: ClassicGroup, delay_ms: int, left_ms: int) -> None:
        def passed() -> None:
            if group.joined_during_delay and left_ms > 0:
                group.joined_during_delay = False
                next_ms = min(self._config.group_initial_rebalance_delay_ms, left_ms)
                self._schedule_initial_join(group, next_ms, max(left_ms - delay_ms, 0))
            else:
                self._run(group, self._complete_join(group), None)

        group.join_timer = self._timers.schedule(delay_ms, passed)

    def _sync_expired(self, group: ClassicGroup, generation: int) -> None:
        if group.generation != generation or not group.pending_sync:
            return
        for member_id in list(group.pending_sync):
            self._remove(group, member_id, "did not sync in time")
        self._run(group, self._rebalance(group, "members did not sync in time"), None)

    def _cancel_join_timer(self, group: ClassicGroup) -> None:
        if group.join_timer is not None:
            group.join_timer.cancel()
            group.join_timer = None

    def _cancel_sync_timer(self, group: ClassicGroup) -> None:
        if group.sync_timer is not None:
            group.sync_timer.cancel()
            group.sync_timer = None

    # -- shared -------------------------------------------------------------------------------------------------------

    def _remove(self, group: ClassicGroup, member_id: str, reason: str) -> None:
        member = group.members[member_id]
        unknown = ErrorCode.UNKNOWN_MEMBER_ID
        self._answer_join(group, member, join_error(unknown, "", member.join_version))
        self._answer_sync(group, member, sync_error(unknown))
        group.remove(member_id)
        self._events.info(
            "member left",
            group=group.group_id,
            member=member_id,
            client_id=member.client_id,
            host=member.client_host,
            reason=reason,
        )

    def _answer_join(self, group: ClassicGroup, member: Member, response: JoinGroupResponse) -> bool:
        parked = group.take_join(member)
        if parked is None:
            return False
        self._later(parked, response)
        return True

    def _answer_sync(self, group: ClassicGroup, member: Member, response: SyncGroupResponse) -> bool:
        parked = group.take_sync(member)
        if parked is None:
            return False
        self._later(parked, response)
        return True

    def _later(self, parked: Pending[T], response: T) -> None:
        self._outbox.append(lambda: parked.resolve(response))

    def _run(
        self,
        group: ClassicGroup,
        records: list[StateRecord],
        answer: Answer[T],
        *,
        refused: Callable[[ErrorCode], T] | None = None,
    ) -> Answer[T]:
        """Have the records written, if any, then give all answers; returns this one, itself if it is there."""
        if records:
            answer = self._shard.run(
                Result(
                    answer,
                    records,
                    refused=refused,
                    settled=lambda code: self._emptied(group, code),
                )
            )
        self._flush()
        return unpark(answer) if isinstance(answer, Pending) else answer

    def _emptied(self, group: ClassicGroup, code: ErrorCode) -> None:
        """The record of a group that became empty; no request asked for it, so it is tried until it is written."""
        if code is not ErrorCode.NONE:
            self._events.warning("group state not written, trying again", group=group.group_id, error=code.name)
            self._timers.schedule(self._config.write_retry_ms, lambda: self._write_empty(group))

    def _write_empty(self, group: ClassicGroup) -> None:
        if group.state is GroupState.EMPTY and self._shard.groups.get(group.group_id) is group:
            self._run(group, [group_record(group, {})], None)

    def _flush(self) -> None:
        if self._shard.steering.watchers:
            self._shard.steering.tell()
        if self._flushing:
            return  # asked again by one who was just answered: the loop below goes on with what that added
        self._flushing = True
        try:
            while self._outbox:
                self._outbox.popleft()()
        finally:
            self._flushing = False


class _Context(NamedTuple):
    """As a request of that client has it."""

    client_id: str
    client_host: str


NOBODY = _Context("", "")


class _Joining:
    """A JoinGroup on its way through the rules."""

    __slots__ = ("client_host", "client_id", "protocols", "rebalance_timeout_ms", "request", "said", "version")

    def __init__(self, ctx: RequestContext, request: JoinGroupRequest, version: int, protocols: Protocols) -> None:
        self.client_id = ctx.client_id or ""
        self.client_host = ctx.client_host
        self.request = request
        self.version = version
        self.protocols = protocols
        # Version 0 has no rebalance timeout: a member has its session's time to join again.
        self.rebalance_timeout_ms = request.rebalance_timeout_ms if version > 0 else request.session_timeout_ms
        self.said = f": {request.reason}" if request.reason else ""
