"""The broker's settings under Kafka's names, typed, and what follows from them for topics.

Each attribute of `BrokerConfig` is a setting that something in Ottla reads. Not here: what each does or why it does
nothing (config_effects.py), where values come from (options.py), what an INT or a LIST is (config_types.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, overload

from ottla.broker.config_types import (
    OTTLA_DEFAULTS,
    BadValueError,
    Definition,
    Value,
    definitions,
    nearest,
    parse,
    to_text,
)
from ottla.coordinator.group.config import GroupConfig
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.describe_configs import ConfigEntry
    from ottla.coordinator.transaction.config import TransactionConfig

T = TypeVar("T")
_MAX_INT: Final = str(2**31 - 1)
_MAX_LONG: Final = str(2**63 - 1)
CODECS: Final = range(5)  # by number: none, gzip, snappy, lz4, zstd
_UNITS_MS: Final = {".hours": 3_600_000, ".minutes": 60_000}


class Setting(Generic[T]):
    """One setting; Kafka's name is the attribute's with dots. Parsed at first use, from then on a plain attribute."""

    __slots__ = ("_attribute", "default", "kind", "name")

    def __init__(self, kind: str, default: str | None) -> None:
        self.kind = kind
        self.default = default  # Kafka's; OTTLA_DEFAULTS go before it

    def __set_name__(self, owner: type[BrokerConfig], attribute: str) -> None:
        self._attribute = attribute
        self.name = attribute.replace("_", ".")
        self.default = OTTLA_DEFAULTS.get(self.name, self.default)

    @overload
    def __get__(self, config: None, owner: type[BrokerConfig]) -> Setting[T]: ...
    @overload
    def __get__(self, config: BrokerConfig, owner: type[BrokerConfig]) -> T: ...
    def __get__(self, config: BrokerConfig | None, owner: type[BrokerConfig]) -> Setting[T] | T:
        if config is None:
            return self
        text = config.text_of(self.name)
        if text is None:
            text = self.default
        value = cast(T, None if text is None else parse(self.kind, text))
        config.__dict__[self._attribute] = value
        return value

    def forget(self, config: BrokerConfig) -> None:
        """The value is parsed anew when it is asked for next."""
        config.__dict__.pop(self._attribute, None)


def _int(default: str) -> Setting[int]:
    return Setting("INT", default)


def _short(default: str) -> Setting[int]:
    return Setting("SHORT", default)


def _long(default: str) -> Setting[int]:
    return Setting("LONG", default)


def _optional_int() -> Setting[int | None]:
    return Setting("INT", None)


def _optional_long() -> Setting[int | None]:
    return Setting("LONG", None)


def _bool(default: str) -> Setting[bool]:
    return Setting("BOOLEAN", default)


def _double(default: str) -> Setting[float]:
    return Setting("DOUBLE", default)


def _text(default: str) -> Setting[str]:
    return Setting("STRING", default)


def _optional_text() -> Setting[str | None]:
    return Setting("STRING", None)


def _list(default: str) -> Setting[list[str]]:
    return Setting("LIST", default)


def _optional_list() -> Setting[list[str] | None]:
    return Setting("LIST", None)


class BrokerConfig:
    """Settings of one broker. What someone set stands as text in three layers: at run time for this broker (`dynamic`),
    at run time for all brokers (`dynamic_default`), at start (`explicit`). Everything else has its default.

    Values are parsed when first asked for: check texts from outside with `check_setting` and `check_together` before.
    """

    # where clients reach it (options.py)
    listeners = _list("PLAINTEXT://:9092")
    advertised_listeners = _optional_list()
    listener_security_protocol_map = _text(
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
    )
    controller_listener_names = _list("")
    process_roles = _list("")
    log_dirs = _optional_list()
    log_dir = _list("/tmp/kafka-logs")

    # the node and its connections
    node_id = _int("-1")
    broker_id = _int("-1")
    broker_rack = _optional_text()
    socket_request_max_bytes = _int("104857600")
    socket_send_buffer_bytes = _int("102400")  # -1: the system's
    socket_receive_buffer_bytes = _int("102400")
    queued_max_request_bytes = _long("-1")
    connections_max_idle_ms = _long("600000")  # negative: never
    max_connection_creation_rate = _int(_MAX_INT)
    max_connections = _int(_MAX_INT)
    max_connections_per_ip = _int(_MAX_INT)
    max_connections_per_ip_overrides = _text("")
    fetch_max_bytes = _int("57671680")
    max_incremental_fetch_session_cache_slots = _int("1000")
    max_request_partition_size_limit = _int("2000")
    quota_window_num = _int("11")
    quota_window_size_seconds = _int("1")
    controller_quota_window_num = _int("11")
    controller_quota_window_size_seconds = _int("1")
    telemetry_max_bytes = _int("1048576")

    # topics
    auto_create_topics_enable = _bool("true")
    delete_topic_enable = _bool("true")
    num_partitions = _int("1")
    default_replication_factor = _int("1")
    log_retention_check_interval_ms = _long("300000")
    producer_id_expiration_ms = _int("86400000")
    producer_id_expiration_check_interval_ms = _int("600000")
    ottla_record_validation = _text("full")

    # groups and offsets
    group_initial_rebalance_delay_ms = _int("3000")
    group_min_session_timeout_ms = _int("6000")
    group_max_session_timeout_ms = _int("1800000")
    group_max_size = _int(_MAX_INT)
    group_coordinator_rebalance_protocols = _list("classic,consumer,streams")
    group_consumer_assignment_interval_ms = _int("1000")
    group_consumer_assignors = _list("uniform,range")
    group_consumer_heartbeat_interval_ms = _int("5000")
    group_consumer_max_assignment_interval_ms = _int("15000")
    group_consumer_max_heartbeat_interval_ms = _int("15000")
    group_consumer_max_session_timeout_ms = _int("60000")
    group_consumer_max_size = _int(_MAX_INT)
    group_consumer_migration_policy = _text("bidirectional")
    group_consumer_min_assignment_interval_ms = _int("0")
    group_consumer_min_heartbeat_interval_ms = _int("5000")
    group_consumer_min_session_timeout_ms = _int("45000")
    group_consumer_session_timeout_ms = _int("45000")
    offset_metadata_max_bytes = _int("4096")
    offsets_retention_minutes = _int("10080")
    offsets_retention_check_interval_ms = _long("600000")
    offsets_topic_compression_codec = _int("0")
    offsets_topic_num_partitions = _int("50")
    offsets_topic_replication_factor = _short("3")
    offsets_topic_segment_bytes = _int("104857600")
    share_coordinator_state_topic_num_partitions = _int("50")
    share_coordinator_state_topic_replication_factor = _short("3")
    share_coordinator_state_topic_segment_bytes = _int("104857600")

    # transactions
    add_partitions_to_txn_retry_backoff_max_ms = _int("100")
    add_partitions_to_txn_retry_backoff_ms = _int("20")
    transaction_abort_timed_out_transaction_cleanup_interval_ms = _int("10000")
    transaction_max_timeout_ms = _int("900000")
    transaction_partition_verification_enable = _bool("true")
    transaction_remove_expired_transaction_cleanup_interval_ms = _int("3600000")
    transaction_state_log_min_isr = _int("2")
    transaction_state_log_num_partitions = _int("50")
    transaction_state_log_replication_factor = _short("3")
    transaction_state_log_segment_bytes = _int("104857600")
    transactional_id_expiration_ms = _int("604800000")

    # defaults of topic configs
    compression_gzip_level = _int("-1")
    compression_lz4_level = _int("9")
    compression_type = _text("producer")
    compression_zstd_level = _int("3")
    log_cleaner_backoff_ms = _long("15000")
    log_cleaner_dedupe_buffer_size = _long("134217728")
    log_cleaner_delete_retention_ms = _long("86400000")
    log_cleaner_enable = _bool("true")
    log_cleaner_max_compaction_lag_ms = _long(_MAX_LONG)
    log_cleaner_min_cleanable_ratio = _double("0.5")
    log_cleaner_min_compaction_lag_ms = _long("0")
    log_cleanup_policy = _list("delete")
    log_flush_interval_messages = _long(_MAX_LONG)
    log_flush_interval_ms = _optional_long()
    log_flush_offset_checkpoint_interval_ms = _int("60000")
    log_flush_scheduler_interval_ms = _long(_MAX_LONG)
    log_index_interval_bytes = _int("4096")
    log_index_size_max_bytes = _int("10485760")
    log_initial_task_delay_ms = _long("30000")
    log_local_retention_bytes = _long("-2")
    log_local_retention_ms = _long("-2")
    log_message_timestamp_after_max_ms = _long("3600000")
    log_message_timestamp_before_max_ms = _long(_MAX_LONG)
    log_message_timestamp_type = _text("CreateTime")
    log_preallocate = _bool("false")
    log_remote_copy_lag_bytes = _long("-1")
    log_remote_copy_lag_ms = _long("0")
    log_retention_bytes = _long("-1")
    log_retention_hours = _int("168")
    log_retention_minutes = _optional_int()
    log_retention_ms = _optional_long()
    log_roll_hours = _int("168")
    log_roll_jitter_hours = _int("0")
    log_roll_jitter_ms = _optional_long()
    log_roll_ms = _optional_long()
    log_segment_bytes = _int("1073741824")
    log_segment_delete_delay_ms = _long("60000")
    max_decompressed_message_bytes = _int("2147483639")
    message_max_bytes = _int("1048588")
    min_insync_replicas = _int("1")
    auto_leader_rebalance_enable = _bool("true")
    leader_imbalance_check_interval_seconds = _long("300")
    replica_selector_class: Setting[str | None] = Setting("STRING", None)
    unclean_leader_election_enable = _bool("false")

    def __init__(self, explicit: Mapping[str, str] | None = None) -> None:
        self.explicit = dict(explicit or {})
        self.dynamic: Mapping[str, str] = {}
        self.dynamic_default: Mapping[str, str] = {}
        self._topic_defaults: dict[str, str] | None = None

    def set_dynamic(self, own: Mapping[str, str], for_all: Mapping[str, str]) -> None:
        """From now on this is what was set at run time, for this broker and for all of them."""
        self.dynamic, self.dynamic_default = dict(own), dict(for_all)
        self._topic_defaults = None
        for setting in SETTINGS.values():
            setting.forget(self)

    def text_of(self, name: str) -> str | None:
        """What someone set for the setting `name`, as text; None: nobody did."""
        for layer in (self.dynamic, self.dynamic_default, self.explicit):
            if name in layer:
                return layer[name]
        return None

    def value_of(self, name: str) -> Value | None:
        """The value of any setting that Kafka knows, also of one without effect here. Raises KeyError."""
        definition = definitions().broker[name]
        text = self.text_of(name)
        if text is None:
            text = definition.default
        return None if text is None else definition.parsed(text)

    @property
    def own_id(self) -> int:
        """The node's id: node.id, or the older broker.id if only that is set."""
        if "node.id" not in self.explicit and self.broker_id >= 0:
            return self.broker_id
        return self.node_id

    def topic_defaults(self) -> dict[str, str]:
        """Topic config name -> the default that this broker's settings give it, for each that has a broker setting."""
        if self._topic_defaults is None:
            is_set = {*self.explicit, *self.dynamic_default, *self.dynamic}
            self._topic_defaults = {
                name: default if is_set.isdisjoint(TOPIC_SYNONYMS[name]) else self._topic_default(TOPIC_SYNONYMS[name])
                for name, default in _untouched_topic_defaults().items()
            }
        return self._topic_defaults

    def log_defaults(self) -> dict[str, str]:
        """What the log layer reads: `topic_defaults` and the broker-wide settings about appending."""
        return self.topic_defaults() | {
            "ottla.record.validation": self.ottla_record_validation,
            "producer.id.expiration.ms": str(self.producer_id_expiration_ms),
        }

    def _topic_default(self, names: tuple[str, ...]) -> str:
        for name in names:
            value: Value | None = getattr(self, name.replace(".", "_"))
            if value is not None:
                text = to_text(in_ms(name, value))
                assert text is not None
                return text
        raise AssertionError(f"none of {names} has a default")

    def internal_topic(self, name: str) -> tuple[int, int, dict[str, str]]:
        """(number of partitions, replicas of each, configs) of an internal topic."""
        if name == "__consumer_offsets":
            return (
                self.offsets_topic_num_partitions,
                self.offsets_topic_replication_factor,
                {
                    "cleanup.policy": "compact",
                    "compression.type": "producer",
                    "segment.bytes": _segment_bytes(self.offsets_topic_segment_bytes),
                },
            )
        if name == "__transaction_state":
            return (
                self.transaction_state_log_num_partitions,
                self.transaction_state_log_replication_factor,
                {
                    "cleanup.policy": "compact",
                    "compression.type": "uncompressed",
                    "min.insync.replicas": str(self.transaction_state_log_min_isr),
                    "segment.bytes": _segment_bytes(self.transaction_state_log_segment_bytes),
                    "unclean.leader.election.enable": "false",
                },
            )
        if name == "__share_group_state":
            configs = {
                "cleanup.policy": "delete",
                "retention.ms": "-1",
                "segment.bytes": _segment_bytes(self.share_coordinator_state_topic_segment_bytes),
            }
            factor = self.share_coordinator_state_topic_replication_factor
            return self.share_coordinator_state_topic_num_partitions, factor, configs
        raise ValueError(f"{name} is no internal topic")

    def group_config(self) -> GroupConfig:
        """What the group coordinator needs to know."""
        return GroupConfig(
            group_min_session_timeout_ms=self.group_min_session_timeout_ms,
            group_max_session_timeout_ms=self.group_max_session_timeout_ms,
            group_initial_rebalance_delay_ms=self.group_initial_rebalance_delay_ms,
            group_max_size=self.group_max_size,
            group_consumer_session_timeout_ms=self.group_consumer_session_timeout_ms,
            group_consumer_min_session_timeout_ms=self.group_consumer_min_session_timeout_ms,
            group_consumer_max_session_timeout_ms=self.group_consumer_max_session_timeout_ms,
            group_consumer_heartbeat_interval_ms=self.group_consumer_heartbeat_interval_ms,
            group_consumer_min_heartbeat_interval_ms=self.group_consumer_min_heartbeat_interval_ms,
            group_consumer_max_heartbeat_interval_ms=self.group_consumer_max_heartbeat_interval_ms,
            group_consumer_assignment_interval_ms=self.group_consumer_assignment_interval_ms,
            group_consumer_min_assignment_interval_ms=self.group_consumer_min_assignment_interval_ms,
            group_consumer_max_assignment_interval_ms=self.group_consumer_max_assignment_interval_ms,
            group_consumer_max_size=self.group_consumer_max_size,
            group_consumer_assignors=tuple(self.group_consumer_assignors),
            group_consumer_migration_policy=self.group_consumer_migration_policy.lower(),
            group_coordinator_rebalance_protocols=frozenset(self.group_coordinator_rebalance_protocols),
            offset_metadata_max_bytes=self.offset_metadata_max_bytes,
            offsets_retention_minutes=self.offsets_retention_minutes,
            offsets_retention_check_interval_ms=self.offsets_retention_check_interval_ms,
        )

    def transaction_config(self) -> TransactionConfig:
        """What the transaction coordinator needs to know."""
        from ottla.coordinator.transaction.config import TransactionConfig

        return TransactionConfig(
            transaction_max_timeout_ms=self.transaction_max_timeout_ms,
            transactional_id_expiration_ms=self.transactional_id_expiration_ms,
            transaction_abort_timed_out_transaction_cleanup_interval_ms=(
                self.transaction_abort_timed_out_transaction_cleanup_interval_ms
            ),
            transaction_remove_expired_transaction_cleanup_interval_ms=(
                self.transaction_remove_expired_transaction_cleanup_interval_ms
            ),
        )

    def describe_topic(self, overrides: Mapping[str, str], *, created: bool = False) -> list[ConfigEntry]:
        """What DescribeConfigs (`created`: CreateTopics) tells about a topic with `overrides`."""
        from ottla.broker.describe_configs import describe_topic

        return describe_topic(overrides, self, created=created)

    def describe_broker(self) -> list[ConfigEntry]:
        """What DescribeConfigs tells about this broker."""
        from ottla.broker.describe_configs import describe_broker

        return describe_broker(self)

    def checked_topic_overrides(self, overrides: Mapping[str, str | None]) -> dict[str, str]:
        """`overrides` of a topic, if all may be set. Raises KafkaError INVALID_CONFIG, worded as Kafka does."""
        checked: dict[str, str] = {}
        if not overrides:
            return checked
        known = definitions().topic
        for name, text in overrides.items():
            definition = known.get(name)
            if definition is None:
                hint = nearest(name, known)
                raise _invalid(f"Unknown topic config name: {name}" + (f" (did you mean {hint}?)" if hint else ""))
            if text is None:
                raise _invalid(f"Null value not supported for topic configs: {name}")
            try:
                value = definition.checked(text)
            except BadValueError as error:
                raise _invalid(f"Invalid value {text} for configuration {name}: {error}") from error
            if name == "remote.storage.enable" and value:
                raise _invalid("Tiered storage is not served here: remote.storage.enable must stay false")
            checked[name] = to_text(value) or ""  # so that whoever reads it again reads the same
        effective = self.topic_defaults() | checked
        least, most = effective["min.compaction.lag.ms"], effective["max.compaction.lag.ms"]
        if int(least) > int(most):
            raise _invalid(f"min.compaction.lag.ms ({least}) must not be larger than max.compaction.lag.ms ({most})")
        return checked


# Topic config: the broker settings that give its default, the first one that is set wins.
TOPIC_SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "cleanup.policy": ("log.cleanup.policy",),
    "compression.gzip.level": ("compression.gzip.level",),
    "compression.lz4.level": ("compression.lz4.level",),
    "compression.type": ("compression.type",),
    "compression.zstd.level": ("compression.zstd.level",),
    "delete.retention.ms": ("log.cleaner.delete.retention.ms",),
    "file.delete.delay.ms": ("log.segment.delete.delay.ms",),
    "flush.messages": ("log.flush.interval.messages",),
    "flush.ms": ("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
    "index.interval.bytes": ("log.index.interval.bytes",),
    "local.retention.bytes": ("log.local.retention.bytes",),
    "local.retention.ms": ("log.local.retention.ms",),
    "max.compaction.lag.ms": ("log.cleaner.max.compaction.lag.ms",),
    "max.decompressed.message.bytes": ("max.decompressed.message.bytes",),
    "max.message.bytes": ("message.max.bytes",),
    "message.timestamp.after.max.ms": ("log.message.timestamp.after.max.ms",),
    "message.timestamp.before.max.ms": ("log.message.timestamp.before.max.ms",),
    "message.timestamp.type": ("log.message.timestamp.type",),
    "min.cleanable.dirty.ratio": ("log.cleaner.min.cleanable.ratio",),
    "min.compaction.lag.ms": ("log.cleaner.min.compaction.lag.ms",),
    "min.insync.replicas": ("min.insync.replicas",),
    "preallocate": ("log.preallocate",),
    "remote.copy.lag.bytes": ("log.remote.copy.lag.bytes",),
    "remote.copy.lag.ms": ("log.remote.copy.lag.ms",),
    "retention.bytes": ("log.retention.bytes",),
    "retention.ms": ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    "segment.bytes": ("log.segment.bytes",),
    "segment.index.bytes": ("log.index.size.max.bytes",),
    "segment.jitter.ms": ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    "segment.ms": ("log.roll.ms", "log.roll.hours"),
    "unclean.leader.election.enable": ("unclean.leader.election.enable",),
}


@cache
def _untouched_topic_defaults() -> dict[str, str]:
    """Where no setting is set: the same for each broker of the process."""
    config = BrokerConfig()
    return {name: config._topic_default(names) for name, names in TOPIC_SYNONYMS.items()}


SETTINGS: Final[dict[str, Setting[Value | None]]] = {
    setting.name: setting for setting in vars(BrokerConfig).values() if isinstance(setting, Setting)
}


def in_ms(name: str, value: Value) -> Value:
    """A broker setting's value in the unit of its topic config: hours and minutes become ms, "for ever" is -1."""
    for suffix, unit_ms in _UNITS_MS.items():
        if name.endswith(suffix) and isinstance(value, int):
            return value * unit_ms if value >= 0 else -1
    if name == "log.retention.ms" and isinstance(value, int):
        return max(value, -1)
    return value


class UnknownSettingError(ValueError):
    """Kafka has no broker setting of that name. `hint` is a sentence that helps, or ""."""

    def __init__(self, name: str, hint: str) -> None:
        super().__init__(name)
        self.hint = hint


def setting_definition(name: str) -> Definition:
    """The definition of a setting, also of one for a single listener. Raises UnknownSettingError."""
    known = definitions().broker
    definition = known.get(name)
    if definition is None and name.startswith("listener.name."):  # listener.name.{listener}.{setting}
        definition = known.get(name.split(".", 3)[-1])
    if definition is None:
        raise UnknownSettingError(name, _hint(name))
    return definition


def check_setting(name: str, text: str) -> None:
    """Check one setting from outside. Raises UnknownSettingError or BadValueError."""
    setting_definition(name).checked(text)


def _hint(name: str) -> str:
    if name in definitions().topic:
        for_one = f"one topic takes it by --topic NAME:PARTITIONS:{name}=VALUE"
        if name in TOPIC_SYNONYMS:
            return f"for all topics set {TOPIC_SYNONYMS[name][0]}, {for_one}"
        return for_one
    meant = nearest(name, definitions().broker)
    return f"did you mean {meant}?" if meant else ""


def check_together(config: BrokerConfig) -> None:
    """Check what settings demand of each other. Raises BadValueError, which then names them."""
    if "node.id" in config.explicit and config.broker_id not in (-1, config.node_id):
        raise BadValueError(f"node.id={config.node_id} and broker.id={config.broker_id} differ; leave out broker.id")
    for name in TOPIC_SYNONYMS["retention.ms"]:
        if parse("LONG", config.text_of(name) or "-1") == 0:
            raise BadValueError(f"{name} must be at least 1, or -1 to keep records for ever")
    for kind in ("session.timeout", "heartbeat.interval", "assignment.interval"):
        _check_between(
            config, f"group.consumer.min.{kind}.ms", f"group.consumer.{kind}.ms", f"group.consumer.max.{kind}.ms"
        )
    if config.group_consumer_heartbeat_interval_ms >= config.group_consumer_session_timeout_ms:
        raise BadValueError(
            f"group.consumer.heartbeat.interval.ms={config.group_consumer_heartbeat_interval_ms} must be smaller than"
            f" group.consumer.session.timeout.ms={config.group_consumer_session_timeout_ms}"
        )
    unknown = [name for name in config.group_consumer_assignors if name not in ("uniform", "range")]
    if unknown or not config.group_consumer_assignors:
        raise BadValueError(f"group.consumer.assignors={','.join(unknown)}: give uniform, range or both")
    if config.offsets_topic_compression_codec not in CODECS:
        raise BadValueError(
            f"offsets.topic.compression.codec={config.offsets_topic_compression_codec}: give 0 for none, 1 for gzip,"
            " 2 for snappy, 3 for lz4 or 4 for zstd"
        )
    if config.group_min_session_timeout_ms > config.group_max_session_timeout_ms:
        raise BadValueError(
            f"group.min.session.timeout.ms={config.group_min_session_timeout_ms} must not be larger than"
            f" group.max.session.timeout.ms={config.group_max_session_timeout_ms}"
        )
    if config.log_cleaner_min_compaction_lag_ms > config.log_cleaner_max_compaction_lag_ms:
        raise BadValueError(
            f"log.cleaner.min.compaction.lag.ms={config.log_cleaner_min_compaction_lag_ms} must not be larger than"
            f" log.cleaner.max.compaction.lag.ms={config.log_cleaner_max_compaction_lag_ms}"
        )


def _check_between(config: BrokerConfig, *names: str) -> None:
    """Raises BadValueError if a setting is larger than the next."""
    for smaller, larger in pairwise(names):
        values = [getattr(config, name.replace(".", "_")) for name in (smaller, larger)]
        if values[0] > values[1]:
            raise BadValueError(f"{smaller}={values[0]} must be less than or equal to {larger}={values[1]}")


def _segment_bytes(wanted: int) -> str:
    return str(max(wanted, 1 << 20))  # topics have a floor of 1 MiB that these broker settings lack


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_CONFIG, message)
