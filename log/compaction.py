"""Carries compaction out: sealed segments are rewritten into `.cleaned` files, in a child process, and then swapped in.

    begin (loop) -> run (child process or thread) -> swap (loop; syncs between its steps in a thread) -> finish (loop)

Crash rules, as Kafka's: `.cleaned` files count for nothing; a `.log.swap` is whole and durable, so recovery finishes
what it began. Every new segment ends with the last batch of those that it replaces, if need be as a header without
records, so that it says which they are. Which records stay is decided in `cleaner`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ottla.log import cleaner
from ottla.log.cleaner import LastRecord, OffsetMap, Rules, Sealed, Transactions
from ottla.log.files import storage_error
from ottla.log.filesystem import CREATE, READ_WRITE, FileSystem
from ottla.log.offset_index import OffsetIndex
from ottla.log.time_index import TimeIndex
from ottla.log.txn_index import AbortedTransaction, TransactionIndex
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import RecordBatch, batches

if TYPE_CHECKING:
    from ottla.log.environment import Environment
    from ottla.log.partition import Partition
    from ottla.log.segment import Segment

CLEANED: Final = ".cleaned"
SWAP: Final = ".swap"
DELETED: Final = ".deleted"
SIDE_FILES: Final = (".index", ".timeindex", ".txnindex")
_CHUNK: Final = 1024 * 1024
_NICENESS: Final = 10
_OWN_MEMORY: Final = 40 * 1024 * 1024  # interpreter, modules and buffers: what the child needs besides the map
_SPENT: Final = 75  # exit code of a child whose parent is gone
_CHILD: Final = (
    "import json, sys; task = json.load(sys.stdin); sys.path[:] = task.pop('path'); "
    "from ottla.log.compaction import main; main(task)"
)


class Task(NamedTuple):
    """All that `clean` needs to know; numbers, texts and lists, so that it can be sent as JSON."""

    folder: str
    segments: Sequence[Sealed]  # from the log's first on; later ones than `end` asks for are left out
    segments_end: int  # one past the offsets of the last of them
    first_dirty: int
    end: int
    now_ms: int
    delete_retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    budget_bytes: int  # for one unpacked batch
    memory_bytes: int  # for everything
    aborted: Sequence[AbortedTransaction]
    producers: Sequence[tuple[int, int, int]]  # id, then LastRecord


class Replacement(NamedTuple):
    """A `.cleaned` segment, and how many segments, from the one of `base_offset` on, it stands for."""

    base_offset: int
    replaced: int
    size: int


class Result(NamedTuple):
    """All below `end_offset` is compacted."""

    end_offset: int
    replacements: Sequence[Replacement]


def _no_check() -> None:
    pass


def clean(task: Task, fs: FileSystem, still_wanted: Callable[[], None] = _no_check) -> Result:
    """Write the `.cleaned` files of a task, durably. Reads sealed segments only; what it writes nobody else looks at.

    `still_wanted` is called now and then and may raise. Raises OSError; KafkaError CORRUPT_MESSAGE, INVALID_RECORD and
    the like for batches that cannot be rewritten.
    """
    offsets = _build_map(task, fs, still_wanted)
    end = offsets.latest + 1
    segments = [segment for segment in task.segments if segment.base_offset < end]
    segments_end = task.segments[len(segments)].base_offset if len(segments) < len(task.segments) else task.segments_end
    rules = Rules(
        offsets,
        Transactions(task.aborted, segments[0].base_offset),
        {producer_id: LastRecord(offset, epoch) for producer_id, offset, epoch in task.producers},
        now_ms=task.now_ms,
        delete_retention_ms=task.delete_retention_ms,
        budget_bytes=task.budget_bytes,
    )
    replacements = []
    for group in cleaner.group(segments, segments_end, task.segment_bytes, task.segment_index_bytes):
        replacement = _rewrite(task, fs, group, rules, still_wanted)
        if replacement is not None:
            replacements.append(replacement)
    return Result(end, replacements)


def _build_map(task: Task, fs: FileSystem, still_wanted: Callable[[], None]) -> OffsetMap:
    map_bytes = task.memory_bytes - _OWN_MEMORY
    if map_bytes <= 0:  # less than any process needs: it is for the map alone, not for a pass every three keys
        map_bytes = task.memory_bytes
    offsets = OffsetMap(task.end - task.first_dirty, map_bytes)
    offsets.latest = task.first_dirty - 1
    transactions = Transactions(task.aborted, task.first_dirty)
    for at, segment in enumerate(task.segments):
        if at + 1 < len(task.segments) and task.segments[at + 1].base_offset <= task.first_dirty:
            continue
        for batch in _read(fs, _path(task, segment), segment.size, still_wanted):
            if batch.base_offset >= task.end:
                break
            if batch.last_offset >= task.first_dirty and not cleaner.fill(
                offsets, batch, transactions, task.first_dirty, task.budget_bytes
            ):
                if offsets.latest < task.first_dirty:
                    raise KafkaError(ErrorCode.INVALID_CONFIG, "log.cleaner.dedupe.buffer.size is too small")
                return offsets
    offsets.latest = task.end - 1
    return offsets


def _path(task: Task, segment: Sealed) -> str:
    return f"{task.folder}/{segment.base_offset:020d}.log"


def _read(fs: FileSystem, path: str, size: int, still_wanted: Callable[[], None]) -> Iterator[RecordBatch]:
    """The batches of a log file, checked. Raises OSError, KafkaError."""
    fd = fs.open(path, READ_WRITE)
    try:
        position, wanted = 0, _CHUNK
        while position < size:
            still_wanted()
            data = fs.pread(fd, min(wanted, size - position), position)
            used = 0
            for batch in batches(data):
                cleaner.check(batch)
                yield batch
                used = batch.offset + batch.size
            if not used and len(data) < wanted:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{path}: no whole batch at byte {position}")
            position += used
            wanted = _CHUNK if used else 4 * wanted
    finally:
        os.close(fd)


def _rewrite(
    task: Task, fs: FileSystem, group: Sequence[Sealed], rules: Rules, still_wanted: Callable[[], None]
) -> Replacement | None:
    """One new segment for a group; None if it would be the one that is there."""
    stem = f"{task.folder}/{group[0].base_offset:020d}"
    rules.transactions.kept.clear()
    with _Writer(fs, stem, group[0].base_offset, task.index_interval_bytes) as writer:
        changed = len(group) > 1
        gone: RecordBatch | None = None  # the last batch, if nothing is left of it
        for segment in group:
            for batch in _read(fs, _path(task, segment), segment.size, still_wanted):
                kept = rules.retained(batch)
                gone = batch if kept is None else None
                if kept is None or len(kept) != batch.size:
                    changed = True
                elif not changed:
                    changed = bytes(kept) != bytes(batch.memory())
                if kept is not None:
                    writer.append(RecordBatch(kept))
        if gone is not None:
            kept = cleaner.emptied(gone)
            changed = changed or gone.size != len(kept)
            writer.append(RecordBatch(kept))
        still_wanted()
        if not changed:
            return None
        last = os.stat(_path(task, group[-1]))
        writer.finish(rules.transactions.kept, last.st_mtime_ns)
        return Replacement(group[0].base_offset, len(group), writer.size)


class _Writer:
    """The `.cleaned` files of one new segment; removed again unless `finish` was reached."""

    def __init__(self, fs: FileSystem, stem: str, base_offset: int, interval_bytes: int) -> None:
        self.size = 0
        self._fs = fs
        self._stem = stem
        self._path = f"{stem}.log{CLEANED}"
        self._interval_bytes = interval_bytes
        self._since_entry = 0
        self._offsets = OffsetIndex(base_offset)
        self._times = TimeIndex(base_offset)
        self._newest = (-1, base_offset)  # largest timestamp, and the last offset of its batch
        self._waiting: list[memoryview] = []
        self._waiting_bytes = 0
        self._finished = False

    def __enter__(self) -> _Writer:
        self._fd = self._fs.open(self._path, CREATE | os.O_EXCL)  # no other process writes here
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if not self._finished:
            for suffix in (*SIDE_FILES, ".log"):
                with contextlib.suppress(OSError):
                    self._fs.unlink(self._stem + suffix + CLEANED)

    def append(self, batch: RecordBatch) -> None:
        """As `Segment.append` and `Segment.index_batch`."""
        position = self.size + self._waiting_bytes
        if batch.max_timestamp > self._newest[0]:
            self._newest = batch.max_timestamp, batch.last_offset
        if self._since_entry > self._interval_bytes:
            self._offsets.append(batch.last_offset, position)
            self._times.maybe_append(*self._newest)
            self._since_entry = 0
        self._since_entry += batch.size
        self._waiting.append(batch.memory())
        self._waiting_bytes += batch.size
        if self._waiting_bytes >= _CHUNK:
            self._write()

    def _write(self) -> None:
        data = memoryview(b"".join(self._waiting))
        self._waiting, self._waiting_bytes = [], 0
        while data:
            written = self._fs.pwrite(self._fd, data, self.size)
            self.size += written
            data = data[written:]

    def finish(self, aborted: Sequence[AbortedTransaction], mtime_ns: int) -> None:
        """Make all files durable; the segment is as old as the last of those that it replaces."""
        self._write()
        self._fs.datasync(self._fd)
        self._times.maybe_append(*self._newest)
        self._fs.write_file(f"{self._stem}.index{CLEANED}", self._offsets.encode(), sync=True)
        self._fs.write_file(f"{self._stem}.timeindex{CLEANED}", self._times.encode(), sync=True)
        if aborted:
            index = TransactionIndex()
            for entry in aborted:
                index.append(entry)
            self._fs.write_file(f"{self._stem}.txnindex{CLEANED}", index.encode(), sync=True)
        os.utime(self._path, ns=(mtime_ns, mtime_ns))
        self._finished = True


# --- the broker's side


class CleanJob:
    """One compaction of a log: `run` (or `command`, `request` and `take`), then `swap`, then `finish` in any case."""

    __slots__ = ("_env", "_failure", "_result", "partition", "task")

    def __init__(self, partition: Partition, env: Environment, task: Task) -> None:
        self.partition = partition
        self.task = task
        self._env = env
        self._result: Result | None = None
        self._failure: KafkaError | None = None
        partition.cleaning = True
        self._remove_leftovers()

    @property
    def size_bytes(self) -> int:
        """How much is read."""
        return sum(segment.size for segment in self.task.segments)

    def run(self) -> None:
        """Do the work here: in a thread, or in a test. Raises KafkaError."""
        try:
            self._result = clean(self.task, self._env.fs)
        except OSError as error:
            raise storage_error(f"compact {self.task.folder}", error) from error
        except KafkaError as error:
            self._failure = error
            raise

    @staticmethod
    def command() -> list[str] | None:
        """The child process that does the work, None where there cannot be one."""
        return [sys.executable, "-c", _CHILD] if sys.executable and not getattr(sys, "frozen", False) else None

    def request(self) -> bytes:
        """What the child wants on its stdin."""
        import json

        return json.dumps({"path": sys.path, "parent": os.getpid(), "task": self.task}).encode()

    def take(self, exit_code: int, stdout: bytes, stderr: bytes) -> None:
        """The child has ended. Raises KafkaError: it failed."""
        import json

        if exit_code:
            tail = stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR, f"compaction of {self.task.folder} ended with {exit_code}: {tail}"
            )
        answer: dict[str, Any] = json.loads(stdout)
        if "code" in answer:
            error = KafkaError(ErrorCode(answer["code"]), answer["message"])
            if error.code != ErrorCode.KAFKA_STORAGE_ERROR:
                self._failure = error
            raise error
        self._result = Result(answer["end"], [Replacement(*fields) for fields in answer["replacements"]])

    def swap(self) -> Iterator[Callable[[], None]]:
        """Put the new segments in the place of the old ones. Each thing that it yields must be called, in any thread,
        before it goes on; between two of them the log can be read. Not to be given up half way.

        Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        result = self._result
        assert result is not None
        log = self.partition
        for replacement in result.replacements:  # oldest first: a tombstone never goes before what it hides
            if log.deleted:
                return
            try:
                yield from _Swap(log, self._env, replacement).steps()
            except OSError as error:
                raise storage_error(f"swap compacted segments of {log.folder}", error) from error
        if not log.deleted:
            log.cleaned_offset = result.end_offset

    def finish(self) -> None:
        """Ended, well or not. A log with batches that cannot be compacted is left alone until the next start."""
        log = self.partition
        log.cleaning = False
        if self._failure is not None and not log.deleted:
            log.uncleanable = str(self._failure)
            self._env.warn(f"{log.folder} is not compacted any more: {self._failure}")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(OSError):
            for name in self._env.fs.list_folder(self.task.folder):
                if name.endswith(CLEANED):
                    self._env.fs.unlink(f"{self.task.folder}/{name}")


class _Swap:
    """One new segment in the place of one or more."""

    def __init__(self, log: Partition, env: Environment, replacement: Replacement) -> None:
        self._log = log
        self._env = env
        self._fs = env.fs
        self._size = replacement.size
        self._failure: OSError | None = None
        first = next(
            (at for at, segment in enumerate(log.segments) if segment.base_offset == replacement.base_offset), None
        )
        if first is None or first + replacement.replaced >= len(log.segments):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{log.folder} has changed under its compaction")
        self._old = log.segments[first : first + replacement.replaced]
        self._stem = self._old[0].stem
        names = set(self._fs.list_folder(log.folder))
        self._suffixes = [  # the log comes last: its .swap says that the others are there
            suffix for suffix in (*SIDE_FILES, ".log") if f"{os.path.basename(self._stem)}{suffix}{CLEANED}" in names
        ]

    def steps(self) -> Iterator[Callable[[], None]]:
        """See `CleanJob.swap`. Raises OSError with the log as it was."""
        renamed: list[str] = []
        away: list[Segment] = []
        replacing = False
        try:
            for suffix in self._suffixes:
                self._fs.rename(self._stem + suffix + CLEANED, self._stem + suffix + SWAP)
                renamed.append(suffix)
            yield self._sync  # from here on, a crash completes it
            self._check_sync()
            for segment in self._old:
                self._move(segment, DELETED, "")
                away.append(segment)
            yield self._sync  # so that no old segment can come back beside the new one
            self._check_sync()
            replacing = True
            for suffix in self._suffixes:
                self._fs.rename(self._stem + suffix + SWAP, self._stem + suffix)
                renamed.remove(suffix)
        except OSError:
            self._undo(renamed, away, replacing=replacing)
            raise
        self._replace()

    def _sync(self) -> None:
        try:
            self._fs.sync_folder(self._log.folder)
        except OSError as error:
            self._failure = error

    def _check_sync(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _move(self, segment: Segment, add: str, remove: str) -> None:
        segment.close()
        path = segment.handle.path.removesuffix(remove) + add
        self._fs.rename(segment.handle.path, path)
        segment.handle.path = path

    def _undo(self, renamed: list[str], away: list[Segment], *, replacing: bool) -> None:
        """Back to the old segments. If that fails too, the `.swap` stays, and the next start finishes it."""
        try:
            for segment in away:
                self._move(segment, "", DELETED)
            for suffix in reversed(renamed):  # the log first: without it the others count for nothing
                self._fs.unlink(self._stem + suffix + SWAP)
            if replacing:
                self._old[0].distrust_index_files()
        except OSError as error:
            self._log.uncleanable = f"a swap could not be undone: {error}"

    def _replace(self) -> None:
        log, old = self._log, self._old
        log.replace_segments(old, self._size)
        paths = [segment.handle.path for segment in old]
        gone: list[tuple[str, tuple[str, ...]]] = [(segment.stem, (*SIDE_FILES, ".snapshot")) for segment in old[1:]]
        if ".txnindex" not in self._suffixes:
            gone.append((self._stem, (".txnindex",)))
        for stem, suffixes in gone:
            for suffix in suffixes:
                with contextlib.suppress(OSError):  # without its log it is removed at the next start
                    self._fs.rename(stem + suffix, stem + suffix + DELETED)
                    paths.append(stem + suffix + DELETED)
        self._env.delete_later(paths, log.config.file_delete_delay_ms)


# --- the child process


def main(request: dict[str, Any]) -> None:
    """Do one task and print its result as JSON."""
    import json
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the broker, which then ends this
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    fields = dict(zip(Task._fields, request["task"], strict=True))
    fields["segments"] = [Sealed(*segment) for segment in fields["segments"]]
    fields["aborted"] = [AbortedTransaction(*entry) for entry in fields["aborted"]]
    parent = request["parent"]

    def still_wanted() -> None:
        if hasattr(os, "getppid") and os.getppid() != parent:
            raise SystemExit(_SPENT)

    answer: dict[str, Any]
    try:
        result = clean(Task(**fields), FileSystem(), still_wanted)
        answer = {"end": result.end_offset, "replacements": result.replacements}
    except OSError as error:
        refused = storage_error(f"compact {fields['folder']}", error)
        answer = {"code": int(refused.code), "message": refused.message}
    except KafkaError as error:
        answer = {"code": int(error.code), "message": error.message}
    print(json.dumps(answer))
