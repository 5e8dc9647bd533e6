"""Metadata, api key 3, versions 0-13, flexible from 9. Sent by every client."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uuid, field


class MetadataRequest(Message):
    """Changes by version.

    v4: +allow_auto_topic_creation
    v8: +include_cluster_authorized_operations, +include_topic_authorized_operations
    v9: flexible
    v10: +MetadataRequestTopic.topic_id
    v11: -include_cluster_authorized_operations
    """

    KEY = 3
    VALID = (0, 13)
    FLEXIBLE = 9

    topics: list[MetadataRequestTopic] | None = field("0+", nullable="1+")
    allow_auto_topic_creation: bool = field("4+", default=True)
    include_cluster_authorized_operations: bool = field("8-10")
    include_topic_authorized_operations: bool = field("8+")

    class MetadataRequestTopic(Struct):
        topic_id: Uuid = field("10+", ignorable=True)
        name: str | None = field("0+", nullable="10+")


class MetadataResponse(Message):
    """Changes by version.

    v1: +controller_id, +MetadataResponseBroker.rack, +MetadataResponseTopic.is_internal
    v2: +cluster_id
    v3: +throttle_time_ms
    v5: +MetadataResponsePartition.offline_replicas
    v7: +MetadataResponsePartition.leader_epoch
    v8: +cluster_authorized_operations, +MetadataResponseTopic.topic_authorized_operations
    v9: flexible
    v10: +MetadataResponseTopic.topic_id
    v11: -cluster_authorized_operations
    v13: +error_code
    """

    KEY = 3
    VALID = (0, 13)
    FLEXIBLE = 9

    throttle_time_ms: Int32 = field("3+", ignorable=True)
    brokers: list[MetadataResponseBroker] = field("0+")
    cluster_id: str | None = field("2+", nullable="2+", default=None, ignorable=True)
    controller_id: Int32 = field("1+", default=-1, ignorable=True)
    topics: list[MetadataResponseTopic] = field("0+")
    cluster_authorized_operations: Int32 = field("8-10", default=-2147483648)
    error_code: Int16 = field("13+", ignorable=True)

    class MetadataResponseBroker(Struct):
        node_id: Int32 = field("0+")
        host: str = field("0+")
        port: Int32 = field("0+")
        rack: str | None = field("1+", nullable="1+", default=None, ignorable=True)

    class MetadataResponseTopic(Struct):
        error_code: Int16 = field("0+")
        name: str | None = field("0+", nullable="12+")
        topic_id: Uuid = field("10+", ignorable=True)
        is_internal: bool = field("1+", ignorable=True)
        partitions: list[MetadataResponse.MetadataResponsePartition] = field("0+")
        topic_authorized_operations: Int32 = field("8+", default=-2147483648)

    class MetadataResponsePartition(Struct):
        error_code: Int16 = field("0+")
        partition_index: Int32 = field("0+")
        leader_id: Int32 = field("0+")
        leader_epoch: Int32 = field("7+", default=-1, ignorable=True)
        replica_nodes: list[Int32] = field("0+")
        isr_nodes: list[Int32] = field("0+")
        offline_replicas: list[Int32] = field("5+", ignorable=True)
