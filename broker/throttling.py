"""Quotas enforced: counts what clients send, get, change and keep busy, says how long to wait, mutes the connection.

A tap at the gate, hung there while there are quotas of clients at all. The limits and the arithmetic are quotas.py;
whose connections are taken is connection_quotas.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ottla.broker.quotas import (
    FETCH_RATE,
    MUTATION_RATE,
    PRODUCE_RATE,
    REQUEST_SHARE,
    ClientQuotas,
    Entity,
    Rate,
    TokenBucket,
)
from ottla.log.clock import Clock
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.dispatch import Context
    from ottla.broker.loop_time import LoopTime
    from ottla.wire.messages.fetch import FetchResponse
    from ottla.wire.schema import Message

ANONYMOUS = "ANONYMOUS"  # the user of a connection that did not say who it is
MAX_RATES = 10_000  # of (key, client): beyond it all begin anew, since client ids cost a stranger nothing
PERCENT: Final = 100.0
EXEMPT: Final = frozenset((ApiKey.WRITE_TXN_MARKERS,))  # what brokers ask each other takes no share

Payer = tuple[int, str]  # (node id, client id)


class Throttle:
    """Rates of all clients that have a limit, of each node by itself."""

    __slots__ = ("_buckets", "_clock", "_config", "_found", "_generation", "_loop_time", "_quotas", "_rates")

    def __init__(self, quotas: ClientQuotas, config: BrokerConfig, clock: Clock) -> None:
        self._quotas = quotas
        self._config = config
        self._clock = clock
        self._rates: dict[tuple[str, int, Entity], Rate] = {}
        self._buckets: dict[Entity, TokenBucket] = {}
        self._generation = -1
        self._found: dict[tuple[str, str], tuple[Entity, float] | None] = {}  # by key and client id
        self._loop_time: LoopTime[Payer] | None = None

    @property
    def loop_time(self) -> LoopTime[Payer] | None:
        """The measure of the loop, if somebody has a share of it."""
        return self._loop_time

    def quotas_changed(self) -> None:
        """Measure the loop if somebody has a share of it, and only then."""
        if not self._quotas.any_of(REQUEST_SHARE):
            self._loop_time = None
        elif self._loop_time is None:
            from ottla.broker.loop_time import LoopTime

            self._loop_time = LoopTime(self._count_time)

    # ── the tap ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_request(self, context: Context) -> Message | None:
        """A Produce is counted by its bytes, answered or not."""
        if self._loop_time is not None:
            exempt = context.api_key in EXEMPT
            self._loop_time.charge(None if exempt else (context.node.id, context.client_id))
        if context.api_key == ApiKey.PRODUCE:
            self._throttle(context, self._count(PRODUCE_RATE, context, context.size))
            if self._loop_time is not None and context.request.acks == 0:  # no answer will be the time to look
                self._throttle(context, self._time_delay_ms(context, 0.0))
        return None

    def on_response(self, context: Context, response: Message) -> None:
        """A request is counted by the time that it took, a Fetch also by its records; above either limit they are
        withheld, and not counted. Every answer says how long its sender is muted."""
        if self._loop_time is not None:
            seconds = self._loop_time.take_s()
            if context.api_key not in EXEMPT:
                self._throttle(context, self._time_delay_ms(context, seconds))
        if context.api_key == ApiKey.FETCH:
            fetched: Any = response
            size = _fetched_bytes(fetched)
            self._throttle(context, self._count(FETCH_RATE, context, size) if size else 0)
            if context.throttle_ms:
                self._count(FETCH_RATE, context, -size)
                _withhold(fetched)
        if context.throttle_ms and hasattr(response, "throttle_time_ms"):
            response.throttle_time_ms = context.throttle_ms

    # ── changes of topics ───────────────────────────────────────────────────────────────────────────────────────────

    def mutate(self, context: Context, partitions: int, *, strict: bool) -> None:
        """`partitions` are about to be made or removed. Raises KafkaError THROTTLING_QUOTA_EXCEEDED if the client owes
        and `strict` (KIP-599: its version knows the code); older ones only wait."""
        found = self._limit(MUTATION_RATE, context.client_id)
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

    def _limit(self, key: str, client_id: str) -> tuple[Entity, float] | None:
        """As `ClientQuotas.limit`, remembered until quotas change."""
        if self._generation != self._quotas.generation or len(self._found) >= MAX_RATES:
            self._found.clear()
            self._generation = self._quotas.generation
        try:
            return self._found[key, client_id]
        except KeyError:
            found = self._found[key, client_id] = self._quotas.limit(key, ANONYMOUS, client_id)
            return found

    def _count(self, key: str, context: Context, amount: float) -> int:
        """Count for whoever shares the limit; ms to wait."""
        return self._count_for(key, (context.node.id, context.client_id), amount)

    def _count_for(self, key: str, payer: Payer, amount: float) -> int:
        node_id, client_id = payer
        found = self._limit(key, client_id)
        if found is None:
            return 0
        entity, limit = found
        rate = self._rates.get((key, node_id, entity))
        if rate is None:
            if len(self._rates) >= MAX_RATES:
                self._rates.clear()
            config = self._config
            rate = Rate(config.quota_window_num, config.quota_window_size_seconds * 1000)
            self._rates[key, node_id, entity] = rate
        now_ms = self._clock.mono_ms()
        rate.add(amount, now_ms)
        return rate.delay_ms(limit, now_ms)

    def _count_time(self, payer: Payer, seconds: float) -> int:
        """Count time of the loop: a second of it each second is 100 percent; ms to wait."""
        return self._count_for(REQUEST_SHARE, payer, seconds * PERCENT)

    def _time_delay_ms(self, context: Context, seconds: float) -> int:
        """Count time; ms to wait, in one go never more than a window, as in Kafka."""
        delay_ms = self._count_time((context.node.id, context.client_id), seconds)
        return min(delay_ms, self._config.quota_window_size_seconds * 1000)

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
