"""The story told to confluent-kafka's AdminClient: `python -m compat_tests.admin.confluent --bootstrap ADDRESS`."""

import confluent_kafka as ck
from confluent_kafka import admin as ca

from compat_tests.admin.speaking import Speaker, bootstrap


def _topics(s: Speaker) -> None:
    new = [
        ca.NewTopic("made", 3, config={"retention.ms": "100000"}),
        ca.NewTopic("assigned", 2, replica_assignment=[[1], [1]]),
        ca.NewTopic("scene", 1, 1),
        ca.NewTopic("bad/name", 1, 1),
        ca.NewTopic("three-replicas", 1, 3),
        ca.NewTopic("unknown-broker", 1, replica_assignment=[[77]]),
        ca.NewTopic("bad-config", 1, 1, config={"retention.ms": "soon"}),
        ca.NewTopic("no-config", 1, 1, config={"no.such.config": "1"}),
    ]
    s.tell("create topics", "create_topics", new)
    s.tell("create topics, validate only", "create_topics", [ca.NewTopic("checked", 1, 1)], validate_only=True)
    s.tell("list topics", "list_topics", timeout=30)
    s.tell("list a topic that is not", "list_topics", "missing", timeout=30)
    names = ck.TopicCollection(["made", "assigned", "missing", "bad/name"])
    s.tell("describe topics", "describe_topics", names)
    s.tell(
        "describe topics with operations",
        "describe_topics",
        ck.TopicCollection(["made"]),
        include_authorized_operations=True,
    )
    s.tell(
        "create partitions",
        "create_partitions",
        [
            ca.NewPartitions("made", 5),
            ca.NewPartitions("assigned", 3, replica_assignment=[[1]]),
            ca.NewPartitions("scene", 3, replica_assignment=[[77]]),
            ca.NewPartitions("missing", 2),
        ],
    )
    s.tell("create fewer partitions", "create_partitions", [ca.NewPartitions("made", 1)])
    s.tell("create partitions, validate only", "create_partitions", [ca.NewPartitions("made", 9)], validate_only=True)
    s.tell("delete topics", "delete_topics", ["assigned", "missing", "bad/name"])


def _configs(s: Speaker) -> None:
    kinds = ca.ResourceType

    def resource(kind: ca.ResourceType, name: str, **config: str) -> ca.ConfigResource:
        return ca.ConfigResource(kind, name, set_config={key.replace("_", "."): value for key, value in config.items()})

    def change(
        kind: ca.ResourceType, name: str, op: ca.AlterConfigOpType, key: str, value: str | None
    ) -> list[ca.ConfigResource]:
        entry = ca.ConfigEntry(key, value, incremental_operation=op)
        return [ca.ConfigResource(kind, name, incremental_configs=[entry])]

    ops = ca.AlterConfigOpType
    s.tell("describe configs of a topic", "describe_configs", [resource(kinds.TOPIC, "made")])
    s.tell("describe configs of a broker", "describe_configs", [resource(kinds.BROKER, "1")])
    s.tell("describe configs of no topic", "describe_configs", [resource(kinds.TOPIC, "missing")])
    s.tell("describe configs of no broker", "describe_configs", [resource(kinds.BROKER, "77")], request_timeout=1)
    s.tell(
        "set a config", "incremental_alter_configs", change(kinds.TOPIC, "made", ops.SET, "segment.bytes", "1048577")
    )
    s.tell(
        "append to a list",
        "incremental_alter_configs",
        change(kinds.TOPIC, "made", ops.APPEND, "cleanup.policy", "compact"),
    )
    s.tell(
        "append to no list", "incremental_alter_configs", change(kinds.TOPIC, "made", ops.APPEND, "segment.bytes", "2")
    )
    s.tell(
        "subtract from a list",
        "incremental_alter_configs",
        change(kinds.TOPIC, "made", ops.SUBTRACT, "cleanup.policy", "delete"),
    )
    s.tell(
        "delete a config", "incremental_alter_configs", change(kinds.TOPIC, "made", ops.DELETE, "retention.ms", None)
    )
    s.tell("set a wrong value", "incremental_alter_configs", change(kinds.TOPIC, "made", ops.SET, "segment.bytes", "x"))
    s.tell("set an unknown config", "incremental_alter_configs", change(kinds.TOPIC, "made", ops.SET, "no.such", "x"))
    s.tell(
        "set a config of no topic",
        "incremental_alter_configs",
        change(kinds.TOPIC, "missing", ops.SET, "segment.bytes", "9"),
    )
    s.tell(
        "set a config of a broker",
        "incremental_alter_configs",
        change(kinds.BROKER, "1", ops.SET, "log.cleaner.threads", "2"),
    )
    s.tell(
        "set a config of a group",
        "incremental_alter_configs",
        change(kinds.GROUP, "readers", ops.SET, "consumer.session.timeout.ms", "46000"),
    )
    s.tell("configs that were set", "describe_configs", [resource(kinds.TOPIC, "made")])
    s.tell("configs of a group", "describe_configs", [resource(kinds.GROUP, "readers")])
    s.tell("alter configs", "alter_configs", [resource(kinds.TOPIC, "made", retention_bytes="1000")])
    s.tell("alter configs wrongly", "alter_configs", [resource(kinds.TOPIC, "made", retention_bytes="x")])
    s.tell("configs after altering", "describe_configs", [resource(kinds.TOPIC, "made")])


def _records(s: Speaker) -> None:
    tp = ck.TopicPartition
    specs = {
        "earliest": ca.OffsetSpec.earliest(),
        "latest": ca.OffsetSpec.latest(),
        "of the greatest timestamp": ca.OffsetSpec.max_timestamp(),
        "after a time": ca.OffsetSpec.for_timestamp(1_700_000_000_002),
        "after all times": ca.OffsetSpec.for_timestamp(1_900_000_000_000),
    }
    for name, spec in specs.items():
        s.tell(f"offset {name}", "list_offsets", {tp("scene", 0): spec})
    s.tell(
        "stable offset",
        "list_offsets",
        {tp("scene", 1): specs["latest"]},
        isolation_level=ck.IsolationLevel.READ_COMMITTED,
    )
    s.tell("offset of no topic", "list_offsets", {tp("missing", 0): specs["latest"]})
    s.tell("delete records", "delete_records", [tp("scene", 0, 2), tp("scene", 1, 1000)])
    s.tell("delete records of no topic", "delete_records", [tp("missing", 0, 2)])


def _groups(s: Speaker) -> None:
    tp, of = ck.TopicPartition, ck.ConsumerGroupTopicPartitions
    everyone = ["readers", "classic-live", "consumer-live", "missing"]
    s.tell("list groups", "list_groups", timeout=30)
    s.tell("list a group", "list_groups", "classic-live", timeout=30)
    s.tell("list consumer groups", "list_consumer_groups")
    s.tell(
        "list consumer groups, filtered",
        "list_consumer_groups",
        states={ck.ConsumerGroupState.STABLE},
        types={ck.ConsumerGroupType.CONSUMER},
    )
    s.tell("describe consumer groups", "describe_consumer_groups", everyone)
    s.tell(
        "describe a group with operations", "describe_consumer_groups", ["readers"], include_authorized_operations=True
    )
    s.tell("offsets of a group", "list_consumer_group_offsets", [of("readers")])
    s.tell(
        "some offsets of a group", "list_consumer_group_offsets", [of("readers", [tp("scene", 0), tp("missing", 0)])]
    )
    s.tell("offsets of no group", "list_consumer_group_offsets", [of("missing")])
    for group in ("readers", "classic-live", "consumer-live"):
        s.tell(f"alter offsets of {group}", "alter_consumer_group_offsets", [of(group, [tp("scene", 0, 4)])])
    s.tell("alter offsets of no partition", "alter_consumer_group_offsets", [of("readers", [tp("missing", 0, 4)])])
    s.tell("offsets after altering", "list_consumer_group_offsets", [of("readers")])
    s.tell("delete groups", "delete_consumer_groups", everyone)


def _cluster(s: Speaker) -> None:
    tp = ck.TopicPartition
    s.tell("cluster id", "cluster_id", timeout=30)
    s.tell("describe cluster", "describe_cluster", include_authorized_operations=True)
    s.tell("elect preferred leaders", "elect_leaders", ck.ElectionType.PREFERRED, [tp("scene", 0), tp("missing", 0)])
    s.tell("elect unclean leaders", "elect_leaders", ck.ElectionType.UNCLEAN, [tp("scene", 0)])
    s.tell("elect leaders of all", "elect_leaders", ck.ElectionType.PREFERRED)


def _not_built(s: Speaker) -> None:
    binding = (
        "scene",
        ca.ResourcePatternType.LITERAL,
        "User:ann",
        "*",
        ca.AclOperation.READ,
        ca.AclPermissionType.ALLOW,
    )
    s.tell("create ACLs", "create_acls", [ca.AclBinding(ca.ResourceType.TOPIC, *binding)])
    s.tell("describe ACLs", "describe_acls", ca.AclBindingFilter(ca.ResourceType.TOPIC, *binding))
    s.tell("delete ACLs", "delete_acls", [ca.AclBindingFilter(ca.ResourceType.TOPIC, *binding)])
    s.tell("describe SCRAM users", "describe_user_scram_credentials")
    s.tell("describe a SCRAM user", "describe_user_scram_credentials", ["ann"])
    deletion = ca.UserScramCredentialDeletion("ann", ca.ScramMechanism.SCRAM_SHA_256)
    s.tell("alter SCRAM users", "alter_user_scram_credentials", [deletion])


def main() -> None:
    """Tells everything, in an order that matters."""
    s = Speaker(ca.AdminClient({"bootstrap.servers": bootstrap(), "log_level": 0}))
    for part in (_topics, _configs, _records, _groups, _cluster, _not_built):
        part(s)
    s.tell("poll", "poll", 0)
    s.tell("set credentials", "set_sasl_credentials", "ann", "secret")
    s.end()


if __name__ == "__main__":
    main()
