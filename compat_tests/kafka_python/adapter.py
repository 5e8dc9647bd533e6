"""kafka-python behind the face that the scenarios use."""

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import kafka
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.partitioner import Partitioner

from compat_tests.client import Emit, MemberConfig, Reader, Sender, by_crc32
from compat_tests.harness import DEADLINE_S
from compat_tests.kafka_python.admin import Administration
from compat_tests.kafka_python.common import KafkaPythonReader, KafkaPythonSender, Listener, work
from compat_tests.kafka_python.subscribing import subscribed

_ASSIGNORS = {
    one.name: one
    for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor, CooperativeStickyAssignor)
}


class _ByCrc32(Partitioner):
    def partition(  # the library's own signature
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        return by_crc32(serialized_key, len(cluster.partitions_for_topic(topic)))


class Adapter(Administration):
    """kafka-python 3."""

    name = "kafka_python"
    lacks: ClassVar = {"protocol.consumer": "no KIP-848 yet"}

    def version(self) -> str:
        return str(kafka.__version__)

    def sender(
        self,
        *,
        compression: str | None = None,
        partitioner: str | None = None,
        idempotent: bool = True,
        transactional_id: str | None = None,
    ) -> Sender:
        by_key = _ByCrc32() if partitioner else None
        return KafkaPythonSender(self.bootstrap, compression, by_key, idempotent, transactional_id)

    def reader(self, topic: str, partitions: Sequence[int], *, isolation: str = "read_uncommitted") -> Reader:
        return KafkaPythonReader(self.bootstrap, topic, partitions, isolation)

    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int | None]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        try:
            timeout_ms = int(DEADLINE_S * 1000)
            return {p: consumer.committed(TopicPartition(topic, p), timeout_ms=timeout_ms) for p in partitions}
        finally:
            consumer.close(autocommit=False)

    def run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        due: dict[TopicPartition, OffsetAndMetadata] = {}
        consumer = subscribed(
            config.topic,
            DEADLINE_S,
            Listener(emit, due),
            bootstrap_servers=self.bootstrap,
            group_id=config.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_interval_ms,
            group_instance_id=config.instance_id,
            partition_assignment_strategy=(_ASSIGNORS[config.assignor or "range"],),
            max_poll_records=config.batch,
        )
        work(consumer, due, emit, stop)
        consumer.close(autocommit=False)
