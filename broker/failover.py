"""Nodes that go down and come up, leads and coordinators that move: what tests ask for by the control surface.

What changes is decided in placement.py and stands in the metadata log before any socket closes or opens. Nothing here
is about machines: all nodes are this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ottla.broker import placement
from ottla.broker.cluster import NO_LEADER
from ottla.broker.state_log import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.config import BrokerConfig
    from ottla.broker.logs import Log
    from ottla.broker.metadata import Metadata
    from ottla.broker.nodes import Node
    from ottla.coordinator.timers import Timers
    from ottla.wire.state.cluster_metadata import PartitionChangeRecord

COORDINATED: Final = {"group": OFFSETS_TOPIC, "transaction": TRANSACTIONS_TOPIC}


class Doors(Protocol):
    """The sockets of nodes (server.py)."""

    def open_node(self, node: Node) -> None:
        """Clients can connect. Raises StartupError: a port of the node is taken."""

    def close_node(self, node: Node) -> None:
        """Clients lose their connections and get no new ones."""


class Now:
    """`placement.Conditions` as they are at this moment."""

    __slots__ = ("_config", "live")

    def __init__(self, cluster: Cluster, config: BrokerConfig) -> None:
        self.live = {node.id for node in cluster.live_nodes}
        self._config = config

    def may_be_unclean(self, partition: Partition) -> bool:
        own = partition.topic.overrides.get("unclean.leader.election.enable")
        return self._config.unclean_leader_election_enable if own is None else own == "true"

    def min_isr(self, partition: Partition) -> int:
        own = partition.topic.overrides.get("min.insync.replicas")
        return self._config.min_insync_replicas if own is None else int(own)


class Failover:
    """Moves leads and takes nodes down and up. Everything raises KafkaError with a sentence for a person."""

    def __init__(self, cluster: Cluster, metadata: Metadata, config: BrokerConfig, timers: Timers, log: Log) -> None:
        self._cluster = cluster
        self._metadata = metadata
        self._config = config
        self._timers = timers
        self._log = log
        self.doors: Doors | None = None  # given by who opened them

    def begin(self) -> None:
        """At a start, once history is replayed: every node is up, and holds its part."""
        nodes = list(self._cluster.nodes.values())
        changes = [change for each in self._partitions() if (change := placement.adopt(each, nodes)) is not None]
        gone = sorted(
            {replica for partition in self._partitions() for replica in partition.replicas} - set(self._cluster.nodes)
        )
        if gone:
            self._log.info("replicas moved: their nodes are not there any more", nodes=gone, partitions=len(changes))
        self._metadata.change_partitions(changes)
        if len(nodes) > 1:
            every_ms = self._config.leader_imbalance_check_interval_seconds * 1000
            self._timers.repeat(every_ms, self._rebalance, acts=lambda _: self._is_out_of_place())

    def nodes(self) -> list[dict[str, Any]]:
        """Every node as JSON has it: id, rack, up, listeners, how many partitions it leads, how many of those are a
        coordinator's."""
        leads = dict.fromkeys(self._cluster.nodes, 0)
        coordinates = dict.fromkeys(self._cluster.nodes, 0)
        for partition in self._partitions():
            if partition.leader in leads:
                counts = coordinates if partition.topic.name in COORDINATED.values() else leads
                counts[partition.leader] += 1
        return [
            {
                "id": node.id,
                "rack": node.rack,
                "up": node.is_up,
                "listeners": [
                    {
                        "name": one.name,
                        "host": one.advertised_host or one.addresses[0][0],
                        "port": one.advertised_port or one.port,
                    }
                    for one in node.listeners.values()
                ],
                "leads": leads[node.id],
                "coordinates": coordinates[node.id],
            }
            for node in self._cluster.nodes.values()
        ]

    def stop_node(self, node_id: int) -> None:
        """Take a node down: others in sync lead what it led, it falls out of every ISR, its clients are cut off."""
        node = self._node(node_id)
        if not node.is_up:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"node {node_id} is down already")
        if len(self._cluster.live_nodes) == 1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"node {node_id} is the last one that is up; start another first"
            )
        node.is_up = False
        now = self.now()
        try:
            self._carry_out(lambda partition: placement.node_down(partition, node_id, now), now)
        except KafkaError:
            node.is_up = True
            raise
        node.fetch_sessions.clear()
        if self.doors is not None:
            self.doors.close_node(node)
        for partition in self._partitions():  # who waits for records at the node has no connection to wait on
            if node_id in partition.replicas:
                partition.wake_waiting()
        self._log.info("node stopped", node=node_id)

    def start_node(self, node_id: int) -> None:
        """Bring a node up again. Raises StartupError too: another process has taken its port."""
        node = self._node(node_id)
        if node.is_up:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"node {node_id} is up already")
        if self.doors is not None:
            self.doors.open_node(node)
        node.is_up = True
        now = self.now()
        try:
            self._carry_out(lambda partition: placement.node_up(partition, node_id, now), now)
        except KafkaError:
            node.is_up = False
            if self.doors is not None:
                self.doors.close_node(node)
            raise
        self._log.info("node started", node=node_id)

    def move_leader(self, topic: str, index: int, node_id: int) -> None:
        """Give the lead of a partition to a replica that is in sync."""
        self._node(node_id)
        self._give_lead(self._partition(topic, index), node_id)

    def set_isr(self, topic: str, index: int, node_ids: list[int]) -> None:
        """Say which replicas of a partition are in sync, its leader among them."""
        change = placement.set_isr(self._partition(topic, index), node_ids, self.now())
        if change is not None:
            self._metadata.change_partitions([change])

    def move_coordinator(self, kind: str, key: str, node_id: int) -> None:
        """Give the lead of what holds a group, or a transactional id, to a node. `kind`: group or transaction."""
        self._node(node_id)
        topic = self._metadata.internal_topic(COORDINATED[kind])
        self._give_lead(topic.holder(key), node_id)

    def settings_changed(self) -> None:
        """Where unclean elections are allowed now, partitions without a leader get one."""
        now = self.now()
        self._carry_out(lambda partition: placement.find_leader(partition, now), now)

    def elect(self, partition: Partition, kind: int) -> None:
        """ElectLeaders for one partition: as `placement.elect`."""
        now = self.now()
        self._carry_out(lambda partition: placement.elect(partition, kind, now), now, [partition])

    def now(self) -> Now:
        """What decides at this moment who may lead."""
        return Now(self._cluster, self._config)

    def _give_lead(self, partition: Partition, node_id: int) -> None:
        change = placement.give_lead(partition, node_id, self.now())
        if change is not None:
            self._metadata.change_partitions([change])

    def _is_out_of_place(self) -> bool:
        now = self.now()
        return self._config.auto_leader_rebalance_enable and any(
            placement.is_out_of_place(partition, now) for partition in self._partitions()
        )

    def _rebalance(self) -> None:
        """auto.leader.rebalance.enable: preferred replicas that are in sync lead again."""
        if self._config.auto_leader_rebalance_enable:
            now = self.now()
            try:
                self._carry_out(
                    lambda partition: (
                        placement.elect(partition, placement.PREFERRED, now)
                        if placement.is_out_of_place(partition, now)
                        else None
                    ),
                    now,
                )
            except KafkaError as error:  # the disk fails: the next look will do
                self._log.warning("leaders could not be rebalanced", error=error.code.name)

    def _carry_out(
        self,
        decide: Callable[[Partition], PartitionChangeRecord | None],
        now: Now,
        partitions: list[Partition] | None = None,
    ) -> None:
        """Decide about `partitions`, all if not given, and do it. A leader that was not in sync begins alone; then the
        others are in sync with it."""
        partitions = self._partitions() if partitions is None else partitions
        decided = [(each, each.isr, change) for each in partitions if (change := decide(each)) is not None]
        self._metadata.change_partitions([change for _, _, change in decided])
        begun = [each for each, isr, _ in decided if each.leader != NO_LEADER and each.leader not in isr]
        followed = [change for each in begun if (change := placement.catch_up(each, now)) is not None]
        try:
            self._metadata.change_partitions(followed)
        except KafkaError as error:  # the disk fails: they are out of sync until the next change
            self._log.warning("replicas could not catch up", error=error.code.name)

    def _partitions(self) -> list[Partition]:
        return [partition for topic in self._cluster.topics.values() for partition in topic.partitions]

    def _partition(self, topic: str, index: int) -> Partition:
        partition = self._cluster.partition(topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {topic}-{index}")
        return partition

    def _node(self, node_id: int) -> Node:
        node = self._cluster.nodes.get(node_id)
        if node is None:
            known = ", ".join(map(str, self._cluster.nodes))
            raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"there is no node {node_id}; there are {known}")
        return node
