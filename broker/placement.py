"""Which node holds and leads a partition, and how that changes: reassignment (KIP-455) and leader election (KIP-460).

Pure decisions: each gives the metadata record that makes it so. All nodes are this process and share its logs: a new
replica is in sync at once, and a reassignment is over when it is written.
"""

from __future__ import annotations

from collections.abc import Collection

from ottla.broker.cluster import Partition
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.cluster_metadata import PartitionChangeRecord

PREFERRED, UNCLEAN = 0, 1  # election types on the wire


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
    partition: Partition, replicas: list[int] | None, nodes: Collection[int], *, may_change_factor: bool
) -> PartitionChangeRecord | None:
    """Move a partition to other replicas; the leader stays if it is among them. None if it is there already.

    `replicas` None cancels a move; none is ever under way. Raises KafkaError NO_REASSIGNMENT_IN_PROGRESS,
    INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR.
    """
    if replicas is None:
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    check_replicas(partition.index, replicas, nodes)
    if not may_change_factor and len(replicas) != len(partition.replicas):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"partition {partition.index} has {len(partition.replicas)} replicas; the request forbids another number",
        )
    if replicas == partition.replicas:
        return None
    change = _change(partition)
    change.replicas = replicas
    if set(replicas) != set(partition.isr):
        change.isr = replicas
    if partition.leader not in replicas:
        change.leader = replicas[0]
    return change


def elect(partition: Partition, kind: int) -> PartitionChangeRecord:
    """Give the lead to the preferred replica, or (unclean) to any if nobody leads. Raises KafkaError
    ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE."""
    preferred = partition.replicas[0]
    if partition.leader == preferred or (kind == UNCLEAN and partition.leader >= 0):
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "the leader election is not needed")
    if kind == PREFERRED and preferred not in partition.isr:
        raise KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, f"broker {preferred} is not in sync")
    change = _change(partition)
    change.leader = preferred
    return change


def _change(partition: Partition) -> PartitionChangeRecord:
    return PartitionChangeRecord(partition_id=partition.index, topic_id=partition.topic.id)
