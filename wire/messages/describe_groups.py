"""DescribeGroups, api key 15, versions 0-6, flexible from 5. Sent by group tools."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Message, Struct, field


class DescribeGroupsRequest(Message):
    """Changes by version.

    v3: +include_authorized_operations
    v5: flexible
    """

    KEY = 15
    VALID = (0, 6)
    FLEXIBLE = 5

    groups: list[str] = field("0+")
    include_authorized_operations: bool = field("3+")


class DescribeGroupsResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v3: +DescribedGroup.authorized_operations
    v4: +DescribedGroupMember.group_instance_id
    v5: flexible
    v6: +DescribedGroup.error_message
    """

    KEY = 15
    VALID = (0, 6)
    FLEXIBLE = 5

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    groups: list[DescribedGroup] = field("0+")

    class DescribedGroup(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("6+", nullable="6+", default=None)
        group_id: str = field("0+")
        group_state: str = field("0+")
        protocol_type: str = field("0+")
        protocol_data: str = field("0+")
        members: list[DescribeGroupsResponse.DescribedGroupMember] = field("0+")
        authorized_operations: Int32 = field("3+", default=-2147483648)

    class DescribedGroupMember(Struct):
        member_id: str = field("0+")
        group_instance_id: str | None = field("4+", nullable="4+", default=None, ignorable=True)
        client_id: str = field("0+")
        client_host: str = field("0+")
        member_metadata: bytes = field("0+")
        member_assignment: bytes = field("0+")
