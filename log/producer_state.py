"""Idempotence and transactions of one log: the last batches of each producer id, and the `.snapshot` files that keep
them.

Checks are pure (`check` decides, `update` applies after the write). No files are touched here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ottla.log.door import ProducerView
from ottla.log.txn_index import AbortedTransaction
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.records import ControlRecordType, RecordBatch

WINDOW = 5  # batches remembered per producer, as many as an idempotent producer may have in flight
_SNAPSHOT_VERSION = 1
HEADER = struct.Struct(">hIi")  # version, crc-32c of what follows it, entry count
ENTRY = struct.Struct(">qhiqiqiq")
_CRC_START = 6  # the crc covers everything after itself
NO_SEQUENCE = -1


class SentBatch(NamedTuple):
    """What is remembered of a stored batch."""

    first_sequence: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp_ms: int


class EndedTransaction(NamedTuple):
    """What a marker ended; `aborted` is for the index of the segment that holds the marker, None if it commits."""

    first_offset: int
    marker_offset: int
    aborted: AbortedTransaction | None


class Producer:
    """State of one producer id in one partition."""

    __slots__ = ("batches", "coordinator_epoch", "epoch", "last_timestamp_ms", "transaction_first_offset")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: list[SentBatch] = []  # oldest first, at most WINDOW
        self.coordinator_epoch = -1
        self.last_timestamp_ms = -1
        self.transaction_first_offset = -1

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


def last_sequence(base_sequence: int, last_offset_delta: int) -> int:
    """Sequences wrap from 2147483647 to 0."""
    return (base_sequence + last_offset_delta) & 0x7FFFFFFF


class ProducerState:
    """All producers of one log, by producer id."""

    __slots__ = ("open_transactions", "producers")

    def __init__(self) -> None:
        self.producers: dict[int, Producer] = {}
        # producer id -> first offset of its open transaction, in offset order: the first value bounds the last stable
        # offset
        self.open_transactions: dict[int, int] = {}

    def check(
        self, producer_id: int, epoch: int, first: int, last: int, *, transactional: bool, from_zero: bool = False
    ) -> SentBatch | None:
        """May a batch with sequences `first`..`last` be appended? The stored batch it repeats, or None if it is new.

        A producer that is not known may begin anywhere, unless `from_zero` (KIP-890: each transaction has an epoch of
        its own, so it begins anew). Raises KafkaError INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER,
        INVALID_TXN_STATE.
        """
        producer = self.producers.get(producer_id)
        if producer is None:
            if from_zero and first != 0:
                raise KafkaError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"Invalid sequence number for producer {producer_id}, of which nothing is known: {first} (incoming "
                    f"seq. number), 0 was expected",
                )
            return None
        if epoch == producer.epoch:
            for batch in producer.batches:
                if batch.first_sequence == first and batch.last_sequence == last:
                    return batch
            expected = producer.last_sequence
            if first != (expected + 1 & 0x7FFFFFFF):
                raise KafkaError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"Out of order sequence number for producer {producer_id}: {first} (incoming seq. number), "
                    f"{expected} (current end sequence number)",
                )
        elif epoch < producer.epoch:
            raise _old_epoch(producer_id, epoch, producer.epoch)
        elif first != 0:
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"Invalid sequence number for new epoch of producer {producer_id}: {epoch} (request epoch), "
                f"{first} (seq. number), {producer.epoch} (current producer epoch)",
            )
        if producer.transaction_first_offset >= 0 and not transactional:
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE,
                f"Expected transactional write from producer {producer_id}, whose transaction is open",
            )
        return None

    def check_epoch(self, producer_id: int, epoch: int) -> None:
        """What is checked of a batch that a coordinator writes for a producer. Raises KafkaError
        INVALID_PRODUCER_EPOCH."""
        producer = self.producers.get(producer_id)
        if producer is not None and epoch < producer.epoch:
            raise _old_epoch(producer_id, epoch, producer.epoch)

    def check_marker(self, producer_id: int, epoch: int, coordinator_epoch: int, transaction_version: int) -> None:
        """May a marker be appended? Raises KafkaError INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.

        From transaction version 2 on, the marker's epoch is one beyond that of the records it ends: one of the same
        epoch came late and would end the next transaction. But if none is open, it is a marker that is written again.
        """
        producer = self.producers.get(producer_id)
        if producer is None:
            return
        late = epoch == producer.epoch and transaction_version >= 2 and producer.transaction_first_offset >= 0
        if epoch < producer.epoch or late:
            raise _old_epoch(producer_id, epoch, producer.epoch)
        if coordinator_epoch < producer.coordinator_epoch:
            raise KafkaError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"Invalid coordinator epoch for producer {producer_id}: {coordinator_epoch} (zombie), "
                f"{producer.coordinator_epoch} (current)",
            )

    def update(
        self,
        producer_id: int,
        epoch: int,
        base_sequence: int,
        last_offset_delta: int,
        last_offset: int,
        timestamp_ms: int,
        *,
        transactional: bool,
    ) -> None:
        """Remember a data batch that was stored, or read back from the log."""
        producer = self._at_epoch(producer_id, epoch)
        batches = producer.batches
        if len(batches) == WINDOW:
            del batches[0]
        last = base_sequence + last_offset_delta & 0x7FFFFFFF
        batches.append(SentBatch(base_sequence, last, last_offset, last_offset_delta, timestamp_ms))
        producer.last_timestamp_ms = timestamp_ms
        if transactional and producer.transaction_first_offset < 0:
            first_offset = last_offset - last_offset_delta
            producer.transaction_first_offset = first_offset
            self.open_transactions[producer_id] = first_offset

    def apply_marker(self, marker: RecordBatch) -> EndedTransaction | None:
        """Apply a stored control batch; None if it ends nothing. Raises KafkaError INVALID_RECORD."""
        kind, coordinator_epoch = marker.control_record()
        if kind not in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
            return None
        producer_id, offset = marker.producer_id, marker.last_offset
        first_offset = self.end_transaction(producer_id, marker.producer_epoch, coordinator_epoch, marker.max_timestamp)
        if first_offset < 0:
            return None
        if kind == ControlRecordType.COMMIT:
            return EndedTransaction(first_offset, offset, None)
        stable_offset = next(iter(self.open_transactions.values()), offset + 1)
        aborted = AbortedTransaction(producer_id, first_offset, offset, stable_offset)
        return EndedTransaction(first_offset, offset, aborted)

    def end_transaction(self, producer_id: int, epoch: int, coordinator_epoch: int, timestamp_ms: int) -> int:
        """Apply a commit or abort marker; returns the first offset of the transaction it ends, -1 if it had none."""
        producer = self._at_epoch(producer_id, epoch)
        producer.coordinator_epoch = coordinator_epoch
        producer.last_timestamp_ms = timestamp_ms
        first_offset, producer.transaction_first_offset = producer.transaction_first_offset, -1
        self.open_transactions.pop(producer_id, None)
        return first_offset

    def open_epoch(self, producer_id: int) -> int:
        """The producer's epoch if its transaction is open, else -1."""
        producer = self.producers.get(producer_id)
        return producer.epoch if producer is not None and producer.transaction_first_offset >= 0 else -1

    def view(self) -> list[ProducerView]:
        """All producers, as others may see them."""
        return [
            ProducerView(
                producer_id,
                producer.epoch,
                producer.last_sequence,
                producer.last_timestamp_ms,
                producer.coordinator_epoch,
                producer.transaction_first_offset,
            )
            for producer_id, producer in self.producers.items()
        ]

    def _at_epoch(self, producer_id: int, epoch: int) -> Producer:
        producer = self.producers.get(producer_id)
        if producer is None:
            producer = self.producers[producer_id] = Producer(epoch)
        elif producer.epoch != epoch:
            producer.epoch = epoch
            producer.batches.clear()
        return producer

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers idle for `expiration_ms` whose transaction is not open; returns how many."""
        idle = self.idle(now_ms, expiration_ms)
        for producer_id in idle:
            del self.producers[producer_id]
        return len(idle)

    def idle(self, now_ms: int, expiration_ms: int) -> list[int]:
        """The ids that `expire` forgets."""
        return [
            producer_id
            for producer_id, producer in self.producers.items()
            if producer.transaction_first_offset < 0 and now_ms - producer.last_timestamp_ms >= expiration_ms
        ]

    def encode(self) -> bytes:
        """Content of a `.snapshot` file: schema ProducerSnapshot version 1 (only the last batch of each producer)."""
        body = bytearray(HEADER.pack(_SNAPSHOT_VERSION, 0, len(self.producers)))
        for producer_id, producer in self.producers.items():
            last = producer.batches[-1] if producer.batches else _NO_BATCH
            body += ENTRY.pack(
                producer_id,
                producer.epoch,
                last.last_sequence,
                last.last_offset,
                last.offset_delta,
                producer.last_timestamp_ms,
                producer.coordinator_epoch,
                producer.transaction_first_offset,
            )
        HEADER.pack_into(body, 0, _SNAPSHOT_VERSION, crc32c(memoryview(body)[_CRC_START:], 0), len(self.producers))
        return bytes(body)

    @classmethod
    def decode(cls, data: bytes) -> ProducerState:
        """Inverse of `encode`. Raises ValueError for anything but a whole snapshot with a right CRC."""
        if len(data) < HEADER.size:
            raise ValueError(f"producer snapshot of {len(data)} bytes")
        version, crc, count = HEADER.unpack_from(data)
        if version != _SNAPSHOT_VERSION:
            raise ValueError(f"producer snapshot version {version}")
        if crc != crc32c(memoryview(data)[_CRC_START:], 0) or len(data) != HEADER.size + count * ENTRY.size:
            raise ValueError("producer snapshot is damaged")
        state = cls()
        for entry in ENTRY.iter_unpack(data[HEADER.size :]):
            producer_id, epoch, last, last_offset, delta, timestamp_ms, coordinator_epoch, first_offset = entry
            producer = Producer(epoch)
            producer.coordinator_epoch = coordinator_epoch
            producer.last_timestamp_ms = timestamp_ms
            producer.transaction_first_offset = first_offset
            if last_offset >= 0:
                producer.batches.append(SentBatch((last - delta) & 0x7FFFFFFF, last, last_offset, delta, timestamp_ms))
            state.producers[producer_id] = producer
        opened = sorted(
            (p.transaction_first_offset, i) for i, p in state.producers.items() if p.transaction_first_offset >= 0
        )
        state.open_transactions = {producer_id: first_offset for first_offset, producer_id in opened}
        return state


def _old_epoch(producer_id: int, epoch: int, known_epoch: int) -> KafkaError:
    comparison = "equal to" if epoch == known_epoch else "smaller than"
    return KafkaError(
        ErrorCode.INVALID_PRODUCER_EPOCH,
        f"Epoch of producer {producer_id} is {epoch}, {comparison} the last seen epoch {known_epoch}",
    )


_NO_BATCH = SentBatch(NO_SEQUENCE, NO_SEQUENCE, -1, 0, -1)
