"""One broker as handlers see it: cluster state, log, coordinators, the gate; how it loads, and how it lets go.

Knows no sockets, no options and no signals: those are app.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import Cluster, Node, Partition, Topic
from ottla.broker.coordinators import OnDemand
from ottla.broker.dispatch import Gate
from ottla.broker.dynamic_configs import DynamicConfigs
from ottla.broker.fetch_sessions import FetchSessions
from ottla.broker.housekeeping import Housekeeping
from ottla.broker.logs import Log
from ottla.broker.metadata import Metadata
from ottla.broker.state_log import OFFSETS_TOPIC, TRANSACTIONS_TOPIC, StateLog
from ottla.coordinator.timers import Timers
from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.throttling import Throttle
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.transaction.coordinator import TransactionCoordinator


class Broker:
    """One broker: cluster state, log, coordinators, and the gate in front of them."""

    def __init__(self, config: BrokerConfig, store: Store, *, node: Node, clock: Clock, ids: Ids, log: Log) -> None:
        self.config = config
        self.store = store
        self.node = node
        self.clock = clock
        self.log = log
        self.timers = Timers(clock)
        self.cluster = Cluster([node], store)
        self.metadata = Metadata(self.cluster, store, config, clock=clock, ids=ids)
        self.configs = DynamicConfigs(node.id, self.cluster, config, store, self.metadata, log)
        self.fetch_sessions = FetchSessions(config.max_incremental_fetch_session_cache_slots, clock=clock, ids=ids)
        self._ids = ids
        self._group_log = StateLog(OFFSETS_TOPIC, self.cluster, self.metadata, clock, log)
        self._groups = OnDemand(self._group_log, self.cluster, config.offsets_topic_num_partitions, self._make_groups)
        self._transaction_log = StateLog(TRANSACTIONS_TOPIC, self.cluster, self.metadata, clock, log)
        self._transactions = OnDemand(
            self._transaction_log,
            self.cluster,
            config.transaction_state_log_num_partitions,
            self._make_transactions,
        )
        self.housekeeping = Housekeeping(self.timers, store, config, log)
        self.throttle: Throttle | None = None
        self.configs.on_change.append(self.housekeeping.settings_changed)
        self.stopping = False  # nobody is to wait any more
        self.gate = Gate(self)

    @property
    def groups(self) -> GroupCoordinator:
        """The group coordinator, made (and imported) when the first group is there: 60 ms that many starts do
        without.
        """
        return self._groups.get()

    def _make_groups(self, partitions: int) -> GroupCoordinator:
        from ottla.coordinator.group.coordinator import GroupCoordinator

        return GroupCoordinator(
            clock=self.clock,
            ids=self._ids,
            timers=self.timers,
            config=self.configs.group_config,
            configs=self.configs,
            partitions=partitions,
            append=self._group_log.append,
            topics=self.cluster,
            events=self.log,
        )

    @property
    def transactions(self) -> TransactionCoordinator:
        """The transaction coordinator, made (and imported) when the first transactional id is there."""
        return self._transactions.get()

    def _make_transactions(self, partitions: int) -> TransactionCoordinator:
        from ottla.broker.transactions import make_coordinator

        return make_coordinator(self, partitions, self._transaction_log.append)

    def load(self) -> None:
        """Replay what the log holds: topics, then groups, then transactions, whose markers may concern the two.
        Afterwards every request can be served.
        """
        self.metadata.load()
        self.configs.load()
        for name, index in self.cluster.attach_logs():
            self.log.warning("folder set aside: it belongs to no topic of this cluster", topic=name, partition=index)
        self._groups.load()
        self._transactions.load()
        self.apply_quotas()
        self.housekeeping.start()

    def apply_quotas(self) -> None:
        """Watch requests as long as there are quotas at all; nobody else pays for them."""
        if self.cluster.quotas and self.throttle is None:
            from ottla.broker.throttling import Throttle

            self.throttle = Throttle(self.cluster.quotas, self.config, self.clock)
            self.gate.taps.append(self.throttle)
        elif self.throttle is not None and not self.cluster.quotas:
            self.gate.taps.remove(self.throttle)
            self.throttle = None

    def shut_down(self) -> None:
        """Answer everyone who waits: members hear that the coordinator is gone, fetches end with what is there."""
        self.stopping = True
        self.gate.unmute_all()
        self._transactions.shut_down()
        self._groups.shut_down()
        for topic in self.cluster.topics.values():
            for partition in topic.partitions:
                for waiter in tuple(partition.waiters):
                    waiter.wake()

    def leader_of(self, topic: str, index: int) -> Partition:
        """The partition, if this node leads it. Raises KafkaError UNKNOWN_TOPIC_OR_PARTITION,
        NOT_LEADER_OR_FOLLOWER.
        """
        partition = self.cluster.partition(topic, index)
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        if partition.leader != self.node.id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return partition

    def check_leader_epoch(self, partition: Partition, known_epoch: int) -> None:
        """KIP-320: a client that names an epoch must name ours. Raises FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH."""
        if known_epoch < 0 or known_epoch == partition.leader_epoch:
            return
        raise KafkaError(
            ErrorCode.UNKNOWN_LEADER_EPOCH if known_epoch > partition.leader_epoch else ErrorCode.FENCED_LEADER_EPOCH
        )

    def group_coordinator_node(self, group: str) -> Node:
        """The node that leads the group's partition of `__consumer_offsets`, which is created if need be."""
        topic = self.metadata.internal_topic(OFFSETS_TOPIC)
        return self.cluster.nodes[topic.partitions[self.groups.partition_for(group)].leader]

    def offsets_partition(self, group: str) -> int:
        """The partition of `__consumer_offsets` that holds the group."""
        return self.groups.partition_for(group)

    def transaction_coordinator_node(self, transactional_id: str) -> Node:
        """The node that leads the id's partition of `__transaction_state`, which is created if need be."""
        topic = self.metadata.internal_topic(TRANSACTIONS_TOPIC)
        return self.cluster.nodes[topic.partitions[self.transactions.partition_for(transactional_id)].leader]

    def delete_topic(self, topic: Topic) -> None:
        """Remove a topic, its records, and what groups committed for it. Raises KafkaError KAFKA_STORAGE_ERROR: the
        topic is still there, or only its folders are (the next start removes them).
        """
        try:
            self.metadata.delete_topic(topic)
        finally:
            if topic.name not in self.cluster.topics:
                if topic.name == OFFSETS_TOPIC:
                    self._groups.drop()
                elif topic.name == TRANSACTIONS_TOPIC:
                    self._transactions.drop()
                elif self._groups.current is not None:
                    self._groups.current.on_topic_deleted(topic.name)
