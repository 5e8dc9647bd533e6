"""WriteTxnMarkers, api key 27, versions 1-2, flexible from 1.

Sent by transaction coordinators, admin clients (abort).
"""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, field


class WriteTxnMarkersRequest(Message):
    """Changes by version.

    v2: +WritableTxnMarker.transaction_version
    """

    KEY = 27
    VALID = (1, 2)
    FLEXIBLE = 1

    markers: list[WritableTxnMarker] = field("0+")

    class WritableTxnMarker(Struct):
        producer_id: Int64 = field("0+")
        producer_epoch: Int16 = field("0+")
        transaction_result: bool = field("0+")
        topics: list[WriteTxnMarkersRequest.WritableTxnMarkerTopic] = field("0+")
        coordinator_epoch: Int32 = field("0+")
        transaction_version: Int8 = field("2+", ignorable=True)

    class WritableTxnMarkerTopic(Struct):
        name: str = field("0+")
        partition_indexes: list[Int32] = field("0+")


class WriteTxnMarkersResponse(Message):
    """The same fields in all versions."""

    KEY = 27
    VALID = (1, 2)
    FLEXIBLE = 1

    markers: list[WritableTxnMarkerResult] = field("0+")

    class WritableTxnMarkerResult(Struct):
        producer_id: Int64 = field("0+")
        topics: list[WriteTxnMarkersResponse.WritableTxnMarkerTopicResult] = field("0+")

    class WritableTxnMarkerTopicResult(Struct):
        name: str = field("0+")
        partitions: list[WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult] = field("0+")

    class WritableTxnMarkerPartitionResult(Struct):
        partition_index: Int32 = field("0+")
        error_code: Int16 = field("0+")
