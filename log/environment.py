"""What all partitions of a store share: files, clock, ids, and where to turn when something is due or goes wrong."""

from __future__ import annotations

from collections.abc import Callable

from ottla.log.clock import Clock
from ottla.log.files import FilePool
from ottla.log.filesystem import FileSystem
from ottla.log.flushing import FlushQueue
from ottla.log.health import Health
from ottla.log.ids import Ids


class Environment:
    """What all partitions of a store share."""

    __slots__ = (
        "before_folder",
        "clock",
        "delete_later",
        "flushes",
        "fs",
        "health",
        "ids",
        "log_start_moved",
        "pool",
        "progress",
        "warn",
    )

    def __init__(
        self,
        fs: FileSystem,
        pool: FilePool,
        clock: Clock,
        ids: Ids,
        warn: Callable[[str], None],
        delete_later: Callable[[list[str], int], None],
        log_start_moved: Callable[[], None],
        before_folder: Callable[[str, int], None],
    ) -> None:
        self.fs = fs
        self.pool = pool
        self.clock = clock
        self.ids = ids
        self.warn = warn
        self.delete_later = delete_later  # (paths, delay ms): unlink them once the delay is over
        self.log_start_moved = log_start_moved  # persist the log start offsets
        self.before_folder = before_folder  # (topic, partition): a folder of that name is about to be made
        self.progress: Callable[[int], None] = _unseen  # so many bytes of log files were looked at (recovery)
        self.flushes = FlushQueue()
        self.health = Health(clock, warn)


def _unseen(count: int) -> None:
    """Nobody looks on."""
