"""Metrics that clients push (KIP-714): who is to push what and how often, and the last push of each client instance.

Subscriptions are configs of the cluster (resource type CLIENT_METRICS). What clients push is in memory only, bounded in
number and bytes. What is inside a push is read when somebody looks (client_metrics_otlp.py). No message, no socket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import crc32c

from ottla.broker.cluster import CLIENT_METRICS_RESOURCE
from ottla.broker.config_types import parse
from ottla.log.ids import uuid_from_text, uuid_text
from ottla.wire.compression import Codec, decompress
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.client_metrics_otlp import Payload
    from ottla.broker.cluster import Cluster
    from ottla.broker.config import BrokerConfig
    from ottla.broker.connection import Connection
    from ottla.coordinator.regex import Pattern
    from ottla.log.clock import Clock
    from ottla.log.ids import Ids

ALL: Final = "*"
DEFAULT_INTERVAL_MS: Final = 300_000
ACCEPTED_CODECS: Final = (Codec.ZSTD, Codec.LZ4, Codec.GZIP, Codec.SNAPPY)  # in Kafka's order of preference
MAX_INSTANCES: Final = 4_096  # whose subscription is remembered, for at least a minute
MAX_SHOWN: Final = 1_000  # whose last push is kept
MAX_KEPT_BYTES: Final = 32 << 20  # of all of these, as they came
MAX_UNPACKED_BYTES: Final = 8 << 20  # of one push
_MIN_EXPIRY_MS: Final = 60_000
_NEVER_MS: Final = -(1 << 60)
_RESERVED: Final = (bytes(16), bytes(15) + b"\x01")


class Client(NamedTuple):
    """What is known of who asks; the names that `match` gives these are Kafka's."""

    node_id: int
    client_id: str
    software_name: str
    software_version: str
    connection: Connection

    def attribute(self, name: str, instance_id: bytes) -> str:
        """What a selector of a subscription is compared with."""
        if name == "client_instance_id":
            return uuid_text(instance_id)
        if name == "client_source_address":
            return self.connection.host
        if name == "client_source_port":
            return str(self.connection.port)
        return str(
            {"client_id": self.client_id, "client_software_name": self.software_name}.get(name, self.software_version)
        )


class Subscription(NamedTuple):
    """What a client instance is asked for. `metrics`: prefixes of names, `*` for all; none: nothing is wanted."""

    instance_id: bytes
    id: int
    metrics: list[str]
    interval_ms: int


class InstanceView(TypedDict):
    """A client instance that has pushed, ready for JSON. `terminating`: its last push said that it is to end."""

    client_instance_id: str
    client_id: str
    client_software_name: str
    client_software_version: str
    client_source_address: str
    client_source_port: int
    node_id: int
    subscription_id: int
    subscribed_metrics: list[str]
    push_interval_ms: int
    pushes: int
    last_push_ms: int
    terminating: bool
    compression: str
    bytes: int


class _Rule(NamedTuple):
    """One subscription as it was configured."""

    metrics: list[str]
    interval_ms: int
    match: dict[str, Pattern]

    def matches(self, client: Client, instance_id: bytes) -> bool:
        return all(pattern.fullmatch(client.attribute(name, instance_id)) for name, pattern in self.match.items())


class _Instance:
    """What a node remembers of a client instance."""

    __slots__ = (
        "client",
        "expires_ms",
        "generation",
        "last_error",
        "last_get_ms",
        "last_push_ms",
        "subscription",
        "terminating",
    )

    def __init__(self, client: Client, subscription: Subscription, generation: int) -> None:
        self.client = client
        self.subscription = subscription
        self.generation = generation
        self.last_get_ms = self.last_push_ms = self.expires_ms = _NEVER_MS
        self.last_error = ErrorCode.NONE
        self.terminating = False


class _Push:
    """The last push of a client instance."""

    __slots__ = ("client", "codec", "count", "data", "subscription", "terminating", "wall_ms")

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self.client = client
        self.subscription = subscription
        self.codec = 0
        self.data = b""
        self.count = 0
        self.terminating = False
        self.wall_ms = 0


class ClientMetrics:
    """Subscriptions and pushes of all nodes; each node judges by what it was asked itself, as in Kafka."""

    def __init__(self, cluster: Cluster, config: BrokerConfig, clock: Clock, ids: Ids) -> None:
        self._cluster = cluster
        self._config = config
        self._clock = clock
        self._ids = ids
        self._configured: dict[str, dict[str, str]] = {}  # what the rules were made of
        self._rules: list[_Rule] = []
        self._generation = 0
        self._instances: OrderedDict[tuple[int, bytes], _Instance] = OrderedDict()
        self._pushes: OrderedDict[bytes, _Push] = OrderedDict()  # the one that pushed last is the last
        self._kept_bytes = 0

    # ── for clients ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def max_bytes(self) -> int:
        """The largest push, as it comes."""
        return self._config.telemetry_max_bytes

    def subscribe(self, client: Client, instance_id: bytes) -> Subscription:
        """What the client instance is to push; one without an id (all zero) gets one. Raises KafkaError
        THROTTLING_QUOTA_EXCEEDED if it asks or pushed less than an interval ago and has no reason to ask again.
        """
        if instance_id == _RESERVED[0]:
            instance_id = self._ids.uuid()
        instance = self._instance(client, instance_id)
        now_ms = self._clock.mono_ms()
        if now_ms - max(instance.last_get_ms, instance.last_push_ms) >= instance.subscription.interval_ms:
            instance.last_get_ms = now_ms
        elif instance.last_error not in (ErrorCode.UNKNOWN_SUBSCRIPTION_ID, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE):
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        instance.last_error = ErrorCode.NONE
        return instance.subscription

    def push(
        self, client: Client, instance_id: bytes, subscription_id: int, *, terminating: bool, codec: int, data: bytes
    ) -> None:
        """Keep what the client instance pushes. Raises KafkaError, in Kafka's order: INVALID_REQUEST (no id, or its
        last push said that it ends), THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE,
        TELEMETRY_TOO_LARGE, INVALID_RECORD (can't be unpacked).
        """
        if instance_id in _RESERVED:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        instance = self._instance(client, instance_id)
        try:
            self._check(instance, subscription_id, terminating, codec, data)
            is_empty = not data or not len(_unpacked(codec, data))
        except KafkaError as error:
            instance.last_error = error.code
            raise
        finally:
            instance.terminating = terminating
        instance.last_error = ErrorCode.NONE
        self._keep(instance, codec, b"" if is_empty else data, terminating)

    def _check(self, instance: _Instance, subscription_id: int, terminating: bool, codec: int, data: bytes) -> None:
        if instance.terminating:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        now_ms = self._clock.mono_ms()
        # The first push after a subscription may come early: clients spread theirs by half an interval either way.
        if (
            instance.last_get_ms > instance.last_push_ms
            or now_ms - instance.last_push_ms >= instance.subscription.interval_ms
        ):
            instance.last_push_ms = now_ms
        elif not terminating:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        if subscription_id != instance.subscription.id:
            raise KafkaError(ErrorCode.UNKNOWN_SUBSCRIPTION_ID)
        if codec not in list(Codec):
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if len(data) > self.max_bytes:
            raise KafkaError(ErrorCode.TELEMETRY_TOO_LARGE)

    def _instance(self, client: Client, instance_id: bytes) -> _Instance:
        """What this node remembers, anew if subscriptions changed, its connection ended or it was silent for long."""
        self._refresh()
        now_ms = self._clock.mono_ms()
        key = (client.node_id, instance_id)
        instance = self._instances.get(key)
        if instance is not None and (now_ms >= instance.expires_ms or not instance.client.connection.is_open):
            instance = None
        if instance is None or instance.generation < self._generation:
            # Whoever is known stays who it was when it came.
            owner = client if instance is None else instance.client
            instance = _Instance(owner, self._subscription(owner, instance_id), self._generation)
            self._instances[key] = instance
        self._instances.move_to_end(key)
        if len(self._instances) > MAX_INSTANCES:
            self._instances.popitem(last=False)
        instance.expires_ms = now_ms + max(_MIN_EXPIRY_MS, 3 * instance.subscription.interval_ms)
        return instance

    def _subscription(self, client: Client, instance_id: bytes) -> Subscription:
        """All that matches, together: the shortest interval counts."""
        interval_ms = DEFAULT_INTERVAL_MS
        names: dict[str, None] = {}
        for rule in self._rules:
            if rule.matches(client, instance_id):
                names.update(dict.fromkeys(rule.metrics))
                interval_ms = min(interval_ms, rule.interval_ms)
        metrics = [ALL] if ALL in names else java_set_order(names)
        return Subscription(instance_id, subscription_id(metrics, interval_ms, instance_id), metrics, interval_ms)

    def _refresh(self) -> None:
        """The rules follow the configs."""
        configured = {
            name: configs for (kind, name), configs in self._cluster.configs.items() if kind == CLIENT_METRICS_RESOURCE
        }
        if configured != self._configured:
            self._configured = {name: dict(configs) for name, configs in configured.items()}
            self._rules = [_rule(self._configured[name]) for name in java_set_order(configured)]
            self._generation += 1

    # ── for whoever looks ───────────────────────────────────────────────────────────────────────────────────────────

    def instances(self) -> list[InstanceView]:
        """The client instances that have pushed; the one that pushed last comes last."""
        return [
            {
                "client_instance_id": uuid_text(instance_id),
                "client_id": push.client.client_id,
                "client_software_name": push.client.software_name,
                "client_software_version": push.client.software_version,
                "client_source_address": push.client.connection.host,
                "client_source_port": push.client.connection.port,
                "node_id": push.client.node_id,
                "subscription_id": push.subscription.id,
                "subscribed_metrics": list(push.subscription.metrics),
                "push_interval_ms": push.subscription.interval_ms,
                "pushes": push.count,
                "last_push_ms": push.wall_ms,
                "terminating": push.terminating,
                "compression": Codec(push.codec).name.lower(),
                "bytes": len(push.data),
            }
            for instance_id, push in self._pushes.items()
        ]

    def metrics(self, client_instance_id: str) -> Payload | None:
        """What the client instance pushed last, ready for JSON; None: it never did, or too long ago. Raises ValueError
        if what it pushed is not OTLP.
        """
        from ottla.broker.client_metrics_otlp import read

        try:
            push = self._pushes.get(uuid_from_text(client_instance_id))
        except ValueError:
            return None
        return None if push is None else read(decompress(push.codec, push.data, MAX_UNPACKED_BYTES))

    def _keep(self, instance: _Instance, codec: int, data: bytes, terminating: bool) -> None:
        instance_id = instance.subscription.instance_id
        push = self._pushes.pop(instance_id, None) or _Push(instance.client, instance.subscription)
        self._pushes[instance_id] = push
        push.client, push.subscription = instance.client, instance.subscription
        push.count += 1
        push.terminating = terminating
        push.wall_ms = self._clock.wall_ms()
        if data:  # a client that ends may have nothing to add (franz-go)
            self._kept_bytes += len(data) - len(push.data)
            push.codec, push.data = codec, data
        while len(self._pushes) > MAX_SHOWN or (self._kept_bytes > MAX_KEPT_BYTES and len(self._pushes) > 1):
            _, oldest = self._pushes.popitem(last=False)
            self._kept_bytes -= len(oldest.data)


def _unpacked(codec: int, data: bytes) -> bytes | bytearray | memoryview:
    try:
        return decompress(codec, data, MAX_UNPACKED_BYTES)
    except KafkaError:
        raise KafkaError(ErrorCode.INVALID_RECORD) from None


def _rule(configs: Mapping[str, str]) -> _Rule:
    from ottla.coordinator.regex import compile_regex

    metrics, interval, match = (configs.get(name) for name in ("metrics", "interval.ms", "match"))
    selectors = [selector.partition("=") for selector in _items(match or "")]
    return _Rule(
        java_set_order(_items(metrics or "")),
        DEFAULT_INTERVAL_MS if interval is None else int(interval),
        {name.strip(): compile_regex(pattern.strip()) for name, _, pattern in selectors},
    )


def _items(text: str) -> list[str]:
    items = parse("LIST", text)
    assert isinstance(items, list)
    return items


# ── as Kafka's Java computes it ─────────────────────────────────────────────────────────────────────────────────────


def subscription_id(metrics: Iterable[str], interval_ms: int, instance_id: bytes) -> int:
    """Kafka's, which changes with what is asked for: CRC-32C of the text of both, XOR the hash of the instance's id."""
    crc: int = crc32c.crc32c(f"[{', '.join(metrics)}]{interval_ms}".encode())
    halves = int.from_bytes(instance_id[:8], "big") ^ int.from_bytes(instance_id[8:], "big")
    mixed = crc ^ (halves >> 32) ^ (halves & 0xFFFFFFFF)
    return mixed - (1 << 32) if mixed >> 31 else mixed


def java_set_order(names: Iterable[str]) -> list[str]:
    """The order in which a HashSet gives these strings, added in their order: by bucket. It shows in the list of
    metrics and in the subscription's id.
    """
    ordered = list(names)
    buckets = 16
    while len(ordered) > buckets * 3 // 4:
        buckets *= 2
    return sorted(ordered, key=lambda name: _spread_hash(name) & (buckets - 1))


def _spread_hash(name: str) -> int:
    value = 0
    units = name.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(units), 2):
        value = (31 * value + int.from_bytes(units[at : at + 2], "big")) & 0xFFFFFFFF
    return value ^ value >> 16
