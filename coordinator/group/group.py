"""What committed offsets, listings and deletions ask of a group, whichever protocol its members speak.

`ClassicGroup` and `ConsumerGroup` both fit; what only one of them knows is not here.
"""

from __future__ import annotations

from typing import Protocol

from ottla.wire.errors import ErrorCode


class Group(Protocol):
    """One group as its offsets see it. Nothing here changes it."""

    group_id: str

    @property
    def group_type(self) -> str:
        """ "classic" or "consumer", as ListGroups names it."""
        ...

    @property
    def protocol_type(self) -> str | None:
        """What its members call themselves; None for a group that only commits."""
        ...

    @property
    def state_name(self) -> str:
        """Kafka's name of the state, as clients see it."""
        ...

    @property
    def is_empty(self) -> bool:
        """Nobody is in: it may be deleted."""
        ...

    @property
    def may_expire(self) -> bool:
        """Whether it may go once it has no offsets left."""
        ...

    def check_commit(
        self, member_id: str, instance_id: str | None, epoch: int, version: int, *, transactional: bool = False
    ) -> ErrorCode:
        """Whether these may commit at all; `epoch` is the generation or member epoch, `version` that of OffsetCommit
        or TxnOffsetCommit.
        """
        ...

    def check_commit_of(self, member_id: str, epoch: int, topic_id: bytes, partition: int) -> ErrorCode:
        """Whether one who may commit may do so for this partition (KIP-1251)."""
        ...

    def check_fetch(self, member_id: str | None, epoch: int) -> ErrorCode:
        """Whether these may fetch offsets (KIP-848)."""
        ...

    def check_delete_offsets(self) -> ErrorCode:
        """Whether offsets of topics that nobody reads may be deleted."""
        ...

    def subscribed_topics(self) -> set[str] | None:
        """Topics that its members read; None if that cannot be known: then all are taken to be read."""
        ...

    def retention_start_ms(self, commit_timestamp_ms: int) -> int | None:
        """From when (wall clock) an offset's retention counts; None while it does not expire."""
        ...
