"""The transaction coordinator as the broker sees it: a method a request, `replay` and `loaded` to begin, `shutdown`.

It finds the shard of a transactional id, lets state.py decide, and has the decision written; an id whose partition
another node leads gets NOT_COORDINATOR, and COORDINATOR_LOAD_IN_PROGRESS while it is replayed. Authorization comes
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeAlias

from ottla.coordinator.ports import Append, Events, NoEvents, ProducerIdentity
from ottla.coordinator.result import Answer, T, chain, gather, group_write_error
from ottla.coordinator.timers import Repeating, Timers
from ottla.coordinator.transaction import admin, state
from ottla.coordinator.transaction.config import TransactionConfig
from ottla.coordinator.transaction.markers import Outcomes
from ottla.coordinator.transaction.ports import MarkerWriter, ProducerIds, TopicPartition
from ottla.coordinator.transaction.shard import TransactionShard
from ottla.coordinator.transaction.state import EPOCH_BUMP_VERSION, Decision, Transaction
from ottla.log.clock import Clock
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import partition_for_group
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest, DescribeTransactionsResponse
from ottla.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from ottla.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from ottla.wire.messages.list_transactions import ListTransactionsRequest, ListTransactionsResponse

_OFFSETS_TOPIC = "__consumer_offsets"
_BATCHED_FROM = 4  # AddPartitionsToTxn: sent by brokers, for clients of KIP-890
_EPOCH_BUMP_FROM = 5  # EndTxn
_INIT_FENCED_FROM = 4  # the request version from which PRODUCER_FENCED is known, before: INVALID_PRODUCER_EPOCH
_FENCED_FROM = 2

IdCheck: TypeAlias = Callable[[str], ErrorCode]
"""Whether the caller may use a transactional id."""
PartitionCheck: TypeAlias = Callable[[str, int], ErrorCode]
"""Whether the caller may write to a partition, and whether it exists."""


class TransactionCoordinator:
    """All transactional ids of one node, over `partitions` partitions of `__transaction_state`.

    Methods that take a request return the response, or a `Pending` of it that is settled later, when the state is
    durable. None of them raises for what a client may send.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        timers: Timers,
        config: TransactionConfig,
        partitions: int,
        append: Append,
        write_marker: MarkerWriter,
        producer_ids: ProducerIds,
        coordinator_epoch: Callable[[int], int],
        transaction_version: Callable[[], int],
        led: Collection[int] | None = None,
        events: Events | None = None,
    ) -> None:
        """`coordinator_epoch`: the leader epoch of a partition of `__transaction_state`. `transaction_version`: the
        feature's level now. `led`: the partitions that are this node's, all by default."""
        self._clock = clock
        self._timers = timers
        self._config = config
        self._new_producer_id = producer_ids
        self._transaction_version = transaction_version
        self._events = events if events is not None else NoEvents()
        self._shards: list[TransactionShard | None] = [None] * partitions
        self._loading: dict[int, TransactionShard] = {}  # of partitions that are being replayed
        self._make_shard = partial(
            TransactionShard, append=append, clock=clock, transaction_version=transaction_version, events=self._events
        )
        for partition in range(partitions) if led is None else led:
            self.elected(partition)
        self._outcomes = Outcomes(
            clock=clock,
            timers=timers,
            retry_ms=config.write_retry_ms,
            write_marker=write_marker,
            coordinator_epoch=coordinator_epoch,
            events=self._events,
        )
        self._closed = False
        self._housekeeping: list[Repeating] = []
        self._replayed = 0
        self._not_understood = 0

    # -- begin and end ------------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> int:
        """Over how many partitions of `__transaction_state` transactional ids are spread, over all nodes."""
        return len(self._shards)

    def partition_for(self, transactional_id: str) -> int:
        """The partition of `__transaction_state` that holds a transactional id."""
        return partition_for_group(transactional_id, len(self._shards))

    def leads(self, partition: int) -> bool:
        """Whether the transactional ids of a partition are this node's to coordinate, and replayed."""
        return self._shards[partition] is not None

    def elected(self, partition: int) -> None:
        """The partition is this node's from now on: what it holds is to be replayed next, then `began`. Until then
        requests get COORDINATOR_LOAD_IN_PROGRESS."""
        self._loading[partition] = self._make_shard(partition)

    def replay(self, partition: int, key: bytes, value: bytes | None, producer: ProducerIdentity | None = None) -> None:
        """Apply a stored record, in log order. Unknown kinds are skipped and counted in `stats`."""
        self._replayed += 1
        shard = self._loading.get(partition) or self._shards[partition]
        if shard is not None and not shard.replay(key, value, producer):
            self._not_understood += 1

    def replay_marker(self, partition: int, producer: ProducerIdentity, commit: bool) -> None:
        """Nothing: this topic has no transactional records."""

    def loaded(self) -> None:
        """At start all is replayed: outcomes that were decided are carried out, housekeeping starts."""
        for partition in tuple(self._loading):
            self.began(partition)
        config = self._config
        self._housekeeping = [
            self._timers.repeat(
                config.transaction_abort_timed_out_transaction_cleanup_interval_ms,
                self._abort_timed_out,
                acts=lambda ahead_ms: any(shard.timed_out(ahead_ms) for shard in self._led()),
            ),
            self._timers.repeat(
                config.transaction_remove_expired_transaction_cleanup_interval_ms,
                self._forget_unused,
                acts=lambda ahead_ms: any(shard.unused(self._unused_since_ms() + ahead_ms) for shard in self._led()),
            ),
        ]

    def began(self, partition: int) -> None:
        """The partition is replayed: outcomes that were decided are carried out."""
        shard = self._loading.pop(partition, None)
        if shard is not None:
            self._shards[partition] = shard
            for transactional_id in shard.prepared():
                self._outcomes.carry_out(shard, transactional_id)

    def resigned(self, partition: int) -> None:
        """Another node leads the partition, and carries out what is left to do; nothing is written here any more."""
        shard = self._loading.pop(partition, None) or self._shards[partition]
        if shard is not None:
            self._shards[partition] = None
            shard.resigned = True
            self._outcomes.give_up(shard)

    def shutdown(self) -> None:
        """Begin nothing more; every later request gets NOT_COORDINATOR."""
        self._closed = True
        for job in self._housekeeping:
            job.cancel()
        self._outcomes.close()
        for shard in (*self._led(), *self._loading.values()):
            shard.resigned = True

    # -- producers ----------------------------------------------------------------------------------------------------

    def init_producer_id(self, request: InitProducerIdRequest, version: int) -> Answer[InitProducerIdResponse]:
        """InitProducerId (22) with a transactional id (KIP-98, KIP-360): fences whoever had it before.

        A transaction that is open is aborted first: CONCURRENT_TRANSACTIONS until that is done.
        """
        transactional_id = request.transactional_id
        if (request.producer_id == -1) != (request.producer_epoch == -1) or not transactional_id:
            return init_error(ErrorCode.INVALID_REQUEST, version)
        if not 0 < request.transaction_timeout_ms <= self._config.transaction_max_timeout_ms:
            return init_error(ErrorCode.INVALID_TRANSACTION_TIMEOUT, version)
        shard = self._shard(transactional_id)
        if shard is None:
            return init_error(self._away(transactional_id), version)
        expected = None if request.producer_id == -1 else (request.producer_id, request.producer_epoch)
        current = shard.transactions.get(transactional_id)
        writing = shard.writing(transactional_id)
        if current is not None and current.state is state.ONGOING:
            code = state.check_init(current, expected, writing)
            if code is not ErrorCode.NONE:
                return init_error(code, version)
            aborting = self._fence(
                shard, transactional_id, current, ErrorCode.CONCURRENT_TRANSACTIONS, group_write_error
            )
            return chain(aborting, lambda code: init_error(code, version))
        decision = self._decided(
            lambda: state.initialized(
                current,
                expected=expected,
                timeout_ms=request.transaction_timeout_ms,
                writing=writing,
                now_ms=self._clock.wall_ms(),
                new_producer_id=self._new_producer_id,
            )
        )
        if isinstance(decision, ErrorCode):
            return init_error(decision, version)
        return shard.write(
            transactional_id,
            decision,
            InitProducerIdResponse(producer_id=decision.producer_id, producer_epoch=decision.producer_epoch),
            refused=lambda code: init_error(group_write_error(code), version),
        )

    # -- a transaction's partitions -----------------------------------------------------------------------------------

    def add_partitions_to_txn(
        self,
        request: AddPartitionsToTxnRequest,
        version: int,
        *,
        check_id: IdCheck | None = None,
        check_partition: PartitionCheck | None = None,
    ) -> Answer[AddPartitionsToTxnResponse]:
        """AddPartitionsToTxn (24): one transaction of a client (v0-3), or several of a broker's clients (v4 on).

        If a check refuses a partition nothing is added, and the good ones get OPERATION_NOT_ATTEMPTED.
        """
        if version < _BATCHED_FROM:
            asked = [
                AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                    transactional_id=request.v3_and_below_transactional_id,
                    producer_id=request.v3_and_below_producer_id,
                    producer_epoch=request.v3_and_below_producer_epoch,
                    topics=request.v3_and_below_topics,
                )
            ]
        else:
            asked = request.transactions
        answers = [
            self._add_one(each, version, check_id or _allow_id, check_partition or _allow_partition) for each in asked
        ]
        return gather(answers, lambda results: _added(results, version))

    def add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        client_version: int = EPOCH_BUMP_VERSION,
    ) -> Answer[ErrorCode]:
        """Partitions join the transaction, all or none (the Produce and TxnOffsetCommit of KIP-890 do it so)."""
        if not transactional_id:
            return ErrorCode.INVALID_REQUEST
        shard = self._shard(transactional_id)
        if shard is None:
            return self._away(transactional_id)
        decision = state.with_partitions(
            shard.transactions.get(transactional_id),
            (producer_id, producer_epoch),
            partitions,
            writing=shard.writing(transactional_id),
            durable=shard.durable_partitions(transactional_id),
            client_version=client_version,
            now_ms=self._clock.wall_ms(),
        )
        if isinstance(decision, ErrorCode):
            return decision
        return shard.write(transactional_id, decision, ErrorCode.NONE, refused=group_write_error)

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        """Whether each partition was added to the producer's transaction (KIP-890): NONE, or TRANSACTION_ABORTABLE."""
        if not transactional_id:
            return dict.fromkeys(partitions, ErrorCode.INVALID_REQUEST)
        shard = self._shard(transactional_id)
        if shard is None:
            return dict.fromkeys(partitions, self._away(transactional_id))
        return state.verified(
            shard.transactions.get(transactional_id),
            (producer_id, producer_epoch),
            partitions,
            shard.durable_partitions(transactional_id),
        )

    def add_offsets_to_txn(
        self, request: AddOffsetsToTxnRequest, version: int, offsets_partition: Callable[[str], int]
    ) -> Answer[AddOffsetsToTxnResponse]:
        """AddOffsetsToTxn (25): the partition that holds a group's offsets joins the transaction."""
        code = self.add_partitions(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            [(_OFFSETS_TOPIC, offsets_partition(request.group_id))],
            client_version=0,
        )
        return chain(code, lambda code: AddOffsetsToTxnResponse(error_code=_fenced_code(code, version)))

    # -- the end ------------------------------------------------------------------------------------------------------

    def end_txn(self, request: EndTxnRequest, version: int) -> Answer[EndTxnResponse]:
        """EndTxn (26): answered when the outcome is durable; the markers follow."""
        transactional_id = request.transactional_id
        if not transactional_id:
            return end_error(ErrorCode.INVALID_REQUEST, version)
        shard = self._shard(transactional_id)
        if shard is None:
            return end_error(self._away(transactional_id), version)
        current = shard.transactions.get(transactional_id)
        decision = self._decided(lambda: self._ended(shard, current, request, version))
        if isinstance(decision, ErrorCode):
            if decision is ErrorCode.NONE and current is not None:
                return _end_response(current, version)
            return end_error(decision, version)
        return self._write_outcome(
            shard,
            transactional_id,
            decision,
            _end_response(state.completed(decision, decision.update_ms), version),
            refused=lambda code: end_error(group_write_error(code), version),
        )

    # -- for people's eyes --------------------------------------------------------------------------------------------

    def describe_transactions(self, request: DescribeTransactionsRequest, version: int) -> DescribeTransactionsResponse:
        """DescribeTransactions (65), each id once: else a small request could ask for an answer of any size."""
        described = []
        for transactional_id in dict.fromkeys(request.transactional_ids):
            shard = self._shard(transactional_id)
            if shard is None and transactional_id:
                code = ErrorCode.COORDINATOR_NOT_AVAILABLE if self._closed else self._away(transactional_id)
                described.append(admin.refused(transactional_id, code))
            else:
                described.append(admin.described(transactional_id, self.transaction(transactional_id)))
        return DescribeTransactionsResponse(transaction_states=described)

    def list_transactions(self, request: ListTransactionsRequest, version: int) -> ListTransactionsResponse:
        """ListTransactions (66): all ids that pass the filters; which of them may be seen is for the caller to say."""
        if self._closed:
            return ListTransactionsResponse(error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE)
        if self._loading:
            return ListTransactionsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        try:
            return admin.listed(self.all_transactions(), request, self._clock.wall_ms())
        except KafkaError as error:
            return ListTransactionsResponse(error_code=error.code)

    def transaction(self, transactional_id: str) -> Transaction | None:
        """A transactional id as it is now."""
        shard = self._shards[self.partition_for(transactional_id)]
        return shard.transactions.get(transactional_id) if shard is not None else None

    def all_transactions(self) -> Iterator[tuple[str, Transaction]]:
        """All transactional ids of this node."""
        for shard in self._led():
            yield from shard.transactions.items()

    @property
    def stats(self) -> dict[str, int]:
        """Counts: ids (in all and by state), outcomes being carried out, markers missing, records replayed, skipped."""
        states = Counter(transaction.state.label for _, transaction in self.all_transactions())
        return {
            "transactions": sum(states.values()),
            **{f"transactions_{label}": count for label, count in sorted(states.items())},
            "outcomes_under_way": len(self._outcomes),
            "markers_missing": self._outcomes.markers_missing,
            "records_replayed": self._replayed,
            "records_not_understood": self._not_understood,
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _shard(self, transactional_id: str) -> TransactionShard | None:
        """What holds the id; None if this node does not coordinate it, which `_away` explains."""
        return None if self._closed else self._shards[self.partition_for(transactional_id)]

    def _away(self, transactional_id: str) -> ErrorCode:
        """Why nothing here holds the id."""
        loading = not self._closed and self.partition_for(transactional_id) in self._loading
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if loading else ErrorCode.NOT_COORDINATOR

    def _led(self) -> Iterator[TransactionShard]:
        return (shard for shard in self._shards if shard is not None)

    def _decided(self, decide: Callable[[], Decision]) -> Decision:
        try:
            return decide()
        except KafkaError as error:  # there was no producer id to be had: the client may ask again
            return group_write_error(error.code)

    def _ended(
        self, shard: TransactionShard, current: Transaction | None, request: EndTxnRequest, version: int
    ) -> Decision:
        producer = (request.producer_id, request.producer_epoch)
        writing = shard.writing(request.transactional_id)
        now_ms = self._clock.wall_ms()
        if version < _EPOCH_BUMP_FROM:
            return state.ended(current, producer, request.committed, writing=writing, now_ms=now_ms)
        return state.ended_with_bump(
            current,
            producer,
            request.committed,
            writing=writing,
            now_ms=now_ms,
            new_producer_id=self._new_producer_id,
        )

    def _fence(
        self,
        shard: TransactionShard,
        transactional_id: str,
        current: Transaction,
        answer: ErrorCode,
        refused: Callable[[ErrorCode], ErrorCode],
    ) -> Answer[ErrorCode]:
        """Abort an open transaction against its producer."""
        decision = self._decided(
            lambda: state.fenced(
                current,
                transaction_version=self._transaction_version(),
                now_ms=self._clock.wall_ms(),
                new_producer_id=self._new_producer_id,
            )
        )
        if isinstance(decision, ErrorCode):
            return decision
        return self._write_outcome(shard, transactional_id, decision, answer, refused)

    def _write_outcome(
        self,
        shard: TransactionShard,
        transactional_id: str,
        outcome: Transaction,
        answer: T,
        refused: Callable[[ErrorCode], T],
    ) -> Answer[T]:
        def written(code: ErrorCode) -> None:
            if shard.transactions[transactional_id].state in state.PREPARED:  # else it has no place in the log
                self._outcomes.prepared(shard, transactional_id, code)

        return shard.write(transactional_id, outcome, answer, refused, written)

    def _add_one(
        self,
        asked: AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction,
        version: int,
        check_id: IdCheck,
        check_partition: PartitionCheck,
    ) -> Answer[AddPartitionsToTxnResponse.AddPartitionsToTxnResult]:
        partitions = [(topic.name, index) for topic in asked.topics for index in topic.partitions]
        code = check_id(asked.transactional_id)
        if code is not ErrorCode.NONE:
            return _result(asked, dict.fromkeys(partitions, code))
        codes = {partition: check_partition(*partition) for partition in partitions}
        if any(code is not ErrorCode.NONE for code in codes.values()):
            return _result(asked, {at: code or ErrorCode.OPERATION_NOT_ATTEMPTED for at, code in codes.items()})
        if asked.verify_only:
            return _result(
                asked, self.verify(asked.transactional_id, asked.producer_id, asked.producer_epoch, partitions)
            )
        added = self.add_partitions(
            asked.transactional_id,
            asked.producer_id,
            asked.producer_epoch,
            partitions,
            client_version=EPOCH_BUMP_VERSION if version >= _BATCHED_FROM else 0,
        )
        return chain(added, lambda code: _result(asked, dict.fromkeys(partitions, _fenced_code(code, version))))

    def _abort_timed_out(self) -> None:
        for shard in self._led():
            for transactional_id in shard.timed_out():
                current = shard.transactions[transactional_id]
                self._events.info(
                    "transaction timed out",
                    transactional_id=transactional_id,
                    producer_id=current.producer_id,
                    timeout_ms=current.timeout_ms,
                )
                self._fence(shard, transactional_id, current, ErrorCode.NONE, group_write_error)

    def _forget_unused(self) -> None:
        since_ms = self._unused_since_ms()
        for shard in self._led():
            shard.forget_unused(since_ms)

    def _unused_since_ms(self) -> int:
        return self._clock.wall_ms() - self._config.transactional_id_expiration_ms


def init_error(code: ErrorCode, version: int) -> InitProducerIdResponse:
    """The response of a refused InitProducerId."""
    if code is ErrorCode.PRODUCER_FENCED and version < _INIT_FENCED_FROM:
        code = ErrorCode.INVALID_PRODUCER_EPOCH
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)


def end_error(code: ErrorCode, version: int) -> EndTxnResponse:
    """The response of a refused EndTxn."""
    return EndTxnResponse(error_code=_fenced_code(code, version))


def _end_response(transaction: Transaction, version: int) -> EndTxnResponse:
    if version < _EPOCH_BUMP_FROM:
        return EndTxnResponse()
    return EndTxnResponse(producer_id=transaction.producer_id, producer_epoch=transaction.producer_epoch)


def _fenced_code(code: ErrorCode, version: int) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED and version < _FENCED_FROM:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code


def _result(
    asked: AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction, codes: dict[TopicPartition, ErrorCode]
) -> AddPartitionsToTxnResponse.AddPartitionsToTxnResult:
    response = AddPartitionsToTxnResponse
    return response.AddPartitionsToTxnResult(
        transactional_id=asked.transactional_id,
        topic_results=[
            response.AddPartitionsToTxnTopicResult(
                name=topic.name,
                results_by_partition=[
                    response.AddPartitionsToTxnPartitionResult(
                        partition_index=index, partition_error_code=codes[topic.name, index]
                    )
                    for index in topic.partitions
                ],
            )
            for topic in asked.topics
        ],
    )


def _added(
    results: list[AddPartitionsToTxnResponse.AddPartitionsToTxnResult], version: int
) -> AddPartitionsToTxnResponse:
    if version < _BATCHED_FROM:
        return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=results[0].topic_results)
    return AddPartitionsToTxnResponse(results_by_transaction=results)


def _allow_id(transactional_id: str) -> ErrorCode:
    return ErrorCode.NONE


def _allow_partition(topic: str, partition: int) -> ErrorCode:
    return ErrorCode.NONE
