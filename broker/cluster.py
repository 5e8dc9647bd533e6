"""What the cluster is: nodes, topics, partitions and their leaders. One object, changed by `replay` of metadata
records only.

Decisions (may this topic be created?) live in metadata.py; nothing here appends, listens or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ottla.broker.quotas import ClientQuotas
from ottla.log.door import LogStore, PartitionLog
from ottla.wire.errors import KafkaError
from ottla.wire.hashing import partition_for_group
from ottla.wire.state.cluster_metadata import (
    ClientQuotaRecord,
    ConfigRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RemoveTopicRecord,
    TopicRecord,
)

if TYPE_CHECKING:
    from ottla.broker.fetch_sessions import FetchTarget
    from ottla.broker.nodes import Node
    from ottla.broker.waiting import Waiter
    from ottla.wire.schema import Message

# ConfigResource types of ConfigRecord and DescribeConfigs.
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
LOGGER_RESOURCE = 8
CLIENT_METRICS_RESOURCE = 16
GROUP_RESOURCE = 32
NO_LEADER = -1
NO_LEADER_CHANGE = -2  # in a PartitionChangeRecord
METADATA_TOPIC = "__cluster_metadata"  # its log is the history itself, no topic of the cluster
INTERNAL_TOPICS = frozenset(("__consumer_offsets", "__transaction_state", "__share_group_state"))


class Partition:
    """One partition: who leads it, its log, the requests that wait for it to grow, and those of fetch sessions that
    let it rest.
    """

    __slots__ = (
        "adding",
        "elr",
        "index",
        "isr",
        "last_known_elr",
        "leader",
        "leader_epoch",
        "log",
        "removing",
        "replicas",
        "resting",
        "topic",
        "waiters",
    )

    log: PartitionLog  # attached by Cluster

    def __init__(
        self, topic: Topic, index: int, *, leader: int, leader_epoch: int, replicas: list[int], isr: list[int]
    ) -> None:
        self.topic = topic
        self.index = index
        self.leader = leader  # NO_LEADER if nobody can lead
        self.leader_epoch = leader_epoch
        self.replicas = replicas
        self.isr = isr
        self.elr: list[int] = []  # who may lead though it fell out of sync, and who last could (KIP-966)
        self.last_known_elr: list[int] = []
        self.adding: list[int] = []  # replicas that come and go in the move under way (KIP-455)
        self.removing: list[int] = []
        self.waiters: set[Waiter] = set()
        self.resting: set[FetchTarget] = set()

    @property
    def is_moving(self) -> bool:
        """Whether a reassignment is under way."""
        return bool(self.adding or self.removing)

    def wake_waiting(self) -> None:
        """Whoever waits is answered with what there is."""
        self.stir()
        for waiter in tuple(self.waiters):
            waiter.wake()

    def stir(self) -> None:
        """Something happened that a fetch session may have to tell."""
        for target in tuple(self.resting):
            target.stir()

    def grew(self) -> None:
        """To be called after each append."""
        if self.resting:
            self.stir()
        if self.waiters:
            for waiter in tuple(self.waiters):
                waiter.partition_grew()


class Topic:
    """A topic: `partitions[i].index == i`; `overrides` are its own configs, as text. `described`: what is told of it,
    encoded (handlers/metadata.py); whatever changes a partition drops that.
    """

    __slots__ = ("described", "id", "internal", "name", "overrides", "partitions")

    def __init__(self, name: str, topic_id: bytes) -> None:
        self.name = name
        self.id = topic_id
        self.internal = name in INTERNAL_TOPICS
        self.overrides: dict[str, str] = {}
        self.partitions: list[Partition] = []
        self.described: dict[tuple[int, int, tuple[int, ...]], bytes] = {}

    def partition(self, index: int) -> Partition | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None

    def holder(self, key: str) -> Partition:
        """Of an internal topic: the partition that holds a group or transactional id."""
        return self.partitions[partition_for_group(key, len(self.partitions))]


class Cluster:
    """All nodes and topics. `replay` is the only code that changes topics."""

    def __init__(self, nodes: list[Node], store: LogStore) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.cluster_id = store.cluster_id
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[bytes, Topic] = {}
        self.configs: dict[tuple[int, str], dict[str, str]] = {}  # by (type, name), of all resources but topics
        self.version = 0  # another one whenever topics or partitions changed
        self.feature_levels: dict[str, int] = {}  # those that somebody set (features.py)
        self.quotas = ClientQuotas()
        self.next_producer_id = 0  # first id of the first block not handed out yet
        self.on_leader_change: list[Callable[[Partition], None]] = []  # called by `tell_moves`
        self._moved: list[Partition] = []
        self._store = store
        # While history is replayed, folders on disk belong to its end: logs are attached only then.
        self._attached = False
        self._removed_ids: set[bytes] = set()

    def partition(self, topic: str, index: int) -> Partition | None:
        found = self.topics.get(topic)
        return found.partition(index) if found is not None else None

    @property
    def live_nodes(self) -> list[Node]:
        """Those that are up, at least one, in the order of their ids."""
        return [node for node in self.nodes.values() if node.is_up]

    def offline(self, replicas: list[int]) -> list[int]:
        """Those of `replicas` whose node is down."""
        return [replica for replica in replicas if replica not in self.nodes or not self.nodes[replica].is_up]

    @property
    def controller_id(self) -> int:
        """What clients are told is the controller: as with KRaft a node that is up, which hands on what it is asked."""
        return self.live_nodes[0].id

    def leader(self, partition: Partition) -> Node | None:
        """The node that leads the partition, if there is one and it is up."""
        node = self.nodes.get(partition.leader)
        return node if node is not None and node.is_up else None

    # coordinator.ports.TopicLookup, with `version`
    def names(self) -> Iterable[str]:
        return self.topics

    def name_of(self, topic_id: bytes) -> str | None:
        found = self.topics_by_id.get(topic_id)
        return found.name if found is not None else None

    def id_of(self, name: str) -> bytes | None:
        found = self.topics.get(name)
        return found.id if found is not None else None

    def partition_count(self, name: str) -> int | None:
        found = self.topics.get(name)
        return len(found.partitions) if found is not None else None

    def attach_logs(self) -> list[tuple[str, int]]:
        """History is replayed: give each partition its log, finish deletions that a crash cut short.

        Returns the (topic, partition) of folders that belong to no topic; they have been set aside.
        """
        strays = []
        for name, index in list(self._store.existing()):
            if name == METADATA_TOPIC:
                continue
            topic = self.topics.get(name)
            topic_id = self._store.topic_id(name, index)
            if topic_id in self._removed_ids:
                self._store.delete(name, index)
            elif topic is None or topic.partition(index) is None or topic_id not in (topic.id, bytes(16)):
                self._store.set_aside(name, index)
                strays.append((name, index))
        self._attached = True
        self._removed_ids.clear()
        for topic in self.topics.values():
            for partition in topic.partitions:
                self._attach(partition)
        return strays

    def _attach(self, partition: Partition) -> None:
        topic = partition.topic
        partition.log = self._store.create(topic.name, partition.index, topic.id, topic.overrides, lazy=True)

    def replay(self, record: Message) -> None:
        """Apply one metadata record. Within one append: topic, its configs, then its partitions."""
        if isinstance(record, (TopicRecord, PartitionRecord, RemoveTopicRecord)):
            self.version += 1
        if isinstance(record, TopicRecord):
            topic = Topic(record.name, record.topic_id)
            self.topics[topic.name] = topic
            self.topics_by_id[topic.id] = topic
        elif isinstance(record, PartitionRecord):
            self._replay_partition(record)
        elif isinstance(record, PartitionChangeRecord):
            self._replay_change(record)
        elif isinstance(record, ConfigRecord):
            self._replay_config(record)
        elif isinstance(record, RemoveTopicRecord):
            topic = self.topics_by_id.pop(record.topic_id)
            del self.topics[topic.name]
            if not self._attached:
                self._removed_ids.add(topic.id)
                return
            self._delete_logs(topic)
        elif isinstance(record, ClientQuotaRecord):
            self.quotas.replay(record)
        elif isinstance(record, ProducerIdsRecord):
            self.next_producer_id = record.next_producer_id
        elif isinstance(record, FeatureLevelRecord):
            self.feature_levels[record.name] = record.feature_level

    def _delete_logs(self, topic: Topic) -> None:
        """Raises KafkaError KAFKA_STORAGE_ERROR when the rest is gone: a folder that stays goes at the next start."""
        failure: KafkaError | None = None
        for partition in topic.partitions:
            partition.wake_waiting()
            try:
                self._store.delete(topic.name, partition.index)
            except KafkaError as error:
                failure = error
        if failure is not None:
            raise failure

    def _replay_partition(self, record: PartitionRecord) -> None:
        topic = self.topics_by_id[record.topic_id]
        topic.described.clear()
        partition = Partition(
            topic,
            record.partition_id,
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            replicas=record.replicas,
            isr=record.isr,
        )
        if partition.index == len(topic.partitions):
            topic.partitions.append(partition)
        else:
            topic.partitions[partition.index].stir()
            topic.partitions[partition.index] = partition
        if self._attached:
            self._attach(partition)
            self._moved.append(partition)

    def tell_moves(self) -> None:
        """After the last record of a change: say which partitions have another leader, those that are new included."""
        moved, self._moved = self._moved, []
        for partition in moved:
            for listener in self.on_leader_change:
                listener(partition)

    def _replay_change(self, record: PartitionChangeRecord) -> None:
        """What the record leaves out stays. Who waits on a partition whose leader moved must ask the new one."""
        topic = self.topics_by_id[record.topic_id]
        topic.described.clear()
        partition = topic.partitions[record.partition_id]
        if record.replicas is not None:
            partition.replicas = record.replicas
        if record.isr is not None:
            partition.isr = record.isr
        if record.eligible_leader_replicas is not None:
            partition.elr = record.eligible_leader_replicas
        if record.last_known_elr is not None:
            partition.last_known_elr = record.last_known_elr
        if record.adding_replicas is not None:
            partition.adding = record.adding_replicas
        if record.removing_replicas is not None:
            partition.removing = record.removing_replicas
        partition.stir()
        if record.leader != NO_LEADER_CHANGE:
            partition.leader = record.leader
            partition.leader_epoch += 1
            if not self._attached:
                return
            partition.wake_waiting()
            self._moved.append(partition)

    def _replay_config(self, record: ConfigRecord) -> None:
        resource = (record.resource_type, record.resource_name)
        of_topic = record.resource_type == TOPIC_RESOURCE
        overrides = self.topics[record.resource_name].overrides if of_topic else self.configs.setdefault(resource, {})
        if record.value is None:
            overrides.pop(record.name, None)
        else:
            overrides[record.name] = record.value
        if not of_topic:
            if not overrides:
                del self.configs[resource]
        elif self._attached and self.topics[record.resource_name].partitions:
            self._store.reconfigure(record.resource_name, overrides)
