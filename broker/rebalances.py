"""Rebalances on a string: what a test orders of a consumer group, whatever its protocol. Kick a member, fence one, let
the group rebalance, pin who has what, move its coordinator; and wait until the group is as it should be.

Here names are resolved and orders checked; what they do is the group coordinator's. To hold a JoinGroup or SyncGroup is
a fault (faults/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from ottla.broker.group_views import GroupView, groups_of
from ottla.broker.names import name_fault
from ottla.broker.state_log import OFFSETS_TOPIC
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.group.steering import Pin

EXAMPLE: Final = '{"CLIENT": {"orders": [0, 1]}}'


class Rebalances:
    """The orders, over all nodes of a broker. Raise KafkaError with a sentence for what cannot be done, ValueError for
    what cannot be meant. A member goes by its member id, its instance id or its client id.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    # -- looking ------------------------------------------------------------------------------------------------------

    def groups(self) -> dict[str, GroupView]:
        """Every group, by its id."""
        return groups_of(self._broker)

    def group(self, group: str) -> GroupView:
        """Raises KafkaError GROUP_ID_NOT_FOUND."""
        found = self.groups().get(group)
        if found is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group}")
        return found

    async def wait(self, group: str, holds: Callable[[GroupView], bool]) -> GroupView:
        """The group once it is so; looked at again whenever a group changes. For how long is the caller's, by a cancel
        scope.
        """
        changed = trio.Event()

        def told() -> None:
            changed.set()

        watchers = self._broker.group_steering.watchers
        watchers.append(told)
        try:
            while True:
                # What changes is told in the middle of the change, so it is looked at after that.
                await trio.lowlevel.checkpoint()
                changed = trio.Event()
                found = self.groups().get(group)
                if found is not None and holds(found):
                    return found
                await changed.wait()
        finally:
            watchers.remove(told)

    # -- orders -------------------------------------------------------------------------------------------------------

    def kick(self, group: str, member: str) -> str:
        """Remove a member, as an administrator does: it hears UNKNOWN_MEMBER_ID next. Returns its member id."""
        member_id = self._member(group, member)
        self._coordinator(group).kick(group, member_id)
        return member_id

    def fence(self, group: str, member: str) -> tuple[str, str]:
        """Make a member's next words outdated. Returns its member id and what it will hear: FENCED_MEMBER_EPOCH or
        ILLEGAL_GENERATION in a group of KIP-848, FENCED_INSTANCE_ID for a static member of a classic group,
        UNKNOWN_MEMBER_ID for any other.
        """
        member_id = self._member(group, member)
        return member_id, self._coordinator(group).fence(group, member_id).name

    def rebalance(self, group: str) -> None:
        """Let the group rebalance: a classic one joins again, one of KIP-848 gets a new epoch and assigns anew."""
        self._coordinator(group).rebalance(group, "a test asked for it")

    def pin(self, group: str, assignment: Mapping[str, Mapping[str, Any]]) -> None:
        """From now on these members have these partitions, {member: {topic: [partition, ...]}}, and nothing else; the
        others share the rest. The group rebalances if it is there; if not, that is how it begins. Until `unpin`, or the
        process ends.
        """
        if not group:
            raise ValueError("which group? its name is empty")
        self._set_pin(group, self._checked(assignment))

    def unpin(self, group: str) -> None:
        """Assignors decide again; the group rebalances."""
        if group not in self._broker.group_steering.pins:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"nothing is pinned in {group}")
        self._set_pin(group, None)

    def pinned(self, group: str) -> dict[str, dict[str, list[int]]]:
        """What is pinned in the group."""
        pin = self._broker.group_steering.pins.get(group, {})
        return {who: {topic: sorted(indexes) for topic, indexes in topics.items()} for who, topics in pin.items()}

    def move_coordinator(self, group: str, node: int | None = None) -> int:
        """Move the group's coordinator to a node; None: away from the one that it is on and back, as the only node can.
        Its clients hear NOT_COORDINATOR and look for it again. Returns the node that has it now.
        """
        broker = self._broker
        there = broker.group_coordinator_node(group)
        if node is not None and node != there.id:
            broker.failover.move_coordinator("group", group, node)
            return node
        there.group_coordinator.reload(broker.offsets_partition(group))
        return there.id

    # -- inside -------------------------------------------------------------------------------------------------------

    def _coordinator(self, group: str) -> GroupCoordinator:
        if OFFSETS_TOPIC not in self._broker.cluster.topics:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group}")
        return self._broker.group_coordinator_node(group).groups

    def _set_pin(self, group: str, pin: Pin | None) -> None:
        """And let the group begin anew, if it is there; if it cannot, nothing has changed."""
        pins = self._broker.group_steering.pins
        before = pins.pop(group, None)
        if pin is not None:
            pins[group] = pin
        try:
            there = self.groups().get(group)
            if there is not None and there.members:
                self.rebalance(group)
        except KafkaError:
            pins.pop(group, None)
            if before is not None:
                pins[group] = before
            raise

    def _member(self, group: str, name: str) -> str:
        """The member id of who is meant. Raises KafkaError."""
        members = self.group(group).members
        for means in ("id", "instance_id", "client_id"):
            meant = [one.id for one in members if getattr(one, means) == name]
            if len(meant) > 1:
                raise KafkaError(
                    ErrorCode.UNKNOWN_MEMBER_ID,
                    f"{len(meant)} members of {group} go by {name}; give a member id",
                )
            if meant:
                return meant[0]
        there = ", ".join(f"{one.id} (client id {one.client_id})" for one in members) or "nobody"
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"there is no member {name} in {group}; there: {there}")

    def _checked(self, assignment: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, frozenset[int]]]:
        """Raises ValueError."""
        if not isinstance(assignment, Mapping) or not assignment:
            raise ValueError(f"pin an assignment, as {EXAMPLE}")
        owners: dict[tuple[str, int], str] = {}
        checked: dict[str, dict[str, frozenset[int]]] = {}
        for who, topics in assignment.items():
            if not isinstance(topics, Mapping):
                raise ValueError(f"what is pinned to {who} must be topics with partitions, as in {EXAMPLE}")
            checked[who] = {}
            for topic, indexes in topics.items():
                count = self._broker.cluster.partition_count(topic) if name_fault(topic) is None else None
                if count is None:
                    raise ValueError(f"there is no topic {topic} to pin to {who}; create it first")
                if not isinstance(indexes, list | tuple | set | frozenset) or not all(
                    type(at) is int for at in indexes
                ):
                    raise ValueError(f"partitions of {topic} pinned to {who} must be numbers, as in {EXAMPLE}")
                for index in indexes:
                    if not 0 <= index < count:
                        raise ValueError(f"there is no partition {topic}-{index} to pin to {who}; {topic} has {count}")
                    owner = owners.setdefault((topic, index), who)
                    if owner != who:
                        raise ValueError(f"{topic}-{index} is pinned to {owner} and {who}; it can have one owner")
                checked[who][topic] = frozenset(indexes)
        return checked
