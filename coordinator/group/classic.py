"""A classic group: its states, members and the pure decisions over them (protocol vote, leader, who may commit).

Nothing here knows requests, timers' meaning or the log; `membership.py` drives it. What lasts (`saved`) is changed by
`replay` alone; everything else is soft and starts anew after a restart (`restore`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from ottla.coordinator.group.records import parse_subscription
from ottla.coordinator.timers import Deadline, TimerHandle
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, ProtocolError
from ottla.wire.messages.join_group import JoinGroupResponse
from ottla.wire.messages.sync_group import SyncGroupResponse
from ottla.wire.state.consumer_offsets import GroupMetadataValue

CLASSIC_TYPE = "classic"
CONSUMER_PROTOCOL_TYPE = "consumer"

Protocols = tuple[tuple[str, bytes], ...]
"""(name, metadata) of each protocol a member offers, the preferred one first."""


class GroupState(Enum):
    """The value is Kafka's name, as clients see it."""

    EMPTY = "Empty"  # no members; perhaps offsets
    PREPARING_REBALANCE = "PreparingRebalance"  # waiting for joins
    COMPLETING_REBALANCE = "CompletingRebalance"  # waiting for the leader's assignment
    STABLE = "Stable"
    DEAD = "Dead"  # gone; only those that still hold the object see it


class Trigger(Enum):
    """What moves a group from state to state."""

    REBALANCE = auto()  # a member came, left, died or changed its protocols
    JOINED = auto()  # the join phase is over and members are there
    DESERTED = auto()  # the join phase is over and nobody is there
    ASSIGNED = auto()  # the leader's assignment is written
    DELETED = auto()  # deleted, expired, or the coordinator stops


_S, _T = GroupState, Trigger

TRANSITIONS: dict[tuple[GroupState, Trigger], GroupState] = {
    (_S.EMPTY, _T.REBALANCE): _S.PREPARING_REBALANCE,
    (_S.STABLE, _T.REBALANCE): _S.PREPARING_REBALANCE,
    (_S.COMPLETING_REBALANCE, _T.REBALANCE): _S.PREPARING_REBALANCE,
    (_S.PREPARING_REBALANCE, _T.JOINED): _S.COMPLETING_REBALANCE,
    (_S.PREPARING_REBALANCE, _T.DESERTED): _S.EMPTY,
    (_S.COMPLETING_REBALANCE, _T.ASSIGNED): _S.STABLE,
    (_S.EMPTY, _T.DELETED): _S.DEAD,
    (_S.PREPARING_REBALANCE, _T.DELETED): _S.DEAD,
    (_S.COMPLETING_REBALANCE, _T.DELETED): _S.DEAD,
    (_S.STABLE, _T.DELETED): _S.DEAD,
}
"""Every move there is; any other is a bug and raises KeyError."""

HEARTBEAT_ANSWERS: dict[GroupState, ErrorCode] = {
    _S.EMPTY: ErrorCode.UNKNOWN_MEMBER_ID,
    _S.PREPARING_REBALANCE: ErrorCode.REBALANCE_IN_PROGRESS,
    _S.COMPLETING_REBALANCE: ErrorCode.NONE,
    _S.STABLE: ErrorCode.NONE,
    _S.DEAD: ErrorCode.COORDINATOR_NOT_AVAILABLE,
}
"""The answer to a heartbeat of a known member in the group's generation."""


class Member:
    """One member of a classic group: what it said of itself, and the requests it waits on."""

    __slots__ = (
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "join_version",
        "member_id",
        "parked_join",
        "parked_sync",
        "protocols",
        "rebalance_timeout_ms",
        "session",
        "session_timeout_ms",
    )

    def __init__(
        self,
        member_id: str,
        *,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Protocols,
        session: Deadline,
        is_new: bool,
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.session = session
        self.is_new = is_new  # no join answered yet: it may expire even while that join is parked
        self.parked_join: Pending[JoinGroupResponse] | None = None
        self.join_version = 0
        self.parked_sync: Pending[SyncGroupResponse] | None = None

    def metadata(self, protocol_name: str | None) -> bytes:
        """Its metadata for a protocol, b"" if it does not offer that."""
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        return b""

    @property
    def is_parked(self) -> bool:
        """Waits for an answer of ours, and so is alive."""
        return self.parked_join is not None or self.parked_sync is not None


class ClassicGroup:
    """A group of the classic protocol, or one that only commits offsets (a "simple" group: no protocol type)."""

    __slots__ = (
        "_offered",
        "_parked_joins",
        "assignments_void",
        "generation",
        "group_id",
        "is_first_join",
        "join_timer",
        "joined_during_delay",
        "leader_id",
        "members",
        "pending",
        "pending_sync",
        "protocol_name",
        "protocol_type",
        "saved",
        "saved_members",
        "state",
        "state_since_ms",
        "static_ids",
        "sync_timer",
    )

    group_type = CLASSIC_TYPE

    def __init__(self, group_id: str, now_ms: int) -> None:
        self.group_id = group_id
        # Lasting: the last record written, and its members by id. Only `save` (replay) touches these.
        self.saved: GroupMetadataValue | None = None
        self.saved_members: dict[str, GroupMetadataValue.MemberMetadata] = {}
        # Soft: the rebalance going on.
        self.state = GroupState.EMPTY
        self.state_since_ms = now_ms  # wall clock; -1 when a record did not say
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.leader_id: str | None = None
        self.members: dict[str, Member] = {}
        self.static_ids: dict[str, str] = {}  # group.instance.id -> member id
        self.pending: dict[str, Deadline] = {}  # ids handed out with MEMBER_ID_REQUIRED and not used yet
        self.pending_sync: set[str] = set()  # joined this generation, did not sync yet
        self.is_first_join = False  # the join phase that an empty group began: ended by the initial delay alone
        self.joined_during_delay = False
        self.assignments_void = False  # the saved assignments are of a rebalance that was given up
        self.join_timer: TimerHandle | None = None
        self.sync_timer: TimerHandle | None = None
        self._parked_joins = 0
        self._offered: dict[str, int] = {}  # protocol name -> how many members offer it

    # -- lasting state ------------------------------------------------------------------------------------------------

    def save(self, value: GroupMetadataValue) -> None:
        """Replay of the group's record."""
        self.saved = value
        self.saved_members = {member.member_id: member for member in value.members}

    def restore(self, new_session: Callable[[str], Deadline]) -> None:
        """Begin where the saved record left off: Stable in the same generation if it has members, else Empty."""
        value = self.saved
        if value is None:
            return
        self.generation = value.generation
        self.protocol_type = value.protocol_type or None
        self.protocol_name = value.protocol
        self.state_since_ms = value.current_state_timestamp
        for saved in value.members:
            rebalance_timeout_ms = saved.rebalance_timeout
            if rebalance_timeout_ms == -1:  # a record of version 0
                rebalance_timeout_ms = saved.session_timeout
            self.add(
                Member(
                    saved.member_id,
                    instance_id=saved.group_instance_id,
                    client_id=saved.client_id,
                    client_host=saved.client_host,
                    rebalance_timeout_ms=rebalance_timeout_ms,
                    session_timeout_ms=saved.session_timeout,
                    protocols=((value.protocol or "", bytes(saved.subscription)),),
                    session=new_session(saved.member_id),
                    is_new=False,
                )
            )
        self.leader_id = value.leader
        self.protocol_type = value.protocol_type or None
        self.state = GroupState.STABLE if self.members else GroupState.EMPTY

    def assignment(self, member_id: str) -> bytes:
        """What the leader gave a member, b"" if nothing."""
        saved = self.saved_members.get(member_id)
        return b"" if saved is None or self.assignments_void else bytes(saved.assignment)

    # -- states -------------------------------------------------------------------------------------------------------

    def move(self, trigger: Trigger, now_ms: int) -> None:
        """Take the one transition that `trigger` allows from here. KeyError if there is none."""
        before = self.state
        self.state = TRANSITIONS[before, trigger]
        self.state_since_ms = now_ms
        if trigger is Trigger.REBALANCE:
            self.is_first_join = before is GroupState.EMPTY
            self.joined_during_delay = False

    @property
    def state_name(self) -> str:
        """Kafka's name of the state, as clients see it."""
        return self.state.value

    @property
    def is_empty(self) -> bool:
        """Nobody is in, and the record that says so is decided: it may be deleted."""
        return self.state is GroupState.EMPTY

    @property
    def may_expire(self) -> bool:
        """Whether it may go once it has no offsets left: not while somebody holds an id for it."""
        return self.state is GroupState.EMPTY and not self.pending

    @property
    def can_rebalance(self) -> bool:
        return (self.state, Trigger.REBALANCE) in TRANSITIONS

    def next_generation(self, now_ms: int) -> None:
        """End the join phase: count up, choose the protocol, wait for the leader's sync (or be Empty)."""
        self.generation += 1
        self.pending_sync.clear()
        if self.members:
            self.protocol_name = self.vote()
            self.move(Trigger.JOINED, now_ms)
        else:
            self.protocol_name = None
            self.move(Trigger.DESERTED, now_ms)

    # -- members ------------------------------------------------------------------------------------------------------

    def add(self, member: Member) -> None:
        """A new member; the first one sets the protocol type (by the caller) and is the leader."""
        self.pending.pop(member.member_id, None)
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.static_ids[member.instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self._count(member.protocols, 1)

    def remove(self, member_id: str) -> Member | None:
        """Take a member out and end its session. Its parked requests must have been taken. None if unknown."""
        member = self.members.pop(member_id, None)
        if member is None:
            return None
        member.session.clear()
        self._count(member.protocols, -1)
        self.pending_sync.discard(member_id)
        if member.instance_id is not None and self.static_ids.get(member.instance_id) == member_id:
            del self.static_ids[member.instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        return member

    def forget_pending(self, member_id: str) -> bool:
        """Drop an id that was handed out; False if it was not."""
        deadline = self.pending.pop(member_id, None)
        if deadline is None:
            return False
        deadline.clear()
        return True

    def update(self, member: Member, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int) -> None:
        """What the member says of itself now."""
        self._count(member.protocols, -1)
        self._count(protocols, 1)
        member.protocols = protocols
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def rename(self, member: Member, member_id: str, session: Deadline) -> None:
        """A static member goes on under another id. Its parked requests must have been taken."""
        old_id = member.member_id
        del self.members[old_id]
        member.session.clear()
        member.session = session
        member.member_id = member_id
        self.members[member_id] = member
        if member.instance_id is not None:
            self.static_ids[member.instance_id] = member_id
        if self.leader_id == old_id:
            self.leader_id = member_id
        if old_id in self.pending_sync:
            self.pending_sync.remove(old_id)
            self.pending_sync.add(member_id)

    def check_member(self, member_id: str, instance_id: str | None) -> ErrorCode:
        """Whether the id is a member's and the instance id, if any, belongs to it (KIP-345)."""
        if instance_id is not None:
            static_id = self.static_ids.get(instance_id)
            if static_id is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            if static_id != member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        return ErrorCode.NONE if member_id in self.members else ErrorCode.UNKNOWN_MEMBER_ID

    def has_room(self, member_id: str, max_size: int) -> bool:
        """Whether a join may go on: those who are in stay in, others come until `group.max.size` is reached."""
        if self.state is GroupState.PREPARING_REBALANCE:
            member = self.members.get(member_id)
            return (member is not None and member.parked_join is not None) or self._parked_joins < max_size
        if self.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            return member_id in self.members or len(self.members) < max_size
        return True

    def rebalance_timeout_ms(self) -> int:
        """The longest any member asks for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    # -- protocols ----------------------------------------------------------------------------------------------------

    def accepts(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether a member with these may join: of the group's type, and one protocol that all members offer."""
        if self.state is GroupState.EMPTY:
            return bool(protocol_type and protocols)
        if protocol_type != self.protocol_type:
            return False
        return any(self._offered.get(name, 0) == len(self.members) for name, _ in protocols)

    def vote(self) -> str:
        """Each member votes for its first protocol that all offer; most votes win, the earliest voted for if equal."""
        votes: dict[str, int] = {}
        for member in self.members.values():
            for name, _ in member.protocols:
                if self._offered[name] == len(self.members):
                    votes[name] = votes.get(name, 0) + 1
                    break
        return max(votes, key=votes.__getitem__)

    def elect_leader(self) -> bool:
        """The leader stays if it re-joined, else the first who did leads; False if nobody did."""
        leader = self.members.get(self.leader_id) if self.leader_id is not None else None
        if leader is not None and leader.parked_join is not None:
            return True
        for member in self.members.values():
            if member.parked_join is not None:
                self.leader_id = member.member_id
                return True
        return False

    def _count(self, protocols: Protocols, by: int) -> None:
        offered = self._offered
        for name, _ in protocols:
            count = offered.get(name, 0) + by
            if count:
                offered[name] = count
            else:
                del offered[name]

    # -- parked requests ----------------------------------------------------------------------------------------------

    @property
    def all_joined(self) -> bool:
        """Whether every known member waits in a join and nobody holds an unused id."""
        return self._parked_joins == len(self.members) and not self.pending

    def park_join(self, member: Member, parked: Pending[JoinGroupResponse], version: int) -> None:
        """Let a member wait for the join phase to end. Its earlier join, if any, must have been taken."""
        self._parked_joins += 1
        member.parked_join = parked
        member.join_version = version

    def take_join(self, member: Member) -> Pending[JoinGroupResponse] | None:
        """The member's parked join, for the caller to answer."""
        parked, member.parked_join = member.parked_join, None
        if parked is not None:
            self._parked_joins -= 1
        return parked

    def take_sync(self, member: Member) -> Pending[SyncGroupResponse] | None:
        """The member's parked sync, for the caller to answer."""
        parked, member.parked_sync = member.parked_sync, None
        return parked

    # -- offsets ------------------------------------------------------------------------------------------------------

    def check_commit(
        self, member_id: str, instance_id: str | None, epoch: int, version: int, *, transactional: bool = False
    ) -> ErrorCode:
        """Whether these may commit offsets now. A transaction needs no member, and may end while the group rebalances
        (KIP-447).
        """
        if self.state is GroupState.DEAD:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if epoch < 0 and self.state is GroupState.EMPTY:
            return ErrorCode.NONE
        if epoch >= 0 or member_id or instance_id is not None:
            code = self.check_member(member_id, instance_id)
            if code is not ErrorCode.NONE:
                return code
            if epoch != self.generation:
                return ErrorCode.ILLEGAL_GENERATION
        elif not transactional and self.state is not GroupState.EMPTY:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if not transactional and self.state is GroupState.COMPLETING_REBALANCE:
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def check_commit_of(self, member_id: str, epoch: int, topic_id: bytes, partition: int) -> ErrorCode:
        """Whether one who may commit may do so for this partition: a generation is for all of them."""
        return ErrorCode.NONE

    def check_fetch(self, member_id: str | None, epoch: int) -> ErrorCode:
        """Whether these may fetch offsets: everyone may."""
        return ErrorCode.NONE

    def check_delete_offsets(self) -> ErrorCode:
        """Whether offsets of topics that nobody reads may be deleted."""
        if self.state is GroupState.DEAD:
            return ErrorCode.GROUP_ID_NOT_FOUND
        if self.state is not GroupState.EMPTY and self.protocol_type != CONSUMER_PROTOCOL_TYPE:
            return ErrorCode.NON_EMPTY_GROUP
        return ErrorCode.NONE

    def subscribed_topics(self) -> set[str] | None:
        """Topics the members of a consumer group read; None if what they said of themselves cannot be read."""
        if self.protocol_type != CONSUMER_PROTOCOL_TYPE or not self.members:
            return set()
        if self.protocol_name is None:
            return None
        try:
            return {
                topic
                for member in self.members.values()
                for topic in parse_subscription(member.metadata(self.protocol_name)).topics
            }
        except ProtocolError:
            return None

    def retention_start_ms(self, commit_timestamp_ms: int) -> int | None:
        """From when (wall clock) an offset's retention counts; None while it does not expire."""
        if self.protocol_type is None:
            return commit_timestamp_ms
        if self.state is GroupState.EMPTY:
            return commit_timestamp_ms if self.state_since_ms == -1 else self.state_since_ms
        if self.state is GroupState.STABLE and self.protocol_type == CONSUMER_PROTOCOL_TYPE:
            return commit_timestamp_ms
        return None
