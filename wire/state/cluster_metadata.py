"""Records of the log `__cluster_metadata`: brokers, topics, partitions, configs, features, quotas, ACLs.

KEY is the record type; `ottla.wire.state.metadata_frame` frames values as this log does.
"""

from __future__ import annotations

from ottla.wire.schema import Float64, Int8, Int16, Int32, Int64, Message, Struct, Uint16, Uuid, field


class RegisterBrokerRecord(Message):
    """Changes by version.

    v1: +in_controlled_shutdown
    v2: +is_migrating_zk_broker
    v3: +log_dirs
    v4: +cordoned_log_dirs
    """

    KEY = 0
    VALID = (0, 4)
    FLEXIBLE = 0

    broker_id: Int32 = field("0+")
    is_migrating_zk_broker: bool = field("2+")
    incarnation_id: Uuid = field("0+")
    broker_epoch: Int64 = field("0+")
    end_points: list[BrokerEndpoint] = field("0+")
    features: list[BrokerFeature] = field("0+")
    rack: str | None = field("0+", nullable="0+")
    fenced: bool = field("0+", default=True)
    in_controlled_shutdown: bool = field("1+")
    log_dirs: list[Uuid] = field("3+", tag=0, tagged="3+")
    cordoned_log_dirs: list[Uuid] | None = field("4+", nullable="4+", tag=1, tagged="4+", default=None)

    class BrokerEndpoint(Struct):
        name: str = field("0+")
        host: str = field("0+")
        port: Uint16 = field("0+")
        security_protocol: Int16 = field("0+")

    class BrokerFeature(Struct):
        name: str = field("0+")
        min_supported_version: Int16 = field("0+")
        max_supported_version: Int16 = field("0+")


class UnregisterBrokerRecord(Message):
    """One version."""

    KEY = 1
    VALID = (0, 0)
    FLEXIBLE = 0

    broker_id: Int32 = field("0+")
    broker_epoch: Int64 = field("0+")


class TopicRecord(Message):
    """One version."""

    KEY = 2
    VALID = (0, 0)
    FLEXIBLE = 0

    name: str = field("0+")
    topic_id: Uuid = field("0+")


class PartitionRecord(Message):
    """Changes by version.

    v1: +directories
    v2: +eligible_leader_replicas, +last_known_elr
    """

    KEY = 3
    VALID = (0, 2)
    FLEXIBLE = 0

    partition_id: Int32 = field("0+", default=-1)
    topic_id: Uuid = field("0+")
    replicas: list[Int32] = field("0+")
    isr: list[Int32] = field("0+")
    removing_replicas: list[Int32] = field("0+")
    adding_replicas: list[Int32] = field("0+")
    leader: Int32 = field("0+", default=-1)
    leader_recovery_state: Int8 = field("0+", tag=0, tagged="0+")
    leader_epoch: Int32 = field("0+", default=-1)
    partition_epoch: Int32 = field("0+", default=-1)
    directories: list[Uuid] = field("1+")
    eligible_leader_replicas: list[Int32] | None = field("2+", nullable="2+", tag=1, tagged="2+", default=None)
    last_known_elr: list[Int32] | None = field("2+", nullable="2+", tag=2, tagged="2+", default=None)


class ConfigRecord(Message):
    """One version."""

    KEY = 4
    VALID = (0, 0)
    FLEXIBLE = 0

    resource_type: Int8 = field("0+")
    resource_name: str = field("0+")
    name: str = field("0+")
    value: str | None = field("0+", nullable="0+")


class PartitionChangeRecord(Message):
    """Changes by version.

    v1: +directories
    v2: +eligible_leader_replicas, +last_known_elr
    """

    KEY = 5
    VALID = (0, 2)
    FLEXIBLE = 0

    partition_id: Int32 = field("0+", default=-1)
    topic_id: Uuid = field("0+")
    isr: list[Int32] | None = field("0+", nullable="0+", tag=0, tagged="0+", default=None)
    leader: Int32 = field("0+", tag=1, tagged="0+", default=-2)
    replicas: list[Int32] | None = field("0+", nullable="0+", tag=2, tagged="0+", default=None)
    removing_replicas: list[Int32] | None = field("0+", nullable="0+", tag=3, tagged="0+", default=None)
    adding_replicas: list[Int32] | None = field("0+", nullable="0+", tag=4, tagged="0+", default=None)
    leader_recovery_state: Int8 = field("0+", tag=5, tagged="0+", default=-1)
    directories: list[Uuid] | None = field("1+", nullable="1+", tag=8, tagged="1+", default=None)
    eligible_leader_replicas: list[Int32] | None = field("2+", nullable="2+", tag=6, tagged="2+", default=None)
    last_known_elr: list[Int32] | None = field("2+", nullable="2+", tag=7, tagged="2+", default=None)


class FenceBrokerRecord(Message):
    """One version."""

    KEY = 7
    VALID = (0, 0)
    FLEXIBLE = 0

    id: Int32 = field("0+")
    epoch: Int64 = field("0+")


class UnfenceBrokerRecord(Message):
    """One version."""

    KEY = 8
    VALID = (0, 0)
    FLEXIBLE = 0

    id: Int32 = field("0+")
    epoch: Int64 = field("0+")


class RemoveTopicRecord(Message):
    """One version."""

    KEY = 9
    VALID = (0, 0)
    FLEXIBLE = 0

    topic_id: Uuid = field("0+")


class DelegationTokenRecord(Message):
    """One version."""

    KEY = 10
    VALID = (0, 0)
    FLEXIBLE = 0

    owner: str = field("0+")
    requester: str = field("0+")
    renewers: list[str] = field("0+")
    issue_timestamp: Int64 = field("0+")
    max_timestamp: Int64 = field("0+")
    expiration_timestamp: Int64 = field("0+")
    token_id: str = field("0+")


class UserScramCredentialRecord(Message):
    """One version."""

    KEY = 11
    VALID = (0, 0)
    FLEXIBLE = 0

    name: str = field("0+")
    mechanism: Int8 = field("0+")
    salt: bytes = field("0+")
    stored_key: bytes = field("0+")
    server_key: bytes = field("0+")
    iterations: Int32 = field("0+")


class FeatureLevelRecord(Message):
    """One version."""

    KEY = 12
    VALID = (0, 0)
    FLEXIBLE = 0

    name: str = field("0+")
    feature_level: Int16 = field("0+")


class ClientQuotaRecord(Message):
    """One version."""

    KEY = 14
    VALID = (0, 0)
    FLEXIBLE = 0

    entity: list[EntityData] = field("0+")
    key: str = field("0+")
    value: Float64 = field("0+")
    remove: bool = field("0+")

    class EntityData(Struct):
        entity_type: str = field("0+")
        entity_name: str | None = field("0+", nullable="0+")


class ProducerIdsRecord(Message):
    """One version."""

    KEY = 15
    VALID = (0, 0)
    FLEXIBLE = 0

    broker_id: Int32 = field("0+")
    broker_epoch: Int64 = field("0+", default=-1)
    next_producer_id: Int64 = field("0+")


class BrokerRegistrationChangeRecord(Message):
    """Changes by version.

    v1: +in_controlled_shutdown
    v2: +log_dirs
    v3: +cordoned_log_dirs
    """

    KEY = 17
    VALID = (0, 3)
    FLEXIBLE = 0

    broker_id: Int32 = field("0+")
    broker_epoch: Int64 = field("0+")
    fenced: Int8 = field("0+", tag=0, tagged="0+")
    in_controlled_shutdown: Int8 = field("1+", tag=1, tagged="1+")
    log_dirs: list[Uuid] = field("2+", tag=2, tagged="2+")
    cordoned_log_dirs: list[Uuid] | None = field("3+", nullable="3+", tag=3, tagged="3+", default=None)


class AccessControlEntryRecord(Message):
    """One version."""

    KEY = 18
    VALID = (0, 0)
    FLEXIBLE = 0

    id: Uuid = field("0+")
    resource_type: Int8 = field("0+")
    resource_name: str = field("0+")
    pattern_type: Int8 = field("0+")
    principal: str = field("0+")
    host: str = field("0+")
    operation: Int8 = field("0+")
    permission_type: Int8 = field("0+")


class RemoveAccessControlEntryRecord(Message):
    """One version."""

    KEY = 19
    VALID = (0, 0)
    FLEXIBLE = 0

    id: Uuid = field("0+")


class NoOpRecord(Message):
    """One version."""

    KEY = 20
    VALID = (0, 0)
    FLEXIBLE = 0


class ZkMigrationStateRecord(Message):
    """One version."""

    KEY = 21
    VALID = (0, 0)
    FLEXIBLE = 0

    zk_migration_state: Int8 = field("0+")


class RemoveUserScramCredentialRecord(Message):
    """One version."""

    KEY = 22
    VALID = (0, 0)
    FLEXIBLE = 0

    name: str = field("0+")
    mechanism: Int8 = field("0+")


class BeginTransactionRecord(Message):
    """One version."""

    KEY = 23
    VALID = (0, 0)
    FLEXIBLE = 0

    name: str | None = field("0+", nullable="0+", tag=0, tagged="0+", default=None)


class EndTransactionRecord(Message):
    """One version."""

    KEY = 24
    VALID = (0, 0)
    FLEXIBLE = 0


class AbortTransactionRecord(Message):
    """One version."""

    KEY = 25
    VALID = (0, 0)
    FLEXIBLE = 0

    reason: str | None = field("0+", nullable="0+", tag=0, tagged="0+", default=None)


class RemoveDelegationTokenRecord(Message):
    """One version."""

    KEY = 26
    VALID = (0, 0)
    FLEXIBLE = 0

    token_id: str = field("0+")


class RegisterControllerRecord(Message):
    """One version."""

    KEY = 27
    VALID = (0, 0)
    FLEXIBLE = 0

    controller_id: Int32 = field("0+")
    incarnation_id: Uuid = field("0+")
    zk_migration_ready: bool = field("0+")
    end_points: list[ControllerEndpoint] = field("0+")
    features: list[ControllerFeature] = field("0+")

    class ControllerEndpoint(Struct):
        name: str = field("0+")
        host: str = field("0+")
        port: Uint16 = field("0+")
        security_protocol: Int16 = field("0+")

    class ControllerFeature(Struct):
        name: str = field("0+")
        min_supported_version: Int16 = field("0+")
        max_supported_version: Int16 = field("0+")


class ClearElrRecord(Message):
    """One version."""

    KEY = 28
    VALID = (0, 0)
    FLEXIBLE = 0

    topic_name: str = field("0+")


class UnregisterControllerRecord(Message):
    """One version."""

    KEY = 29
    VALID = (0, 0)
    FLEXIBLE = 0

    controller_id: Int32 = field("0+")
