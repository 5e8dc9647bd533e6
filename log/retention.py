"""Which of a log's oldest segments may go: pure plans; `upkeep` gathers the facts and carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ottla.log.config import LogConfig


class SegmentFacts(NamedTuple):
    """What retention looks at; oldest first, the last one is the active segment."""

    base_offset: int
    end_offset: int  # one past its last record: the next segment's base
    size: int
    largest_ms: int  # largest record timestamp, the file's age if it has none


class Plan(NamedTuple):
    """How many of the oldest segments go, and whether the active one is rolled first because it goes too."""

    dropped: int
    roll_first: bool


def plan(
    segments: Sequence[SegmentFacts], config: LogConfig, log_start_offset: int, high_watermark: int, now_ms: int
) -> Plan:
    """Kafka's three rules one after another: age, size, log start offset. An empty active segment never goes."""
    rest = list(segments)
    expired = 0
    while rest and rest[-1].size == 0:
        rest.pop()
    if config.deletes:
        if config.retention_ms >= 0:
            while expired < len(rest) and now_ms - rest[expired].largest_ms > config.retention_ms:
                expired += 1
        if config.retention_bytes >= 0:
            excess = sum(facts.size for facts in rest[expired:]) - config.retention_bytes
            while expired < len(rest) and rest[expired].size <= excess:
                excess -= rest[expired].size
                expired += 1
    while expired < len(rest) and rest[expired].end_offset <= log_start_offset:
        expired += 1
    while expired and rest[expired - 1].end_offset > high_watermark:
        expired -= 1
    return Plan(expired, expired == len(segments))
