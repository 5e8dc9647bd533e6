"""Settings by Kafka's names: types, ranges, defaults, what follows for topics, and what is told about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ottla.broker.config import (
    SETTINGS,
    TOPIC_SYNONYMS,
    BrokerConfig,
    UnknownSettingError,
    check_setting,
    check_together,
)
from ottla.broker.config_types import OTTLA_DEFAULTS, BadValueError, definitions, parse, to_text
from ottla.broker.describe_configs import ConfigEntry, Synonym
from ottla.log.config import LogConfig
from ottla.wire.errors import ErrorCode, KafkaError


def test_settings_in_code_agree_with_kafkas_list() -> None:
    known = definitions().broker
    for name, setting in SETTINGS.items():
        assert (known[name].kind, known[name].default) == (setting.kind, setting.default), name
    assert known.keys() >= OTTLA_DEFAULTS.keys()
    assert {name for names in TOPIC_SYNONYMS.values() for name in names} <= SETTINGS.keys()


def test_every_setting_is_read_somewhere() -> None:
    root = Path(__file__).resolve().parents[2]
    code = "\n".join(
        path.read_text("utf-8") for part in ("broker", "coordinator") for path in (root / part).rglob("*.py")
    )
    read = set(re.findall(r"\.([a-z_]+)", code))
    of_topics = {name for names in TOPIC_SYNONYMS.values() for name in names}
    assert {name for name in SETTINGS.keys() - of_topics if name.replace(".", "_") not in read} == set()


def test_every_default_is_allowed_by_its_own_definition() -> None:
    for scope in (definitions().broker, definitions().topic):
        for definition in scope.values():
            if definition.default:
                definition.checked(definition.default)


def test_topic_defaults_without_settings_are_kafkas() -> None:
    topic = definitions().topic
    defaults = BrokerConfig().topic_defaults()
    assert defaults == {name: topic[name].default for name in TOPIC_SYNONYMS}
    assert {name for name in topic if name not in defaults} == {
        "errors.deadletterqueue.group.enable",
        "follower.replication.throttled.replicas",
        "internal.segment.bytes",
        "leader.replication.throttled.replicas",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
        "remote.storage.enable",
    }


def test_values_are_typed_and_read_once() -> None:
    config = BrokerConfig({"num.partitions": " 7 ", "auto.create.topics.enable": "FALSE", "log.dirs": "/a , /b"})
    assert (config.num_partitions, config.auto_create_topics_enable, config.log_dirs) == (7, False, ["/a", "/b"])
    assert config.log_retention_ms is None
    assert config.log_cleaner_min_cleanable_ratio == 0.5
    config.explicit["num.partitions"] = "9"
    assert config.num_partitions == 7


def test_one_node_has_defaults_of_its_own() -> None:
    config = BrokerConfig()
    assert config.group_initial_rebalance_delay_ms == 0
    assert config.group_config().group_initial_rebalance_delay_ms == 0
    assert config.group_config().group_consumer_assignment_interval_ms == 0
    assert config.auto_create_topics_enable
    assert config.num_partitions == 1
    assert config.own_id == 1
    assert config.socket_send_buffer_bytes == -1
    assert BrokerConfig({"group.initial.rebalance.delay.ms": "3000"}).group_initial_rebalance_delay_ms == 3000


@pytest.mark.parametrize(
    ("explicit", "own_id"),
    [({}, 1), ({"node.id": "4"}, 4), ({"broker.id": "5"}, 5), ({"node.id": "0", "broker.id": "0"}, 0)],
)
def test_the_nodes_id(explicit: dict[str, str], own_id: int) -> None:
    assert BrokerConfig(explicit).own_id == own_id


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("INT", " +5 ", 5),
        ("INT", "-2147483648", -(2**31)),
        ("LONG", "9223372036854775807", 2**63 - 1),
        ("SHORT", "32767", 32767),
        ("BOOLEAN", " True", True),
        ("DOUBLE", "1e3", 1000.0),
        ("DOUBLE", ".5", 0.5),
        ("LIST", "", []),
        ("LIST", " a,b , c", ["a", "b", "c"]),
        ("STRING", " x ", "x"),
    ],
)
def test_texts_that_kafka_reads(kind: str, text: str, value: object) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("INT", "2147483648"),
        ("INT", "1_000"),
        ("INT", "1.0"),
        ("INT", ""),
        ("INT", "٣"),
        ("INT", "9" * 5000),
        ("SHORT", "32768"),
        ("LONG", "9223372036854775808"),
        ("BOOLEAN", "yes"),
        ("BOOLEAN", "1"),
        ("DOUBLE", "half"),
        ("DOUBLE", "1_0"),
    ],
)
def test_texts_that_kafka_refuses(kind: str, text: str) -> None:
    with pytest.raises(BadValueError):
        parse(kind, text)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("num.partitions", ["1", "100"], ["0", "-1", "x"]),
        ("compression.gzip.level", ["-1", "1", "9"], ["0", "10", "-2"]),
        ("compression.lz4.level", ["1", "17"], ["0", "18"]),
        ("log.cleaner.min.cleanable.ratio", ["0", "0.25", "1"], ["-0.1", "1.01"]),
        ("log.cleanup.policy", ["", "delete", "compact,delete", "delete,delete"], ["remove"]),
        ("log.message.timestamp.type", ["CreateTime"], ["createtime"]),
        ("log.segment.bytes", ["1048576"], ["1048575"]),
        ("group.consumer.migration.policy", ["Upgrade", "DISABLED"], ["sideways"]),
        ("process.roles", ["broker", "broker,controller", "broker,broker"], ["zookeeper"]),
        ("remote.log.metadata.manager.impl.prefix", ["a."], [""]),
        ("ottla.record.validation", ["full", "header"], ["none"]),
        ("listener.name.external.ssl.client.auth", ["none"], ["maybe"]),
    ],
)
def test_ranges_of_broker_settings(name: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        check_setting(name, text)
    for text in bad:
        with pytest.raises(BadValueError):
            check_setting(name, text)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num.partition", "did you mean num.partitions?"),
        ("Num.Partitions", "did you mean num.partitions?"),
        ("retention.ms", "for all topics set log.retention.ms, one topic takes it by --topic"),
        ("remote.storage.enable", "one topic takes it by --topic"),
        ("zookeeper.connect", ""),
    ],
)
def test_an_unknown_setting_has_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UnknownSettingError) as caught:
        check_setting(name, "1")
    assert caught.value.hint.startswith(hint)
    assert bool(caught.value.hint) == bool(hint)


@pytest.mark.parametrize(
    "explicit",
    [
        {"node.id": "1", "broker.id": "2"},
        {"log.retention.ms": "0"},
        {"log.retention.hours": "0"},
        {"group.min.session.timeout.ms": "10", "group.max.session.timeout.ms": "9"},
        {"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "9"},
    ],
)
def test_settings_that_contradict_each_other(explicit: dict[str, str]) -> None:
    with pytest.raises(BadValueError) as caught:
        check_together(BrokerConfig(explicit))
    assert next(iter(explicit)) in str(caught.value)


def test_settings_that_agree() -> None:
    check_together(BrokerConfig())
    check_together(
        BrokerConfig({"log.retention.ms": "-1", "log.retention.hours": "1", "node.id": "3", "broker.id": "3"})
    )


BROKER_TO_TOPIC = [
    ({"log.retention.hours": "24"}, {"retention.ms": "86400000"}),
    ({"log.retention.hours": "24", "log.retention.minutes": "2"}, {"retention.ms": "120000"}),
    ({"log.retention.minutes": "2", "log.retention.ms": "7"}, {"retention.ms": "7"}),
    ({"log.retention.hours": "-1"}, {"retention.ms": "-1"}),
    ({"log.retention.minutes": "-5"}, {"retention.ms": "-1"}),
    ({"log.roll.hours": "1"}, {"segment.ms": "3600000"}),
    ({"log.roll.hours": "1", "log.roll.ms": "5"}, {"segment.ms": "5"}),
    ({"log.roll.jitter.hours": "2"}, {"segment.jitter.ms": "7200000"}),
    ({"log.flush.scheduler.interval.ms": "9"}, {"flush.ms": "9"}),
    ({"log.flush.scheduler.interval.ms": "9", "log.flush.interval.ms": "8"}, {"flush.ms": "8"}),
    ({"message.max.bytes": "2000000"}, {"max.message.bytes": "2000000"}),
    ({"log.cleanup.policy": "compact, delete"}, {"cleanup.policy": "compact,delete"}),
    ({"log.segment.bytes": "1048576", "log.index.size.max.bytes": "800"}, {"segment.bytes": "1048576"}),
    ({"log.cleaner.min.cleanable.ratio": "0.25"}, {"min.cleanable.dirty.ratio": "0.25"}),
    ({"log.preallocate": "TRUE"}, {"preallocate": "true"}),
    ({"log.segment.delete.delay.ms": "1"}, {"file.delete.delay.ms": "1"}),
]


@pytest.mark.parametrize(("explicit", "topic"), BROKER_TO_TOPIC)
def test_broker_settings_become_topic_defaults(explicit: dict[str, str], topic: dict[str, str]) -> None:
    config = BrokerConfig(explicit)
    assert {name: config.topic_defaults()[name] for name in topic} == topic


@pytest.mark.parametrize("explicit", [{}, *(case[0] for case in BROKER_TO_TOPIC if "-5" not in case[0].values())])
def test_the_log_layer_understands_the_same(explicit: dict[str, str]) -> None:
    ours = LogConfig.from_properties(None, BrokerConfig(explicit).log_defaults())
    theirs = LogConfig.from_broker(explicit)
    for attribute in LogConfig.__slots__:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute


def test_internal_topics_have_settings_of_their_own() -> None:
    config = BrokerConfig({"offsets.topic.num.partitions": "5", "offsets.topic.segment.bytes": "1"})
    partitions, factor, overrides = config.internal_topic("__consumer_offsets")
    assert factor == 1
    assert partitions == 5
    assert overrides == {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "1048576"}
    for name in ("__consumer_offsets", "__transaction_state", "__share_group_state"):
        partitions, _, overrides = BrokerConfig().internal_topic(name)
        assert partitions == 50
        assert overrides["segment.bytes"] == "104857600"
        assert config.checked_topic_overrides(overrides) == overrides
    with pytest.raises(ValueError, match="no internal topic"):
        config.internal_topic("orders")


@pytest.mark.parametrize(
    "overrides",
    [
        {"retention.ms": "-1", "cleanup.policy": "compact,delete"},
        {"cleanup.policy": ""},
        {"follower.replication.throttled.replicas": "0:1,1:2"},
        {"leader.replication.throttled.replicas": "*"},
        {"internal.segment.bytes": "1000"},
        {"remote.storage.enable": "false"},
        {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "10"},
    ],
)
def test_topic_configs_that_may_be_set(overrides: dict[str, str]) -> None:
    assert BrokerConfig().checked_topic_overrides(overrides) == overrides


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"no.such": "5"}, "Unknown topic config name: no.such"),
        ({"retention.m": "5"}, "Unknown topic config name: retention.m (did you mean retention.ms?)"),
        ({"retention.ms": None}, "Null value not supported for topic configs: retention.ms"),
        ({"retention.ms": "-5"}, "Invalid value -5 for configuration retention.ms: Value must be at least -1"),
        ({"retention.ms": "soon"}, "Invalid value soon for configuration retention.ms: Not a number of type LONG"),
        ({"segment.bytes": "14"}, "Invalid value 14 for configuration segment.bytes: Value must be at least 1048576"),
        (
            {"min.cleanable.dirty.ratio": "2"},
            "Invalid value 2 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            {"preallocate": "no"},
            "Invalid value no for configuration preallocate: Expected value to be either true or false",
        ),
        (
            {"cleanup.policy": "destroy"},
            "Invalid value destroy for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            {"leader.replication.throttled.replicas": "1,2"},
            (
                "Invalid value 1,2 for configuration leader.replication.throttled.replicas:"
                " Value must be the literal '*'"
                " or a list [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ),
        ),
        (
            {"min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1"},
            "min.compaction.lag.ms (2) must not be larger than max.compaction.lag.ms (1)",
        ),
        ({"remote.storage.enable": "true"}, "Tiered storage is not served here: remote.storage.enable must stay false"),
    ],
)
def test_topic_configs_that_may_not(overrides: dict[str, str | None], message: str) -> None:
    with pytest.raises(KafkaError) as caught:
        BrokerConfig().checked_topic_overrides(overrides)
    assert caught.value.code == ErrorCode.INVALID_CONFIG
    assert caught.value.message == message


def test_lag_is_checked_against_the_brokers_default_too() -> None:
    config = BrokerConfig({"log.cleaner.max.compaction.lag.ms": "100"})
    with pytest.raises(KafkaError):
        config.checked_topic_overrides({"min.compaction.lag.ms": "101"})


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def entry_of(entries: list[ConfigEntry], name: str) -> ConfigEntry:
    return next(entry for entry in entries if entry.name == name)


def test_a_topic_shows_37_configs_sorted_and_none_internal() -> None:
    entries = BrokerConfig().describe_topic({})
    names = [entry.name for entry in entries]
    assert len(names) == 37
    assert names == sorted(names)
    assert "internal.segment.bytes" not in names
    for entry in entries:
        definition = definitions().topic[entry.name]
        assert (entry.value, entry.source, entry.read_only, entry.sensitive) == (definition.default, 5, False, False)
        assert entry.documentation


def test_a_topics_chain_of_values() -> None:
    config = BrokerConfig({"message.max.bytes": "02000000"})
    entry = entry_of(config.describe_topic({}), "max.message.bytes")
    assert (entry.value, entry.source, entry.type_code) == ("2000000", 4, 3)
    chain = [Synonym("message.max.bytes", "02000000", 4), Synonym("message.max.bytes", "1048588", 5)]
    assert entry.synonyms == chain
    entry = entry_of(config.describe_topic({"max.message.bytes": "5"}), "max.message.bytes")
    assert (entry.value, entry.source) == ("5", 1)
    assert entry.synonyms == [Synonym("max.message.bytes", "5", 1), *chain]


def test_coarser_settings_show_as_kafka_shows_them() -> None:
    """DescribeConfigs forgets a chain that does not begin with log.retention.ms; CreateTopics does not."""
    config = BrokerConfig({"log.retention.hours": "1"})
    described = entry_of(config.describe_topic({}), "retention.ms")
    assert (described.value, described.source, described.synonyms) == ("3600000", 5, [])
    created = entry_of(config.describe_topic({}, created=True), "retention.ms")
    assert (created.value, created.source) == ("3600000", 4)
    config = BrokerConfig({"log.retention.hours": "1", "log.retention.ms": "9"})
    described = entry_of(config.describe_topic({}), "retention.ms")
    assert (described.value, described.source) == ("9", 4)
    assert described.synonyms == [
        Synonym("log.retention.ms", "9", 4),
        Synonym("log.retention.hours", "1", 4),
        Synonym("log.retention.hours", "168", 5),
    ]


def test_the_broker_shows_what_kafka_shows() -> None:
    config = BrokerConfig({"num.partitions": "3", "ssl.keystore.password": "hush", "log.retention.ms": "5"})
    entries = config.describe_broker()
    names = [entry.name for entry in entries]
    assert len([name for name in names if not name.startswith("ottla.")]) == 350
    assert names == sorted(names)
    partitions = entry_of(entries, "num.partitions")
    assert partitions == ConfigEntry(
        "num.partitions",
        "3",
        4,
        True,
        False,
        [Synonym("num.partitions", "3", 4), Synonym("num.partitions", "1", 5)],
        3,
        partitions.documentation,
    )
    secret = entry_of(entries, "ssl.keystore.password")
    assert (secret.value, secret.sensitive, secret.type_code) == (None, True, 9)
    assert "hush" not in repr(entries)
    assert not entry_of(entries, "log.retention.ms").read_only
    assert entry_of(entries, "log.dirs").value is None
    assert entry_of(entries, "group.initial.rebalance.delay.ms").value == "0"


def test_values_are_written_as_kafka_writes_them() -> None:
    assert [to_text(value) for value in (True, 5, 0.5, ["a", "b"], [], "x", None)] == [
        "true",
        "5",
        "0.5",
        "a,b",
        "",
        "x",
        None,
    ]
    assert to_text(1.7976931348623157e308) == "1.7976931348623157E308"
