"""Which log to compact, how far, and which of its records stay: Kafka's log cleaner as pure rules.

Segments are numbers here and batches are bytes; `compaction` reads, writes and swaps the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

from ottla.log.config import MAX_LONG, LogConfig
from ottla.log.txn_index import AbortedTransaction
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import ControlRecordType, RecordBatch, build_batch, rebuild
from ottla.wire.schema import Buffer
from ottla.wire.skim import entries
from ottla.wire.varint import encode_zigzag

_CELL_BYTES: Final = 24  # 16 of the key's hash, 8 of the offset
_LOAD: Final = 0.75  # linear probing: 3 looks for a key that is there, 9 for one that is not, when the map is full
_HASH: Final = Struct("<QQ")
_MAX_RELATIVE_OFFSET: Final = 2**31 - 1


# --- which log, and how far


class Stretch(NamedTuple):
    """A segment as the plan sees it; the last of a log is the active one. Timestamps are -1 if nothing asks for them or
    there are none."""

    base_offset: int
    size: int
    largest_ms: int
    first_ms: int


class Plan(NamedTuple):
    """Records from `first_dirty` up to, not including, `end` are to be compacted with all that precede them."""

    first_dirty: int
    end: int
    dirty_ratio: float
    overdue: bool  # max.compaction.lag.ms is over for a dirty record: whatever the ratio


def plan(
    segments: Sequence[Stretch],
    config: LogConfig,
    *,
    log_start_offset: int,
    log_end_offset: int,
    last_stable_offset: int,
    cleaned_offset: int,
    now_ms: int,
) -> Plan | None:
    """What compaction of a log would do now, None if nothing in it is dirty. The active segment is never touched.

    `cleaned_offset` is the checkpoint's: outside the log it counts as the log start.
    """
    if len(segments) < 2:
        return None
    first_dirty = cleaned_offset if log_start_offset <= cleaned_offset <= log_end_offset else log_start_offset
    bases = [segment.base_offset for segment in segments]
    ends = bases[1:]
    dirty = [segment for segment, end in zip(segments[:-1], ends, strict=True) if end > first_dirty]
    end = min(last_stable_offset, bases[-1])
    if config.min_compaction_lag_ms:
        too_young = now_ms - config.min_compaction_lag_ms
        end = min([end, *(segment.base_offset for segment in dirty if segment.largest_ms > too_young)])
    dirty = [segment for segment in dirty if segment.base_offset < end]
    dirty_bytes = sum(segment.size for segment in dirty)
    if end <= first_dirty or not dirty_bytes:
        return None
    clean_bytes = sum(segment.size for segment in segments[:-1] if segment.base_offset < first_dirty)
    oldest_ms = min((segment.first_ms for segment in dirty if segment.first_ms > 0), default=MAX_LONG)
    lag_ms = max(config.max_compaction_lag_ms, config.min_compaction_lag_ms)
    return Plan(first_dirty, end, dirty_bytes / (clean_bytes + dirty_bytes), now_ms - oldest_ms > lag_ms)


def is_due(plan: Plan, config: LogConfig) -> bool:
    """Is it dirty enough, or overdue?"""
    return plan.overdue or plan.dirty_ratio > config.min_cleanable_dirty_ratio


class Sealed(NamedTuple):
    """A segment that may be rewritten."""

    base_offset: int
    size: int
    index_bytes: int
    time_index_bytes: int


def group(segments: Sequence[Sealed], end: int, segment_bytes: int, index_bytes: int) -> list[list[Sealed]]:
    """Neighbours that fit into one segment together, by bytes, index bytes and offsets; `end` is one past the last."""
    groups: list[list[Sealed]] = []
    total = index_total = time_index_total = 0
    for at, segment in enumerate(segments):
        next_base = segments[at + 1].base_offset if at + 1 < len(segments) else end
        total += segment.size
        index_total += segment.index_bytes
        time_index_total += segment.time_index_bytes
        if (
            groups
            and total <= segment_bytes
            and max(index_total, time_index_total) <= index_bytes
            and next_base - 1 - groups[-1][0].base_offset <= _MAX_RELATIVE_OFFSET
        ):
            groups[-1].append(segment)
        else:
            groups.append([segment])
            total, index_total, time_index_total = segment.size, segment.index_bytes, segment.time_index_bytes
    return groups


# --- which records


class OffsetMap:
    """The last offset of each key, in a fixed amount of memory: open addressing over cells of 24 bytes.

    Keys are known by 128 bits of hash, as in Kafka; a million of them take 32 MB.
    """

    __slots__ = ("_cells", "_limit", "_slots", "latest", "size")

    def __init__(self, keys: int, memory_bytes: int) -> None:
        """Room for `keys` keys, or for as many as fit into `memory_bytes`."""
        self._slots = max(4, min(int(keys / _LOAD) + 1, memory_bytes // _CELL_BYTES))
        self._cells = memoryview(bytearray(_CELL_BYTES * self._slots)).cast("Q")
        self._limit = int(self._slots * _LOAD)
        self.size = 0
        self.latest = -1  # all keys up to this offset are in the map

    def put(self, key: Buffer, offset: int) -> bool:
        """Note a record; they come in the order of their offsets. False, and nothing noted, if the map is full."""
        first, second = _HASH.unpack(blake2b(key, digest_size=16).digest())
        cells, end = self._cells, 3 * self._slots
        at = first % self._slots * 3
        while cells[at + 2]:  # offset + 1: zero is an empty cell
            if cells[at] == first and cells[at + 1] == second:
                cells[at + 2] = offset + 1
                return True
            at += 3
            if at == end:
                at = 0
        if self.size >= self._limit:
            return False
        cells[at], cells[at + 1], cells[at + 2] = first, second, offset + 1
        self.size += 1
        return True

    def get(self, key: Buffer) -> int:
        """The last offset of `key`, -1 if it is not in the map."""
        first, second = _HASH.unpack(blake2b(key, digest_size=16).digest())
        cells, end = self._cells, 3 * self._slots
        at = first % self._slots * 3
        while held := cells[at + 2]:
            if cells[at] == first and cells[at + 1] == second:
                return int(held) - 1
            at += 3
            if at == end:
                at = 0
        return -1


class Transactions:
    """What is known of transactions on a walk over all batches of a log, in order: which are aborted, and which markers
    no record needs any more."""

    __slots__ = ("_aborted", "_coming", "_committed", "_seen", "kept")

    def __init__(self, aborted: Iterable[AbortedTransaction], from_offset: int) -> None:
        """`aborted` as in the transaction indexes; the walk begins at `from_offset`."""
        ahead = [entry for entry in aborted if entry.last_offset >= from_offset]
        self._coming = sorted(ahead, key=_first_offset, reverse=True)
        self._aborted: dict[int, AbortedTransaction] = {}  # by producer id
        self._seen: set[int] = set()  # producers with a batch in their aborted transaction
        self._committed: set[int] = set()  # producers with a batch in their committed one
        self.kept: list[AbortedTransaction] = []  # those whose records are not all gone: for the new transaction index

    def is_aborted(self, batch: RecordBatch) -> bool:
        """Does this data batch belong to an aborted transaction?"""
        self._advance(batch.last_offset)
        if not batch.is_transactional:
            return False
        entry = self._aborted.get(batch.producer_id)
        if entry is not None and batch.base_offset <= entry.last_offset:
            self._seen.add(batch.producer_id)
            return True
        self._committed.add(batch.producer_id)
        return False

    def is_marker_idle(self, batch: RecordBatch) -> bool:
        """May this control batch go, since no batch of its transaction was met? Raises KafkaError INVALID_RECORD."""
        self._advance(batch.last_offset)
        if batch.records_count == 0:
            return True
        kind, _ = batch.control_record()
        producer_id = batch.producer_id
        if kind == ControlRecordType.ABORT:
            entry = self._aborted.pop(producer_id, None)
            if entry is not None and producer_id in self._seen:
                self._seen.discard(producer_id)
                self.kept.append(entry)
                return False
            return True
        if kind == ControlRecordType.COMMIT:
            met = producer_id in self._committed
            self._committed.discard(producer_id)
            return not met
        return False

    def _advance(self, offset: int) -> None:
        while self._coming and self._coming[-1].first_offset <= offset:
            entry = self._coming.pop()
            self._aborted[entry.producer_id] = entry


def _first_offset(entry: AbortedTransaction) -> int:
    return entry.first_offset


class LastRecord(NamedTuple):
    """Where the log knows an active producer from: its last data batch, or (offset -1) a marker of its epoch."""

    last_offset: int
    epoch: int


def fill(offsets: OffsetMap, batch: RecordBatch, transactions: Transactions, first: int, budget_bytes: int) -> bool:
    """Note the keys of a batch from offset `first` on; False if the map is full: it then ends inside the batch.

    Raises KafkaError for records that cannot be read.
    """
    if batch.is_control:
        transactions.is_marker_idle(batch)
    elif not transactions.is_aborted(batch):
        base, put = batch.base_offset, offsets.put
        for _, _, _, delta, key, _ in entries(bytes(batch.block(budget_bytes)), batch.records_count):
            if key is not None and base + delta >= first:
                if not put(key, base + delta):
                    return False
                offsets.latest = base + delta
    if batch.last_offset >= first:
        offsets.latest = batch.last_offset
    return True


class Rules:
    """Decides over batches, which come in the order of the log."""

    __slots__ = ("_budget_bytes", "_delete_retention_ms", "_now_ms", "_offsets", "_producers", "transactions")

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: Transactions,
        producers: dict[int, LastRecord],
        *,
        now_ms: int,
        delete_retention_ms: int,
        budget_bytes: int,
    ) -> None:
        self._offsets = offsets
        self.transactions = transactions
        self._producers = producers
        self._now_ms = now_ms
        self._delete_retention_ms = delete_retention_ms
        self._budget_bytes = budget_bytes

    def retained(self, batch: RecordBatch) -> Buffer | None:
        """What stays of a batch: its own bytes if all, fewer records, a header without any, or None.

        Raises KafkaError for records that cannot be read.
        """
        idle_marker = batch.is_control and self.transactions.is_marker_idle(batch)
        horizon_ms = batch.delete_horizon_ms
        if batch.is_control:
            dropped = idle_marker and horizon_ms is not None and horizon_ms <= self._now_ms
        else:
            dropped = self.transactions.is_aborted(batch)
        kept: list[tuple[int, int, int, int]] = []  # start, end, timestamp delta, position of the offset delta
        block = b""
        has_tombstone = False
        if not dropped:
            block = bytes(batch.block(self._budget_bytes))
            keeps_tombstones = horizon_ms is None or self._now_ms < horizon_ms
            latest, get, base = self._offsets.latest, self._offsets.get, batch.base_offset
            keeps_all = batch.is_control or base > latest
            start = 0
            for end, timestamp, tail, delta, key, has_value in entries(block, batch.records_count):
                if (
                    keeps_all
                    or base + delta > latest
                    or (key is not None and base + delta >= get(key) and (has_value or keeps_tombstones))
                ):
                    kept.append((start, end, timestamp, tail))
                    if not has_value:
                        has_tombstone = True
                start = end
        if not kept:
            return emptied(batch) if self._must_stay(batch) else None
        sets_horizon = (has_tombstone or idle_marker) and horizon_ms is None
        if len(kept) == batch.records_count and not sets_horizon:
            return batch.memory()
        if sets_horizon:
            base_timestamp = self._now_ms + self._delete_retention_ms
        else:  # as Kafka writes it: the first record's
            base_timestamp = batch.base_timestamp + (0 if horizon_ms is not None else kept[0][2])
        newest = batch.base_timestamp + max(record[2] for record in kept)
        return rebuild(
            batch,
            _spliced(block, kept, batch.base_timestamp - base_timestamp),
            len(kept),
            base_timestamp=base_timestamp,
            max_timestamp=batch.max_timestamp if batch.timestamp_type else newest,
            delete_horizon=sets_horizon or horizon_ms is not None,
        )

    def _must_stay(self, batch: RecordBatch) -> bool:
        """Without records: it holds the last sequence, or epoch, of an active producer, or ends this round."""
        if batch.last_offset == self._offsets.latest:
            return True
        last = self._producers.get(batch.producer_id)
        if last is None or batch.producer_id < 0:
            return False
        if last.last_offset >= 0:
            return batch.last_offset == last.last_offset
        return batch.is_control and batch.producer_epoch == last.epoch


def _spliced(block: bytes, kept: list[tuple[int, int, int, int]], shift_ms: int) -> bytes:
    """The kept records, their timestamp deltas moved by `shift_ms`."""
    if not shift_ms:
        return b"".join([block[start:end] for start, end, _, _ in kept])
    parts: list[bytes] = []
    for _, end, timestamp, tail in kept:
        stamp = encode_zigzag(timestamp + shift_ms)
        parts += (encode_zigzag(1 + len(stamp) + end - tail), b"\0", stamp, block[tail:end])
    return b"".join(parts)


def emptied(batch: RecordBatch) -> bytearray:
    """The batch's header without records: it keeps offsets and producer state."""
    return build_batch(
        [],
        base_offset=batch.base_offset,
        leader_epoch=batch.partition_leader_epoch,
        timestamp_type=batch.timestamp_type,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.is_transactional,
        control=batch.is_control,
        last_offset_delta=batch.last_offset_delta,
        max_timestamp_ms=batch.max_timestamp,
    )


def check(batch: RecordBatch) -> None:
    """Raises KafkaError CORRUPT_MESSAGE or UNSUPPORTED_FOR_MESSAGE_FORMAT for a batch that no rewriting may touch."""
    if batch.magic != 2:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"records of magic {batch.magic} at offset {batch.base_offset}"
        )
    if not batch.is_valid_crc():
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"wrong CRC at offset {batch.base_offset}")
