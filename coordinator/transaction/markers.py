"""The plan that follows a decided outcome: its marker in every partition, then the record that says so.

Begun when the outcome is durable, and again after each start that finds one; whatever fails is tried again by a timer,
until all is done. Writing twice does no harm, so a crash at any point ends in the same outcome. Not here: deciding.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.coordinator.ports import Events
from ottla.coordinator.timers import TimerHandle, Timers
from ottla.coordinator.transaction.ports import MarkerWriter, TopicPartition
from ottla.coordinator.transaction.shard import TransactionShard
from ottla.coordinator.transaction.state import PREPARE_COMMIT, PREPARED, Transaction, completed
from ottla.log.clock import Clock
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError

# A newer producer or coordinator has been there: this transaction has nothing left to end in that partition.
_OVERTAKEN = (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED)

# Told once, by the log or by who took nodes down, not for each marker each second.
_TOLD = (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_ENOUGH_REPLICAS)

# Then others have their turn: the first marker of a partition without a folder costs a millisecond.
_MARKERS_AT_ONCE = 32


class Outcomes:
    """The plans under way, by transactional id."""

    def __init__(
        self,
        *,
        clock: Clock,
        timers: Timers,
        retry_ms: int,
        write_marker: MarkerWriter,
        coordinator_epoch: Callable[[int], int],
        events: Events,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._retry_ms = retry_ms
        self._write_marker = write_marker
        self._coordinator_epoch = coordinator_epoch
        self._events = events
        self._closed = False
        self._timed: set[TimerHandle] = set()  # what comes later: retries, and the rest of long rounds
        self._plans: dict[str, _Plan] = {}

    def __len__(self) -> int:
        return len(self._plans)

    @property
    def markers_missing(self) -> int:
        """How many markers are still to be written."""
        return sum(len(plan.missing) for plan in self._plans.values())

    def close(self) -> None:
        """Stop; the next start goes on."""
        self._closed = True
        for handle in self._timed:
            handle.cancel()
        self._timed.clear()
        self._plans.clear()

    def give_up(self, shard: TransactionShard) -> None:
        """Another node leads the shard's partition: it begins these plans anew."""
        self._plans = {name: plan for name, plan in self._plans.items() if plan.shard is not shard}

    def prepared(self, shard: TransactionShard, transactional_id: str, code: ErrorCode) -> None:
        """The record of an outcome was written, or got its place in the log without being durable yet.

        No marker may be on disk before the outcome is: a crash could forget the outcome and decide the other way.
        """
        if self._closed or shard.resigned:
            return
        if code is ErrorCode.NONE:
            self.carry_out(shard, transactional_id)
        else:
            self._later(self._retry_ms, lambda: self._prepare_again(shard, transactional_id))

    def carry_out(self, shard: TransactionShard, transactional_id: str) -> None:
        """Write the markers, then complete; what cannot be done now is done later."""
        plan = self._plans[transactional_id] = _Plan(self, shard, transactional_id)
        plan.write_markers()

    def _prepare_again(self, shard: TransactionShard, transactional_id: str) -> None:
        if shard.resigned:
            return
        shard.write(
            transactional_id,
            shard.transactions[transactional_id],
            None,
            refused=lambda code: None,
            written=lambda code: self.prepared(shard, transactional_id, code),
        )

    def _later(self, delay_ms: int, callback: Callable[[], None]) -> None:
        def due() -> None:
            self._timed.discard(handle)
            callback()

        handle = self._timers.schedule(delay_ms, due)
        self._timed.add(handle)


class _Plan:
    """One transaction on its way from Prepare to Complete."""

    __slots__ = ("_id", "_outcomes", "_transaction", "_waiting", "missing", "shard")

    def __init__(self, outcomes: Outcomes, shard: TransactionShard, transactional_id: str) -> None:
        self._outcomes = outcomes
        self.shard = shard
        self._id = transactional_id
        self._transaction: Transaction = shard.transactions[transactional_id]
        self.missing: set[TopicPartition] = set(self._transaction.partitions)
        self._waiting = 0

    def write_markers(self) -> None:
        """A round through the partitions that have no marker yet."""
        self._waiting = 1  # this round itself, so that an outcome that is there at once does not end it early
        self._write_some(sorted(self.missing))

    def _write_some(self, partitions: list[TopicPartition], start: int = 0) -> None:
        if self.shard.resigned:
            return
        end = start + _MARKERS_AT_ONCE
        for partition in partitions[start:end]:
            self._write_marker(partition)
        if end < len(partitions):
            self._outcomes._later(0, lambda: self._write_some(partitions, end))
        else:
            self._one_done()

    def _write_marker(self, partition: TopicPartition) -> None:
        outcomes, transaction = self._outcomes, self._transaction
        try:
            outcome = outcomes._write_marker(
                partition,
                producer_id=transaction.producer_id,
                producer_epoch=transaction.producer_epoch,
                coordinator_epoch=outcomes._coordinator_epoch(self.shard.partition),
                commit=transaction.state is PREPARE_COMMIT,
                transaction_version=transaction.client_version,
            )
        except KafkaError as error:
            self._failed(partition, error)
            return
        if isinstance(outcome, Pending):
            self._waiting += 1
            outcome.then(lambda settled: self._settled(partition, settled))
        else:
            self.missing.discard(partition)

    def _settled(self, partition: TopicPartition, outcome: Pending[None]) -> None:
        try:
            outcome.result()
        except Exception as error:
            self._failed(partition, error)
        else:
            self.missing.discard(partition)
        self._one_done()

    def _failed(self, partition: TopicPartition, error: Exception) -> None:
        code = error.code if isinstance(error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR
        if code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            self.missing.discard(partition)
            return
        if code in _TOLD:
            return
        if code in _OVERTAKEN:
            self.missing.discard(partition)
        self._outcomes._events.warning(
            "transaction marker could not be written",
            transactional_id=self._id,
            topic=partition[0],
            partition=partition[1],
            error=code.name,
            detail=str(error),
            again=partition in self.missing,
        )

    def _one_done(self) -> None:
        self._waiting -= 1
        if self._waiting or self._outcomes._closed or self.shard.resigned:
            return
        if self.missing:
            self._outcomes._later(self._outcomes._retry_ms, self.write_markers)
        else:
            self._complete()

    def _complete(self) -> None:
        self.shard.write(
            self._id,
            completed(self._transaction, self._outcomes._clock.wall_ms()),
            None,
            refused=lambda code: None,
            written=self._completed,
        )

    def _completed(self, code: ErrorCode) -> None:
        outcomes = self._outcomes
        if outcomes._closed or self.shard.resigned:
            return
        if self.shard.transactions[self._id].state in PREPARED:  # the record has no place in the log
            outcomes._later(outcomes._retry_ms, self._complete)
        else:
            del outcomes._plans[self._id]
