"""Which node holds and leads a partition, and how that changes: spread, reassignment (KIP-455), election (KIP-460),
nodes that go and come.

Pure decisions: each gives the metadata records that make it so. All nodes are this process and share its logs: a
replica whose node is up is in sync at once, and whoever gets the lead has every record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

from ottla.broker.cluster import NO_LEADER, Partition
from ottla.broker.nodes import Node
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.cluster_metadata import PartitionChangeRecord

PREFERRED, UNCLEAN = 0, 1  # election types on the wire


class Conditions(Protocol):
    """What a decision looks at beside the partition."""

    @property
    def live(self) -> Collection[int]:
        """The nodes that are up."""
        ...

    def may_be_unclean(self, partition: Partition) -> bool:
        """Whether a replica out of sync may lead (unclean.leader.election.enable)."""
        ...

    def min_isr(self, partition: Partition) -> int:
        """min.insync.replicas: with fewer in sync, those that fell out stay eligible (KIP-966)."""
        ...


def spread(nodes: Sequence[Node], partitions: range, factor: int, first: int = 0) -> list[list[int]]:
    """The replicas of each partition, the leader first: nodes that are up take turns to lead, from `first` on. Others
    follow, each round in another order, so that what a node leads goes to several when it is gone; every rack has a
    replica before one has two. Nodes that are down come last.
    """
    up = _alternating([node for node in nodes if node.is_up])
    down = [node.id for node in nodes if not node.is_up]
    racks = {node.id: node.rack for node in nodes}
    placed = []
    for partition in partitions:
        turn, at = divmod(first + partition, len(up))
        others = [*up[at + 1 :], *up[:at]]
        shift = turn % len(others) if others else 0
        order = [up[at], *others[shift:], *others[:shift]]
        placed.append([*_over_racks(order, racks), *down][:factor])
    return placed


def _alternating(nodes: Iterable[Node]) -> list[int]:
    by_rack: dict[str | None, list[int]] = {}
    for node in nodes:
        by_rack.setdefault(node.rack, []).append(node.id)
    return [node_id for row in zip_longest(*by_rack.values()) for node_id in row if node_id is not None]


def _over_racks(order: list[int], racks: Mapping[int, str | None]) -> list[int]:
    """`order`, but the next is always the first one of a rack that came least so far."""
    taken = dict.fromkeys(racks.values(), 0)
    if len(taken) == 1:
        return order
    left, chosen = list(order), []
    while left:
        node_id = min(left, key=lambda each: taken[racks[each]])
        left.remove(node_id)
        chosen.append(node_id)
        taken[racks[node_id]] += 1
    return chosen


def check_replicas(index: int, replicas: list[int], nodes: Collection[int]) -> None:
    """Raises KafkaError INVALID_REPLICA_ASSIGNMENT."""
    if not replicas or len(set(replicas)) != len(replicas):
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"partition {index}: empty or repeated replicas")
    for replica in replicas:
        if replica not in nodes:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"partition {index} names broker {replica}, which is unknown"
            )


def reassign(
    partition: Partition,
    replicas: list[int] | None,
    nodes: Collection[int],
    now: Conditions,
    *,
    may_change_factor: bool,
) -> PartitionChangeRecord | None:
    """Move a partition to other replicas, or (None) give up the move under way. It is over at once unless a replica
    that comes is down. None if nothing changes. Raises KafkaError NO_REASSIGNMENT_IN_PROGRESS,
    INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR.
    """
    before = [replica for replica in partition.replicas if replica not in partition.adding]
    if replicas is None:
        if not partition.is_moving:
            raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
        return _change(partition, now, replicas=before)
    check_replicas(partition.index, replicas, nodes)
    if not may_change_factor and len(replicas) != len(before):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"partition {partition.index} has {len(before)} replicas; the request forbids another number",
        )
    adding = [replica for replica in replicas if replica not in before]
    removing = [replica for replica in before if replica not in replicas]
    isr = [*partition.isr, *(replica for replica in adding if replica in now.live and replica not in partition.isr)]
    if partition.leader == NO_LEADER:
        isr = partition.isr  # nobody to catch up with
    return _change(partition, now, replicas=[*replicas, *removing], isr=isr, adding=adding, removing=removing)


def elect(partition: Partition, kind: int, now: Conditions) -> PartitionChangeRecord:
    """Give the lead to the preferred replica, or (unclean) to any if nobody leads. Raises KafkaError
    ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE."""
    preferred = partition.replicas[0]
    if partition.leader == preferred or (kind == UNCLEAN and partition.leader != NO_LEADER):
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "the leader election is not needed")
    if kind == UNCLEAN:
        change = _change(partition, now, unclean=True)
        if change is None:
            raise KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "no replica of the partition is up")
        return change
    if not is_out_of_place(partition, now):
        raise KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, f"broker {preferred} is not in sync")
    change = _change(partition, now, leader=preferred)
    assert change is not None, "it does not lead"
    return change


def is_out_of_place(partition: Partition, now: Conditions) -> bool:
    """Whether the preferred replica could lead and does not."""
    preferred = partition.replicas[0]
    return partition.leader != preferred and preferred in now.live and preferred in (*partition.isr, *partition.elr)


def give_lead(partition: Partition, node_id: int, now: Conditions) -> PartitionChangeRecord | None:
    """Let a replica in sync lead. None if it does. Raises KafkaError INVALID_REQUEST with the reason."""
    where = f"{partition.topic.name}-{partition.index}"
    if node_id not in partition.replicas:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"node {node_id} holds no replica of {where}; nodes {partition.replicas} do"
        )
    if node_id not in now.live:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"node {node_id} is down; start it first")
    if node_id not in partition.isr:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"node {node_id} is not in sync for {where}; nodes {partition.isr} are"
        )
    return _change(partition, now, leader=node_id)


def set_isr(partition: Partition, isr: list[int], now: Conditions) -> PartitionChangeRecord | None:
    """Say which replicas are in sync. None if they are. Raises KafkaError INVALID_REQUEST with the reason."""
    where = f"{partition.topic.name}-{partition.index}"
    for node_id in isr:
        if node_id not in partition.replicas:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"node {node_id} holds no replica of {where}; nodes {partition.replicas} do"
            )
        if node_id not in now.live:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"node {node_id} is down: it cannot be in sync; start it first")
    if partition.leader == NO_LEADER:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"nobody leads {where}: there is nobody to be in sync with")
    if partition.leader not in isr or len(set(isr)) != len(isr):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"the leader of {where}, {partition.leader}, is always in sync; name each node once",
        )
    return _change(partition, now, isr=isr)


def node_down(partition: Partition, node_id: int, now: Conditions) -> PartitionChangeRecord | None:
    """What becomes of a partition when a node is gone: it is out of sync, and another one leads what it led."""
    if node_id not in partition.isr and node_id != partition.leader:
        return None
    return _change(partition, now, isr=[replica for replica in partition.isr if replica != node_id])


def node_up(partition: Partition, node_id: int, now: Conditions) -> PartitionChangeRecord | None:
    """What becomes of a partition when a node is there again: it may lead where nobody does, and is in sync."""
    if node_id not in partition.replicas:
        return None
    if partition.leader == NO_LEADER:
        return _change(partition, now)
    return _change(partition, now, isr=[*partition.isr, *([] if node_id in partition.isr else [node_id])])


def catch_up(partition: Partition, now: Conditions) -> PartitionChangeRecord | None:
    """What becomes of a partition that has a leader again: every replica whose node is up is in sync."""
    return _change(partition, now, isr=[replica for replica in partition.replicas if replica in now.live])


def find_leader(partition: Partition, now: Conditions) -> PartitionChangeRecord | None:
    """A leader for a partition that has none, if one may lead by now."""
    return _change(partition, now) if partition.leader == NO_LEADER else None


def adopt(partition: Partition, nodes: Sequence[Node]) -> PartitionChangeRecord | None:
    """At a start all nodes are up and share the log: every replica is in sync, moves are over, and replicas on nodes
    that are not part of the cluster any more go to others. None if nothing changes.
    """
    known = {node.id for node in nodes}
    wanted = [replica for replica in partition.replicas if replica not in partition.removing]
    replicas = [replica for replica in wanted if replica in known]
    (order,) = spread(nodes, range(partition.index, partition.index + 1), len(nodes))
    free = [node_id for node_id in order if node_id not in replicas]
    replicas += free[: len(wanted) - len(replicas)]
    return _record(
        partition,
        replicas=replicas,
        isr=replicas if set(replicas) != set(partition.isr) else partition.isr,
        leader=partition.leader if partition.leader in replicas else replicas[0],
    )


def _change(
    partition: Partition,
    now: Conditions,
    *,
    replicas: list[int] | None = None,
    isr: list[int] | None = None,
    leader: int = NO_LEADER,
    unclean: bool = False,
    adding: list[int] | None = None,
    removing: list[int] | None = None,
) -> PartitionChangeRecord | None:
    """What must be written so that the partition has these replicas and those in sync; what is not given stays. None if
    nothing changes.

    `leader` must be one that may lead. If none is given, who leads goes on; if it cannot, the first that may follows;
    if there is none, one that is out of sync (only with `unclean`, or where the topic allows it), or nobody.
    KIP-966: while fewer than min.insync.replicas are in sync, nothing is acknowledged that those who fell out had not:
    they are eligible still, and the ISR may be empty.
    """
    if replicas is None:
        replicas, adding, removing = partition.replicas, partition.adding, partition.removing
    adding, removing = adding or [], removing or []
    isr = [replica for replica in (partition.isr if isr is None else isr) if replica in replicas]
    stay = [replica for replica in isr if replica not in removing]
    if set(adding) <= set(stay) and (stay or not removing):  # the move is over
        replicas = [replica for replica in replicas if replica not in removing]
        isr, adding, removing = stay, [], []
    elr = [replica for replica in partition.elr if replica in replicas]
    if leader == NO_LEADER:
        may_lead = [replica for replica in replicas if replica in now.live and replica in (*isr, *elr)]
        if not may_lead and (unclean or now.may_be_unclean(partition)):
            may_lead = [replica for replica in replicas if replica in now.live]
        leader = partition.leader if partition.leader in may_lead else next(iter(may_lead), NO_LEADER)
    if leader != NO_LEADER and leader not in isr:
        isr = [leader]
    if len(isr) > len(partition.isr):
        isr = sorted(isr)
    last_known: list[int] = []
    if len(isr) >= min(now.min_isr(partition), len(replicas)):
        elr = []
    else:
        candidates = dict.fromkeys((*partition.elr, *partition.isr))
        elr = [replica for replica in candidates if replica in replicas and replica not in isr]
        last_known = [replica for replica in partition.last_known_elr if replica not in (*isr, *elr)]
        if not isr:  # who led last
            last_known = partition.last_known_elr if partition.leader == NO_LEADER else [partition.leader]
    return _record(
        partition,
        replicas=replicas,
        isr=isr,
        leader=leader,
        elr=elr,
        last_known_elr=last_known,
        adding=adding,
        removing=removing,
    )


def _record(
    partition: Partition,
    *,
    replicas: list[int],
    isr: list[int],
    leader: int,
    elr: Sequence[int] = (),
    last_known_elr: Sequence[int] = (),
    adding: Sequence[int] = (),
    removing: Sequence[int] = (),
) -> PartitionChangeRecord | None:
    """Only what changes. When a replica goes, a leader epoch begins as with a new leader: nobody is to believe it."""
    change = PartitionChangeRecord(partition_id=partition.index, topic_id=partition.topic.id)
    changed = False
    for name, value, old in (
        ("replicas", replicas, partition.replicas),
        ("isr", isr, partition.isr),
        ("eligible_leader_replicas", elr, partition.elr),
        ("last_known_elr", last_known_elr, partition.last_known_elr),
        ("adding_replicas", adding, partition.adding),
        ("removing_replicas", removing, partition.removing),
    ):
        if list(value) != old:
            setattr(change, name, list(value))
            changed = True
    if leader != partition.leader or not set(partition.replicas) <= set(replicas):
        change.leader = leader
        changed = True
    return change if changed else None
