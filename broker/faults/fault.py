"""A fault as it is carried out, with what came of it so far, and a request as rules look at it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import trio

from ottla.broker.faults.layouts import groups_in, topics_in
from ottla.broker.faults.rules import Rule, shown
from ottla.wire.apis import ApiKey

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context
    from ottla.broker.faults.stale import StaleMetadata
    from ottla.broker.fetch_sessions import FetchSession
    from ottla.log.door import Pending

KEPT: Final = 1000  # firings, of each rule


class UnknownFaultError(ValueError):
    """There is no such fault."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that a rule fired. `number`: from 1; `seen`: at which of the requests that it is about, from 1;
    `partitions`: those it was about, where it names some."""

    number: int
    seen: int
    time_ms: int
    api: str
    version: int
    node: int
    connection: int
    client_id: str
    partitions: tuple[str, ...]
    did: str

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "n": self.number,
            "seen": self.seen,
            "time_ms": self.time_ms,
            "api": self.api,
            "version": self.version,
            "node": self.node,
            "connection": self.connection,
            "client_id": self.client_id,
            "partitions": list(self.partitions),
            "did": self.did,
        }


class Fault:
    """A rule as it is carried out. `seen`: requests that it was about; `log`: the latest firings; `waiting`: requests
    that it keeps, by what they wait for.
    """

    __slots__ = ("changed", "ended", "fired", "id", "log", "removed", "rule", "seen", "stale", "waiting")

    def __init__(self, number: int, rule: Rule) -> None:
        self.id = number
        self.rule = rule
        self.seen = 0
        self.fired = 0
        self.log: deque[Firing] = deque(maxlen=KEPT)
        self.waiting: dict[Pending[None], None] = {}
        self.ended = False  # it fires no more, whatever its rule says
        self.removed = False
        self.stale: StaleMetadata | None = None
        self.changed = trio.Event()

    @property
    def is_over(self) -> bool:
        """Whether it never fires again."""
        return self.ended or self.rule.is_spent(self.fired)

    def shown(self) -> dict[str, Any]:
        """As JSON: the rule, and what came of it."""
        rule = self.rule
        if rule.probability < 1 and rule.seed is None:
            rule = replace(rule, seed=self.id)
        return {
            "id": self.id,
            **shown(rule),
            "seen": self.seen,
            "fired": self.fired,
            "held": len(self.waiting),
            "over": self.is_over,
            "log": [firing.shown() for firing in self.log],
        }

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        self.changed.set()
        self.changed = trio.Event()


class Request:
    """A request as rules look at it (rules.Asked)."""

    def __init__(self, broker: Broker, context: Context) -> None:
        self._broker = broker
        self.context = context
        self.key = context.api_key
        self.version = context.api_version
        self.client_id = context.client_id
        self.connection = context.connection.number
        self.node = context.node.id

    @cached_property
    def topics(self) -> Mapping[str, Sequence[int] | None]:
        request = self.context.request
        found = topics_in(self.key, self.version, request, self._broker.cluster)
        session = self.session
        if session is not None:  # a Fetch names what is new only
            for name, index in _followed(session, request, self._broker):
                indexes = found.setdefault(name, [])
                if indexes is not None and index not in indexes:
                    indexes.append(index)
        return found

    @cached_property
    def groups(self) -> frozenset[str]:
        return groups_in(self.key, self.version, self.context.request)

    @cached_property
    def session(self) -> FetchSession | None:
        """The session that a Fetch goes on with."""
        request = self.context.request
        if self.key != ApiKey.FETCH or request.session_epoch <= 0:
            return None
        return self.context.node.fetch_sessions.known(request.session_id)


def _followed(session: FetchSession, request: Any, broker: Broker) -> list[tuple[str, int]]:
    """What the session of a Fetch follows, without what the request has it forget."""
    forgotten = {
        (topic.topic_id if session.by_id else topic.topic, index)
        for topic in request.forgotten_topics_data
        for index in topic.partitions
    }
    return [
        (name, target.index)
        for key, target in session.targets.items()
        if key not in forgotten and (name := name_of(key[0], broker)) is not None
    ]


def name_of(name_or_id: str | bytes, broker: Broker) -> str | None:
    """Of a topic, however a session names it; None: it is gone."""
    return broker.cluster.name_of(name_or_id) if isinstance(name_or_id, bytes) else name_or_id
