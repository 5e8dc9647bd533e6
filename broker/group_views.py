"""What a test sees of consumer groups: state, members, committed offsets and lag, as plain values. Read inside the
broker's loop by the requests that admin clients make; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ottla.wire.errors import ProtocolError
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.state.embedded import ConsumerProtocolAssignment

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.coordinator.group.coordinator import GroupCoordinator

_OFFSET_FETCH: Final = 8  # the version that asks for groups, by the names of topics
_DESCRIBE: Final = 5
CONSUMER: Final = "consumer"  # the type of groups by KIP-848, and what consumers in classic ones call themselves

PerPartition = Mapping[str, Mapping[int, int]]
"""Topic -> partition -> a number."""


class Asker:
    """Who asks the coordinator, where it wants to know."""

    client_id: str | None = "ottla"
    client_host = "/127.0.0.1"


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of a group. `assigned`: topic -> partitions, in order; nothing while the group rebalances."""

    id: str
    client_id: str
    host: str
    instance_id: str | None
    assigned: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group. `state` is Kafka's name, as Stable or Empty; `type` is classic or consumer (KIP-848).

    `generation` grows with each rebalance: the generation of a classic group, the group epoch of a consumer group.
    `committed` are offsets. `lags` count what is between them and the high watermark, for every partition that the
    group committed for or has assigned; without a commit all that is in the partition counts.
    """

    id: str
    type: str
    state: str
    generation: int
    members: tuple[MemberView, ...]
    committed: dict[str, dict[int, int]]
    lags: dict[str, dict[int, int]]

    @property
    def lag(self) -> int:
        """Of all partitions together."""
        return sum(lag for lags in self.lags.values() for lag in lags.values())


def groups_of(broker: Broker) -> dict[str, GroupView]:
    """Every group, by its id."""
    found: dict[str, GroupView] = {}
    for node in broker.cluster.nodes.values():
        coordinator = node.group_coordinator.current
        if coordinator is None:  # nobody has needed it so far
            continue
        for listed in coordinator.list_groups(Asker(), ListGroupsRequest(), 5).groups:
            found[listed.group_id] = _group(broker, coordinator, listed.group_id, listed.group_type, listed.group_state)
    return dict(sorted(found.items()))


def _group(broker: Broker, coordinator: GroupCoordinator, group_id: str, kind: str, state: str) -> GroupView:
    members = _consumer_members if kind == CONSUMER else _classic_members
    seen = members(coordinator, group_id)
    committed = _committed(coordinator, group_id)
    concerned = {topic: set(offsets) for topic, offsets in committed.items()}
    for member in seen:
        for topic, partitions in member.assigned.items():
            concerned.setdefault(topic, set()).update(partitions)
    lags: dict[str, dict[int, int]] = {}
    for topic, indexes in sorted(concerned.items()):
        for index in sorted(indexes):
            partition = broker.cluster.partition(topic, index)
            if partition is not None:
                start = partition.log.log_start_offset
                offset = max(start, committed.get(topic, {}).get(index, start))
                lags.setdefault(topic, {})[index] = max(0, partition.log.high_watermark - offset)
    return GroupView(group_id, kind, state, _generation(coordinator, group_id), seen, committed, lags)


def _generation(coordinator: GroupCoordinator, group_id: str) -> int:
    from ottla.coordinator.group.consumer import ConsumerGroup  # where there is a group it is there already

    group = coordinator.group(group_id)
    if group is None:  # it has offsets, no members and no history
        return 0
    return group.epoch if isinstance(group, ConsumerGroup) else group.generation


def _classic_members(coordinator: GroupCoordinator, group_id: str) -> tuple[MemberView, ...]:
    (group,) = coordinator.describe_groups(Asker(), DescribeGroupsRequest(groups=[group_id]), _DESCRIBE).groups
    return tuple(
        MemberView(
            one.member_id,
            one.client_id,
            one.client_host.removeprefix("/"),
            one.group_instance_id,
            _unpacked(one.member_assignment) if group.protocol_type == CONSUMER else {},
        )
        for one in group.members
    )


def _unpacked(assignment: bytes) -> dict[str, tuple[int, ...]]:
    """What an assignor of consumers gave a member; nothing if it cannot be read, which is the clients' affair."""
    low, high = ConsumerProtocolAssignment.VALID
    version = int.from_bytes(assignment[:2], "big", signed=True)
    if len(assignment) < 2 or version < low:
        return {}
    try:
        given = ConsumerProtocolAssignment.decode(assignment, min(version, high), 2)
    except ProtocolError:
        return {}
    return {topic.topic: tuple(sorted(topic.partitions)) for topic in given.assigned_partitions if topic.partitions}


def _consumer_members(coordinator: GroupCoordinator, group_id: str) -> tuple[MemberView, ...]:
    asked = ConsumerGroupDescribeRequest(group_ids=[group_id])
    (group,) = coordinator.consumer_group_describe(Asker(), asked, 1).groups
    return tuple(
        MemberView(
            one.member_id,
            one.client_id,
            one.client_host.removeprefix("/"),
            one.instance_id,
            {topic.topic_name: tuple(sorted(topic.partitions)) for topic in one.assignment.topic_partitions},
        )
        for one in group.members
    )


def _committed(coordinator: GroupCoordinator, group_id: str) -> dict[str, dict[int, int]]:
    asked = OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=None)])
    (group,) = coordinator.fetch_offsets(Asker(), asked, _OFFSET_FETCH).groups
    return {
        topic.name: {each.partition_index: each.committed_offset for each in topic.partitions} for topic in group.topics
    }
