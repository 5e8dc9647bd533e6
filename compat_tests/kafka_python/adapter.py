"""kafka-python behind the face that the scenarios use."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.partitioner import Partitioner as KafkaPartitioner

from compat_tests.client import (
    Client,
    Emit,
    MemberConfig,
    Outgoing,
    Partitioner,
    Reader,
    Received,
    Sender,
    SendError,
    Sent,
)
from compat_tests.harness import DEADLINE_S
from compat_tests.kafka_python.subscribing import POLL_MS, subscribed

_ASSIGNORS = {
    one.name: one
    for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor, CooperativeStickyAssignor)
}


class _Chosen(KafkaPartitioner):
    def __init__(self, choose: Partitioner) -> None:
        self._choose = choose

    def partition(  # the library's own signature
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        return self._choose(serialized_key, len(cluster.partitions_for_topic(topic)))


class _Sender(Sender):
    def __init__(
        self, bootstrap: str, compression: str | None, partitioner: Partitioner | None, idempotent: bool
    ) -> None:
        options = {"partitioner": _Chosen(partitioner)} if partitioner else {}
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=idempotent,
            acks="all",
            compression_type=compression,
            linger_ms=5,
            max_request_size=2_000_000,
            metrics_enabled=False,
            **options,
        )

    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        send = self._producer.send
        futures = [
            send(topic, r.value, r.key, list(r.headers), partition=r.partition, timestamp_ms=r.timestamp_ms)
            for r in records
        ]
        self._producer.flush(DEADLINE_S)
        sent = []
        for future in futures:
            try:
                metadata = future.get(DEADLINE_S)
            except KafkaError as error:
                raise SendError(_error_name(error)) from error
            sent.append(Sent(metadata.partition, metadata.offset))
        return sent

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=5)


def _error_name(error: KafkaError) -> str:
    return "MESSAGE_TOO_LARGE" if getattr(error, "errno", None) == 10 else type(error).__name__


class _Reader(Reader):
    def __init__(self, bootstrap: str, topic: str, partitions: Sequence[int]) -> None:
        self._partitions = [TopicPartition(topic, partition) for partition in partitions]
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, max_poll_records=10_000, metrics_enabled=False
        )
        self._consumer.assign(self._partitions)

    def seek_beginning(self) -> None:
        self._consumer.seek_to_beginning(*self._partitions)

    def seek_end(self) -> None:
        self._consumer.seek_to_end(*self._partitions)
        for partition in self._partitions:
            self._consumer.position(partition, timeout_ms=int(DEADLINE_S * 1000))

    def seek(self, offsets: Mapping[int, int]) -> None:
        for partition in self._partitions:
            self._consumer.seek(partition, offsets[partition.partition])

    def seek_time(self, timestamp_ms: int) -> dict[int, int | None]:
        found = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, timestamp_ms))
        ends = self._consumer.end_offsets(self._partitions)
        for partition in self._partitions:
            hit = found[partition]
            self._consumer.seek(partition, ends[partition] if hit is None else hit.offset)
        return {p.partition: None if found[p] is None else found[p].offset for p in self._partitions}

    def take(self, count: int) -> list[Received]:
        taken: list[Received] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(taken) < count and time.monotonic() < deadline:
            for records in self._consumer.poll(1_000, max_records=count - len(taken)).values():
                taken += [
                    Received(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
                ]
        return taken

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)


class _Listener(ConsumerRebalanceListener):
    """Tells each change of what is owned. `due` is what is to be committed: not of partitions that others have."""

    def __init__(self, emit: Emit, due: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self._emit = emit
        self._due = due

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._give_back("revoked", revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._give_back("lost", lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._emit("assigned", sorted(p.partition for p in assigned))

    def _give_back(self, name: str, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._due.pop(partition, None)
        self._emit(name, sorted(p.partition for p in partitions))


class Adapter(Client):
    """kafka-python."""

    name = "kafka_python"

    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics({topic: {"num_partitions": partitions, "configs": dict(configs or {})}})
        finally:
            admin.close()

    def sender(
        self, *, compression: str | None = None, partitioner: Partitioner | None = None, idempotent: bool = True
    ) -> Sender:
        return _Sender(self.bootstrap, compression, partitioner, idempotent)

    def reader(self, topic: str, partitions: Sequence[int]) -> Reader:
        return _Reader(self.bootstrap, topic, partitions)

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
            _Listener(emit, due),
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
        while not stop.is_set():
            try:
                batches = consumer.poll(POLL_MS)
            except KafkaConnectionError as error:  # what kafka-python 3 raises while no broker can be reached
                emit("poll_failed", type(error).__name__)
                continue
            records = [r for batch in batches.values() for r in batch]
            if records:
                emit("records", [[r.partition, r.offset, r.value.decode()] for r in records])
            due.update({p: OffsetAndMetadata(batch[-1].offset + 1, "", -1) for p, batch in batches.items()})
            if not due:
                continue
            try:
                consumer.commit(due)
            except KafkaError as error:
                if records:
                    emit("commit_failed", type(error).__name__)
            else:
                emit("committed", {p.partition: one.offset for p, one in due.items()})
                due.clear()
        consumer.close(autocommit=False)
