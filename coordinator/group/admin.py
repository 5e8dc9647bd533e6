"""What DescribeGroups says of a classic group, ListGroups and DeleteGroups of any. Reads only."""

from __future__ import annotations

from collections.abc import Container, Iterable

from ottla.coordinator.group.classic import ClassicGroup, GroupState
from ottla.coordinator.group.group import Group
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.delete_groups import DeleteGroupsResponse
from ottla.wire.messages.describe_groups import DescribeGroupsResponse
from ottla.wire.messages.list_groups import ListGroupsResponse

_GROUP_ID_NOT_FOUND_FROM = 6


def describe(group_id: str, group: ClassicGroup | None, version: int) -> DescribeGroupsResponse.DescribedGroup:
    """One group; an unknown one is "Dead" (version 6 on: GROUP_ID_NOT_FOUND too)."""
    if group is None:
        unknown = DescribeGroupsResponse.DescribedGroup(group_id=group_id, group_state=GroupState.DEAD.value)
        if version >= _GROUP_ID_NOT_FOUND_FROM:
            unknown.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            unknown.error_message = f"Group {group_id} not found."
        return unknown
    stable = group.state is GroupState.STABLE
    return DescribeGroupsResponse.DescribedGroup(
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol_name or "") if stable else "",
        members=[
            DescribeGroupsResponse.DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata(group.protocol_name) if stable else b"",
                member_assignment=group.assignment(member.member_id),
            )
            for member in group.members.values()
        ],
    )


def listed(
    groups: Iterable[Group], states: Container[str], types: Container[str]
) -> list[ListGroupsResponse.ListedGroup]:
    """Groups in one of the `states` and of one of the `types`, both in lower case; an empty filter lets all pass."""
    return [
        ListGroupsResponse.ListedGroup(
            group_id=group.group_id,
            protocol_type=group.protocol_type or "",
            group_state=group.state_name,
            group_type=group.group_type,
        )
        for group in groups
        if (not types or group.group_type in types) and (not states or group.state_name.lower() in states)
    ]


def check_delete(group: Group | None) -> ErrorCode:
    """Whether a group may be deleted: it exists and has no members."""
    if group is None:
        return ErrorCode.GROUP_ID_NOT_FOUND
    return ErrorCode.NONE if group.is_empty else ErrorCode.NON_EMPTY_GROUP


_DELETE_TEXTS = {
    ErrorCode.GROUP_ID_NOT_FOUND: "The group does not exist.",
    ErrorCode.NON_EMPTY_GROUP: "The group has members.",
}


def deleted(group_id: str, code: ErrorCode) -> DeleteGroupsResponse.DeletableGroupResult:
    """One answer of DeleteGroups."""
    text = None if code is ErrorCode.NONE else _DELETE_TEXTS.get(code, code.name)
    return DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=code, error_message=text)
