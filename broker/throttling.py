"""Quotas enforced: counts what clients send, get and change, tells them how long to wait, and mutes the connection.

A tap at the gate, hung there while there are quotas at all. The limits and the arithmetic are broker/quotas.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla.broker.quotas import FETCH_RATE, MUTATION_RATE, PRODUCE_RATE, ClientQuotas, Entity, Rate, TokenBucket
from ottla.log.clock import Clock
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.dispatch import Context
    from ottla.wire.messages.fetch import FetchResponse
    from ottla.wire.schema import Message

ANONYMOUS = "ANONYMOUS"  # the user of a connection that did not say who it is
MAX_RATES = 10_000  # of (key, client): beyond it all begin anew, since client ids cost a stranger nothing


class Throttle:
    """Rates of all clients that have a limit."""

    __slots__ = ("_buckets", "_clock", "_config", "_limits", "_quotas", "_rates")

    def __init__(self, quotas: ClientQuotas, config: BrokerConfig, clock: Clock) -> None:
        self._quotas = quotas
        self._config = config
        self._clock = clock
        self._rates: dict[tuple[str, Entity], Rate] = {}
        self._buckets: dict[Entity, TokenBucket] = {}

    # ── the tap ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_request(self, context: Context) -> Message | None:
        """A Produce is counted by its bytes, answered or not."""
        if context.api_key == ApiKey.PRODUCE:
            self._throttle(context, self._count(PRODUCE_RATE, context, context.size))
        return None

    def on_response(self, context: Context, response: Message) -> None:
        """A Fetch is counted by its records; above the limit they are withheld, and not counted. Every answer says how
        long its sender is muted."""
        if context.api_key == ApiKey.FETCH:
            fetched: Any = response
            size = _fetched_bytes(fetched)
            delay_ms = self._count(FETCH_RATE, context, size) if size else 0
            if delay_ms:
                self._count(FETCH_RATE, context, -size)
                _withhold(fetched)
                self._throttle(context, delay_ms)
        if context.throttle_ms and hasattr(response, "throttle_time_ms"):
            response.throttle_time_ms = context.throttle_ms

    # ── changes of topics ───────────────────────────────────────────────────────────────────────────────────────────

    def mutate(self, context: Context, partitions: int, *, strict: bool) -> None:
        """`partitions` are about to be made or removed. Raises KafkaError THROTTLING_QUOTA_EXCEEDED if the client owes
        and `strict` (KIP-599: its version knows the code); older ones only wait."""
        found = self._quotas.limit(MUTATION_RATE, ANONYMOUS, context.client_id)
        if found is None:
            return
        entity, limit = found
        bucket = self._buckets.get(entity)
        if bucket is None:
            config = self._config
            bucket = self._buckets[entity] = TokenBucket(
                config.controller_quota_window_num, config.controller_quota_window_size_seconds * 1000
            )
        delay_ms = bucket.take(partitions, limit, self._clock.mono_ms(), strict=strict)
        if delay_ms:
            self._throttle(context, delay_ms)
            if strict:
                raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "The throttling quota has been exceeded.")

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, key: str, context: Context, amount: int) -> int:
        """Count for whoever shares the limit; ms to wait."""
        found = self._quotas.limit(key, ANONYMOUS, context.client_id)
        if found is None:
            return 0
        entity, limit = found
        rate = self._rates.get((key, entity))
        if rate is None:
            if len(self._rates) >= MAX_RATES:
                self._rates.clear()
            config = self._config
            rate = Rate(config.quota_window_num, config.quota_window_size_seconds * 1000)
            self._rates[key, entity] = rate
        now_ms = self._clock.mono_ms()
        rate.add(amount, now_ms)
        return rate.delay_ms(limit, now_ms)

    def _throttle(self, context: Context, delay_ms: int) -> None:
        if delay_ms > context.throttle_ms:
            context.throttle_ms = delay_ms
            context.connection.muted_until_ms = self._clock.mono_ms() + delay_ms


def _fetched_bytes(response: FetchResponse) -> int:
    return sum(
        _size(partition.records) for topic in response.responses for partition in topic.partitions if partition.records
    )


def _size(records: Any) -> int:
    nbytes: int | None = getattr(records, "nbytes", None)
    return len(records) if nbytes is None else nbytes


def _withhold(response: FetchResponse) -> None:
    """Kafka answers a Fetch above its quota without any topic, so that a session goes on where it was."""
    for topic in response.responses:
        for partition in topic.partitions:
            release = getattr(partition.records, "release", None)
            if release is not None:
                release()
    response.responses = []
