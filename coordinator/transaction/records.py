"""The record of `__transaction_state`: what one transactional id is doing, as a value and as bytes."""

from __future__ import annotations

from ottla.coordinator.state_record import StateRecord, int16
from ottla.coordinator.transaction.ports import TopicPartition
from ottla.coordinator.transaction.state import EMPTY, NO_PRODUCER_ID, TRANSITIONS, Transaction, TransactionState
from ottla.wire.errors import ProtocolError
from ottla.wire.state.transaction_state import TransactionLogKey, TransactionLogValue

_FLEXIBLE = 1
_STATES = {state.state_id: state for state in TransactionState if TRANSITIONS[state]}  # the others are never written


class TransactionRecord(StateRecord):
    """A transactional id and what it is doing; None: it is forgotten."""

    __slots__ = ("transaction", "transactional_id")

    def __init__(self, transactional_id: str, transaction: Transaction | None, version: int) -> None:
        if transaction is not None and version < _FLEXIBLE:  # what the record cannot say is not known afterwards either
            transaction = transaction._replace(
                previous_producer_id=NO_PRODUCER_ID, next_producer_id=NO_PRODUCER_ID, client_version=0
            )
        value = None if transaction is None else _value(transaction)
        super().__init__(TransactionLogKey(transactional_id=transactional_id), value, version)
        self.transactional_id = transactional_id
        self.transaction = transaction


def value_version(transaction_version: int) -> int:
    """The version in which values are written at a level of the feature transaction.version."""
    return _FLEXIBLE if transaction_version >= 1 else 0


def decode_record(key: bytes, value: bytes | None) -> TransactionRecord | None:
    """The record, None if it is of a type that is not known here. Raises ProtocolError."""
    if int16(key) != TransactionLogKey.KEY:
        return None
    transactional_id = TransactionLogKey.decode(key, 0, 2).transactional_id
    if value is None:
        return TransactionRecord(transactional_id, None, 0)
    version = int16(value)
    transaction = _transaction(TransactionLogValue.decode(value, version, 2))
    return TransactionRecord(transactional_id, transaction, version)


def by_topic(partitions: frozenset[TopicPartition]) -> dict[str, list[int]]:
    """Partitions grouped by topic, in order."""
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        topics.setdefault(topic, []).append(partition)
    return topics


def _value(transaction: Transaction) -> TransactionLogValue:
    partitions = None
    if transaction.state is not EMPTY:
        partitions = [
            TransactionLogValue.PartitionsSchema(topic=topic, partition_ids=indexes)
            for topic, indexes in by_topic(transaction.partitions).items()
        ]
    return TransactionLogValue(
        producer_id=transaction.producer_id,
        previous_producer_id=transaction.previous_producer_id,
        next_producer_id=transaction.next_producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state.state_id,
        transaction_partitions=partitions,
        transaction_last_update_timestamp_ms=transaction.update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
        client_transaction_version=transaction.client_version,
    )


def _transaction(value: TransactionLogValue) -> Transaction:
    state = _STATES.get(value.transaction_status)
    if state is None:
        raise ProtocolError(f"unknown state of a transaction: {value.transaction_status}", api=TransactionLogValue.NAME)
    return Transaction(
        producer_id=value.producer_id,
        producer_epoch=value.producer_epoch,
        timeout_ms=value.transaction_timeout_ms,
        state=state,
        partitions=frozenset(
            (topic.topic, partition)
            for topic in value.transaction_partitions or ()
            for partition in topic.partition_ids
        ),
        start_ms=value.transaction_start_timestamp_ms,
        update_ms=value.transaction_last_update_timestamp_ms,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        client_version=value.client_transaction_version,
    )
