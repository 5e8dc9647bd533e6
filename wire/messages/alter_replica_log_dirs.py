"""AlterReplicaLogDirs, api key 34, versions 1-2, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class AlterReplicaLogDirsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 34
    VALID = (1, 2)
    FLEXIBLE = 2

    dirs: list[AlterReplicaLogDir] = field("0+")

    class AlterReplicaLogDir(Struct):
        path: str = field("0+")
        topics: list[AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic] = field("0+")

    class AlterReplicaLogDirTopic(Struct):
        name: str = field("0+")
        partitions: list[Int32] = field("0+")


class AlterReplicaLogDirsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 34
    VALID = (1, 2)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    results: list[AlterReplicaLogDirTopicResult] = field("0+")

    class AlterReplicaLogDirTopicResult(Struct):
        topic_name: str = field("0+")
        partitions: list[AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult] = field("0+")

    class AlterReplicaLogDirPartitionResult(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
