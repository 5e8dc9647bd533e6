"""A change of a consumer group while it is decided: the records so far, and the group as they will leave it.

Each verb writes what differs and nothing else, so that doing it twice is doing it once. When members come and go, and
what they are answered, is consumer_membership.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from ottla.coordinator.group.assignors import MemberSpec, TopicSpec, assign
from ottla.coordinator.group.consumer import ConsumerGroup, ConsumerMember, MemberState, Partitions, reconciled
from ottla.coordinator.group.consumer_records import (
    assignment_epoch_record,
    current_record,
    epoch_record,
    member_record,
    member_tombstones,
    regex_record,
    regex_tombstone,
    target_record,
)
from ottla.coordinator.group.pins import Who, pinned
from ottla.coordinator.group.pins import resolve as resolve_pin
from ottla.coordinator.group.steering import Pin
from ottla.coordinator.group.subscriptions import resolve
from ottla.coordinator.ports import TopicLookup
from ottla.coordinator.regex import compile_regex
from ottla.coordinator.state_record import StateRecord
from ottla.wire.errors import ErrorCode, KafkaError


class GroupChange:
    """Records, and `group` as it is once they are replayed. Until there is a record, `group` is the real one."""

    __slots__ = ("_copied", "_now_ms", "_topics", "group", "records")

    def __init__(self, group: ConsumerGroup, topics: TopicLookup, now_ms: int, *, is_draft: bool = False) -> None:
        """`now_ms` is wall time; `is_draft`: the group was made for this change and may be changed itself."""
        self.group = group
        self.records: list[StateRecord] = []
        self._topics = topics
        self._now_ms = now_ms
        self._copied = is_draft

    def add(self, *records: StateRecord) -> None:
        """Have the records written, and see the group as they leave it."""
        if not self._copied:
            self.group = self.group.copy()
            self._copied = True
        for record in records:
            self.records.append(record)
            self.group.apply(record)

    def end(self, records: Iterable[StateRecord]) -> None:
        """The records that end the group, the last ones: `group` stays as it is before them."""
        self.records += records

    # -- members ------------------------------------------------------------------------------------------------------

    def describe(self, member: ConsumerMember) -> bool:
        """A new member, or what a member says of itself now. Returns whether the group must be assigned anew for what
        is new in it; for a pattern that was not resolved yet that is known only when it is.
        """
        before = self.group.members.get(member.member_id)
        if member == before:
            return False
        offered = before if before is not None else ConsumerMember(member.member_id)
        self.add(member_record(self.group.group_id, member))
        for regex in self.group.unused_regexes():
            self.add(regex_tombstone(self.group.group_id, regex))
        new_regex = member.regex != offered.regex and (not member.regex or member.regex in self.group.regexes)
        return member.topics != offered.topics or new_regex or member.assignor != offered.assignor

    def put(self, member: ConsumerMember) -> None:
        """What a member has now."""
        if member != self.group.members.get(member.member_id):
            self.add(current_record(self.group.group_id, member))

    def remove(self, member_ids: Iterable[str]) -> None:
        """Members are gone, and patterns that only they had."""
        for member_id in member_ids:
            self.add(*member_tombstones(self.group.group_id, member_id))
        for regex in self.group.unused_regexes():
            self.add(regex_tombstone(self.group.group_id, regex))

    def replace(self, member: ConsumerMember, member_id: str) -> ConsumerMember:
        """A static member goes on under another id, with all that it had, as one that just came."""
        target = self.group.target(member.member_id)
        heir = member._replace(member_id=member_id, epoch=0, previous_epoch=0)
        group_id = self.group.group_id
        self.add(*member_tombstones(group_id, member.member_id))
        self.add(
            member_record(group_id, heir), target_record(group_id, member_id, target), current_record(group_id, heir)
        )
        return heir

    # -- topics -------------------------------------------------------------------------------------------------------

    def resolve(self, regexes: Iterable[str]) -> bool:
        """Look up which topics the patterns stand for. Returns whether any stands for others than before."""
        changed = False
        names = list(self._topics.names())
        for regex in regexes:
            before = self.group.regexes.get(regex)
            try:
                topics = resolve(compile_regex(regex), names)
            except KafkaError:  # a pattern that a later version of the library refuses
                topics = frozenset()
            if topics == before:
                continue
            changed = changed or topics != (before or frozenset())
            self.add(regex_record(self.group.group_id, regex, topics, self._now_ms))
        return changed

    def bump(self, wanted: bool, *, look: bool) -> None:
        """A new group epoch if it is `wanted`, or if the metadata of subscribed topics changed; nobody looks there
        unless told to `look` or it is wanted.
        """
        group = self.group
        if not wanted and not look:
            return
        metadata_hash = metadata_hash_of(group.subscribed_topics(), self._topics)
        if wanted or metadata_hash != group.metadata_hash:
            self.add(epoch_record(group.group_id, group.epoch + 1, metadata_hash))

    # -- assignment ---------------------------------------------------------------------------------------------------

    def assign(self, offered: tuple[str, ...], interval_ms: int, pin: Pin | None = None) -> None:
        """A new target assignment, if the group epoch asks for one and the last one is `interval_ms` old.

        `offered`: the assignors of this broker, the default one first. `pin`: who has what, whatever they say.
        """
        group = self.group
        if not may_assign(group, self._now_ms, interval_ms):
            return
        if group.is_empty:
            self.add(assignment_epoch_record(group.group_id, group.epoch, 0))
            return
        specs: dict[str, MemberSpec] = {}
        topics: dict[bytes, TopicSpec] = {}
        ids: dict[str, bytes] = {}
        for name in group.subscribed_topics():
            topic_id, count = self._topics.id_of(name), self._topics.partition_count(name)
            if topic_id is not None and count is not None:
                ids[name] = topic_id
                topics[topic_id] = TopicSpec(name, count)
        same: dict[tuple[tuple[str, ...], str], frozenset[bytes]] = {}  # members mostly read the same: one set for all
        for member in group.members.values():
            subscription = member.topics, member.regex
            if subscription not in same:
                same[subscription] = frozenset(ids[name] for name in group.topics_of(member) if name in ids)
            specs[member.member_id] = MemberSpec(
                member.instance_id, member.rack_id, same[subscription], group.target(member.member_id)
            )
        target = assign(group.assignor(offered), specs, topics)
        if pin is not None:
            members = [Who(each.member_id, each.instance_id, each.client_id) for each in group.members.values()]
            bound = {
                member_id: {ids[topic]: indexes for topic, indexes in named.items() if topic in ids}
                for member_id, named in resolve_pin(pin, members).items()
            }
            target = pinned(target, bound, lambda member_id, topic_id: topic_id in specs[member_id].topic_ids)
        for member_id in specs:
            if group.targets.get(member_id) != target[member_id]:
                self.add(target_record(group.group_id, member_id, target[member_id]))
        self.add(assignment_epoch_record(group.group_id, group.epoch, self._now_ms))

    def reconcile(
        self, member_id: str, owned: Partitions | None, *, subscription_changed: bool = False
    ) -> ConsumerMember:
        """The member's next step towards its target. Raises KafkaError FENCED_MEMBER_EPOCH when its state is one that
        only a later version knows, and it still owns something.
        """
        member = self.group.members[member_id]
        settled = member.state is MemberState.STABLE and member.epoch == self.group.assignment_epoch
        if settled and not subscription_changed:
            return member
        if member.state is MemberState.UNKNOWN and (owned is None or any(owned.values())):
            raise KafkaError(
                ErrorCode.FENCED_MEMBER_EPOCH, "The member's state is unknown. It must abandon all its partitions."
            )
        topic_ids = frozenset(
            topic_id for topic_id in map(self._topics.id_of, self.group.topics_of(member)) if topic_id is not None
        )
        self.put(reconciled(self.group, member, owned, topic_ids, subscription_changed))
        return self.group.members[member_id]


def may_assign(group: ConsumerGroup, now_ms: int, interval_ms: int) -> bool:
    """Whether a new target assignment is to be made now. `now_ms` is wall time, which may have been set back."""
    if group.epoch <= group.assignment_epoch:
        return False
    return group.is_empty or not 0 <= now_ms - group.assigned_at_ms < interval_ms


def metadata_hash_of(names: Iterable[str], topics: TopicLookup) -> int:
    """A signed 64-bit number for what the assignment depends on: ids and partitions of those topics that exist; 0 for
    none. Not Kafka's function: who compares with a hash of Kafka's assigns once more, that is all.
    """
    digest = blake2b(digest_size=8)
    found = False
    for name in sorted(names):
        topic_id, count = topics.id_of(name), topics.partition_count(name)
        if topic_id is not None and count is not None:
            found = True
            digest.update(topic_id + count.to_bytes(4, "big"))
    return int.from_bytes(digest.digest(), "big", signed=True) if found else 0
