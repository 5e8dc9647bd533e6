"""RemoveRaftVoter, api key 81, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Uuid, field


class RemoveRaftVoterRequest(Message):
    """One version."""

    KEY = 81
    VALID = (0, 0)
    FLEXIBLE = 0

    cluster_id: str | None = field("0+", nullable="0+")
    voter_id: Int32 = field("0+")
    voter_directory_id: Uuid = field("0+")


class RemoveRaftVoterResponse(Message):
    """One version."""

    KEY = 81
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", ignorable=True)
