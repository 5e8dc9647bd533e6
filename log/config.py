"""Topic configs that the log obeys: Kafka's property names and texts in, one typed object out.

Also the translation of broker property names (`log.segment.bytes`) into topic names. Who may set what is not decided
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from ottla.wire.errors import ErrorCode, KafkaError

MAX_INT: Final = 2**31 - 1
MAX_LONG: Final = 2**63 - 1

CODECS: Final = {"uncompressed": 0, "none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_LEAST_SEGMENT_BYTES: Final = 14


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"must lie between {low} and {high}")
        return value

    return parse


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("must lie between 0 and 1")
    return value


def _flag(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueError("must be true or false")
    return lowered == "true"


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _policy(text: str) -> frozenset[str]:
    values = [value.strip() for value in text.split(",") if value.strip()]
    if len(set(values)) != len(values) or not set(values) <= {"compact", "delete"}:
        raise ValueError("must be a list of distinct values out of compact, delete")
    return frozenset(values)


def _codec(text: str) -> int | None:
    if text == "producer":
        return None
    if text not in CODECS:
        raise ValueError(f"must be producer or one of {', '.join(CODECS)}")
    return CODECS[text]


class LogConfig:
    """Configs of one topic; attribute names are Kafka's with `_` for `.`; unchanged defaults are Kafka's. Never changed
    once made: topics, and brokers of one process, share what is equal.
    """

    __slots__ = (
        "cleanup_policy",
        "compression_gzip_level",
        "compression_lz4_level",
        "compression_type",
        "compression_zstd_level",
        "delete_retention_ms",
        "file_delete_delay_ms",
        "flush_messages",
        "flush_ms",
        "index_interval_bytes",
        "max_compaction_lag_ms",
        "max_decompressed_message_bytes",
        "max_message_bytes",
        "message_timestamp_after_max_ms",
        "message_timestamp_before_max_ms",
        "message_timestamp_type",
        "min_cleanable_dirty_ratio",
        "min_compaction_lag_ms",
        "ottla_record_validation",
        "preallocate",
        "producer_id_expiration_ms",
        "retention_bytes",
        "retention_ms",
        "roll_ms",
        "segment_bytes",
        "segment_index_bytes",
        "segment_jitter_ms",
        "segment_ms",
    )

    cleanup_policy: frozenset[str]
    compression_gzip_level: int
    compression_lz4_level: int
    compression_type: int | None  # codec number the broker stores, None: the producer's
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    index_interval_bytes: int
    max_compaction_lag_ms: int
    max_decompressed_message_bytes: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    ottla_record_validation: str  # full: records are walked; header: CRC, length, count and last delta are trusted
    preallocate: bool
    producer_id_expiration_ms: int  # a broker config, kept here so that the log has one place to look
    retention_bytes: int
    retention_ms: int
    roll_ms: int  # what follows: segment.ms, or max.compaction.lag.ms if that is less and the log is compacted
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int

    @property
    def compacts(self) -> bool:
        """Records need keys: cleanup.policy contains compact."""
        return "compact" in self.cleanup_policy

    @property
    def deletes(self) -> bool:
        """Retention by time and size applies: cleanup.policy contains delete."""
        return "delete" in self.cleanup_policy

    @classmethod
    def from_properties(cls, defaults: LogConfig | None, overrides: Mapping[str, str]) -> LogConfig:
        """`defaults` (None: Kafka's) with topic properties over them; names the log does not know are left alone.

        Raises KafkaError INVALID_CONFIG for a value that is malformed or out of range.
        """
        config = cls.__new__(cls)
        if defaults is None:
            for name, (text, parse) in _FIELDS.items():
                setattr(config, _attribute(name), parse(text))
        else:
            for attribute in cls.__slots__:
                setattr(config, attribute, getattr(defaults, attribute))
        internal = overrides.get("internal.segment.bytes")  # Kafka's, for tests: a segment of any size
        if internal is not None:
            overrides = {**overrides, "segment.bytes": str(max(_LEAST_SEGMENT_BYTES, int(internal)))}
        for name, value in overrides.items():
            field = _FIELDS.get(name)
            if field is None:
                continue
            try:
                setattr(config, _attribute(name), field[1](value.strip()))
            except ValueError as error:
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG, f"Invalid value {value} for configuration {name}: {error}"
                ) from error
        config.roll_ms = config.segment_ms
        if config.compacts:
            config.roll_ms = min(config.segment_ms, config.max_compaction_lag_ms)
        return config

    @classmethod
    def from_broker(cls, properties: Mapping[str, str]) -> LogConfig:
        """Defaults for all topics from a broker's properties (`log.*` and so on; topic names are taken too).

        Raises KafkaError INVALID_CONFIG.
        """
        return cls._from_broker(tuple(properties.items()))

    @classmethod
    @lru_cache(maxsize=16)  # a process starts many brokers in its tests, most of them with the same settings
    def _from_broker(cls, items: tuple[tuple[str, str], ...]) -> LogConfig:
        properties = dict(items)
        overrides = {name: value for name, value in properties.items() if name in _FIELDS}
        for name, (topic_name, factor) in _BROKER_NAMES.items():  # coarser units first, so that .ms wins
            value = properties.get(name)
            if value is None:
                continue
            if factor == 1:
                overrides[topic_name] = value
                continue
            try:
                number = int(value)
            except ValueError as error:
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG, f"Invalid value {value} for configuration {name}: {error}"
                ) from error
            overrides[topic_name] = str(number * factor if number >= 0 else number)
        return cls.from_properties(None, overrides)


def _attribute(name: str) -> str:
    return name.replace(".", "_")


# Topic property: default, parser. segment.bytes has no floor of 1 MiB here, so that tests and internal topics may go
# below.
_FIELDS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "cleanup.policy": ("delete", _policy),
    "compression.gzip.level": ("-1", _number(-1, 9)),
    "compression.lz4.level": ("9", _number(1, 17)),
    "compression.type": ("producer", _codec),
    "compression.zstd.level": ("3", _number(-131072, 22)),
    "delete.retention.ms": ("86400000", _number(0, MAX_LONG)),
    "file.delete.delay.ms": ("60000", _number(0, MAX_LONG)),
    "flush.messages": (str(MAX_LONG), _number(1, MAX_LONG)),
    "flush.ms": (str(MAX_LONG), _number(0, MAX_LONG)),
    "index.interval.bytes": ("4096", _number(0, MAX_INT)),
    "max.compaction.lag.ms": (str(MAX_LONG), _number(1, MAX_LONG)),
    "max.decompressed.message.bytes": ("2147483639", _number(1, 2147483639)),
    "max.message.bytes": ("1048588", _number(0, MAX_INT)),
    "message.timestamp.after.max.ms": ("3600000", _number(0, MAX_LONG)),
    "message.timestamp.before.max.ms": (str(MAX_LONG), _number(0, MAX_LONG)),
    "message.timestamp.type": ("CreateTime", _one_of("CreateTime", "LogAppendTime")),
    "min.cleanable.dirty.ratio": ("0.5", _ratio),
    "min.compaction.lag.ms": ("0", _number(0, MAX_LONG)),
    "ottla.record.validation": ("full", _one_of("full", "header")),
    "preallocate": ("false", _flag),
    "producer.id.expiration.ms": ("86400000", _number(1, MAX_INT)),
    "retention.bytes": ("-1", _number(-MAX_LONG - 1, MAX_LONG)),  # Kafka refuses none; below 0 there is no bound
    "retention.ms": ("604800000", _number(-1, MAX_LONG)),
    "segment.bytes": ("1073741824", _number(_LEAST_SEGMENT_BYTES, MAX_INT)),
    "segment.index.bytes": ("10485760", _number(4, MAX_INT)),
    "segment.jitter.ms": ("0", _number(0, MAX_LONG)),
    "segment.ms": ("604800000", _number(1, MAX_LONG)),
}

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000

# Broker property: (topic property, factor).
_BROKER_NAMES: Final = {
    "log.cleanup.policy": ("cleanup.policy", 1),
    "log.cleaner.delete.retention.ms": ("delete.retention.ms", 1),
    "log.cleaner.max.compaction.lag.ms": ("max.compaction.lag.ms", 1),
    "log.cleaner.min.cleanable.ratio": ("min.cleanable.dirty.ratio", 1),
    "log.cleaner.min.compaction.lag.ms": ("min.compaction.lag.ms", 1),
    "log.flush.interval.messages": ("flush.messages", 1),
    "log.flush.scheduler.interval.ms": ("flush.ms", 1),
    "log.flush.interval.ms": ("flush.ms", 1),
    "log.index.interval.bytes": ("index.interval.bytes", 1),
    "log.index.size.max.bytes": ("segment.index.bytes", 1),
    "log.message.timestamp.after.max.ms": ("message.timestamp.after.max.ms", 1),
    "log.message.timestamp.before.max.ms": ("message.timestamp.before.max.ms", 1),
    "log.message.timestamp.type": ("message.timestamp.type", 1),
    "log.preallocate": ("preallocate", 1),
    "log.retention.bytes": ("retention.bytes", 1),
    "log.retention.hours": ("retention.ms", _HOUR_MS),
    "log.retention.minutes": ("retention.ms", _MINUTE_MS),
    "log.retention.ms": ("retention.ms", 1),
    "log.roll.hours": ("segment.ms", _HOUR_MS),
    "log.roll.ms": ("segment.ms", 1),
    "log.roll.jitter.hours": ("segment.jitter.ms", _HOUR_MS),
    "log.roll.jitter.ms": ("segment.jitter.ms", 1),
    "log.segment.bytes": ("segment.bytes", 1),
    "log.segment.delete.delay.ms": ("file.delete.delay.ms", 1),
    "message.max.bytes": ("max.message.bytes", 1),
}
