"""Epochs that really go up while a request is on its way, so that it is judged with an old one: of the leader of a
partition, of a producer, of a member.

As it happens when somebody else takes over; what the request is answered is its handler's to say.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

from ottla.broker.cluster import NO_LEADER
from ottla.broker.markers import write_marker
from ottla.log.door import Pending
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.records import HEADER_SIZE, RecordBatch
from ottla.wire.state.cluster_metadata import PartitionChangeRecord

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.faults.fault import Request
    from ottla.broker.faults.rules import Rule

_LAST_EPOCH: Final = (1 << 15) - 1
_TIMEOUT_MS: Final = 60_000  # of a transaction whose id nobody has used
_INIT_VERSION: Final = 5

Fencing = Generator[Pending[Any], None, str]


def can_fence(broker: Broker, rule: Rule, asked: Request) -> bool:
    """Whether the request has what the rule fences; true of rules that fence nothing."""
    if rule.action.kind != "fence":
        return True
    return any(True for _ in _FOUND[rule.action.value](broker, rule, asked))


def fence(broker: Broker, rule: Rule, asked: Request) -> Fencing:
    """Do it; what was done, in words. Raises KafkaError: the metadata or a marker cannot be written."""
    return (yield from _DONE[rule.action.value](broker, rule, asked))


# ── the leader of partitions ────────────────────────────────────────────────────────────────────────────────────────


def _led(broker: Broker, rule: Rule, asked: Request) -> Iterator[Partition]:
    for topic, indexes in rule.touched(asked.topics).items():
        for index in indexes or ():
            partition = broker.cluster.partition(topic, index)
            if partition is not None and partition.leader != NO_LEADER:
                yield partition


def _fence_leader(broker: Broker, rule: Rule, asked: Request) -> Fencing:
    partitions = list(dict.fromkeys(_led(broker, rule, asked)))
    broker.metadata.change_partitions(
        [
            PartitionChangeRecord(topic_id=each.topic.id, partition_id=each.index, leader=each.leader)
            for each in partitions
        ]
    )
    told = ", ".join(f"{each.topic.name}-{each.index} to {each.leader_epoch}" for each in partitions)
    return f"raised the leader epoch of {told}"
    yield


# ── producers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _transactional_ids(asked: Request) -> list[str]:
    request: Any = asked.context.request
    if asked.key == ApiKey.ADD_PARTITIONS_TO_TXN:
        if asked.version >= 4:
            return [each.transactional_id for each in request.transactions]
        return [request.v3_and_below_transactional_id]
    own: str | None = getattr(request, "transactional_id", None)
    return [own] if own else []


def _producers(broker: Broker, rule: Rule, asked: Request) -> Iterator[Any]:
    """Transactional ids, or (topic, partition, producer id, epoch) of idempotent batches."""
    ids = _transactional_ids(asked)
    yield from ids
    if ids or asked.key != ApiKey.PRODUCE:
        return
    for row in asked.context.request.topic_data:
        name = broker.cluster.name_of(row.topic_id) or row.name
        for data in row.partition_data:
            if data.records is None or len(data.records) < HEADER_SIZE or not rule.touches(name, data.index):
                continue
            batch = RecordBatch(data.records)
            is_there = broker.cluster.partition(name, data.index) is not None
            if is_there and batch.producer_id >= 0 and 0 <= batch.producer_epoch < _LAST_EPOCH:
                yield name, data.index, batch.producer_id, batch.producer_epoch


def _fence_producer(broker: Broker, rule: Rule, asked: Request) -> Fencing:
    told = []
    for found in list(_producers(broker, rule, asked)):
        if isinstance(found, str):
            yield from _init_again(broker, found)
            told.append(f"the transactional id {found}")
            continue
        topic, index, producer_id, epoch = found
        # What ends a transaction is the one thing by which a log hears of a new epoch without records of it.
        written = write_marker(
            broker,
            topic,
            index,
            producer_id=producer_id,
            producer_epoch=epoch + 1,
            coordinator_epoch=0,
            commit=False,
            transaction_version=0,
        )
        if isinstance(written, Pending):
            yield written
            written.result()
        told.append(f"producer {producer_id} in {topic}-{index} to {epoch + 1}")
    return f"raised the producer epoch of {', '.join(told)}"


def _init_again(broker: Broker, transactional_id: str) -> Generator[Pending[Any], None, None]:
    """As another instance that begins: an open transaction is aborted, and then the epoch is another one."""
    from ottla.wire.messages.init_producer_id import InitProducerIdRequest

    broker.metadata.internal_topic("__transaction_state")
    for _ in range(2):  # the first may abort a transaction only
        coordinator = broker.transaction_coordinator(transactional_id)
        known = coordinator.transaction(transactional_id)
        timeout_ms = known.timeout_ms if known is not None else _TIMEOUT_MS
        begun = InitProducerIdRequest(
            transactional_id=transactional_id, transaction_timeout_ms=timeout_ms, producer_id=-1, producer_epoch=-1
        )
        answer = coordinator.init_producer_id(begun, _INIT_VERSION)
        if isinstance(answer, Pending):
            yield answer
            answer = answer.result()
        if answer.error_code != ErrorCode.CONCURRENT_TRANSACTIONS:
            return


# ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _members(broker: Broker, rule: Rule, asked: Request) -> Iterator[tuple[str, str]]:
    """(group, member id) of those that the coordinator knows."""
    request: Any = asked.context.request
    named: list[tuple[str, str | None]] = []
    if asked.key == ApiKey.OFFSET_FETCH:
        if asked.version >= 9:
            named = [(group.group_id, group.member_id) for group in request.groups]
    elif asked.key == ApiKey.LEAVE_GROUP and asked.version >= 3:
        named = [(request.group_id, member.member_id) for member in request.members]
    else:
        named = [(request.group_id, request.member_id)]
    groups = asked.context.node.group_coordinator.current
    for group_id, member_id in named:
        group = groups.group(group_id) if groups is not None else None
        if member_id and group is not None and member_id in group.members:
            yield group_id, member_id


def _fence_member(broker: Broker, rule: Rule, asked: Request) -> Fencing:
    told = []
    for group_id, member_id in list(_members(broker, rule, asked)):
        code = asked.context.node.groups.fence(group_id, member_id)
        told.append(f"{member_id} of {group_id}, to whom {code.name} is due")
    return f"fenced {', '.join(told)}"
    yield


_FOUND: Final = {"leader": _led, "producer": _producers, "member": _members}
_DONE: Final = {"leader": _fence_leader, "producer": _fence_producer, "member": _fence_member}
