"""Who is in a consumer group: ConsumerGroupHeartbeat, and the timers that act for members that went silent (KIP-848).

Each operation decides on a draft (`GroupChange`), has its records written as one batch (`Shard.run`), and arms timers.
Members that speak the classic protocol have their own requests (mixed.py) and share the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from ottla.coordinator.group import migration
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.config import GroupConfig, GroupConfigs
from ottla.coordinator.group.consumer import (
    JOIN_EPOCH,
    LEAVE_EPOCH,
    STATIC_LEAVE_EPOCH,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    MemberTimers,
    Partitions,
    partitions_of,
)
from ottla.coordinator.group.consumer_change import GroupChange, may_assign
from ottla.coordinator.group.records import group_tombstone
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.ports import Events, RequestContext, TopicLookup
from ottla.coordinator.regex import compile_regex
from ottla.coordinator.result import Answer, Result, group_write_error
from ottla.coordinator.timers import Deadline, Timers
from ottla.log.clock import Clock
from ottla.log.ids import Ids, uuid_text
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)

if TYPE_CHECKING:
    from ottla.coordinator.group.membership import ClassicMembership

T = TypeVar("T")

_MEMBER_ID_FROM = 1  # ConsumerGroupHeartbeat version: before it the server makes the id of a member that joins


def heartbeat_error(code: ErrorCode, message: str = "") -> ConsumerGroupHeartbeatResponse:
    """A refused ConsumerGroupHeartbeat."""
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=message or code.name)


def check_heartbeat(request: ConsumerGroupHeartbeatRequest, version: int, assignors: tuple[str, ...]) -> None:
    """What can be wrong with a request whatever the group is, in Kafka's order. Raises KafkaError INVALID_REQUEST,
    UNSUPPORTED_ASSIGNOR.
    """
    epoch = request.member_epoch
    if version >= _MEMBER_ID_FROM or epoch > JOIN_EPOCH or epoch == LEAVE_EPOCH:
        _require_text("MemberId", request.member_id)
    _require_text("GroupId", request.group_id)
    _require_text("InstanceId", request.instance_id)
    _require_text("RackId", request.rack_id)
    if epoch == JOIN_EPOCH:
        _require(request.rebalance_timeout_ms != -1, "A member that joins must give RebalanceTimeoutMs.")
        _require(request.topic_partitions == [], "A member that joins must own nothing: TopicPartitions is [].")
        subscribes = request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None
        _require(subscribes, "A member that joins must give SubscribedTopicNames or SubscribedTopicRegex.")
    _require(epoch != STATIC_LEAVE_EPOCH or request.instance_id is not None, "InstanceId can't be null.")
    _require(epoch >= STATIC_LEAVE_EPOCH, "MemberEpoch is invalid.")
    if request.server_assignor is not None and request.server_assignor not in assignors:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {request.server_assignor} is not supported. Supported: {', '.join(assignors)}.",
        )


def _require_text(name: str, text: str | None) -> None:
    _require(text is None or bool(text.strip()), f"{name} can't be empty.")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise KafkaError(ErrorCode.INVALID_REQUEST, message)


class ConsumerMembership:
    """The operations over the consumer groups of one shard."""

    __slots__ = ("_classic", "_clock", "_config", "_configs", "_events", "_ids", "_shard", "_timers", "_topics")

    def __init__(
        self,
        shard: GroupShard,
        classic: ClassicMembership,
        *,
        clock: Clock,
        ids: Ids,
        timers: Timers,
        topics: TopicLookup,
        config: GroupConfig,
        configs: GroupConfigs,
        events: Events,
    ) -> None:
        self._shard = shard
        self._classic = classic
        self._clock = clock
        self._ids = ids
        self._timers = timers
        self._topics = topics
        self._config = config
        self._configs = configs
        self._events = events

    # -- requests -----------------------------------------------------------------------------------------------------

    def heartbeat(
        self, ctx: RequestContext, request: ConsumerGroupHeartbeatRequest
    ) -> Answer[ConsumerGroupHeartbeatResponse]:
        """ConsumerGroupHeartbeat that passed `check_heartbeat`: join, go on, leave."""
        try:
            if request.member_epoch in (LEAVE_EPOCH, STATIC_LEAVE_EPOCH):
                return self._leave(request)
            return self._heartbeat(ctx, request)
        except KafkaError as error:
            return heartbeat_error(error.code, error.message)

    def _heartbeat(
        self, ctx: RequestContext, request: ConsumerGroupHeartbeatRequest
    ) -> Answer[ConsumerGroupHeartbeatResponse]:
        group_id = request.group_id
        change = self._open(group_id, join=request.member_epoch == JOIN_EPOCH)
        self.check_room(change.group, request.member_id)
        member_id = request.member_id or uuid_text(self._ids.uuid())
        owned = _owned(request)
        member = self._member(change, request, member_id, owned)
        names = request.subscribed_topic_names
        regex = request.subscribed_topic_regex
        if regex and regex != member.regex:
            compile_regex(regex)
        updated = member._replace(
            instance_id=_new(request.instance_id, member.instance_id),
            rack_id=_new(request.rack_id, member.rack_id),
            client_id=ctx.client_id or "",
            client_host=ctx.client_host,
            topics=member.topics if names is None else tuple(sorted(set(names))),
            regex=member.regex if regex is None else regex,
            rebalance_timeout_ms=(
                member.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms
            ),
            assignor=_new(request.server_assignor, member.assignor),
            classic=None,
        )
        after = self.advance(change, updated, owned)

        settings = self._configs.of(group_id)
        answer = ConsumerGroupHeartbeatResponse(
            member_id=member_id, member_epoch=after.epoch, heartbeat_interval_ms=settings.heartbeat_interval_ms
        )
        # Who joins and who says all of itself anew, as after an error, does not know what it has.
        says_all = request.rebalance_timeout_ms != -1 and owned is not None and (names is not None or regex is not None)
        if request.member_epoch == JOIN_EPOCH or says_all or after.assigned != member.assigned:
            answer.assignment = _assignment(after)
        result = self.run(change, answer, lambda code: heartbeat_error(group_write_error(code)), member_id=member_id)
        if after.regex and after.regex not in change.group.regexes:
            self._resolve_new_regexes(group_id)
        return result

    def _leave(self, request: ConsumerGroupHeartbeatRequest) -> Answer[ConsumerGroupHeartbeatResponse]:
        group = self._shard.consumer(request.group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"There is no consumer group {request.group_id}.")
        member = self.existing(group, request.member_id, request.instance_id)
        answer = ConsumerGroupHeartbeatResponse(member_id=request.member_id, member_epoch=request.member_epoch)
        if request.member_epoch == LEAVE_EPOCH:
            return self.remove(
                group,
                [member.member_id],
                "left",
                answer,
                refused=lambda code: heartbeat_error(group_write_error(code)),
            )
        # It comes back: it keeps what it has until its session ends. Its commits count by what it had, in any epoch.
        change = self._change(group)
        assigned = {topic_id: dict.fromkeys(partitions, 0) for topic_id, partitions in member.assigned.items()}
        change.put(member._replace(epoch=STATIC_LEAVE_EPOCH, assigned=assigned, revoking={}))
        left = self._shard.run(
            Result(answer, change.records, refused=lambda code: heartbeat_error(group_write_error(code)))
        )
        timers = group.timers.get(member.member_id)
        if timers is not None:
            timers.revocation.clear()
        return left

    # -- members ------------------------------------------------------------------------------------------------------

    def existing(self, group: ConsumerGroup, member_id: str, instance_id: str | None) -> ConsumerMember:
        """The member that a request means. Raises KafkaError UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID."""
        member = group.member_named(member_id, instance_id)
        if member is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"There is no member {instance_id or member_id} in {group.group_id}."
            )
        if member.member_id != member_id:
            raise KafkaError(
                ErrorCode.FENCED_INSTANCE_ID, f"Instance {instance_id} is member {member.member_id} by now."
            )
        return member

    def _member(
        self,
        change: GroupChange,
        request: ConsumerGroupHeartbeatRequest,
        member_id: str,
        owned: Partitions | None,
    ) -> ConsumerMember:
        """The member that heartbeats, a new one if it joins. Raises KafkaError."""
        group = change.group
        epoch = request.member_epoch
        if epoch == JOIN_EPOCH:
            found = group.member_named(member_id, request.instance_id)
            if found is not None and request.instance_id is not None:
                if found.classic is None and found.epoch != STATIC_LEAVE_EPOCH:
                    raise KafkaError(
                        ErrorCode.UNRELEASED_INSTANCE_ID,
                        f"Instance {request.instance_id} is member {found.member_id} and did not leave.",
                    )
                return change.replace(found, member_id)
            return found or group.members.get(member_id) or ConsumerMember(member_id)
        member = self.existing(group, member_id, request.instance_id)
        if not member.check_epoch(epoch, owned):
            raise KafkaError(
                ErrorCode.FENCED_MEMBER_EPOCH,
                f"The member is in epoch {member.epoch}, not {epoch}. It must abandon all its partitions and rejoin.",
            )
        return member

    def check_room(self, group: ConsumerGroup, member_id: str) -> None:
        """Raises KafkaError GROUP_MAX_SIZE_REACHED."""
        if not group.has_room(member_id, self._config.group_consumer_max_size):
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED, "The group is full.")

    def advance(self, change: GroupChange, updated: ConsumerMember, owned: Partitions | None) -> ConsumerMember:
        """What follows from a member's words: group epoch, target assignment, and the member's own next step."""
        group_id = change.group.group_id
        before = change.group.members.get(updated.member_id)
        changed = before is not None and (before.topics, before.regex) != (updated.topics, updated.regex)
        wanted = change.describe(updated)
        real = self._shard.consumer(group_id)
        look = real is None or real.topics_version != self._topics.version
        if look and change.group.regexes:
            wanted = change.resolve(list(change.group.regexes)) or wanted
        change.bump(wanted, look=look)
        interval_ms = self._configs.of(group_id).assignment_interval_ms
        change.assign(self._config.group_consumer_assignors, interval_ms, self._shard.steering.pins.get(group_id))
        return change.reconcile(updated.member_id, owned, subscription_changed=changed)

    def remove(
        self,
        group: ConsumerGroup,
        member_ids: Iterable[str],
        reason: str,
        answer: T,
        *,
        refused: Callable[[ErrorCode], T] | None = None,
    ) -> Answer[T]:
        """Members are out; what they had is free. The group turns classic if only classic members are left, and may."""
        leaving = list(member_ids)
        change = self._change(group)
        change.remove(leaving)
        left = change.group
        if migration.may_downgrade(left, self._config):
            change = self._change(group)
            change.end(migration.downgrade_records(group, left, self._topics, self._clock.wall_ms()))
        else:
            change.bump(True, look=False)
            if change.group.is_empty:
                change.assign(self._config.group_consumer_assignors, 0)
        gone = [group.members[member_id] for member_id in leaving]
        result = self.run(change, answer, refused)
        if leaving[0] not in group.members or self._shard.groups.get(group.group_id) is not group:
            for member in gone:
                self._events.info(
                    "member left",
                    group=group.group_id,
                    member=member.member_id,
                    client_id=member.client_id,
                    host=member.client_host,
                    reason=reason,
                )
            self.became_classic(left, rebalance=True)
        return result

    def rebalance(self, group: ConsumerGroup) -> None:
        """A new group epoch: the next heartbeat makes a new target assignment. Raises KafkaError: it is not written."""
        change = self._change(group)
        change.bump(True, look=False)
        self._order(change)

    def fence(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        """The group goes on to an epoch that the member never hears of: what it says next is of an old one. Raises
        KafkaError: it is not written.
        """
        change = self._change(group)
        change.bump(True, look=False)
        epoch = change.group.epoch
        change.put(member._replace(epoch=epoch, previous_epoch=epoch))
        change.bump(True, look=False)  # so it is behind in that epoch, too, and is reconciled when it comes back
        self._order(change)

    def _order(self, change: GroupChange) -> None:
        """Have a change written that no request asked for. One that waits for the disk is decided."""
        refusal = self.run(change, ErrorCode.NONE, lambda code: code)
        if isinstance(refusal, ErrorCode) and refusal is not ErrorCode.NONE:
            raise KafkaError(group_write_error(refusal))

    def became_classic(self, former: ConsumerGroup, *, rebalance: bool) -> None:
        """If a change made the group a classic one, that goes on with the members of the former."""
        group = self._shard.classic(former.group_id)
        if group is None:
            return
        self._events.info("consumer group is a classic group now", group=group.group_id, members=len(former.members))
        protocols = {
            member.member_id: member.classic.protocols
            for member in former.members.values()
            if member.classic is not None
        }
        self._classic.adopt(group, protocols, rebalance=rebalance)

    # -- carrying out -------------------------------------------------------------------------------------------------

    def _change(self, group: ConsumerGroup) -> GroupChange:
        return GroupChange(group, self._topics, self._clock.wall_ms())

    def _open(self, group_id: str, *, join: bool) -> GroupChange:
        """The group of a heartbeat; a new one in the place of none, or of a classic one that is empty or may change
        its protocol. Raises KafkaError GROUP_ID_NOT_FOUND.
        """
        group = self._shard.groups.get(group_id)
        if isinstance(group, ConsumerGroup):
            return self._change(group)
        if not join:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"There is no consumer group {group_id}.")
        change = GroupChange(ConsumerGroup(group_id), self._topics, self._clock.wall_ms(), is_draft=True)
        if group is not None:
            records = migration.upgrade_records(group, self._config, self._topics)
            change.add(group_tombstone(group_id), *records)
        return change

    def change_of(self, group: ConsumerGroup) -> GroupChange:
        """A change of a group that exists, for requests of classic members."""
        return self._change(group)

    def run(
        self,
        change: GroupChange,
        answer: T,
        refused: Callable[[ErrorCode], T] | None = None,
        *,
        member_id: str | None = None,
    ) -> Answer[T]:
        """Have the change written; then timers, also of the member that was heard of. A member whose session has to end
        although that could not be written is tried again."""
        group_id = change.group.group_id
        version = self._topics.version
        before = self._shard.groups.get(group_id)
        former = before.members.get(member_id) if isinstance(before, ConsumerGroup) and member_id is not None else None
        failed = False

        def settled(code: ErrorCode) -> None:
            nonlocal failed
            failed = code is not ErrorCode.NONE

        result = self._shard.run(Result(answer, change.records, refused=refused, settled=settled))
        if self._shard.steering.watchers and change.records:
            self._shard.steering.tell()
        group = self._shard.consumer(group_id)
        if group is None:
            return result
        if not failed and member_id is not None:
            group.topics_version = version
        if member_id is not None and member_id in group.members:
            member = group.members[member_id]
            self._heard(group, member, former)
            if former is None:
                self._events.info(
                    "member joined",
                    group=group_id,
                    member=member_id,
                    instance=member.instance_id,
                    client_id=member.client_id,
                    host=member.client_host,
                )
        if before is not group:
            self._arm(group)
            if isinstance(before, ClassicGroup) and before.members:
                self._events.info("classic group is a consumer group now", group=group_id, members=len(before.members))
                self._classic.give_up(before)
        return result

    def _resolve_new_regexes(self, group_id: str) -> None:
        """The topics of patterns that members came with. As in Kafka that is a change of its own, after the answer:
        the member hears of its partitions at its next heartbeat.
        """
        group = self._shard.consumer(group_id)
        new = group.unresolved_regexes() if group is not None else []
        if group is not None and new:
            change = self._change(group)
            change.bump(change.resolve(new), look=False)
            self.run(change, None)

    # -- timers -------------------------------------------------------------------------------------------------------

    def timers_of(self, group: ConsumerGroup, member_id: str) -> MemberTimers:
        """The deadlines of a member."""
        timers = group.timers.get(member_id)
        if timers is None:
            timers = group.timers[member_id] = MemberTimers(
                *(
                    Deadline(self._timers, lambda reason=reason: self._expired(group, member_id, reason))  # type: ignore[misc]
                    for reason in (
                        "no heartbeat in time",
                        "did not give up partitions in time",
                        "did not join again in time",
                        "did not sync in time",
                    )
                )
            )
        return timers

    def session_ms(self, member: ConsumerMember, group_id: str) -> int:
        """How long a member may be silent."""
        if member.classic is not None:
            return member.classic.session_timeout_ms
        return self._configs.of(group_id).session_timeout_ms

    def _heard(self, group: ConsumerGroup, member: ConsumerMember, former: ConsumerMember | None) -> None:
        timers = self.timers_of(group, member.member_id)
        timers.session.set(self.session_ms(member, group.group_id))
        if member.classic is None:
            timers.rejoin.clear()
            timers.sync.clear()
        if member.state is not MemberState.UNREVOKED_PARTITIONS or member.classic is not None:
            timers.revocation.clear()
        elif former is None or former.revoking != member.revoking or former.classic is not None:
            timers.revocation.set(member.rebalance_timeout_ms)

    def _arm(self, group: ConsumerGroup) -> None:
        """Sessions of all who have none yet: after a start, or when a classic group became this one."""
        for member in group.members.values():
            if member.member_id not in group.timers:
                self._heard(group, member, None)

    def _expired(self, group: ConsumerGroup, member_id: str, reason: str) -> None:
        if self._shard.groups.get(group.group_id) is not group or member_id not in group.members:
            return
        self.remove(group, [member_id], reason, None)
        if member_id in group.members and self._shard.groups.get(group.group_id) is group:
            # It could not be written. Whatever it was that the member missed: it is out as soon as that works.
            self.timers_of(group, member_id).session.set(self._config.write_retry_ms)

    def may_assign(self, group: ConsumerGroup) -> bool:
        """Whether the next heartbeat makes a new target assignment."""
        return may_assign(group, self._clock.wall_ms(), self._configs.of(group.group_id).assignment_interval_ms)

    # -- begin and end ------------------------------------------------------------------------------------------------

    def loaded(self) -> None:
        """After replay: members go on where they were, each with a whole session."""
        for group in self._shard.consumer_groups():
            self._arm(group)
            if group.members:
                self._events.info("group loaded", group=group.group_id, epoch=group.epoch, members=len(group.members))

    def shutdown(self) -> None:
        """No timer acts any more."""
        for group in self._shard.consumer_groups():
            group.bury()


def _new(said: str | None, known: str | None) -> str | None:
    """In a heartbeat null means unchanged."""
    return known if said is None else said


def _owned(request: ConsumerGroupHeartbeatRequest) -> dict[bytes, frozenset[int]] | None:
    if request.topic_partitions is None:
        return None
    return {topic.topic_id: frozenset(topic.partitions) for topic in request.topic_partitions}


def _assignment(member: ConsumerMember) -> ConsumerGroupHeartbeatResponse.Assignment:
    return ConsumerGroupHeartbeatResponse.Assignment(
        topic_partitions=[
            ConsumerGroupHeartbeatResponse.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in partitions_of(member.assigned).items()
            if partitions
        ]
    )
