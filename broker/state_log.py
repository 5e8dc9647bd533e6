"""Between a coordinator and the log: its records go to its internal topic and come back at start.

What the records mean is the coordinator's business; no logic of groups or transactions lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ottla.broker.reading import read_batches
from ottla.log.clock import Clock
from ottla.log.door import Appended, Done, Outcome
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.records import ControlRecordType, Record, RecordBatch, build_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.logs import Log
    from ottla.broker.metadata import Metadata
    from ottla.coordinator.ports import ProducerIdentity
    from ottla.coordinator.ports import Record as KeyValue

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
MAX_UNPACKED_BYTES = 100 << 20  # of one batch
_RECORDS_A_STEP: Final = 100
_RECORD_US: Final = 8  # what it costs to replay one


class Replayer(Protocol):
    """A coordinator that begins again from what it wrote."""

    def replay(
        self, partition: int, key: bytes, value: bytes | None, producer: ProducerIdentity | None = None, /
    ) -> None:
        """One stored record, in log order; `producer` if it is part of a transaction."""

    def replay_marker(self, partition: int, producer: ProducerIdentity, commit: bool, /) -> None:
        """The transaction of `producer` ended here."""


class StateLog:
    """Appends and replays the records of one internal topic."""

    __slots__ = ("_check_min_isr", "_clock", "_cluster", "_codec", "_log", "_metadata", "topic")

    def __init__(
        self,
        topic: str,
        cluster: Cluster,
        metadata: Metadata,
        clock: Clock,
        log: Log,
        *,
        check_min_isr: Callable[[Partition], None],
        codec: int = 0,
    ) -> None:
        """`check_min_isr` refuses an append, which is one with acks=all. `codec`: what batches are compressed with."""
        self.topic = topic
        self._check_min_isr = check_min_isr
        self._codec = codec
        self._cluster = cluster
        self._metadata = metadata
        self._clock = clock
        self._log = log

    def append(
        self, partition: int, records: list[KeyValue], producer: ProducerIdentity | None = None
    ) -> Outcome[Appended]:
        """Write (key, value) records as one batch, transactional if there is a `producer`. Raises KafkaError."""
        topic = self._metadata.internal_topic(self.topic)
        target = topic.partition(partition)
        if target is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        self._check_min_isr(target)
        now_ms = self._clock.wall_ms()
        kept = [Record(at, now_ms, key, value) for at, (key, value) in enumerate(records)]
        # Kafka's coordinators write with base sequence 0, also without a producer id.
        if producer is None:
            batch = build_batch(kept, base_sequence=0, codec=self._codec)
        else:
            producer_id, epoch = producer
            batch = build_batch(
                kept,
                codec=self._codec,
                producer_id=producer_id,
                producer_epoch=epoch,
                base_sequence=0,
                transactional=True,
            )
        outcome = target.log.append(batch, leader_epoch=target.leader_epoch, from_client=False)
        if isinstance(outcome, Done):
            target.grew()
        else:
            outcome.then(lambda _: target.grew())
        return outcome

    def is_durable(self, index: int | None = None) -> bool:
        """Whether nothing of the partition, or of any, waits for a flush: `load` would find all that was appended."""
        topic = self._cluster.topics.get(self.topic)
        partitions = topic.partitions if topic is not None else []
        logs = [partition.log for partition in (partitions if index is None else partitions[index : index + 1])]
        return all(log.high_watermark == log.log_end_offset for log in logs)

    def replay(
        self, coordinator: Replayer, partition: Partition, offset: int | None = None
    ) -> Generator[int, None, int | None]:
        """Replay a partition of the topic from `offset` on (None: from its start) to its high watermark, in steps that
        say what they cost in microseconds; where to go on from is what it returns. Raises KafkaError
        KAFKA_STORAGE_ERROR, OFFSET_OUT_OF_RANGE.
        """
        for batch in read_batches(partition.log, offset):
            yield from self._replay(coordinator, partition, batch)
            offset = batch.next_offset
        return offset

    def not_replayed(self, partition: Partition, error: Exception) -> None:
        """Tell the operator that the coordinator of a partition cannot begin."""
        self._log.error("coordinator log not replayed", error, topic=self.topic, partition=partition.index)

    def _replay(self, coordinator: Replayer, partition: Partition, batch: RecordBatch) -> Generator[int, None, None]:
        """Ours can always be read. But Kafka may have compressed its own, and admin clients may write to the topic what
        they like: what cannot be read is a warning.
        """
        producer = (batch.producer_id, batch.producer_epoch) if batch.is_transactional else None
        records: list[tuple[bytes | None, bytes | None]] = []
        try:
            if batch.is_control:
                kind, _ = batch.control_record()
                if producer is not None and kind in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
                    coordinator.replay_marker(partition.index, producer, kind == ControlRecordType.COMMIT)
            else:
                records = [(record.key, record.value) for record in batch.records(MAX_UNPACKED_BYTES)]
        except (KafkaError, ProtocolError) as error:
            self._log.warning(
                "coordinator records not understood",
                topic=self.topic,
                partition=partition.index,
                offset=batch.base_offset,
                reason=str(error),
            )
        for start in range(0, max(len(records), 1), _RECORDS_A_STEP):
            step = records[start : start + _RECORDS_A_STEP]
            for key, value in step:
                if key is not None:
                    coordinator.replay(partition.index, key, value, producer)
            yield max(len(step), 1) * _RECORD_US
