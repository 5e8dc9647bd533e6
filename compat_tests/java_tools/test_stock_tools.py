"""Every stock tool of Kafka and what its user sees, verb by verb: the same on Ottla as on Apache Kafka, which judges
these tests too (OTTLA_COMPAT_KAFKA). Groups and transactions have files of their own.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests.harness import DEADLINE_S, JUDGED_BY_KAFKA, Broker
from compat_tests.java_tools import verbs
from compat_tests.java_tools.conftest import Tool
from compat_tests.java_tools.shell import ToolShell

pytestmark = pytest.mark.long

Fresh = Callable[[str], str]


@pytest.fixture
def topic(shell: ToolShell, fresh: Fresh) -> str:
    """A topic of three partitions."""
    name = fresh("tooled")
    shell("TopicCommand", "--create", "--topic", name, "--partitions", "3")
    return name


@pytest.fixture
def write(tmp_path: Path) -> Callable[[object], str]:
    """Writes a JSON file for a tool and gives its path."""

    def write(content: object) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def refused(shell: ToolShell, reason: str, name: str, *arguments: str) -> None:
    """The tool ends with exit code 1 and says why."""
    said = shell.ask(name, *arguments)
    assert said.code == 1, said
    assert reason.lower() in (said.out + said.err).lower()


def produce(shell: ToolShell, topic: str, *lines: str, options: tuple[str, ...] = ()) -> None:
    shell("ConsoleProducer", "--topic", topic, *options, stdin="".join(f"{line}\n" for line in lines))


def consume(shell: ToolShell, count: int, *options: str) -> list[str]:
    return shell("ConsoleConsumer", "--max-messages", str(count), "--timeout-ms", "120000", *options).splitlines()


def configs(shell: ToolShell, *entity: str) -> dict[str, str]:
    """What ConfigCommand shows: name to value."""
    shown = shell("ConfigCommand", "--describe", *entity)
    return dict(re.findall(r"^  (\S+?)=(.*?) sensitive=", shown, re.MULTILINE))


# ── TopicCommand ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_topics_that_are_not_created(shell: ToolShell, fresh: Fresh) -> None:
    topic = fresh("a.b")
    create = ("TopicCommand", "--create", "--topic")
    shell(*create, topic)
    refused(shell, "already exists", *create, topic)
    shell(*create, topic, "--if-not-exists")
    refused(shell, "collides", *create, topic.replace(".", "_"))
    refused(shell, "'.', '_' and '-'", *create, "not a name")
    other = fresh("never")
    refused(shell, "replication factor", *create, other, "--replication-factor", "3")
    refused(shell, "broker", *create, other, "--replica-assignment", "7")
    refused(shell, "Unknown topic config name: nope", *create, other, "--config", "nope=1")
    refused(shell, "retention.ms", *create, other, "--config", "retention.ms=soon")
    assert other not in shell("TopicCommand", "--list").split()


def test_topics_are_filtered(shell: ToolShell, topic: str, fresh: Fresh) -> None:
    tight = fresh("tight")
    shell("TopicCommand", "--create", "--topic", tight, "--config", "min.insync.replicas=2")

    def shown(*flags: str) -> set[str]:
        return set(re.findall(r"Topic: (\S+)", shell("TopicCommand", "--describe", *flags)))

    assert {topic, tight} <= shown()
    assert {topic, tight} <= shown("--exclude-internal")
    assert shown("--topic", "tight.*") == {tight}
    assert shown("--under-replicated-partitions") == shown("--unavailable-partitions") == set()
    assert shown("--under-min-isr-partitions") == {tight}
    assert topic in shown("--at-min-isr-partitions")
    assert tight in shown("--topics-with-overrides")
    many = shell("TopicCommand", "--describe", "--topic", topic, "--partition-size-limit-per-response", "1")
    assert many.count("Leader: ") == 3
    topic_id = re.findall(r"TopicId: (\S+)", many)[0]
    assert topic in shell("TopicCommand", "--describe", "--topic-id", topic_id)
    assert shell("TopicCommand", "--list", "--topic", "tight.*").split() == [tight]


def test_topics_grow_and_go(shell: ToolShell, topic: str) -> None:
    alter = ("TopicCommand", "--alter", "--topic")
    shell(*alter, topic, "--partitions", "5")
    assert "PartitionCount: 5" in shell("TopicCommand", "--describe", "--topic", topic)
    refused(shell, "already", *alter, topic, "--partitions", "5")
    refused(shell, "partition", *alter, topic, "--partitions", "2")
    shell(*alter, topic, "--partitions", "6", "--replica-assignment", "1,1,1,1,1,1")
    refused(shell, "broker", *alter, topic, "--partitions", "7", "--replica-assignment", "1,1,1,1,1,1,9")
    shell("TopicCommand", "--delete", "--topic", topic)
    for verb in (("--describe",), ("--delete",), ("--alter", "--partitions", "9")):
        refused(shell, "does not exist", "TopicCommand", *verb, "--topic", topic)
        shell("TopicCommand", *verb, "--topic", topic, "--if-exists")


# ── ConfigCommand ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("entity", "wanted", "bad"),
    [
        (("brokers", "1"), {"log.cleaner.backoff.ms": "15001", "log.flush.interval.messages": "77"}, "node.id=2"),
        (("brokers", ""), {"background.threads": "11", "message.max.bytes": "2000000"}, "listeners=PLAINTEXT://x:1"),
        (("groups", "g"), {"consumer.session.timeout.ms": "50000"}, "consumer.session.timeout.ms=1"),
        (("client-metrics", "m"), {"interval.ms": "1000", "match": "client_id=a.*"}, "interval.ms=1"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_configs_are_set_shown_and_deleted(
    shell: ToolShell, entity: tuple[str, str], wanted: dict[str, str], bad: str
) -> None:
    kind, name = entity
    which = ("--entity-type", kind, *(("--entity-name", name) if name else ("--entity-default",)))
    before = configs(shell, *which)
    added = ",".join(f"{key}=[{value}]" for key, value in wanted.items())
    shell("ConfigCommand", "--alter", *which, "--add-config", added)
    shown = configs(shell, *which)
    assert {key: shown[key] for key in wanted} == wanted
    said = shell.ask("ConfigCommand", "--alter", *which, "--add-config", bad)
    assert said.code == 1
    assert configs(shell, *which) == shown
    shell("ConfigCommand", "--alter", *which, "--delete-config", ",".join(wanted))
    after = configs(shell, *which)
    assert {key: after.get(key) for key in wanted} != wanted
    assert not after.keys() - before.keys() - {"interval.ms", "match", "metrics"}


def test_configs_of_a_topic(shell: ToolShell, topic: str, tmp_path: Path) -> None:
    which = ("--entity-type", "topics", "--entity-name", topic)
    assert configs(shell, *which) == {}
    file = tmp_path / "add.properties"
    file.write_text("retention.bytes=1000000\nflush.ms=5\n")
    shell("ConfigCommand", "--alter", *which, "--add-config-file", str(file))
    shell("ConfigCommand", "--alter", *which, "--add-config", "cleanup.policy=[compact,delete],retention.ms=1")
    set_now = {
        "cleanup.policy": "compact,delete",
        "flush.ms": "5",
        "retention.bytes": "1000000",
        "retention.ms": "1",
    }
    assert configs(shell, "--topic", topic) == set_now
    assert "retention.ms=1" in shell("TopicCommand", "--describe", "--topic", topic)
    everything = configs(shell, *which, "--all")
    assert len(everything) > 30
    assert everything.items() >= set_now.items()
    for bad in ("nope=1", "retention.ms=x", "segment.bytes=1", "cleanup.policy=foo"):
        refused(shell, "Exception", "ConfigCommand", "--alter", *which, "--add-config", bad)
    shell("ConfigCommand", "--alter", *which, "--delete-config", ",".join(set_now))
    assert configs(shell, *which) == {}


def test_levels_of_loggers(shell: ToolShell) -> None:
    which = ("--entity-type", "broker-loggers", "--entity-name", "1")
    assert configs(shell, *which)["root"] == "INFO"
    shell("ConfigCommand", "--alter", *which, "--add-config", "root=WARN")
    assert configs(shell, *which)["root"] == "WARN"
    for change in (("--add-config", "root=LOUD"), ("--add-config", "none.such=INFO"), ("--delete-config", "root")):
        refused(shell, "", "ConfigCommand", "--alter", *which, *change)
    shell("ConfigCommand", "--alter", *which, "--add-config", "root=INFO")
    assert configs(shell, *which)["root"] == "INFO"


def test_configs_of_a_broker_say_where_it_listens_and_writes(shell: ToolShell, broker: Broker) -> None:
    shown = configs(shell, "--entity-type", "brokers", "--entity-name", "1", "--all")
    asked = broker.bootstrap if JUDGED_BY_KAFKA else "127.0.0.1:0"  # the words of --listen, not what came of them
    assert f"PLAINTEXT://{asked}" in shown["listeners"].split(",")
    assert Path(shown["log.dirs"]).is_relative_to(broker.data)
    assert shown["node.id"] == "1"


def test_quotas(shell: ToolShell) -> None:
    def change(*words: str) -> None:
        shell("ConfigCommand", "--alter", *words)

    def shown(*entity: str) -> list[str]:
        return [line.strip() for line in shell("ConfigCommand", "--describe", *entity).splitlines() if line.strip()]

    client, default = (
        ("--entity-type", "clients", "--entity-name", "c"),
        ("--entity-type", "clients", "--entity-default"),
    )
    change(*client, "--add-config", "producer_byte_rate=104857600,consumer_byte_rate=204857600")
    change(*default, "--add-config", "request_percentage=2000")
    assert shown(*client) == [
        "Quota configs for client-id 'c' are consumer_byte_rate=2.048576E8, producer_byte_rate=1.048576E8"
    ]
    assert set(shown("--entity-type", "clients")) == {
        *shown(*client),
        "Quota configs for the default client-id are request_percentage=2000.0",
    }
    for bad in ("nope=1", "producer_byte_rate=x", "producer_byte_rate=-1"):
        refused(shell, "", "ConfigCommand", "--alter", *client, "--add-config", bad)
    change(*client, "--delete-config", "producer_byte_rate,consumer_byte_rate")
    change(*default, "--delete-config", "request_percentage")
    assert shown("--entity-type", "clients") == []

    both = ("--entity-type", "users", "--entity-name", "u", *client)
    change(*both, "--add-config", "producer_byte_rate=7")
    assert shown("--user", "u", "--client", "c") == [
        "Quota configs for user-principal 'u', client-id 'c' are producer_byte_rate=7.0"
    ]
    change(*both, "--delete-config", "producer_byte_rate")
    assert shown(*both) == []

    address = ("--entity-type", "ips", "--entity-name", "1.2.3.4")
    change(*address, "--add-config", "connection_creation_rate=20")
    assert shown(*address) == ["Quota configs for ip '1.2.3.4' are connection_creation_rate=20.0"]
    refused(shell, "", "ConfigCommand", "--alter", *address, "--add-config", "connection_creation_rate=-1")
    change(*address, "--delete-config", "connection_creation_rate")
    assert shown("--entity-type", "ips") == []


def test_client_metrics(shell: ToolShell) -> None:
    change = ("ClientMetricsCommand", "--alter", "--name", "told")
    shell(*change, "--metrics", "org.apache.kafka.consumer.", "--interval", "5000", "--match", "client_id=a.*")
    assert "told" in shell("ClientMetricsCommand", "--list").split()
    describe = ("ClientMetricsCommand", "--describe", "--name", "told")
    assert [line.strip() for line in shell(*describe).splitlines()[1:]] == [
        "interval.ms=5000",
        "match=client_id=a.*",
        "metrics=org.apache.kafka.consumer.",
    ]
    shell(*change, "--interval", "")
    assert "interval.ms=300000" in shell(*describe)
    refused(shell, "interval.ms", *change, "--interval", "10")
    shell("ClientMetricsCommand", "--delete", "--name", "told")
    assert "told" not in shell("ClientMetricsCommand", "--list").split()
    assert "told" in shell(*describe)  # doesn't exist


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_console_shows_all_of_a_record(shell: ToolShell, topic: str) -> None:
    keyed = ("--reader-property", "parse.key=true", "--reader-property", "parse.headers=true")
    produce(shell, topic, "h1:x,h2:y\tk\tone", options=(*keyed, "--compression-codec", "gzip"))
    produce(shell, topic, "h3:\tk\tNIL", options=(*keyed, "--reader-property", "null.marker=NIL", "--sync"))
    produce(shell, topic, "h4:z\tk\tthree", options=(*keyed, "--request-required-acks", "1"))
    parts = ("timestamp", "partition", "offset", "headers", "key")
    show = [word for part in parts for word in ("--formatter-property", f"print.{part}=true")]
    read = consume(shell, 3, "--topic", topic, "--from-beginning", *show)
    at = re.findall(r"Partition:(\d)", read[0])[0]
    assert [re.sub(r"CreateTime:\d{13}\t", "", line) for line in read] == [
        f"Partition:{at}\tOffset:0\th1:x,h2:y\tk\tone",
        f"Partition:{at}\tOffset:1\th3:\tk\tnull",
        f"Partition:{at}\tOffset:2\th4:z\tk\tthree",
    ]
    values = {
        offset: consume(shell, 1, "--topic", topic, "--partition", at, "--offset", offset) for offset in ("0", "2")
    }
    assert values == {"0": ["one"], "2": ["three"]}
    assert consume(shell, 1, "--topic", topic, "--partition", at, "--offset", "earliest") == ["one"]
    assert consume(shell, 1, "--include", f"{topic[:-1]}.*", "--from-beginning") == ["one"]
    committed = consume(shell, 3, "--topic", topic, "--from-beginning", "--isolation-level", "read_committed")
    assert committed == ["one", "null", "three"]


def test_consumer_perf_and_producer_perf(shell: ToolShell, topic: str, fresh: Fresh) -> None:
    perf = ("ProducerPerformance", "--topic", topic, "--throughput", "-1")
    assert shell(*perf, "--num-records", "2000", "--record-size", "100").startswith("2000 records sent, ")
    quick = ("--command-property", "acks=0", "enable.idempotence=false", "compression.type=zstd")
    assert "200 records sent, " in shell(*perf, "--num-records", "200", "--payload-monotonic", *quick)
    transactional = ("--transactional-id", fresh("perf-id"), "--transaction-duration-ms", "50")
    assert "300 records sent, " in shell(*perf, "--num-records", "300", "--record-size", "10", *transactional)
    read = shell("ConsumerPerformance", "--topic", topic, "--num-records", "2500", "--group", fresh("perf"))
    head, row = read.splitlines()
    assert dict(zip(head.split(", "), row.split(", "), strict=True))["data.consumed.in.nMsg"] == "2500"


@pytest.mark.parametrize("acks", ["1", "all"])
def test_end_to_end_latency(shell: ToolShell, fresh: Fresh, acks: str) -> None:
    said = shell.run("EndToEndLatency", shell.bootstrap, fresh("latency"), "50", acks, "16")
    assert said.code == 0, said
    assert re.search(r"^Avg latency: [\d.]+ ms$", said.out, re.MULTILINE)


def test_verifiable_producer_and_consumer(tool: Tool, fresh: Fresh) -> None:
    topic = fresh("verifiable")
    sent = [
        json.loads(line) for line in tool("VerifiableProducer", "--topic", topic, "--max-messages", "5").splitlines()
    ]
    assert [event["offset"] for event in sent if event["name"] == "producer_send_success"] == [0, 1, 2, 3, 4]
    assert sent[-1]["name"] == "tool_data"
    assert sent[-1]["acked"] == 5
    flags = ("--group-id", fresh("verifiable-group"), "--max-messages", "5", "--reset-policy", "earliest")
    seen = [
        json.loads(line)
        for line in tool("VerifiableConsumer", "--topic", topic, *flags, "--group-protocol", "consumer").splitlines()
    ]
    names = [event["name"] for event in seen]
    assert names[:3] == ["startup_complete", "partitions_assigned", "records_consumed"]
    assert "offsets_committed" in names
    assert sum(event["count"] for event in seen if event["name"] == "records_consumed") == 5


def test_offsets_by_time(shell: ToolShell, topic: str) -> None:
    """GetOffsetShell and each of its times; what is deleted is gone from the earliest."""
    produce(
        shell,
        topic,
        "a:1",
        "a:2",
        "a:3",
        options=("--reader-property", "parse.key=true", "--reader-property", "key.separator=:"),
    )

    def offsets(*flags: str) -> dict[str, int]:
        lines = shell("GetOffsetShell", *flags).split()
        return {line.rpartition(":")[0]: int(line.rpartition(":")[2]) for line in lines}

    at = next(name for name, offset in offsets("--topic", topic).items() if offset)
    assert offsets("--topic", topic) == {f"{topic}:{n}": 3 if f"{topic}:{n}" == at else 0 for n in range(3)}
    assert offsets("--topic", topic, "--time", "earliest") == {f"{topic}:{n}": 0 for n in range(3)}
    assert offsets("--topic-partitions", at, "--time", "-4") == {at: 0}
    assert offsets("--topic-partitions", at, "--time", "max-timestamp")[at] in range(3)  # of one millisecond, the first
    assert offsets("--topic-partitions", at, "--time", "0") == {at: 0}
    assert offsets("--topic-partitions", at, "--time", "99999999999999") == {}
    assert offsets("--topic-partitions", f"{topic}:1-") == {
        f"{topic}:{n}": 3 if f"{topic}:{n}" == at else 0 for n in (1, 2)
    }
    assert offsets("--topic", topic, "--partitions", "0,2", "--exclude-internal-topics").keys() == {
        f"{topic}:0",
        f"{topic}:2",
    }
    refused(shell, "Could not match any topic-partitions", "GetOffsetShell", "--topic", "no.such.topic")


def test_records_are_deleted(shell: ToolShell, topic: str, write: Callable[[object], str]) -> None:
    produce(shell, topic, "1", "2", "3", options=("--sync", "--command-property", "partitioner.ignore.keys=true"))
    ends = [line.split(":") for line in shell("GetOffsetShell", "--topic", topic).split()]
    name, partition, end = max(ends, key=lambda line: int(line[2]))

    def delete(offset: int) -> str:
        where = {"topic": name, "partition": int(partition), "offset": offset}
        return shell("DeleteRecordsCommand", "--offset-json-file", write({"version": 1, "partitions": [where]}))

    assert f"partition: {name}-{partition}\tlow_watermark: 1" in delete(1)
    assert f"{name}:{partition}:1" in shell("GetOffsetShell", "--topic", topic, "--time", "earliest").split()
    assert "OffsetOutOfRangeException" in delete(999)
    assert f"partition: {name}-{partition}\tlow_watermark: {end}" in delete(-1)


# ── partitions, folders, cluster ────────────────────────────────────────────────────────────────────────────────────


def log_dir(shell: ToolShell) -> Path:
    """The folder of the logs, as the broker tells it."""
    answer = json.loads(shell("LogDirsCommand", "--describe", "--topic-list", "none").splitlines()[-1])
    return Path(answer["brokers"][0]["logDirs"][0]["logDir"])


def test_log_dirs(shell: ToolShell, topic: str, broker: Broker) -> None:
    produce(shell, topic, "some bytes")
    shown = shell("LogDirsCommand", "--describe", "--broker-list", "1", "--topic-list", topic)
    ((folder,),) = [each["logDirs"] for each in json.loads(shown.splitlines()[-1])["brokers"]]
    assert Path(folder["logDir"]).is_relative_to(broker.data)
    sizes = {each["partition"]: each["size"] for each in folder["partitions"]}
    assert sorted(sizes) == [f"{topic}-{n}" for n in range(3)]
    assert sum(sizes.values()) == sum(file.stat().st_size for file in log_dir(shell).glob(f"{topic}-*/*.log")) > 0
    assert "no such topic" not in shell("LogDirsCommand", "--describe")
    refused(shell, "do not exist", "LogDirsCommand", "--describe", "--broker-list", "9")


def test_reassignment(shell: ToolShell, topic: str, write: Callable[[object], str]) -> None:
    def reassign(*words: str) -> str:
        return shell("ReassignPartitionsCommand", *words)

    topics = write({"version": 1, "topics": [{"topic": topic}]})
    proposed = json.loads(
        reassign("--generate", "--topics-to-move-json-file", topics, "--broker-list", "1").splitlines()[-1]
    )
    assert [each["replicas"] for each in proposed["partitions"]] == [[1]] * 3
    plan = ("--reassignment-json-file", write(proposed))
    throttle = ("--throttle", "100000", "--replica-alter-log-dirs-throttle", "100000")
    assert "Successfully started partition reassignments" in reassign("--execute", *plan, *throttle)
    names = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
    throttled = configs(shell, "--entity-type", "brokers", "--entity-name", "1")
    assert [throttled[name] for name in names] == ["100000", "100000"]
    assert reassign("--verify", *plan).count("is completed") == 3
    assert not configs(shell, "--entity-type", "brokers", "--entity-name", "1").keys() & set(names)
    assert configs(shell, "--entity-type", "topics", "--entity-name", topic) == {}
    assert "None of the specified partition reassignments are active." in reassign("--cancel", *plan)
    assert "No partition reassignments found." in reassign("--list")
    for replicas in ([1, 9], [], [1, 1]):
        bad = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": replicas}]}
        refused(shell, "Error", "ReassignPartitionsCommand", "--execute", "--reassignment-json-file", write(bad))


@pytest.mark.parametrize("kind", ["preferred", "unclean"])
def test_leader_election(shell: ToolShell, topic: str, write: Callable[[object], str], kind: str) -> None:
    elect = ("LeaderElectionCommand", "--election-type", kind)
    shell(*elect, "--all-topic-partitions")
    fine = f"Valid replica already elected for partitions {topic}-0"
    assert fine in shell(*elect, "--topic", topic, "--partition", "0")
    some = write({"partitions": [{"topic": topic, "partition": 0}, {"topic": "nowhere", "partition": 0}]})
    said = shell.ask(*elect, "--path-to-json-file", some)
    assert said.code == 1
    assert fine in said.out
    assert "UnknownTopicOrPartitionException" in said.out
    refused(shell, "UnknownTopicOrPartitionException", *elect, "--topic", topic, "--partition", "55")


def test_cluster_and_quorum(shell: ToolShell, broker: Broker) -> None:
    (cluster_id,) = re.findall(r"^Cluster ID: (\S{22})$", shell("ClusterTool", "cluster-id"), re.MULTILINE)
    endpoints = [line.split() for line in shell("ClusterTool", "list-endpoints").splitlines() if line.strip()]
    assert endpoints[-1] == ["1", "127.0.0.1", str(broker.port), "null", "unfenced", "broker"]
    refused(shell, "BrokerIdNotRegisteredException", "ClusterTool", "unregister", "--id", "9")
    status = dict(
        line.split(":", 1) for line in shell("MetadataQuorumCommand", "describe", "--status").splitlines() if line
    )
    assert status["ClusterId"].strip() == cluster_id
    assert status["LeaderId"].strip() == "1"
    assert status["MaxFollowerLag"].strip() == "0"
    replicas = shell("MetadataQuorumCommand", "describe", "--replication", "--human-readable").splitlines()
    assert [line.split("\t")[-1].strip() or line.split("\t")[-2].strip() for line in replicas if line][1:] == ["Leader"]


def test_features(shell: ToolShell) -> None:
    def level(name: str) -> tuple[str, str]:
        row = next(line for line in shell("FeatureCommand", "describe").splitlines() if name in line)
        found = re.search(r"SupportedMaxVersion: (\d+)\s+FinalizedVersionLevel: (\d+)", row)
        assert found is not None, row
        return found[1], found[2]

    feature = ("--feature", "transaction.version=1")
    assert level("transaction.version") == ("2", "2")
    assert "can be downgraded to 1" in shell("FeatureCommand", "downgrade", *feature, "--dry-run")
    assert level("transaction.version") == ("2", "2")
    shell("FeatureCommand", "downgrade", *feature)
    assert level("transaction.version") == ("2", "1")
    shell("FeatureCommand", "upgrade", "--feature", "transaction.version=2")
    assert level("transaction.version") == ("2", "2")
    refused(shell, "transaction.version", "FeatureCommand", "upgrade", "--feature", "transaction.version=9")
    refused(shell, "nope", "FeatureCommand", "upgrade", "--feature", "nope=1")
    shell("FeatureCommand", "disable", "--feature", "group.version", "--dry-run")
    assert level("group.version") == ("1", "1")


def test_api_versions(shell: ToolShell, broker: Broker) -> None:
    shown = shell("BrokerApiVersionsCommand")
    assert f"127.0.0.1:{broker.port} (id: 1 rack: null" in shown
    for api in ("Produce(0): 0 to 13", "Fetch(1): 4 to 18", "ConsumerGroupHeartbeat(68): 0 to 1", "EndTxn(26): 0 to 5"):
        assert api in shown


def test_replica_verification(tool_script: Path, shell: ToolShell, topic: str) -> None:
    """It never ends by itself: its first word on a partition is enough."""
    produce(shell, topic, "1")
    command = ["bash", str(tool_script), "ReplicaVerificationTool", "--broker-list", shell.bootstrap]
    command += ["--topics-include", topic, "--time", "-2", "--report-interval-ms", "100"]
    verbs.note("ReplicaVerificationTool", command)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        told = next((line for line in running.stdout if "max lag is" in line), "it said nothing")
        running.kill()
        running.wait(DEADLINE_S)
    assert f"max lag is 0 for partition {topic}-" in told


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def dumped(shell: ToolShell, files: list[Path], *flags: str) -> str:
    said = shell.run("DumpLogSegments", "--files", ",".join(map(str, sorted(files))), *flags)
    assert said.code == 0, said
    return said.out


def test_files_of_a_running_broker(shell: ToolShell, topic: str) -> None:
    keyed = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    # each batch in a segment of its own: an index is written when its segment is full
    shell("ConfigCommand", "--alter", "--topic", topic, "--add-config", "segment.ms=1")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        produce(shell, topic, f"key:{codec}", options=(*keyed, "--compression-codec", codec))
    logs = [file for file in log_dir(shell).glob(f"{topic}-*/*.log") if file.stat().st_size]
    shown = dumped(shell, logs, "--deep-iteration", "--print-data-log")
    assert re.findall(r"compresscodec: (\w+) .* isvalid: true", shown) == ["none", "gzip", "snappy", "lz4", "zstd"]
    assert re.findall(r"key: key payload: (\w+)", shown) == ["none", "gzip", "snappy", "lz4", "zstd"]
    indexes = [file for file in log_dir(shell).glob(f"{topic}-*/*index") if file.stat().st_size]
    assert indexes
    for index in indexes:
        assert "passed sanity check" in dumped(shell, [index], "--index-sanity-check")


def test_internal_topics_by_their_formatters(shell: ToolShell, topic: str, fresh: Fresh) -> None:
    group, transactional_id = fresh("formatted-group"), fresh("formatted-id")
    perf = ("ProducerPerformance", "--topic", topic, "--num-records", "10", "--record-size", "9", "--throughput", "-1")
    shell(*perf, "--transactional-id", transactional_id, "--transaction-duration-ms", "1000")
    consume(shell, 10, "--topic", topic, "--from-beginning", "--group", group)

    def formatted(internal: str, formatter: str, **wanted: str) -> list[dict[str, object]]:
        """The values of the key that is wanted. The tool takes silence for the end: on a busy machine that may be."""
        found: list[dict[str, object]] = []
        for silence_ms in (1_000, 10_000, 60_000):
            shown = shell.ask(
                "ConsoleConsumer",
                *("--topic", internal, "--from-beginning", "--timeout-ms", str(silence_ms)),
                *("--formatter", f"org.apache.kafka.tools.consumer.{formatter}"),
            )
            decoder, rest = json.JSONDecoder(), shown.out.strip()
            while rest.startswith("{"):
                record, end = decoder.raw_decode(rest)
                if record["value"] is not None and record["key"]["data"].items() >= wanted.items():
                    found.append(record["value"]["data"])
                rest = rest[end:].lstrip()
            if found:
                break
        return found

    offsets = [value["offset"] for value in formatted("__consumer_offsets", "OffsetsMessageFormatter", group=group)]
    assert sum(int(str(offset)) for offset in offsets if offset) == 11  # ten records, and the marker behind them
    generations = [
        value["generation"] for value in formatted("__consumer_offsets", "GroupMetadataMessageFormatter", group=group)
    ]
    assert generations[-1] == 2  # the member has left
    states = [
        value["transactionStatus"]
        for value in formatted(
            "__transaction_state", "TransactionLogMessageFormatter", transactionalId=transactional_id
        )
    ]
    assert states == [0, 1, 2, 4]  # Empty, Ongoing, PrepareCommit, CompleteCommit
    logs = [file for file in log_dir(shell).glob("__consumer_offsets-*/*.log") if file.stat().st_size]
    assert group in dumped(shell, logs, "--offsets-decoder")
    metadata = [*log_dir(shell).glob("__cluster_metadata-0/*.log")]
    assert f'"name":"{topic}"' in dumped(shell, metadata, "--cluster-metadata-decoder")
