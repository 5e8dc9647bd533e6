"""A transaction coordinator in a bottle: a log and partitions in lists that can fail, wait, or lose what was not
flushed; a clock that is told to move.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.timers import Timers
from ottla.coordinator.transaction.config import TransactionConfig
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.ports import TopicPartition
from ottla.coordinator.transaction.state import Transaction
from ottla.log.clock import ManualClock
from ottla.log.door import Appended, Done, Outcome, Pending
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_transactions import ListTransactionsRequest

PARTITIONS = 5
COORDINATOR_EPOCH = 3
A0: TopicPartition = ("a", 0)
A1: TopicPartition = ("a", 1)
B0: TopicPartition = ("b", 0)


class Told:
    """Events as (event, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    warning = info


class Marker:
    """One marker as it was written."""

    def __init__(self, producer_id: int, producer_epoch: int, commit: bool, transaction_version: int) -> None:
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.commit = commit
        self.transaction_version = transaction_version

    def __repr__(self) -> str:
        outcome = "commit" if self.commit else "abort"
        return f"{outcome}({self.producer_id}/{self.producer_epoch} v{self.transaction_version})"


class Data:
    """What a producer wrote, under a name of the test's."""

    def __init__(self, producer_id: int, producer_epoch: int, name: str) -> None:
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.name = name


class Partition:
    """A partition's log: records and markers in order."""

    def __init__(self) -> None:
        self.entries: list[Data | Marker] = []
        self.durable = 0  # how many of them

    def epoch_of(self, producer_id: int) -> int:
        """The latest epoch of a producer id, -1 if it never was here."""
        return next((entry.producer_epoch for entry in reversed(self.entries) if entry.producer_id == producer_id), -1)

    def outcomes(self) -> dict[str, bool | None]:
        """By name of what was written: committed, aborted, or None while it is open."""
        outcomes: dict[str, bool | None] = {}
        open_names: dict[int, list[str]] = {}
        for entry in self.entries:
            if isinstance(entry, Data):
                outcomes[entry.name] = None
                open_names.setdefault(entry.producer_id, []).append(entry.name)
            else:
                outcomes.update(dict.fromkeys(open_names.pop(entry.producer_id, []), entry.commit))
        return outcomes


class TransactionWorld:
    """A coordinator, its log, the partitions of its clients, and short ways to ask it.

    `coordinator` is of the node that leads all partitions; `away` is another node's, to which they can move.
    """

    def __init__(self, transaction_version: int = 2, **config: int) -> None:
        self.clock = ManualClock()
        self.config = TransactionConfig(**config)
        self.transaction_version = transaction_version
        self.told = Told()
        self.next_producer_id = 1000
        self.no_producer_ids: KafkaError | None = None

        self.log: list[tuple[int, bytes, bytes | None]] = []
        self.durable = 0  # how many of them
        self.fail: KafkaError | None = None
        self.hold = False
        self.held: list[tuple[int, Pending[Appended]]] = []

        self.partitions: dict[TopicPartition, Partition] = {at: Partition() for at in (A0, A1, B0)}
        self.broken: dict[TopicPartition, KafkaError] = {}
        self.hold_markers = False
        self.held_markers: list[tuple[TopicPartition, int, Pending[None]]] = []
        self._build()
        self.coordinator.loaded()

    def _build(self) -> None:
        self.timers = Timers(self.clock)
        self.coordinator = self._node()
        self.away: TransactionCoordinator | None = None

    def _node(self, led: Collection[int] | None = None) -> TransactionCoordinator:
        def append(*arguments: Any) -> Outcome[Appended]:
            assert self.coordinator is made, "a zombie coordinator wrote"
            return self._append(*arguments)

        def write_marker(*arguments: Any, **options: Any) -> Outcome[None]:
            assert self.coordinator is made, "a zombie coordinator wrote a marker"
            return self._write_marker(*arguments, **options)

        made = TransactionCoordinator(
            clock=self.clock,
            timers=self.timers,
            config=self.config,
            partitions=PARTITIONS,
            append=append,
            write_marker=write_marker,
            producer_ids=self._new_producer_id,
            coordinator_epoch=lambda partition: COORDINATOR_EPOCH + partition,
            transaction_version=lambda: self.transaction_version,
            led=led,
            events=self.told,
        )
        return made

    # -- what the coordinator stands on -------------------------------------------------------------------------------

    def _new_producer_id(self) -> int:
        if self.no_producer_ids is not None:
            raise self.no_producer_ids
        self.next_producer_id += 1
        return self.next_producer_id

    def _append(
        self, partition: int, records: list[tuple[bytes, bytes | None]], producer: ProducerIdentity | None = None
    ) -> Outcome[Appended]:
        assert producer is None
        if self.fail is not None:
            raise self.fail
        self.log += [(partition, key, value) for key, value in records]
        appended = Appended(len(self.log) - len(records), len(self.log) - 1, -1, 0)
        if self.hold:
            pending: Pending[Appended] = Pending()
            self.held.append((len(self.log), pending))
            return pending
        self.durable = len(self.log)
        return Done(appended)

    def _write_marker(
        self,
        partition: TopicPartition,
        *,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        commit: bool,
        transaction_version: int,
    ) -> Outcome[None]:
        assert COORDINATOR_EPOCH <= coordinator_epoch < COORDINATOR_EPOCH + PARTITIONS
        if partition in self.broken:
            raise self.broken[partition]
        if partition not in self.partitions:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        target = self.partitions[partition]
        assert producer_epoch >= target.epoch_of(producer_id), "a marker behind its producer"
        target.entries.append(Marker(producer_id, producer_epoch, commit, transaction_version))
        if self.hold_markers:
            pending: Pending[None] = Pending()
            self.held_markers.append((partition, len(target.entries), pending))
            return pending
        target.durable = len(target.entries)
        return Done(None)

    def release(self, error: Exception | None = None) -> None:
        """Let the appends that wait be durable, or fail."""
        self.hold = False
        held, self.held = self.held, []
        for end, pending in held:
            if error is not None:
                pending.fail(error)
            else:
                self.durable = max(self.durable, end)
                pending.resolve(Appended(0, 0, -1, 0))
        self.take_over()

    def release_markers(self, error: Exception | None = None) -> None:
        """Let the markers that wait be durable, or fail."""
        self.hold_markers = False
        held, self.held_markers = self.held_markers, []
        for partition, end, pending in held:
            if error is not None:
                pending.fail(error)
            else:
                target = self.partitions[partition]
                target.durable = max(target.durable, end)
                pending.resolve(None)

    def markers(self, partition: TopicPartition) -> list[Marker]:
        return [entry for entry in self.partitions[partition].entries if isinstance(entry, Marker)]

    # -- time and crashes ---------------------------------------------------------------------------------------------

    def restart(self, *, power_cut: bool = False) -> None:
        """A new coordinator from the log, as after kill -9; after a power cut, from what was flushed."""
        self.held, self.held_markers = [], []
        self.hold = self.hold_markers = False
        self.fail = None
        self.broken.clear()
        if power_cut:
            del self.log[self.durable :]
            for partition in self.partitions.values():
                del partition.entries[partition.durable :]
        self.durable = len(self.log)
        for partition in self.partitions.values():
            partition.durable = len(partition.entries)
        self._build()
        for index, key, value in self.log:
            self.coordinator.replay(index, key, value)
        self.coordinator.loaded()

    def move(self) -> None:
        """The other node leads all partitions from now on, and begins once all is durable."""
        for partition in range(PARTITIONS):
            self.coordinator.resigned(partition)
        if self.away is None:
            self.away = self._node(led=())
            self.away.loaded()
        self.coordinator, self.away = self.away, self.coordinator
        self.take_over()

    def take_over(self) -> None:
        """What has moved begins, if all is durable."""
        moved = [partition for partition in range(PARTITIONS) if not self.coordinator.leads(partition)]
        if moved and self.durable == len(self.log):
            for partition in moved:
                self.coordinator.elected(partition)
            for record in self.log:
                self.coordinator.replay(*record)
            for partition in moved:
                self.coordinator.began(partition)

    def replayed(self) -> TransactionWorld:
        """Another world that only knows this one's log, and in which no marker can be written."""
        other = TransactionWorld(self.transaction_version)
        other.log = list(self.log)
        other.clock.advance(self.clock.mono_ms())
        other.partitions.clear()
        other.hold = True
        other._build()
        other.coordinator.loaded()  # before anything is there, so that no outcome is carried out
        for index, key, value in other.log:
            other.coordinator.replay(index, key, value)
        return other

    def lasting(self) -> dict[str, Transaction]:
        """All lasting state, to be compared with what a replay gives."""
        return {
            transactional_id: transaction._replace(last_producer_epoch=-1)
            for transactional_id, transaction in self.coordinator.all_transactions()
        }

    def sleep(self, ms: int) -> None:
        """Let time pass; each timer runs when it is due."""
        end_ms = self.clock.mono_ms() + ms
        while (deadline_ms := self.timers.next_deadline_ms()) is not None and deadline_ms <= end_ms:
            self.clock.advance(max(deadline_ms - self.clock.mono_ms(), 0))
            self.timers.run_due()
        self.clock.advance(end_ms - self.clock.mono_ms())

    def state(self, transactional_id: str = "x") -> str:
        transaction = self.coordinator.transaction(transactional_id)
        return "none" if transaction is None else transaction.state.label

    def identity(self, transactional_id: str = "x") -> ProducerIdentity:
        transaction = self.coordinator.transaction(transactional_id)
        assert transaction is not None
        return transaction.producer_id, transaction.producer_epoch

    # -- requests -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, request: Any, version: int, *more: Any, **options: Any) -> Any:
        """Ask, with request and answer as they would come over the wire at that version."""
        request = type(request).decode(request.encode(version), version)
        answer = getattr(self.coordinator, name)(request, version, *more, **options)
        if isinstance(answer, Pending):
            answer.then(lambda done: done.result().encode(version))
        else:
            answer.encode(version)
        return answer

    def init(
        self,
        transactional_id: str | None = "x",
        expected: ProducerIdentity = (-1, -1),
        *,
        timeout_ms: int = 60_000,
        version: int = 5,
    ) -> Any:
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
        if version >= 3:
            request.producer_id, request.producer_epoch = expected
        return self.ask("init_producer_id", request, version)

    def producer(self, transactional_id: str = "x", **options: Any) -> ProducerIdentity:
        """A producer that is ready to work."""
        for _ in range(3):
            answer = self.init(transactional_id, **options)
            if answer.error_code != ErrorCode.CONCURRENT_TRANSACTIONS:
                break
        assert answer.error_code == ErrorCode.NONE
        return answer.producer_id, answer.producer_epoch

    def add(
        self,
        producer: ProducerIdentity,
        *partitions: TopicPartition,
        transactional_id: str = "x",
        version: int = 3,
        verify_only: bool = False,
        **checks: Any,
    ) -> Any:
        """AddPartitionsToTxn: the code, if all partitions have the same; else the codes."""
        topics: dict[str, list[int]] = {}
        for topic, index in partitions:
            topics.setdefault(topic, []).append(index)
        asked = [
            AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=topic, partitions=indexes)
            for topic, indexes in topics.items()
        ]
        if version < 4:
            request = AddPartitionsToTxnRequest(
                v3_and_below_transactional_id=transactional_id,
                v3_and_below_producer_id=producer[0],
                v3_and_below_producer_epoch=producer[1],
                v3_and_below_topics=asked,
            )
        else:
            transaction = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                transactional_id=transactional_id,
                producer_id=producer[0],
                producer_epoch=producer[1],
                verify_only=verify_only,
                topics=asked,
            )
            request = AddPartitionsToTxnRequest(transactions=[transaction])
        answer = self.ask("add_partitions_to_txn", request, version, **checks)
        if isinstance(answer, Pending):
            return answer
        return partition_codes(answer)

    def add_offsets(
        self, producer: ProducerIdentity, group_id: str = "g", *, transactional_id: str = "x", version: int = 4
    ) -> Any:
        request = AddOffsetsToTxnRequest(
            transactional_id=transactional_id, producer_id=producer[0], producer_epoch=producer[1], group_id=group_id
        )
        answer = self.ask("add_offsets_to_txn", request, version, lambda group_id: len(group_id))
        return answer if isinstance(answer, Pending) else answer.error_code

    def end(
        self, producer: ProducerIdentity, commit: bool = True, *, transactional_id: str = "x", version: int = 4
    ) -> Any:
        request = EndTxnRequest(
            transactional_id=transactional_id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            committed=commit,
        )
        return self.ask("end_txn", request, version)

    def verify(self, producer: ProducerIdentity, partition: TopicPartition, transactional_id: str = "x") -> ErrorCode:
        return self.coordinator.verify(transactional_id, *producer, [partition])[partition]

    def describe(self, *transactional_ids: str) -> Any:
        request = DescribeTransactionsRequest(transactional_ids=list(transactional_ids))
        return self.ask("describe_transactions", request, 0).transaction_states

    def list(self, *, version: int = 2, **filters: Any) -> Any:
        return self.ask("list_transactions", ListTransactionsRequest(**filters), version)


def partition_codes(answer: Any) -> Any:
    """The code of all partitions of an AddPartitionsToTxn, or the codes by partition if they differ."""
    topics: Iterable[Any] = answer.results_by_topic_v3_and_below
    if answer.results_by_transaction:
        topics = answer.results_by_transaction[0].topic_results
    codes = {
        (topic.name, result.partition_index): result.partition_error_code
        for topic in topics
        for result in topic.results_by_partition
    }
    return codes if len(set(codes.values())) > 1 else next(iter(codes.values()), ErrorCode.NONE)
