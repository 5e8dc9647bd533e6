"""One segment of a log: its file, its indexes and the lookups in them, and in the list of segments that a log is. Bytes
are stored and found here, never judged.

File names and bytes are Kafka's. The indexes live in memory and are written when the segment rolls, is flushed or
closed; they are not preallocated to segment.index.bytes, since nobody maps them: a reader sees only whole entries.
"""

from __future__ import annotations

import contextlib
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from ottla.log.config import LogConfig
from ottla.log.files import FileHandle, FilePool
from ottla.log.filesystem import FileSystem
from ottla.log.offset_index import OffsetIndex
from ottla.log.scan import DamagedBatchError, StoredBatch, find_batch_after, scan
from ottla.log.time_index import TimeIndex
from ottla.log.txn_index import AbortedTransaction, TransactionIndex
from ottla.wire.schema import Buffer

_PROBE = struct.Struct(">qi4xb6xi")  # base offset, length, magic, last offset delta
_PROBE_BYTES = _PROBE.size
_PROBE_CHUNK = 4096


class Location:
    """A batch found in a segment."""

    __slots__ = ("base_offset", "last_offset", "position", "size")

    def __init__(self, base_offset: int, last_offset: int, position: int, size: int) -> None:
        self.base_offset = base_offset
        self.last_offset = last_offset
        self.position = position
        self.size = size


def file_stem(offset: int) -> str:
    """`00000000000000000042` for 42."""
    return f"{offset:020d}"


class Segment:
    """Batches from `base_offset` on in one file of `size` bytes."""

    __slots__ = (
        "_found",
        "_hole",
        "_offset_index",
        "_pool",
        "_saved_aborted",
        "_saved_offsets",
        "_saved_times",
        "_time_index",
        "aborted",
        "base_offset",
        "bytes_since_entry",
        "created_ms",
        "first_timestamp_ms",
        "handle",
        "index_interval_bytes",
        "is_preallocated",
        "last_batch",
        "max_timestamp_ms",
        "max_timestamp_offset",
        "needs_cut",
        "size",
        "stem",
    )

    def __init__(
        self, pool: FilePool, folder: str, base_offset: int, size: int, created_ms: int, interval_bytes: int
    ) -> None:
        self._pool = pool
        self.base_offset = base_offset
        self.size = size
        self.stem = f"{folder}/{file_stem(base_offset)}"
        self.handle = FileHandle(pool, self.stem + ".log")
        self.created_ms = created_ms
        self.index_interval_bytes = interval_bytes
        self.first_timestamp_ms: int | None = (
            None  # of the first batch, which rolling by time counts from; None: not read
        )
        self.bytes_since_entry = 0
        self.max_timestamp_ms = -1  # valid once the indexes are loaded
        self.max_timestamp_offset = base_offset
        self.last_batch: Location | None = None
        self.needs_cut = False  # a failed append may have left bytes behind `size`
        self.is_preallocated = False  # the file is longer than `size`, with zeros (preallocate=true)
        self._found: Location | None = None
        self._hole: tuple[int, int | None] | None = None  # damage met last: where it begins, where good batches do
        self._offset_index: OffsetIndex | None = None
        self._time_index: TimeIndex | None = None
        self._saved_offsets = -1  # entries that are in the files; -1: they are to be written anew
        self._saved_times = -1
        self.aborted: TransactionIndex | None = None  # None: nothing was aborted here
        self._saved_aborted = 0  # as above
        if size == 0:
            self.note_empty()
            self._offset_index = OffsetIndex(base_offset)
            self._time_index = TimeIndex(base_offset)

    @classmethod
    def create(
        cls, pool: FilePool, folder: str, base_offset: int, now_ms: int, config: LogConfig, *, later: bool = False
    ) -> Segment:
        """An empty segment and its file; what a crash or a failed roll left there is gone. `later`: the file is made
        when it is first opened, by the first append at the latest. Raises OSError."""
        segment = cls(pool, folder, base_offset, 0, now_ms, config.index_interval_bytes)
        preallocated = config.segment_bytes if config.preallocate else 0

        def begin(fd: int) -> None:
            pool.fs.truncate(fd, 0)
            if preallocated:
                pool.fs.truncate(fd, preallocated)
                segment.is_preallocated = True

        segment.handle.begin = begin
        if not later:
            segment.handle.open()
        return segment

    @property
    def has_file(self) -> bool:
        """Not one that is made at its first use, which was not yet."""
        return self.handle.begin is None

    # --- indexes

    @property
    def offset_index(self) -> OffsetIndex:
        """Loaded, or rebuilt from the log file, at first use. Raises OSError."""
        if self._offset_index is None:
            self.load_indexes()
        assert self._offset_index is not None
        return self._offset_index

    @property
    def time_index(self) -> TimeIndex:
        """As `offset_index`."""
        if self._time_index is None:
            self.load_indexes()
        assert self._time_index is not None
        return self._time_index

    def load_indexes(self, *, verify: bool = False) -> str | None:
        """Read both index files; rebuild both if one is missing or wrong, and say so in the sentence returned.

        What lies behind the last entry is walked, so an index that lost its end is completed. Raises OSError; with
        `verify`, which checks CRCs, DamagedBatchError where the walk or a rebuild meets damage.
        """
        fs = self._pool.fs
        try:
            offsets = OffsetIndex.decode(fs.read_file(self.stem + ".index"), self.base_offset, self.size)
            times = TimeIndex.decode(fs.read_file(self.stem + ".timeindex"), self.base_offset)
        except (FileNotFoundError, ValueError) as error:
            self.rebuild_indexes(verify=verify)
            reason = "missing" if isinstance(error, FileNotFoundError) else str(error)
            return f"rebuilt the indexes of {self.handle.path}: {reason}"
        self._offset_index, self._time_index = offsets, times
        self._saved_offsets, self._saved_times = len(offsets), len(times)
        self.max_timestamp_ms, self.max_timestamp_offset = times.last()
        self.bytes_since_entry = 0
        start = offsets.last_position()
        expected = self.base_offset + offsets.offsets[-1] if start else -1
        for batch in self._walk(start, verify=verify):
            if batch.position == start and start and batch.last_offset != expected:
                self.rebuild_indexes(verify=verify)
                return f"rebuilt the indexes of {self.handle.path}: the last entry is not of the batch it points at"
            self.index_batch(batch.position, batch.size, batch.base_offset, batch.last_offset, batch.max_timestamp_ms)
        return None

    def rebuild_indexes(self, *, verify: bool) -> None:
        """Both indexes anew from all batches of the file. Raises OSError; with `verify` DamagedBatchError (the indexes
        then end before it)."""
        self.reset_indexes()
        for batch in self._walk(0, verify=verify):
            self.index_batch(batch.position, batch.size, batch.base_offset, batch.last_offset, batch.max_timestamp_ms)

    def reset_indexes(self) -> None:
        """Empty indexes, to be filled by `index_batch` from the first batch on; their files are written whole next
        time."""
        self._offset_index = OffsetIndex(self.base_offset)
        self._time_index = TimeIndex(self.base_offset)
        self._saved_offsets = self._saved_times = -1
        self.max_timestamp_ms, self.max_timestamp_offset = -1, self.base_offset
        self.bytes_since_entry = 0
        self.first_timestamp_ms = None

    def index_batch(self, position: int, size: int, base_offset: int, last_offset: int, max_timestamp_ms: int) -> None:
        """Note a batch that is in the file now, as Kafka's LogSegment.append does. Indexes must be loaded."""
        if max_timestamp_ms > self.max_timestamp_ms:
            self.max_timestamp_ms = max_timestamp_ms
            self.max_timestamp_offset = last_offset
        if self.bytes_since_entry > self.index_interval_bytes:
            self.offset_index.append(last_offset, position)
            self.time_index.maybe_append(self.max_timestamp_ms, self.max_timestamp_offset)
            self.bytes_since_entry = 0
        self.bytes_since_entry += size
        self.note_last(position, size, base_offset, last_offset)

    def note_last(self, position: int, size: int, base_offset: int, last_offset: int) -> None:
        """This is the last batch of the segment: reads near the end need no search."""
        last = self.last_batch
        if last is None:
            self.last_batch = Location(base_offset, last_offset, position, size)
        else:  # one object, changed in place: this runs for every append
            last.base_offset = base_offset
            last.last_offset = last_offset
            last.position = position
            last.size = size

    def note_empty(self) -> None:
        """No batch is left."""
        self.last_batch = Location(self.base_offset, self.base_offset - 1, 0, 0)

    def is_index_full(self, limit_bytes: int) -> bool:
        """Would one more entry overflow segment.index.bytes? (The time index keeps room for its last entry.)"""
        offsets, times = self._offset_index, self._time_index
        if offsets is None or times is None:
            offsets, times = self.offset_index, self.time_index
        return len(offsets.offsets) >= limit_bytes // 8 or len(times.offsets) >= limit_bytes // 12 - 1

    def save_indexes(self, *, final: bool, sync: bool = False) -> None:
        """Write the entries that are not in the files yet; `final` adds the time index's last entry (roll, close).

        The transaction index, which no later check could miss, is synced when it is `final`, whatever `sync` says.
        Raises OSError.
        """
        if self.aborted is not None and len(self.aborted) != self._saved_aborted:
            self.save_aborted(sync=sync or final)
        offsets, times = self._offset_index, self._time_index
        if offsets is None or times is None or not self.has_file:  # never loaded: the files are as they were
            return
        if final:
            times.maybe_append(self.max_timestamp_ms, self.max_timestamp_offset)
        fs = self._pool.fs
        saved_offsets, saved_times = self._saved_offsets, self._saved_times
        self._saved_offsets = self._saved_times = -1  # if writing fails half way, all is written anew next time
        _save(fs, self.stem + ".index", offsets, saved_offsets, sync)
        _save(fs, self.stem + ".timeindex", times, saved_times, sync)
        self._saved_offsets, self._saved_times = len(offsets), len(times)

    def index_sizes(self) -> tuple[int, int]:
        """Bytes of the offset and the time index files; 0 for one that is not there. Raises OSError."""
        sizes = [0, 0]
        for at, suffix in enumerate((".index", ".timeindex")):
            with contextlib.suppress(FileNotFoundError):
                sizes[at] = os.stat(self.stem + suffix).st_size
        return sizes[0], sizes[1]

    def distrust_index_files(self) -> None:
        """They may be another segment's: removed, and written anew from what is in memory or found in the log file.

        Raises OSError.
        """
        self._saved_offsets = self._saved_times = self._saved_aborted = -1
        for suffix in (".index", ".timeindex", ".txnindex"):
            with contextlib.suppress(FileNotFoundError):
                self._pool.fs.unlink(self.stem + suffix)

    @property
    def has_unsaved_indexes(self) -> bool:
        """Entries wait for `save_indexes` (not counting the final one)."""
        offsets, times = self._offset_index, self._time_index
        return (self.aborted is not None and len(self.aborted) != self._saved_aborted) or (
            offsets is not None
            and times is not None
            and (len(offsets) != self._saved_offsets or len(times) != self._saved_times)
        )

    # --- aborted transactions

    def note_aborted(self, entry: AbortedTransaction) -> None:
        """An ABORT marker is in the file now."""
        if self.aborted is None:
            self.aborted = TransactionIndex()
        self.aborted.append(entry)

    def load_aborted(self) -> None:
        """Read the `.txnindex` file, which must exist. Raises OSError, ValueError."""
        self.aborted = TransactionIndex.decode(self._pool.fs.read_file(self.stem + ".txnindex"), self.base_offset)
        self._saved_aborted = len(self.aborted)

    def reset_aborted(self) -> None:
        """Forget all entries, to be noted anew; the file is as it was until `save_aborted`."""
        self.aborted = None
        self._saved_aborted = -1

    @property
    def has_reset_aborted(self) -> bool:
        """The file, if there is one, is not what is in memory."""
        return self._saved_aborted < 0

    def save_aborted(self, *, sync: bool) -> None:
        """Bring the `.txnindex` file up to date; without entries there is none. Raises OSError."""
        fs, path, index = self._pool.fs, self.stem + ".txnindex", self.aborted
        saved, self._saved_aborted = self._saved_aborted, -1
        if index is None:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(path)
        elif saved < 0:
            fs.replace_file(path, index.encode(), sync=sync)
        else:
            fs.write_file(path, index.encode(saved), sync=sync, append=True)
        self._saved_aborted = 0 if index is None else len(index)

    # --- batches

    def append(self, data: Buffer, size: int) -> int:
        """Write one stamped batch at the end of the file; returns its position.

        Raises OSError, with the file cut back to what it was.
        """
        file = self.handle.file
        if file is None:
            file = self.handle.open_own()
        file.used = True
        fs = self._pool.fs
        position = self.size
        if self.needs_cut:
            fs.truncate(file.fd, position)
            self.needs_cut = False
        try:
            written = fs.pwrite(file.fd, data, position)
            while written < size:
                written += fs.pwrite(file.fd, memoryview(data)[written:], position + written)
        except OSError:
            self.needs_cut = True
            self.cut_back()
            raise
        self.size = position + size
        return position

    def take_back(self, position: int) -> None:
        """Undo the last `append`, which wrote at byte `position` and is not indexed yet."""
        self.size = position
        self.needs_cut = True
        self.cut_back()

    def cut_back(self) -> None:
        """Remove what a failed append left; if even that fails, it is tried again before the next append."""
        try:
            self._pool.fs.truncate(self.handle.open_own().fd, self.size)
            self.needs_cut = False
        except OSError:
            pass

    def shed(self) -> None:
        """Give back what was preallocated and not used, remove what a failed append left. Raises OSError."""
        if self.is_preallocated or self.needs_cut:
            self._pool.fs.truncate(self.handle.open_own().fd, self.size)
            self.is_preallocated = self.needs_cut = False

    def find(self, offset: int) -> Location | None:
        """The batch that holds `offset`, or the first after it; None if the segment ends before. Raises OSError.

        One bisect and one read of a few KB at most; none for the last batch or the one found last.
        """
        last = self.last_batch
        if last is not None and last.base_offset <= offset:
            return last if offset <= last.last_offset else None
        position = self.offset_index.position_before(offset)
        found = self._found
        if found is not None and found.base_offset <= offset and found.position >= position:
            if offset <= found.last_offset:
                return found
            position = found.position + found.size
        fs, fd, end = self._pool.fs, self.handle.open().fd, self.size
        least = self.base_offset
        while position < end:
            chunk = fs.pread(fd, _PROBE_CHUNK if end - position > _PROBE_CHUNK else end - position, position)
            at, usable = 0, len(chunk) - _PROBE_BYTES
            if usable < 0:
                break
            while at <= usable:
                base_offset, length, magic, delta = _PROBE.unpack_from(chunk, at)
                last_offset = base_offset + delta if magic == 2 else base_offset
                in_file = 14 <= length <= end - position - at - 12
                if not in_file or not 0 <= magic <= 2 or not least <= base_offset <= last_offset:
                    # Nothing that could be a batch: the search goes on at the next good one.
                    resume = self._resume_after(position + at, least)
                    if resume is None:
                        return None
                    at = resume - position
                    break
                if last_offset >= offset:
                    found = self._found = Location(base_offset, last_offset, position + at, length + 12)
                    return found
                at += length + 12
                least = last_offset + 1
            position += at
        return None

    def _resume_after(self, position: int, min_offset: int) -> int | None:
        """Where the next good batch begins behind the damage at byte `position`; None if there is none. Raises OSError.

        Said once for a segment; recovery repairs it, but only after an unclean stop.
        """
        if self._hole is not None and self._hole[0] == position:
            return self._hole[1]
        resume = find_batch_after(self._pool.fs, self.handle.open().fd, position + 1, self.size, min_offset)
        if self._hole is None:
            self._pool.warn(
                f"{self.handle.path}: no batch at byte {position}; reads go on "
                f"{f'at byte {resume}' if resume is not None else 'behind this segment'}"
            )
        self._hole = (position, resume)
        return resume

    def _walk(self, start: int, *, verify: bool = False) -> Iterator[StoredBatch]:
        """Batches from byte `start` on; damage is stepped over unless `verify` is set. Raises OSError,
        DamagedBatchError."""
        min_offset = self.base_offset
        position: int | None = start
        while position is not None:
            try:
                for batch in scan(
                    self._pool.fs, self.handle.open().fd, position, self.size, verify=verify, min_offset=min_offset
                ):
                    yield batch
                    min_offset = batch.last_offset + 1
                return
            except DamagedBatchError as damage:
                if verify:
                    raise
                position = self._resume_after(damage.position, min_offset)

    def batches(self, position: int) -> list[StoredBatch]:
        """Headers of all batches from byte `position` on. Raises OSError."""
        return list(self._walk(position))

    def read_batch(self, position: int, size: int) -> bytes:
        """The bytes of one batch. Raises OSError."""
        data = self._pool.fs.pread(self.handle.open().fd, size, position)
        if len(data) < size:
            raise OSError(f"{self.handle.path} ends inside the batch at byte {position}")
        return data

    def find_timestamp(self, timestamp_ms: int, min_offset: int) -> StoredBatch | None:
        """First batch with a record at or after `timestamp_ms` whose last offset is at least `min_offset`.

        Raises OSError.
        """
        start_offset = max(self.time_index.offset_before(timestamp_ms), min_offset)
        position = self.offset_index.position_before(start_offset)
        for batch in self._walk(position):
            if batch.max_timestamp_ms >= timestamp_ms and batch.last_offset >= min_offset:
                return batch
        return None

    def largest_timestamp_ms(self) -> int:
        """The largest timestamp in the segment, -1 without any. Raises OSError."""
        if self._time_index is None:
            self.load_indexes()
        return self.max_timestamp_ms

    def rolling_timestamp_ms(self) -> int:
        """Timestamp of the first batch, which segment.ms counts from; -1 if it has none. Raises OSError."""
        first = self.first_timestamp_ms
        if first is None:
            first = -1
            if self.size:
                batches = scan(self._pool.fs, self.handle.open().fd, 0, self.size, verify=False)
                try:
                    first = next(batches).max_timestamp_ms
                except DamagedBatchError:
                    first = -1
            self.first_timestamp_ms = first
        return first

    def truncate(self, position: int) -> None:
        """Cut the file at byte `position`, a batch border; indexes follow. Raises OSError."""
        self._pool.fs.truncate(self.handle.open_own().fd, position)
        self.size = position
        self.last_batch = self._found = None
        self.needs_cut = False

    # --- life

    def should_roll(
        self,
        config: LogConfig,
        jitter_ms: int,
        size: int,
        max_timestamp_ms: int,
        last_offset: int,
        wall_ms: Callable[[], int],
    ) -> bool:
        """Must a batch of `size` bytes with that largest timestamp and last offset open a new segment? Raises
        OSError."""
        if self.size == 0:
            return False
        if self.size > config.segment_bytes - size or last_offset - self.base_offset > 0x7FFFFFFF:
            return True
        first_ms = self.first_timestamp_ms
        if first_ms is None:
            first_ms = self.rolling_timestamp_ms()
        waited_ms = max_timestamp_ms - first_ms if first_ms >= 0 else wall_ms() - self.created_ms
        return waited_ms > config.roll_ms - jitter_ms or self.is_index_full(config.segment_index_bytes)

    def close(self) -> None:
        """Give the descriptor back."""
        self.handle.close()


# --- the segments of one log together, oldest first


def segment_index(segments: Sequence[Segment], offset: int) -> int:
    """Which of them holds an offset, if any does."""
    index = bisect_right(segments, offset, key=_base_offset) - 1
    return index if index > 0 else 0


def offset_after(segments: Sequence[Segment], segment: Segment, position: int, log_end_offset: int) -> int:
    """An offset that no record before byte `position` of one of them reaches, as near as the index knows it."""
    offset = segment.offset_index.offset_after(position)
    if offset is not None:
        return offset
    later = bisect_right(segments, segment.base_offset, key=_base_offset)
    return segments[later].base_offset if later < len(segments) else log_end_offset


def bytes_from(segments: Sequence[Segment], offset: int, enough: int) -> int:
    """An upper estimate of the bytes from an offset on; counting ends when it is `enough`. Raises OSError."""
    index = segment_index(segments, offset)
    total = -segments[index].offset_index.position_before(offset)
    for segment in islice(segments, index, None):
        total += segment.size
        if total >= enough:
            break
    return total


def bytes_between(segments: Sequence[Segment], offset: int, end_offset: int, enough: int) -> int:
    """As `bytes_from`, up to the batch that holds `end_offset`. Raises OSError, DamagedBatchError."""
    if offset >= end_offset:
        return 0
    index = segment_index(segments, offset)
    last = segment_index(segments, end_offset)
    total = -segments[index].offset_index.position_before(offset)
    for segment in islice(segments, index, last + 1):
        after = segment.find(end_offset)
        total += segment.size if after is None else after.position
        if total >= enough:
            break
    return total


def aborted_between(segments: Sequence[Segment], from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
    """Aborted transactions with records from `from_offset` up to, not including, `upper_offset`; `segments` are those
    of the log that have any."""
    found: list[AbortedTransaction] = []
    for segment in segments[segment_index(segments, from_offset) :]:
        if segment.aborted is not None and segment.aborted.collect(from_offset, upper_offset, found):
            break
    return found


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


def _save(fs: FileSystem, path: str, index: OffsetIndex | TimeIndex, saved: int, sync: bool) -> None:
    """Bring an index file up to date; `saved` is how many entries it holds, -1 if it is to be written anew."""
    if saved < 0:
        fs.write_file(path, index.encode(), sync=sync)
    elif saved < len(index):
        fs.write_file(path, index.encode(saved), sync=sync, append=True)
