"""The story told to kafka-python's admin: `python -m compat_tests.admin.kafka_python --bootstrap ADDRESS`."""

from typing import Any

from kafka import TopicPartition
from kafka.admin import (
    ACL,
    AbortTransactionSpec,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    AlterConfigOp,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    MemberToRemove,
    OffsetSpec,
    OffsetTimestamp,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UpdateFeatureType,
    UserScramCredentialDeletion,
)
from kafka.consumer.fetcher import IsolationLevel
from kafka.structs import OffsetAndMetadata, TopicPartitionReplica

from compat_tests.admin.speaking import Speaker, bootstrap

tp = TopicPartition  # it stands in nearly every line
_EVERYONE = ["readers", "classic-live", "consumer-live", "missing"]


def _topics(s: Speaker) -> None:
    new: dict[str, dict[str, Any]] = {
        "made": {"num_partitions": 3, "configs": {"retention.ms": "100000"}},
        "assigned": {"assignments": {0: [1], 1: [1]}},
        "scene": {"num_partitions": 1},
        "bad/name": {"num_partitions": 1},
        "no-partitions": {"num_partitions": 0},
        "three-replicas": {"num_partitions": 1, "replication_factor": 3},
        "unknown-broker": {"assignments": {0: [77]}},
        "bad-config": {"num_partitions": 1, "configs": {"retention.ms": "soon"}},
        "no-config": {"num_partitions": 1, "configs": {"no.such.config": "1"}},
    }
    s.tell("create topics", "create_topics", new, raise_errors=False)
    s.tell("create a topic again", "create_topics", {"scene": {"num_partitions": 1}})
    s.tell("create topics, validate only", "create_topics", {"checked": {"num_partitions": 1}}, validate_only=True)
    s.tell("wait for topics", "wait_for_topics", ["made", "assigned"])
    s.tell("list topics", "list_topics")
    s.tell("describe topics", "describe_topics", ["made", "assigned", "missing", "bad/name"])
    s.tell("describe topic partitions", "describe_topic_partitions", ["assigned", "made", "missing"])
    s.tell(
        "describe topic partitions, a page",
        "describe_topic_partitions",
        ["assigned", "made"],
        response_partition_limit=3,
    )
    cursor = {"topic_name": "made", "partition_index": 1}
    s.tell("describe topic partitions, the next page", "describe_topic_partitions", ["assigned", "made"], cursor=cursor)
    more = {
        "made": 5,
        "assigned": {"count": 3, "assignments": [[1]]},
        "scene": {"count": 3, "assignments": [[77]]},
        "missing": 2,
    }
    s.tell("create partitions", "create_partitions", more, raise_errors=False)
    s.tell("create fewer partitions", "create_partitions", {"made": 1})
    s.tell("create partitions, validate only", "create_partitions", {"made": 9}, validate_only=True)
    s.tell("delete topics", "delete_topics", ["assigned", "missing", "bad/name"], raise_errors=False)
    s.tell("delete a topic that is not", "delete_topics", ["missing"])


def _configs(s: Speaker) -> None:
    kinds = ConfigResourceType
    op = AlterConfigOp

    def change(name: str, key: str, value: Any, kind: ConfigResourceType = kinds.TOPIC) -> list[ConfigResource]:
        return [ConfigResource(kind, name, {key: value})]

    s.tell("describe configs of a topic", "describe_configs", [ConfigResource(kinds.TOPIC, "made")])
    s.tell(
        "all configs of a topic",
        "describe_configs",
        [ConfigResource(kinds.TOPIC, "made")],
        config_filter="all",
        include_synonyms=True,
    )
    s.tell("all configs of a broker", "describe_configs", [ConfigResource(kinds.BROKER, "1")], config_filter="all")
    s.tell("configs of no topic", "describe_configs", [ConfigResource(kinds.TOPIC, "missing")])
    s.tell(
        "some configs",
        "describe_configs",
        [ConfigResource(kinds.TOPIC, "made", ["retention.ms", "no.such"])],
        config_filter="all",
    )
    s.tell("set a config", "alter_configs", change("made", "segment.bytes", "1048577"))
    s.tell("set a config, validate only", "alter_configs", change("made", "segment.bytes", "x"), validate_only=True)
    s.tell("append to a list", "alter_configs", change("made", "cleanup.policy", (op.APPEND, "compact")))
    s.tell("append to no list", "alter_configs", change("made", "segment.bytes", (op.APPEND, "2")))
    s.tell("subtract from a list", "alter_configs", change("made", "cleanup.policy", (op.SUBTRACT, "delete")))
    s.tell("set an unknown config", "alter_configs", change("made", "no.such", "x"), raise_on_unknown=False)
    s.tell(
        "set a config of no topic",
        "alter_configs",
        change("missing", "segment.bytes", "1048577"),
        raise_on_unknown=False,
    )
    s.tell("set a config of a broker", "alter_configs", change("1", "log.cleaner.threads", "2", kinds.BROKER))
    s.tell(
        "set a config of a group",
        "alter_configs",
        change("readers", "consumer.session.timeout.ms", "46000", kinds.GROUP),
    )
    s.tell(
        "set a config of client metrics", "alter_configs", change("watch", "interval.ms", "60000", kinds.CLIENT_METRICS)
    )
    s.tell("not incremental", "alter_configs", change("made", "retention.bytes", "1000"), incremental=False)
    s.tell("configs that were set", "describe_configs", [ConfigResource(kinds.TOPIC, "made")])
    s.tell("reset a config", "reset_configs", [ConfigResource(kinds.TOPIC, "made", ["retention.bytes"])])
    s.tell(
        "reset a config of no topic",
        "reset_configs",
        [ConfigResource(kinds.TOPIC, "missing", ["retention.bytes"])],
        raise_on_unknown=False,
    )
    s.tell("configs after resetting", "describe_configs", [ConfigResource(kinds.TOPIC, "made")])
    s.tell("list config resources", "list_config_resources")
    s.tell("list config resources of kinds", "list_config_resources", ["GROUP", "CLIENT_METRICS"])


def _records(s: Speaker) -> None:
    specs = {
        "earliest": OffsetSpec.EARLIEST,
        "latest": OffsetSpec.LATEST,
        "of the greatest timestamp": OffsetSpec.MAX_TIMESTAMP,
        "local": OffsetSpec.EARLIEST_LOCAL,
        "remote": OffsetSpec.LATEST_TIERED,
        "after a time": OffsetTimestamp(1_700_000_000_002),
        "after all times": OffsetTimestamp(1_900_000_000_000),
    }
    for name, spec in specs.items():
        s.tell(f"offset {name}", "list_partition_offsets", {tp("scene", 0): spec})
    s.tell(
        "stable offset", "list_partition_offsets", {tp("scene", 1): -1}, isolation_level=IsolationLevel.READ_COMMITTED
    )
    s.tell("offset of no topic", "list_partition_offsets", {tp("missing", 0): -1}, timeout_ms=3000)
    s.tell("delete records", "delete_records", {tp("scene", 0): 2})
    s.tell("delete records past the end", "delete_records", {tp("scene", 1): 1000})
    s.tell("delete records of no topic", "delete_records", {tp("missing", 0): 1}, timeout_ms=3000)
    s.tell("log dirs", "describe_log_dirs")
    s.tell("log dirs of a partition", "describe_log_dirs", {"scene": [0]}, brokers=[1])
    moves = {
        TopicPartitionReplica("scene", 0, 1): "/no/such/dir",
        TopicPartitionReplica("missing", 0, 1): "/no/such/dir",
    }
    s.tell("move replicas", "alter_replica_log_dirs", moves)


def _groups(s: Speaker) -> None:
    moved = {tp("scene", 0): OffsetAndMetadata(4, "moved", -1)}
    s.tell("list groups", "list_groups")
    s.tell("list groups, filtered", "list_groups", states_filter=["Stable"], types_filter=["consumer"])
    for group in _EVERYONE:
        s.tell(f"describe {group}", "describe_groups", [group])
    s.tell("describe groups with operations", "describe_groups", ["readers"], include_authorized_operations=True)
    s.tell("offsets of groups", "list_group_offsets", ["readers", "missing"])
    s.tell("some offsets", "list_group_offsets", {"readers": [tp("scene", 0), tp("missing", 0)]})
    for group in _EVERYONE:
        s.tell(f"alter offsets of {group}", "alter_group_offsets", group, moved)
    s.tell(
        "alter offsets of no partition",
        "alter_group_offsets",
        "readers",
        {tp("absent", 0): OffsetAndMetadata(4, "", -1)},
    )
    resets = {tp("scene", 0): OffsetSpec.LATEST, tp("scene", 1): OffsetTimestamp(1_700_000_000_005)}
    s.tell("reset offsets", "reset_group_offsets", "readers", resets)
    s.tell("reset offsets of a group with members", "reset_group_offsets", "classic-live", resets)
    s.tell("delete offsets", "delete_group_offsets", "readers", [tp("scene", 1), tp("absent", 0)])
    s.tell("delete offsets of no group", "delete_group_offsets", "absent", [tp("scene", 1)])
    s.tell("delete offsets that a member reads", "delete_group_offsets", "classic-live", [tp("scene", 1)])
    s.tell("offsets after all", "list_group_offsets", ["readers"])
    s.tell("remove a member", "remove_group_members", "classic-live", [MemberToRemove(group_instance_id="nobody")])
    s.tell("remove a member by id", "remove_group_members", "classic-live", [MemberToRemove(member_id="nobody")])
    s.tell("remove a member of no group", "remove_group_members", "absent", [MemberToRemove(member_id="nobody")])
    s.tell("delete groups", "delete_groups", [*_EVERYONE, "absent"])


def _transactions(s: Speaker) -> None:
    s.tell("list transactions", "list_transactions")
    s.tell(
        "list transactions, filtered",
        "list_transactions",
        state_filters=["Ongoing"],
        transactional_id_pattern="txn-o.*",
    )
    s.tell("list transactions of no pattern", "list_transactions", transactional_id_pattern="(")
    for name in ("txn-done", "txn-open", "txn-missing"):
        s.tell(f"describe {name}", "describe_transactions", [name])
    found = s.tell("describe producers", "describe_producers", [tp("scene", 1)], broker_id=1)
    s.tell("find hanging transactions", "find_hanging_transactions")
    (one,) = [each for each in found[tp("scene", 1)].active_producers if each.current_transaction_start_offset >= 0]
    for step, epoch in (("of another epoch", one.producer_epoch + 5), ("that is open", one.producer_epoch)):
        spec = AbortTransactionSpec(tp("scene", 1), one.producer_id, epoch, max(one.coordinator_epoch, 0))
        s.tell(f"abort a transaction {step}", "abort_transaction", spec)
    s.tell(
        "stable offset after the abort",
        "list_partition_offsets",
        {tp("scene", 1): -1},
        isolation_level=IsolationLevel.READ_COMMITTED,
    )


def _cluster(s: Speaker) -> None:
    s.tell("describe cluster", "describe_cluster")
    s.tell("API versions", "api_versions")
    s.tell("version data of a broker", "get_broker_version_data", 1)
    s.tell("describe features", "describe_features")
    s.tell("describe metadata quorum", "describe_metadata_quorum")
    s.tell("update features", "update_features", {"no.such.feature": (UpdateFeatureType.UPGRADE, 2)})
    downgrade = {"transaction.version": (UpdateFeatureType.SAFE_DOWNGRADE, 1)}
    s.tell("update features, validate only", "update_features", downgrade, validate_only=True)
    s.tell("elect preferred leaders", "elect_leaders", 0, {"scene": [0], "missing": [0]}, raise_errors=False)
    s.tell("elect unclean leaders", "elect_leaders", 1, {"scene": [0]}, raise_errors=False)
    s.tell(
        "reassign partitions",
        "alter_partition_reassignments",
        {tp("scene", 0): [1], tp("scene", 1): [77], tp("made", 0): None},
    )
    s.tell("list reassignments", "list_partition_reassignments")
    s.tell("list some reassignments", "list_partition_reassignments", [tp("scene", 0)])


def _not_built(s: Speaker) -> None:
    common = ("User:ann", "*", ACLOperation.READ, ACLPermissionType.ALLOW)
    s.tell("create ACLs", "create_acls", [ACL(*common, ResourcePattern(ResourceType.TOPIC, "scene"))])
    pattern = ResourcePatternFilter(ResourceType.TOPIC, "scene", ACLResourcePatternType.LITERAL)
    s.tell("describe ACLs", "describe_acls", ACLFilter(*common, pattern))
    s.tell("delete ACLs", "delete_acls", [ACLFilter(*common, pattern)])
    s.tell("describe SCRAM users", "describe_user_scram_credentials")
    s.tell(
        "alter SCRAM users",
        "alter_user_scram_credentials",
        [UserScramCredentialDeletion("ann", ScramMechanism.SCRAM_SHA_256)],
    )


def main() -> None:
    """Tells everything, in an order that matters."""
    s = Speaker(KafkaAdminClient(bootstrap_servers=bootstrap()))
    for part in (_topics, _configs, _records, _groups, _transactions, _cluster, _not_built):
        part(s)
    s.tell("close", "close")
    s.end()


if __name__ == "__main__":
    main()
