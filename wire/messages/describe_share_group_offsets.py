"""DescribeShareGroupOffsets, api key 90, versions 0-1, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uuid, field


class DescribeShareGroupOffsetsRequest(Message):
    """The same fields in all versions."""

    KEY = 90
    VALID = (0, 1)
    FLEXIBLE = 0

    groups: list[DescribeShareGroupOffsetsRequestGroup] = field("0+")

    class DescribeShareGroupOffsetsRequestGroup(Struct):
        group_id: str = field("0+")
        topics: list[DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestTopic] | None = field(
            "0+", nullable="0+"
        )

    class DescribeShareGroupOffsetsRequestTopic(Struct):
        topic_name: str = field("0+")
        partitions: list[Int32] = field("0+")


class DescribeShareGroupOffsetsResponse(Message):
    """Changes by version.

    v1: +DescribeShareGroupOffsetsResponsePartition.lag
    """

    KEY = 90
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    groups: list[DescribeShareGroupOffsetsResponseGroup] = field("0+")

    class DescribeShareGroupOffsetsResponseGroup(Struct):
        group_id: str = field("0+")
        topics: list[DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseTopic] = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)

    class DescribeShareGroupOffsetsResponseTopic(Struct):
        topic_name: str = field("0+")
        topic_id: Uuid = field("0+")
        partitions: list[DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition] = field("0+")

    class DescribeShareGroupOffsetsResponsePartition(Struct):
        partition_index: Int32 = field("0+")
        start_offset: Int64 = field("0+")
        leader_epoch: Int32 = field("0+")
        lag: Int64 = field("1+", default=-1, ignorable=True)
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
