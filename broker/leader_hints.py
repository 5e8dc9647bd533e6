"""KIP-951: who leads what NOT_LEADER_OR_FOLLOWER refused, and where that is: nobody has to ask for metadata first.

Shared by Produce and Fetch; which codes are explained is theirs to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.connection import Connection

    Endpoint = tuple[int, str, int, str | None]
    """(node id, host, port, rack) for the client that asks."""


def leader_endpoints(cluster: Cluster, connection: Connection, partitions: Iterable[Partition]) -> list[Endpoint]:
    """Where the nodes are that lead `partitions`, each once, in the order in which they are met."""
    leaders = (cluster.leader(partition) for partition in partitions)
    found = {leader.id: leader for leader in leaders if leader is not None}
    return [(node.id, *node.endpoint(connection), node.rack) for node in found.values()]
