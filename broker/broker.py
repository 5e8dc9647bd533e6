"""One broker as handlers see it: cluster state, log, coordinators, the gate; how it loads, and how it lets go.

Knows no sockets, no options and no signals: those are app.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import Cluster, Node, Partition, Topic
from ottla.broker.dispatch import Gate
from ottla.broker.fetch_sessions import FetchSessions
from ottla.broker.housekeeping import Housekeeping
from ottla.broker.logs import Log
from ottla.broker.metadata import Metadata
from ottla.broker.state_log import OFFSETS_TOPIC, StateLog
from ottla.coordinator.timers import Timers
from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.coordinator.group.coordinator import GroupCoordinator


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
        self.fetch_sessions = FetchSessions(config.max_incremental_fetch_session_cache_slots, clock=clock, ids=ids)
        self._ids = ids
        self._group_log = StateLog(OFFSETS_TOPIC, self.cluster, self.metadata, clock, log)
        self._groups: GroupCoordinator | None = None
        self.housekeeping = Housekeeping(self.timers, store, config, log)
        self.stopping = False  # nobody is to wait any more
        self.gate = Gate(self)

    @property
    def groups(self) -> GroupCoordinator:
        """The group coordinator, made (and imported) when the first group is there: 60 ms that many starts do
        without.
        """
        partitions = self.cluster.partition_count(OFFSETS_TOPIC)
        if self._groups is not None and partitions not in (None, self._groups.partitions):
            self._drop_groups()  # a client made the topic, with a number of its own; until then no group could be kept
        if self._groups is None:
            from ottla.coordinator.group.coordinator import GroupCoordinator

            config = self.config
            groups = GroupCoordinator(
                clock=self.clock,
                ids=self._ids,
                timers=self.timers,
                config=config.group_config(),
                partitions=partitions or config.offsets_topic_num_partitions,
                append=self._group_log.append,
                topics=self.cluster,
                events=self.log,
            )
            self._group_log.load(groups)  # one that could not be loaded must not answer
            if self.stopping:
                groups.shutdown()
            self._groups = groups
        return self._groups

    def _drop_groups(self) -> None:
        """Begin anew with what the log holds, at the next use."""
        if self._groups is not None:
            self._groups.shutdown()
            self._groups = None

    def load(self) -> None:
        """Replay what the log holds: topics first, then groups. Afterwards every request can be served."""
        self.metadata.load()
        for name, index in self.cluster.attach_logs():
            self.log.warning("folder set aside: it belongs to no topic of this cluster", topic=name, partition=index)
        if OFFSETS_TOPIC in self.cluster.topics:
            _ = self.groups  # replayed before anyone can ask
        self.housekeeping.start()

    def shut_down(self) -> None:
        """Answer everyone who waits: members hear that the coordinator is gone, fetches end with what is there."""
        self.stopping = True
        if self._groups is not None:
            self._groups.shutdown()
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

    def delete_topic(self, topic: Topic) -> None:
        """Remove a topic, its records, and what groups committed for it. Raises KafkaError KAFKA_STORAGE_ERROR: the
        topic is still there, or only its folders are (the next start removes them).
        """
        try:
            self.metadata.delete_topic(topic)
        finally:
            if topic.name not in self.cluster.topics:
                if topic.name == OFFSETS_TOPIC:
                    self._drop_groups()
                elif self._groups is not None:
                    self._groups.on_topic_deleted(topic.name)
