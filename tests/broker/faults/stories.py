"""Words for stories about faults: ordering one, requests over the wire codec, and what came of them."""

from __future__ import annotations

from typing import Any

from ottla.broker.faults.fault import Fault
from ottla.broker.faults.faults import Faults
from ottla.broker.faults.rules import parse_rule
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, batches, build_batch
from tests.broker.conftest import Running

PRODUCE, FETCH, METADATA, JOIN, SYNC, HEARTBEAT = 9, 12, 8, 7, 5, 4
NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER


def order(faults: Faults, **rule: Any) -> Fault:
    return faults.add(parse_rule(rule))


def produce(*values: bytes, topic: str = "t", partition: int = 0, acks: int = -1) -> ProduceRequest:
    return produce_to({(topic, partition): values}, acks=acks)


def produce_to(
    values: dict[tuple[str, int], tuple[bytes, ...]], *, acks: int = -1, producer: tuple[int, int, int] | None = None
) -> ProduceRequest:
    """`producer`: id, epoch, base sequence."""
    topics: dict[str, list[Any]] = {}
    for (topic, partition), each in values.items():
        records = [Record(at, 1_700_000_000_000, None, value) for at, value in enumerate(each)]
        if producer is None:
            batch = build_batch(records)
        else:
            batch = build_batch(records, producer_id=producer[0], producer_epoch=producer[1], base_sequence=producer[2])
        data = ProduceRequest.PartitionProduceData(index=partition, records=batch)
        topics.setdefault(topic, []).append(data)
    return ProduceRequest(
        acks=acks,
        timeout_ms=5000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=data) for topic, data in topics.items()],
    )


def fetch(
    *places: tuple[str, int], offset: int = 0, max_wait_ms: int = 0, session: tuple[int, int] = (0, -1), epoch: int = -1
) -> FetchRequest:
    topics: dict[str, list[Any]] = {}
    for topic, partition in places or (("t", 0),):
        topics.setdefault(topic, []).append(
            FetchRequest.FetchPartition(
                partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20, current_leader_epoch=epoch
            )
        )
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=1 << 24,
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=rows) for topic, rows in topics.items()],
    )


def metadata(*names: str) -> MetadataRequest:
    return MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names])


def join(member: str = "", group: str = "g") -> JoinGroupRequest:
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=60_000,
        rebalance_timeout_ms=60_000,
        member_id=member,
        protocol_type="consumer",
        protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")],
    )


def codes(response: Any) -> dict[tuple[str, int], int]:
    """Of a Produce or Fetch, by topic and partition."""
    found = {}
    for topic in response.responses:
        for each in getattr(topic, "partition_responses", None) or topic.partitions:
            name = getattr(topic, "name", None) or topic.topic
            found[name, getattr(each, "index", None) or getattr(each, "partition_index", 0)] = each.error_code
    return found


def stored(running: Running, topic: str = "t", partition: int = 0) -> list[bytes | None]:
    """The values in the log itself."""
    log = running.broker.cluster.topics[topic].partitions[partition].log
    read: Any = log.read(0, 1 << 24, min_one_batch=True)
    return [record.value for batch in batches(read.value.take()) for record in batch.records(1 << 26)]


def values_of(response: Any) -> dict[tuple[str, int], list[bytes | None]]:
    """Of a Fetch."""
    return {
        (topic.topic, each.partition_index): [
            record.value for batch in batches(each.records or b"") for record in batch.records(1 << 26)
        ]
        for topic in response.responses
        for each in topic.partitions
    }


def is_idle(running: Running) -> bool:
    """Nothing hangs at the gate, and nothing waits for a timer that a fault set."""
    gate = running.broker.gate
    return gate.taps == [] and gate.detour is None
