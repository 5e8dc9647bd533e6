"""AddRaftVoter, api key 80, versions 0-1, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, Uint16, Uuid, field


class AddRaftVoterRequest(Message):
    """Changes by version.

    v1: +ack_when_committed
    """

    KEY = 80
    VALID = (0, 1)
    FLEXIBLE = 0

    cluster_id: str | None = field("0+", nullable="0+")
    timeout_ms: Int32 = field("0+")
    voter_id: Int32 = field("0+")
    voter_directory_id: Uuid = field("0+")
    listeners: list[Listener] = field("0+")
    ack_when_committed: bool = field("1+", default=True)

    class Listener(Struct):
        name: str = field("0+")
        host: str = field("0+")
        port: Uint16 = field("0+")


class AddRaftVoterResponse(Message):
    """The same fields in all versions."""

    KEY = 80
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+", ignorable=True)
