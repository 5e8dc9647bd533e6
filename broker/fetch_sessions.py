"""Fetch sessions (KIP-227): what a client follows, remembered, so that its requests name only what changed.

Decides which partitions a Fetch is about, which it must look at and which are news. Reads no log and builds no
response.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.cluster import Partition
    from ottla.broker.waiting import ByteWaiter
    from ottla.wire.messages.fetch import FetchRequest

INITIAL_EPOCH, FINAL_EPOCH = 0, -1
MIN_EVICTION_MS = 120_000  # an entry younger than this is never evicted for a better one
_LAST_EPOCH = (1 << 31) - 1

Key = tuple[str | bytes, int]  # (topic name, or its id from v13 on; partition)
_in_turn = attrgetter("place")


class FetchTarget:
    """One partition of a Fetch: where the client is, how much it takes, and what it was told last.

    In a session it may rest: it had nothing to tell and stands in its partition's `resting` until something happens
    there.
    """

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "index",
        "key",
        "last_fetched_epoch",
        "max_bytes",
        "place",
        "rests_at",
        "sent_high_watermark",
        "sent_log_start",
        "session",
        "topic",
        "topic_id",
    )

    def __init__(self, key: Key, topic: str, topic_id: bytes, wanted: FetchRequest.FetchPartition) -> None:
        self.key = key
        self.place = 0  # among its session's: who has the lowest is served first
        self.session: FetchSession | None = None
        self.rests_at: Partition | None = None
        self.topic = topic
        self.topic_id = topic_id
        self.index = wanted.partition
        self.sent_high_watermark = -1
        self.sent_log_start = -1
        self.update(wanted)

    def update(self, wanted: FetchRequest.FetchPartition) -> None:
        self.fetch_offset = wanted.fetch_offset
        self.max_bytes = wanted.partition_max_bytes
        self.current_leader_epoch = wanted.current_leader_epoch
        self.last_fetched_epoch = wanted.last_fetched_epoch

    def stir(self) -> None:
        """It rests no more: the next look is at it, and a Fetch of its session that waits now waits for it too."""
        partition, session = self.rests_at, self.session
        if partition is None or session is None:
            return
        self.rests_at = None
        partition.resting.discard(self)
        session.restless.add(self)
        for waiter in tuple(session.waiters):
            waiter.watch(partition, self.fetch_offset, self.max_bytes)


class FetchSession:
    """The partitions one client follows. Only those that do not rest cost a Fetch anything: an append to one
    of 1,000 and the two fetches that tell of it cost 30 us instead of 3.6 ms.
    """

    __slots__ = (
        "_closed",
        "_looked_under",
        "_places",
        "by_id",
        "created_ms",
        "epoch",
        "id",
        "restless",
        "targets",
        "used_ms",
        "waiters",
    )

    def __init__(self, session_id: int, by_id: bool, targets: dict[Key, FetchTarget], now_ms: int) -> None:
        self.id = session_id
        self.by_id = by_id
        self.targets: dict[Key, FetchTarget] = {}
        self.restless: set[FetchTarget] = set()  # the others rest
        self.waiters: set[ByteWaiter] = set()  # of its fetches that wait
        self.epoch = 1
        self.created_ms = now_ms
        self.used_ms = now_ms
        self._closed = False
        self._looked_under: object = None
        self._places = 0
        for target in targets.values():
            self.add(target)

    def add(self, target: FetchTarget) -> None:
        """Follow one more, served last."""
        target.session = self
        self.targets[target.key] = target
        self.restless.add(target)
        self.served(target)

    def forget(self, key: Key) -> None:
        """Follow it no more; a no-op for one that nobody followed."""
        target = self.targets.pop(key, None)
        if target is not None:
            target.stir()
            target.session = None
            self.restless.discard(target)

    def close(self) -> None:
        """Nothing rests any more, ever: no partition remembers the session."""
        self._closed = True
        self._stir_all()

    def _stir_all(self) -> None:
        for target in self.targets.values():
            target.stir()

    def to_look_at(self, everything: bool, conditions: object) -> list[FetchTarget]:
        """Those that may have something to tell, or all, in their turn. `conditions`: whatever else an answer hangs on;
        when it is another one than last time, nothing rests.
        """
        if conditions != self._looked_under:
            self._looked_under = conditions
            self._stir_all()
        chosen: Iterable[FetchTarget] = self.targets.values() if everything else self.restless
        return sorted(chosen, key=_in_turn)

    def rest(self, target: FetchTarget, partition: Partition) -> None:
        """Do not look at `target`, which has no more to tell, before something happens to `partition`."""
        if target.rests_at is None and target.session is self and not self._closed:
            target.rests_at = partition
            partition.resting.add(target)
            self.restless.discard(target)

    def is_news(self, target: FetchTarget, high_watermark: int, log_start: int, has_more: bool) -> bool:
        """Whether an incremental answer must name `target`; remembers what it says. `has_more`: records or an error."""
        told = high_watermark == target.sent_high_watermark and log_start == target.sent_log_start
        target.sent_high_watermark, target.sent_log_start = high_watermark, log_start
        return has_more or not told

    def served(self, target: FetchTarget) -> None:
        """Its records went out: it goes to the end, so that no partition starves."""
        self._places += 1
        target.place = self._places


class FetchSessions:
    """The cache of sessions of one node, `slots` at most."""

    def __init__(self, slots: int, *, clock: Clock, ids: Ids) -> None:
        self._slots = slots
        self._clock = clock
        self._ids = ids
        self._sessions: dict[int, FetchSession] = {}  # least recently used first

    def clear(self) -> None:
        """The node went down: nobody's session is known any more."""
        for session_id in list(self._sessions):
            self._drop(session_id)

    def known(self, session_id: int) -> FetchSession | None:
        """The session, for whoever looks at what a client follows."""
        return self._sessions.get(session_id)

    def _drop(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close()

    def resolve(self, request: FetchRequest, version: int) -> tuple[FetchSession | None, dict[Key, FetchTarget], bool]:
        """(the session, its partitions, whether the answer is incremental).

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
        """
        by_id = version >= 13
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._drop(request.session_id)
            targets = _targets(request, by_id)
            if request.session_epoch == FINAL_EPOCH:
                return None, targets, False
            session = self._new_session(by_id, targets)
            return session, targets if session is None else session.targets, False
        session = self._sessions.get(request.session_id)
        if session is None:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.by_id != by_id:
            raise KafkaError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        self._update(session, request)
        if not session.targets:
            self._drop(session.id)
            return None, session.targets, True
        session.epoch = 1 if session.epoch == _LAST_EPOCH else session.epoch + 1
        session.used_ms = self._clock.mono_ms()
        self._sessions[session.id] = self._sessions.pop(session.id)
        return session, session.targets, True

    def _update(self, session: FetchSession, request: FetchRequest) -> None:
        by_id, targets = session.by_id, session.targets
        for wanted_topic in request.topics:
            for wanted in wanted_topic.partitions:
                key = (wanted_topic.topic_id if by_id else wanted_topic.topic, wanted.partition)
                target = targets.get(key)
                if target is None:
                    session.add(FetchTarget(key, wanted_topic.topic, wanted_topic.topic_id, wanted))
                else:
                    target.stir()
                    target.update(wanted)
        for topic in request.forgotten_topics_data:
            for index in topic.partitions:
                session.forget((topic.topic_id if by_id else topic.topic, index))

    def _new_session(self, by_id: bool, targets: dict[Key, FetchTarget]) -> FetchSession | None:
        now_ms = self._clock.mono_ms()
        if len(self._sessions) >= self._slots and not self._evict(now_ms, len(targets)):
            return None
        session_id = 1 + self._ids.below(_LAST_EPOCH - 1)
        while session_id in self._sessions:
            session_id = 1 + self._ids.below(_LAST_EPOCH - 1)
        session = FetchSession(session_id, by_id, targets, now_ms)
        self._sessions[session_id] = session
        return session

    def _evict(self, now_ms: int, newcomer_size: int) -> bool:
        """Make room: the least recently used if idle, else an old one that follows fewer partitions than the
        newcomer.
        """
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        if now_ms - oldest.used_ms > MIN_EVICTION_MS:
            self._drop(oldest.id)
            return True
        smallest = min(self._sessions.values(), key=lambda session: (len(session.targets), session.used_ms))
        if now_ms - smallest.created_ms > MIN_EVICTION_MS and len(smallest.targets) < newcomer_size:
            self._drop(smallest.id)
            return True
        return False


def _targets(request: FetchRequest, by_id: bool) -> dict[Key, FetchTarget]:
    targets: dict[Key, FetchTarget] = {}
    for topic in request.topics:
        named = topic.topic_id if by_id else topic.topic
        for wanted in topic.partitions:
            key = (named, wanted.partition)
            targets[key] = FetchTarget(key, topic.topic, topic.topic_id, wanted)
    return targets
