"""DeleteGroups, api key 42, versions 0-3, flexible from 2. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class DeleteGroupsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 42
    VALID = (0, 3)
    FLEXIBLE = 2

    groups_names: list[str] = field("0+")


class DeleteGroupsResponse(Message):
    """Changes by version.

    v2: flexible
    v3: +DeletableGroupResult.error_message
    """

    KEY = 42
    VALID = (0, 3)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    results: list[DeletableGroupResult] = field("0+")

    class DeletableGroupResult(Struct):
        group_id: str = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("3+", nullable="3+", default=None, ignorable=True)
