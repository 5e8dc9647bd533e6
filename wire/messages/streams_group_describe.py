"""StreamsGroupDescribe, api key 89, versions 0-1, flexible from 0. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uint16, field


class StreamsGroupDescribeRequest(Message):
    """Changes by version.

    v1: +include_topology_description
    """

    KEY = 89
    VALID = (0, 1)
    FLEXIBLE = 0

    group_ids: list[str] = field("0+")
    include_authorized_operations: bool = field("0+")
    include_topology_description: bool = field("1+")


class StreamsGroupDescribeResponse(Message):
    """Changes by version.

    v1: +DescribedGroup.topology_description, +DescribedGroup.topology_description_status,
        +DescribedGroup.assignor_name
    """

    KEY = 89
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    groups: list[DescribedGroup] = field("0+")

    class DescribedGroup(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+", default=None)
        group_id: str = field("0+")
        group_state: str = field("0+")
        group_epoch: Int32 = field("0+")
        assignment_epoch: Int32 = field("0+")
        topology: StreamsGroupDescribeResponse.Topology | None = field("0+", nullable="0+", default=None)
        members: list[StreamsGroupDescribeResponse.Member] = field("0+")
        authorized_operations: Int32 = field("0+", default=-2147483648)
        topology_description: StreamsGroupDescribeResponse.TopologyDescription | None = field(
            "1+", nullable="1+", default=None
        )
        topology_description_status: Int8 = field("1+")
        assignor_name: str | None = field("1+", nullable="1+", default=None, ignorable=True)

    class Topology(Struct):
        epoch: Int32 = field("0+")
        subtopologies: list[StreamsGroupDescribeResponse.Subtopology] | None = field("0+", nullable="0+", default=None)

    class Subtopology(Struct):
        subtopology_id: str = field("0+")
        source_topics: list[str] = field("0+")
        repartition_sink_topics: list[str] = field("0+")
        state_changelog_topics: list[StreamsGroupDescribeResponse.TopicInfo] = field("0+")
        repartition_source_topics: list[StreamsGroupDescribeResponse.TopicInfo] = field("0+")

    class TopicInfo(Struct):
        name: str = field("0+")
        partitions: Int32 = field("0+")
        replication_factor: Int16 = field("0+")
        topic_configs: list[StreamsGroupDescribeResponse.KeyValue] = field("0+")

    class KeyValue(Struct):
        key: str = field("0+")
        value: str = field("0+")

    class Member(Struct):
        member_id: str = field("0+")
        member_epoch: Int32 = field("0+")
        instance_id: str | None = field("0+", nullable="0+", default=None)
        rack_id: str | None = field("0+", nullable="0+", default=None)
        client_id: str = field("0+")
        client_host: str = field("0+")
        topology_epoch: Int32 = field("0+")
        process_id: str = field("0+")
        user_endpoint: StreamsGroupDescribeResponse.Endpoint | None = field("0+", nullable="0+", default=None)
        client_tags: list[StreamsGroupDescribeResponse.KeyValue] = field("0+")
        task_offsets: list[StreamsGroupDescribeResponse.TaskOffset] = field("0+")
        task_end_offsets: list[StreamsGroupDescribeResponse.TaskOffset] = field("0+")
        assignment: StreamsGroupDescribeResponse.Assignment = field("0+")
        target_assignment: StreamsGroupDescribeResponse.Assignment = field("0+")
        is_classic: bool = field("0+")

    class Endpoint(Struct):
        host: str = field("0+")
        port: Uint16 = field("0+")

    class TaskOffset(Struct):
        subtopology_id: str = field("0+")
        partition: Int32 = field("0+")
        offset: Int64 = field("0+")

    class Assignment(Struct):
        active_tasks: list[StreamsGroupDescribeResponse.TaskIds] = field("0+")
        standby_tasks: list[StreamsGroupDescribeResponse.TaskIds] = field("0+")
        warmup_tasks: list[StreamsGroupDescribeResponse.TaskIds] = field("0+")

    class TaskIds(Struct):
        subtopology_id: str = field("0+")
        partitions: list[Int32] = field("0+")

    class TopologyDescription(Struct):
        subtopologies: list[StreamsGroupDescribeResponse.TopologyDescriptionSubtopology] = field("1+")
        global_stores: list[StreamsGroupDescribeResponse.TopologyDescriptionGlobalStore] = field("1+")

    class TopologyDescriptionSubtopology(Struct):
        subtopology_id: str = field("1+")
        nodes: list[StreamsGroupDescribeResponse.TopologyDescriptionNode] = field("1+")

    class TopologyDescriptionNode(Struct):
        name: str = field("1+")
        node_type: Int8 = field("1+")
        source_topics: list[str] = field("1+")
        sink_topic: str | None = field("1+", nullable="1+", default=None)
        stores: list[str] = field("1+")
        successors: list[str] = field("1+")

    class TopologyDescriptionGlobalStore(Struct):
        source: StreamsGroupDescribeResponse.TopologyDescriptionNode = field("1+")
        processor: StreamsGroupDescribeResponse.TopologyDescriptionNode = field("1+")
