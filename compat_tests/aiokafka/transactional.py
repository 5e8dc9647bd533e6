"""The steps of a transaction with aiokafka."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, InvalidTxnState, KafkaError, ProducerFenced

from compat_tests.transactions.driver import (
    STEP_TIMEOUT_S,
    DriverConfig,
    StepError,
    TransactionalDriver,
)

T = TypeVar("T")
_FATAL = (ProducerFenced, InvalidProducerEpoch, InvalidTxnState)


class Driver(TransactionalDriver):
    """aiokafka: its loop runs in a thread, also between two steps."""

    def __init__(self, config: DriverConfig) -> None:
        super().__init__(config)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None

    def _run(self, step: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(asyncio.wait_for(step, STEP_TIMEOUT_S), self._loop).result()
        except TimeoutError as error:
            raise StepError("Timeout", abort=True) from error
        except KafkaError as error:
            fatal = isinstance(error, _FATAL)
            raise StepError(type(error).__name__.removesuffix("Error"), abort=not fatal, fatal=fatal) from error
        except AssertionError as error:  # the library's own check of a transaction that it has given up
            raise StepError("IllegalState", fatal=True) from error

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.config.bootstrap,
                transactional_id=self.config.transactional_id,
                transaction_timeout_ms=self.config.transaction_timeout_ms,
                request_timeout_ms=10_000,
            )
            await self._producer.start()
        return self._producer

    async def _started_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                self.config.topic,
                bootstrap_servers=self.config.bootstrap,
                group_id=self.config.group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                session_timeout_ms=self.config.session_timeout_ms,
                heartbeat_interval_ms=self.config.heartbeat_interval_ms,
            )
            await self._consumer.start()
        return self._consumer

    def init(self) -> None:
        self._run(self._started_producer())

    def begin(self) -> None:
        self._run(self._begin())

    async def _begin(self) -> None:
        await (await self._started_producer()).begin_transaction()

    def send(self, records: Sequence[tuple[str, int, str]]) -> list[int]:
        return self._run(self._send(records))

    async def _send(self, records: Sequence[tuple[str, int, str]]) -> list[int]:
        producer = await self._started_producer()
        futures = [await producer.send(topic, value.encode(), partition=p) for topic, p, value in records]
        return [(await future).offset for future in futures]

    def take(self, timeout_ms: int) -> list[tuple[int, int, str]]:
        return self._run(self._take(timeout_ms))

    async def _take(self, timeout_ms: int) -> list[tuple[int, int, str]]:
        consumer = await self._started_consumer()
        batches = await consumer.getmany(timeout_ms=timeout_ms, max_records=self.config.batch)
        return [(r.partition, r.offset, (r.value or b"").decode()) for batch in batches.values() for r in batch]

    def offsets(self) -> None:
        self._run(self._offsets())

    async def _offsets(self) -> None:
        consumer = await self._started_consumer()
        positions = {partition: await consumer.position(partition) for partition in consumer.assignment()}
        await (await self._started_producer()).send_offsets_to_transaction(positions, self.config.group)

    def commit(self) -> None:
        self._run(self._commit())

    async def _commit(self) -> None:
        await (await self._started_producer()).commit_transaction()

    def abort(self) -> None:
        self._run(self._abort())

    async def _abort(self) -> None:
        await (await self._started_producer()).abort_transaction()

    def read(self, topic: str, partitions: Sequence[int], isolation: str, end: str) -> list[tuple[int, int, str]]:
        return self._run(self._read(topic, partitions, isolation, end))

    async def _read(
        self, topic: str, partitions: Sequence[int], isolation: str, end: str
    ) -> list[tuple[int, int, str]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.config.bootstrap, enable_auto_commit=False, isolation_level=isolation
        )
        assigned = [TopicPartition(topic, partition) for partition in partitions]
        records: list[tuple[int, int, str]] = []
        async with consumer:
            consumer.assign(assigned)
            await consumer.seek_to_beginning(*assigned)
            open_partitions = set(partitions)
            while open_partitions:
                record = await consumer.getone()
                records.append((record.partition, record.offset, (record.value or b"").decode()))
                if records[-1][2] == end:
                    open_partitions.discard(record.partition)
        return records

    def close(self) -> None:
        self._run(self._close())

    async def _close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
        if self._producer is not None:
            await self._producer.stop()
