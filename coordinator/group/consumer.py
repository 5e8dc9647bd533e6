"""A consumer group (KIP-848): epochs, members, target assignment, and how one member moves towards its target.

What lasts is what the records say (`apply`, the only code that changes it); `copy` lets a decision be made on a draft.
Nothing here knows requests, what timers mean, or the log: consumer_membership.py drives it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from ottla.coordinator.state_record import StateRecord
from ottla.coordinator.timers import Deadline
from ottla.wire.errors import ErrorCode
from ottla.wire.state.consumer_offsets import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)

CONSUMER_TYPE = "consumer"
JOIN_EPOCH = 0
LEAVE_EPOCH = -1
STATIC_LEAVE_EPOCH = -2
FIRST_EPOCH = 1  # of a group that nothing was written of yet, and of its target assignment
_MEMBER_EPOCHS_FROM = 9  # OffsetCommit version: before it, nobody knew of member epochs

Partitions: TypeAlias = Mapping[bytes, frozenset[int]]
"""Topic id -> partitions; no topic without partitions."""

Assigned: TypeAlias = Mapping[bytes, Mapping[int, int]]
"""Topic id -> partition -> the member epoch in which the member got it (KIP-1251)."""


class MemberState(IntEnum):
    """How far a member is on the way to its target; the number is that in the record."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1  # it was told to give up partitions and has not said that it did
    UNRELEASED_PARTITIONS = 2  # it lacks partitions that others still hold
    UNKNOWN = 127  # written by a later Kafka


class ClassicSide(NamedTuple):
    """What a member said that speaks the classic protocol: JoinGroup's session timeout and protocols."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]


class ConsumerMember(NamedTuple):
    """One member: what it says of itself (record type 5), and what it has (type 8). Never changed, only replaced."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: tuple[str, ...] = ()  # subscribed by name, sorted
    regex: str = ""
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicSide | None = None  # None: it speaks the consumer protocol
    epoch: int = 0
    previous_epoch: int = -1
    state: MemberState = MemberState.STABLE
    assigned: Assigned = {}  # noqa: RUF012 (never changed)
    revoking: Assigned = {}  # noqa: RUF012

    def advanced(self, epoch: int, state: MemberState, assigned: Assigned, revoking: Assigned) -> ConsumerMember:
        """The member one step further, remembering the epoch that it comes from."""
        return self._replace(epoch=epoch, previous_epoch=self.epoch, state=state, assigned=assigned, revoking=revoking)

    def assigned_in(self, topic_id: bytes, partition: int) -> int | None:
        """The epoch in which it got a partition that it holds, None if it does not hold it."""
        for held in (self.assigned, self.revoking):
            epoch = held.get(topic_id, {}).get(partition)
            if epoch is not None:
                return epoch
        return None

    def covers(self, owned: Partitions) -> bool:
        """Whether all of `owned` is assigned to it."""
        return all(partitions <= self.assigned.get(topic_id, {}).keys() for topic_id, partitions in owned.items())

    def check_epoch(self, epoch: int, owned: Partitions | None) -> bool:
        """Whether it may heartbeat with this epoch: its own; the one before if the answer was lost, and it owns
        nothing that is not its; 0 to join again."""
        if epoch == self.epoch or (epoch == JOIN_EPOCH and self.epoch > 0):
            return True
        return epoch < self.epoch and epoch == self.previous_epoch and owned is not None and self.covers(owned)


class MemberTimers:
    """The deadlines of one member. Soft: armed anew after a restart."""

    __slots__ = ("rejoin", "revocation", "session", "sync")

    def __init__(self, session: Deadline, revocation: Deadline, rejoin: Deadline, sync: Deadline) -> None:
        self.session = session  # it must be heard of
        self.revocation = revocation  # it must give up what it was told to
        self.rejoin = rejoin  # classic protocol: it must answer REBALANCE_IN_PROGRESS with a JoinGroup
        self.sync = sync  # classic protocol: it must follow its JoinGroup with a SyncGroup

    def clear(self) -> None:
        """End all."""
        for deadline in (self.session, self.revocation, self.rejoin, self.sync):
            deadline.clear()


class ConsumerGroup:
    """A group of the consumer protocol; some of its members may speak the classic one."""

    __slots__ = (
        "assigned_at_ms",
        "assignment_epoch",
        "epoch",
        "group_id",
        "members",
        "metadata_hash",
        "owners",
        "regexes",
        "static_ids",
        "targets",
        "timers",
        "topics_version",
    )

    group_type = CONSUMER_TYPE
    protocol_type: str | None = CONSUMER_TYPE

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        # Lasting, and what follows from it. Only `apply` changes these.
        self.epoch = FIRST_EPOCH
        self.metadata_hash = 0  # of the subscribed topics, as `epoch` has them
        self.assignment_epoch = FIRST_EPOCH  # of the target assignment
        self.assigned_at_ms = 0  # wall clock; 0 when there was nobody to assign to
        self.members: dict[str, ConsumerMember] = {}
        self.targets: dict[str, Partitions] = {}  # by member id
        self.regexes: dict[str, frozenset[str]] = {}  # pattern -> topic names, for patterns that were resolved
        self.static_ids: dict[str, str] = {}  # group.instance.id -> member id
        self.owners: dict[bytes, dict[int, str]] = {}  # topic id -> partition -> member id, pending revocations too
        # Soft.
        self.timers: dict[str, MemberTimers] = {}
        self.topics_version: int | None = None  # of the topics that hash and patterns were compared with last

    def copy(self) -> ConsumerGroup:
        """A draft: the same state, no timers."""
        draft = ConsumerGroup(self.group_id)
        draft.epoch = self.epoch
        draft.metadata_hash = self.metadata_hash
        draft.assignment_epoch = self.assignment_epoch
        draft.assigned_at_ms = self.assigned_at_ms
        draft.members = dict(self.members)
        draft.targets = dict(self.targets)
        draft.regexes = dict(self.regexes)
        draft.static_ids = dict(self.static_ids)
        draft.owners = {topic_id: dict(partitions) for topic_id, partitions in self.owners.items()}
        return draft

    # -- lasting state ------------------------------------------------------------------------------------------------

    def apply(self, record: StateRecord) -> None:
        """Replay of a record of this group. Its order within the group may be that of a compacted log."""
        key, value = record.key, record.value
        if isinstance(key, ConsumerGroupMemberMetadataKey):
            if value is None:
                self._remove(key.member_id)
            else:
                assert isinstance(value, ConsumerGroupMemberMetadataValue)
                self._describe(key.member_id, value)
        elif isinstance(key, ConsumerGroupCurrentMemberAssignmentKey):
            if value is not None:
                assert isinstance(value, ConsumerGroupCurrentMemberAssignmentValue)
                self._advance(key.member_id, value)
            elif key.member_id in self.members:
                self._put(self.members[key.member_id]._replace(assigned={}, revoking={}))
        elif isinstance(key, ConsumerGroupTargetAssignmentMemberKey):
            if value is None:
                self.targets.pop(key.member_id, None)
            else:
                assert isinstance(value, ConsumerGroupTargetAssignmentMemberValue)
                self.targets[key.member_id] = {
                    topic.topic_id: frozenset(topic.partitions) for topic in value.topic_partitions
                }
        elif isinstance(key, ConsumerGroupTargetAssignmentMetadataKey):
            if value is not None:
                assert isinstance(value, ConsumerGroupTargetAssignmentMetadataValue)
                self.assignment_epoch = value.assignment_epoch
                self.assigned_at_ms = value.assignment_timestamp
        elif isinstance(key, ConsumerGroupMetadataKey):
            if value is not None:
                assert isinstance(value, ConsumerGroupMetadataValue)
                self.epoch = value.epoch
                self.metadata_hash = value.metadata_hash
        elif isinstance(key, ConsumerGroupRegularExpressionKey):
            if value is None:
                self.regexes.pop(key.regular_expression, None)
            else:
                assert isinstance(value, ConsumerGroupRegularExpressionValue)
                self.regexes[key.regular_expression] = frozenset(value.topics)

    def _describe(self, member_id: str, value: ConsumerGroupMemberMetadataValue) -> None:
        classic = value.classic_member_metadata
        member = self.members.get(member_id, ConsumerMember(member_id))._replace(
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            topics=tuple(value.subscribed_topic_names),
            regex=value.subscribed_topic_regex or "",
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            assignor=value.server_assignor,
            classic=None
            if classic is None
            else ClassicSide(
                classic.session_timeout_ms,
                tuple((protocol.name, bytes(protocol.metadata)) for protocol in classic.supported_protocols),
            ),
        )
        before = self.members.get(member_id)
        if before is not None and before.instance_id != member.instance_id:
            self._forget_instance(before)
        self._put(member)
        if member.instance_id is not None:
            self.static_ids[member.instance_id] = member_id

    def _advance(self, member_id: str, value: ConsumerGroupCurrentMemberAssignmentValue) -> None:
        try:
            state = MemberState(value.state)
        except ValueError:
            state = MemberState.UNKNOWN
        self._put(
            self.members.get(member_id, ConsumerMember(member_id))._replace(
                epoch=value.member_epoch,
                previous_epoch=value.previous_member_epoch,
                state=state,
                assigned=_with_epochs(value.assigned_partitions, value.member_epoch),
                revoking=_with_epochs(value.partitions_pending_revocation, value.member_epoch),
            )
        )

    def _put(self, member: ConsumerMember) -> None:
        before = self.members.get(member.member_id)
        self.members[member.member_id] = member
        if before is not None and before.assigned is member.assigned and before.revoking is member.revoking:
            return
        self._release(before)
        for held in (member.assigned, member.revoking):
            for topic_id, partitions in held.items():
                self.owners.setdefault(topic_id, {}).update(dict.fromkeys(partitions, member.member_id))

    def _release(self, member: ConsumerMember | None) -> None:
        if member is None:
            return
        for held in (member.assigned, member.revoking):
            for topic_id, partitions in held.items():
                owners = self.owners.get(topic_id, {})
                for partition in partitions:
                    if owners.get(partition) == member.member_id:
                        del owners[partition]
                if not owners:
                    self.owners.pop(topic_id, None)

    def _remove(self, member_id: str) -> None:
        member = self.members.pop(member_id, None)
        if member is None:
            return
        self._release(member)
        self._forget_instance(member)
        timers = self.timers.pop(member_id, None)
        if timers is not None:
            timers.clear()

    def _forget_instance(self, member: ConsumerMember) -> None:
        if member.instance_id is not None and self.static_ids.get(member.instance_id) == member.member_id:
            del self.static_ids[member.instance_id]

    def bury(self) -> None:
        """The group is gone: no timer of it may act."""
        for timers in self.timers.values():
            timers.clear()
        self.timers.clear()

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nobody is in."""
        return not self.members

    @property
    def state_name(self) -> str:
        """Kafka's name of the state, as clients see it."""
        if not self.members:
            return "Empty"
        if self.epoch > self.assignment_epoch:
            return "Assigning"
        if all(
            member.state is MemberState.STABLE and member.epoch == self.assignment_epoch
            for member in self.members.values()
        ):
            return "Stable"
        return "Reconciling"

    def member_named(self, member_id: str, instance_id: str | None) -> ConsumerMember | None:
        """The member that goes by the instance id, if there is one, else by the member id."""
        if instance_id is not None:
            member_id = self.static_ids.get(instance_id, "")
        return self.members.get(member_id)

    def has_room(self, member_id: str, max_size: int) -> bool:
        """Whether a member may be there: those who are in stay in, others come until `max_size` is reached."""
        return len(self.members) < max_size or member_id in self.members

    def topics_of(self, member: ConsumerMember) -> frozenset[str]:
        """All topics a member reads; a pattern that is not resolved yet gives none."""
        return frozenset(member.topics) | self.regexes.get(member.regex, frozenset())

    def subscribed_topics(self) -> set[str]:
        """All topics that any member reads."""
        # Members mostly read the same: each subscription is looked at once.
        names = {member.topics for member in self.members.values()}
        patterns = {member.regex for member in self.members.values()}
        return set().union(*names, *(self.regexes.get(pattern, ()) for pattern in patterns))

    def unused_regexes(self) -> list[str]:
        """Resolved patterns that no member has."""
        used = {member.regex for member in self.members.values()}
        return [regex for regex in self.regexes if regex not in used]

    def unresolved_regexes(self) -> list[str]:
        """Patterns of members that were never resolved."""
        used = {member.regex for member in self.members.values() if member.regex}
        return sorted(used - self.regexes.keys())

    def assignor(self, offered: tuple[str, ...]) -> str:
        """The assignor that most members ask for; the earlier one of `offered` if as many do; the first for none."""
        wanted = Counter(member.assignor for member in self.members.values() if member.assignor in offered)
        return max(offered, key=lambda name: wanted[name])

    def target(self, member_id: str) -> Partitions:
        """What a member is to have in the end."""
        return self.targets.get(member_id, {})

    def is_free(self, topic_id: bytes, partition: int, member: ConsumerMember) -> bool:
        """Whether the member can get a partition that it was not assigned: nobody holds it, or itself, having given
        it up."""
        owner = self.owners.get(topic_id, {}).get(partition)
        return owner is None or partition in member.revoking.get(topic_id, ())

    def lacks_only_held(self, member: ConsumerMember) -> bool:
        """Whether every partition that a member still lacks is held by another."""
        return all(
            not self.is_free(topic_id, partition, member)
            for topic_id, partitions in self.target(member.member_id).items()
            for partition in partitions - member.assigned.get(topic_id, {}).keys()
        )

    # -- the classic protocol inside ----------------------------------------------------------------------------------

    @property
    def all_classic(self) -> bool:
        """Whether all members speak the classic protocol."""
        return all(member.classic is not None for member in self.members.values())

    def accepts(self, protocol_type: str, protocols: tuple[tuple[str, bytes], ...]) -> bool:
        """Whether a classic member with these may join: a consumer, with one protocol that all such members offer."""
        if protocol_type != CONSUMER_TYPE or not protocols:
            return False
        offers = [
            {name for name, _ in member.classic.protocols}
            for member in self.members.values()
            if member.classic is not None
        ]
        return any(all(name in offer for offer in offers) for name, _ in protocols)

    # -- offsets ------------------------------------------------------------------------------------------------------

    def check_commit(
        self, member_id: str, instance_id: str | None, epoch: int, version: int, *, transactional: bool = False
    ) -> ErrorCode:
        """Whether these may commit offsets at all; for which partitions is `check_commit_of`'s to say."""
        if epoch < 0 and not self.members:
            return ErrorCode.NONE
        if transactional and epoch < 0 and not member_id and instance_id is None:
            return ErrorCode.NONE
        member = self.members.get(member_id)
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if not transactional and member.classic is None and version < _MEMBER_EPOCHS_FROM:
            return ErrorCode.UNSUPPORTED_VERSION
        if epoch > member.epoch:
            return _stale(member)
        return ErrorCode.NONE

    def check_commit_of(self, member_id: str, epoch: int, topic_id: bytes, partition: int) -> ErrorCode:
        """Whether a member that may commit may do so for one partition: in its present epoch any, in an older one
        those that it has had since then (KIP-1251)."""
        member = self.members.get(member_id)
        if member is None or epoch == member.epoch:
            return ErrorCode.NONE
        assigned_in = member.assigned_in(topic_id, partition)
        return ErrorCode.NONE if assigned_in is not None and 0 <= assigned_in <= epoch else _stale(member)

    def check_fetch(self, member_id: str | None, epoch: int) -> ErrorCode:
        """Whether these may fetch offsets."""
        if member_id is None and epoch < 0:
            return ErrorCode.NONE
        member = self.members.get(member_id or "")
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        return ErrorCode.NONE if epoch == member.epoch else _stale(member)

    def check_delete_offsets(self) -> ErrorCode:
        """Whether offsets may be deleted: always, but of subscribed topics."""
        return ErrorCode.NONE

    def retention_start_ms(self, commit_timestamp_ms: int) -> int | None:
        """From when (wall clock) an offset's retention counts: from its commit."""
        return commit_timestamp_ms

    @property
    def may_expire(self) -> bool:
        """Whether the group may go once it has no offsets left."""
        return not self.members


def reconciled(
    group: ConsumerGroup,
    member: ConsumerMember,
    owned: Partitions | None,
    topic_ids: frozenset[bytes],
    subscription_changed: bool,
) -> ConsumerMember:
    """The member's next step towards its target assignment; itself if there is none now, or if it must be fenced
    because its state is unknown (the caller's to see).

    `owned` is what it says it has, None if it did not say; `topic_ids` what it subscribes to, whatever its target says.
    """
    if member.state is MemberState.STABLE:
        if member.epoch != group.assignment_epoch:
            return _next(group, member, member.epoch, owned, topic_ids)
        return _unsubscribed(member, owned, topic_ids) if subscription_changed else member
    if member.state is MemberState.UNREVOKED_PARTITIONS:
        if _owns_any(owned, member.revoking):
            return _unsubscribed(member, owned, topic_ids) if subscription_changed else member
        # It may have been told to revoke before there was a newer target: then it stays in its epoch.
        return _next(group, member, min(member.epoch + 1, group.assignment_epoch), owned, topic_ids)
    epoch = member.epoch if member.state is MemberState.UNRELEASED_PARTITIONS else group.assignment_epoch
    return _next(group, member, epoch, owned, topic_ids)


def _next(
    group: ConsumerGroup, member: ConsumerMember, epoch: int, owned: Partitions | None, topic_ids: frozenset[bytes]
) -> ConsumerMember:
    """Keep what is in the target; first give up the rest, then take what is new and free."""
    target = {id_: partitions for id_, partitions in group.target(member.member_id).items() if id_ in topic_ids}
    kept: dict[bytes, dict[int, int]] = {}
    revoking: dict[bytes, dict[int, int]] = {}
    for topic_id, partitions in member.assigned.items():
        wanted = target.get(topic_id, frozenset())
        for partition, assigned_in in partitions.items():
            side = kept if partition in wanted else revoking
            side.setdefault(topic_id, {})[partition] = assigned_in
    if _owns_any(owned, revoking) and revoking:
        return member.advanced(epoch, MemberState.UNREVOKED_PARTITIONS, kept, revoking)
    unreleased = False
    for topic_id, wanted in target.items():
        for partition in sorted(wanted - kept.get(topic_id, {}).keys()):
            if group.is_free(topic_id, partition, member):
                kept.setdefault(topic_id, {})[partition] = group.assignment_epoch
            else:
                unreleased = True
    state = MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE
    return member.advanced(group.assignment_epoch, state, kept, {})


def _unsubscribed(member: ConsumerMember, owned: Partitions | None, topic_ids: frozenset[bytes]) -> ConsumerMember:
    """Before a new target is there: what the member does not subscribe to any more is to be given up already."""
    dropped = {id_: partitions for id_, partitions in member.assigned.items() if id_ not in topic_ids}
    if not dropped:
        return member
    kept = {id_: partitions for id_, partitions in member.assigned.items() if id_ in topic_ids}
    revoking = {id_: dict(partitions) for id_, partitions in member.revoking.items()}
    for topic_id, partitions in dropped.items():
        revoking.setdefault(topic_id, {}).update(partitions)
    if _owns_any(owned, revoking):
        return member._replace(state=MemberState.UNREVOKED_PARTITIONS, assigned=kept, revoking=revoking)
    return member._replace(assigned=kept)


def _owns_any(owned: Partitions | None, revoking: Assigned) -> bool:
    """Whether a member still has some of these; one that does not say is taken to have them."""
    if owned is None:
        return True
    return any(not owned.get(topic_id, frozenset()).isdisjoint(partitions) for topic_id, partitions in revoking.items())


def partitions_of(assigned: Assigned) -> dict[bytes, frozenset[int]]:
    """Without the epochs."""
    return {topic_id: frozenset(partitions) for topic_id, partitions in assigned.items()}


def _stale(member: ConsumerMember) -> ErrorCode:
    """What a wrong epoch is called in the protocol that the member speaks."""
    return ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION


def _with_epochs(
    topics: list[ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions], member_epoch: int
) -> dict[bytes, dict[int, int]]:
    """Records of before Kafka 4.3 have no epochs of partitions: the member's stands for them."""
    return {
        topic.topic_id: dict(zip(topic.partitions, _epochs_of(topic, member_epoch), strict=False))
        for topic in topics
        if topic.partitions
    }


def _epochs_of(topic: ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions, member_epoch: int) -> Iterator[int]:
    epochs = topic.assignment_epochs
    if epochs is not None and len(epochs) == len(topic.partitions):
        return iter(epochs)
    return iter([member_epoch] * len(topic.partitions))
