"""Fetch sessions (KIP-227): what a client follows, remembered, so that its requests name only what changed.

Decides which partitions a Fetch is about and which of them are news. Reads no log and builds no response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.log.clock import Clock
from ottla.log.ids import Ids
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.wire.messages.fetch import FetchRequest

INITIAL_EPOCH, FINAL_EPOCH = 0, -1
MIN_EVICTION_MS = 120_000  # an entry younger than this is never evicted for a better one
_LAST_EPOCH = (1 << 31) - 1

Key = tuple[str | bytes, int]  # (topic name, or its id from v13 on; partition)


class FetchTarget:
    """One partition of a Fetch: where the client is, how much it takes, and what it was told last."""

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "index",
        "last_fetched_epoch",
        "max_bytes",
        "sent_high_watermark",
        "sent_log_start",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: bytes, wanted: FetchRequest.FetchPartition) -> None:
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


class FetchSession:
    """The partitions one client follows, in the order in which they are served next."""

    __slots__ = ("by_id", "created_ms", "epoch", "id", "targets", "used_ms")

    def __init__(self, session_id: int, by_id: bool, targets: dict[Key, FetchTarget], now_ms: int) -> None:
        self.id = session_id
        self.by_id = by_id
        self.targets = targets
        self.epoch = 1
        self.created_ms = now_ms
        self.used_ms = now_ms

    def is_news(self, target: FetchTarget, high_watermark: int, log_start: int, has_more: bool) -> bool:
        """Whether an incremental answer must name `target`; remembers what it says. `has_more`: records or an error."""
        told = high_watermark == target.sent_high_watermark and log_start == target.sent_log_start
        target.sent_high_watermark, target.sent_log_start = high_watermark, log_start
        return has_more or not told

    def served(self, key: Key) -> None:
        """Records of `key` went out: it goes to the end, so that no partition starves."""
        self.targets[key] = self.targets.pop(key)


class FetchSessions:
    """The cache of sessions of one node, `slots` at most."""

    def __init__(self, slots: int, *, clock: Clock, ids: Ids) -> None:
        self._slots = slots
        self._clock = clock
        self._ids = ids
        self._sessions: dict[int, FetchSession] = {}  # least recently used first

    def clear(self) -> None:
        """The node went down: nobody's session is known any more."""
        self._sessions.clear()

    def resolve(self, request: FetchRequest, version: int) -> tuple[FetchSession | None, dict[Key, FetchTarget], bool]:
        """(the session, its partitions, whether the answer is incremental).

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
        """
        by_id = version >= 13
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._sessions.pop(request.session_id, None)
            targets = _targets(request, by_id)
            if request.session_epoch == FINAL_EPOCH:
                return None, targets, False
            return self._new_session(by_id, targets), targets, False
        session = self._sessions.get(request.session_id)
        if session is None:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.by_id != by_id:
            raise KafkaError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        self._update(session, request)
        if not session.targets:
            del self._sessions[session.id]
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
                    targets[key] = FetchTarget(wanted_topic.topic, wanted_topic.topic_id, wanted)
                else:
                    target.update(wanted)
        for topic in request.forgotten_topics_data:
            for index in topic.partitions:
                targets.pop((topic.topic_id if by_id else topic.topic, index), None)

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
            del self._sessions[oldest.id]
            return True
        smallest = min(self._sessions.values(), key=lambda session: (len(session.targets), session.used_ms))
        if now_ms - smallest.created_ms > MIN_EVICTION_MS and len(smallest.targets) < newcomer_size:
            del self._sessions[smallest.id]
            return True
        return False


def _targets(request: FetchRequest, by_id: bool) -> dict[Key, FetchTarget]:
    return {
        (topic.topic_id if by_id else topic.topic, wanted.partition): FetchTarget(topic.topic, topic.topic_id, wanted)
        for topic in request.topics
        for wanted in topic.partitions
    }
