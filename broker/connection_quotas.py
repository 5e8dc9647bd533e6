"""How many connections a node takes, how fast, and from whom: max.connections and its relatives, KIP-402, KIP-612.

Counts and decides; sockets are server.py's. Rates are Kafka's (`broker/quotas.Rate`), limits the settings as they are
now, and of addresses the ip quotas.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from ottla.broker.quotas import ClientQuotas, Rate
from ottla.log.door import Pending

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.coordinator.timers import Timers

UNLIMITED: Final = 2**31 - 1
MAX_RATES: Final = 10_000  # of addresses: beyond it all begin anew


class ConnectionQuotas:
    """Those of one node. A new connection asks `enter`, then `refusal`; `leave` and `gone` give back."""

    __slots__ = (
        "_by_host",
        "_by_listener",
        "_config",
        "_overrides",
        "_quotas",
        "_rates",
        "_resolve",
        "_timers",
        "_waiting",
        "waiting",
    )

    def __init__(
        self,
        config: BrokerConfig,
        quotas: ClientQuotas,
        timers: Timers,
        resolve: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        self._config = config
        self._quotas = quotas
        self._timers = timers
        self._resolve = resolve or _addresses_of
        self._by_listener: Counter[str] = Counter()
        self._by_host: Counter[str] = Counter()
        self._rates: dict[tuple[str, str], Rate] = {}  # ("node" | "listener" | "ip", which)
        self.waiting = 0  # connections that are to have a place and have none yet
        self._waiting: list[tuple[str, Pending[None]]] = []  # for a place: (listener, whom to tell), in order
        self._overrides: dict[str, int] | None = None

    # ── a connection comes ──────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, listener: str) -> Pending[None]:
        """A place for one more connection of the listener: settled when it has one, since the rate allows it and the
        number does. Meanwhile the listener is to accept no other, as in Kafka."""
        place: Pending[None] = Pending()
        delay_ms = self._count_arrival(listener, 1)
        self.waiting += 1
        if delay_ms > 0:
            self._timers.schedule(delay_ms, lambda: self._find_place(listener, place))
        else:
            self._find_place(listener, place)
        return place

    def refusal(self, listener: str, host: str) -> Pending[None] | None:
        """Whether `host` may have a connection that has entered. None: it may, and is counted. Else the connection has
        left, and its socket is to be closed when this settles: who connects too often is kept waiting for so long.
        """
        closing: Pending[None] = Pending()
        delay_ms = self._count_address(host)
        if delay_ms:
            self._count_arrival(listener, -1)  # it does not come about
            self._timers.schedule(delay_ms, lambda: closing.resolve(None))
        elif self._by_host[host] >= self._most_of(host):
            closing.resolve(None)
        else:
            self._by_host[host] += 1
            return None
        self.leave(listener)
        return closing

    # ── a connection goes ───────────────────────────────────────────────────────────────────────────────────────────

    def leave(self, listener: str) -> None:
        """A connection that had entered gives its place back."""
        self._by_listener[listener] -= 1
        self._serve_waiting()

    def gone(self, host: str) -> None:
        """A connection that was not refused is closed."""
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def settings_changed(self) -> None:
        """There may be places now."""
        self._overrides = None
        self._serve_waiting()

    @property
    def excess(self) -> int:
        """How many connections there are beyond max.connections, which was lowered."""
        return max(0, self._by_listener.total() - self._config.max_connections)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _find_place(self, listener: str, place: Pending[None]) -> None:
        if self._has_room(listener):
            self._by_listener[listener] += 1
            self.waiting -= 1
            place.resolve(None)
        else:
            self._waiting.append((listener, place))

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for listener, place in waiting:
            self._find_place(listener, place)

    def _has_room(self, listener: str) -> bool:
        if self._by_listener.total() >= self._config.max_connections:
            return False
        return self._by_listener[listener] < self._of_listener(listener, "max.connections")

    def _count_arrival(self, listener: str, amount: int) -> int:
        """ms until the rates of the node and of the listener allow what has come."""
        now_ms = self._timers.now_ms()
        delay_ms = 0
        for kind, name, limit in (
            ("node", "", self._config.max_connection_creation_rate),
            ("listener", listener, self._of_listener(listener, "max.connection.creation.rate")),
        ):
            rate = self._rate(kind, name)
            rate.add(amount, now_ms)  # also without a limit: one that comes knows what was before, as Kafka's
            if limit < UNLIMITED:
                delay_ms = max(delay_ms, rate.delay_ms(limit, now_ms))
        return self._bounded(delay_ms)

    def _count_address(self, host: str) -> int:
        """ms until the rate of the address allows what has come; then it counts for nothing."""
        limit = self._quotas.ip_limit(host)
        if limit is None:
            return 0
        now_ms = self._timers.now_ms()
        rate = self._rate("ip", host)
        rate.add(1, now_ms)
        delay_ms = self._bounded(rate.delay_ms(limit, now_ms))
        if delay_ms:
            rate.add(-1, now_ms)
        return delay_ms

    def _rate(self, kind: str, name: str) -> Rate:
        rate = self._rates.get((kind, name))
        if rate is None:
            if len(self._rates) >= MAX_RATES:
                self._rates.clear()
            config = self._config
            rate = Rate(config.quota_window_num, config.quota_window_size_seconds * 1000)
            self._rates[kind, name] = rate
        return rate

    def _bounded(self, delay_ms: int) -> int:
        """Kafka lets nobody wait for longer than a window here."""
        return min(delay_ms, self._config.quota_window_size_seconds * 1000)

    def _of_listener(self, listener: str, name: str) -> int:
        """A limit of one listener's own; UNLIMITED: it has none."""
        text = self._config.text_of(f"listener.name.{listener.lower()}.{name}")
        return UNLIMITED if text is None else int(text)

    def _most_of(self, host: str) -> int:
        if self._overrides is None:
            self._overrides = {}
            for entry in self._config.max_connections_per_ip_overrides.split(","):
                name, separator, number = entry.strip().rpartition(":")
                if separator:
                    for address in self._resolve(name.strip("[]")):
                        self._overrides[address] = int(number)
        return self._overrides.get(host, self._config.max_connections_per_ip)


def _addresses_of(name: str) -> Iterable[str]:
    """The addresses of a host, none if nobody knows it; asked once a change of settings, so it may take a while."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return ()
