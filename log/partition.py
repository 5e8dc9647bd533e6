"""One partition's log: append, read, lookups, trim, roll, flush (implements `door.PartitionLog`).

Order of an append: validate -> producer state -> stamp in place -> one write -> indexes and offsets. State moves only
after the write, so a failed one leaves all as it was. How a folder becomes a log again is in `recovery`; the data
folder in `store`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence

from ottla.log.config import MAX_LONG, LogConfig
from ottla.log.door import Appended, Done, Outcome, Pending, ProducerView, ReadResult, TimestampOffset
from ottla.log.environment import Environment
from ottla.log.files import StoredSlice, storage_error
from ottla.log.flushing import FlushJob, Waiters
from ottla.log.folder import EPOCHS_FILE, SEGMENT_SUFFIXES, claim_folder, save_topic_id
from ottla.log.leader_epoch import LeaderEpochs
from ottla.log.producer_state import EndedTransaction, ProducerState, SentBatch
from ottla.log.scan import DamagedBatchError
from ottla.log.segment import (
    Segment,
    aborted_between,
    bytes_between,
    bytes_from,
    file_stem,
    offset_after,
    segment_index,
)
from ottla.log.txn_index import AbortedTransaction
from ottla.log.validate import ValidBatch, validate
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import (
    CONTROL_BIT,
    TRANSACTIONAL_BIT,
    RecordBatch,
    build_control_batch,
    stamp,
    stamp_append_time,
)
from ottla.wire.schema import Buffer

SMALL_READ_BYTES = 8192
_NOTHING = b""


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
        "_with_aborted",
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
        self._ended: list[EndedTransaction] = []  # beyond the high watermark; older ones may linger
        self._waiters: Waiters[Appended] = Waiters()
        self._with_aborted: list[Segment] | None = None  # those that name aborted transactions; None: to be looked up
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
        data, size, attributes, delta, max_timestamp_ms, producer_id, producer_epoch, sequence = batch
        last_offset = base_offset + delta
        if producer_id >= 0:
            if from_client:
                duplicate = self.producers.check(
                    producer_id,
                    producer_epoch,
                    sequence,
                    sequence + delta & 0x7FFFFFFF,
                    transactional=attributes & TRANSACTIONAL_BIT != 0,
                    from_zero=transaction_version >= 2,
                )
                if duplicate is not None:
                    return self._stored_before(duplicate)
            else:
                self.producers.check_epoch(producer_id, producer_epoch)
        try:
            active = self.active
            if active is None:
                active = self.materialize()
            if active.size and active.should_roll(
                config, self._jitter_ms, size, max_timestamp_ms, last_offset, env.clock.wall_ms
            ):
                active = self._roll()
            stamp(data, base_offset, leader_epoch)
            position = active.append(data, size)
            if expected_offset is not None:
                self._flush_written(active, position, last_offset + 1)
        except OSError as error:
            raise env.health.write_failed(f"append to {self.folder}", error) from error
        # nothing below can fail
        active.index_batch(position, size, base_offset, last_offset, max_timestamp_ms)
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
            max_timestamp_ms if config.message_timestamp_type != "CreateTime" else -1,
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

    def _when_durable(self, end: int, appended: Appended) -> Pending[Appended]:
        """Settled with `appended` once all below `end` is flushed, or the flush failed."""
        pending = self._waiters.add(end, appended)
        self._env.flushes.ask(self)
        return pending

    # --- producers and their transactions

    def _note_producer(self, batch: ValidBatch, last_offset: int) -> None:
        if batch.attributes & CONTROL_BIT:
            self._note_marker(batch.data, last_offset)
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

    def _note_marker(self, marker: Buffer, offset: int) -> None:
        try:
            ended = self.producers.apply_marker(RecordBatch(marker))
        except KafkaError as error:
            self._env.warn(f"{self.folder}: the control batch at offset {offset} is not readable ({error})")
            return
        if ended is None:
            return
        self._ended = [each for each in self._ended if each.marker_offset >= self.high_watermark]
        self._ended.append(ended)
        if ended.aborted is not None and self.active is not None:
            self.active.note_aborted(ended.aborted)
            self._with_aborted = None

    def _stable_offset(self) -> int:
        """The high watermark, or the first offset of the earliest transaction that had not ended below it.

        What was trimmed holds nobody up.
        """
        end = self.high_watermark
        stable = min(end, next(iter(self.producers.open_transactions.values()), end))
        for ended in self._ended:
            if ended.marker_offset >= end and ended.first_offset < stable:
                stable = ended.first_offset
        return max(stable, self.log_start_offset)

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """See `door.PartitionLog.aborted_transactions`."""
        segments = self._with_aborted
        if segments is None:
            segments = self._with_aborted = [segment for segment in self.segments if segment.aborted is not None]
        return aborted_between(segments, from_offset, upper_offset) if segments else []

    def open_transaction_epoch(self, producer_id: int) -> int:
        """See `door.PartitionLog.open_transaction_epoch`."""
        return self.producers.open_epoch(producer_id)

    def producers_view(self) -> list[ProducerView]:
        """See `door.PartitionLog.producers_view`."""
        return self.producers.view()

    # --- leader epochs

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

    def epoch_at_start(self) -> int:
        """See `door.PartitionLog.epoch_at_start`."""
        return self.epochs.epoch_at(self.log_start_offset)

    def latest_epoch(self) -> int:
        """See `door.PartitionLog.latest_epoch`."""
        return self._latest_epoch

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """See `door.PartitionLog.end_offset_for_epoch`."""
        return self.epochs.end_offset(leader_epoch, self.log_end_offset)

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
                index = segment_index(self.segments, offset)
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
            aborted: Sequence[AbortedTransaction] = ()
            if committed_only:
                upper_offset = offset_after(self.segments, segment, position + nbytes, self.log_end_offset)
                aborted = self.aborted_transactions(offset, upper_offset)
            file = segment.handle.file
            if file is None:
                file = segment.handle.open()
            else:
                file.used = True
            # A copy is cheaper than a slice where it is small: 2 us of a record that is waited for.
            records: StoredSlice | bytes
            fs = self._env.fs
            records = fs.pread(file.fd, nbytes, position) if nbytes <= SMALL_READ_BYTES else _NOTHING
            if len(records) != nbytes:
                records = StoredSlice(fs, file, position, nbytes)
        except (OSError, DamagedBatchError) as error:
            raise self.unreadable(error) from error
        return Done(ReadResult(records, high_watermark, stable, log_start, aborted))

    @property
    def appends_at_once(self) -> bool:
        """See `door.PartitionLog.appends_at_once`."""
        return self.config.flush_messages == MAX_LONG and self.high_watermark == self.log_end_offset

    def available_bytes(self, offset: int, *, committed_only: bool = False, enough: int = MAX_LONG) -> int:
        """See `door.PartitionLog.available_bytes`."""
        active = self.active
        if active is None or offset >= self.high_watermark:
            return 0
        try:
            if committed_only and self.last_stable_offset < self.high_watermark:
                return bytes_between(self.segments, offset, self.last_stable_offset, enough)
            last = active.last_batch
            if last is not None and offset >= last.base_offset:
                return last.size
            if offset >= active.base_offset:
                return active.size - active.offset_index.position_before(offset)
            return bytes_from(self.segments, offset, enough)
        except (OSError, DamagedBatchError):  # the read itself will say so
            return self.size_bytes()

    def unreadable(self, error: OSError | DamagedBatchError) -> KafkaError:
        """What to raise when a read of its files raised `error`."""
        if isinstance(error, DamagedBatchError):
            error = OSError(errno.EIO, f"{error.reason} at byte {error.position}")
        return self._env.health.read_failed(f"read {self.folder}", error)

    # --- offsets by time

    def offset_for_timestamp(self, timestamp_ms: int) -> Outcome[TimestampOffset]:
        """See `door.PartitionLog.offset_for_timestamp`. Records below the log start do not count."""
        from ottla.log import time_lookup

        budget_bytes = self.config.max_decompressed_message_bytes
        try:
            found = time_lookup.first_at(
                self.segments, timestamp_ms, self.log_start_offset, self.high_watermark, budget_bytes
            )
        except (OSError, DamagedBatchError) as error:
            raise self.unreadable(error) from error
        return Done(found or TimestampOffset(-1, -1, -1))

    def offset_of_max_timestamp(self) -> Outcome[TimestampOffset]:
        """See `door.PartitionLog.offset_of_max_timestamp`. Records below the log start do not count."""
        from ottla.log import time_lookup

        budget_bytes = self.config.max_decompressed_message_bytes
        try:
            found = time_lookup.first_of_largest(
                self.segments, self.log_start_offset, self.high_watermark, budget_bytes
            )
        except (OSError, DamagedBatchError) as error:
            raise self.unreadable(error) from error
        return Done(found or TimestampOffset(-1, -1, -1))

    # --- log start

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

    # --- folder and segments

    def materialize(self) -> Segment:
        """Make the folder and the first segment of a log that has none. Raises OSError; KafkaError if it was
        deleted."""
        if self.deleted:
            raise self._was_deleted()
        if self.active is not None:
            return self.active
        self._env.before_folder(self.topic, self.partition)
        claim_folder(self._env.fs, self.folder, self._topic_id)
        self.on_disk = True
        save_topic_id(self._env.fs, self.folder, self._topic_id)
        return self._add_segment(self.log_end_offset)

    def take_topic_id(self, topic_id: bytes) -> None:
        """Give an id to a log whose folder had none. Raises OSError."""
        self._topic_id = topic_id
        if self.on_disk:
            save_topic_id(self._env.fs, self.folder, topic_id)

    def _add_segment(self, base_offset: int, *, later: bool = False) -> Segment:
        env = self._env
        segment = Segment.create(env.pool, self.folder, base_offset, env.clock.wall_ms(), self.config, later=later)
        self.segments.append(segment)
        self.active = segment
        self.names_made += 1
        self._jitter_ms = env.ids.below(self.config.segment_jitter_ms) if self.config.segment_jitter_ms else 0
        self.dirty = self.dirty or not later
        return segment

    def _roll(self, *, later: bool = False) -> Segment:
        """Close the active segment and open the next at the log end. Raises OSError, with the log as it was."""
        active = self.active
        assert active is not None
        active.save_indexes(final=True)
        active.shed()
        self._save_snapshot(sync=False)
        return self._add_segment(self.log_end_offset, later=later)

    def seal(self) -> None:
        """From now on no byte of the segments that hold records changes in its file: what comes next goes to a new one,
        whose file is made then. Costs nothing where that is so. Raises OSError, with the log as it was.
        """
        if self.active is not None and self.active.size:
            self._roll(later=True)

    def go_on_apart(self) -> None:
        """As `seal`, of a log just loaded: the file of its last segment is another folder's, too. Raises OSError."""
        if self.dirty:
            self.seal()
        else:  # indexes and snapshot are in the files
            self._add_segment(self.log_end_offset, later=True)

    @property
    def must_rewrite(self) -> bool:
        """A flush failed: the next one writes again what lies behind the recovery point, in place."""
        return self._must_rewrite

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

    def drop_segments(self, count: int) -> None:
        """Remove the `count` oldest segments: renamed to `.deleted` now, unlinked later. The log start follows.

        All may go only if the log rolled before. Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        dropped, kept = self.segments[:count], self.segments[count:]
        if not dropped or not kept:
            return
        fs = self._env.fs
        start = kept[0].base_offset
        if not kept[0].has_file:  # nothing else would say where the log ends
            try:
                kept[0].handle.open()
            except OSError as error:
                raise self._env.health.write_failed(f"delete segments of {self.folder}", error) from error
        self.segments = kept
        self._with_aborted = None
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

    @property
    def active_base_offset(self) -> int:
        """Where the active segment begins; the log end if there is none."""
        return self.active.base_offset if self.active is not None else self.log_end_offset

    def replace_segments(self, old: list[Segment], size: int) -> None:
        """One segment of `size` bytes is in the files of the first of `old`, neighbours all, and stands for them."""
        first = self.segments.index(old[0])
        new = Segment(
            self._env.pool, self.folder, old[0].base_offset, size, old[-1].created_ms, self.config.index_interval_bytes
        )
        with contextlib.suppress(FileNotFoundError, ValueError):
            new.load_aborted()
        self.segments[first : first + len(old)] = [new]
        self._with_aborted = None
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
        segments = self.segments[segment_index(self.segments, self.recovery_point) :]
        rewrite_from = self.recovery_point if self._must_rewrite else None
        return FlushJob(self, self._env.fs, segments, end, rewrite_from)

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
        if job is not None:
            job.run_and_finish()

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
        self._waiters.resolve(offset)

    def flush_failed(self, error: OSError, offset: int) -> None:
        """Records below `offset` could not be made durable. They stay, unread, until a flush works: a retry of an
        idempotent producer waits for that one."""
        self._must_rewrite = True
        if self.deleted:
            return
        self._waiters.fail(offset, self._env.health.write_failed(f"flush {self.folder}", error))

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
        self._with_aborted = None
        self.active = None
        end = self.log_end_offset
        self.log_start_offset = self.log_end_offset = self.high_watermark = self.last_stable_offset = 0
        self._waiters.fail(end, self._was_deleted())

    def _was_deleted(self) -> KafkaError:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self.topic}-{self.partition} was deleted")

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
        self._with_aborted = None
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
