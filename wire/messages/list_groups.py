"""ListGroups, api key 16, versions 0-5, flexible from 3. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class ListGroupsRequest(Message):
    """Changes by version.

    v3: flexible
    v4: +states_filter
    v5: +types_filter
    """

    KEY = 16
    VALID = (0, 5)
    FLEXIBLE = 3

    states_filter: list[str] = field("4+")
    types_filter: list[str] = field("5+")


class ListGroupsResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v3: flexible
    v4: +ListedGroup.group_state
    v5: +ListedGroup.group_type
    """

    KEY = 16
    VALID = (0, 5)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("0+")
    groups: list[ListedGroup] = field("0+")

    class ListedGroup(Struct):
        group_id: str = field("0+")
        protocol_type: str = field("0+")
        group_state: str = field("4+", ignorable=True)
        group_type: str = field("5+", ignorable=True)
