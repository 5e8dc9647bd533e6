"""One partition's log: append, read, lookups, trim, roll, flush (implements `door.PartitionLog`).

Order of an append: validate -> producer state -> stamp in place -> one write -> indexes and offsets. State moves only
after the write, so a failed one leaves all as it was. How a folder becomes a log again is in `recovery`; the data
folder in `store`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ottla.log.clock import Clock
from ottla.log.config import MAX_LONG, LogConfig
from ottla.log.door import Appended, Done, Outcome, Pending, ProducerView, ReadResult, TimestampOffset
from ottla.log.files import FilePool, StoredSlice, storage_error
from ottla.log.filesystem import FileSystem
from ottla.log.flushing import Extent, FlushJob, FlushQueue
from ottla.log.health import Health
from ottla.log.ids import Ids, uuid_text
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.producer_state import ProducerState, SentBatch
from ottla.log.retention import SegmentFacts
from ottla.log.scan import DamagedBatchError, StoredBatch
from ottla.log.segment import Segment, file_stem
from ottla.log.txn_index import AbortedTransaction
from ottla.log.validate import ValidBatch, validate
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import (
    CONTROL_BIT,
    HEADER_SIZE,
    TRANSACTIONAL_BIT,
    ControlRecordType,
    RecordBatch,
    build_control_batch,
    stamp,
    stamp_append_time,
)
from ottla.wire.schema import Buffer

if TYPE_CHECKING:  # imported when there is something to compact
    from ottla.log import cleaner
    from ottla.log.compaction import CleanJob

EPOCHS_FILE: Final = "leader-epoch-checkpoint"
METADATA_FILE: Final = "partition.metadata"
SEGMENT_SUFFIXES: Final = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
_NOTHING = b""


class Environment:
    """What all partitions of a store share."""

    __slots__ = (
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
    ) -> None:
        self.fs = fs
        self.pool = pool
        self.clock = clock
        self.ids = ids
        self.warn = warn
        self.delete_later = delete_later  # (paths, delay ms): unlink them once the delay is over
        self.log_start_moved = log_start_moved  # persist the log start offsets
        self.progress: Callable[[int], None] = _unseen  # so many bytes of log files were looked at (recovery)
        self.flushes = FlushQueue()
        self.health = Health(clock, warn)


class Partition:
    """The log of one partition; single replica, so the high watermark is the log end offset, but while a flush that
    flush.messages asks for is under way: records are read once they are durable, as with Kafka.
    """

    __slots__ = (
        "_ended",
        "_env",
        "_jitter_ms",
        "_latest_epoch",
        "_must_rewrite",
        "_topic_id",
        "_waiters",
        "active",
        "clean_again_ms",
        "cleaned_offset",
        "cleaning",
        "config",
        "deleted",
        "dirty",
        "epochs",
        "folder",
        "high_watermark",
        "last_flush_mono_ms",
        "last_stable_offset",
        "log_end_offset",
        "log_start_offset",
        "names_durable",
        "names_made",
        "on_disk",
        "partition",
        "producers",
        "recovery_point",
        "segments",
        "topic",
        "uncleanable",
    )

    def __init__(
        self, env: Environment, folder: str, topic: str, partition: int, topic_id: bytes, config: LogConfig
    ) -> None:
        """An empty log without files; the first append, or `materialize`, makes them. `folder` need not exist."""
        self._env = env
        self.folder = folder
        self.topic = topic
        self.partition = partition
        self._topic_id = topic_id
        self.config = config
        self.segments: list[Segment] = []
        self.active: Segment | None = None
        self.epochs = LeaderEpochs()
        self._latest_epoch = -1
        self.producers = ProducerState()
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.high_watermark = 0
        self.last_stable_offset = 0
        self.recovery_point = 0
        # (first offset, marker offset) of transactions that ended beyond the high watermark; older ones may linger
        self._ended: list[tuple[int, int]] = []
        self._waiters: list[tuple[int, Appended, Pending[Appended]]] = []  # until all below the offset is durable
        self._must_rewrite = False  # a flush failed: what follows the recovery point may be in memory only
        self.last_flush_mono_ms = env.clock.mono_ms()
        self._jitter_ms = 0
        self.cleaned_offset = 0  # all below is compacted: the cleaner checkpoint's
        self.cleaning = False  # a CleanJob is under way: sealed segments stay as they are
        self.clean_again_ms = 0  # monotonic: not before, since it failed
        self.uncleanable: str | None = None  # why it cannot be compacted
        self.dirty = False  # something is in memory that `close` must write
        self.deleted = False
        self.on_disk = False  # it has a folder
        self.names_made = 0  # its folder, its segments
        self.names_durable = 0  # so many of them; the others are synced with the next flush

    @property
    def topic_id(self) -> bytes:
        """As in partition.metadata."""
        return self._topic_id

    def configure(self, config: LogConfig) -> None:
        """Obey other configs from the next append on."""
        self.config = config
        if self.active is not None:
            self.active.index_interval_bytes = config.index_interval_bytes

    def size_bytes(self) -> int:
        """Bytes of all log files."""
        return sum(segment.size for segment in self.segments)

    # --- append

    def append(
        self,
        records: Buffer,
        *,
        leader_epoch: int,
        from_client: bool = True,
        expected_offset: int | None = None,
        transaction_version: int = 0,
    ) -> Outcome[Appended]:
        """See `door.PartitionLog.append`."""
        base_offset = self.log_end_offset
        if expected_offset is not None and expected_offset != base_offset:
            raise KafkaError(
                ErrorCode.INVALID_UPDATE_VERSION, f"the log ends at {base_offset}, {expected_offset} was expected"
            )
        env = self._env
        config = self.config
        batch = validate(records, config, env.clock.wall_ms(), from_client)
        attributes = batch.attributes
        delta = batch.last_offset_delta
        last_offset = base_offset + delta
        producer_id = batch.producer_id
        if producer_id >= 0:
            if from_client:
                sequence = batch.base_sequence
                duplicate = self.producers.check(
                    producer_id,
                    batch.producer_epoch,
                    sequence,
                    sequence + delta & 0x7FFFFFFF,
                    transactional=attributes & TRANSACTIONAL_BIT != 0,
                    from_zero=transaction_version >= 2,
                )
                if duplicate is not None:
                    return self._stored_before(duplicate)
            else:
                self.producers.check_epoch(producer_id, batch.producer_epoch)
        size = batch.size
        data = batch.data
        try:
            active = self.active
            if active is None:
                active = self.materialize()
            if active.size and active.should_roll(
                config, self._jitter_ms, size, batch.max_timestamp_ms, last_offset, env.clock.wall_ms
            ):
                active = self._roll()
            stamp(data, base_offset, leader_epoch)
            position = active.append(data, size)
            if expected_offset is not None:
                self._flush_written(active, position, last_offset + 1)
        except OSError as error:
            raise env.health.write_failed(f"append to {self.folder}", error) from error
        # nothing below can fail
        active.index_batch(position, size, base_offset, last_offset, batch.max_timestamp_ms)
        self.dirty = True
        if leader_epoch > self._latest_epoch:
            self._assign_epoch(leader_epoch, base_offset)
        if producer_id >= 0:
            self._note_producer(batch, last_offset)
        end = last_offset + 1
        self.log_end_offset = end
        appended = Appended(
            base_offset,
            last_offset,
            batch.max_timestamp_ms if config.message_timestamp_type != "CreateTime" else -1,
            self.log_start_offset,
        )
        # What follows records that wait for a flush waits too: nobody may read it before them.
        if end - self.recovery_point >= config.flush_messages or self.high_watermark != base_offset:
            return self._when_durable(end, appended)
        self.high_watermark = end
        self.last_stable_offset = self._stable_offset() if self.producers.open_transactions else end
        return Done(appended)

    def append_marker(
        self,
        producer_id: int,
        producer_epoch: int,
        commit: bool,
        coordinator_epoch: int,
        *,
        leader_epoch: int,
        transaction_version: int,
    ) -> Outcome[Appended]:
        """See `door.PartitionLog.append_marker`."""
        self.producers.check_marker(producer_id, producer_epoch, coordinator_epoch, transaction_version)
        now_ms = self._env.clock.wall_ms()
        marker = build_control_batch(producer_id, producer_epoch, commit, coordinator_epoch, timestamp_ms=now_ms)
        if self.config.message_timestamp_type != "CreateTime":
            stamp_append_time(marker, now_ms)
        return self.append(marker, leader_epoch=leader_epoch, from_client=False)

    def _stored_before(self, batch: SentBatch) -> Outcome[Appended]:
        """The answer to a producer that sends a stored batch again."""
        first_offset = batch.last_offset - batch.offset_delta
        stored = Appended(first_offset, batch.last_offset, batch.timestamp_ms, self.log_start_offset, True)
        if batch.last_offset >= self.high_watermark:  # it comes before the first try is durable
            return self._when_durable(batch.last_offset + 1, stored)
        return Done(stored)

    def _stable_offset(self) -> int:
        """The high watermark, or the first offset of the earliest transaction that had not ended below it.

        What was trimmed holds nobody up.
        """
        end = self.high_watermark
        stable = min(end, next(iter(self.producers.open_transactions.values()), end))
        for first_offset, marker_offset in self._ended:
            if marker_offset >= end and first_offset < stable:
                stable = first_offset
        return max(stable, self.log_start_offset)

    def _when_durable(self, end: int, appended: Appended) -> Pending[Appended]:
        """Settled with `appended` once all below `end` is flushed, or the flush failed."""
        pending: Pending[Appended] = Pending()
        self._waiters.append((end, appended, pending))
        self._env.flushes.ask(self)
        return pending

    def _note_producer(self, batch: ValidBatch, last_offset: int) -> None:
        if batch.attributes & CONTROL_BIT:
            first_offset, aborts = self._end_transaction(
                self.producers,
                batch.data,
                batch.producer_id,
                batch.producer_epoch,
                batch.max_timestamp_ms,
                last_offset,
            )
            if first_offset < 0:
                return
            self._ended = [ended for ended in self._ended if ended[1] >= self.high_watermark]
            self._ended.append((first_offset, last_offset))
            if aborts and self.active is not None:
                self.note_aborted(self.active, self.producers, batch.producer_id, first_offset, last_offset)
        elif batch.base_sequence >= 0:
            self.producers.update(
                batch.producer_id,
                batch.producer_epoch,
                batch.base_sequence,
                batch.last_offset_delta,
                last_offset,
                batch.max_timestamp_ms,
                transactional=batch.attributes & TRANSACTIONAL_BIT != 0,
            )

    def _end_transaction(
        self, producers: ProducerState, data: Buffer, producer_id: int, epoch: int, timestamp_ms: int, offset: int
    ) -> tuple[int, bool]:
        """Apply a marker; returns (first offset of the transaction that it ends, -1 if it ends none; if it aborts)."""
        try:
            kind, coordinator_epoch = RecordBatch(data).control_record()
        except KafkaError as error:
            self._env.warn(f"{self.folder}: the control batch at offset {offset} is not readable ({error})")
            return -1, False
        if kind not in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
            return -1, False
        first_offset = producers.end_transaction(producer_id, epoch, coordinator_epoch, timestamp_ms)
        return first_offset, kind == ControlRecordType.ABORT

    @staticmethod
    def note_aborted(
        segment: Segment, producers: ProducerState, producer_id: int, first_offset: int, last_offset: int
    ) -> None:
        """Index a transaction that the marker at `last_offset` of `segment` aborted; `producers` as after the
        marker."""
        stable = next(iter(producers.open_transactions.values()), last_offset + 1)
        segment.note_aborted(AbortedTransaction(producer_id, first_offset, last_offset, stable))

    def note_epoch(self, epoch: int, start_offset: int) -> None:
        """A batch read back from the log is of `epoch`; the checkpoint may have missed it."""
        if epoch > self._latest_epoch:
            self._assign_epoch(epoch, start_offset)

    def _assign_epoch(self, epoch: int, start_offset: int) -> None:
        if self.epochs.assign(epoch, start_offset):
            self._latest_epoch = epoch
            self._save_epochs(sync=False)

    def _save_epochs(self, *, sync: bool) -> None:
        try:
            self._env.fs.replace_file(f"{self.folder}/{EPOCHS_FILE}", self.epochs.encode(), sync=sync)
        except OSError as error:  # recovery rebuilds it from the batches
            self._env.health.write_failed(f"write {self.folder}/{EPOCHS_FILE}", error)

    def materialize(self) -> Segment:
        """Make the folder and the first segment of a log that has none. Raises OSError; KafkaError if it was
        deleted."""
        if self.deleted:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self.topic}-{self.partition} was deleted")
        if self.active is not None:
            return self.active
        try:
            self._env.fs.make_folder(self.folder)
        except FileExistsError:  # by a try that failed; or not for us
            self._check_owner()
        self.on_disk = True
        self._save_metadata()
        return self._add_segment(self.log_end_offset)

    def _check_owner(self) -> None:
        """A folder of another topic (its name differs in case only, or it could not be deleted) must not be written to.

        Raises KafkaError KAFKA_STORAGE_ERROR, OSError.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._env.fs.read_file(f"{self.folder}/{METADATA_FILE}") != self._metadata():
                raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.folder} holds the records of another topic")

    def _metadata(self) -> bytes:
        return f"version: 0\ntopic_id: {uuid_text(self._topic_id)}".encode()

    def _save_metadata(self) -> None:
        self._env.fs.replace_file(f"{self.folder}/{METADATA_FILE}", self._metadata(), sync=False)

    def take_topic_id(self, topic_id: bytes) -> None:
        """Give an id to a log whose folder had none. Raises OSError."""
        self._topic_id = topic_id
        if self.on_disk:
            self._save_metadata()

    def _add_segment(self, base_offset: int) -> Segment:
        env = self._env
        segment = Segment(env.pool, self.folder, base_offset, 0, env.clock.wall_ms(), self.config.index_interval_bytes)
        file = segment.handle.open(create=True)
        try:
            env.fs.truncate(file.fd, 0)  # left over from a crash or a failed roll
            if self.config.preallocate:
                env.fs.truncate(file.fd, self.config.segment_bytes)
                segment.is_preallocated = True
        except OSError:
            segment.close()
            raise
        self.segments.append(segment)
        self.active = segment
        self.names_made += 1
        self._jitter_ms = env.ids.below(self.config.segment_jitter_ms) if self.config.segment_jitter_ms else 0
        self.dirty = True
        return segment

    def _roll(self) -> Segment:
        """Close the active segment and open the next at the log end. Raises OSError, with the log as it was."""
        active = self.active
        assert active is not None
        active.save_indexes(final=True)
        active.shed()
        self._save_snapshot(sync=False)
        return self._add_segment(self.log_end_offset)

    def begin_segment(self) -> None:
        """Open a segment at the log end, which lies behind the last record: offsets of lost records are not used again,
        and from here on the files say so. Raises OSError."""
        self._roll()

    def roll(self) -> None:
        """Open a new segment now unless the active one is empty. Raises KafkaError KAFKA_STORAGE_ERROR."""
        if self.active is not None and self.active.size:
            try:
                self._roll()
            except OSError as error:
                raise self._env.health.write_failed(f"roll {self.folder}", error) from error

    def _save_snapshot(self, *, sync: bool) -> None:
        offset = self.log_end_offset
        self._env.fs.write_file(f"{self.folder}/{file_stem(offset)}.snapshot", self.producers.encode(), sync=sync)

    # --- read

    def read(
        self, offset: int, max_bytes: int, *, min_one_batch: bool, committed_only: bool = False
    ) -> Outcome[ReadResult]:
        """See `door.PartitionLog.read`."""
        log_start, high_watermark, stable = self.log_start_offset, self.high_watermark, self.last_stable_offset
        if offset < log_start or offset > self.log_end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} of {self.topic}-{self.partition} is outside {log_start}..{self.log_end_offset}",
            )
        end = stable if committed_only else high_watermark
        if offset >= end:
            return Done(ReadResult(_NOTHING, high_watermark, stable, log_start))
        try:
            segment = self.active
            if segment is None or offset < segment.base_offset:
                index = self._segment_index(offset)
                segment = self.segments[index]
                found = segment.find(offset)
                while found is None and index + 1 < len(self.segments):  # a gap at the end of the segment
                    index += 1
                    segment = self.segments[index]
                    found = segment.find(offset)
            else:
                found = segment.find(offset)
            if found is None or found.base_offset >= end:
                return Done(ReadResult(_NOTHING, high_watermark, stable, log_start))
            limit = segment.size
            if end < self.log_end_offset:
                after = segment.find(end)
                if after is not None:
                    limit = after.position
            position = found.position
            nbytes = limit - position
            if nbytes > max_bytes:
                nbytes = max_bytes
                if nbytes < found.size:
                    if not min_one_batch:
                        return Done(ReadResult(_NOTHING, high_watermark, stable, log_start))
                    nbytes = found.size
            file = segment.handle.file
            if file is None:
                file = segment.handle.open()
            else:
                file.used = True
            records = StoredSlice(self._env.fs, file, position, nbytes)
            if committed_only:
                upper_offset = self._upper_offset(segment, position + nbytes)
                aborted = self.aborted_transactions(offset, upper_offset)
                return Done(ReadResult(records, high_watermark, stable, log_start, aborted))
        except (OSError, DamagedBatchError) as error:
            raise self._unreadable(error) from error
        return Done(ReadResult(records, high_watermark, stable, log_start))

    def _upper_offset(self, segment: Segment, position: int) -> int:
        """An offset that no record before byte `position` of the segment reaches, as near as the index knows it."""
        offset = segment.offset_index.offset_after(position)
        if offset is not None:
            return offset
        later = bisect_right(self.segments, segment.base_offset, key=_base_offset)
        return self.segments[later].base_offset if later < len(self.segments) else self.log_end_offset

    def _segment_index(self, offset: int) -> int:
        index = bisect_right(self.segments, offset, key=_base_offset) - 1
        return index if index > 0 else 0

    def available_bytes(self, offset: int, *, committed_only: bool = False) -> int:
        """See `door.PartitionLog.available_bytes`."""
        active = self.active
        if active is None or offset >= self.high_watermark:
            return 0
        if committed_only and self.last_stable_offset < self.high_watermark:
            return self._available_below(self.last_stable_offset, offset)
        last = active.last_batch
        if last is not None and offset >= last.base_offset:
            return last.size
        try:
            if offset >= active.base_offset:
                return active.size - active.offset_index.position_before(offset)
            index = self._segment_index(offset)
            segment = self.segments[index]
            later = sum(other.size for other in self.segments[index + 1 :])
            return later + segment.size - segment.offset_index.position_before(offset)
        except (OSError, DamagedBatchError):  # the read itself will say so
            return self.size_bytes()

    def _available_below(self, end: int, offset: int) -> int:
        """`available_bytes` of the records below `end`, which is below the log end."""
        if offset >= end:
            return 0
        index = self._segment_index(offset)
        total = 0
        try:
            for segment in self.segments[index : self._segment_index(end) + 1]:
                after = segment.find(end)
                total += segment.size if after is None else after.position
            return total - self.segments[index].offset_index.position_before(offset)
        except (OSError, DamagedBatchError):  # the read itself will say so
            return self.size_bytes()

    def _unreadable(self, error: OSError | DamagedBatchError) -> KafkaError:
        if isinstance(error, DamagedBatchError):
            error = OSError(errno.EIO, f"{error.reason} at byte {error.position}")
        return self._env.health.read_failed(f"read {self.folder}", error)

    # --- lookups

    def offset_for_timestamp(self, timestamp_ms: int) -> Outcome[TimestampOffset]:
        """See `door.PartitionLog.offset_for_timestamp`. Records below the log start do not count."""
        try:
            return Done(self._first_at(timestamp_ms) or TimestampOffset(-1, -1, -1))
        except (OSError, DamagedBatchError) as error:
            raise self._unreadable(error) from error

    def _first_at(self, timestamp_ms: int) -> TimestampOffset | None:
        """The first record at or after a timestamp that may be read. Raises OSError, DamagedBatchError."""
        for segment in self.segments:
            if segment.largest_timestamp_ms() < timestamp_ms:
                continue
            found = segment.find_timestamp(timestamp_ms, self.log_start_offset)
            while found is not None:
                answer = self._record_at(segment, found, timestamp_ms)
                if answer is not None:
                    return answer if answer.offset < self.high_watermark else None
                found = segment.find_timestamp(timestamp_ms, found.last_offset + 1)
        return None

    def _record_at(self, segment: Segment, batch: StoredBatch, timestamp_ms: int) -> TimestampOffset | None:
        """The first record of a batch at or after both a timestamp and the log start."""
        start = self.log_start_offset
        if batch.magic < 2:
            return TimestampOffset(batch.base_offset, batch.max_timestamp_ms, batch.leader_epoch)
        view = RecordBatch(segment.read_batch(batch.position, batch.size))
        for record in view.records(self.config.max_decompressed_message_bytes):
            if record.timestamp_ms >= timestamp_ms and record.offset >= start:
                return TimestampOffset(record.offset, record.timestamp_ms, batch.leader_epoch)
        return None

    def offset_of_max_timestamp(self) -> Outcome[TimestampOffset]:
        """See `door.PartitionLog.offset_of_max_timestamp`. Records below the log start do not count."""
        try:
            best = -1
            for segment in self.segments:
                largest = segment.largest_timestamp_ms()
                if largest > best and segment.max_timestamp_offset < self.log_start_offset:  # it was trimmed away
                    position = segment.offset_index.position_before(self.log_start_offset)
                    largest = max(
                        (
                            b.max_timestamp_ms
                            for b in segment.batches(position)
                            if b.last_offset >= self.log_start_offset
                        ),
                        default=-1,
                    )
                best = max(best, largest)
            answer = self._first_at(best) if best >= 0 else None
            if answer is None and best >= 0:  # compaction left that batch without records
                best = max(
                    (
                        b.max_timestamp_ms
                        for segment in self.segments
                        for b in segment.batches(0)
                        if b.size > HEADER_SIZE and b.last_offset >= self.log_start_offset
                    ),
                    default=-1,
                )
                answer = self._first_at(best) if best >= 0 else None
        except (OSError, DamagedBatchError) as error:
            raise self._unreadable(error) from error
        return Done(answer or TimestampOffset(-1, -1, -1))

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """See `door.PartitionLog.aborted_transactions`."""
        found: list[AbortedTransaction] = []
        for segment in self.segments[self._segment_index(from_offset) :]:
            if segment.aborted is not None and segment.aborted.collect(from_offset, upper_offset, found):
                break
        return found

    def open_transaction_epoch(self, producer_id: int) -> int:
        """See `door.PartitionLog.open_transaction_epoch`."""
        producer = self.producers.producers.get(producer_id)
        return producer.epoch if producer is not None and producer.transaction_first_offset >= 0 else -1

    def producers_view(self) -> list[ProducerView]:
        """See `door.PartitionLog.producers_view`."""
        return [
            ProducerView(
                producer_id,
                producer.epoch,
                producer.last_sequence,
                producer.last_timestamp_ms,
                producer.coordinator_epoch,
                producer.transaction_first_offset,
            )
            for producer_id, producer in self.producers.producers.items()
        ]

    def epoch_at_start(self) -> int:
        """See `door.PartitionLog.epoch_at_start`."""
        return self.epochs.epoch_at(self.log_start_offset)

    def latest_epoch(self) -> int:
        """See `door.PartitionLog.latest_epoch`."""
        return self._latest_epoch

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """See `door.PartitionLog.end_offset_for_epoch`."""
        return self.epochs.end_offset(leader_epoch, self.log_end_offset)

    # --- log start, retention

    def trim(self, offset: int) -> int:
        """See `door.PartitionLog.trim`. Segments wholly below it go with the next retention run."""
        if offset == -1:
            offset = self.high_watermark
        if offset < 0 or offset > self.high_watermark:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE, f"cannot trim to {offset}: the high watermark is {self.high_watermark}"
            )
        if offset > self.log_start_offset:
            self._move_start(offset)
        return self.log_start_offset

    def _move_start(self, offset: int) -> None:
        self.log_start_offset = offset
        self.last_stable_offset = max(self.last_stable_offset, offset)
        if self.epochs.truncate_start(offset):
            self._save_epochs(sync=False)
        self._env.log_start_moved()

    def segment_facts(self) -> list[SegmentFacts]:
        """What retention decides by. Raises KafkaError KAFKA_STORAGE_ERROR."""
        facts = []
        try:
            for index, segment in enumerate(self.segments):
                last = index + 1 == len(self.segments)
                end = self.log_end_offset if last else self.segments[index + 1].base_offset
                largest = segment.largest_timestamp_ms()
                facts.append(
                    SegmentFacts(
                        segment.base_offset, end, segment.size, largest if largest >= 0 else segment.created_ms
                    )
                )
        except (OSError, DamagedBatchError) as error:
            raise self._unreadable(error) from error
        return facts

    def drop_segments(self, count: int) -> None:
        """Remove the `count` oldest segments: renamed to `.deleted` now, unlinked later. The log start follows.

        All may go only if the log rolled before. Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        dropped, kept = self.segments[:count], self.segments[count:]
        if not dropped or not kept:
            return
        fs = self._env.fs
        start = kept[0].base_offset
        self.segments = kept
        if start > self.log_start_offset:
            self._move_start(start)
        paths: list[str] = []
        try:
            for segment in dropped:
                segment.close()
                for suffix in SEGMENT_SUFFIXES:
                    path = segment.stem + suffix
                    try:
                        fs.rename(path, path + ".deleted")
                    except FileNotFoundError:
                        continue
                    paths.append(path + ".deleted")
        except OSError as error:
            raise self._env.health.write_failed(f"delete segments of {self.folder}", error) from error
        finally:
            self._env.delete_later(paths, self.config.file_delete_delay_ms)

    # --- compaction

    def cleaning_plan(self, now_ms: int, *, overdue: bool = False) -> cleaner.Plan | None:
        """What compaction would do now (`overdue`: whatever the dirty ratio), None if nothing is due or allowed.

        Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        config = self.config
        if not config.compacts or self.cleaning or self.deleted or self.uncleanable or len(self.segments) < 2:
            return None
        if self.cleaned_offset == self.active_base_offset:
            return None
        from ottla.log import cleaner

        wants_largest, wants_first = config.min_compaction_lag_ms > 0, config.max_compaction_lag_ms < MAX_LONG
        try:
            stretches = [
                cleaner.Stretch(
                    segment.base_offset,
                    segment.size,
                    segment.largest_timestamp_ms() if wants_largest else -1,
                    segment.rolling_timestamp_ms() if wants_first else -1,
                )
                for segment in self.segments
            ]
        except (OSError, DamagedBatchError) as error:
            raise self._unreadable(error) from error
        plan = cleaner.plan(
            stretches,
            config,
            log_start_offset=self.log_start_offset,
            log_end_offset=self.log_end_offset,
            last_stable_offset=self.last_stable_offset,
            cleaned_offset=self.cleaned_offset,
            now_ms=now_ms,
        )
        return plan if plan is not None and (overdue or cleaner.is_due(plan, config)) else None

    @property
    def active_base_offset(self) -> int:
        """Where the active segment begins; the log end if there is none."""
        return self.active.base_offset if self.active is not None else self.log_end_offset

    def begin_cleaning(self, plan: cleaner.Plan, memory_bytes: int) -> CleanJob:
        """A job that does what the plan says with about `memory_bytes` of memory. Retention leaves the log alone until
        its `finish`."""
        from ottla.log.cleaner import LastRecord, Sealed
        from ottla.log.compaction import CleanJob, Task

        config, sealed = self.config, self.segments[:-1]
        producers = [
            (
                producer_id,
                *LastRecord(producer.batches[-1].last_offset if producer.batches else -1, producer.epoch),
            )
            for producer_id, producer in self.producers.producers.items()
        ]
        task = Task(
            folder=self.folder,
            segments=[Sealed(segment.base_offset, segment.size, *segment.index_sizes()) for segment in sealed],
            segments_end=self.active_base_offset,
            first_dirty=plan.first_dirty,
            end=plan.end,
            now_ms=self._env.clock.wall_ms(),
            delete_retention_ms=config.delete_retention_ms,
            segment_bytes=config.segment_bytes,
            segment_index_bytes=config.segment_index_bytes,
            index_interval_bytes=config.index_interval_bytes,
            budget_bytes=config.max_decompressed_message_bytes,
            memory_bytes=memory_bytes,
            aborted=[entry for segment in self.segments if segment.aborted for entry in segment.aborted.entries],
            producers=producers,
        )
        return CleanJob(self, self._env, task)

    def replace_segments(self, old: list[Segment], size: int) -> None:
        """One segment of `size` bytes is in the files of the first of `old`, neighbours all, and stands for them."""
        first = self.segments.index(old[0])
        new = Segment(
            self._env.pool, self.folder, old[0].base_offset, size, old[-1].created_ms, self.config.index_interval_bytes
        )
        with contextlib.suppress(FileNotFoundError, ValueError):
            new.load_aborted()
        self.segments[first : first + len(old)] = [new]
        self.names_made += 1
        for segment in old:
            segment.close()

    # --- durability

    def begin_flush(self, end: int | None = None) -> FlushJob | None:
        """A job that makes everything up to the log end durable; None if it already is. Raises OSError.

        `end` is the log end if a batch is in its file that the log does not count yet.
        """
        if end is None:
            end = self.log_end_offset
        if self.recovery_point >= end or not self.segments:
            return None
        segments = self.segments[self._segment_index(self.recovery_point) :]
        files = [segment.handle.open() for segment in segments]
        rewrites: list[Extent] = []
        if self._must_rewrite:
            found = segments[0].find(self.recovery_point)
            starts = [found.position if found is not None else segments[0].size] + [0] * len(segments)
            rewrites = [
                Extent(file, at, segment.size) for file, at, segment in zip(files, starts, segments, strict=False)
            ]
        folders = [self.folder, os.path.dirname(self.folder)] if self.names_made > self.names_durable else []
        return FlushJob(self, self._env.fs, files, folders, rewrites, end)

    def flush(self) -> None:
        """Make everything up to the log end durable now. Raises KafkaError KAFKA_STORAGE_ERROR."""
        try:
            self._flush_to(self.log_end_offset)
        except OSError as error:
            raise storage_error(f"flush {self.folder}", error) from error

    def _flush_written(self, segment: Segment, position: int, end: int) -> None:
        """Flush up to a batch just written at byte `position`; if that fails, the batch is taken back. Raises
        OSError."""
        try:
            self._flush_to(end)
        except OSError:
            segment.take_back(position)
            raise

    def _flush_to(self, end: int) -> None:
        job = self.begin_flush(end)
        if job is None:
            return
        try:
            job.run()
        except OSError as error:
            job.fail(error)
            raise
        job.finish()

    def flushed_to(self, offset: int) -> None:
        """All below `offset` is durable now: whoever waited for that is told, and may be read."""
        if self.deleted:
            return
        if offset > self.recovery_point:
            self.recovery_point = offset
            self._must_rewrite = False
        self.last_flush_mono_ms = self._env.clock.mono_ms()
        if self.high_watermark == self.log_end_offset:
            return
        self.high_watermark = max(self.high_watermark, min(offset, self.log_end_offset))
        self.last_stable_offset = self._stable_offset()
        for appended, pending in self._take_waiters(offset):
            pending.resolve(appended)

    def flush_failed(self, error: OSError, offset: int) -> None:
        """Records below `offset` could not be made durable. They stay, unread, until a flush works: a retry of an
        idempotent producer waits for that one."""
        self._must_rewrite = True
        if self.deleted:
            return
        failure = self._env.health.write_failed(f"flush {self.folder}", error)
        for _, pending in self._take_waiters(offset):
            pending.fail(failure)

    def _take_waiters(self, offset: int) -> list[tuple[Appended, Pending[Appended]]]:
        """Those whose records lie below `offset`; they wait no more."""
        waiters = self._waiters
        self._waiters = [waiter for waiter in waiters if waiter[0] > offset]
        return [(appended, pending) for end, appended, pending in waiters if end <= offset]

    def close(self) -> None:
        """Flush, write indexes, snapshot and epochs, give descriptors back. Raises KafkaError KAFKA_STORAGE_ERROR."""
        try:
            if self.dirty and self.segments:
                if self.active is not None:
                    self.active.shed()
                self.flush()
                for segment in self.segments:
                    segment.save_indexes(final=True, sync=segment is self.active)
                self._save_snapshot(sync=True)
                if len(self.epochs):
                    self._save_epochs(sync=True)
                self.dirty = False
            for segment in self.segments:
                if segment.has_unsaved_indexes:
                    segment.save_indexes(final=False)
        except OSError as error:
            raise storage_error(f"close {self.folder}", error) from error
        finally:
            self.give_up_files()

    def give_up_files(self) -> None:
        """Close descriptors without writing anything (after deletion; slices keep theirs)."""
        for segment in self.segments:
            segment.close()

    def mark_deleted(self) -> None:
        """The folder is gone: further appends are refused, reads find nothing."""
        self.deleted = True
        self.dirty = False
        self.give_up_files()
        self.segments = []
        self.active = None
        end = self.log_end_offset
        self.log_start_offset = self.log_end_offset = self.high_watermark = self.last_stable_offset = 0
        for _, pending in self._take_waiters(end):
            pending.fail(KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self.topic}-{self.partition} was deleted"))

    # --- recovery: what `recovery.load` fills in

    def adopt(
        self,
        segments: list[Segment],
        epochs: LeaderEpochs,
        log_start_offset: int,
        log_end_offset: int,
        recovery_point: int,
    ) -> None:
        """Take over what a scan of the folder found."""
        self.on_disk = True
        self.segments = segments
        self.active = segments[-1] if segments else None
        self.epochs = epochs
        self._latest_epoch = epochs.latest
        self.log_start_offset = log_start_offset
        self.log_end_offset = self.high_watermark = self.last_stable_offset = log_end_offset
        self.recovery_point = min(recovery_point, log_end_offset)

    def adopt_producers(self, producers: ProducerState) -> None:
        """Take over the producer state as of the log end."""
        self.producers = producers
        self.last_stable_offset = self._stable_offset()

    def replay(self, producers: ProducerState, segment: Segment, batch: StoredBatch) -> int:
        """Apply a stored batch to a producer state that is being rebuilt; returns the first offset of the transaction
        that it aborts, -1 if it aborts none. Raises OSError."""
        if batch.producer_id < 0:
            return -1
        if batch.attributes & CONTROL_BIT:
            if batch.size == HEADER_SIZE:  # compaction took the marker out: nothing of its transaction is left
                return -1
            first_offset, aborts = self._end_transaction(
                producers,
                segment.read_batch(batch.position, batch.size),
                batch.producer_id,
                batch.producer_epoch,
                batch.max_timestamp_ms,
                batch.last_offset,
            )
            return first_offset if aborts else -1
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
        return -1


def _unseen(count: int) -> None:
    """Nobody looks on."""


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


def folder_name(topic: str, partition: int) -> str:
    """`topic-0`."""
    return f"{topic}-{partition}"


def parse_folder_name(name: str) -> tuple[str, int] | None:
    """Topic and partition of a folder's name; None for others (deleted, stray and future ones included)."""
    topic, dash, number = name.rpartition("-")
    if not topic or not dash or not number.isdecimal() or not number.isascii() or os.sep in topic:
        return None
    return topic, int(number)
