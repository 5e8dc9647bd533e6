"""What the broker does by itself, on the one heap of deadlines: retention, flushes, compaction, removal of files, idle
connections.

When and how often; what each job does is decided where its data lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ottla.log.flushing import FlushJob, begin_jobs, finish_jobs, run_jobs
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.logs import Log
    from ottla.broker.server import Server
    from ottla.coordinator.timers import Repeating, Timers
    from ottla.log.compaction import CleanJob
    from ottla.log.partition import Partition
    from ottla.log.store import Store

DELETION_MS = 5_000
FLUSH_MS = 1_000
HEALTH_MS = 1_000
SYNC_THREADS = 4
SMALL_BYTES = 64 * 1024  # compacted in a thread: a process would take longer to start
SWEEP_MS = 5_000  # a connection is closed at most that late
_COMPACTION = "compaction"


class _Work:
    """What a task of its own does when it is asked to, one thing after another."""

    __slots__ = ("_asked", "_rest", "rests")

    def __init__(self, rest: trio.lowlevel.ParkingLot) -> None:
        """`rest`: who waits there is told when the task rests."""
        self._asked = trio.Event()
        self._rest = rest
        self.rests = True

    def ask(self) -> None:
        self.rests = False
        self._asked.set()

    async def asked(self) -> None:
        """All is done; returns when there is more."""
        if not self._asked.is_set():
            self.rests = True
            self._rest.unpark_all()
        await self._asked.wait()
        self._asked = trio.Event()


class Housekeeping:
    """Schedules the jobs; each runs again after its interval, whatever came of it."""

    __slots__ = (
        "_clean",
        "_cleaning",
        "_commit",
        "_config",
        "_delete",
        "_flush",
        "_log",
        "_rest",
        "_scheduled",
        "_store",
        "_timers",
        "in_process",
    )

    def __init__(self, timers: Timers, store: Store, config: BrokerConfig, log: Log) -> None:
        self._timers = timers
        self._store = store
        self._config = config
        self._log = log
        self._rest = trio.lowlevel.ParkingLot()
        self._flush, self._commit, self._clean, self._delete = (_Work(self._rest) for _ in range(4))
        self._cleaning = trio.Lock()  # one compaction at a time
        self._scheduled: dict[str, Repeating] = {}  # by the name of the job
        self.in_process = False  # no child processes for compaction

    def start(self) -> None:
        """Begin the jobs of the store."""
        config = self._config
        self._repeat(
            "retention",
            self._store.apply_retention,
            config.log_retention_check_interval_ms,
            config.log_initial_task_delay_ms,
            acts=self._store.lets_go,
        )
        self._repeat("file deletion", self._look_for_deletions, DELETION_MS, DELETION_MS, acts=self._deletions_are_due)
        checkpoint_ms = max(1, config.log_flush_offset_checkpoint_interval_ms)
        self._repeat("checkpoints", self._checkpoint, checkpoint_ms, checkpoint_ms)
        self._repeat(
            "flush",
            self._look_for_flushes,
            FLUSH_MS,
            FLUSH_MS,
            acts=lambda ahead_ms: bool(self._store.due_flushes(ahead_ms)),
        )
        self._repeat("storage health", self._store.watch_health, HEALTH_MS, HEALTH_MS)
        if config.log_cleaner_enable:
            self._repeat_compaction()
        expiry_ms = config.producer_id_expiration_check_interval_ms
        self._repeat(
            "producer id expiry",
            self._store.expire_producers,
            expiry_ms,
            expiry_ms,
            acts=lambda ahead_ms: self._store.idle_producers(ahead_ms) > 0,
        )

    def settings_changed(self) -> None:
        """log.cleaner.backoff.ms may be another: the wait begins anew."""
        pending = self._scheduled.get(_COMPACTION)
        if pending is not None:
            pending.cancel()
            self._repeat_compaction()

    def _repeat_compaction(self) -> None:
        backoff_ms = max(1, self._config.log_cleaner_backoff_ms)
        self._repeat(
            _COMPACTION,
            self._look_for_dirty_logs,
            backoff_ms,
            backoff_ms,
            acts=lambda ahead_ms: bool(self._store.cleaning.candidates(ahead_ms)),
        )

    @property
    def rests(self) -> bool:
        """Whether none of the tasks has anything to do, as far as they have been asked."""
        return all(work.rests for work in (self._flush, self._commit, self._clean, self._delete))

    async def rested(self) -> None:
        """Returns when the tasks rest."""
        while not self.rests:
            await self._rest.park()

    def _deletions_are_due(self, ahead_ms: int = 0) -> bool:
        due_ms = self._store.deletions.next_ms()
        return due_ms is not None and due_ms <= self._timers.now_ms() + ahead_ms

    def _look_for_deletions(self) -> None:
        if self._deletions_are_due():
            self._delete.ask()

    async def delete(self) -> None:
        """Remove the files whose file.delete.delay.ms is over, in a thread, for ever."""
        while True:
            await self._delete.asked()
            paths = self._store.deletions.due(self._timers.now_ms())
            for trouble in await trio.to_thread.run_sync(self._store.deletions.remove, paths):
                self._log.warning(trouble)

    def _checkpoint(self) -> None:
        self._store.checkpoint(sync=False)  # lost with the power, they only cost a longer scan

    def _look_for_flushes(self) -> None:
        if self._store.due_flushes():
            self._flush.ask()

    async def flush(self) -> None:
        """Make rolled segments, and what flush.ms asks for, durable: one at a time in a thread, for ever."""
        while True:
            await self._flush.asked()
            for partition in self._store.due_flushes():
                await self._run_flushes(begin_jobs([partition]))

    async def commit(self) -> None:
        """Group commit: make durable what requests wait for, all of it in one round in a thread, for ever. What comes
        during a round shares the next. Apart from `flush`, whose segments may take seconds.
        """
        queue = self._store.flushes
        queue.on_due = self._commit.ask
        try:
            while True:
                jobs = queue.begin()
                if not jobs:
                    await self._commit.asked()
                    continue
                await self._run_flushes(jobs)
        finally:  # nobody is left to drive it: whoever still asks pays for it
            queue.on_due = queue.run
            queue.run()

    async def _run_flushes(self, jobs: list[FlushJob]) -> None:
        """One round, in a few threads: a disk syncs several files in the time of one."""
        async with trio.open_nursery() as round_:
            for lane in range(min(SYNC_THREADS, len(jobs))):
                round_.start_soon(self._run_lane, jobs[lane::SYNC_THREADS])

    async def _run_lane(self, jobs: list[FlushJob]) -> None:
        errors: list[OSError | None] | None = None
        try:
            errors = await trio.to_thread.run_sync(run_jobs, jobs)
        finally:
            if errors is None:  # cancelled before the thread began
                for job in jobs:
                    job.finish(durable=False)
                    self._store.flushes.ask(job.partition)
        try:
            finish_jobs(jobs, errors)
        except Exception as error:  # of somebody who waited; the next round must come
            self._log.error("flush failed", error)

    def _look_for_dirty_logs(self) -> None:
        if not self._cleaning.locked() and self._store.cleaning.candidates():
            self._clean.ask()

    async def clean(self) -> None:
        """Compact what is dirty enough, the dirtiest log first, each pass in a child process, for ever."""
        while True:
            await self._clean.asked()
            while candidates := self._store.cleaning.candidates():
                try:
                    await self._clean_one(candidates[0], overdue=False)
                except KafkaError:  # the store has said so, and waits before it tries again
                    continue
                except Exception as failure:
                    self._log.error("compaction failed", failure, folder=candidates[0].folder)

    async def clean_now(self, topic: str | None = None) -> int:
        """Compact all logs that ask for it (or those of one topic) whatever their dirty ratio, up to the log end: the
        active segment is rolled. min.compaction.lag.ms holds. Returns the number of passes. Raises KafkaError."""
        passes = 0
        for partition in self._store.cleaning.logs(topic):
            partition.roll()
            while await self._clean_one(partition, overdue=True):
                passes += 1
        return passes

    async def _clean_one(self, partition: Partition, *, overdue: bool) -> bool:
        """One pass; False if there was nothing to do, or the log was deleted under it. Raises KafkaError."""
        async with self._cleaning:
            memory_bytes = self._config.log_cleaner_dedupe_buffer_size
            error: Exception | None = None
            job = self._store.cleaning.begin(partition, memory_bytes=memory_bytes, overdue=overdue)
            if job is None:
                return False
            try:
                await self._run(job)
                with trio.CancelScope(shield=True):  # short, and not to be left half done
                    for sync in job.swap():
                        await trio.to_thread.run_sync(sync)
            except Exception as failure:
                error = failure
                if not partition.deleted:
                    raise
            finally:
                self._store.cleaning.end(job, error)
            if partition.deleted:
                return False
            self._log.debug("compacted", folder=partition.folder, up_to=partition.cleaned_offset)
            return True

    async def _run(self, job: CleanJob) -> None:
        command = None if self.in_process or job.size_bytes < SMALL_BYTES else job.command()
        if command is None:
            await trio.to_thread.run_sync(job.run)
            return
        ended = await trio.run_process(
            command, stdin=job.request(), capture_stdout=True, capture_stderr=True, check=False
        )
        job.take(ended.returncode, ended.stdout, ended.stderr)

    def watch_connections(self, server: Server) -> None:
        """Close idle connections and peers that are too slow."""
        self._repeat("connections", server.sweep, SWEEP_MS, SWEEP_MS, acts=lambda _: False)  # time_travel.py: skipped

    def _repeat(
        self,
        name: str,
        job: Callable[[], object],
        every_ms: int,
        first_ms: int,
        *,
        acts: Callable[[int], bool] | None = None,
    ) -> None:
        """`acts` as of Timers.repeat."""

        def run() -> None:
            try:
                job()
            except Exception as error:  # the broker lives on; the next run may do better
                told = isinstance(error, KafkaError) and error.code == ErrorCode.KAFKA_STORAGE_ERROR  # by log/health.py
                if not told:
                    self._log.error("housekeeping failed", error, job=name)

        self._scheduled[name] = self._timers.repeat(every_ms, run, first_ms=min(first_ms, every_ms), acts=acts)
