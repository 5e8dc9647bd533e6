"""Offsets by time in the segments of one log (ListOffsets): the first record at or after a timestamp, and the latest.

`start` and `end` are the log start offset and the high watermark: records below the one do not count, those from the
other on must not be seen. Unpacking stops at `budget_bytes` a batch. All raise OSError and DamagedBatchError.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.log.door import TimestampOffset
from ottla.log.scan import StoredBatch
from ottla.log.segment import Segment
from ottla.wire.records import HEADER_SIZE, RecordBatch


def first_at(
    segments: Sequence[Segment], timestamp_ms: int, start: int, end: int, budget_bytes: int
) -> TimestampOffset | None:
    """The first record at or after a timestamp."""
    for segment in segments:
        if segment.largest_timestamp_ms() < timestamp_ms:
            continue
        found = segment.find_timestamp(timestamp_ms, start)
        while found is not None:
            answer = _record_at(segment, found, timestamp_ms, start, budget_bytes)
            if answer is not None:
                return answer if answer.offset < end else None
            found = segment.find_timestamp(timestamp_ms, found.last_offset + 1)
    return None


def first_of_largest(segments: Sequence[Segment], start: int, end: int, budget_bytes: int) -> TimestampOffset | None:
    """The first record that carries the largest timestamp."""
    best = -1
    for segment in segments:
        largest = segment.largest_timestamp_ms()
        if largest > best and segment.max_timestamp_offset < start:  # it was trimmed away
            largest = _largest_from(segment, segment.offset_index.position_before(start), start)
        best = max(best, largest)
    if best < 0:
        return None
    answer = first_at(segments, best, start, end, budget_bytes)
    if answer is None:  # compaction left that batch without records
        best = max((_largest_from(segment, 0, start, HEADER_SIZE) for segment in segments), default=-1)
        answer = first_at(segments, best, start, end, budget_bytes) if best >= 0 else None
    return answer


def _largest_from(segment: Segment, position: int, start: int, above_bytes: int = 0) -> int:
    """The largest timestamp of batches from byte `position` on that reach `start` and are larger than `above_bytes`."""
    return max(
        (
            batch.max_timestamp_ms
            for batch in segment.batches(position)
            if batch.last_offset >= start and batch.size > above_bytes
        ),
        default=-1,
    )


def _record_at(
    segment: Segment, batch: StoredBatch, timestamp_ms: int, start: int, budget_bytes: int
) -> TimestampOffset | None:
    """The first record of a batch at or after both a timestamp and the log start."""
    if batch.magic < 2:
        return TimestampOffset(batch.base_offset, batch.max_timestamp_ms, batch.leader_epoch)
    view = RecordBatch(segment.read_batch(batch.position, batch.size))
    for record in view.records(budget_bytes):
        if record.timestamp_ms >= timestamp_ms and record.offset >= start:
            return TimestampOffset(record.offset, record.timestamp_ms, batch.leader_epoch)
    return None
