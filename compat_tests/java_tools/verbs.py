"""Kafka's stock tools and what can be asked of each: the rows of the page's table of tools (page/tools.py).

A run tells its verbs by its arguments. What a tool is not asked here stands in NOT_ASKED, with the reason.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from compat_tests.results import note_tool

Words = Sequence[str]
RUNS: Final = "runs"  # the verb of a tool that does one thing


class Tool(NamedTuple):
    """Its name as a script, its verbs, and how a run's arguments tell them (as a rule: by being among them)."""

    script: str
    verbs: tuple[str, ...] = (RUNS,)
    told: Callable[[Words], set[str]] | None = None


_ENTITIES: Final = ("topics", "brokers", "groups", "client-metrics", "broker-loggers", "clients", "users", "ips")


def _of_configs(words: Words) -> set[str]:
    """Verb and kind of entity: --entity-type KIND, or --KIND without its s."""
    named = {words[at + 1] for at, word in enumerate(words) if word == "--entity-type"}
    kinds = [kind for kind in _ENTITIES if kind in named or f"--{kind.removesuffix('s')}" in words]
    return {f"{verb} {kind}" for verb in ("--describe", "--alter") if verb in words for kind in kinds}


def _of_quorum(words: Words) -> set[str]:
    return {f"describe {word}" for word in words if word in ("--status", "--replication")} | {*words}


def _of_election(words: Words) -> set[str]:
    return {f"--election-type {word}" for word in words}


TOOLS: Final = {
    "TopicCommand": Tool("kafka-topics", ("--create", "--list", "--describe", "--alter", "--delete")),
    "ConfigCommand": Tool(
        "kafka-configs",
        tuple(f"{verb} {kind}" for kind in _ENTITIES for verb in ("--describe", "--alter")),
        _of_configs,
    ),
    "ConsoleProducer": Tool("kafka-console-producer"),
    "ConsoleConsumer": Tool("kafka-console-consumer"),
    "ConsumerGroupCommand": Tool(
        "kafka-consumer-groups",
        ("--list", "--describe", "--reset-offsets", "--delete-offsets", "--delete", "--validate-regex"),
    ),
    "GroupsCommand": Tool("kafka-groups", ("--list",)),
    "TransactionsCommand": Tool(
        "kafka-transactions",
        ("list", "describe", "describe-producers", "find-hanging", "abort", "forceTerminateTransaction"),
    ),
    "GetOffsetShell": Tool("kafka-get-offsets"),
    "DeleteRecordsCommand": Tool("kafka-delete-records"),
    "ClientMetricsCommand": Tool("kafka-client-metrics", ("--list", "--describe", "--alter", "--delete")),
    "LogDirsCommand": Tool("kafka-log-dirs", ("--describe",)),
    "ReassignPartitionsCommand": Tool(
        "kafka-reassign-partitions", ("--generate", "--execute", "--verify", "--cancel", "--list")
    ),
    "LeaderElectionCommand": Tool(
        "kafka-leader-election", ("--election-type preferred", "--election-type unclean"), _of_election
    ),
    "ClusterTool": Tool("kafka-cluster", ("cluster-id", "list-endpoints", "unregister")),
    "MetadataQuorumCommand": Tool(
        "kafka-metadata-quorum",
        ("describe --status", "describe --replication", "add-controller", "remove-controller"),
        _of_quorum,
    ),
    "FeatureCommand": Tool(
        "kafka-features", ("describe", "upgrade", "downgrade", "disable", "version-mapping", "feature-dependencies")
    ),
    "BrokerApiVersionsCommand": Tool("kafka-broker-api-versions"),
    "ReplicaVerificationTool": Tool("kafka-replica-verification"),
    "DumpLogSegments": Tool(
        "kafka-dump-log",
        (
            "--print-data-log",
            "--index-sanity-check",
            "--offsets-decoder",
            "--transaction-log-decoder",
            "--cluster-metadata-decoder",
            "--remote-log-metadata-decoder",
            "--share-group-state-decoder",
        ),
    ),
    "ProducerPerformance": Tool("kafka-producer-perf-test"),
    "ConsumerPerformance": Tool("kafka-consumer-perf-test"),
    "EndToEndLatency": Tool("kafka-e2e-latency"),
    "VerifiableProducer": Tool("kafka-verifiable-producer"),
    "VerifiableConsumer": Tool("kafka-verifiable-consumer"),
    "StreamsResetter": Tool("kafka-streams-application-reset"),
    "AclCommand": Tool("kafka-acls"),
    "DelegationTokenCommand": Tool("kafka-delegation-tokens"),
    "ShareGroupCommand": Tool("kafka-share-groups"),
    "ConsoleShareConsumer": Tool("kafka-console-share-consumer"),
    "StreamsGroupCommand": Tool("kafka-streams-groups"),
    "MetadataShell": Tool("kafka-metadata-shell"),
    "StorageTool": Tool("kafka-storage"),
    "JmxTool": Tool("kafka-jmx"),
}

_SECURITY = "ACLs and delegation tokens are not built"
_SHARE = "share groups are not built"
_QUORUM = "a quorum of one, which has no voters to add or to remove"
_OFFLINE = "asks no broker"
NOT_ASKED: Final[dict[tuple[str, str], str]] = {
    ("AclCommand", RUNS): _SECURITY,
    ("DelegationTokenCommand", RUNS): _SECURITY,
    ("ShareGroupCommand", RUNS): _SHARE,
    ("ConsoleShareConsumer", RUNS): _SHARE,
    ("DumpLogSegments", "--share-group-state-decoder"): _SHARE,
    ("DumpLogSegments", "--remote-log-metadata-decoder"): "there is no remote storage",
    ("StreamsGroupCommand", RUNS): "streams groups (KIP-1071) are not built",
    ("MetadataQuorumCommand", "add-controller"): _QUORUM,
    ("MetadataQuorumCommand", "remove-controller"): _QUORUM,
    ("FeatureCommand", "version-mapping"): _OFFLINE,
    ("FeatureCommand", "feature-dependencies"): _OFFLINE,
    ("MetadataShell", RUNS): "reads the files of a KRaft controller, of which Ottla has none",
    ("StorageTool", RUNS): "formats folders for Kafka's own server",
    ("JmxTool", RUNS): "asks a JVM, which Ottla is not",
}


def note(name: str, arguments: Words) -> None:
    """A test runs a tool with these arguments: its verbs are cells of the page."""
    tool = TOOLS[name]
    told = tool.told(arguments) if tool.told else {*arguments}
    for verb in tool.verbs:
        if verb == RUNS or verb in told:
            note_tool(name, verb)
