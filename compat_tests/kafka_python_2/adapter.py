"""kafka-python 2 behind the face that the scenarios use: what differs from kafka_python/, where common.py is."""

import threading
import time
from collections.abc import Sequence

import kafka
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError

from compat_tests.client import Emit, MemberConfig, Reader, Sender, by_crc32
from compat_tests.harness import DEADLINE_S
from compat_tests.kafka_python.common import KafkaPythonReader, KafkaPythonSender, Listener, work
from compat_tests.kafka_python_2.admin import Administration

_ASSIGNORS = {one.name: one for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)}


def _by_crc32(key: bytes | None, every: list[int], available: list[int]) -> int:
    return by_crc32(key, len(every))


class Adapter(Administration):
    """kafka-python 2."""

    name = "kafka_python_2"

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
        by_key = _by_crc32 if partitioner else None
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
        consumer = self._reached(config)
        consumer.subscribe([config.topic], listener=Listener(emit, due))
        work(consumer, due, emit, stop)
        emit("revoked", sorted(one.partition for one in consumer.assignment()))  # 2.x closes without telling listeners
        consumer.close(autocommit=False)

    def _reached(self, config: MemberConfig) -> KafkaConsumer:
        """A consumer that has found a broker and the topic: a leader that knows no topic assigns nothing at first."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            consumer = None
            try:
                consumer = KafkaConsumer(
                    bootstrap_servers=self.bootstrap,
                    group_id=config.group,
                    auto_offset_reset="earliest",
                    enable_auto_commit=False,
                    session_timeout_ms=config.session_timeout_ms,
                    heartbeat_interval_ms=config.heartbeat_interval_ms,
                    group_instance_id=config.instance_id,
                    partition_assignment_strategy=(_ASSIGNORS[config.assignor or "range"],),
                    max_poll_records=config.batch,
                    metrics_enabled=False,
                )
                if consumer.partitions_for_topic(config.topic):
                    return consumer
            except KafkaError:
                if time.monotonic() > deadline_s:
                    raise
            if consumer is not None:
                consumer.close(autocommit=False)
            time.sleep(0.1)
