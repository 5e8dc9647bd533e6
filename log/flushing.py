"""Making records durable: one flush of one log in three steps, and the queue of logs that somebody waits for.

Group commit: whoever appends and must wait asks here; the owner of the loop takes all that is due at once, runs the
jobs in a thread, and finishes them. One fdatasync serves all who waited when it began. Nothing here awaits or starts
threads.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.log.files import OpenFile
from ottla.log.filesystem import FileSystem
from ottla.log.scan import DamagedBatchError, scan

if TYPE_CHECKING:
    from ottla.log.partition import Partition

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
        files: list[OpenFile],
        folders: list[str],
        rewrites: list[Extent],
        end_offset: int,
    ) -> None:
        for file in files:
            file.holders += 1
        self.partition = partition
        self.end_offset = end_offset
        self._fs = fs
        self._files = files
        self._folders = folders  # those with new names in them
        self._names = partition.names_made
        self._rewrites = rewrites  # not durable, as an earlier flush that failed has told

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
