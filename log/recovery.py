"""From a partition's folder to its log, after a clean stop or none: what is trusted, what is scanned, what is repaired.

Clean: indexes and snapshot are trusted, only the tail behind the last index entry is checked (length, CRC). Not clean:
what follows the recovery point is scanned, one log after another: the scan of small batches is bound by the
interpreter, that of large ones by memory, and neither gains from threads. Damage costs the damaged batches only; a torn
tail is cut. All is said by `warn`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator

from ottla.log.config import LogConfig
from ottla.log.environment import Environment
from ottla.log.files import FileHandle
from ottla.log.folder import EPOCHS_FILE, SEGMENT_SUFFIXES
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.partition import Partition
from ottla.log.producer_state import ProducerState
from ottla.log.scan import DamagedBatchError, StoredBatch, find_batch_after, is_zeroed, scan
from ottla.log.segment import Segment, file_stem
from ottla.log.txn_index import AbortedTransaction, TransactionIndex
from ottla.wire.errors import KafkaError
from ottla.wire.records import CONTROL_BIT, HEADER_SIZE, TRANSACTIONAL_BIT, RecordBatch

_STEM_LENGTH = 20
_INDEXES = (".index", ".timeindex", ".txnindex")
_LEFT_OVER = (".deleted", ".cleaned", ".tmp", ".swap")
_COPY_CHUNK = 1024 * 1024


def load(
    env: Environment,
    folder: str,
    topic: str,
    partition: int,
    topic_id: bytes,
    config: LogConfig,
    *,
    clean: bool,
    recovery_point: int,
    log_start_offset: int,
    scan_all: bool = False,
) -> Partition:
    """The log in `folder`. `recovery_point` and `log_start_offset` are the checkpoints' (0 if they have none).

    `scan_all`: trust nothing, whatever the recovery point says (`ottla log check --repair`).

    Raises OSError.
    """
    log = Partition(env, folder, topic, partition, topic_id, config)
    names = _tidy(env, folder)
    segments = _segments(env, folder, names, config)
    repaired = False
    marked: list[Segment] = []  # scanned, and with markers of transactions in them
    for index, segment in enumerate(segments):
        last = index + 1 == len(segments)
        if clean and not last:
            continue
        end_offset = None if last else segments[index + 1].base_offset
        if clean:
            repaired |= _check_tail(env, segment)
        elif scan_all or last or (end_offset is not None and end_offset > recovery_point):
            if _repair(env, segment, end_offset, 0 if scan_all else recovery_point):
                marked.append(segment)
            repaired = True
        env.progress(segment.size)
    log_end = max(_end_offset(segments), recovery_point, log_start_offset)
    if segments and _end_offset(segments) < recovery_point:
        lost = f"{_end_offset(segments)} to {recovery_point - 1}"
        env.warn(f"{folder}: records at offsets {lost} are lost; their offsets are not used again")
    start = max(segments[0].base_offset, log_start_offset) if segments else log_end
    epochs = _load_epochs(env, folder, names, segments)
    epochs.truncate_end(log_end)
    log.adopt(segments, epochs, start, log_end, recovery_point)
    _load_producers(env, log, names)
    _load_aborted(env, log, names, marked)
    log.dirty = repaired or (bool(segments) and f"{file_stem(log_end)}.snapshot" not in names)
    if segments and _end_offset(segments) < log_end:
        log.begin_segment()
    elif segments and segments[-1].size and os.stat(segments[-1].handle.path).st_nlink > 1:
        log.go_on_apart()
    return log


def _tidy(env: Environment, folder: str) -> set[str]:
    """Remove what a crash or a delayed deletion left, finish swaps; returns the names of the files that stay."""
    names = set(env.fs.list_folder(folder))
    if any(name.endswith(_LEFT_OVER) for name in names):
        _tidy_left_overs(env, folder, names)
    for name in sorted(names):
        if name[_STEM_LENGTH:] in _INDEXES and f"{name[:_STEM_LENGTH]}.log" not in names:
            _remove(env, folder, name, names)
    return names


def _tidy_left_overs(env: Environment, folder: str, names: set[str]) -> None:
    fs = env.fs
    cleaned = {name[:_STEM_LENGTH] for name in names if name.endswith(".cleaned")}
    for name in sorted(names):
        if name.endswith((".deleted", ".cleaned", ".tmp")):
            fs.unlink(f"{folder}/{name}")
            names.discard(name)
    for name in sorted(names):
        if name.endswith(".log.swap") and _is_log(name.removesuffix(".swap")) and name[:_STEM_LENGTH] not in cleaned:
            _finish_swap(env, folder, name[:_STEM_LENGTH], names)
    for name in sorted(names):
        if name.endswith(".swap"):  # some of its files were still called .cleaned: the swap had not begun
            _remove(env, folder, name, names)


def _finish_swap(env: Environment, folder: str, stem: str, names: set[str]) -> None:
    """A compacted segment was complete when the crash came: it takes the place of those whose offsets it covers.

    Its own name comes last, so that another crash finds it still to be done.
    """
    _remove_replaced(env, folder, f"{stem}.log.swap", names)
    for suffix in (".index", ".timeindex", ".txnindex", ".log"):
        if f"{stem}{suffix}.swap" in names:
            env.fs.rename(f"{folder}/{stem}{suffix}.swap", f"{folder}/{stem}{suffix}")
            names.discard(f"{stem}{suffix}.swap")
            names.add(stem + suffix)


def _remove_replaced(env: Environment, folder: str, swap: str, names: set[str]) -> None:
    """Remove the segments that the one in file `swap` replaces, but the first: those that begin within its offsets."""
    path = f"{folder}/{swap}"
    handle = FileHandle(env.pool, path)
    base = end = int(swap[:_STEM_LENGTH])
    with contextlib.suppress(DamagedBatchError):
        for batch in scan(env.fs, handle.open().fd, 0, os.stat(path).st_size, verify=False):
            end = batch.last_offset
    handle.close()
    for name in sorted(names):
        if _is_log(name) and base < int(name[:_STEM_LENGTH]) <= end:
            for suffix in SEGMENT_SUFFIXES:
                _remove(env, folder, name[:_STEM_LENGTH] + suffix, names)


def _remove(env: Environment, folder: str, name: str, names: set[str]) -> None:
    if name in names:
        env.fs.unlink(f"{folder}/{name}")
        names.discard(name)


def _segments(env: Environment, folder: str, names: set[str], config: LogConfig) -> list[Segment]:
    bases = sorted(int(name[:_STEM_LENGTH]) for name in names if _is_log(name))
    segments: list[Segment] = []
    for base in bases:
        status = os.stat(f"{folder}/{file_stem(base)}.log")
        if status.st_size == 0 and base != bases[-1]:
            for suffix in (".log", ".index", ".timeindex", ".txnindex"):
                _remove(env, folder, file_stem(base) + suffix, names)
            continue
        created_ms = status.st_mtime_ns // 1_000_000
        segments.append(Segment(env.pool, folder, base, status.st_size, created_ms, config.index_interval_bytes))
    return segments


def _is_log(name: str) -> bool:
    return name.endswith(".log") and len(name) == _STEM_LENGTH + 4 and name[:_STEM_LENGTH].isdecimal()


def _end_offset(segments: list[Segment]) -> int:
    """One past the last record of a log whose active segment was checked."""
    if not segments:
        return 0
    active = segments[-1]
    return active.last_batch.last_offset + 1 if active.last_batch is not None else active.base_offset


# --- one segment


def _check_tail(env: Environment, segment: Segment) -> bool:
    """After a clean stop: is what follows the last index entry whole? Repairs the segment if not; True if it did."""
    if segment.size == 0:
        return False
    try:
        rebuilt = segment.load_indexes(verify=True)
        if rebuilt is not None:
            env.warn(rebuilt)
            return True
    except DamagedBatchError as damage:
        env.warn(
            f"{segment.handle.path}: {damage.reason} at byte {damage.position} although the broker stopped cleanly"
        )
        _repair(env, segment)
        return True
    return False


def _repair(env: Environment, segment: Segment, end_offset: int | None = None, durable_offset: int = 0) -> bool:
    """Check every batch, drop damaged ones and those from `end_offset` on (of the next segment), cut a torn tail,
    rebuild the indexes; the transaction index is emptied, to be filled by `_load_aborted` if this says that there are
    markers. Below `durable_offset` headers are enough. Raises OSError."""
    has_markers = False
    segment.reset_aborted()
    good: list[tuple[int, int]] = []  # byte ranges
    next_offset = segment.base_offset
    start = position = 0
    segment.reset_indexes()
    segment.last_batch = None
    fd = segment.handle.open().fd
    verify = durable_offset <= segment.base_offset
    while position < segment.size:
        try:
            for batch in scan(env.fs, fd, position, segment.size, verify=verify, min_offset=next_offset):
                if not verify and batch.last_offset >= durable_offset:
                    break
                if end_offset is not None and batch.last_offset >= end_offset:
                    raise DamagedBatchError(batch.position, f"offset {batch.last_offset} is in the next segment, too")
                next_offset = batch.last_offset + 1
                position = batch.position + batch.size
                if batch.attributes & CONTROL_BIT:
                    has_markers = True
                if not good:  # positions stay as they are up to the first damage
                    segment.index_batch(
                        batch.position, batch.size, batch.base_offset, batch.last_offset, batch.max_timestamp_ms
                    )
            verify = True
        except DamagedBatchError as damage:
            verify = True
            good.append((start, position))
            if is_zeroed(env.fs, fd, position, segment.size):
                env.warn(
                    f"{segment.handle.path}: cut {segment.size - position} bytes behind offset {next_offset - 1} "
                    f"(nothing but zeros, preallocated or never written)"
                )
                break
            resume = find_batch_after(env.fs, fd, position + 1, segment.size, next_offset)
            if resume is None:
                env.warn(
                    f"{segment.handle.path}: cut {segment.size - position} bytes behind offset {next_offset - 1} "
                    f"({damage.reason} at byte {position})"
                )
                break
            env.warn(
                f"{segment.handle.path}: dropped {resume - position} damaged bytes from offset {next_offset} on "
                f"({damage.reason} at byte {position})"
            )
            start = position = resume
    else:
        if not good:
            return has_markers
        good.append((start, position))
    if len(good) > 1:
        _rewrite(env, segment, good)
        segment.last_batch = None
        segment.rebuild_indexes(verify=False)
    else:
        end = good[0][1]
        last = segment.last_batch
        segment.truncate(end)
        segment.last_batch = last
        if end == 0:
            segment.note_empty()
    return has_markers


def _rewrite(env: Environment, segment: Segment, ranges: list[tuple[int, int]]) -> None:
    """Replace the segment's file by one of the given byte ranges."""
    fs = env.fs
    target = segment.handle.path
    copy = FileHandle(env.pool, target + ".cleaned")
    source_fd, fd = segment.handle.open().fd, copy.open(create=True).fd
    fs.truncate(fd, 0)
    size = 0
    for start, end in ranges:
        for at in range(start, end, _COPY_CHUNK):
            chunk = fs.pread(source_fd, min(_COPY_CHUNK, end - at), at)
            size += fs.pwrite(fd, chunk, size)
    fs.datasync(fd)
    copy.close()
    segment.close()
    fs.rename(target + ".cleaned", target)
    segment.size = size


# --- what is kept beside the segments


def _load_epochs(env: Environment, folder: str, names: set[str], segments: list[Segment]) -> LeaderEpochs:
    if EPOCHS_FILE in names:
        try:
            return LeaderEpochs.decode(env.fs.read_file(f"{folder}/{EPOCHS_FILE}"))
        except (ValueError, IndexError) as error:
            env.warn(f"{folder}/{EPOCHS_FILE} is rebuilt: {error}")
    epochs = LeaderEpochs()
    for segment in segments:
        fd = segment.handle.open().fd
        try:
            for batch in scan(env.fs, fd, 0, segment.size, verify=False):
                epochs.assign(batch.leader_epoch, batch.base_offset)
        except DamagedBatchError:
            continue
    if len(epochs):
        env.fs.replace_file(f"{folder}/{EPOCHS_FILE}", epochs.encode())
    return epochs


def _load_producers(env: Environment, log: Partition, names: set[str]) -> None:
    """The latest good snapshot not beyond the log end, and the batches after it. Odd snapshots are removed."""
    end = log.log_end_offset
    offsets = sorted(int(name[:_STEM_LENGTH]) for name in names if _is_snapshot(name))
    producers = ProducerState()
    position = log.segments[0].base_offset if log.segments else end
    kept = set(offsets)
    latest: int | None = None
    for offset in reversed(offsets):
        path = f"{log.folder}/{file_stem(offset)}.snapshot"
        if offset <= end and latest is None:
            try:
                producers = ProducerState.decode(env.fs.read_file(path))
                position, latest = offset, offset
                continue
            except ValueError as error:
                env.warn(f"{path} is left out: {error}")
        elif offset <= end:
            continue
        env.fs.unlink(path)
        kept.discard(offset)
    bases = {segment.base_offset for segment in log.segments}
    for offset in kept - bases - {latest}:
        env.fs.unlink(f"{log.folder}/{file_stem(offset)}.snapshot")
    if position < end:
        _replay(env, log, producers, position)
    producers.expire(env.clock.wall_ms(), log.config.producer_id_expiration_ms)
    log.adopt_producers(producers)


def _is_snapshot(name: str) -> bool:
    return name.endswith(".snapshot") and len(name) == _STEM_LENGTH + 9 and name[:_STEM_LENGTH].isdecimal()


def _replay(env: Environment, log: Partition, producers: ProducerState, offset: int) -> None:
    segments = log.segments
    for index, segment in enumerate(segments):
        if index + 1 < len(segments) and segments[index + 1].base_offset <= offset:
            continue
        if segment.size == 0:
            continue
        try:
            position = segment.offset_index.position_before(offset)
            for batch in scan(env.fs, segment.handle.open().fd, position, segment.size, verify=False):
                if batch.base_offset >= offset:
                    _apply(env, log, producers, segment, batch)
                log.note_epoch(batch.leader_epoch, batch.base_offset)
        except DamagedBatchError as damage:
            env.warn(
                f"{segment.handle.path}: {damage.reason} at byte {damage.position}; producer state lacks what follows"
            )


def _apply(
    env: Environment, log: Partition, producers: ProducerState, segment: Segment, batch: StoredBatch
) -> AbortedTransaction | None:
    """Apply a stored batch to a producer state that is being rebuilt; returns the transaction that it aborts, if it
    does. Raises OSError."""
    if batch.producer_id < 0:
        return None
    if batch.attributes & CONTROL_BIT:
        if batch.size == HEADER_SIZE:  # compaction took the marker out: nothing of its transaction is left
            return None
        try:
            ended = producers.apply_marker(RecordBatch(segment.read_batch(batch.position, batch.size)))
        except KafkaError as error:
            env.warn(f"{log.folder}: the control batch at offset {batch.last_offset} is not readable ({error})")
            return None
        return ended.aborted if ended is not None else None
    if batch.base_sequence >= 0:
        producers.update(
            batch.producer_id,
            batch.producer_epoch,
            batch.base_sequence,
            batch.last_offset_delta,
            batch.last_offset,
            batch.max_timestamp_ms,
            transactional=batch.attributes & TRANSACTIONAL_BIT != 0,
        )
    return None


def _load_aborted(env: Environment, log: Partition, names: set[str], marked: list[Segment]) -> None:
    """The transaction index of every segment: read, or, for those in `marked` and where it is damaged, rebuilt from
    the batches and the producer state as of the first of them. Raises OSError."""
    rebuilt = list(marked)
    for segment in log.segments:
        name = f"{file_stem(segment.base_offset)}.txnindex"
        if name not in names or segment in marked:
            continue
        if not segment.has_reset_aborted:
            try:
                segment.load_aborted()
                continue
            except ValueError as error:
                env.warn(f"{log.folder}/{name} is rebuilt: {error}")
                segment.reset_aborted()
        rebuilt.append(segment)
    if not rebuilt:
        return
    first = min(segment.base_offset for segment in rebuilt)
    last = max(segment.base_offset for segment in rebuilt)
    producers, offset = _producers_before(env, log, first)
    known = {segment.base_offset: _stored_aborted(env, segment) for segment in rebuilt}
    for segment, batch in _batches_from(env, log, offset):
        if segment.base_offset > last:
            break
        entries = known.get(segment.base_offset)
        while entries and entries[0].last_offset <= batch.last_offset:
            entry = entries.popleft()
            if entry.last_offset < batch.base_offset:  # its marker is lost, and what it aborted stays so
                segment.note_aborted(entry)
                if (held := producers.producers.get(entry.producer_id)) is not None:
                    producers.end_transaction(
                        entry.producer_id, held.epoch, held.coordinator_epoch, held.last_timestamp_ms
                    )
        aborted = _apply(env, log, producers, segment, batch)
        if aborted is not None and entries is not None:
            segment.note_aborted(aborted)
    for segment in rebuilt:
        for entry in known[segment.base_offset]:
            if entry.last_offset < log.log_end_offset:
                segment.note_aborted(entry)
        segment.save_aborted(sync=True)  # now, since the next start may not scan it again


def _stored_aborted(env: Environment, segment: Segment) -> deque[AbortedTransaction]:
    """What the file says, if it says anything."""
    try:
        data = env.fs.read_file(f"{segment.stem}.txnindex")
        return deque(TransactionIndex.decode(data, segment.base_offset).entries)
    except (FileNotFoundError, ValueError):
        return deque()


def _producers_before(env: Environment, log: Partition, offset: int) -> tuple[ProducerState, int]:
    """Producer state of the latest good snapshot not beyond `offset`, and its own offset."""
    start = log.segments[0].base_offset
    for segment in reversed(log.segments):
        if start < segment.base_offset <= offset:
            with contextlib.suppress(FileNotFoundError, ValueError):
                data = env.fs.read_file(f"{log.folder}/{file_stem(segment.base_offset)}.snapshot")
                return ProducerState.decode(data), segment.base_offset
    return ProducerState(), start


def _batches_from(env: Environment, log: Partition, offset: int) -> Iterator[tuple[Segment, StoredBatch]]:
    """Stored batches from `offset` on; those behind damage in their segment are left out."""
    for segment in log.segments:
        if segment.size and segment.base_offset >= offset:
            with contextlib.suppress(DamagedBatchError):
                for batch in scan(env.fs, segment.handle.open().fd, 0, segment.size, verify=False):
                    yield segment, batch
