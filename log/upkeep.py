"""What housekeeping does with one log: which of its segments retention lets go, and what compaction would do now.

The facts are gathered here. Decisions are those of `retention` and `cleaner`, which see no log; files are moved by
`Partition` and `compaction`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log import retention
from ottla.log.config import MAX_LONG
from ottla.log.environment import Environment
from ottla.log.partition import Partition
from ottla.log.retention import SegmentFacts
from ottla.log.scan import DamagedBatchError

if TYPE_CHECKING:  # imported when there is something to compact
    from ottla.log import cleaner
    from ottla.log.compaction import CleanJob


def apply_retention(log: Partition, now_ms: int) -> int:
    """Drop the segments that have to go; returns how many. Raises KafkaError KAFKA_STORAGE_ERROR."""
    plan = retention_plan(log, now_ms)
    if plan.dropped:
        if plan.roll_first:
            log.roll()
        log.drop_segments(plan.dropped)
    return plan.dropped


def retention_plan(log: Partition, now_ms: int) -> retention.Plan:
    """What retention would drop then. Raises KafkaError KAFKA_STORAGE_ERROR."""
    return retention.plan(segment_facts(log), log.config, log.log_start_offset, log.high_watermark, now_ms)


def segment_facts(log: Partition) -> list[SegmentFacts]:
    """What retention decides by. Raises KafkaError KAFKA_STORAGE_ERROR."""
    ends = [segment.base_offset for segment in log.segments[1:]] + [log.log_end_offset]
    facts = []
    try:
        for segment, end in zip(log.segments, ends, strict=False):
            largest = segment.largest_timestamp_ms()
            age_from_ms = largest if largest >= 0 else segment.created_ms
            facts.append(SegmentFacts(segment.base_offset, end, segment.size, age_from_ms))
    except (OSError, DamagedBatchError) as error:
        raise log.unreadable(error) from error
    return facts


def cleaning_plan(log: Partition, now_ms: int, *, overdue: bool = False) -> cleaner.Plan | None:
    """What compaction would do now (`overdue`: whatever the dirty ratio), None if nothing is due or allowed.

    Raises KafkaError KAFKA_STORAGE_ERROR.
    """
    config = log.config
    if not config.compacts or log.cleaning or log.deleted or log.uncleanable or len(log.segments) < 2:
        return None
    if log.cleaned_offset == log.active_base_offset:
        return None
    from ottla.log import cleaner

    wants_largest, wants_first = config.min_compaction_lag_ms > 0, config.max_compaction_lag_ms < MAX_LONG
    try:
        stretches = [
            cleaner.Stretch(
                segment.base_offset,
                segment.size,
                segment.largest_timestamp_ms() if wants_largest else -1,
                segment.rolling_timestamp_ms() if wants_first else -1,
            )
            for segment in log.segments
        ]
    except (OSError, DamagedBatchError) as error:
        raise log.unreadable(error) from error
    plan = cleaner.plan(
        stretches,
        config,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        last_stable_offset=log.last_stable_offset,
        cleaned_offset=log.cleaned_offset,
        now_ms=now_ms,
    )
    return plan if plan is not None and (overdue or cleaner.is_due(plan, config)) else None


def begin_cleaning(log: Partition, env: Environment, plan: cleaner.Plan, memory_bytes: int) -> CleanJob:
    """A job that does what the plan says with about `memory_bytes` of memory. Retention leaves the log alone until its
    `finish`. Raises OSError."""
    from ottla.log.cleaner import LastRecord, Sealed
    from ottla.log.compaction import CleanJob, Task

    config, sealed = log.config, log.segments[:-1]
    producers = [
        (producer_id, *LastRecord(producer.batches[-1].last_offset if producer.batches else -1, producer.epoch))
        for producer_id, producer in log.producers.producers.items()
    ]
    task = Task(
        folder=log.folder,
        segments=[Sealed(segment.base_offset, segment.size, *segment.index_sizes()) for segment in sealed],
        segments_end=log.active_base_offset,
        first_dirty=plan.first_dirty,
        end=plan.end,
        now_ms=env.clock.wall_ms(),
        delete_retention_ms=config.delete_retention_ms,
        segment_bytes=config.segment_bytes,
        segment_index_bytes=config.segment_index_bytes,
        index_interval_bytes=config.index_interval_bytes,
        budget_bytes=config.max_decompressed_message_bytes,
        memory_bytes=memory_bytes,
        aborted=[entry for segment in log.segments if segment.aborted for entry in segment.aborted.entries],
        producers=producers,
    )
    return CleanJob(log, env, task)
