"""Members that speak the classic protocol inside a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

For them a generation is a member epoch. They are told to join again when there is something to give up or to get;
the group has no leader, so that SyncGroup only brings what the coordinator assigned (KIP-848).
"""

from __future__ import annotations

from ottla.coordinator.group.config import GroupConfig
from ottla.coordinator.group.consumer import (
    CONSUMER_TYPE,
    ClassicSide,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    Partitions,
    partitions_of,
)
from ottla.coordinator.group.consumer_change import GroupChange
from ottla.coordinator.group.consumer_membership import ConsumerMembership
from ottla.coordinator.group.membership import (
    BATCHED_LEAVE_FROM,
    MEMBER_ID_REQUIRED_FROM,
    join_error,
    leave_error,
    sync_error,
)
from ottla.coordinator.group.migration import assignment_bytes, downgrade_records, may_downgrade
from ottla.coordinator.group.records import parse_subscription
from ottla.coordinator.ports import RequestContext, TopicLookup
from ottla.coordinator.result import Answer, group_write_error
from ottla.log.clock import Clock
from ottla.log.ids import Ids, uuid_text
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from ottla.wire.state.embedded import ConsumerProtocolSubscription


class ClassicMembers:
    """The classic requests of one shard that concern consumer groups with members."""

    __slots__ = ("_clock", "_config", "_ids", "_membership", "_topics")

    def __init__(
        self, membership: ConsumerMembership, *, clock: Clock, ids: Ids, topics: TopicLookup, config: GroupConfig
    ) -> None:
        self._membership = membership
        self._clock = clock
        self._ids = ids
        self._topics = topics
        self._config = config

    def join(
        self, ctx: RequestContext, group: ConsumerGroup, request: JoinGroupRequest, version: int
    ) -> Answer[JoinGroupResponse]:
        """JoinGroup: answered at once, in the member's own epoch."""
        try:
            return self._join(ctx, group, request, version)
        except KafkaError as error:
            return join_error(error.code, "", version)

    def _join(
        self, ctx: RequestContext, group: ConsumerGroup, request: JoinGroupRequest, version: int
    ) -> Answer[JoinGroupResponse]:
        member_id = request.member_id or uuid_text(self._ids.uuid())
        protocols = tuple({each.name: bytes(each.metadata) for each in request.protocols}.items())
        self._membership.check_room(group, member_id)
        if not group.accepts(request.protocol_type, protocols):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        instance_id = request.group_instance_id
        if not request.member_id and instance_id is None and version >= MEMBER_ID_REQUIRED_FROM:
            return join_error(ErrorCode.MEMBER_ID_REQUIRED, member_id, version)
        try:
            subscription = parse_subscription(protocols[0][1])
        except ProtocolError as error:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL) from error
        change = self._membership.change_of(group)
        member, replaced = self._member(change, request.member_id, member_id, instance_id)
        # Version 0 has no rebalance timeout: a member has its session's time to join again.
        rebalance_timeout_ms = request.rebalance_timeout_ms if version > 0 else request.session_timeout_ms
        updated = member._replace(
            instance_id=member.instance_id if instance_id is None else instance_id,
            rack_id=member.rack_id if subscription.rack_id is None else subscription.rack_id,
            client_id=ctx.client_id or "",
            client_host=ctx.client_host,
            topics=tuple(sorted(set(subscription.topics))),
            regex="",
            rebalance_timeout_ms=rebalance_timeout_ms,
            assignor=None,
            classic=ClassicSide(request.session_timeout_ms, protocols),
        )
        after = self._membership.advance(change, updated, self._owned(subscription))
        left = change.group
        downgraded = replaced is not None and replaced.classic is None and may_downgrade(left, self._config)
        if downgraded:
            change.end(downgrade_records(left, left, self._topics, self._clock.wall_ms()))
        answer = JoinGroupResponse(
            member_id=member_id,
            generation_id=after.epoch,
            protocol_type=CONSUMER_TYPE,
            protocol_name=protocols[0][0],
        )
        result = self._membership.run(
            change,
            answer,
            lambda code: join_error(group_write_error(code), request.member_id, version),
            member_id=member_id,
        )
        if downgraded:
            # Others that are on their way to their targets still hold what these give away.
            self._membership.became_classic(left, rebalance=left.state_name != "Stable")
        elif member_id in group.members:
            timers = self._membership.timers_of(group, member_id)
            timers.rejoin.clear()
            timers.sync.set(rebalance_timeout_ms)
        return result

    def _member(
        self, change: GroupChange, said_id: str, member_id: str, instance_id: str | None
    ) -> tuple[ConsumerMember, ConsumerMember | None]:
        """The member that joins, a new one if need be, and the static one in whose place it comes."""
        group = change.group
        if instance_id is None:
            return group.members.get(member_id) or ConsumerMember(member_id), None
        if said_id:
            return self._membership.existing(group, member_id, instance_id), None
        found = group.member_named(member_id, instance_id)
        if found is None:
            return ConsumerMember(member_id), None
        return change.replace(found, member_id), found

    def sync(self, group: ConsumerGroup, request: SyncGroupRequest) -> SyncGroupResponse:
        """SyncGroup: what the member was assigned, at once."""
        try:
            member, classic = self._classic(group, request.member_id, request.group_instance_id, request.generation_id)
        except KafkaError as error:
            return sync_error(error.code)
        name, metadata = classic.protocols[0]
        if request.protocol_type not in (None, CONSUMER_TYPE) or request.protocol_name not in (None, name):
            return sync_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        timers = self._membership.timers_of(group, member.member_id)
        if self._is_behind(group, member) and member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._await_rejoin(group, member)
            return sync_error(ErrorCode.REBALANCE_IN_PROGRESS)
        timers.sync.clear()
        timers.session.set(classic.session_timeout_ms)
        return SyncGroupResponse(
            protocol_type=request.protocol_type,
            protocol_name=request.protocol_name,
            assignment=assignment_bytes(partitions_of(member.assigned), metadata, self._topics),
        )

    def heartbeat(self, group: ConsumerGroup, request: HeartbeatRequest) -> HeartbeatResponse:
        """Heartbeat: keeps the session, and says when the member must join again."""
        try:
            member, classic = self._classic(group, request.member_id, request.group_instance_id, request.generation_id)
        except KafkaError as error:
            return HeartbeatResponse(error_code=error.code)
        self._membership.timers_of(group, member.member_id).session.set(classic.session_timeout_ms)
        state = member.state
        if (
            self._is_behind(group, member)
            or state is MemberState.UNREVOKED_PARTITIONS
            or (state is MemberState.UNRELEASED_PARTITIONS and not group.lacks_only_held(member))
        ):
            self._await_rejoin(group, member)
            return HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
        return HeartbeatResponse()

    def leave(self, group: ConsumerGroup, request: LeaveGroupRequest, version: int) -> Answer[LeaveGroupResponse]:
        """LeaveGroup: by member id or, from an administrator, by instance id; members of either protocol."""
        batched = version >= BATCHED_LEAVE_FROM
        identities = request.members if batched else [LeaveGroupRequest.MemberIdentity(member_id=request.member_id)]
        responses: list[LeaveGroupResponse.MemberResponse] = []
        leaving: dict[str, str] = {}  # member id -> reason
        for identity in identities:
            member_id, instance_id = identity.member_id, identity.group_instance_id
            code = ErrorCode.NONE
            try:
                if not member_id and instance_id is not None:
                    member_id = group.static_ids.get(instance_id, "")
                self._membership.existing(group, member_id, instance_id)
                if member_id in leaving:
                    raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
                leaving[member_id] = identity.reason or "no reason given"
            except KafkaError as error:
                member_id, code = identity.member_id, error.code
            responses.append(
                LeaveGroupResponse.MemberResponse(member_id=member_id, group_instance_id=instance_id, error_code=code)
            )
        answer = (
            LeaveGroupResponse(members=responses) if batched else LeaveGroupResponse(error_code=responses[0].error_code)
        )
        if not leaving:
            return answer
        reason = f"left ({next(iter(leaving.values()))})"
        return self._membership.remove(
            group, leaving, reason, answer, refused=lambda code: leave_error(group_write_error(code))
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _classic(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
    ) -> tuple[ConsumerMember, ClassicSide]:
        """The member that asks, and what it speaks. Raises KafkaError UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
        ILLEGAL_GENERATION.
        """
        member = self._membership.existing(group, member_id, instance_id)
        if member.classic is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        if member.epoch != generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        return member, member.classic

    def _is_behind(self, group: ConsumerGroup, member: ConsumerMember) -> bool:
        """Whether joining again brings the member a newer epoch."""
        return member.epoch < group.assignment_epoch or self._membership.may_assign(group)

    def _await_rejoin(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        rejoin = self._membership.timers_of(group, member.member_id).rejoin
        if rejoin.due_ms is None:
            rejoin.set(member.rebalance_timeout_ms)

    def _owned(self, subscription: ConsumerProtocolSubscription) -> Partitions:
        owned: dict[bytes, frozenset[int]] = {}
        for topic in subscription.owned_partitions:
            topic_id = self._topics.id_of(topic.topic)
            if topic_id is not None:
                owned[topic_id] = owned.get(topic_id, frozenset()) | frozenset(topic.partitions)
        return owned
