"""Which compacted log is cleaned next, and how a cleaning begins and ends: Kafka's LogCleanerManager.

How far a pass goes is `cleaner`'s to say, by way of `upkeep`; reading, writing and swapping are `compaction`'s, and
where a job runs is the broker's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from ottla.log import upkeep
from ottla.log.environment import Environment
from ottla.log.files import storage_error
from ottla.log.partition import Partition
from ottla.wire.errors import KafkaError

if TYPE_CHECKING:  # imported when there is something to compact
    from ottla.log.compaction import CleanJob

CLEANER_MEMORY_BYTES: Final = 128 * 1024 * 1024
_CLEAN_AGAIN_MS: Final = 300_000  # after a compaction that failed, for want of disk space say


class CleanerManager:
    """Of the logs that `served` tells of; `cleaned` is called when one of them was cleaned further."""

    __slots__ = ("_cleaned", "_env", "_served")

    def __init__(
        self, env: Environment, served: Callable[[], Iterable[Partition]], cleaned: Callable[[], None]
    ) -> None:
        self._env = env
        self._served = served
        self._cleaned = cleaned

    def logs(self, topic: str | None = None) -> list[Partition]:
        """The logs (of one topic) whose cleanup.policy contains compact."""
        return [log for log in self._served() if log.config.compacts and topic in (None, log.topic)]

    def candidates(self, ahead_ms: int = 0) -> list[Partition]:
        """Compacted logs that are dirty enough or overdue, the dirtiest first; `ahead_ms`: as it will be then, if
        nothing else happens."""
        clock = self._env.clock
        now_ms, mono_ms = clock.wall_ms() + ahead_ms, clock.mono_ms() + ahead_ms
        found: list[tuple[float, Partition]] = []
        for log in self.logs():
            if log.clean_again_ms <= mono_ms:
                try:
                    plan = upkeep.cleaning_plan(log, now_ms)
                except KafkaError as error:
                    self._failed(log, error)
                else:
                    if plan is not None:
                        found.append((plan.dirty_ratio, log))
        found.sort(key=_ratio, reverse=True)
        return [log for _, log in found]

    def begin(
        self, log: Partition, *, memory_bytes: int = CLEANER_MEMORY_BYTES, overdue: bool = False
    ) -> CleanJob | None:
        """A job that compacts the log, one pass; None if nothing is due (`overdue`: whatever the dirty ratio). It must
        be given to `end`. Raises KafkaError KAFKA_STORAGE_ERROR."""
        try:
            plan = upkeep.cleaning_plan(log, self._env.clock.wall_ms(), overdue=overdue)
            return upkeep.begin_cleaning(log, self._env, plan, memory_bytes) if plan is not None else None
        except OSError as error:
            raise storage_error(f"compact {log.folder}", error) from error

    def end(self, job: CleanJob, error: Exception | None = None) -> None:
        """After `swap`, or the error that ended it. The checkpoint follows."""
        job.finish()
        if job.partition.deleted:
            return
        if error is not None:
            self._failed(job.partition, error)
        else:
            self._cleaned()

    def clean_now(self, topic: str | None = None, *, memory_bytes: int = CLEANER_MEMORY_BYTES) -> int:
        """Compact all logs that ask for it (or those of one topic) here and now, whatever their dirty ratio, in as many
        passes as it takes; the active segment, too, which is rolled. Returns the number of passes.

        min.compaction.lag.ms holds. For tests and tools: a broker compacts in a child process. Raises KafkaError.
        """
        passes = 0
        for log in self.logs(topic):
            log.roll()
            while (job := self.begin(log, memory_bytes=memory_bytes, overdue=True)) is not None:
                error: Exception | None = None
                try:
                    job.run()
                    for sync in job.swap():
                        sync()
                except Exception as failure:
                    error = failure
                    raise
                finally:
                    self.end(job, error)
                passes += 1
        return passes

    def _failed(self, log: Partition, error: Exception) -> None:
        log.clean_again_ms = self._env.clock.mono_ms() + _CLEAN_AGAIN_MS
        if log.uncleanable is None:
            self._env.warn(f"{log.folder} was not compacted and will be tried again: {error}")


def _ratio(candidate: tuple[float, Partition]) -> float:
    return candidate[0]
