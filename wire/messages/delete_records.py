"""DeleteRecords, api key 21, versions 0-2, flexible from 2. Sent by admin clients, Streams (repartition topics)."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class DeleteRecordsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 21
    VALID = (0, 2)
    FLEXIBLE = 2

    topics: list[DeleteRecordsTopic] = field("0+")
    timeout_ms: Int32 = field("0+")

    class DeleteRecordsTopic(Struct):
        name: str = field("0+")
        partitions: list[DeleteRecordsRequest.DeleteRecordsPartition] = field("0+")

    class DeleteRecordsPartition(Struct):
        partition_index: Int32 = field("0+")
        offset: Int64 = field("0+")


class DeleteRecordsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 21
    VALID = (0, 2)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    topics: list[DeleteRecordsTopicResult] = field("0+")

    class DeleteRecordsTopicResult(Struct):
        name: str = field("0+")
        partitions: list[DeleteRecordsResponse.DeleteRecordsPartitionResult] = field("0+")

    class DeleteRecordsPartitionResult(Struct):
        partition_index: Int32 = field("0+")
        low_watermark: Int64 = field("0+")
        error_code: Int16 = field("0+")
