"""LeaveGroup, api key 13, versions 0-5, flexible from 4.

Sent by classic consumers on close, admin clients (remove members).
"""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class LeaveGroupRequest(Message):
    """Changes by version.

    v3: -member_id, +members
    v4: flexible
    v5: +MemberIdentity.reason
    """

    KEY = 13
    VALID = (0, 5)
    FLEXIBLE = 4

    group_id: str = field("0+")
    member_id: str = field("0-2")
    members: list[MemberIdentity] = field("3+")

    class MemberIdentity(Struct):
        member_id: str = field("3+")
        group_instance_id: str | None = field("3+", nullable="3+", default=None)
        reason: str | None = field("5+", nullable="5+", default=None, ignorable=True)


class LeaveGroupResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v3: +members
    v4: flexible
    """

    KEY = 13
    VALID = (0, 5)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("0+")
    members: list[MemberResponse] = field("3+")

    class MemberResponse(Struct):
        member_id: str = field("3+")
        group_instance_id: str | None = field("3+", nullable="3+")
        error_code: Int16 = field("3+")
