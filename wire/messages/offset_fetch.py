"""OffsetFetch, api key 9, versions 1-10, flexible from 6. Sent by consumers, group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class OffsetFetchRequest(Message):
    """Changes by version.

    v6: flexible
    v7: +require_stable
    v8: -group_id, -topics, +groups, -OffsetFetchRequestTopic.name, -OffsetFetchRequestTopic.partition_indexes
    v9: +OffsetFetchRequestGroup.member_id, +OffsetFetchRequestGroup.member_epoch
    v10: -OffsetFetchRequestTopics.name, +OffsetFetchRequestTopics.topic_id
    """

    KEY = 9
    VALID = (1, 10)
    FLEXIBLE = 6

    group_id: str = field("0-7")
    topics: list[OffsetFetchRequestTopic] | None = field("0-7", nullable="2-7")
    groups: list[OffsetFetchRequestGroup] = field("8+")
    require_stable: bool = field("7+")

    class OffsetFetchRequestTopic(Struct):
        name: str = field("0-7")
        partition_indexes: list[Int32] = field("0-7")

    class OffsetFetchRequestGroup(Struct):
        group_id: str = field("8+")
        member_id: str | None = field("9+", nullable="9+", default=None, ignorable=True)
        member_epoch: Int32 = field("9+", default=-1, ignorable=True)
        topics: list[OffsetFetchRequest.OffsetFetchRequestTopics] | None = field("8+", nullable="8+")

    class OffsetFetchRequestTopics(Struct):
        name: str = field("8-9", ignorable=True)
        topic_id: Uuid = field("10+", ignorable=True)
        partition_indexes: list[Int32] = field("8+")


class OffsetFetchResponse(Message):
    """Changes by version.

    v2: +error_code
    v3: +throttle_time_ms
    v5: +OffsetFetchResponsePartition.committed_leader_epoch
    v6: flexible
    v8: -topics, -error_code, +groups, -OffsetFetchResponseTopic.name, -OffsetFetchResponseTopic.partitions,
        -OffsetFetchResponsePartition.partition_index, -OffsetFetchResponsePartition.committed_offset,
        -OffsetFetchResponsePartition.committed_leader_epoch, -OffsetFetchResponsePartition.metadata,
        -OffsetFetchResponsePartition.error_code
    v10: -OffsetFetchResponseTopics.name, +OffsetFetchResponseTopics.topic_id
    """

    KEY = 9
    VALID = (1, 10)
    FLEXIBLE = 6

    throttle_time_ms: Int32 = field("3+", ignorable=True)
    topics: list[OffsetFetchResponseTopic] = field("0-7")
    error_code: Int16 = field("2-7", ignorable=True)
    groups: list[OffsetFetchResponseGroup] = field("8+")

    class OffsetFetchResponseTopic(Struct):
        name: str = field("0-7")
        partitions: list[OffsetFetchResponse.OffsetFetchResponsePartition] = field("0-7")

    class OffsetFetchResponsePartition(Struct):
        partition_index: Int32 = field("0-7")
        committed_offset: Int64 = field("0-7")
        committed_leader_epoch: Int32 = field("5-7", default=-1, ignorable=True)
        metadata: str | None = field("0-7", nullable="0-7")
        error_code: Int16 = field("0-7")

    class OffsetFetchResponseGroup(Struct):
        group_id: str = field("8+")
        topics: list[OffsetFetchResponse.OffsetFetchResponseTopics] = field("8+")
        error_code: Int16 = field("8+")

    class OffsetFetchResponseTopics(Struct):
        name: str = field("8-9", ignorable=True)
        topic_id: Uuid = field("10+", ignorable=True)
        partitions: list[OffsetFetchResponse.OffsetFetchResponsePartitions] = field("8+")

    class OffsetFetchResponsePartitions(Struct):
        partition_index: Int32 = field("8+")
        committed_offset: Int64 = field("8+")
        committed_leader_epoch: Int32 = field("8+", default=-1, ignorable=True)
        metadata: str | None = field("8+", nullable="8+")
        error_code: Int16 = field("8+")
