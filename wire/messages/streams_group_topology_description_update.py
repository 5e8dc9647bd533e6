"""StreamsGroupTopologyDescriptionUpdate, api key 93, version 0, flexible from 0. Sent by Kafka Streams."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class StreamsGroupTopologyDescriptionUpdateRequest(Message):
    """One version."""

    KEY = 93
    VALID = (0, 0)
    FLEXIBLE = 0

    group_id: str = field("0+")
    member_id: str = field("0+")
    topology_epoch: Int32 = field("0+")
    topology_description: TopologyDescription = field("0+")

    class TopologyDescription(Struct):
        subtopologies: list[StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionSubtopology] = field("0+")
        global_stores: list[StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionGlobalStore] = field("0+")

    class TopologyDescriptionSubtopology(Struct):
        subtopology_id: str = field("0+")
        nodes: list[StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionNode] = field("0+")

    class TopologyDescriptionNode(Struct):
        name: str = field("0+")
        node_type: Int8 = field("0+")
        source_topics: list[str] = field("0+")
        sink_topic: str | None = field("0+", nullable="0+", default=None)
        stores: list[str] = field("0+")
        successors: list[str] = field("0+")

    class TopologyDescriptionGlobalStore(Struct):
        source: StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionNode = field("0+")
        processor: StreamsGroupTopologyDescriptionUpdateRequest.TopologyDescriptionNode = field("0+")


class StreamsGroupTopologyDescriptionUpdateResponse(Message):
    """One version."""

    KEY = 93
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", default=None)
