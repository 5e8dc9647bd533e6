"""One broker as handlers see it: cluster state, log, coordinators, the gate; how it loads, and how it lets go.

Knows no sockets, no options and no signals: those are app.py's.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ottla.broker.cluster import CLIENT_METRICS_RESOURCE, Cluster, Partition, Topic
from ottla.broker.connection_quotas import ConnectionQuotas
from ottla.broker.coordinators import OnDemand
from ottla.broker.dispatch import Gate
from ottla.broker.dynamic_configs import DynamicConfigs
from ottla.broker.failover import Failover
from ottla.broker.fetch_sessions import FetchSessions
from ottla.broker.housekeeping import Housekeeping
from ottla.broker.logs import Log
from ottla.broker.metadata import Metadata
from ottla.broker.state_log import OFFSETS_TOPIC, TRANSACTIONS_TOPIC, StateLog
from ottla.broker.turns import Turns
from ottla.coordinator.group.steering import Steering
from ottla.coordinator.timers import Timers
from ottla.log.clock import Clock, SteeredClock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import partition_for_group

if TYPE_CHECKING:
    from collections.abc import Collection

    from ottla.broker.client_metrics import ClientMetrics
    from ottla.broker.config import BrokerConfig
    from ottla.broker.nodes import Node
    from ottla.broker.reactor import Driver
    from ottla.broker.throttling import Throttle
    from ottla.broker.time_travel import TimeTravel
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.transaction.coordinator import TransactionCoordinator


class Broker:
    """All nodes of the cluster as one: cluster state, log, coordinators, and the gate in front of them."""

    def __init__(
        self, config: BrokerConfig, store: Store, *, nodes: list[Node], clock: Clock, ids: Ids, log: Log
    ) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.log = log
        self.timers = Timers(clock)
        self.turns = Turns(self.timers)
        self.cluster = Cluster(nodes, store)
        self.metadata = Metadata(self.cluster, store, config, clock=clock, ids=ids)
        self.configs = DynamicConfigs(nodes, self.cluster, config, store, self.metadata, log)
        self._ids = ids
        self.group_steering = Steering()  # what tests order, on whatever node a group is
        self._group_log = StateLog(
            OFFSETS_TOPIC,
            self.cluster,
            self.metadata,
            clock,
            log,
            check_min_isr=self.check_min_isr,
            codec=config.offsets_topic_compression_codec,
        )
        self._transaction_log = StateLog(
            TRANSACTIONS_TOPIC, self.cluster, self.metadata, clock, log, check_min_isr=self.check_min_isr
        )
        for each in nodes:
            each.fetch_sessions = FetchSessions(config.max_incremental_fetch_session_cache_slots, clock=clock, ids=ids)
            each.group_coordinator = OnDemand(
                each,
                self._group_log,
                self.cluster,
                self.timers,
                self.turns,
                config.offsets_topic_num_partitions,
                self._make_groups,
            )
            each.transaction_coordinator = OnDemand(
                each,
                self._transaction_log,
                self.cluster,
                self.timers,
                self.turns,
                config.transaction_state_log_num_partitions,
                self._make_transactions,
            )
        self.cluster.on_leader_change.append(self._leader_changed)
        self.failover = Failover(self.cluster, self.metadata, config, self.timers, log)
        self.housekeeping = Housekeeping(self.timers, store, config, log)
        self.time: TimeTravel | None = None  # if the clock can be moved
        if isinstance(clock, SteeredClock):
            from ottla.broker.time_travel import TimeTravel

            self.time = TimeTravel(clock, self.timers, self.housekeeping, log)
        self.throttle: Throttle | None = None
        self._driver: Driver | None = None
        self.connection_quotas = {
            each.id: ConnectionQuotas(self.configs.settings_of(each), self.cluster.quotas, self.timers)
            for each in nodes
        }
        self.configs.on_change.append(self.housekeeping.settings_changed)
        self.configs.on_change.append(self.failover.settings_changed)
        self.configs.on_change += [quotas.settings_changed for quotas in self.connection_quotas.values()]
        self.stopping = False  # nobody is to wait any more
        self.gate = Gate(self)

    def _make_groups(self, partitions: int, led: Collection[int]) -> GroupCoordinator:
        from ottla.coordinator.group.coordinator import GroupCoordinator

        return GroupCoordinator(
            clock=self.clock,
            ids=self._ids,
            timers=self.timers,
            config=self.configs.group_config,
            configs=self.configs,
            partitions=partitions,
            led=led,
            append=self._group_log.append,
            topics=self.cluster,
            events=self.log,
            steering=self.group_steering,
        )

    def _make_transactions(self, partitions: int, led: Collection[int]) -> TransactionCoordinator:
        from ottla.broker.transactions import make_coordinator

        return make_coordinator(self, partitions, led, self._transaction_log.append)

    def _leader_changed(self, partition: Partition) -> None:
        """The coordinators follow the leaders of their topics: first who has to go, then who comes."""
        if not partition.topic.internal:
            return
        leader = self.cluster.leader(partition)
        for node in sorted(self.cluster.nodes.values(), key=lambda node: node is leader):
            if partition.topic.name == OFFSETS_TOPIC:
                node.group_coordinator.moved(partition)
            elif partition.topic.name == TRANSACTIONS_TOPIC:
                node.transaction_coordinator.moved(partition)

    def load(self) -> None:
        """Replay what the log holds: topics, then groups, then transactions, whose markers may concern the two.
        Afterwards every request can be served.
        """
        self.metadata.load()
        self.configs.load()
        for name, index in self.cluster.attach_logs():
            self.log.warning("folder set aside: it belongs to no topic of this cluster", topic=name, partition=index)
        self.failover.begin()
        for node in self.cluster.nodes.values():
            node.group_coordinator.load()
        for node in self.cluster.nodes.values():
            node.transaction_coordinator.load()
        self.apply_quotas()
        self.housekeeping.start()

    def apply_quotas(self) -> None:
        """Watch requests as long as there are quotas at all; nobody else pays for them."""
        wanted = self.cluster.quotas.of_clients
        if wanted and self.throttle is None:
            from ottla.broker.throttling import Throttle

            self.throttle = Throttle(self.cluster.quotas, self.config, self.clock)
            self.gate.taps.append(self.throttle)
        elif self.throttle is not None and not wanted:
            self.gate.taps.remove(self.throttle)
            self.throttle = None
        if self.throttle is not None:
            self.throttle.quotas_changed()
        if self._driver is not None:
            self._driver.meter = self.throttle.loop_time if self.throttle is not None else None

    def connect(self, driver: Driver) -> None:
        """`driver` drives the connections from now on."""
        self._driver = driver
        if self.time is not None:
            self.time.driver = driver
        self.apply_quotas()

    @cached_property
    def client_metrics(self) -> ClientMetrics:
        """What clients push of their own metrics, made at the first telemetry request."""
        from ottla.broker.client_metrics import ClientMetrics

        return ClientMetrics(self.cluster, self.config, self.clock, self._ids)

    @property
    def wants_client_metrics(self) -> bool:
        """Whether there are subscriptions to metrics of clients."""
        return any(kind == CLIENT_METRICS_RESOURCE for kind, _ in self.cluster.configs)

    def shut_down(self) -> None:
        """Answer everyone who waits: members hear that the coordinator is gone, fetches end with what is there."""
        self.stopping = True
        self.gate.unmute_all()
        for node in self.cluster.nodes.values():
            node.transaction_coordinator.shut_down()
        for node in self.cluster.nodes.values():
            node.group_coordinator.shut_down()
        for topic in self.cluster.topics.values():
            for partition in topic.partitions:
                partition.wake_waiting()

    def leader_of(self, node: Node, topic: str, index: int, known_epoch: int = -1) -> Partition:
        """The partition, if `node` leads it and `known_epoch`, what the client believes (KIP-320), is ours or -1.

        Raises KafkaError UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER; at followers too as `check_leader_epoch`.
        """
        partition = self.cluster.partition(topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        if node.id in partition.replicas:
            self.check_leader_epoch(partition, known_epoch)
        if partition.leader != node.id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return partition

    def led(self, topic: str, index: int) -> tuple[Partition, Node]:
        """The partition and who leads it, for what this process does by itself. Raises KafkaError
        UNKNOWN_TOPIC_OR_PARTITION; NOT_LEADER_OR_FOLLOWER if nobody does.
        """
        partition = self.cluster.partition(topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        node = self.cluster.leader(partition)
        if node is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "the partition has no leader")
        return partition, node

    def check_min_isr(self, partition: Partition) -> None:
        """Raises KafkaError NOT_ENOUGH_REPLICAS: for acks=all fewer are in sync than min.insync.replicas, or than there
        are replicas at all."""
        if len(partition.isr) == len(partition.replicas):
            return
        wanted = self.failover.now().min_isr(partition)
        if len(partition.isr) < min(wanted, len(partition.replicas)):
            raise KafkaError(
                ErrorCode.NOT_ENOUGH_REPLICAS, f"{len(partition.isr)} in sync, min.insync.replicas is {wanted}"
            )

    def check_leader_epoch(self, partition: Partition, known_epoch: int) -> None:
        """KIP-320: a client that names an epoch must name ours. Raises FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH."""
        if known_epoch < 0 or known_epoch == partition.leader_epoch:
            return
        raise KafkaError(
            ErrorCode.UNKNOWN_LEADER_EPOCH if known_epoch > partition.leader_epoch else ErrorCode.FENCED_LEADER_EPOCH
        )

    def group_coordinator_node(self, group: str) -> Node:
        """The node that leads the group's partition of `__consumer_offsets`, which is created if need be. Raises
        KafkaError COORDINATOR_NOT_AVAILABLE, or why the topic cannot be created.
        """
        return self._coordinator_node(OFFSETS_TOPIC, group)

    def transaction_coordinator_node(self, transactional_id: str) -> Node:
        """The node that leads the id's partition of `__transaction_state`, as `group_coordinator_node`."""
        return self._coordinator_node(TRANSACTIONS_TOPIC, transactional_id)

    def _coordinator_node(self, topic_name: str, key: str) -> Node:
        topic = self.metadata.internal_topic(topic_name)
        node = self.cluster.leader(topic.holder(key))
        if node is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return node

    def offsets_partition(self, group: str) -> int:
        """The partition of `__consumer_offsets` that holds the group."""
        count = self.cluster.partition_count(OFFSETS_TOPIC)
        return partition_for_group(group, count or self.config.offsets_topic_num_partitions)

    def transaction_coordinator(self, transactional_id: str) -> TransactionCoordinator:
        """The coordinator of the id, wherever it is; one that answers NOT_COORDINATOR if there is none just now."""
        topic = self.cluster.topics.get(TRANSACTIONS_TOPIC)
        node = self.cluster.leader(topic.holder(transactional_id)) if topic is not None else None
        return (node or self.cluster.live_nodes[0]).transactions

    def delete_topics(self, topics: list[Topic]) -> None:
        """Remove topics, their records, and what groups committed for them: all topics or none. Raises KafkaError
        KAFKA_STORAGE_ERROR: they are still there, or only folders of theirs are (the next start removes them).
        """
        try:
            self.metadata.delete_topics(topics)
        finally:
            gone = {topic.name for topic in topics if topic.id not in self.cluster.topics_by_id}
            for node in self.cluster.nodes.values():
                groups = node.group_coordinator
                if OFFSETS_TOPIC in gone:
                    groups.drop()
                elif gone and groups.current is not None:
                    groups.current.on_topics_deleted(gone)
                if TRANSACTIONS_TOPIC in gone:
                    node.transaction_coordinator.drop()
