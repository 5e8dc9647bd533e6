"""Transactions between the parts of a broker: what the coordinator is made of, and what a leader asks it before records
of a transaction are appended (KIP-890).

What the coordinator decides lives in coordinator/transaction; how markers are written in markers.py.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ottla.broker.features import TRANSACTION_VERSION, level
from ottla.broker.markers import write_marker
from ottla.broker.state_log import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from ottla.coordinator.result import chain
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.log.door import Outcome, Pending
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.nodes import Node
    from ottla.coordinator.ports import Append, ProducerIdentity
    from ottla.coordinator.result import Answer
    from ottla.coordinator.transaction.ports import TopicPartition

Verdicts = dict["Partition", ErrorCode]
"""For each partition: NONE if the transaction's records may be appended there, else the code for the client."""


class ClientProtocol(Enum):
    """What a transactional client expects of the leader, as the version of its request tells."""

    CHECKED = 0  # it added the partition itself; if not, it expects INVALID_TXN_STATE
    CHECKED_ABORTABLE = 1  # …TRANSACTION_ABORTABLE
    ADDED = 2  # its records bring the partition into the transaction

    @staticmethod
    def of_produce(version: int) -> ClientProtocol:
        return ClientProtocol(min(max(version - 10, 0), 2))

    @staticmethod
    def of_offset_commit(version: int) -> ClientProtocol:
        return ClientProtocol(min(max(version - 3, 0), 2))


def make_coordinator(broker: Broker, partitions: int, led: Collection[int], append: Append) -> TransactionCoordinator:
    """A transaction coordinator over the logs of `broker`, of the node that has the partitions `led`."""
    cluster = broker.cluster

    def write(
        partition: TopicPartition,
        *,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        commit: bool,
        transaction_version: int,
    ) -> Outcome[None]:
        topic, index = partition
        return write_marker(
            broker,
            topic,
            index,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            coordinator_epoch=coordinator_epoch,
            commit=commit,
            transaction_version=transaction_version,
        )

    def coordinator_epoch(index: int) -> int:
        partition = cluster.partition(TRANSACTIONS_TOPIC, index)
        return partition.leader_epoch if partition is not None else 0

    return TransactionCoordinator(
        clock=broker.clock,
        timers=broker.timers,
        config=broker.config.transaction_config(),
        partitions=partitions,
        led=led,
        append=append,
        write_marker=write,
        producer_ids=broker.metadata.new_producer_id,
        coordinator_epoch=coordinator_epoch,
        transaction_version=lambda: level(cluster, TRANSACTION_VERSION),
        events=broker.log,
    )


def admit(
    broker: Broker,
    node: Node,
    transactional_id: str,
    producer: ProducerIdentity,
    partitions: Iterable[Partition],
    protocol: ClientProtocol,
) -> Answer[Verdicts]:
    """May `node` append records of the producer's transaction to `partitions`? Where another one leads nobody is asked.

    Where its transaction is open already, the log alone knows. Else the coordinator is asked: an older client must have
    added the partition itself, that of a newer one is added now.
    """
    verdicts = {
        partition: ErrorCode.NONE if partition.leader == node.id else ErrorCode.NOT_LEADER_OR_FOLLOWER
        for partition in partitions
    }
    producer_id, epoch = producer
    if protocol is not ClientProtocol.ADDED and not broker.config.transaction_partition_verification_enable:
        return verdicts
    asked = {
        (partition.topic.name, partition.index): partition
        for partition, verdict in verdicts.items()
        if verdict is ErrorCode.NONE and (epoch < 0 or partition.log.open_transaction_epoch(producer_id) != epoch)
    }
    if not asked:
        return verdicts
    if protocol is not ClientProtocol.ADDED:
        coordinator = broker.transaction_coordinator(transactional_id)
        for name, code in coordinator.verify(transactional_id, producer_id, epoch, list(asked)).items():
            verdicts[asked[name]] = _for_client(code, protocol)
        return verdicts

    def added(code: ErrorCode) -> Verdicts:
        verdicts.update(dict.fromkeys(asked.values(), _for_client(code, protocol)))
        return verdicts

    return chain(_add(broker, transactional_id, producer, list(asked)), added)


def admit_offsets(
    broker: Broker, node: Node, transactional_id: str, producer: ProducerIdentity, group: str, protocol: ClientProtocol
) -> Answer[ErrorCode]:
    """May `node` commit offsets of `group` as part of the producer's transaction? Raises KafkaError if the topic of
    offsets cannot be created."""
    partition = broker.metadata.internal_topic(OFFSETS_TOPIC).partitions[broker.offsets_partition(group)]
    verdicts = admit(broker, node, transactional_id, producer, (partition,), protocol)
    return chain(verdicts, lambda verdicts: verdicts[partition])


def _add(
    broker: Broker, transactional_id: str, producer: ProducerIdentity, partitions: list[TopicPartition]
) -> Answer[ErrorCode]:
    """Add the partitions; while the transaction before is being completed, try again for a little while, so that a
    client that is quicker than the disk need not."""
    answer = broker.transaction_coordinator(transactional_id).add_partitions(transactional_id, *producer, partitions)
    if answer is not ErrorCode.CONCURRENT_TRANSACTIONS or broker.stopping:
        return answer
    later: Pending[ErrorCode] = Pending()
    backoff_ms = broker.config.add_partitions_to_txn_retry_backoff_ms
    until_ms = broker.timers.now_ms() + broker.config.add_partitions_to_txn_retry_backoff_max_ms

    def again() -> None:
        answer: Answer[ErrorCode]
        try:
            coordinator = broker.transaction_coordinator(transactional_id)
            answer = coordinator.add_partitions(transactional_id, *producer, partitions)
        except KafkaError as error:  # nobody else would tell who waits
            answer = error.code
        if isinstance(answer, Pending):
            answer.then(lambda settled: later.resolve(settled.result()))
        elif answer is ErrorCode.CONCURRENT_TRANSACTIONS and broker.timers.now_ms() < until_ms and not broker.stopping:
            broker.timers.schedule(backoff_ms, again)
        else:
            later.resolve(answer)

    broker.timers.schedule(backoff_ms, again)
    return later


def _for_client(code: ErrorCode, protocol: ClientProtocol) -> ErrorCode:
    """What the coordinator's answer becomes in the answer to a Produce or TxnOffsetCommit."""
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.TRANSACTION_ABORTABLE and protocol is ClientProtocol.CHECKED:
        return ErrorCode.INVALID_TXN_STATE
    return code
