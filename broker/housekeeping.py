"""What the broker does by itself, on the one heap of deadlines: retention, flushes, removal of files, idle connections.

When and how often; what each job does is decided where its data lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.logs import Log
    from ottla.broker.server import Server
    from ottla.coordinator.timers import Timers
    from ottla.log.store import Store

FIRST_RETENTION_MS = 30_000  # log.initial.task.delay.ms
DELETION_MS = 5_000
FLUSH_MS = 1_000
CHECKPOINT_MS = 60_000  # log.flush.offset.checkpoint.interval.ms
PRODUCER_EXPIRY_MS = 600_000  # producer.id.expiration.check.interval.ms
SWEEP_MS = 5_000  # a connection is closed at most that late


class Housekeeping:
    """Schedules the jobs; each runs again after its interval, whatever came of it."""

    __slots__ = ("_config", "_flush_due", "_log", "_store", "_timers")

    def __init__(self, timers: Timers, store: Store, config: BrokerConfig, log: Log) -> None:
        self._timers = timers
        self._store = store
        self._config = config
        self._log = log
        self._flush_due = trio.Event()

    def start(self) -> None:
        """Begin the jobs of the store."""
        self._repeat(
            "retention", self._store.apply_retention, self._config.log_retention_check_interval_ms, FIRST_RETENTION_MS
        )
        self._repeat("file deletion", self._delete_files, DELETION_MS, DELETION_MS)
        self._repeat("checkpoints", self._checkpoint, CHECKPOINT_MS, CHECKPOINT_MS)
        self._repeat("flush", self._look_for_flushes, FLUSH_MS, FLUSH_MS)
        self._repeat("producer id expiry", self._store.expire_producers, PRODUCER_EXPIRY_MS, PRODUCER_EXPIRY_MS)

    def _delete_files(self) -> None:
        self._store.run_deletions(self._timers.now_ms())

    def _checkpoint(self) -> None:
        self._store.checkpoint(sync=False)  # lost with the power, they only cost a longer scan

    def _look_for_flushes(self) -> None:
        if self._store.due_flushes():
            self._flush_due.set()

    async def flush(self) -> None:
        """Make rolled segments, and what flush.ms asks for, durable: one at a time in a thread, for ever."""
        while True:
            await self._flush_due.wait()
            self._flush_due = trio.Event()
            for partition in self._store.due_flushes():
                job = partition.begin_flush()
                if job is None:
                    continue
                try:
                    await trio.to_thread.run_sync(job.run)
                except OSError as error:
                    job.finish(durable=False)
                    self._log.error("flush failed", error, folder=partition.folder)
                else:
                    job.finish()

    def watch_connections(self, server: Server) -> None:
        """Close idle connections and peers that are too slow."""
        self._repeat("connections", server.sweep, SWEEP_MS, SWEEP_MS)

    def _repeat(self, name: str, job: Callable[[], object], every_ms: int, first_ms: int) -> None:
        def run() -> None:
            try:
                job()
            except Exception as error:  # the broker lives on; the next run may do better
                self._log.error("housekeeping failed", error, job=name)
            self._timers.schedule(every_ms, run)

        self._timers.schedule(min(first_ms, every_ms), run)
