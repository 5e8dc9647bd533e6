"""The steps of a transaction with confluent-kafka."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from compat_tests.transactions.driver import (
    STEP_TIMEOUT_S,
    DriverConfig,
    StepError,
    TransactionalDriver,
)

_COMMON: dict[str, Any] = {
    "reconnect.backoff.max.ms": 500,
    "log_level": 2,  # a broker that is killed is no news here
    # librdkafka 2.16, when its only broker is gone, makes a new handle for it and sends TxnOffsetCommit to the old one,
    # which spins and never connects. Without that, it keeps the handle.
    "metadata.recovery.strategy": "none",
}


class Driver(TransactionalDriver):
    """librdkafka: what is retriable is tried again by the application, as its manual says."""

    def __init__(self, config: DriverConfig) -> None:
        super().__init__(config)
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None

    @property
    def producer(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    **_COMMON,
                    "bootstrap.servers": self.config.bootstrap,
                    "transactional.id": self.config.transactional_id,
                    "transaction.timeout.ms": self.config.transaction_timeout_ms,
                    "message.timeout.ms": min(self.config.transaction_timeout_ms, int(STEP_TIMEOUT_S * 1000)),
                    "linger.ms": 0,
                }
            )
        return self._producer

    @property
    def consumer(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    **_COMMON,
                    "bootstrap.servers": self.config.bootstrap,
                    "group.id": self.config.group,
                    "auto.offset.reset": "earliest",
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed",
                    "session.timeout.ms": self.config.session_timeout_ms,
                    "heartbeat.interval.ms": self.config.heartbeat_interval_ms,
                }
            )
            self._consumer.subscribe([self.config.topic])
        return self._consumer

    def init(self) -> None:
        _until_settled(self.producer.init_transactions)

    def begin(self) -> None:
        with _errors():
            self.producer.begin_transaction()

    def send(self, records: Sequence[tuple[str, int, str]]) -> list[int]:
        reports: list[tuple[KafkaError | None, int | None]] = [(None, None)] * len(records)

        def note(place: int) -> Callable[[KafkaError | None, Message], None]:
            def report(error: KafkaError | None, message: Message) -> None:
                reports[place] = (error, message.offset())

            return report

        with _errors():
            for place, (topic, partition, value) in enumerate(records):
                self.producer.produce(topic, value.encode(), partition=partition, on_delivery=note(place))
            self.producer.flush(STEP_TIMEOUT_S)
            for error, _ in reports:
                if error is not None:
                    raise KafkaException(error)
        offsets = [offset for _, offset in reports if offset is not None]
        if len(offsets) < len(records):
            raise StepError("NotAcknowledged", abort=True)
        return offsets

    def take(self, timeout_ms: int) -> list[tuple[int, int, str]]:
        deadline = time.monotonic() + timeout_ms / 1000
        while (left_s := deadline - time.monotonic()) > 0:
            first = self.consumer.poll(left_s)
            if first is None or first.error() is not None:
                continue
            more = [message for message in self.consumer.consume(self.config.batch - 1, 0) if message.error() is None]
            return [_record(message) for message in (first, *more)]
        return []

    def offsets(self) -> None:
        positions = self.consumer.position(self.consumer.assignment())
        known = [one for one in positions if one.offset >= 0]
        metadata = self.consumer.consumer_group_metadata()
        _until_settled(lambda left_s: self.producer.send_offsets_to_transaction(known, metadata, left_s))

    def commit(self) -> None:
        _until_settled(self.producer.commit_transaction)

    def abort(self) -> None:
        _until_settled(self.producer.abort_transaction)

    def read(self, topic: str, partitions: Sequence[int], isolation: str, end: str) -> list[tuple[int, int, str]]:
        consumer = Consumer(
            {"bootstrap.servers": self.config.bootstrap, "group.id": "unused", "isolation.level": isolation}
        )
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        records: list[tuple[int, int, str]] = []
        open_partitions = set(partitions)
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while open_partitions:
            if time.monotonic() > deadline:
                raise StepError(f"NoEndOf{sorted(open_partitions)}")
            message = consumer.poll(1)
            if message is None or message.error() is not None:
                continue
            records.append(_record(message))
            if records[-1][2] == end:
                open_partitions.discard(records[-1][0])
        consumer.close()
        return records

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


def _record(message: Message) -> tuple[int, int, str]:
    partition, offset, value = message.partition(), message.offset(), message.value()
    assert partition is not None
    assert offset is not None
    return partition, offset, (value or b"").decode()


def _until_settled(step: Callable[[float], Any]) -> None:
    """Calls with the seconds left, again for as long as the error says that it may be."""
    deadline = time.monotonic() + STEP_TIMEOUT_S
    while True:
        try:
            with _errors():
                step(max(0.1, deadline - time.monotonic()))
            return
        except StepError as error:
            cause = error.__cause__
            retriable = isinstance(cause, KafkaException) and cause.args[0].retriable()
            if not retriable or time.monotonic() > deadline:
                raise


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        name = "ProducerFenced" if cause.name() == "_FENCED" else cause.name().title().replace("_", "")
        raise StepError(name, abort=cause.txn_requires_abort(), fatal=cause.fatal()) from error
