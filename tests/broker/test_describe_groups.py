"""DescribeGroups: what a client may do to a group is said of groups that exist for it, as Kafka 4.4.0 does it."""

from __future__ import annotations

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from tests.broker.conftest import Running

ALL_OPERATIONS, NOT_SAID = 3400, -(1 << 31)


async def test_operations_are_not_said_beside_an_error(running: Running) -> None:
    request = DescribeGroupsRequest(groups=["none"], include_authorized_operations=True)
    async with await running.client() as client:
        [dead] = (await client.ask(request, 5)).groups
        assert (dead.error_code, dead.group_state, dead.authorized_operations) == (0, "Dead", ALL_OPERATIONS)
        [unknown] = (await client.ask(request, 6)).groups
        assert (unknown.error_code, unknown.authorized_operations) == (ErrorCode.GROUP_ID_NOT_FOUND, NOT_SAID)
