"""What the cluster is: nodes, topics, partitions and their leaders. One object, changed by `replay` of metadata
records only.

Decisions (may this topic be created?) live in metadata.py; nothing here appends, listens or answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ottla.broker.quotas import ClientQuotas
from ottla.log.door import LogStore, PartitionLog
from ottla.wire.errors import KafkaError
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
    from ottla.broker.connection import Connection
    from ottla.broker.waiting import ByteWaiter
    from ottla.wire.schema import Message

# ConfigResource types of ConfigRecord and DescribeConfigs.
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
LOGGER_RESOURCE = 8
CLIENT_METRICS_RESOURCE = 16
GROUP_RESOURCE = 32
NO_LEADER_CHANGE = -2  # in a PartitionChangeRecord
METADATA_TOPIC = "__cluster_metadata"  # its log is the history itself, no topic of the cluster
INTERNAL_TOPICS = frozenset(("__consumer_offsets", "__transaction_state", "__share_group_state"))


class Node:
    """A broker of the cluster: an id and where clients reach it; (None, None) is the address each client came to."""

    __slots__ = ("advertised_host", "advertised_port", "id", "rack")

    def __init__(
        self,
        node_id: int,
        advertised_host: str | None = None,
        advertised_port: int | None = None,
        rack: str | None = None,
    ) -> None:
        self.id = node_id
        self.advertised_host = advertised_host
        self.advertised_port = advertised_port
        self.rack = rack

    def endpoint(self, connection: Connection) -> tuple[str, int]:
        """(host, port) that a client on `connection` is told."""
        return self.advertised_host or connection.local_host, self.advertised_port or connection.local_port


class Partition:
    """One partition: who leads it, its log, and the requests that wait for it to grow."""

    __slots__ = ("index", "isr", "leader", "leader_epoch", "log", "replicas", "topic", "waiters")

    log: PartitionLog  # attached by Cluster

    def __init__(
        self, topic: Topic, index: int, *, leader: int, leader_epoch: int, replicas: list[int], isr: list[int]
    ) -> None:
        self.topic = topic
        self.index = index
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.replicas = replicas
        self.isr = isr
        self.waiters: set[ByteWaiter] = set()

    def grew(self) -> None:
        """To be called after each append."""
        if self.waiters:
            for waiter in tuple(self.waiters):
                waiter.partition_grew()


class Topic:
    """A topic: `partitions[i].index == i`; `overrides` are its own configs, as text."""

    __slots__ = ("id", "internal", "name", "overrides", "partitions")

    def __init__(self, name: str, topic_id: bytes) -> None:
        self.name = name
        self.id = topic_id
        self.internal = name in INTERNAL_TOPICS
        self.overrides: dict[str, str] = {}
        self.partitions: list[Partition] = []

    def partition(self, index: int) -> Partition | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None


class Cluster:
    """All nodes and topics. `replay` is the only code that changes topics."""

    def __init__(self, nodes: list[Node], store: LogStore) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.controller_id = nodes[0].id
        self.cluster_id = store.cluster_id
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[bytes, Topic] = {}
        self.configs: dict[tuple[int, str], dict[str, str]] = {}  # by (type, name), of all resources but topics
        self.version = 0  # another one whenever topics or partitions changed
        self.feature_levels: dict[str, int] = {}  # those that somebody set (features.py)
        self.quotas = ClientQuotas()
        self.next_producer_id = 0  # first id of the first block not handed out yet
        self._store = store
        # While history is replayed, folders on disk belong to its end: logs are attached only then.
        self._attached = False
        self._removed_ids: set[bytes] = set()

    def partition(self, topic: str, index: int) -> Partition | None:
        found = self.topics.get(topic)
        return found.partition(index) if found is not None else None

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
            for waiter in tuple(partition.waiters):
                waiter.wake()
            try:
                self._store.delete(topic.name, partition.index)
            except KafkaError as error:
                failure = error
        if failure is not None:
            raise failure

    def _replay_partition(self, record: PartitionRecord) -> None:
        topic = self.topics_by_id[record.topic_id]
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
            topic.partitions[partition.index] = partition
        if self._attached:
            self._attach(partition)

    def _replay_change(self, record: PartitionChangeRecord) -> None:
        """What the record leaves out stays. Who waits on a partition whose leader moved must ask the new one."""
        partition = self.topics_by_id[record.topic_id].partitions[record.partition_id]
        if record.replicas is not None:
            partition.replicas = record.replicas
        if record.isr is not None:
            partition.isr = record.isr
        if record.leader != NO_LEADER_CHANGE:
            partition.leader = record.leader
            partition.leader_epoch += 1
            for waiter in tuple(partition.waiters):
                waiter.wake()

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
