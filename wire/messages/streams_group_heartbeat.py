"""StreamsGroupHeartbeat, api key 88, versions 0-1, flexible from 0. Sent by Kafka Streams."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uint16, field


class StreamsGroupHeartbeatRequest(Message):
    """The same fields in all versions."""

    KEY = 88
    VALID = (0, 1)
    FLEXIBLE = 0

    group_id: str = field("0+")
    member_id: str = field("0+")
    member_epoch: Int32 = field("0+")
    endpoint_information_epoch: Int32 = field("0+")
    instance_id: str | None = field("0+", nullable="0+", default=None)
    rack_id: str | None = field("0+", nullable="0+", default=None)
    rebalance_timeout_ms: Int32 = field("0+", default=-1)
    topology: Topology | None = field("0+", nullable="0+", default=None)
    active_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    standby_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    warmup_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    process_id: str | None = field("0+", nullable="0+", default=None)
    user_endpoint: Endpoint | None = field("0+", nullable="0+", default=None)
    client_tags: list[KeyValue] | None = field("0+", nullable="0+", default=None)
    task_offsets: list[TaskOffset] | None = field("0+", nullable="0+", default=None)
    task_end_offsets: list[TaskOffset] | None = field("0+", nullable="0+", default=None)
    shutdown_application: bool = field("0+")

    class Topology(Struct):
        epoch: Int32 = field("0+")
        subtopologies: list[StreamsGroupHeartbeatRequest.Subtopology] = field("0+")

    class Subtopology(Struct):
        subtopology_id: str = field("0+")
        source_topics: list[str] = field("0+")
        source_topic_regex: list[str] = field("0+")
        state_changelog_topics: list[StreamsGroupHeartbeatRequest.TopicInfo] = field("0+")
        repartition_sink_topics: list[str] = field("0+")
        repartition_source_topics: list[StreamsGroupHeartbeatRequest.TopicInfo] = field("0+")
        copartition_groups: list[StreamsGroupHeartbeatRequest.CopartitionGroup] = field("0+")

    class TopicInfo(Struct):
        name: str = field("0+")
        partitions: Int32 = field("0+")
        replication_factor: Int16 = field("0+")
        topic_configs: list[StreamsGroupHeartbeatRequest.KeyValue] = field("0+")

    class KeyValue(Struct):
        key: str = field("0+")
        value: str = field("0+")

    class CopartitionGroup(Struct):
        source_topics: list[Int16] = field("0+")
        source_topic_regex: list[Int16] = field("0+")
        repartition_source_topics: list[Int16] = field("0+")

    class TaskIds(Struct):
        subtopology_id: str = field("0+")
        partitions: list[Int32] = field("0+")

    class Endpoint(Struct):
        host: str = field("0+")
        port: Uint16 = field("0+")

    class TaskOffset(Struct):
        subtopology_id: str = field("0+")
        partition: Int32 = field("0+")
        offset: Int64 = field("0+")


class StreamsGroupHeartbeatResponse(Message):
    """Changes by version.

    v1: -acceptable_recovery_lag_legacy, +acceptable_recovery_lag, +topology_description_required
    """

    KEY = 88
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", default=None)
    member_id: str = field("0+")
    member_epoch: Int32 = field("0+")
    heartbeat_interval_ms: Int32 = field("0+")
    acceptable_recovery_lag_legacy: Int32 = field("0")
    task_offset_interval_ms: Int32 = field("0+")
    acceptable_recovery_lag: Int64 = field("1+", default=-1, ignorable=True)
    status: list[Status] | None = field("0+", nullable="0+")
    active_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    standby_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    warmup_tasks: list[TaskIds] | None = field("0+", nullable="0+", default=None)
    topology_description_required: bool = field("1+")
    endpoint_information_epoch: Int32 = field("0+")
    partitions_by_user_endpoint: list[EndpointToPartitions] | None = field("0+", nullable="0+", default=None)

    class Status(Struct):
        status_code: Int8 = field("0+")
        status_detail: str = field("0+")

    class TaskIds(Struct):
        subtopology_id: str = field("0+")
        partitions: list[Int32] = field("0+")

    class EndpointToPartitions(Struct):
        user_endpoint: StreamsGroupHeartbeatResponse.Endpoint = field("0+")
        active_partitions: list[StreamsGroupHeartbeatResponse.TopicPartition] = field("0+")
        standby_partitions: list[StreamsGroupHeartbeatResponse.TopicPartition] = field("0+")

    class Endpoint(Struct):
        host: str = field("0+")
        port: Uint16 = field("0+")

    class TopicPartition(Struct):
        topic: str = field("0+")
        partitions: list[Int32] = field("0+")
