"""Is a data folder sound? Every partition's segments, indexes, snapshots and checkpoints against each other, and the
folders against the metadata log.

Finding is read-only and says what is damaged in plain sentences; mending is recovery's work, asked for by `repair`.
Memory is bounded by the largest batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from ottla.log.checkpoint import parse_offsets, parse_properties
from ottla.log.clock import Clock
from ottla.log.data_folder import CLEAN_FILE, HIGH_WATERMARKS, LOG_STARTS, META_FILE, RECOVERY_POINTS, StoreError
from ottla.log.dump import (
    OFFSET_ENTRY,
    TIME_ENTRY,
    ZEROS,
    Advance,
    Gap,
    OffsetIndexProbe,
    TimeIndexProbe,
    marker,
    open_to_read,
    read_entries,
    stored_batches,
    used_entries,
)
from ottla.log.filesystem import FileSystem
from ottla.log.folder import EPOCHS_FILE, METADATA_FILE, parse_folder_name
from ottla.log.ids import Ids, uuid_from_text, uuid_text
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.lock import LOCK_FILE, FolderLock
from ottla.log.producer_state import ProducerState
from ottla.log.scan import StoredBatch
from ottla.log.segment import file_stem
from ottla.log.store import Store
from ottla.log.txn_index import AbortedTransaction, TransactionIndex
from ottla.wire.errors import KafkaError, ProtocolError
from ottla.wire.records import CONTROL_BIT, TRANSACTIONAL_BIT, ControlRecordType, RecordBatch
from ottla.wire.schema import ZERO_UUID

METADATA_TOPIC: Final = "__cluster_metadata"
CLEANED: Final = "cleaner-offset-checkpoint"
_CHECKPOINTS: Final = (RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS, CLEANED)
_LEFT_OVER: Final = (".deleted", ".cleaned", ".swap", ".tmp")
_STEM_LENGTH: Final = 20


class Finding(NamedTuple):
    """Something about a file, or a folder, of the data folder (`path` is relative to it)."""

    path: str
    text: str
    damage: bool = True  # False: worth knowing, and nothing is lost or wrong
    rebuilt: bool = False  # the file holds nothing that others do not: repair begins by removing it


class Counts:
    """How much was looked at."""

    __slots__ = ("batches", "bytes", "damages", "notes", "partitions", "segments")

    def __init__(self) -> None:
        self.partitions = 0
        self.segments = 0
        self.batches = 0
        self.bytes = 0
        self.damages = 0
        self.notes = 0


class Topics:
    """What the metadata log says: partitions of each topic id, names, and the ids of deleted topics."""

    __slots__ = ("by_id", "by_name", "partitions", "removed")

    def __init__(self) -> None:
        self.by_id: dict[bytes, str] = {}
        self.by_name: dict[str, bytes] = {}
        self.partitions: set[tuple[bytes, int]] = set()
        self.removed: set[bytes] = set()


def lock(path: str, *, create: bool) -> FolderLock | None:
    """Take the lock of a data folder, so that no broker begins to write meanwhile; None if it has no lock file and
    none is to be made, or it may only be read. Raises FolderLockedError, OSError if `create`.
    """
    if not create and not os.path.exists(os.path.join(path, LOCK_FILE)):
        return None
    try:
        return FolderLock(path)
    except OSError:
        if create:
            raise
        return None


def log_bytes(path: str) -> int:
    """Bytes of all log files of a data folder: how long a check takes. Raises OSError."""
    total = 0
    for folder in os.scandir(path):
        if folder.is_dir() and parse_folder_name(folder.name):
            total += sum(file.stat().st_size for file in os.scandir(folder.path) if file.name.endswith(".log"))
    return total


def check(path: str, counts: Counts, *, in_use: bool = False, advance: Advance | None = None) -> Iterator[Finding]:
    """All that is to be said of the data folder at `path`, partition by partition; `counts` grows with it.

    `in_use`: a broker has it open, so what it has not written yet is no damage. Raises OSError.
    """
    for finding in _DataFolder(path, counts, in_use, advance).findings():
        if finding.damage:
            counts.damages += 1
        else:
            counts.notes += 1
        yield finding


class _DataFolder:
    """One run of `check`."""

    def __init__(self, path: str, counts: Counts, in_use: bool, advance: Advance | None) -> None:
        self.path = path
        self.counts = counts
        self.fs = FileSystem()
        self.advance = advance
        self.names = sorted(self.fs.list_folder(path))
        self.in_use = in_use
        self.clean = CLEAN_FILE in self.names and not in_use
        self.recovery_points: dict[tuple[str, int], int] = {}
        self.log_starts: dict[tuple[str, int], int] = {}
        self.cleaned: dict[tuple[str, int], int] = {}

    def findings(self) -> Iterator[Finding]:
        folders = {key: name for name in self.names if (key := self._partition_of(name)) is not None}
        yield from self._check_identity(bool(folders))
        for name in _CHECKPOINTS:
            yield from self._check_checkpoint(name)
        if not self.clean and not self.in_use and folders:
            yield Finding(".", "the broker did not stop cleanly; its next start scans what it had not flushed", False)
        topics = None
        with contextlib.suppress(UnreadableTopicsError):
            topics = read_topics(self.path, self.fs)
        for key, name in folders.items():
            yield from _PartitionFolder(self, name, key).findings()
            yield from self._check_owner(name, key, topics)
        for key, offset in self.recovery_points.items():
            if key not in folders and offset > self.log_starts.get(key, 0):
                yield Finding(
                    f"{key[0]}-{key[1]}",
                    f"the folder is missing; {RECOVERY_POINTS} knows of records up to {offset - 1}",
                )
        for name in self.names:
            if name.endswith(("-delete", "-stray", "-future")) and os.path.isdir(f"{self.path}/{name}"):
                yield Finding(name, "a folder that was set aside" if name.endswith("-stray") else "a left-over", False)

    def _partition_of(self, name: str) -> tuple[str, int] | None:
        return parse_folder_name(name) if os.path.isdir(f"{self.path}/{name}") else None

    def _check_identity(self, used: bool) -> Iterator[Finding]:
        if META_FILE not in self.names:
            if used:
                yield Finding(META_FILE, "is missing; a start makes a new one, with another cluster id")
            return
        try:
            found = parse_properties(self.fs.read_file(f"{self.path}/{META_FILE}"))
            int(found.get("version", "0")), int(found.get("node.id", found.get("broker.id", "")))
            if not found["cluster.id"]:
                raise ValueError("cluster.id is empty")
        except (ValueError, KeyError) as error:
            yield Finding(META_FILE, f"is damaged ({error}); restore it, or delete it to get a new cluster id")

    def _check_checkpoint(self, name: str) -> Iterator[Finding]:
        if name not in self.names:
            return
        if name != RECOVERY_POINTS and not os.path.getsize(f"{self.path}/{name}"):
            return  # as Kafka makes them
        try:
            offsets = parse_offsets(self.fs.read_file(f"{self.path}/{name}"))
        except (ValueError, IndexError) as error:
            yield Finding(name, f"is damaged: {error}", rebuilt=True)
            return
        if name == RECOVERY_POINTS:
            self.recovery_points = offsets
        elif name == LOG_STARTS:
            self.log_starts = offsets
        elif name == CLEANED:
            self.cleaned = offsets

    def _check_owner(self, name: str, key: tuple[str, int], topics: Topics | None) -> Iterator[Finding]:
        """partition.metadata, and what the metadata log says of its topic id."""
        topic, index = key
        path = f"{name}/{METADATA_FILE}"
        topic_id = None
        try:
            topic_id = read_topic_id(f"{self.path}/{path}", self.fs)
        except FileNotFoundError:
            pass
        except ValueError as error:
            yield Finding(path, f"is damaged: {error}", rebuilt=True)
            return
        if topics is None or topic == METADATA_TOPIC:
            return
        known = topics.by_name.get(topic)
        if topic_id in topics.removed:
            yield Finding(name, "belongs to a topic that was deleted; a start removes it", False)
        elif known is None or (known, index) not in topics.partitions:
            yield Finding(name, f"belongs to no topic of the metadata log ({METADATA_TOPIC}-0); a start sets it aside")
        elif topic_id is None:
            yield Finding(path, f"is missing; a start writes it (topic {topic} has the id {uuid_text(known)})", False)
        elif topic_id != known:
            yield Finding(path, f"has topic id {uuid_text(topic_id)}, topic {topic} is {uuid_text(known)}")


class _PartitionFolder:
    """One partition: its segments in order, then what is kept beside them."""

    def __init__(self, data: _DataFolder, name: str, key: tuple[str, int]) -> None:
        self.data = data
        self.fs = data.fs
        self.name = name
        self.folder = f"{data.path}/{name}"
        self.names = set(data.fs.list_folder(self.folder))
        self.topic = key[0]
        self.recovery_point = data.recovery_points.get(key, 0)
        self.log_start = data.log_starts.get(key, 0)
        self.cleaned = data.cleaned.get(key)
        self.bases = sorted(base for name in self.names if (base := _base_of(name, ".log")) is not None)
        self.end = self.bases[0] if self.bases else 0  # one past the last good record
        self.bytes = 0
        self.epochs: LeaderEpochs | None = None
        self.wrong_epoch: str | None = None
        self.last_epoch = -1
        self.open_transactions: dict[int, int] = {}  # producer id -> first offset seen

    def findings(self) -> Iterator[Finding]:
        self.data.counts.partitions += 1
        self._load_epochs()
        for number, base in enumerate(self.bases):
            last = number + 1 == len(self.bases)
            yield from self._check_segment(base, None if last else self.bases[number + 1])
        yield from self._check_end()
        yield from self._check_epochs()
        yield from self._check_snapshots()
        yield from self._check_names()

    def _finding(self, name: str, text: str, damage: bool = True, rebuilt: bool = False) -> Finding:
        return Finding(f"{self.name}/{name}" if name else self.name, text, damage, rebuilt)

    # --- one segment

    def _check_segment(self, base: int, next_base: int | None) -> Iterator[Finding]:
        name = file_stem(base)
        counts = self.data.counts
        counts.segments += 1
        fd = open_to_read(f"{self.folder}/{name}.log")
        try:
            size = os.fstat(fd).st_size
            yield from self._check_border(name, base)
            self.end = base
            # what was written before the last flush, or a clean stop, is complete; anything else is recovery's
            settled = self.data.clean or (next_base is not None and next_base <= self.recovery_point)
            segment = _SegmentWalk(self, name, base, fd)
            told = 0
            gap: Gap | None = None
            for found in stored_batches(self.fs, fd, size, min_offset=base, verify=True):
                if isinstance(found, Gap):
                    gap = found
                    continue
                if gap is not None:
                    yield self._lost(name, gap, found.base_offset - 1)
                    segment.skip(gap.end, found.base_offset)
                    gap = None
                segment.see(found)
                if self.data.advance is not None and found.position - told > 1 << 20:
                    self.data.advance(found.position - told)
                    told = found.position
            if gap is not None:
                yield from self._torn(name, gap, size, next_base)
            if self.data.advance is not None:
                self.data.advance(size - told)
            counts.bytes += size
            self.bytes += size
            lost = next_base is None and self.recovery_point > self.end
            if lost:
                yield self._finding(
                    "",
                    f"offsets {self.end} to {self.recovery_point - 1} are lost: they were flushed, and are not there",
                )
                self.end = self.recovery_point  # said once
            # recovery makes all indexes of a segment anew, so what follows from the damage need not be said
            yield from segment.finish(size, settled, damaged=gap is not None or lost)
        finally:
            os.close(fd)

    def _check_border(self, name: str, base: int) -> Iterator[Finding]:
        """Does the segment begin where the one before it ended?"""
        if base == self.end:
            return
        if base < self.end:
            yield self._finding(f"{name}.log", f"begins at offset {base}, the segment before it goes to {self.end - 1}")
            return
        between = [n for n in self.names if (at := _base_of(n)) is not None and self.end <= at < base]
        lost = [n for n in between if n != f"{file_stem(self.end)}.snapshot" and _base_of(n) not in self.bases]
        if lost:
            yield self._finding(
                "", f"offsets {self.end} to {base - 1} are lost: {min(lost)} is there, but no log file of that name"
            )
        elif self.cleaned is None:
            yield self._finding(
                f"{name}.log", f"offsets {self.end} to {base - 1} are in no segment: compacted away, or lost", False
            )

    def _lost(self, name: str, gap: Gap, last_offset: int) -> Finding:
        what = f"bytes {gap.start} to {gap.end - 1} are damaged ({gap.reason})"
        lost = f"offsets {self.end} to {last_offset} are lost" if last_offset >= self.end else "no offset is missing"
        return self._finding(f"{name}.log", f"{what}; {lost}")

    def _torn(self, name: str, gap: Gap, size: int, next_base: int | None) -> Iterator[Finding]:
        """The file ends in bytes that are no batch."""
        known_end = self.recovery_point if next_base is None else next_base
        left = size - gap.start
        if next_base is None and gap.reason == ZEROS:
            yield self._finding(f"{name}.log", f"{left} zero bytes at its end, as preallocated", False)
        elif next_base is None and self.data.in_use:
            yield self._finding(f"{name}.log", f"the last {left} bytes are being written", False)
        elif known_end > self.end:
            yield self._lost(name, gap, known_end - 1)
            self.end = known_end  # said once
        else:
            good = f"it is good up to offset {self.end - 1}" if gap.start else "nothing in it is good"
            yield self._finding(
                f"{name}.log", f"the last {left} bytes are no batch ({gap.reason} at byte {gap.start}); {good}"
            )

    # --- beside the segments

    def _check_end(self) -> Iterator[Finding]:
        known = max(self.recovery_point, self.log_start)
        if not self.bases:
            if known:
                yield self._finding("", f"there is no log file; records up to offset {known - 1} were flushed")
        elif self.log_start > self.end:
            yield self._finding("", f"the log start offset {self.log_start} is behind the end, {self.end}")
        if self.cleaned is not None and self.cleaned > self.end:
            yield Finding(CLEANED, f"names offset {self.cleaned} for {self.name}, which ends at {self.end}", False)

    def _load_epochs(self) -> None:
        if EPOCHS_FILE in self.names:
            try:
                self.epochs = LeaderEpochs.decode(self.fs.read_file(f"{self.folder}/{EPOCHS_FILE}"))
            except (ValueError, IndexError) as error:
                self.wrong_epoch = f"is damaged: {error}"

    def note_epoch(self, batch: StoredBatch) -> None:
        """Compare the epoch of a batch with the checkpoint."""
        if batch.leader_epoch == self.last_epoch or batch.leader_epoch < 0:
            return
        self.last_epoch = batch.leader_epoch
        if self.epochs is not None and self.wrong_epoch is None and batch.last_offset >= self.log_start:
            known = self.epochs.epoch_at(batch.last_offset)
            if known != batch.leader_epoch:
                said = f"has epoch {known}" if known >= 0 else "knows no epoch"
                self.wrong_epoch = f"{said} at offset {batch.base_offset}, whose batch is of epoch {batch.leader_epoch}"

    def _check_epochs(self) -> Iterator[Finding]:
        settled = self.data.clean or self.recovery_point >= self.end
        if EPOCHS_FILE not in self.names:
            if self.last_epoch >= 0:
                yield self._finding(EPOCHS_FILE, "is missing; the batches have epochs", settled)
        elif self.wrong_epoch is not None:
            yield self._finding(EPOCHS_FILE, self.wrong_epoch, rebuilt=True)
        elif self.epochs is not None and self.epochs.latest_start > max(self.end, self.recovery_point):
            yield self._finding(
                EPOCHS_FILE,
                f"epoch {self.epochs.latest} begins at {self.epochs.latest_start}, behind the end, {self.end}",
                settled,
                settled,
            )

    def _check_snapshots(self) -> Iterator[Finding]:
        offsets = {offset: name for name in self.names if (offset := _base_of(name, ".snapshot")) is not None}
        for offset, name in sorted(offsets.items()):
            try:
                ProducerState.decode(self.fs.read_file(f"{self.folder}/{name}"))
            except ValueError as error:
                yield self._finding(name, f"is damaged: {error}", rebuilt=True)
                continue
            if offset > self.end:
                settled = self.data.clean
                yield self._finding(name, f"is of offset {offset}, the log ends at {self.end}", settled, settled)
        if self.data.clean and self.bytes and self.end not in offsets and self.topic != METADATA_TOPIC:
            yield self._finding(
                f"{file_stem(self.end)}.snapshot", f"is missing, and so is the producer state at the end, {self.end}"
            )

    def _check_names(self) -> Iterator[Finding]:
        for name in sorted(self.names):
            if name.endswith(_LEFT_OVER):
                yield self._finding(name, "a left-over", False)
                continue
            base = _base_of(name)
            if base is not None and not name.endswith(".snapshot") and base < min(self.bases, default=base + 1):
                yield self._finding(name, "belongs to no log file", False)


class _SegmentWalk:
    """The batches of one segment, compared with its three indexes as they pass."""

    def __init__(self, partition: _PartitionFolder, name: str, base: int, fd: int) -> None:
        self._partition = partition
        self._name = name
        self._fd = fd
        self._findings: dict[str, list[str]] = {}
        self._present = {suffix: name + suffix in partition.names for suffix in (".index", ".timeindex", ".txnindex")}
        self._offsets = OffsetIndexProbe(self._entries(".index", OFFSET_ENTRY), base)
        self._times = TimeIndexProbe(self._entries(".timeindex", TIME_ENTRY), base)
        self._aborted: dict[int, AbortedTransaction] = {}
        if self._present[".txnindex"]:
            try:
                data = partition.fs.read_file(f"{partition.folder}/{name}.txnindex")
                self._aborted = {entry.last_offset: entry for entry in TransactionIndex.decode(data, base).entries}
            except ValueError as error:
                self._note(".txnindex", f"is damaged: {error}")

    def _entries(self, suffix: str, entry: Struct) -> Iterator[tuple[int, int]]:
        if self._present[suffix]:
            yield from used_entries(self._stored_entries(suffix, entry))

    def _stored_entries(self, suffix: str, entry: Struct) -> Iterator[tuple[int, int]]:
        partition = self._partition
        fd = open_to_read(f"{partition.folder}/{self._name}{suffix}")
        try:
            size = os.fstat(fd).st_size
            if size % entry.size:
                self._note(suffix, f"{size} bytes are no whole number of entries of {entry.size}")
            for _, entries in read_entries(partition.fs, fd, size, entry):
                yield from entries
        finally:
            os.close(fd)

    def _note(self, suffix: str, text: str) -> None:
        self._findings.setdefault(suffix, []).append(text)

    def _note_entries(self, suffix: str, wrong: Iterable[tuple[int, str]]) -> None:
        for number, text in wrong:
            self._note(suffix, f"entry {number} {text}" if number >= 0 else text)

    def see(self, batch: StoredBatch) -> None:
        """The next batch."""
        partition = self._partition
        partition.data.counts.batches += 1
        partition.end = batch.last_offset + 1
        self._note_entries(".index", self._offsets.see(batch))
        self._note_entries(".timeindex", self._times.see(batch))
        partition.note_epoch(batch)
        if batch.attributes & TRANSACTIONAL_BIT:
            self._see_transaction(batch)

    def _see_transaction(self, batch: StoredBatch) -> None:
        opened = self._partition.open_transactions
        if not batch.attributes & CONTROL_BIT:
            opened.setdefault(batch.producer_id, batch.base_offset)
            return
        kind = marker(self._partition.fs, self._fd, batch)
        first = opened.pop(batch.producer_id, None)
        entry = self._aborted.pop(batch.last_offset, None)
        if kind == ControlRecordType.ABORT:
            if entry is None and first is not None and ".txnindex" not in self._findings:
                self._note(".txnindex", f"lacks the transaction of offsets {first} to {batch.last_offset}, aborted")
            elif entry is not None and entry.producer_id != batch.producer_id:
                self._note(".txnindex", f"says producer {entry.producer_id}, marker {batch.last_offset} has another")
        elif entry is not None:
            self._note(".txnindex", f"says that the marker at offset {batch.last_offset} aborts; it does not")

    def skip(self, end: int, end_offset: int) -> None:
        """Bytes below `end`, offsets below `end_offset` are damaged: what points at them is not to be blamed."""
        self._offsets.skip(end)
        self._times.skip(end_offset)

    def finish(self, size: int, settled: bool, *, damaged: bool) -> Iterator[Finding]:
        """Findings of the indexes, a sentence a file."""
        partition = self._partition
        for suffix in (".index", ".timeindex"):
            if not self._present[suffix] and size:
                yield partition._finding(self._name + suffix, "is missing; it is made anew from the log", settled)
        if not damaged:
            if self._present[".index"]:
                self._note_entries(".index", self._offsets.finish())
            if self._present[".timeindex"]:
                # Kafka's own metadata log, which is closed without it, may lack the last entry
                complete = settled and partition.topic != METADATA_TOPIC
                self._note_entries(".timeindex", self._times.finish(complete=complete))
        for entry in self._aborted.values():
            if entry.last_offset >= partition.end:
                self._note(".txnindex", f"says that offset {entry.last_offset} aborts, the log ends at {partition.end}")
        for suffix, texts in self._findings.items():
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
            yield partition._finding(self._name + suffix, texts[0] + more, settled, settled)


def _base_of(name: str, suffix: str | None = None) -> int | None:
    """The offset that a segment's file is named by; None if it is none (with that suffix)."""
    stem, ending = os.path.splitext(name)
    if suffix is None:
        if ending not in (".log", ".index", ".timeindex", ".txnindex", ".snapshot"):
            return None
    elif ending != suffix:
        return None
    return int(stem) if len(stem) == _STEM_LENGTH and stem.isdecimal() and stem.isascii() else None


# --- who owns the folders


class UnreadableTopicsError(Exception):
    """There is no metadata log, or it is damaged: nothing can be said of the folders."""


def read_topic_id(path: str, fs: FileSystem) -> bytes:
    """The topic id in a partition.metadata file. Raises FileNotFoundError, ValueError."""
    for line in fs.read_file(path).decode("utf-8").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "topic_id":
            return uuid_from_text(value.strip())
    raise ValueError("no topic_id")


def read_topics(path: str, fs: FileSystem) -> Topics:
    """Replay the metadata log (Ottla's or Kafka's), from its latest snapshot on. Raises UnreadableTopicsError."""
    from ottla.wire.state.cluster_metadata import PartitionRecord, RemoveTopicRecord, TopicRecord
    from ottla.wire.state.metadata_frame import decode_metadata_record

    folder = f"{path}/{METADATA_TOPIC}-0"
    if not os.path.isdir(folder):
        raise UnreadableTopicsError
    names = sorted(fs.list_folder(folder))
    snapshots = [name for name in names if name.endswith(".checkpoint") and name[:_STEM_LENGTH].isdecimal()]
    start = int(snapshots[-1][:_STEM_LENGTH]) if snapshots else 0
    logs = [name for name in names if _base_of(name, ".log") is not None]
    if not logs or (_base_of(logs[0], ".log") or 0) > start:
        raise UnreadableTopicsError
    topics = Topics()
    for name in snapshots[-1:] + logs:
        fd = open_to_read(f"{folder}/{name}")
        try:
            for found in stored_batches(fs, fd, os.fstat(fd).st_size, min_offset=0, verify=True):
                if isinstance(found, Gap):
                    raise UnreadableTopicsError
                if found.attributes & CONTROL_BIT or (name.endswith(".log") and found.last_offset < start):
                    continue
                for record in RecordBatch(fs.pread(fd, found.size, found.position)).records(1 << 30):
                    change = decode_metadata_record(record.value) if record.value is not None else None
                    if isinstance(change, TopicRecord):
                        topics.by_id[change.topic_id] = change.name
                        topics.by_name[change.name] = change.topic_id
                    elif isinstance(change, PartitionRecord):
                        topics.partitions.add((change.topic_id, change.partition_id))
                    elif isinstance(change, RemoveTopicRecord):
                        removed = topics.by_id.pop(change.topic_id, None)
                        if removed is not None and topics.by_name.get(removed) == change.topic_id:
                            del topics.by_name[removed]
                        topics.removed.add(change.topic_id)
        except (KafkaError, ProtocolError) as error:
            raise UnreadableTopicsError from error
        finally:
            os.close(fd)
    return topics


# --- mending


def repair(path: str, findings: Iterable[Finding], *, clock: Clock, ids: Ids) -> list[str]:
    """Mend what `check` found, as a start would after a crash: damaged batches go, undamaged ones stay, all that can be
    rebuilt is. The caller holds the lock. Returns what was done, a sentence each.

    Raises StoreError, KafkaError, OSError.
    """
    done: list[str] = []
    fs = FileSystem()
    with contextlib.suppress(FileNotFoundError):
        fs.unlink(f"{path}/{CLEAN_FILE}")
    for finding in findings:
        if finding.rebuilt:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(f"{path}/{finding.path}")
                done.append(f"{finding.path} is made anew")
    store = Store.open(
        path,
        clock=clock,
        ids=ids,
        node_id=_node_id(path, fs),
        broker_defaults={},
        warn=done.append,
        locker=_is_held,
        scan_all=True,
    )
    try:
        topics = None
        with contextlib.suppress(UnreadableTopicsError):
            topics = read_topics(path, fs)
        for topic, index in list(store.existing()):
            log = store.get(topic, index)
            if log is None or topic == METADATA_TOPIC:
                continue
            known = topics.by_name.get(topic) if topics is not None else None
            if topics is not None and (
                known is None or (known, index) not in topics.partitions or log.topic_id not in (known, ZERO_UUID)
            ):
                store.set_aside(topic, index)
                done.append(f"{topic}-{index} is set aside")
            elif known is not None:
                store.create(topic, index, known, {}, lazy=True)  # its partition.metadata may be gone
    except BaseException:
        store.abandon()
        raise
    store.close()
    return done


def _is_held(_: int) -> None:
    """The locker of a store whose folder is locked already."""


def _node_id(path: str, fs: FileSystem) -> int:
    """As in meta.properties; 1 where there is none. Raises StoreError."""
    try:
        found = parse_properties(fs.read_file(f"{path}/{META_FILE}"))
        return int(found.get("node.id", found.get("broker.id", "")))
    except FileNotFoundError:
        return 1
    except ValueError as error:
        raise StoreError(
            f"{path}/{META_FILE} is damaged ({error}); restore it, or delete it to get a new cluster id"
        ) from error
