"""Records of the topic `__consumer_offsets`: what groups are and where they have read to.

KEY is the record type, the int16 before the key's fields; a value begins with its version as int16
(`ottla.wire.state_records` frames both).
"""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uint16, Uuid, field


class LegacyOffsetCommitKey(Message):
    """One version."""

    KEY = 0
    VALID = (0, 0)

    group: str = field("0")
    topic: str = field("0")
    partition: Int32 = field("0")


class LegacyOffsetCommitValue(Message):
    """One version."""

    KEY = 0
    VALID = (0, 0)

    offset: Int64 = field("0")
    metadata: str = field("0")
    commit_timestamp: Int64 = field("0")


class OffsetCommitKey(Message):
    """One version."""

    KEY = 1
    VALID = (0, 0)

    group: str = field("0")
    topic: str = field("0")
    partition: Int32 = field("0")


class OffsetCommitValue(Message):
    """Changes by version.

    v1: +expire_timestamp
    v2: -expire_timestamp
    v3: +leader_epoch
    v4: +topic_id, flexible
    """

    KEY = 1
    VALID = (0, 4)
    FLEXIBLE = 4

    offset: Int64 = field("0+")
    leader_epoch: Int32 = field("3+", default=-1, ignorable=True)
    metadata: str = field("0+")
    commit_timestamp: Int64 = field("0+")
    expire_timestamp: Int64 = field("1", default=-1, ignorable=True)
    topic_id: Uuid = field("4+", tag=0, tagged="4+", ignorable=True)


class GroupMetadataKey(Message):
    """One version."""

    KEY = 2
    VALID = (0, 0)

    group: str = field("0")


class GroupMetadataValue(Message):
    """Changes by version.

    v1: +MemberMetadata.rebalance_timeout
    v2: +current_state_timestamp
    v3: +MemberMetadata.group_instance_id
    v4: flexible
    """

    KEY = 2
    VALID = (0, 4)
    FLEXIBLE = 4

    protocol_type: str = field("0+")
    generation: Int32 = field("0+")
    protocol: str | None = field("0+", nullable="0+")
    leader: str | None = field("0+", nullable="0+")
    current_state_timestamp: Int64 = field("2+", default=-1, ignorable=True)
    members: list[MemberMetadata] = field("0+")

    class MemberMetadata(Struct):
        member_id: str = field("0+")
        group_instance_id: str | None = field("3+", nullable="3+", default=None, ignorable=True)
        client_id: str = field("0+")
        client_host: str = field("0+")
        rebalance_timeout: Int32 = field("1+", default=-1, ignorable=True)
        session_timeout: Int32 = field("0+")
        subscription: bytes = field("0+")
        assignment: bytes = field("0+")


class ConsumerGroupMetadataKey(Message):
    """One version."""

    KEY = 3
    VALID = (0, 0)

    group_id: str = field("0")


class ConsumerGroupMetadataValue(Message):
    """One version."""

    KEY = 3
    VALID = (0, 0)
    FLEXIBLE = 0

    epoch: Int32 = field("0+")
    metadata_hash: Int64 = field("0+", tag=0, tagged="0+")


class ConsumerGroupPartitionMetadataKey(Message):
    """One version."""

    KEY = 4
    VALID = (0, 0)

    group_id: str = field("0")


class ConsumerGroupPartitionMetadataValue(Message):
    """One version."""

    KEY = 4
    VALID = (0, 0)
    FLEXIBLE = 0

    topics: list[TopicMetadata] = field("0+")

    class TopicMetadata(Struct):
        topic_id: Uuid = field("0+")
        topic_name: str = field("0+")
        num_partitions: Int32 = field("0+")
        partition_metadata: list[ConsumerGroupPartitionMetadataValue.PartitionMetadata] = field("0+")

    class PartitionMetadata(Struct):
        partition: Int32 = field("0+")
        racks: list[str] = field("0+")


class ConsumerGroupMemberMetadataKey(Message):
    """One version."""

    KEY = 5
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ConsumerGroupMemberMetadataValue(Message):
    """One version."""

    KEY = 5
    VALID = (0, 0)
    FLEXIBLE = 0

    instance_id: str | None = field("0+", nullable="0+")
    rack_id: str | None = field("0+", nullable="0+")
    client_id: str = field("0+")
    client_host: str = field("0+")
    subscribed_topic_names: list[str] = field("0+")
    subscribed_topic_regex: str | None = field("0+", nullable="0+")
    rebalance_timeout_ms: Int32 = field("0+", default=-1)
    server_assignor: str | None = field("0+", nullable="0+")
    classic_member_metadata: ClassicMemberMetadata | None = field("0+", nullable="0+", tag=0, tagged="0+")

    class ClassicMemberMetadata(Struct):
        session_timeout_ms: Int32 = field("0+")
        supported_protocols: list[ConsumerGroupMemberMetadataValue.ClassicProtocol] = field("0+")

    class ClassicProtocol(Struct):
        name: str = field("0+")
        metadata: bytes = field("0+")


class ConsumerGroupTargetAssignmentMetadataKey(Message):
    """One version."""

    KEY = 6
    VALID = (0, 0)

    group_id: str = field("0")


class ConsumerGroupTargetAssignmentMetadataValue(Message):
    """One version."""

    KEY = 6
    VALID = (0, 0)
    FLEXIBLE = 0

    assignment_epoch: Int32 = field("0+")
    assignment_timestamp: Int64 = field("0+", tag=0, tagged="0+", ignorable=True)


class ConsumerGroupTargetAssignmentMemberKey(Message):
    """One version."""

    KEY = 7
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ConsumerGroupTargetAssignmentMemberValue(Message):
    """One version."""

    KEY = 7
    VALID = (0, 0)
    FLEXIBLE = 0

    topic_partitions: list[TopicPartition] = field("0+")

    class TopicPartition(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[Int32] = field("0+")


class ConsumerGroupCurrentMemberAssignmentKey(Message):
    """One version."""

    KEY = 8
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ConsumerGroupCurrentMemberAssignmentValue(Message):
    """One version."""

    KEY = 8
    VALID = (0, 0)
    FLEXIBLE = 0

    member_epoch: Int32 = field("0+")
    previous_member_epoch: Int32 = field("0+")
    state: Int8 = field("0+")
    assigned_partitions: list[TopicPartitions] = field("0+")
    partitions_pending_revocation: list[TopicPartitions] = field("0+")

    class TopicPartitions(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[Int32] = field("0+")
        assignment_epochs: list[Int32] | None = field("0+", nullable="0+", tag=0, tagged="0+")


class ShareGroupMemberMetadataKey(Message):
    """One version."""

    KEY = 10
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ShareGroupMemberMetadataValue(Message):
    """One version."""

    KEY = 10
    VALID = (0, 0)
    FLEXIBLE = 0

    rack_id: str | None = field("0+", nullable="0+")
    client_id: str = field("0+")
    client_host: str = field("0+")
    subscribed_topic_names: list[str] = field("0+")


class ShareGroupMetadataKey(Message):
    """One version."""

    KEY = 11
    VALID = (0, 0)

    group_id: str = field("0")


class ShareGroupMetadataValue(Message):
    """One version."""

    KEY = 11
    VALID = (0, 0)
    FLEXIBLE = 0

    epoch: Int32 = field("0+")
    metadata_hash: Int64 = field("0+")


class ShareGroupTargetAssignmentMetadataKey(Message):
    """One version."""

    KEY = 12
    VALID = (0, 0)

    group_id: str = field("0")


class ShareGroupTargetAssignmentMetadataValue(Message):
    """One version."""

    KEY = 12
    VALID = (0, 0)
    FLEXIBLE = 0

    assignment_epoch: Int32 = field("0+")
    assignment_timestamp: Int64 = field("0+", tag=0, tagged="0+", ignorable=True)


class ShareGroupTargetAssignmentMemberKey(Message):
    """One version."""

    KEY = 13
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ShareGroupTargetAssignmentMemberValue(Message):
    """One version."""

    KEY = 13
    VALID = (0, 0)
    FLEXIBLE = 0

    topic_partitions: list[TopicPartition] = field("0+")

    class TopicPartition(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[Int32] = field("0+")


class ShareGroupCurrentMemberAssignmentKey(Message):
    """One version."""

    KEY = 14
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class ShareGroupCurrentMemberAssignmentValue(Message):
    """One version."""

    KEY = 14
    VALID = (0, 0)
    FLEXIBLE = 0

    member_epoch: Int32 = field("0+")
    previous_member_epoch: Int32 = field("0+")
    state: Int8 = field("0+")
    assigned_partitions: list[TopicPartitions] = field("0+")

    class TopicPartitions(Struct):
        topic_id: Uuid = field("0+")
        partitions: list[Int32] = field("0+")


class ShareGroupStatePartitionMetadataKey(Message):
    """One version."""

    KEY = 15
    VALID = (0, 0)

    group_id: str = field("0")


class ShareGroupStatePartitionMetadataValue(Message):
    """One version."""

    KEY = 15
    VALID = (0, 0)
    FLEXIBLE = 0

    initializing_topics: list[TopicPartitionsInfo] = field("0+")
    initialized_topics: list[TopicPartitionsInfo] = field("0+")
    deleting_topics: list[TopicInfo] = field("0+")

    class TopicPartitionsInfo(Struct):
        topic_id: Uuid = field("0+")
        topic_name: str = field("0+")
        partitions: list[Int32] = field("0+")

    class TopicInfo(Struct):
        topic_id: Uuid = field("0+")
        topic_name: str = field("0+")


class ConsumerGroupRegularExpressionKey(Message):
    """One version."""

    KEY = 16
    VALID = (0, 0)

    group_id: str = field("0")
    regular_expression: str = field("0")


class ConsumerGroupRegularExpressionValue(Message):
    """One version."""

    KEY = 16
    VALID = (0, 0)
    FLEXIBLE = 0

    topics: list[str] = field("0+")
    version: Int64 = field("0+")
    timestamp: Int64 = field("0+")


class StreamsGroupMetadataKey(Message):
    """One version."""

    KEY = 17
    VALID = (0, 0)

    group_id: str = field("0")


class StreamsGroupMetadataValue(Message):
    """One version."""

    KEY = 17
    VALID = (0, 0)
    FLEXIBLE = 0

    epoch: Int32 = field("0+")
    metadata_hash: Int64 = field("0+")
    validated_topology_epoch: Int32 = field("0+", tag=0, tagged="0+", default=-1)
    last_assignment_configs: list[LastAssignmentConfig] | None = field("0+", nullable="0+", tag=1, tagged="0+")
    stored_description_topology_epoch: Int32 = field("0+", tag=2, tagged="0+", default=-1)
    failed_description_topology_epoch: Int32 = field("0+", tag=3, tagged="0+", default=-1)

    class LastAssignmentConfig(Struct):
        key: str = field("0+")
        value: str = field("0+")


class StreamsGroupMemberMetadataKey(Message):
    """One version."""

    KEY = 19
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class StreamsGroupMemberMetadataValue(Message):
    """One version."""

    KEY = 19
    VALID = (0, 0)
    FLEXIBLE = 0

    instance_id: str | None = field("0+", nullable="0+")
    rack_id: str | None = field("0+", nullable="0+")
    client_id: str = field("0+")
    client_host: str = field("0+")
    rebalance_timeout_ms: Int32 = field("0+", default=-1)
    topology_epoch: Int32 = field("0+")
    process_id: str = field("0+")
    user_endpoint: Endpoint | None = field("0+", nullable="0+", default=None)
    client_tags: list[KeyValue] = field("0+")

    class Endpoint(Struct):
        host: str = field("0+")
        port: Uint16 = field("0+")

    class KeyValue(Struct):
        key: str = field("0+")
        value: str = field("0+")


class StreamsGroupTargetAssignmentMetadataKey(Message):
    """One version."""

    KEY = 20
    VALID = (0, 0)

    group_id: str = field("0")


class StreamsGroupTargetAssignmentMetadataValue(Message):
    """One version."""

    KEY = 20
    VALID = (0, 0)
    FLEXIBLE = 0

    assignment_epoch: Int32 = field("0+")
    assignment_timestamp: Int64 = field("0+", tag=0, tagged="0+", ignorable=True)


class StreamsGroupTargetAssignmentMemberKey(Message):
    """One version."""

    KEY = 21
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class StreamsGroupTargetAssignmentMemberValue(Message):
    """One version."""

    KEY = 21
    VALID = (0, 0)
    FLEXIBLE = 0

    active_tasks: list[TaskIds] = field("0+")
    standby_tasks: list[TaskIds] = field("0+")
    warmup_tasks: list[TaskIds] = field("0+")

    class TaskIds(Struct):
        subtopology_id: str = field("0+")
        partitions: list[Int32] = field("0+")


class StreamsGroupCurrentMemberAssignmentKey(Message):
    """One version."""

    KEY = 22
    VALID = (0, 0)

    group_id: str = field("0")
    member_id: str = field("0")


class StreamsGroupCurrentMemberAssignmentValue(Message):
    """One version."""

    KEY = 22
    VALID = (0, 0)
    FLEXIBLE = 0

    member_epoch: Int32 = field("0+")
    previous_member_epoch: Int32 = field("0+")
    state: Int8 = field("0+")
    active_tasks: list[TaskIds] = field("0+")
    standby_tasks: list[TaskIds] = field("0+")
    warmup_tasks: list[TaskIds] = field("0+")
    active_tasks_pending_revocation: list[TaskIds] = field("0+")
    standby_tasks_pending_revocation: list[TaskIds] = field("0+")
    warmup_tasks_pending_revocation: list[TaskIds] = field("0+")

    class TaskIds(Struct):
        subtopology_id: str = field("0+")
        partitions: list[Int32] = field("0+")
        assignment_epochs: list[Int32] | None = field("0+", nullable="0+", tag=0, tagged="0+")


class StreamsGroupTopologyKey(Message):
    """One version."""

    KEY = 23
    VALID = (0, 0)

    group_id: str = field("0")


class StreamsGroupTopologyValue(Message):
    """One version."""

    KEY = 23
    VALID = (0, 0)
    FLEXIBLE = 0

    epoch: Int32 = field("0+")
    subtopologies: list[Subtopology] = field("0+")

    class Subtopology(Struct):
        subtopology_id: str = field("0+")
        source_topics: list[str] = field("0+")
        source_topic_regex: list[str] = field("0+")
        state_changelog_topics: list[StreamsGroupTopologyValue.TopicInfo] = field("0+")
        repartition_sink_topics: list[str] = field("0+")
        repartition_source_topics: list[StreamsGroupTopologyValue.TopicInfo] = field("0+")
        copartition_groups: list[StreamsGroupTopologyValue.CopartitionGroup] = field("0+")

    class TopicInfo(Struct):
        name: str = field("0+")
        partitions: Int32 = field("0+")
        replication_factor: Int16 = field("0+")
        topic_configs: list[StreamsGroupTopologyValue.TopicConfig] = field("0+")

    class TopicConfig(Struct):
        key: str = field("0+")
        value: str = field("0+")

    class CopartitionGroup(Struct):
        source_topics: list[Int16] = field("0+")
        source_topic_regex: list[Int16] = field("0+")
        repartition_source_topics: list[Int16] = field("0+")
