"""What is in a file of a data folder, as facts: one flat mapping for each batch, record, entry or line.

Every kind of file that Kafka and Ottla write is known by its name. Files are read in pieces, so memory does not depend
on their size. How facts look on a terminal is for the command line.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from ottla.log import txn_index
from ottla.log.checkpoint import parse_entries, parse_properties
from ottla.log.filesystem import READ_WRITE, FileSystem
from ottla.log.folder import parse_folder_name
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.producer_state import ENTRY as PRODUCER_ENTRY
from ottla.log.producer_state import HEADER as SNAPSHOT_HEADER
from ottla.log.record_facts import FAMILIES, Fact, record_fact
from ottla.log.scan import DamagedBatchError, StoredBatch, find_batch_after, is_zeroed, scan
from ottla.wire.errors import KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.records import (
    CURRENT_MAGIC,
    HEADER_SIZE,
    ControlRecordType,
    RecordBatch,
)

Advance = Callable[[int], None]
"""Told the bytes that were read since it was last told."""

CODECS: Final = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
ZEROS: Final = "nothing but zeros"
_CHUNK_BYTES: Final = 64 * 1024
_RECORD_BUDGET_BYTES: Final = 1 << 30  # a batch that decompresses to more is said to be damaged
_STEM: Final = re.compile(r"(\d{20})(?:-\d{10})?\.")
_LEFT_OVER: Final = (".deleted", ".cleaned", ".swap", ".tmp")
OFFSET_ENTRY: Final = struct.Struct(">ii")
TIME_ENTRY: Final = struct.Struct(">qi")
_CRC_START: Final = 6  # of a snapshot


class DumpError(Exception):
    """The file is none that can be shown; the text is one sentence."""


def describe(
    path: str,
    *,
    records: bool = False,
    verify: bool = False,
    family: str | None = None,
    advance: Advance | None = None,
) -> Iterator[Fact]:
    """Facts of the file at `path`: first `file`, then its content, at last `total`.

    `records`: those in the batches too, decoded as `family` (a key of `FAMILIES`; None: by the folder's name).
    `verify`: checksums, records and index entries are checked. Whatever is wrong is a fact `problem` with a `position`
    (bytes) or an `entry` number. Raises DumpError for a file of no known kind, OSError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    for suffix in _LEFT_OVER:
        name = name.removesuffix(suffix)
    reader = next((reader for ending, reader in _READERS.items() if name.endswith(ending)), None)
    if reader is None:
        raise DumpError(
            f"{path} is no file of a data folder; those end in {', '.join(e for e in _READERS if e[0] == '.')}"
            " or are checkpoints, partition.metadata or meta.properties"
        )
    stem = _STEM.match(name)
    if family is None:
        partition = parse_folder_name(os.path.basename(folder))
        family = next((f for f, topic in FAMILIES.items() if partition and partition[0] == topic), None)
        if name.endswith(".checkpoint") and stem:
            family = "metadata"
    request = _Request(path, int(stem[1]) if stem else 0, records, verify, family, advance or _ignore)
    with request:
        yield from reader(request)


class _Request:
    """One file to describe, open while it is."""

    def __init__(
        self, path: str, base_offset: int, records: bool, verify: bool, family: str | None, advance: Advance
    ) -> None:
        self.path = path
        self.base_offset = base_offset
        self.records = records
        self.verify = verify
        self.family = family
        self.advance = advance
        self.fs = FileSystem()
        self.fd = open_to_read(path)
        self.size = os.fstat(self.fd).st_size
        self.problems = 0

    def __enter__(self) -> _Request:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def head(self, what: str, **facts: Any) -> Fact:
        return {"kind": "file", "path": self.path, "type": what, "bytes": self.size, **facts}

    def problem(self, text: str, **where: Any) -> Fact:
        self.problems += 1
        return {"kind": "problem", "text": text, **where}

    def total(self, **counts: int) -> Fact:
        return {"kind": "total", **counts, "problems": self.problems}

    def text(self) -> bytes:
        """The whole of a file that is small by nature."""
        self.advance(self.size)
        return self.fs.pread(self.fd, self.size, 0)

    def entries(self, entry: struct.Struct) -> Iterator[Any]:
        """Fixed-size entries up to the last whole one."""
        for chunk, entries in read_entries(self.fs, self.fd, self.size, entry):
            self.advance(chunk)
            yield from entries

    def odd_size(self, entry_bytes: int) -> Iterator[Fact]:
        if self.size % entry_bytes:
            yield self.problem(f"{self.size} bytes are no whole number of entries of {entry_bytes}")


def open_to_read(path: str) -> int:
    """A descriptor. Raises OSError."""
    return os.open(path, READ_WRITE & ~os.O_RDWR | os.O_RDONLY)


def read_entries(fs: FileSystem, fd: int, size: int, entry: struct.Struct) -> Iterator[tuple[int, Iterator[Any]]]:
    """(bytes read, whole entries in them), piece by piece. Raises OSError."""
    chunk_bytes = _CHUNK_BYTES // entry.size * entry.size
    for position in range(0, size, chunk_bytes):
        chunk = fs.pread(fd, chunk_bytes, position)
        yield len(chunk), entry.iter_unpack(chunk[: len(chunk) // entry.size * entry.size])


def _ignore(_: int) -> None:
    pass


# --- batches and records


def _describe_log(request: _Request) -> Iterator[Fact]:
    """`batch` facts, `record` facts behind each if asked for."""
    is_snapshot = request.path.endswith(".checkpoint")
    yield request.head("metadata snapshot" if is_snapshot else "log", base_offset=request.base_offset)
    batches = records = told = 0
    least = 0 if is_snapshot else request.base_offset
    for found in stored_batches(request.fs, request.fd, request.size, min_offset=least):
        if isinstance(found, Gap):
            yield request.problem(found.reason, position=found.start, bytes=found.end - found.start)
            continue
        request.advance(found.position + found.size - told)
        told = found.position + found.size
        batches += 1
        whole = request.verify or request.records
        data = request.fs.pread(request.fd, found.size if whole else HEADER_SIZE, found.position)
        try:
            batch = RecordBatch(data)
        except KafkaError as error:
            yield request.problem(str(error.message), position=found.position)
            continue
        records += max(batch.records_count, 0)
        yield _batch_fact(batch, found, request.verify)
        if request.verify and not batch.is_valid_crc():
            yield request.problem(
                f"wrong CRC {batch.crc}, its bytes give {batch.compute_crc()}", position=found.position
            )
        elif whole and batch.magic == CURRENT_MAGIC:
            yield from _records(request, batch, found.position)
    request.advance(request.size - told)
    yield request.total(batches=batches, records=records)


def _batch_fact(batch: RecordBatch, stored: StoredBatch, verify: bool) -> Fact:
    fact: Fact = {
        "kind": "batch",
        "base_offset": batch.base_offset,
        "last_offset": stored.last_offset,
        "position": stored.position,
        "bytes": stored.size,
        "magic": batch.magic,
        "crc": batch.crc,
    }
    if verify:
        fact["crc_valid"] = batch.is_valid_crc()
    if batch.magic < CURRENT_MAGIC:
        return {
            **fact,
            "codec": CODECS.get(stored.attributes & 7, "unknown"),
            "max_timestamp_ms": stored.max_timestamp_ms,
        }
    return {
        **fact,
        "records": batch.records_count,
        "leader_epoch": batch.partition_leader_epoch,
        "codec": CODECS.get(batch.codec, f"unknown ({batch.codec})"),
        "timestamp_type": "LogAppendTime" if batch.timestamp_type else "CreateTime",
        "base_timestamp_ms": None if batch.delete_horizon_ms is not None else batch.base_timestamp,
        "max_timestamp_ms": batch.max_timestamp,
        "delete_horizon_ms": batch.delete_horizon_ms,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "last_sequence": batch.last_sequence,
        "transactional": batch.is_transactional,
        "control": batch.is_control,
    }


def _records(request: _Request, batch: RecordBatch, position: int) -> Iterator[Fact]:
    """The records of a whole batch v2; with `verify` their offsets are looked at."""
    last = batch.base_offset - 1
    try:
        for record in batch.records(_RECORD_BUDGET_BYTES):
            if request.verify and not last < record.offset <= batch.last_offset:
                yield request.problem(
                    f"a record at offset {record.offset} behind {last} in a batch that ends at {batch.last_offset}",
                    position=position,
                )
            last = record.offset
            if request.records:
                yield record_fact(record, batch.is_control, request.family)
    except KafkaError as error:
        yield request.problem(f"records that cannot be read: {error.message}", position=position)


# --- walking a log that may be damaged


class Gap:
    """Bytes `start` to `end` (not included) of a log file that are no batches, and why the first of them are none."""

    __slots__ = ("end", "reason", "start")

    def __init__(self, start: int, end: int, reason: str) -> None:
        self.start = start
        self.end = end
        self.reason = reason


def stored_batches(
    fs: FileSystem, fd: int, size: int, *, min_offset: int, verify: bool = False
) -> Iterator[StoredBatch | Gap]:
    """Every batch of a log file, and the damaged stretches between them. `verify`: with CRCs. Raises OSError."""
    position = 0
    while position < size:
        try:
            for batch in scan(fs, fd, position, size, verify=verify, min_offset=min_offset):
                yield batch
                position = batch.position + batch.size
                min_offset = batch.last_offset + 1
        except DamagedBatchError as damage:
            resume = find_batch_after(fs, fd, position + 1, size, min_offset)
            end = size if resume is None else resume
            zeros = is_zeroed(fs, fd, position, end)
            yield Gap(position, end, ZEROS if zeros else damage.reason)
            position = end


def marker(fs: FileSystem, fd: int, batch: StoredBatch) -> ControlRecordType:
    """What kind of control batch it is; UNKNOWN if it cannot be read. Raises OSError."""
    try:
        return RecordBatch(fs.pread(fd, batch.size, batch.position)).control_record()[0]
    except KafkaError:
        return ControlRecordType.UNKNOWN


# --- indexes: what is in them, and whether the log agrees


class OffsetIndexProbe:
    """Compares the entries of an offset index with the batches of its log, in one walk over both."""

    def __init__(self, entries: Iterator[tuple[int, int]], base_offset: int) -> None:
        """`entries`: (relative offset, position) as in the file."""
        self._entries = enumerate(entries)
        self._base = base_offset
        self._next = next(self._entries, None)
        self._last = (-1, 0)

    def see(self, batch: StoredBatch) -> Iterator[tuple[int, str]]:
        """(entry number, what is wrong) of the entries up to this batch, which must come in order."""
        while self._next is not None:
            number, (relative, position) = self._next
            if position > batch.position and (relative, position) > self._last:
                return
            if position < batch.position or (relative, position) <= self._last:
                yield number, f"points at byte {position}, where no batch begins"
            elif self._base + relative != batch.last_offset:
                yield (
                    number,
                    f"says offset {self._base + relative}, the batch at byte {position} ends at {batch.last_offset}",
                )
            self._last = max(self._last, (relative, position))
            self._next = next(self._entries, None)

    def skip(self, end: int) -> None:
        """Leave out the entries of bytes below `end`, where the log is damaged."""
        while self._next is not None and self._next[1][1] < end:
            self._next = next(self._entries, None)

    def finish(self) -> Iterator[tuple[int, str]]:
        """What is wrong with the entries that are left when the log has ended."""
        while self._next is not None:
            number, (_, position) = self._next
            yield number, f"points at byte {position}, behind the last batch"
            self._next = next(self._entries, None)


class TimeIndexProbe:
    """Compares the entries of a time index with the batches of its log: is each the largest timestamp so far?"""

    def __init__(self, entries: Iterator[tuple[int, int]], base_offset: int) -> None:
        """`entries`: (timestamp ms, relative offset) as in the file."""
        self._entries = enumerate(entries)
        self._base = base_offset
        self._next = next(self._entries, None)
        self._last_ms = -1
        self.max_ms = -1

    def see(self, batch: StoredBatch) -> Iterator[tuple[int, str]]:
        """As `OffsetIndexProbe.see`."""
        before_ms = self.max_ms
        if batch.max_timestamp_ms > before_ms:
            self.max_ms = batch.max_timestamp_ms
        while self._next is not None and self._base + self._next[1][1] <= batch.last_offset:
            number, (timestamp_ms, relative) = self._next
            offset = self._base + relative
            if timestamp_ms <= self._last_ms:
                yield number, f"timestamp {timestamp_ms} does not follow {self._last_ms}"
            elif offset < batch.base_offset:
                yield number, f"says offset {offset}, which is in no batch"
            elif timestamp_ms != batch.max_timestamp_ms:
                yield number, f"says {timestamp_ms}, the batch of offset {offset} has {batch.max_timestamp_ms}"
            elif timestamp_ms <= before_ms:
                yield number, f"says {timestamp_ms}, a batch before offset {offset} has {before_ms}"
            self._last_ms = max(self._last_ms, timestamp_ms)
            self._next = next(self._entries, None)

    def skip(self, end_offset: int) -> None:
        """Leave out the entries of offsets below `end_offset`, where the log is damaged."""
        while self._next is not None and self._base + self._next[1][1] < end_offset:
            self._next = next(self._entries, None)

    def finish(self, *, complete: bool) -> Iterator[tuple[int, str]]:
        """What is wrong at the end of the log. `complete`: its file was closed, so the largest timestamp is in it."""
        while self._next is not None:
            number, (_, relative) = self._next
            yield number, f"says offset {self._base + relative}, behind the last batch"
            self._next = next(self._entries, None)
        if complete and self.max_ms > self._last_ms:
            yield -1, f"ends at timestamp {self._last_ms}, the largest in the log is {self.max_ms}"


def _describe_offset_index(request: _Request) -> Iterator[Fact]:
    """`entry` facts: the last offset of a batch, and the position where the batch begins."""
    yield request.head("offset index", base_offset=request.base_offset)
    yield from request.odd_size(OFFSET_ENTRY.size)
    count = 0
    for count, (relative, position) in enumerate(  # noqa: B007  # counted for the total
        used_entries(request.entries(OFFSET_ENTRY)), 1
    ):
        yield {"kind": "entry", "offset": request.base_offset + relative, "position": position}
    if request.verify:
        yield from _verify_index(
            request, OffsetIndexProbe(used_entries(request.entries(OFFSET_ENTRY)), request.base_offset)
        )
    yield request.total(entries=count)


def _describe_time_index(request: _Request) -> Iterator[Fact]:
    """`entry` facts: the largest timestamp so far, and the last offset of the batch that has it."""
    yield request.head("time index", base_offset=request.base_offset)
    yield from request.odd_size(TIME_ENTRY.size)
    count = 0
    for count, (timestamp_ms, relative) in enumerate(  # noqa: B007  # as above
        used_entries(request.entries(TIME_ENTRY)), 1
    ):
        yield {"kind": "entry", "timestamp_ms": timestamp_ms, "offset": request.base_offset + relative}
    if request.verify:
        yield from _verify_index(
            request, TimeIndexProbe(used_entries(request.entries(TIME_ENTRY)), request.base_offset)
        )
    yield request.total(entries=count)


def used_entries(entries: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Without the zeros behind the last entry of a preallocated file; zeros before an entry are given, as one entry."""
    zeros = False
    for entry in entries:
        if entry == (0, 0):
            zeros = True
            continue
        if zeros:
            zeros = False
            yield 0, 0
        yield entry


def _verify_index(request: _Request, probe: OffsetIndexProbe | TimeIndexProbe) -> Iterator[Fact]:
    """Compare an index with the log beside it."""
    log_path = os.path.splitext(request.path)[0] + ".log"
    try:
        fd = open_to_read(log_path)
    except FileNotFoundError:
        yield request.problem(f"there is no {os.path.basename(log_path)} beside it to compare with")
        return
    try:
        size = os.fstat(fd).st_size
        for found in stored_batches(request.fs, fd, size, min_offset=request.base_offset):
            if isinstance(found, StoredBatch):
                for number, text in probe.see(found):
                    yield request.problem(text, entry=number)
            elif isinstance(probe, OffsetIndexProbe):
                probe.skip(found.end)
        left = probe.finish() if isinstance(probe, OffsetIndexProbe) else probe.finish(complete=False)
        for number, text in left:
            yield request.problem(text, entry=number)
    finally:
        os.close(fd)


def _describe_txn_index(request: _Request) -> Iterator[Fact]:
    """`entry` facts: aborted transactions."""
    yield request.head("transaction index", base_offset=request.base_offset)
    yield from request.odd_size(txn_index.ENTRY_BYTES)
    count, last = 0, request.base_offset - 1
    for count, (version, producer_id, first_offset, last_offset, stable) in enumerate(
        request.entries(txn_index.ENTRY), 1
    ):
        yield {
            "kind": "entry",
            "version": version,
            "producer_id": producer_id,
            "first_offset": first_offset,
            "last_offset": last_offset,
            "last_stable_offset": stable,
        }
        if version != 0:
            yield request.problem(f"unknown version {version}", entry=count - 1)
        elif request.verify and (last_offset <= last or not 0 <= first_offset <= last_offset):
            yield request.problem(f"offsets {first_offset} to {last_offset} do not follow {last}", entry=count - 1)
        last = last_offset
    yield request.total(entries=count)


def _describe_snapshot(request: _Request) -> Iterator[Fact]:
    """`entry` facts: what was known of each producer before the offset in the file's name."""
    head = request.fs.pread(request.fd, SNAPSHOT_HEADER.size, 0)
    if len(head) < SNAPSHOT_HEADER.size:
        yield request.head("producer snapshot", offset=request.base_offset)
        yield request.problem(f"{len(head)} bytes are no snapshot")
        yield request.total(entries=0)
        return
    version, crc, announced = SNAPSHOT_HEADER.unpack(head)
    yield request.head("producer snapshot", offset=request.base_offset, version=version, crc=crc)
    if version != 1:
        yield request.problem(f"unknown version {version}")
        yield request.total(entries=0)
        return
    found = crc32c(head[_CRC_START:], 0)
    count, position = 0, SNAPSHOT_HEADER.size
    step = _CHUNK_BYTES // PRODUCER_ENTRY.size * PRODUCER_ENTRY.size
    while position < request.size:
        chunk = request.fs.pread(request.fd, step, position)
        request.advance(len(chunk))
        found = crc32c(chunk, found)
        for fields in PRODUCER_ENTRY.iter_unpack(chunk[: len(chunk) // PRODUCER_ENTRY.size * PRODUCER_ENTRY.size]):
            count += 1
            yield {"kind": "entry", **dict(zip(_PRODUCER_FIELDS, fields, strict=True))}
        position += len(chunk)
    if request.verify and found != crc:
        yield request.problem(f"wrong CRC {crc}, its bytes give {found}")
    if request.size != SNAPSHOT_HEADER.size + announced * PRODUCER_ENTRY.size:
        yield request.problem(f"{announced} producers are announced, {request.size} bytes are there")
    yield request.total(entries=count)


_PRODUCER_FIELDS: Final = (
    "producer_id",
    "producer_epoch",
    "last_sequence",
    "last_offset",
    "offset_delta",
    "last_timestamp_ms",
    "coordinator_epoch",
    "transaction_first_offset",
)


# --- small text files


def _describe_epochs(request: _Request) -> Iterator[Fact]:
    yield request.head("leader epochs")
    data = request.text()
    count = 0
    try:
        LeaderEpochs.decode(data)
        for epoch, start in parse_entries(data, 2):
            count += 1
            yield {"kind": "entry", "leader_epoch": int(epoch), "start_offset": int(start)}
    except (ValueError, IndexError) as error:
        yield request.problem(str(error))
    yield request.total(entries=count)


def _describe_checkpoint(request: _Request) -> Iterator[Fact]:
    yield request.head("offset checkpoint")
    count = 0
    try:
        data = request.text()
        for topic, partition, offset in parse_entries(data, 3) if data else ():  # Kafka makes them empty
            yield {"kind": "entry", "topic": topic, "partition": int(partition), "offset": int(offset)}
            count += 1
    except (ValueError, IndexError) as error:
        yield request.problem(str(error))
    yield request.total(entries=count)


def _describe_properties(request: _Request) -> Iterator[Fact]:
    yield request.head("properties")
    count = 0
    try:
        for key, value in parse_properties(request.text()).items():
            count += 1
            yield {"kind": "property", "name": key, "value": value}
    except ValueError as error:
        yield request.problem(str(error))
    yield request.total(properties=count)


def _describe_partition_metadata(request: _Request) -> Iterator[Fact]:
    yield request.head("partition metadata")
    count = 0
    for line in request.text().decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            yield request.problem(f"no ':' in line {line[:40]!r}")
            continue
        count += 1
        yield {"kind": "property", "name": key.strip(), "value": value.strip()}
    yield request.total(properties=count)


def _describe_clean_mark(request: _Request) -> Iterator[Fact]:
    import json

    yield request.head("clean shutdown mark")
    content: Any = None
    try:
        content = json.loads(request.text())
    except ValueError as error:
        yield request.problem(str(error))
    if isinstance(content, dict):
        for key, value in content.items():
            yield {"kind": "property", "name": key, "value": value}
    yield request.total(properties=len(content) if isinstance(content, dict) else 0)


# By the end of the name.
_READERS: Final[dict[str, Callable[[_Request], Iterator[Fact]]]] = {
    ".log": _describe_log,
    ".index": _describe_offset_index,
    ".timeindex": _describe_time_index,
    ".txnindex": _describe_txn_index,
    ".snapshot": _describe_snapshot,
    ".checkpoint": _describe_log,
    "leader-epoch-checkpoint": _describe_epochs,
    "-offset-checkpoint": _describe_checkpoint,
    "partition.metadata": _describe_partition_metadata,
    "meta.properties": _describe_properties,
    ".kafka_cleanshutdown": _describe_clean_mark,
}
