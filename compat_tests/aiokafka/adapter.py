"""aiokafka behind the face that the scenarios use: its event loop runs in a thread, the scenarios stay plain calls."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from compat_tests.aiokafka.admin import Administration, refusal, refusals
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

_ASSIGNORS = {one.name: one for one in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)}

T = TypeVar("T")


class _Loop:
    """One event loop in a thread, for one producer or consumer."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 3 * DEADLINE_S) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _inside(factory: Callable[[], T]) -> T:
    """The library wants to be called inside its loop, also where it awaits nothing."""
    return factory()


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
        options: dict[str, Any] = {}
        if partitioner is not None:
            options["partitioner"] = lambda key, every, available: by_crc32(key, len(every))
        if transactional_id is not None:
            options["transactional_id"] = transactional_id
        if request_timeout_ms is not None:
            options["request_timeout_ms"] = request_timeout_ms
        self._loop = _Loop()
        self._producer = self._loop.run(
            _inside(
                lambda: AIOKafkaProducer(
                    bootstrap_servers=bootstrap,
                    enable_idempotence=idempotent,
                    acks="all",
                    compression_type=compression,
                    linger_ms=5,
                    max_request_size=2_000_000,
                    **options,
                )
            )
        )
        self._loop.run(self._producer.start())

    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        return self._loop.run(self._send(topic, records))

    async def _send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        send = self._producer.send
        try:
            futures = [
                await send(topic, r.value, r.key, r.partition, r.timestamp_ms, headers=list(r.headers)) for r in records
            ]
            return [Sent(one.partition, one.offset) for one in await asyncio.gather(*futures)]
        except KafkaError as error:
            raise refusal(error) from error

    def begin(self) -> None:
        self._transact(self._producer.begin_transaction())

    def commit(self) -> None:
        self._transact(self._producer.commit_transaction())

    def abort(self) -> None:
        self._transact(self._producer.abort_transaction())

    def send_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        positions = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        self._transact(self._producer.send_offsets_to_transaction(positions, group))

    def _transact(self, step: Coroutine[Any, Any, None]) -> None:
        with refusals():
            self._loop.run(step)

    def __exit__(self, *_: object) -> None:
        try:
            with refusals():
                self._loop.run(self._producer.stop())
        finally:
            self._loop.close()


class _Reader(Reader):
    def __init__(self, bootstrap: str, topic: str, partitions: Sequence[int], isolation: str) -> None:
        self._partitions = [TopicPartition(topic, partition) for partition in partitions]
        self._loop = _Loop()
        self._consumer = self._loop.run(
            _inside(
                lambda: AIOKafkaConsumer(
                    bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level=isolation
                )
            )
        )
        self._loop.run(self._consumer.start())
        self._loop.run(_inside(lambda: self._consumer.assign(self._partitions)))

    def seek_beginning(self) -> None:
        async def seek() -> None:
            for partition in self._partitions:  # where it begins on its own is settled first, see FINDINGS.md
                await self._consumer.position(partition)
            await self._consumer.seek_to_beginning(*self._partitions)

        self._loop.run(seek())

    def seek_end(self) -> None:
        self._loop.run(self._consumer.seek_to_end(*self._partitions))

    def seek(self, offsets: Mapping[int, int]) -> None:
        async def seek() -> None:
            for partition in self._partitions:
                self._consumer.seek(partition, offsets[partition.partition])

        self._loop.run(seek())

    def seek_time(self, timestamp_ms: int) -> dict[int, int | None]:
        asked = dict.fromkeys(self._partitions, timestamp_ms)
        found = self._loop.run(self._consumer.offsets_for_times(asked))
        ends = self._loop.run(self._consumer.end_offsets(self._partitions))
        answer = {p.partition: None if found[p] is None else found[p].offset for p in self._partitions}
        ends_by_partition = {p.partition: end for p, end in ends.items()}
        self.seek({p: ends_by_partition[p] if offset is None else offset for p, offset in answer.items()})
        return answer

    def take(self, count: int) -> list[Received]:
        return self._loop.run(self._take(count))

    async def _take(self, count: int) -> list[Received]:
        taken: list[Received] = []
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while len(taken) < count and asyncio.get_running_loop().time() < deadline:
            with refusals():
                polled = await self._consumer.getmany(timeout_ms=1_000, max_records=count - len(taken))
            for records in polled.values():
                taken += [
                    Received(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
                ]
        return taken

    def pause(self, partitions: Sequence[int]) -> None:
        held = [one for one in self._partitions if one.partition in partitions]
        self._loop.run(_inside(lambda: self._consumer.pause(*held)))

    def resume(self, partitions: Sequence[int]) -> None:
        held = [one for one in self._partitions if one.partition in partitions]
        self._loop.run(_inside(lambda: self._consumer.resume(*held)))

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._consumer.stop())
        self._loop.close()


class _Listener(ConsumerRebalanceListener):
    """Holds a rebalance until the batch in hand is processed and committed, as the library's guide asks."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.rebalancing = False
        self.due: dict[TopicPartition, int] = {}  # what is to be committed, while the partition is owned
        self.idle = asyncio.Event()
        self.idle.set()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.rebalancing = True
        await self.idle.wait()
        for partition in revoked:
            self.due.pop(partition, None)
        self._emit("revoked", sorted(p.partition for p in revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.rebalancing = False
        self._emit("assigned", sorted(p.partition for p in assigned))


class Adapter(Administration):
    """aiokafka."""

    name = "aiokafka"
    lacks: ClassVar = {
        "assignor.cooperative-sticky": "its assignors are range, roundrobin and sticky, all eager",
        "protocol.consumer": "no KIP-848",
    }

    def version(self) -> str:
        return str(aiokafka.__version__)

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
        async def committed() -> dict[int, int | None]:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
            await consumer.start()
            try:
                return {p: await consumer.committed(TopicPartition(topic, p)) for p in partitions}
            finally:
                await consumer.stop()

        return asyncio.run(committed())

    def run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        asyncio.run(self._run_member(config, emit, stop))

    async def _run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        listener = _Listener(emit)
        consumer = await self._started(config, listener)
        while not stop.is_set():
            batches = await consumer.getmany(timeout_ms=100, max_records=config.batch)
            if listener.rebalancing:  # not processed, so read again by the next owner
                continue
            listener.due.update({p: batch[-1].offset + 1 for p, batch in batches.items()})
            if not listener.due:
                continue
            listener.idle.clear()
            if batches:
                records = [record for batch in batches.values() for record in batch]
                emit("records", [[r.partition, r.offset, (r.value or b"").decode()] for r in records])
            try:
                await consumer.commit(listener.due)
            except KafkaError as error:
                if batches:
                    emit("commit_failed", refusal(error).name)
            else:
                emit("committed", {p.partition: offset for p, offset in listener.due.items()})
                listener.due.clear()
            listener.idle.set()
        await consumer.stop()

    async def _started(self, config: MemberConfig, listener: _Listener) -> AIOKafkaConsumer:
        """A consumer that has reached the broker: one that finds it away at its start is of no more use."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                group_id=config.group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=config.session_timeout_ms,
                heartbeat_interval_ms=config.heartbeat_interval_ms,
                group_instance_id=config.instance_id,
                partition_assignment_strategy=(_ASSIGNORS[config.assignor or "roundrobin"],),
            )
            consumer.subscribe([config.topic], listener=listener)
            try:
                await consumer.start()
                return consumer
            except KafkaError:
                await consumer.stop()
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(0.1)
