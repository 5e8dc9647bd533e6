"""Changes to the cluster: topics created and deleted, feature levels, producer ids handed out. Decide, append to the
metadata log, replay.

The metadata log is `__cluster_metadata-0` with Kafka's own record schemas (records of KRaft), one record batch a
change, so that a change is there whole or not at all. Answers to clients are made in handlers/.
"""

from __future__ import annotations

from collections.abc import Mapping

from ottla.broker.cluster import INTERNAL_TOPICS, METADATA_TOPIC, TOPIC_RESOURCE, Cluster, Topic
from ottla.broker.config import BrokerConfig
from ottla.broker.names import name_fault
from ottla.broker.placement import check_replicas, spread
from ottla.broker.reading import read_batches
from ottla.log.clock import Clock
from ottla.log.config import LogConfig
from ottla.log.door import LogStore
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message
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
from ottla.wire.state.metadata_frame import decode_metadata_record, encode_metadata_record

METADATA_TOPIC_ID = bytes(15) + b"\x01"  # fixed, as in Kafka
# History is kept whole, whatever defaults the broker has for topics.
_LOG_CONFIGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "segment.bytes": str(1 << 30),
    "max.message.bytes": str(1 << 30),
}
PRODUCER_ID_BLOCK = 1000


class NewTopic:
    """A topic that may be created: every check is behind it. `assignments[p]` are the replicas of partition p,
    leader first.
    """

    __slots__ = ("assignments", "id", "name", "overrides")

    def __init__(self, name: str, topic_id: bytes, assignments: list[list[int]], overrides: dict[str, str]) -> None:
        self.name = name
        self.id = topic_id
        self.assignments = assignments
        self.overrides = overrides


class Metadata:
    """The controller of the cluster."""

    def __init__(self, cluster: Cluster, store: LogStore, config: BrokerConfig, *, clock: Clock, ids: Ids) -> None:
        self._cluster = cluster
        self._config = config
        self._clock = clock
        self._ids = ids
        self._log = store.create(
            METADATA_TOPIC,
            0,
            METADATA_TOPIC_ID,
            _LOG_CONFIGS,
            lazy=True,
        )
        self._log_defaults = LogConfig.from_broker(config.log_defaults())
        self._producer_ids = range(0)
        self._placed = 0  # partitions, so that topics of one partition are not all led by one node
        self._metric_names: tuple[int, dict[str, str]] = (
            -1,
            {},
        )  # at which version of the cluster; metric name -> topic

    @property
    def end_offset(self) -> int:
        """Where the next change will stand in the metadata log: it grows with each."""
        return self._log.log_end_offset

    def load(self) -> None:
        """Replay the whole metadata log, at start."""
        for batch in read_batches(self._log):
            if not batch.is_control:
                for record in batch.records(batch.size):
                    change = decode_metadata_record(record.value) if record.value is not None else None
                    if change is not None:
                        self._cluster.replay(change)

    @property
    def log_end_offset(self) -> int:
        """Where the metadata log ends."""
        return self._log.log_end_offset

    def _commit(self, records: list[Message]) -> None:
        """Append `records` as one batch, then replay them. Raises KafkaError with the state as it was; or with all
        records replayed, if the folders of what they delete could not be moved away.

        The append flushes before it returns, in the loop: a change is durable before it is believed, and the next
        decision sees it, so that nothing waits between deciding and doing. Changes are rare.
        """
        now_ms = self._clock.wall_ms()
        batch = build_batch(
            Record(offset, now_ms, None, encode_metadata_record(record), ()) for offset, record in enumerate(records)
        )
        self._log.append(batch, leader_epoch=0, from_client=False, expected_offset=self._log.log_end_offset)  # durable
        failure: KafkaError | None = None
        for record in records:
            try:
                self._cluster.replay(record)
            except KafkaError as error:  # it is decided: whoever stands behind it must hear of it too
                failure = failure or error
        self._cluster.tell_moves()
        if failure is not None:
            raise failure

    # ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def plan_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        assignments: list[tuple[int, list[int]]] | None = None,
        overrides: Mapping[str, str | None] | None = None,
    ) -> NewTopic:
        """All checks of CreateTopics for one topic, in Kafka's order. -1: the broker's default. Raises KafkaError."""
        cluster = self._cluster
        fault = name_fault(name)
        if fault is not None:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
        if name == METADATA_TOPIC:
            raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED, f"{name} is the broker's own log, no topic")
        if name in cluster.topics:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {name!r} already exists")
        if "." in name or "_" in name:  # only these can collide in a metric name, which Kafka forbids
            other = self._by_metric_name().get(_metric_name(name))
            if other is not None:
                raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {name!r} collides with {other!r}")
        wanted = self.checked_overrides(overrides or {})
        if assignments:
            return NewTopic(
                name, self._ids.uuid(), self._checked_assignments(assignments, partitions, replication_factor), wanted
            )
        if replication_factor == 0 or replication_factor < -1:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR, "replication factor must be larger than 0, or -1 for the default"
            )
        if partitions == 0 or partitions < -1:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS, "number of partitions must be larger than 0, or -1 for the default"
            )
        nodes = sorted(cluster.nodes)
        if replication_factor > len(nodes):
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"replication factor {replication_factor} is larger than the number of brokers, {len(nodes)}",
            )
        # A default larger than the cluster must never fail a topic that did not ask for it.
        factor = (
            replication_factor if replication_factor > 0 else min(self._config.default_replication_factor, len(nodes))
        )
        count = partitions if partitions > 0 else self._config.num_partitions
        return NewTopic(name, self._ids.uuid(), self._spread(range(count), factor), wanted)

    def _by_metric_name(self) -> dict[str, str]:
        """Made anew when topics changed, so once for all topics of a request."""
        version, names = self._metric_names
        if version != self._cluster.version:
            names = {_metric_name(name): name for name in self._cluster.topics}
            self._metric_names = self._cluster.version, names
        return names

    def _spread(self, partitions: range, factor: int) -> list[list[int]]:
        first, self._placed = self._placed, self._placed + len(partitions)
        return spread(list(self._cluster.nodes.values()), partitions, factor, first)

    def _checked_assignments(
        self, assignments: list[tuple[int, list[int]]], partitions: int, replication_factor: int
    ) -> list[list[int]]:
        if partitions != -1 or replication_factor != -1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, "with manual assignments, partitions and replication factor must be -1"
            )
        by_index = dict(assignments)
        if len(by_index) < len(assignments):
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "a partition is assigned twice")
        spread = [by_index.get(index) for index in range(len(by_index))]
        checked: list[list[int]] = []
        for index, replicas in enumerate(spread):
            if replicas is None:
                raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"partition {index} has no assignment")
            self._check_replicas(index, replicas, len(spread[0] or ()))
            checked.append(replicas)
        return checked

    def _check_replicas(self, index: int, replicas: list[int], factor: int) -> None:
        """Raises KafkaError INVALID_REPLICA_ASSIGNMENT."""
        check_replicas(index, replicas, self._cluster.nodes)
        if not any(self._cluster.nodes[replica].is_up for replica in replicas):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"partition {index}: all brokers of the assignment are down"
            )
        if len(replicas) != factor:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions differ in their number of replicas")

    def plan_partitions(self, topic: Topic, count: int, assignments: list[list[int]] | None) -> list[list[int]]:
        """All checks of CreatePartitions for one topic that shall have `count` partitions, in Kafka's order: the
        replicas of each new partition, the leader first. Raises KafkaError."""
        now = len(topic.partitions)
        if count < now:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS, f"topic {topic.name!r} has {now} partitions; none can be taken away"
            )
        if count == now:
            raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"topic {topic.name!r} already has {now} partitions")
        factor = len(topic.partitions[0].replicas)
        added = range(now, count)
        if assignments is None:
            return self._spread(added, min(factor, len(self._cluster.nodes)))
        if len(assignments) != len(added):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"{len(added)} partitions are added, {len(assignments)} assignments are given",
            )
        for index, replicas in zip(added, assignments, strict=True):
            self._check_replicas(index, replicas, factor)
        return assignments

    def _partition_records(self, topic_id: bytes, first: int, placed: list[list[int]]) -> list[Message]:
        """New partitions from index `first` on; every replica that is up is in sync, the first of them leads."""
        live = {node.id for node in self._cluster.live_nodes}
        records: list[Message] = []
        for index, replicas in enumerate(placed, first):
            isr = [replica for replica in replicas if replica in live]
            records.append(
                PartitionRecord(
                    partition_id=index,
                    topic_id=topic_id,
                    replicas=replicas,
                    isr=isr,
                    leader=isr[0],
                    leader_epoch=0,
                    partition_epoch=0,
                )
            )
        return records

    def add_partitions(self, growth: list[tuple[Topic, list[list[int]]]]) -> None:
        """Add all that was planned, (topic, replicas of each new partition), or nothing. Raises KafkaError
        KAFKA_STORAGE_ERROR."""
        records = [
            record
            for topic, placed in growth
            for record in self._partition_records(topic.id, len(topic.partitions), placed)
        ]
        if records:
            self._commit(records)

    def create_topic(self, plan: NewTopic) -> Topic:
        """Create what was planned. Raises KafkaError KAFKA_STORAGE_ERROR."""
        self.create_topics([plan])
        return self._cluster.topics[plan.name]

    def create_topics(self, plans: list[NewTopic]) -> None:
        """Create all that was planned, or nothing. Raises KafkaError KAFKA_STORAGE_ERROR."""
        records: list[Message] = []
        for plan in plans:
            records.append(TopicRecord(name=plan.name, topic_id=plan.id))
            records += [
                ConfigRecord(resource_type=TOPIC_RESOURCE, resource_name=plan.name, name=key, value=value)
                for key, value in plan.overrides.items()
            ]
            records += self._partition_records(plan.id, 0, plan.assignments)
        if records:
            self._commit(records)

    def change_partitions(self, changes: list[PartitionChangeRecord]) -> None:
        """Carry out what broker/placement.py decided, all of it or nothing. Raises KafkaError KAFKA_STORAGE_ERROR."""
        if changes:
            self._commit([*changes])

    def auto_create(self, name: str) -> Topic:
        """Create `name` with the broker's defaults; internal topics get their own settings. Raises KafkaError."""
        if name in INTERNAL_TOPICS:
            return self.internal_topic(name)
        return self.create_topic(self.plan_topic(name))

    def internal_topic(self, name: str) -> Topic:
        """The internal topic `name`, created now if it is not there (its settings: protocol semantics, offsets)."""
        topic = self._cluster.topics.get(name)
        if topic is None:
            partitions, factor, overrides = self._config.internal_topic(name)
            factor = min(factor, len(self._cluster.nodes))  # it must never fail
            topic = self.create_topic(self.plan_topic(name, partitions, factor, None, overrides))
        return topic

    def delete_topics(self, topics: list[Topic]) -> None:
        """Remove topics and their records, all of them or none. Raises KafkaError KAFKA_STORAGE_ERROR: they are still
        there; or they are gone and folders of theirs are left, which go at the next start.
        """
        if topics:
            self._commit([RemoveTopicRecord(topic_id=topic.id) for topic in topics])

    # ── configs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def checked_overrides(self, overrides: Mapping[str, str | None]) -> dict[str, str]:
        """`overrides` of a topic, if all may be set. Raises KafkaError INVALID_CONFIG."""
        checked = self._config.checked_topic_overrides(overrides)
        if checked:  # the log must be able to obey what is promised here
            LogConfig.from_properties(self._log_defaults, checked)
        return checked

    def write_configs(self, changes: list[ConfigRecord]) -> None:
        """Carry out what broker/alter_configs.py decided, all or nothing. Raises KafkaError KAFKA_STORAGE_ERROR."""
        self._commit([*changes])

    def settings_changed(self) -> None:
        """The broker's settings are others now, and with them the defaults of topics."""
        self._log_defaults = LogConfig.from_broker(self._config.log_defaults())

    # ── features ────────────────────────────────────────────────────────────────────────────────────────────────────

    def set_features(self, levels: Mapping[str, int]) -> None:
        """Put features at levels that were checked (features.py). Raises KafkaError KAFKA_STORAGE_ERROR."""
        if levels:
            self._commit([FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items()])

    # ── quotas ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def change_quotas(self, changes: list[ClientQuotaRecord]) -> None:
        """Carry out what broker/quotas.py validated, all of it or nothing. Raises KafkaError KAFKA_STORAGE_ERROR."""
        if changes:
            self._commit([*changes])

    # ── producer ids ────────────────────────────────────────────────────────────────────────────────────────────────

    def new_producer_id(self) -> int:
        """A producer id never given before, from a durable block of 1000, also after a crash."""
        if not self._producer_ids:
            first = self._cluster.next_producer_id
            self._commit(
                [
                    ProducerIdsRecord(
                        broker_id=self._cluster.controller_id,
                        broker_epoch=0,
                        next_producer_id=first + PRODUCER_ID_BLOCK,
                    )
                ]
            )
            self._producer_ids = range(first, first + PRODUCER_ID_BLOCK)
        given = self._producer_ids[0]
        self._producer_ids = self._producer_ids[1:]
        return given


def _metric_name(topic: str) -> str:
    return topic.replace(".", "_")
