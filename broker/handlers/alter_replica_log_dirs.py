"""AlterReplicaLogDirs (34), v1-2: move replicas to another folder of the same broker. KIP-113.

A broker here has one folder: to stay in it is granted, any other is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

TopicResult = AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult
PartitionResult = AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult


def handle(broker: Broker, context: Context, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    codes: dict[str, dict[int, ErrorCode]] = {}
    for wanted in request.dirs:
        for topic in wanted.topics:
            for index in topic.partitions:
                if wanted.path != broker.store.path:
                    code = ErrorCode.LOG_DIR_NOT_FOUND
                elif broker.cluster.partition(topic.name, index) is None:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                else:
                    code = ErrorCode.NONE
                codes.setdefault(topic.name, {})[index] = code
    return AlterReplicaLogDirsResponse(
        results=[
            TopicResult(
                topic_name=name,
                partitions=[PartitionResult(partition_index=index, error_code=code) for index, code in found.items()],
            )
            for name, found in codes.items()
        ]
    )


def error(request: AlterReplicaLogDirsRequest, version: int, code: ErrorCode) -> AlterReplicaLogDirsResponse:
    return AlterReplicaLogDirsResponse(
        results=[
            TopicResult(
                topic_name=topic.name,
                partitions=[PartitionResult(partition_index=index, error_code=code) for index in topic.partitions],
            )
            for wanted in request.dirs
            for topic in wanted.topics
        ]
    )
