"""SyncGroup, api key 14, versions 0-5, flexible from 4. Sent by classic consumers."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class SyncGroupRequest(Message):
    """Changes by version.

    v3: +group_instance_id
    v4: flexible
    v5: +protocol_type, +protocol_name
    """

    KEY = 14
    VALID = (0, 5)
    FLEXIBLE = 4

    group_id: str = field("0+")
    generation_id: Int32 = field("0+")
    member_id: str = field("0+")
    group_instance_id: str | None = field("3+", nullable="3+", default=None)
    protocol_type: str | None = field("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = field("5+", nullable="5+", default=None, ignorable=True)
    assignments: list[SyncGroupRequestAssignment] = field("0+")

    class SyncGroupRequestAssignment(Struct):
        member_id: str = field("0+")
        assignment: bytes = field("0+")


class SyncGroupResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v4: flexible
    v5: +protocol_type, +protocol_name
    """

    KEY = 14
    VALID = (0, 5)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("0+")
    protocol_type: str | None = field("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = field("5+", nullable="5+", default=None, ignorable=True)
    assignment: bytes = field("0+")
