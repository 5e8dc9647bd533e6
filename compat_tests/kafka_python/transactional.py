"""The steps of a transaction with kafka-python."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    InvalidTxnStateError,
    KafkaConnectionError,
    KafkaError,
    ProducerFencedError,
)

from compat_tests.kafka_python.subscribing import POLL_MS, subscribed
from compat_tests.transactions.driver import (
    STEP_TIMEOUT_S,
    DriverConfig,
    StepError,
    TransactionalDriver,
)

_FATAL = (ProducerFencedError, InvalidProducerEpochError, InvalidTxnStateError)


class Driver(TransactionalDriver):
    """kafka-python: the client itself retries what is retriable."""

    def __init__(self, config: DriverConfig) -> None:
        super().__init__(config)
        self._producer: KafkaProducer | None = None
        self._consumer: KafkaConsumer | None = None

    @property
    def producer(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = KafkaProducer(
                bootstrap_servers=self.config.bootstrap,
                transactional_id=self.config.transactional_id,
                transaction_timeout_ms=self.config.transaction_timeout_ms,
                max_block_ms=int(STEP_TIMEOUT_S * 1000),
                delivery_timeout_ms=int(STEP_TIMEOUT_S * 1000),
                request_timeout_ms=10_000,
                reconnect_backoff_max_ms=500,
                metrics_enabled=False,
            )
        return self._producer

    @property
    def consumer(self) -> KafkaConsumer:
        if self._consumer is None:
            with _errors():
                self._consumer = subscribed(
                    self.config.topic,
                    STEP_TIMEOUT_S,
                    bootstrap_servers=self.config.bootstrap,
                    group_id=self.config.group,
                    auto_offset_reset="earliest",
                    enable_auto_commit=False,
                    isolation_level="read_committed",
                    session_timeout_ms=self.config.session_timeout_ms,
                    heartbeat_interval_ms=self.config.heartbeat_interval_ms,
                    reconnect_backoff_max_ms=500,
                )
        return self._consumer

    def init(self) -> None:
        with _errors():
            self.producer.init_transactions()

    def begin(self) -> None:
        with _errors():
            self.producer.begin_transaction()

    def send(self, records: Sequence[tuple[str, int, str]]) -> list[int]:
        with _errors():
            futures = [self.producer.send(topic, value.encode(), partition=p) for topic, p, value in records]
            self.producer.flush(STEP_TIMEOUT_S)
            return [future.get(STEP_TIMEOUT_S).offset for future in futures]

    def take(self, timeout_ms: int) -> list[tuple[int, int, str]]:
        deadline = time.monotonic() + timeout_ms / 1000
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                batches = self.consumer.poll(max(int(left_s * 1000), POLL_MS), max_records=self.config.batch)
            except KafkaConnectionError:  # what kafka-python 3 raises while no broker can be reached
                continue
            if batches:
                return [(r.partition, r.offset, r.value.decode()) for batch in batches.values() for r in batch]
        return []

    def offsets(self) -> None:
        positions = {
            partition: OffsetAndMetadata(self.consumer.position(partition), "", -1)
            for partition in self.consumer.assignment()
        }
        with _errors():
            self.producer.send_offsets_to_transaction(positions, self.consumer.group_metadata())

    def commit(self) -> None:
        with _errors():
            self.producer.commit_transaction()

    def abort(self) -> None:
        with _errors():
            self.producer.abort_transaction()

    def read(self, topic: str, partitions: Sequence[int], isolation: str, end: str) -> list[tuple[int, int, str]]:
        consumer = KafkaConsumer(
            bootstrap_servers=self.config.bootstrap,
            enable_auto_commit=False,
            isolation_level=isolation,
            metrics_enabled=False,
        )
        assigned = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(assigned)
        consumer.seek_to_beginning(*assigned)
        records: list[tuple[int, int, str]] = []
        open_partitions = set(partitions)
        deadline = time.monotonic() + STEP_TIMEOUT_S
        while open_partitions:
            if time.monotonic() > deadline:
                raise StepError(f"NoEndOf{sorted(open_partitions)}")
            for batch in consumer.poll(1_000).values():
                records += [(r.partition, r.offset, r.value.decode()) for r in batch]
                if batch[-1].value.decode() == end:
                    open_partitions.discard(batch[-1].partition)
        consumer.close(autocommit=False)
        return records

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=5_000)
        if self._producer is not None:
            self._producer.close(timeout=5)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        # a refused call carries what made the producer refuse it
        cause = next((one for one in (error, *error.args) if isinstance(one, _FATAL)), error)
        fatal = isinstance(cause, _FATAL)
        name = type(cause).__name__.removesuffix("Error")
        raise StepError(name, abort=not fatal, fatal=fatal) from error
