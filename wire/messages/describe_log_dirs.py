"""DescribeLogDirs, api key 35, versions 1-5, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class DescribeLogDirsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 35
    VALID = (1, 5)
    FLEXIBLE = 2

    topics: list[DescribableLogDirTopic] | None = field("0+", nullable="0+")

    class DescribableLogDirTopic(Struct):
        topic: str = field("0+")
        partitions: list[Int32] = field("0+")


class DescribeLogDirsResponse(Message):
    """Changes by version.

    v2: flexible
    v3: +error_code
    v4: +DescribeLogDirsResult.total_bytes, +DescribeLogDirsResult.usable_bytes
    v5: +DescribeLogDirsResult.is_cordoned
    """

    KEY = 35
    VALID = (1, 5)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("3+", ignorable=True)
    results: list[DescribeLogDirsResult] = field("0+")

    class DescribeLogDirsResult(Struct):
        error_code: Int16 = field("0+")
        log_dir: str = field("0+")
        topics: list[DescribeLogDirsResponse.DescribeLogDirsTopic] = field("0+")
        total_bytes: Int64 = field("4+", default=-1, ignorable=True)
        usable_bytes: Int64 = field("4+", default=-1, ignorable=True)
        is_cordoned: bool = field("5+", ignorable=True)

    class DescribeLogDirsTopic(Struct):
        name: str = field("0+")
        partitions: list[DescribeLogDirsResponse.DescribeLogDirsPartition] = field("0+")

    class DescribeLogDirsPartition(Struct):
        partition_index: Int32 = field("0+")
        partition_size: Int64 = field("0+")
        offset_lag: Int64 = field("0+")
        is_future_key: bool = field("0+")
