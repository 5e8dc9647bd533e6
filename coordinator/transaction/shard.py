"""One partition of `__transaction_state`: its transactional ids, and what each record does to them.

Deciding what to write is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.coordinator.ports import Append, Events, ProducerIdentity
from ottla.coordinator.result import Answer, Result, T
from ottla.coordinator.shard import Shard
from ottla.coordinator.state_record import StateRecord
from ottla.coordinator.transaction.ports import TopicPartition
from ottla.coordinator.transaction.records import TransactionRecord, decode_record, value_version
from ottla.coordinator.transaction.state import IDLE, ONGOING, PREPARED, Transaction
from ottla.log.clock import Clock
from ottla.wire.errors import ErrorCode

# Tombstones in one batch: well below any batch size limit.
_TOMBSTONES_PER_BATCH = 500
_NOTHING: frozenset[TopicPartition] = frozenset()


class TransactionShard(Shard):
    """State of one partition. `transactions` is changed by `apply` alone."""

    __slots__ = ("_began", "_clock", "_level", "_undurable", "_writing", "transactions")

    def __init__(
        self,
        partition: int,
        *,
        append: Append,
        clock: Clock,
        transaction_version: Callable[[], int],
        events: Events,
    ) -> None:
        super().__init__(partition, append=append, events=events)
        self.transactions: dict[str, Transaction] = {}
        self._clock = clock
        self._level = transaction_version
        # Open transactions: when they began, on the clock of deadlines, so that a clock step ends none.
        self._began: dict[str, int] = {}
        # Ids of which a record waits to be durable.
        self._writing: set[str] = set()
        # What is durable of ids whose latest record waits for that, or failed to become it though it has its place.
        self._undurable: dict[str, Transaction | None] = {}

    def decode(self, key: bytes, value: bytes | None) -> TransactionRecord | None:
        return decode_record(key, value)

    def apply(self, record: StateRecord, producer: ProducerIdentity | None) -> None:
        assert isinstance(record, TransactionRecord)
        transactional_id, transaction = record.transactional_id, record.transaction
        if transaction is None:
            self.transactions.pop(transactional_id, None)
            self._began.pop(transactional_id, None)
            return
        before = self.transactions.get(transactional_id)
        self.transactions[transactional_id] = transaction
        if transaction.state is not ONGOING:
            self._began.pop(transactional_id, None)
        elif before is None or before.state is not ONGOING or before.start_ms != transaction.start_ms:
            ago_ms = max(self._clock.wall_ms() - transaction.start_ms, 0)
            self._began[transactional_id] = self._clock.mono_ms() - ago_ms

    def writing(self, transactional_id: str) -> bool:
        """Whether a record of this id waits to be durable: nothing else may change until then."""
        return transactional_id in self._writing

    def durable_partitions(self, transactional_id: str) -> frozenset[TopicPartition]:
        """The partitions of the transaction that will be known after any crash."""
        transaction = self._undurable.get(transactional_id, self.transactions.get(transactional_id))
        return _NOTHING if transaction is None else transaction.partitions

    def write(
        self,
        transactional_id: str,
        transaction: Transaction,
        answer: T,
        refused: Callable[[ErrorCode], T],
        written: Callable[[ErrorCode], None] | None = None,
    ) -> Answer[T]:
        """Write the next value of an id; `answer` once it is durable. `written` hears of that, or of the failure,
        first; the new value is in `transactions` if it has its place in the log all the same."""
        record = TransactionRecord(transactional_id, transaction, value_version(self._level()))
        failed_before = transactional_id in self._undurable
        self._undurable.setdefault(transactional_id, self.transactions.get(transactional_id))
        self._writing.add(transactional_id)

        def settled(code: ErrorCode) -> None:
            self._writing.discard(transactional_id)
            has_its_place = self.transactions.get(transactional_id) is record.transaction
            if code is ErrorCode.NONE or not (has_its_place or failed_before):
                self._undurable.pop(transactional_id, None)
            if written is not None:
                written(code)

        return self.run(Result(answer, [record], refused=refused, settled=settled))

    def timed_out(self, ahead_ms: int = 0) -> list[str]:
        """Ids whose transaction has been open for longer than its timeout, or will have been `ahead_ms` from now."""
        now_ms = self._clock.mono_ms() + ahead_ms
        return [
            transactional_id
            for transactional_id, began_ms in self._began.items()
            if now_ms - began_ms > self.transactions[transactional_id].timeout_ms
            and transactional_id not in self._writing
        ]

    def prepared(self) -> list[str]:
        """Ids whose outcome is decided and not yet complete."""
        return [
            transactional_id
            for transactional_id, transaction in self.transactions.items()
            if transaction.state in PREPARED
        ]

    def forget_unused(self, since_ms: int) -> int:
        """Write tombstones for ids that are idle and did not change after `since_ms`; returns for how many."""
        unused = self.unused(since_ms)
        for start in range(0, len(unused), _TOMBSTONES_PER_BATCH):
            batch: list[StateRecord] = [
                TransactionRecord(transactional_id, None, 0)
                for transactional_id in unused[start : start + _TOMBSTONES_PER_BATCH]
            ]
            self.run(Result(None, batch))
        return len(unused)

    def unused(self, since_ms: int) -> list[str]:
        """The ids that `forget_unused` forgets."""
        return [
            transactional_id
            for transactional_id, transaction in self.transactions.items()
            if transaction.state in IDLE and transaction.update_ms <= since_ms and transactional_id not in self._writing
        ]
