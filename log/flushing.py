"""Making records durable: one flush of one log in three steps, who waits for it, and the queue of logs that somebody
waits for.

Group commit: whoever appends and must wait asks here; the owner of the loop takes all that is due at once, runs the
jobs in a thread, and finishes them. One fdatasync serves all who waited when it began. Nothing here awaits or starts
threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from ottla.log.door import Pending
from ottla.log.files import OpenFile
from ottla.log.filesystem import FileSystem
from ottla.log.scan import DamagedBatchError, scan

if TYPE_CHECKING:
    from ottla.log.partition import Partition
    from ottla.log.segment import Segment

T = TypeVar("T")
_COPY_CHUNK: Final = 1 << 20


class Extent(NamedTuple):
    """Bytes `start` to `end` of an open log file."""

    file: OpenFile
    start: int
    end: int


class FlushJob:
    """One flush: made by `Partition.begin_flush`, then `run`, in any thread, then `finish` or `fail` in the owner's."""

    __slots__ = ("_files", "_folders", "_fs", "_names", "_rewrites", "end_offset", "partition")

    def __init__(
        self,
        partition: Partition,
        fs: FileSystem,
        segments: Sequence[Segment],
        end_offset: int,
        rewrite_from: int | None,
    ) -> None:
        """`segments` are to be durable, and the log up to `end_offset` then. What lies from offset `rewrite_from` on is
        written again: it is not durable, as an earlier flush that failed has told. Raises OSError."""
        files = [segment.handle.open() if rewrite_from is None else segment.handle.open_own() for segment in segments]
        rewrites: list[Extent] = []
        if rewrite_from is not None:
            found = segments[0].find(rewrite_from)
            starts = [found.position if found is not None else segments[0].size] + [0] * len(segments)
            rewrites = [
                Extent(file, at, segment.size) for file, at, segment in zip(files, starts, segments, strict=False)
            ]
        new_names = partition.names_made > partition.names_durable
        for file in files:
            file.holders += 1
        self.partition = partition
        self.end_offset = end_offset
        self._fs = fs
        self._files = files
        self._folders = [partition.folder, os.path.dirname(partition.folder)] if new_names else []
        self._names = partition.names_made
        self._rewrites = rewrites

    def run(self) -> None:
        """Make the bytes durable. Touches nothing but the files it holds. Raises OSError."""
        for extent in self._rewrites:
            self._rewrite(extent)
        for file in self._files:
            self._fs.datasync(file.fd)
        for folder in self._folders:
            self._fs.sync_folder(folder)

    def _rewrite(self, extent: Extent) -> None:
        """After a failed fdatasync the kernel may hold pages for clean that never reached the disk: the next one would
        succeed and mean nothing. So they are written again, if they still are what was appended.
        """
        fd, fs = extent.file.fd, self._fs
        try:
            for _ in scan(fs, fd, extent.start, extent.end, verify=True):
                pass
        except DamagedBatchError as damage:
            raise OSError(errno.EIO, f"{damage.reason} at byte {damage.position} after a failed flush") from damage
        for position in range(extent.start, extent.end, _COPY_CHUNK):
            data = memoryview(fs.pread(fd, min(_COPY_CHUNK, extent.end - position), position))
            while data:
                written = fs.pwrite(fd, data, position)
                position += written
                data = data[written:]

    def run_and_finish(self) -> None:
        """All here and now. Raises OSError."""
        try:
            self.run()
        except OSError as error:
            self.fail(error)
            raise
        self.finish()

    def finish(self, *, durable: bool = True) -> None:
        """Give the files back; if `run` ended well, the recovery point moves and those who waited are told."""
        files, self._files = self._files, []
        for file in files:
            file.release()
        if durable:
            self.partition.names_durable = max(self.partition.names_durable, self._names)
            self.partition.flushed_to(self.end_offset)

    def fail(self, error: OSError) -> None:
        """`run` raised `error`: those who waited are told."""
        self.finish(durable=False)
        self.partition.flush_failed(error, self.end_offset)


class Waiters(Generic[T]):
    """Who waits in one log until all below an offset is durable, and for what answer."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[tuple[int, T, Pending[T]]] = []

    def add(self, end_offset: int, answer: T) -> Pending[T]:
        """Settled with `answer` once all below `end_offset` is durable."""
        pending: Pending[T] = Pending()
        self._waiters.append((end_offset, answer, pending))
        return pending

    def resolve(self, offset: int) -> None:
        """All below `offset` is durable."""
        for answer, pending in self._take(offset):
            pending.resolve(answer)

    def fail(self, offset: int, error: Exception) -> None:
        """What lies below `offset` could not be made durable."""
        for _, pending in self._take(offset):
            pending.fail(error)

    def _take(self, offset: int) -> list[tuple[T, Pending[T]]]:
        waiters = self._waiters
        self._waiters = [waiter for waiter in waiters if waiter[0] > offset]
        return [(answer, pending) for end, answer, pending in waiters if end <= offset]


class FlushQueue:
    """Logs with records that somebody waits for. `on_due` is called when there is one again."""

    __slots__ = ("_due", "on_due")

    def __init__(self) -> None:
        self._due: dict[Partition, None] = {}  # in the order in which they asked
        self.on_due: Callable[[], None] = _later

    def ask(self, partition: Partition) -> None:
        """Everything appended to `partition` so far shall be made durable soon."""
        if not self._due:
            self._due[partition] = None
            self.on_due()
        else:
            self._due[partition] = None

    def begin(self) -> list[FlushJob]:
        """A job for each log that is due, for `run_jobs` and `finish_jobs`; nothing is due then."""
        due, self._due = self._due, {}
        return begin_jobs(due)

    def run(self) -> None:
        """All that is due, here and now."""
        jobs = self.begin()
        finish_jobs(jobs, run_jobs(jobs))


def begin_jobs(partitions: Iterable[Partition]) -> list[FlushJob]:
    """A job for each log that is not durable to its end."""
    jobs: list[FlushJob] = []
    for partition in partitions:
        try:
            job = partition.begin_flush()
        except OSError as error:
            partition.flush_failed(error, partition.log_end_offset)
        else:
            if job is not None:
                jobs.append(job)
    return jobs


def run_jobs(jobs: list[FlushJob]) -> list[OSError | None]:
    """Run jobs one after another, in any thread; returns what each of them raised."""
    errors: list[OSError | None] = []
    for job in jobs:
        try:
            job.run()
            errors.append(None)
        except OSError as error:
            errors.append(error)
        except Exception as error:  # a fault of ours must not leave anybody waiting
            errors.append(OSError(errno.EIO, repr(error)))
    return errors


def finish_jobs(jobs: list[FlushJob], errors: list[OSError | None]) -> None:
    """Settle everyone who waited for these jobs; in the owner's thread."""
    for job, error in zip(jobs, errors, strict=True):
        if error is None:
            job.finish()
        else:
            job.fail(error)


def _later() -> None:
    """Nobody drives the queue yet."""
