"""The states of a transactional id, the moves between them, and what each operation makes of a transaction.

Pure: a transaction is a value, an operation gives the next value or the code that refuses it. Writing is the shard's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.transaction.ports import TopicPartition
from ottla.wire.errors import ErrorCode

NO_PRODUCER_ID: Final = -1
NO_PRODUCER_EPOCH: Final = -1
MAX_EPOCH: Final = 32767
LAST_CLIENT_EPOCH: Final = MAX_EPOCH - 1  # the coordinator keeps the last one, so that it can always fence
EPOCH_BUMP_VERSION: Final = 2  # transaction.version from which every end bumps the epoch (KIP-890)


class TransactionState(Enum):
    """Kafka's states: (id on disk, name on the wire)."""

    EMPTY = (0, "Empty")
    ONGOING = (1, "Ongoing")
    PREPARE_COMMIT = (2, "PrepareCommit")
    PREPARE_ABORT = (3, "PrepareAbort")
    COMPLETE_COMMIT = (4, "CompleteCommit")
    COMPLETE_ABORT = (5, "CompleteAbort")
    # The last two are never written; clients may name them in filters.
    DEAD = (6, "Dead")
    PREPARE_EPOCH_FENCE = (7, "PrepareEpochFence")

    def __init__(self, state_id: int, label: str) -> None:
        self.state_id = state_id
        self.label = label


EMPTY, ONGOING = TransactionState.EMPTY, TransactionState.ONGOING
PREPARE_COMMIT, PREPARE_ABORT = TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT
COMPLETE_COMMIT, COMPLETE_ABORT = TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT

PREPARED: Final = frozenset((PREPARE_COMMIT, PREPARE_ABORT))
"""The outcome is decided, its markers are under way: nothing else may change."""
IDLE: Final = frozenset((EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT))
"""No transaction is open: a new producer may come, and the id may expire."""

TRANSITIONS: Final[dict[TransactionState, frozenset[TransactionState]]] = {
    # PrepareAbort from an idle state: KIP-890 lets a client abort without knowing whether anything was added.
    EMPTY: frozenset((EMPTY, ONGOING, PREPARE_ABORT, TransactionState.DEAD)),
    ONGOING: frozenset((ONGOING, PREPARE_COMMIT, PREPARE_ABORT)),
    PREPARE_COMMIT: frozenset((COMPLETE_COMMIT,)),
    PREPARE_ABORT: frozenset((COMPLETE_ABORT,)),
    COMPLETE_COMMIT: frozenset((EMPTY, ONGOING, PREPARE_ABORT, TransactionState.DEAD)),
    COMPLETE_ABORT: frozenset((EMPTY, ONGOING, PREPARE_ABORT, TransactionState.DEAD)),
    TransactionState.DEAD: frozenset(),
    TransactionState.PREPARE_EPOCH_FENCE: frozenset(),
}
"""All moves there are; any other is a bug. Dead is the tombstone."""


class Transaction(NamedTuple):
    """What is known of a transactional id. All but `last_producer_epoch` is in its record."""

    producer_id: int
    producer_epoch: int
    timeout_ms: int
    state: TransactionState
    partitions: frozenset[TopicPartition]
    start_ms: int  # wall clock, when the first partition was added; -1 before
    update_ms: int  # wall clock of the last change
    previous_producer_id: int = NO_PRODUCER_ID
    next_producer_id: int = NO_PRODUCER_ID  # from Prepare on if the epochs are used up: the id after Complete
    client_version: int = 0  # transaction.version that the client, or whoever ended the transaction, went by
    # The epoch that a client may still name when it repeats an InitProducerId (KIP-360). Kafka's 4.4 schema has no
    # place for it, so a restart forgets it, there and here: such a repeat is then fenced.
    last_producer_epoch: int = NO_PRODUCER_EPOCH

    @property
    def epoch_exhausted(self) -> bool:
        """Whether no client may get a higher epoch of this producer id."""
        return self.producer_epoch >= LAST_CLIENT_EPOCH

    def moved(self, state: TransactionState, now_ms: int) -> Transaction:
        """The same in another state. Raises RuntimeError for a move that does not exist."""
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a transaction cannot go from {self.state.label} to {state.label}")
        return self._replace(state=state, update_ms=now_ms, previous_producer_id=self.producer_id)


Decision: TypeAlias = Transaction | ErrorCode
"""The next value to write, or the answer without one (NONE: it is so already)."""

NewProducerId: TypeAlias = Callable[[], int]
"""Raises KafkaError."""


def initialized(
    transaction: Transaction | None,
    *,
    expected: ProducerIdentity | None,
    timeout_ms: int,
    writing: bool,
    now_ms: int,
    new_producer_id: NewProducerId,
) -> Decision:
    """InitProducerId while no transaction is open. `expected`: who the client believes to be (KIP-360).

    An open one, unless `check_init` refuses, has to be `fenced` first.
    """
    if transaction is None:
        transaction = Transaction(
            new_producer_id(), NO_PRODUCER_EPOCH, timeout_ms, EMPTY, frozenset(), -1, now_ms, NO_PRODUCER_ID
        )
        return _emptied(transaction, timeout_ms, now_ms)._replace(producer_epoch=0)
    refusal = check_init(transaction, expected, writing)
    if refusal is not ErrorCode.NONE:
        return refusal
    next_value = _emptied(transaction, timeout_ms, now_ms)
    epoch = transaction.producer_epoch
    if expected is not None and expected[1] != epoch:
        # A repeat of a call that worked gets what that one got: whoever else came since has set the last epoch to -1.
        return next_value if expected[1] == transaction.last_producer_epoch else ErrorCode.PRODUCER_FENCED
    last_epoch = NO_PRODUCER_EPOCH if expected is None else epoch
    if transaction.epoch_exhausted:
        return next_value._replace(producer_id=new_producer_id(), producer_epoch=0, last_producer_epoch=last_epoch)
    return next_value._replace(producer_epoch=epoch + 1, last_producer_epoch=last_epoch)


def check_init(transaction: Transaction, expected: ProducerIdentity | None, writing: bool) -> ErrorCode:
    """Whether InitProducerId may go on at all, be it that a transaction must be fenced first."""
    if writing or transaction.state in PREPARED:
        return ErrorCode.CONCURRENT_TRANSACTIONS
    if expected is None or expected[0] == transaction.producer_id:
        return ErrorCode.NONE
    # A repeat of the call that used up the epochs of the previous id.
    if expected[0] == transaction.previous_producer_id and expected[1] >= LAST_CLIENT_EPOCH:
        return ErrorCode.NONE
    return ErrorCode.PRODUCER_FENCED


def with_partitions(
    transaction: Transaction | None,
    producer: ProducerIdentity,
    added: Collection[TopicPartition],
    *,
    writing: bool,
    durable: frozenset[TopicPartition],
    client_version: int,
    now_ms: int,
) -> Decision:
    """Partitions join the transaction, which begins with the first. `durable`: those that are known to be on disk."""
    if transaction is None:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    # First of all: while a Complete is under way the producer is about to change, and nobody fences himself.
    if writing or transaction.state in PREPARED:
        return ErrorCode.CONCURRENT_TRANSACTIONS
    refusal = _check_producer(transaction, producer)
    if refusal is not ErrorCode.NONE:
        return refusal
    ongoing = transaction.state is ONGOING
    if ongoing and durable.issuperset(added):
        return ErrorCode.NONE
    return transaction.moved(ONGOING, now_ms)._replace(
        partitions=transaction.partitions.union(added),
        start_ms=transaction.start_ms if ongoing else now_ms,
        client_version=client_version,
    )


def verified(
    transaction: Transaction | None,
    producer: ProducerIdentity,
    partitions: Collection[TopicPartition],
    durable: frozenset[TopicPartition],
) -> dict[TopicPartition, ErrorCode]:
    """Whether each partition is in the producer's transaction: NONE, TRANSACTION_ABORTABLE if it was not added."""
    if transaction is None:
        refusal = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    else:
        refusal = _check_producer(transaction, producer)
        if refusal is ErrorCode.NONE and transaction.state in PREPARED:
            refusal = ErrorCode.CONCURRENT_TRANSACTIONS
    if refusal is not ErrorCode.NONE:
        return dict.fromkeys(partitions, refusal)
    return {
        partition: ErrorCode.NONE if partition in durable else ErrorCode.TRANSACTION_ABORTABLE
        for partition in partitions
    }


def ended(
    transaction: Transaction | None, producer: ProducerIdentity, commit: bool, *, writing: bool, now_ms: int
) -> Decision:
    """EndTxn as clients before KIP-890 send it: the producer keeps its epoch."""
    if transaction is None:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    refusal = _check_producer(transaction, producer)
    if refusal is not ErrorCode.NONE:
        return refusal
    state = transaction.state
    if writing or state in PREPARED:
        return ErrorCode.CONCURRENT_TRANSACTIONS
    if state is ONGOING:
        return transaction.moved(_prepare(commit), now_ms)._replace(next_producer_id=NO_PRODUCER_ID, client_version=0)
    return ErrorCode.NONE if state is _complete(commit) else ErrorCode.INVALID_TXN_STATE


def ended_with_bump(
    transaction: Transaction | None,
    producer: ProducerIdentity,
    commit: bool,
    *,
    writing: bool,
    now_ms: int,
    new_producer_id: NewProducerId,
) -> Decision:
    """EndTxn of KIP-890: the next transaction has the next epoch, so a repeat is told apart by its older one."""
    if transaction is None:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    state, epoch = transaction.state, transaction.producer_epoch
    if writing or state in PREPARED:  # first of all, as in `with_partitions`
        return ErrorCode.CONCURRENT_TRANSACTIONS
    producer_id, producer_epoch = producer
    repeated_over_rotation = (
        producer_id == transaction.previous_producer_id and producer_epoch == LAST_CLIENT_EPOCH and epoch == 0
    )
    repeated = producer_epoch + 1 == epoch or repeated_over_rotation
    if producer_id != transaction.producer_id and not repeated_over_rotation:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    idle_after_end = state in (COMPLETE_COMMIT, COMPLETE_ABORT)
    if producer_epoch != epoch and not (repeated and idle_after_end):
        return ErrorCode.PRODUCER_FENCED
    if state is not ONGOING:
        if repeated and idle_after_end:
            return ErrorCode.NONE if state is _complete(commit) else ErrorCode.INVALID_TXN_STATE
        if commit:
            return ErrorCode.INVALID_TXN_STATE
    return _bumped(transaction, _prepare(commit), now_ms, new_producer_id)


def fenced(
    transaction: Transaction, *, transaction_version: int, now_ms: int, new_producer_id: NewProducerId
) -> Transaction:
    """An open transaction is aborted against its producer, which is fenced by a higher epoch."""
    if transaction_version >= EPOCH_BUMP_VERSION:
        return _bumped(transaction, PREPARE_ABORT, now_ms, new_producer_id)
    return transaction.moved(PREPARE_ABORT, now_ms)._replace(
        producer_epoch=min(transaction.producer_epoch + 1, MAX_EPOCH),
        last_producer_epoch=NO_PRODUCER_EPOCH,
        next_producer_id=NO_PRODUCER_ID,
        client_version=0,
    )


def completed(transaction: Transaction, now_ms: int) -> Transaction:
    """All markers are written. A producer id without epochs left gives way to the next."""
    commit = transaction.state is PREPARE_COMMIT
    done = transaction.moved(_complete(commit), now_ms)._replace(
        partitions=frozenset(), next_producer_id=NO_PRODUCER_ID
    )
    if transaction.next_producer_id == NO_PRODUCER_ID or transaction.client_version < EPOCH_BUMP_VERSION:
        return done
    return done._replace(producer_id=transaction.next_producer_id, producer_epoch=0)


def _check_producer(transaction: Transaction, producer: ProducerIdentity) -> ErrorCode:
    if transaction.producer_id != producer[0]:
        return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    return ErrorCode.NONE if transaction.producer_epoch == producer[1] else ErrorCode.PRODUCER_FENCED


def _emptied(transaction: Transaction, timeout_ms: int, now_ms: int) -> Transaction:
    return transaction.moved(EMPTY, now_ms)._replace(timeout_ms=timeout_ms, partitions=frozenset(), start_ms=-1)


def _bumped(
    transaction: Transaction, state: TransactionState, now_ms: int, new_producer_id: NewProducerId
) -> Transaction:
    next_producer_id = new_producer_id() if transaction.epoch_exhausted else NO_PRODUCER_ID
    return transaction.moved(state, now_ms)._replace(
        producer_epoch=min(transaction.producer_epoch + 1, MAX_EPOCH),
        last_producer_epoch=transaction.producer_epoch,
        next_producer_id=next_producer_id,
        # An abort of nothing has to have begun some time.
        start_ms=transaction.start_ms if transaction.state is ONGOING else now_ms,
        client_version=EPOCH_BUMP_VERSION,
    )


def _prepare(commit: bool) -> TransactionState:
    return PREPARE_COMMIT if commit else PREPARE_ABORT


def _complete(commit: bool) -> TransactionState:
    return COMPLETE_COMMIT if commit else COMPLETE_ABORT
