"""The nodes of the cluster and where clients reach them: a node is an id with listeners, and this process is all nodes.

Knows no sockets (server.py binds them) and no topics (cluster.py), and decides nothing (placement.py, failover.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker.connection import Connection
    from ottla.broker.coordinators import OnDemand
    from ottla.broker.fetch_sessions import FetchSessions
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.transaction.coordinator import TransactionCoordinator

DEFAULT_LISTENER = "PLAINTEXT"
Address = tuple[str, int]


class Listener:
    """One way to reach a node. `addresses` are where it listens, (host, port), port 0 for a free one; `port` is the one
    it got, from when server.py has bound it. What is not advertised is the address that each client came to.
    """

    __slots__ = ("addresses", "advertised_host", "advertised_port", "name", "node", "port")

    def __init__(
        self,
        node: Node,
        name: str,
        addresses: list[Address],
        advertised_host: str | None = None,
        advertised_port: int | None = None,
    ) -> None:
        self.node = node
        self.name = name
        self.addresses = addresses
        self.advertised_host = advertised_host
        self.advertised_port = advertised_port
        self.port = addresses[0][1] if addresses else 0


class Node:
    """A broker of the cluster, as clients see it. `is_up` is False while somebody has taken it down.

    What else a node has of its own is given to it by broker.py: its fetch sessions and its two coordinators.
    """

    __slots__ = (
        "fetch_sessions",
        "group_coordinator",
        "id",
        "is_up",
        "listeners",
        "rack",
        "settings",
        "transaction_coordinator",
    )

    fetch_sessions: FetchSessions
    group_coordinator: OnDemand[GroupCoordinator]
    transaction_coordinator: OnDemand[TransactionCoordinator]

    def __init__(self, node_id: int, rack: str | None = None, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: those that other nodes have other values of, as texts."""
        self.id = node_id
        self.rack = rack
        self.is_up = True
        self.listeners: dict[str, Listener] = {}
        self.settings = settings or {"node.id": str(node_id), "broker.id": str(node_id)}

    @property
    def groups(self) -> GroupCoordinator:
        """Its group coordinator, made (and imported) at the first group: 60 ms that many starts do without."""
        return self.group_coordinator.get()

    @property
    def transactions(self) -> TransactionCoordinator:
        """Its transaction coordinator, made (and imported) at the first transactional id."""
        return self.transaction_coordinator.get()

    def listen(
        self,
        addresses: list[Address],
        *,
        name: str = DEFAULT_LISTENER,
        advertised_host: str | None = None,
        advertised_port: int | None = None,
    ) -> Listener:
        """Give the node a listener, which somebody else opens."""
        listener = self.listeners[name] = Listener(self, name, addresses, advertised_host, advertised_port)
        return listener

    def endpoint(self, connection: Connection) -> Address:
        """(host, port) that a client on `connection` is told: of the listener that has the name of its own."""
        own = connection.listener
        listener = own if own.node is self else self.listeners[own.name]
        port = connection.local_port if listener is own else listener.port
        return listener.advertised_host or connection.local_host, listener.advertised_port or port
