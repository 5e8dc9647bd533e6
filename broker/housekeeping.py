"""What the broker does by itself, on the one heap of deadlines: retention, removal of deleted files, idle connections.

When and how often; what each job does is decided where its data lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.logs import Log
    from ottla.broker.server import Server
    from ottla.coordinator.timers import Timers
    from ottla.log.store import Store

FIRST_RETENTION_MS = 30_000  # log.initial.task.delay.ms
DELETION_MS = 5_000
CHECKPOINT_MS = 60_000  # log.flush.offset.checkpoint.interval.ms
PRODUCER_EXPIRY_MS = 600_000  # producer.id.expiration.check.interval.ms
SWEEP_MS = 5_000  # a connection is closed at most that late


class Housekeeping:
    """Schedules the jobs; each runs again after its interval, whatever came of it."""

    __slots__ = ("_config", "_log", "_store", "_timers")

    def __init__(self, timers: Timers, store: Store, config: BrokerConfig, log: Log) -> None:
        self._timers = timers
        self._store = store
        self._config = config
        self._log = log

    def start(self) -> None:
        """Begin the jobs of the store."""
        self._repeat(
            "retention", self._store.apply_retention, self._config.log_retention_check_interval_ms, FIRST_RETENTION_MS
        )
        self._repeat("file deletion", self._delete_files, DELETION_MS, DELETION_MS)
        self._repeat("checkpoints", self._store.checkpoint, CHECKPOINT_MS, CHECKPOINT_MS)
        self._repeat("producer id expiry", self._store.expire_producers, PRODUCER_EXPIRY_MS, PRODUCER_EXPIRY_MS)

    def _delete_files(self) -> None:
        self._store.run_deletions(self._timers.now_ms())

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
