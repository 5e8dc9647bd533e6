"""What a test does to a broker without a client: topics made and removed, records put there, groups removed. The same
decisions and the same log as for clients' requests; belongs into the broker's loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from ottla.broker.group_views import CONSUMER, Asker, GroupView, groups_of
from ottla.log.door import Done
from ottla.wire.errors import KafkaError
from ottla.wire.hashing import partition_for_key
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.records import Record, build_batch

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Topic
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.log.door import Appended, Outcome
    from ottla.testing.instance import Instance

_BATCH_BYTES: Final = 512 << 10  # of keys and values; below any sane max.message.bytes
_LEAVE_VERSION: Final = 5
_LEAVING_EPOCH: Final = -1

Text = bytes | str
Headers = Iterable[tuple[str, bytes | None]]


def create_topic(broker: Broker, name: str, partitions: int = -1, configs: Mapping[str, str] | None = None) -> None:
    """As CreateTopics does; -1 partitions: num.partitions. Raises ValueError."""
    try:
        broker.metadata.create_topic(broker.metadata.plan_topic(name, partitions, -1, None, configs))
    except KafkaError as error:
        raise ValueError(f"topic {name!r} cannot be created: {error}") from None


async def produce(
    instance: Instance,
    topic: str,
    values: Sequence[Text | None],
    *,
    key: Text | None,
    headers: Headers,
    partition: int | None,
    timestamp_ms: int | None,
) -> None:
    """Append, as a producer with acks=all does; a topic that is not there is created. Returns once the records are
    acknowledged. Raises ValueError.
    """
    broker = instance.broker
    if topic not in broker.cluster.topics:
        create_topic(broker, topic)
    to = broker.cluster.topics[topic]
    packed_key, packed_headers = None if key is None else _bytes(key), tuple(headers)
    now_ms = broker.clock.wall_ms() if timestamp_ms is None else timestamp_ms
    outcomes = []
    try:
        for index, own in _spread(to, values, packed_key, partition).items():
            for some in _portions(own):
                records = [Record(at, now_ms, packed_key, value, packed_headers) for at, value in enumerate(some)]
                outcomes.append(_append(broker, topic, index, build_batch(records)))
        for outcome in outcomes:
            await _done(outcome)
    except KafkaError as error:
        raise ValueError(f"records cannot be written to {topic!r}: {error}") from None


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _spread(
    topic: Topic, values: Sequence[Text | None], key: bytes | None, partition: int | None
) -> dict[int, list[bytes | None]]:
    """By partition: the one that is named, that of the key as clients in Java have it, or all in turns."""
    count = len(topic.partitions)
    if partition is not None and not 0 <= partition < count:
        raise ValueError(f"topic {topic.name!r} has no partition {partition}: its partitions are 0 to {count - 1}")
    if partition is None and key is not None:
        partition = partition_for_key(key, count)
    spread: dict[int, list[bytes | None]] = {}
    for at, value in enumerate(values):
        index = at % count if partition is None else partition
        spread.setdefault(index, []).append(None if value is None else _bytes(value))
    return spread


def _portions(values: list[bytes | None]) -> Iterator[list[bytes | None]]:
    """A batch each."""
    portion: list[bytes | None] = []
    size = 0
    for value in values:
        if portion and size + len(value or b"") > _BATCH_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(value)
        size += len(value or b"")
    if portion:
        yield portion


def _append(broker: Broker, topic: str, index: int, batch: bytearray) -> Outcome[Appended]:
    partition, _ = broker.led(topic, index)
    broker.check_min_isr(partition)
    outcome = partition.log.append(batch, leader_epoch=partition.leader_epoch)
    if isinstance(outcome, Done):
        partition.grew()
    else:
        outcome.then(lambda _: partition.grew())
    return outcome


async def _done(outcome: Outcome[Appended]) -> None:
    """Raises KafkaError."""
    if not isinstance(outcome, Done):
        settled = trio.Event()
        outcome.then(lambda _: settled.set())
        await settled.wait()
        outcome.result()


def clear(broker: Broker, prefix: str) -> None:
    """No faults, a clock that goes on, and neither topics nor groups whose names begin so. Raises KafkaError
    KAFKA_STORAGE_ERROR.
    """
    if broker.gate.faults is not None:
        broker.gate.faults.clear()
    if broker.time is not None:
        broker.time.resume()
    delete_all(broker, prefix)


def delete_all(broker: Broker, prefix: str) -> None:
    """Topics and groups whose names begin so. Raises KafkaError KAFKA_STORAGE_ERROR."""
    delete_groups(broker, [group for name, group in groups_of(broker).items() if name.startswith(prefix)])
    topics = [topic for name, topic in broker.cluster.topics.items() if name.startswith(prefix) and not topic.internal]
    if topics:
        broker.delete_topics(topics)


def delete_groups(broker: Broker, groups: Sequence[GroupView]) -> None:
    """With their offsets; members that are still in are made to leave first."""
    if not groups:
        return
    for node in broker.cluster.nodes.values():
        coordinator = node.group_coordinator.current
        if coordinator is None:
            continue
        for group in groups:
            for member in group.members:
                _leave(coordinator, group, member.id)
        coordinator.delete_groups(Asker(), DeleteGroupsRequest(groups_names=[group.id for group in groups]), 2)


def _leave(coordinator: GroupCoordinator, group: GroupView, member: str) -> None:
    if group.type == CONSUMER:
        leaving = ConsumerGroupHeartbeatRequest(group_id=group.id, member_id=member, member_epoch=_LEAVING_EPOCH)
        coordinator.consumer_group_heartbeat(Asker(), leaving, 1)
    else:
        one = LeaveGroupRequest.MemberIdentity(member_id=member)
        coordinator.leave_group(Asker(), LeaveGroupRequest(group_id=group.id, members=[one]), _LEAVE_VERSION)
