"""What kafka-python 2 and 3 do alike: sending, reading, groups, some admin calls, names of errors."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import KafkaConnectionError, KafkaError

from compat_tests import errors
from compat_tests.client import (
    Client,
    Emit,
    MemberConfig,
    Outgoing,
    Reader,
    Received,
    RefusedError,
    Sender,
    Sent,
)
from compat_tests.harness import DEADLINE_S
from compat_tests.kafka_python.subscribing import POLL_MS, subscribed


@contextmanager
def refusals() -> Iterator[None]:
    """KafkaError as RefusedError."""
    try:
        yield
    except KafkaError as error:
        raise RefusedError(error_name(error)) from error


def error_name(error: KafkaError) -> str:
    """The protocol's name where the error, or what it carries, came from a broker; else the library's."""
    of_broker = (one for one in (error, *error.args) if isinstance(one, KafkaError) and getattr(one, "errno", None))
    known = next(of_broker, None)
    return type(error).__name__ if known is None else errors.error_name(known.errno)


class KafkaPythonSender(Sender):
    """partitioner: what the library takes for it, or None."""

    def __init__(
        self,
        bootstrap: str,
        compression: str | None,
        partitioner: object | None,
        idempotent: bool,
        transactional_id: str | None,
        request_timeout_ms: int | None,
    ) -> None:
        options: dict[str, Any] = {} if partitioner is None else {"partitioner": partitioner}
        if transactional_id is not None:
            options["transactional_id"] = transactional_id
        if request_timeout_ms is not None:
            options["request_timeout_ms"] = request_timeout_ms
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


class KafkaPythonReader(Reader):
    """Partitions that are assigned by hand."""

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
            with refusals():
                polled = self._consumer.poll(1_000, max_records=count - len(taken))
            for records in polled.values():
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


class Listener(ConsumerRebalanceListener):
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


def work(
    consumer: KafkaConsumer, due: dict[TopicPartition, OffsetAndMetadata], emit: Emit, stop: threading.Event
) -> None:
    """A subscribed member's life, until it is to close. due: see Listener."""
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


class KafkaPython(Client):
    """by_crc32: that partitioner, as the version takes one. assignors: its own, by name."""

    by_crc32: ClassVar[object]
    assignors: ClassVar[Mapping[str, type]]

    def version(self) -> str:
        return str(kafka.__version__)

    def sender(
        self,
        *,
        compression: str | None = None,
        partitioner: str | None = None,
        idempotent: bool = True,
        transactional_id: str | None = None,
        request_timeout_ms: int | None = None,
    ) -> Sender:
        by_key = self.by_crc32 if partitioner else None
        options = (compression, by_key, idempotent, transactional_id, request_timeout_ms)
        return KafkaPythonSender(self.bootstrap, *options)

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
            partition_assignment_strategy=(self.assignors[config.assignor or "range"],),
            max_poll_records=config.batch,
        )
        work(consumer, due, emit, stop)
        self.leave(consumer, emit)

    def leave(self, consumer: KafkaConsumer, emit: Emit) -> None:
        """A member's clean end."""
        consumer.close(autocommit=False)

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """For one call; what it is refused for is a RefusedError."""
        with refusals():
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
            try:
                yield admin
            finally:
                admin.close()

    def delete_topic(self, topic: str) -> None:
        with self.admin() as admin:
            admin.delete_topics([topic])

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        with self.admin() as admin:
            admin.delete_records({TopicPartition(topic, partition): offset for partition, offset in before.items()})
