"""kafka-python behind the face that the scenarios use."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import kafka
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.partitioner import Partitioner

from compat_tests.client import (
    Emit,
    MemberConfig,
    Outgoing,
    Reader,
    Received,
    Sender,
    Sent,
    by_crc32,
)
from compat_tests.harness import DEADLINE_S
from compat_tests.kafka_python.admin import Administration, error_name, refusals
from compat_tests.kafka_python.subscribing import POLL_MS, subscribed

_ASSIGNORS = {
    one.name: one
    for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor, CooperativeStickyAssignor)
}


class _ByCrc32(Partitioner):
    def partition(  # the library's own signature
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        return by_crc32(serialized_key, len(cluster.partitions_for_topic(topic)))


class _Sender(Sender):
    def __init__(
        self,
        bootstrap: str,
        compression: str | None,
        partitioner: str | None,
        idempotent: bool,
        transactional_id: str | None,
    ) -> None:
        options: dict[str, Any] = {"partitioner": _ByCrc32()} if partitioner else {}
        if transactional_id is not None:
            options["transactional_id"] = transactional_id
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
        if transactional_id is not None:
            with refusals():
                self._producer.init_transactions()

    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        send = self._producer.send
        futures = [
            send(topic, r.value, r.key, list(r.headers), partition=r.partition, timestamp_ms=r.timestamp_ms)
            for r in records
        ]
        self._producer.flush(DEADLINE_S)
        sent = []
        for future in futures:
            with refusals():
                metadata = future.get(DEADLINE_S)
            sent.append(Sent(metadata.partition, metadata.offset))
        return sent

    def begin(self) -> None:
        with refusals():
            self._producer.begin_transaction()

    def commit(self) -> None:
        with refusals():
            self._producer.commit_transaction()

    def abort(self) -> None:
        with refusals():
            self._producer.abort_transaction()

    def send_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        positions = {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        with refusals():
            self._producer.send_offsets_to_transaction(positions, group)

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=5)


class _Reader(Reader):
    def __init__(self, bootstrap: str, topic: str, partitions: Sequence[int], isolation: str) -> None:
        self._partitions = [TopicPartition(topic, partition) for partition in partitions]
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            isolation_level=isolation,
            max_poll_records=10_000,
            metrics_enabled=False,
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

    def pause(self, partitions: Sequence[int]) -> None:
        self._consumer.pause(*(one for one in self._partitions if one.partition in partitions))

    def resume(self, partitions: Sequence[int]) -> None:
        self._consumer.resume(*(one for one in self._partitions if one.partition in partitions))

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


class Adapter(Administration):
    """kafka-python."""

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
        return _Sender(self.bootstrap, compression, partitioner, idempotent, transactional_id)

    def reader(self, topic: str, partitions: Sequence[int], *, isolation: str = "read_uncommitted") -> Reader:
        return _Reader(self.bootstrap, topic, partitions, isolation)

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
                    emit("commit_failed", error_name(error))
            else:
                emit("committed", {p.partition: one.offset for p, one in due.items()})
                due.clear()
        consumer.close(autocommit=False)
