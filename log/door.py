"""The narrow door to the log: all that the layers above may know of storage, as types and two protocols.

Nothing about files lives here but `FileSlice`, which a response carries to the socket. No operation awaits: each
returns `Done` (the value is there) or `Pending` (it will be; park the request). Errors are raised as `KafkaError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from ottla.log.txn_index import AbortedTransaction
from ottla.wire.schema import Buffer

T = TypeVar("T")


class Done(Generic[T]):
    """An outcome that is there."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


class Pending(Generic[T]):
    """An outcome to come, settled once by `resolve` or `fail`. Callbacks run at once, in order, in the settler's stack.

    The same type serves the log (a group commit), the coordinators (a parked JoinGroup) and the broker (a waiting
    Fetch).
    """

    __slots__ = ("_callbacks", "_error", "_settled", "_value")

    def __init__(self) -> None:
        self._settled = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Pending[T]], None]] = []

    @property
    def settled(self) -> bool:
        return self._settled

    def resolve(self, value: T) -> None:
        """Settle with a value; a second settling is ignored (a timeout may race with the answer)."""
        self._settle(value, None)

    def fail(self, error: Exception) -> None:
        """Settle with an error, which `result` will raise."""
        self._settle(None, error)

    def _settle(self, value: T | None, error: Exception | None) -> None:
        if self._settled:
            return
        self._settled = True
        self._value = value
        self._error = error
        callbacks, self._callbacks = self._callbacks, []
        failure: Exception | None = None
        for callback in callbacks:  # each waits for itself: one that fails must not leave the others waiting
            try:
                callback(self)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def then(self, callback: Callable[[Pending[T]], None]) -> None:
        """Call `callback(self)` when settled; at once if it already is."""
        if self._settled:
            callback(self)
        else:
            self._callbacks.append(callback)

    def result(self) -> T:
        """The value, or raises the error. Only after settling."""
        if not self._settled:
            raise RuntimeError("not settled")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled without error: it is a T


Outcome = Done[T] | Pending[T]


class FileSlice(Protocol):
    """A range of stored bytes that the socket layer reads piece by piece as they leave. Holds its open file until
    released."""

    @property
    def nbytes(self) -> int: ...
    def read_into(self, room: memoryview, start: int) -> int:
        """Fill `room` with the bytes from `start` on, as many as there are; how many those were. Raises KafkaError
        KAFKA_STORAGE_ERROR."""
        ...

    def read(self, start: int = 0, nbytes: int | None = None) -> bytes:
        """`nbytes` bytes (None: all that are left) of the slice from `start` on. Raises KafkaError
        KAFKA_STORAGE_ERROR."""
        ...

    def release(self) -> None:
        """Give the file back; idempotent. Whoever took the slice from `read` must call it once it is sent or
        dropped."""
        ...


class Appended:
    """What an append did. Offsets are those of the log; `duplicate` means an earlier batch already holds these
    records."""

    __slots__ = ("base_offset", "duplicate", "last_offset", "log_append_time_ms", "log_start_offset")

    def __init__(
        self,
        base_offset: int,
        last_offset: int,
        log_append_time_ms: int,
        log_start_offset: int,
        duplicate: bool = False,
    ) -> None:
        self.base_offset = base_offset
        self.last_offset = last_offset
        self.log_append_time_ms = log_append_time_ms  # -1 unless LogAppendTime (a duplicate: the original's timestamp)
        self.log_start_offset = log_start_offset
        self.duplicate = duplicate


class ReadResult:
    """Whole stored batches from the one holding the fetch offset on (the last may be cut), and the offsets around
    them. `aborted`, of a read of committed records only: the aborted transactions whose records a reader will meet
    there and must leave out, in the order of their markers."""

    __slots__ = ("aborted", "high_watermark", "last_stable_offset", "log_start_offset", "records")

    def __init__(
        self,
        records: FileSlice | bytes,
        high_watermark: int,
        last_stable_offset: int,
        log_start_offset: int,
        aborted: Sequence[AbortedTransaction] = (),
    ) -> None:
        self.aborted = aborted
        self.records = records
        self.high_watermark = high_watermark
        self.last_stable_offset = last_stable_offset
        self.log_start_offset = log_start_offset

    @property
    def nbytes(self) -> int:
        records = self.records
        return len(records) if isinstance(records, bytes) else records.nbytes

    def take(self) -> bytes:
        """The batches in memory; a slice is released. Once. Raises KafkaError KAFKA_STORAGE_ERROR."""
        try:
            return self.records if isinstance(self.records, bytes) else self.records.read()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Release the records if they are a slice; idempotent."""
        if not isinstance(self.records, bytes):
            self.records.release()


class ProducerView(NamedTuple):
    """What a log knows of one producer id (DescribeProducers); -1 where there is nothing."""

    producer_id: int
    epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_first_offset: int


class TimestampOffset:
    """Answer of ListOffsets: offset -1 and timestamp -1 when nothing matches; `leader_epoch` -1 when unknown."""

    __slots__ = ("leader_epoch", "offset", "timestamp_ms")

    def __init__(self, offset: int, timestamp_ms: int, leader_epoch: int) -> None:
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.leader_epoch = leader_epoch


class PartitionLog(Protocol):
    """One partition's log."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def log_end_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @property
    def last_stable_offset(self) -> int: ...

    def size_bytes(self) -> int:
        """Bytes of all its log files."""
        ...

    def append(
        self,
        records: Buffer,
        *,
        leader_epoch: int,
        from_client: bool = True,
        expected_offset: int | None = None,
        transaction_version: int = 0,
    ) -> Outcome[Appended]:
        """Validate and store one record batch (v2); a writable buffer is stamped in place, anything else is copied
        first.

        Done by the time it returns as far as order and offset go; Pending only while durability is waited for
        (flush.messages): its records are read, and the high watermark passes them, once it is settled. If it fails with
        KAFKA_STORAGE_ERROR they keep their place and are made durable as soon as the disk allows.
        `from_client` False (coordinators, metadata) skips the checks meant for producers but that of the epoch.
        `expected_offset` makes it a durable compare-and-set: it must equal the log end offset, and the batch is on disk
        when this returns (Done), or taken back when it raises. `transaction_version` is that of a transactional batch
        (0: not known, or not transactional): from 2 on, a producer that the log does not know must begin with sequence
        0 (KIP-890). That the transaction coordinator knows of the transaction is for the caller to verify, before.

        A batch that the log holds already, the last five of the producer, is answered like the first time, as a
        duplicate. Raises KafkaError: CORRUPT_MESSAGE, INVALID_RECORD,
        MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER,
        INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE (the producer's transaction is open, the batch not transactional),
        KAFKA_STORAGE_ERROR, and INVALID_UPDATE_VERSION when `expected_offset` is not the end.
        """
        ...

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
        """Store the control batch that ends the producer's transaction here; what readers of committed records wait
        for. Where none is open it is stored all the same, so that writing it again after a crash does no harm.

        `producer_epoch` is the marker's own, from transaction version 2 on one beyond that of the records (KIP-890).
        Pending as with `append`. Raises KafkaError INVALID_PRODUCER_EPOCH (the log knows a newer epoch or, from version
        2 on, the same one with its transaction open: this is the marker of an earlier one),
        TRANSACTION_COORDINATOR_FENCED (it knows a newer coordinator), KAFKA_STORAGE_ERROR.
        """
        ...

    def read(
        self, offset: int, max_bytes: int, *, min_one_batch: bool, committed_only: bool = False
    ) -> Outcome[ReadResult]:
        """At most `max_bytes` bytes (one whole batch at least if `min_one_batch`) of one segment from `offset` on.

        Ends below the high watermark, or the last stable offset if `committed_only`. Raises KafkaError
        OFFSET_OUT_OF_RANGE outside [log start, log end], KAFKA_STORAGE_ERROR.
        """
        ...

    @property
    def appends_at_once(self) -> bool:
        """Whether `append` gives Done now, whatever the batch: nothing is flushed before it is acknowledged."""
        ...

    def available_bytes(self, offset: int, *, committed_only: bool = False, enough: int = ...) -> int:
        """An upper estimate of the bytes a read at `offset` could return now (the min_bytes test of Fetch), or less if
        it is `enough` bytes already; costs no I/O, but for one small read of `committed_only` where a transaction is
        open."""
        ...

    def offset_for_timestamp(self, timestamp_ms: int) -> Outcome[TimestampOffset]:
        """First record whose timestamp is >= `timestamp_ms`."""
        ...

    def offset_of_max_timestamp(self) -> Outcome[TimestampOffset]:
        """First record that carries the largest timestamp (ListOffsets -3)."""
        ...

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """Aborted transactions with records from `from_offset` up to, not including, `upper_offset`, in the order of
        their markers. A read of committed records has them in its result. Costs no I/O."""
        ...

    def open_transaction_epoch(self, producer_id: int) -> int:
        """The producer's epoch if its transaction is open here, else -1: a batch of that epoch needs no verification
        by the transaction coordinator (KIP-890)."""
        ...

    def producers_view(self) -> list[ProducerView]:
        """All producers that the log remembers (DescribeProducers)."""
        ...

    def epoch_at_start(self) -> int:
        """Leader epoch of the log start offset, -1 if the log has none."""
        ...

    def latest_epoch(self) -> int:
        """Leader epoch of the last batch, -1 if the log has none."""
        ...

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        """(largest epoch <= the one asked, its end offset); (-1, -1) if unknown (OffsetForLeaderEpoch)."""
        ...

    def trim(self, offset: int) -> int:
        """Move the log start offset up to `offset` (-1: to the high watermark); returns the new one.
        OFFSET_OUT_OF_RANGE."""
        ...


class LogStore(Protocol):
    """All partitions of one data folder."""

    @property
    def cluster_id(self) -> str: ...

    def create(
        self, topic: str, partition: int, topic_id: bytes, overrides: dict[str, str], *, lazy: bool
    ) -> PartitionLog:
        """A new or existing partition's log. `lazy`: its folder appears at the first append."""
        ...

    def get(self, topic: str, partition: int) -> PartitionLog | None: ...

    def existing(self) -> Iterable[tuple[str, int]]:
        """(topic, partition) of each partition that has files."""
        ...

    def topic_id(self, topic: str, partition: int) -> bytes:
        """The topic id that the partition's files carry, zero if none."""
        ...

    def set_aside(self, topic: str, partition: int) -> None:
        """Rename the folder of a partition that no topic owns, so that its name is free and its records are kept."""
        ...

    def delete(self, topic: str, partition: int) -> None:
        """Rename the partition's folder out of the way now; its files go later. Open slices stay readable."""
        ...

    def reconfigure(self, topic: str, overrides: dict[str, str]) -> None:
        """New topic configs for all partitions of `topic`."""
        ...

    def close(self) -> None:
        """Flush, write checkpoints and the clean-shutdown mark, unlock."""
        ...
