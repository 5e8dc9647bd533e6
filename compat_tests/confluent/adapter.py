"""confluent-kafka behind the face that the scenarios use."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from compat_tests.client import (
    Emit,
    MemberConfig,
    Outgoing,
    Reader,
    Received,
    RefusedError,
    Sender,
    Sent,
    by_crc32,
)
from compat_tests.confluent.admin import Administration, error_name, refusals
from compat_tests.harness import DEADLINE_S


class _Sender(Sender):
    def __init__(
        self,
        bootstrap: str,
        compression: str | None,
        partitioner: str | None,
        idempotent: bool,
        transactional_id: str | None,
        request_timeout_ms: int | None,
    ) -> None:
        self._bootstrap = bootstrap
        self._choose = by_crc32 if partitioner else None
        self._partitions: dict[str, int] = {}
        options: dict[str, Any] = {} if transactional_id is None else {"transactional.id": transactional_id}
        if request_timeout_ms is not None:
            options["request.timeout.ms"] = request_timeout_ms
            options["socket.timeout.ms"] = request_timeout_ms
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": idempotent,
                "compression.type": compression or "none",
                "linger.ms": 5,
                "message.max.bytes": 2_000_000,
                "queue.buffering.max.messages": 1_000_000,
                # no key: another random partition each ms, not each 10; 100,000 records are sent within a few
                "sticky.partitioning.linger.ms": 1,
                **options,
            }
        )
        if transactional_id is not None:
            with refusals():
                self._producer.init_transactions(DEADLINE_S)

    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        reports: list[tuple[KafkaError | None, int | None, int | None] | None] = []

        def note(place: int, error: KafkaError | None, message: Message) -> None:
            reports[place] = (error, message.partition(), message.offset())

        for place, record in enumerate(records):
            options: dict[str, Any] = {}
            partition = record.partition
            if partition is None and self._choose is not None:  # librdkafka's way: the application names the partition
                partition = self._choose(record.key, self._partition_count(topic))
            if partition is not None:
                options["partition"] = partition
            if record.timestamp_ms is not None:
                options["timestamp"] = record.timestamp_ms
            reports.append(None)
            self._producer.produce(
                topic,
                record.value,
                record.key,
                headers=list(record.headers),
                on_delivery=lambda error, message, place=place: note(place, error, message),
                **options,
            )
            if place % 1_000 == 0:
                self._producer.poll(0)
        with refusals():  # a fenced one raises
            assert self._producer.flush(3 * DEADLINE_S) == 0, "records without an acknowledgement"
        sent = []
        for report in reports:
            assert report is not None
            error, acked, offset = report
            if error is not None:
                raise RefusedError(error_name(error))
            assert acked is not None
            assert offset is not None
            sent.append(Sent(acked, offset))
        return sent

    def begin(self) -> None:
        with refusals():
            self._producer.begin_transaction()

    def commit(self) -> None:
        with refusals():
            self._producer.commit_transaction(DEADLINE_S)

    def abort(self) -> None:
        with refusals():
            self._producer.abort_transaction(DEADLINE_S)

    def send_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": group})
        positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        with refusals():
            self._producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), DEADLINE_S)
        consumer.close()

    def _partition_count(self, topic: str) -> int:
        if topic not in self._partitions:
            self._partitions[topic] = len(self._producer.list_topics(topic, DEADLINE_S).topics[topic].partitions)
        return self._partitions[topic]

    def __exit__(self, *_: object) -> None:
        with refusals():
            self._producer.flush(5)


class _Reader(Reader):
    def __init__(self, bootstrap: str, topic: str, partitions: Sequence[int], isolation: str) -> None:
        self._topic = topic
        self._partitions = list(partitions)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "isolation.level": isolation,
            }
        )

    def seek_beginning(self) -> None:
        self.seek({p: self._watermarks(p)[0] for p in self._partitions})

    def seek_end(self) -> None:
        self.seek({p: self._watermarks(p)[1] for p in self._partitions})

    def seek(self, offsets: Mapping[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._topic, p, offsets[p]) for p in self._partitions])

    def seek_time(self, timestamp_ms: int) -> dict[int, int | None]:
        asked = [TopicPartition(self._topic, p, timestamp_ms) for p in self._partitions]
        found = {one.partition: one for one in self._consumer.offsets_for_times(asked, DEADLINE_S)}
        for one in found.values():
            assert one.error is None, one.error
        answer = {p: found[p].offset if found[p].offset >= 0 else None for p in self._partitions}
        self.seek({p: self._watermarks(p)[1] if offset is None else offset for p, offset in answer.items()})
        return answer

    def take(self, count: int) -> list[Received]:
        taken: list[Received] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(taken) < count and time.monotonic() < deadline:
            for message in self._consumer.consume(min(count - len(taken), 10_000), 0.2):
                if (error := message.error()) is not None:
                    raise RefusedError(error_name(error))
                taken.append(
                    Received(
                        message.partition(),
                        message.offset(),
                        message.timestamp()[1],
                        message.key(),
                        message.value(),
                        tuple(message.headers() or ()),
                    )
                )
        return taken

    def pause(self, partitions: Sequence[int]) -> None:
        self._consumer.pause([TopicPartition(self._topic, p) for p in partitions])

    def resume(self, partitions: Sequence[int]) -> None:
        self._consumer.resume([TopicPartition(self._topic, p) for p in partitions])

    def _watermarks(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), DEADLINE_S)
        return low, high

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


class Adapter(Administration):
    """confluent-kafka, on librdkafka."""

    name = "confluent"
    lacks: ClassVar = {"assignor.sticky": "librdkafka has range, roundrobin and cooperative-sticky"}

    def version(self) -> str:
        return str(confluent_kafka.__version__)

    def sender(
        self,
        *,
        compression: str | None = None,
        partitioner: str | None = None,
        idempotent: bool = True,
        transactional_id: str | None = None,
        request_timeout_ms: int | None = None,
    ) -> Sender:
        options = (compression, partitioner, idempotent, transactional_id, request_timeout_ms)
        return _Sender(self.bootstrap, *options)

    def reader(self, topic: str, partitions: Sequence[int], *, isolation: str = "read_uncommitted") -> Reader:
        return _Reader(self.bootstrap, topic, partitions, isolation)

    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int | None]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False})
        try:
            answer = consumer.committed([TopicPartition(topic, p) for p in partitions], DEADLINE_S)
        finally:
            consumer.close()
        return {one.partition: one.offset if one.offset >= 0 else None for one in answer}

    def run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "group.id": config.group,
            "group.protocol": config.protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        if config.protocol == "classic":  # with KIP-848 these are the broker's to set
            settings["session.timeout.ms"] = config.session_timeout_ms
            settings["heartbeat.interval.ms"] = config.heartbeat_interval_ms
        if config.assignor is not None:
            classic = config.protocol == "classic"
            settings["partition.assignment.strategy" if classic else "group.remote.assignor"] = config.assignor
        if config.instance_id is not None:
            settings["group.instance.id"] = config.instance_id
        consumer = Consumer(settings)

        due: dict[int, int] = {}  # partition -> offset that is to be committed, while the partition is owned

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            emit("assigned", sorted(one.partition for one in partitions))

        def gives_back(name: str) -> Callable[[Consumer, list[TopicPartition]], None]:
            def give_back(_: Consumer, partitions: list[TopicPartition]) -> None:
                for one in partitions:
                    due.pop(one.partition, None)
                emit(name, sorted(one.partition for one in partitions))

            return give_back

        consumer.subscribe(
            [config.topic], on_assign=assigned, on_revoke=gives_back("revoked"), on_lost=gives_back("lost")
        )
        while not stop.is_set():
            messages = []
            for message in consumer.consume(config.batch, 0.1):
                if (error := message.error()) is None:
                    messages.append(message)
                elif error.fatal():
                    raise KafkaException(error)
            if messages:
                emit("records", [[m.partition(), m.offset(), m.value().decode()] for m in messages])
            due.update({m.partition(): m.offset() + 1 for m in messages})
            if not due:
                continue
            try:
                wanted = [TopicPartition(config.topic, p, offset) for p, offset in due.items()]
                for one in consumer.commit(offsets=wanted, asynchronous=False):
                    if one.error is not None:
                        raise KafkaException(one.error)
            except KafkaException as refused:
                if messages:
                    emit("commit_failed", refused.args[0].name())
            else:
                emit("committed", due)
                due.clear()
        consumer.close()
