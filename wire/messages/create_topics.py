"""CreateTopics, api key 19, versions 2-7, flexible from 5. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, Uuid, field


class CreateTopicsRequest(Message):
    """Changes by version.

    v5: flexible
    """

    KEY = 19
    VALID = (2, 7)
    FLEXIBLE = 5

    topics: list[CreatableTopic] = field("0+")
    timeout_ms: Int32 = field("0+", default=60000)
    validate_only: bool = field("1+")

    class CreatableTopic(Struct):
        name: str = field("0+")
        num_partitions: Int32 = field("0+")
        replication_factor: Int16 = field("0+")
        assignments: list[CreateTopicsRequest.CreatableReplicaAssignment] = field("0+")
        configs: list[CreateTopicsRequest.CreatableTopicConfig] = field("0+")

    class CreatableReplicaAssignment(Struct):
        partition_index: Int32 = field("0+")
        broker_ids: list[Int32] = field("0+")

    class CreatableTopicConfig(Struct):
        name: str = field("0+")
        value: str | None = field("0+", nullable="0+")


class CreateTopicsResponse(Message):
    """Changes by version.

    v5: +CreatableTopicResult.topic_config_error_code, +CreatableTopicResult.num_partitions,
        +CreatableTopicResult.replication_factor, +CreatableTopicResult.configs, flexible
    v7: +CreatableTopicResult.topic_id
    """

    KEY = 19
    VALID = (2, 7)
    FLEXIBLE = 5

    throttle_time_ms: Int32 = field("2+", ignorable=True)
    topics: list[CreatableTopicResult] = field("0+")

    class CreatableTopicResult(Struct):
        name: str = field("0+")
        topic_id: Uuid = field("7+", ignorable=True)
        error_code: Int16 = field("0+")
        error_message: str | None = field("1+", nullable="0+", ignorable=True)
        topic_config_error_code: Int16 = field("5+", tag=0, tagged="5+", ignorable=True)
        num_partitions: Int32 = field("5+", default=-1, ignorable=True)
        replication_factor: Int16 = field("5+", default=-1, ignorable=True)
        configs: list[CreateTopicsResponse.CreatableTopicConfigs] | None = field("5+", nullable="5+", ignorable=True)

    class CreatableTopicConfigs(Struct):
        name: str = field("5+")
        value: str | None = field("5+", nullable="5+")
        read_only: bool = field("5+")
        config_source: Int8 = field("5+", default=-1, ignorable=True)
        is_sensitive: bool = field("5+")
