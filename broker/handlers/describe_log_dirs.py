"""DescribeLogDirs (35), v1-5: how many bytes each partition has on disk, and how many are free. KIP-113, KIP-827."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.broker.dispatch import Context

Result = DescribeLogDirsResponse.DescribeLogDirsResult
TopicResult = DescribeLogDirsResponse.DescribeLogDirsTopic
PartitionResult = DescribeLogDirsResponse.DescribeLogDirsPartition


def handle(broker: Broker, context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    topics = broker.cluster.topics
    found: dict[str, list[Partition]] = {}
    if request.topics is None:
        found = {topic.name: topic.partitions for topic in topics.values()}
    else:  # who is not there is left out
        for wanted in request.topics:
            topic = topics.get(wanted.topic)
            if topic is not None:
                indexes = dict.fromkeys(wanted.partitions)
                found[wanted.topic] = [p for p in topic.partitions if p.index in indexes]
    node_id = context.node.id
    found = {name: [p for p in partitions if node_id in p.replicas] for name, partitions in found.items()}
    total, usable = broker.store.disk_space()
    return DescribeLogDirsResponse(
        results=[
            Result(
                log_dir=broker.store.path,
                topics=[
                    TopicResult(
                        name=name,
                        partitions=[
                            PartitionResult(partition_index=partition.index, partition_size=partition.log.size_bytes())
                            for partition in partitions
                        ],
                    )
                    for name, partitions in found.items()
                    if partitions
                ],
                total_bytes=total,
                usable_bytes=usable,
            )
        ]
    )


def error(request: DescribeLogDirsRequest, version: int, code: ErrorCode) -> DescribeLogDirsResponse:
    # v1 and v2 have a place for it with a folder only
    results = [Result(error_code=code)] if version < 3 else []
    return DescribeLogDirsResponse(error_code=code, results=results)
