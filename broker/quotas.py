"""Client quotas (KIP-13, KIP-546, KIP-599): which limit is whose, how fast a client is, how long it must wait.

Limits are part of the cluster's state (`ClientQuotas`, replayed from ClientQuotaRecords); rates are soft and forgotten
at a stop. Nothing here touches a message or a socket: that is broker/throttling.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.cluster_metadata import ClientQuotaRecord

USER, CLIENT_ID, IP = "user", "client-id", "ip"
PRODUCE_RATE, FETCH_RATE = "producer_byte_rate", "consumer_byte_rate"  # bytes/s
REQUEST_SHARE = "request_percentage"  # of the broker's one thread
MUTATION_RATE = "controller_mutation_rate"  # partitions made or removed a second
CONNECTION_RATE = "connection_creation_rate"  # connections a second

_CLIENT_KEYS = frozenset((PRODUCE_RATE, FETCH_RATE, REQUEST_SHARE, MUTATION_RATE))
_IP_KEYS = frozenset((CONNECTION_RATE,))
_WHOLE_KEYS = frozenset((PRODUCE_RATE, FETCH_RATE, CONNECTION_RATE))
_INT64_MAX = 2**63 - 1

Entity = tuple[tuple[str, str | None], ...]
"""(type, name) pairs sorted by type; a name of None is the default of that type."""


def entity_of(parts: Iterable[tuple[str, str | None]]) -> Entity:
    """Raises KafkaError INVALID_REQUEST: nobody, a type twice or unknown, an ip together with others."""
    named = list(parts)
    types = {kind for kind, _ in named}
    if not named or len(types) < len(named):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a quota is for one user, client-id or ip, each named once")
    unknown = types - {USER, CLIENT_ID, IP}
    if unknown:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"unknown entity type {min(unknown)!r}")
    if IP in types and len(types) > 1:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "an ip cannot be combined with a user or client-id")
    if any(name == "" for _, name in named):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "an entity's name is empty")
    return tuple(sorted(named))


def checked_record(entity: Entity, key: str, value: float, remove: bool) -> ClientQuotaRecord:
    """One change, validated. Raises KafkaError INVALID_REQUEST."""
    allowed = _IP_KEYS if entity[0][0] == IP else _CLIENT_KEYS
    if key not in allowed:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{key!r} is no quota of this entity; there are {sorted(allowed)}")
    if not remove:
        if not math.isfinite(value) or value <= 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"quota {key} must be greater than 0")
        if key in _WHOLE_KEYS and (value != int(value) or value > _INT64_MAX):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"quota {key} must be a whole number")
    return ClientQuotaRecord(
        entity=[ClientQuotaRecord.EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
        key=key,
        value=0.0 if remove else value,
        remove=remove,
    )


class ClientQuotas:
    """All limits. `replay` is the only code that changes them."""

    __slots__ = ("_limits", "generation")

    def __init__(self) -> None:
        self._limits: dict[Entity, dict[str, float]] = {}
        self.generation = 0  # counts changes, so that who remembers a lookup knows when to forget it

    def __bool__(self) -> bool:
        return bool(self._limits)

    @property
    def of_clients(self) -> bool:
        """Whether there are any but those of addresses."""
        return any(entity[0][0] != IP for entity in self._limits)

    def any_of(self, key: str) -> bool:
        """Whether anybody has this limit."""
        return any(key in limits for limits in self._limits.values())

    def __iter__(self) -> Iterator[tuple[Entity, dict[str, float]]]:
        """(entity, limits by key); not to be changed by the caller."""
        return iter(self._limits.items())

    def replay(self, record: ClientQuotaRecord) -> None:
        """Apply one record."""
        entity = tuple(sorted((part.entity_type, part.entity_name) for part in record.entity))
        self.generation += 1
        if not record.remove:
            self._limits.setdefault(entity, {})[record.key] = record.value
            return
        limits = self._limits.get(entity, {})
        limits.pop(record.key, None)
        if not limits:
            self._limits.pop(entity, None)

    def limit(self, key: str, user: str, client_id: str) -> tuple[Entity, float] | None:
        """The limit that counts for a client and whom it is shared with: the first match in Kafka's order wins."""
        for kind_names in _LOOKUP:
            entity = tuple(
                (kind, None if default else (user if kind == USER else client_id)) for kind, default in kind_names
            )
            found = self._limits.get(entity, {}).get(key)
            if found is not None:
                return tuple((kind, user if kind == USER else client_id) for kind, _ in kind_names), found
        return None

    def ip_limit(self, host: str) -> float | None:
        """Connections a second from an address."""
        for name in (host, None):
            found = self._limits.get(((IP, name),), {}).get(CONNECTION_RATE)
            if found is not None:
                return found
        return None


# (type, whether its default is meant), types in the order of an Entity.
_LOOKUP: tuple[tuple[tuple[str, bool], ...], ...] = (
    ((CLIENT_ID, False), (USER, False)),
    ((CLIENT_ID, True), (USER, False)),
    ((USER, False),),
    ((CLIENT_ID, False), (USER, True)),
    ((CLIENT_ID, True), (USER, True)),
    ((USER, True),),
    ((CLIENT_ID, False),),
    ((CLIENT_ID, True),),
)


class Rate:
    """An average over the last `windows` samples of `window_ms`, as Kafka's Rate: a new one counts as if the past had
    been silent, so that a short burst is free.
    """

    __slots__ = ("_samples", "_total", "_window_ms", "_windows")

    def __init__(self, windows: int, window_ms: int) -> None:
        self._windows = windows
        self._window_ms = window_ms
        self._samples: deque[list[float]] = deque()  # [start mono ms, amount], oldest first
        self._total = 0.0

    def add(self, amount: float, now_ms: int) -> None:
        """Count `amount` (negative takes back)."""
        self._forget(now_ms)
        if not self._samples or now_ms - self._samples[-1][0] >= self._window_ms:
            self._samples.append([now_ms, 0.0])
        self._samples[-1][1] += amount
        self._total += amount

    def delay_ms(self, limit: float, now_ms: int) -> int:
        """How long to be silent so that the rate falls to `limit` a second; 0 if it is not above."""
        self._forget(now_ms)
        if not self._samples:
            return 0
        elapsed_ms = now_ms - int(self._samples[0][0])
        missing = self._windows - 1 - elapsed_ms // self._window_ms
        if missing > 0:
            elapsed_ms += missing * self._window_ms
        excess = self._total * 1000 / elapsed_ms - limit if elapsed_ms else 0.0
        return round(excess / limit * elapsed_ms) if excess > 0 else 0

    def _forget(self, now_ms: int) -> None:
        oldest = now_ms - self._windows * self._window_ms
        while self._samples and self._samples[0][0] < oldest:
            self._total -= self._samples.popleft()[1]


class TokenBucket:
    """A limit with a burst of `windows` x `window_ms` worth (KIP-599): tokens may be owed, and then nothing passes."""

    __slots__ = ("_at_ms", "_burst_s", "_tokens")

    def __init__(self, windows: int, window_ms: int) -> None:
        self._burst_s = windows * window_ms / 1000
        self._tokens: float | None = None  # full at first
        self._at_ms = 0

    def take(self, amount: float, limit: float, now_ms: int, *, strict: bool) -> int:
        """Take tokens; ms until none are owed. `strict` takes nothing while tokens are owed."""
        full = limit * self._burst_s
        if self._tokens is None:
            self._tokens = full
        else:
            self._tokens = min(full, self._tokens + (now_ms - self._at_ms) * limit / 1000)
        self._at_ms = now_ms
        if self._tokens >= 0 or not strict:
            self._tokens -= amount
            if strict or self._tokens >= 0:
                return 0
        return math.ceil(-self._tokens / limit * 1000)
