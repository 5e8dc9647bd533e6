"""Reading a whole partition from inside the broker, batch by batch (metadata and coordinators at start)."""

from __future__ import annotations

from collections.abc import Iterator

from ottla.log.door import Done, PartitionLog
from ottla.wire.records import RecordBatch, batches

_READ_BYTES = 1 << 20


def read_batches(log: PartitionLog, offset: int | None = None) -> Iterator[RecordBatch]:
    """Every batch from `offset` (None: the log start offset) to the high watermark. Raises KafkaError
    KAFKA_STORAGE_ERROR; OFFSET_OUT_OF_RANGE if the log start passes by."""
    if offset is None:
        offset = log.log_start_offset
    while offset < log.high_watermark:
        outcome = log.read(offset, _READ_BYTES, min_one_batch=True)
        assert isinstance(outcome, Done), "nothing serves yet that a read could wait for"
        before = offset
        for batch in batches(outcome.value.take()):
            yield batch
            offset = batch.next_offset
        if offset == before:
            return
