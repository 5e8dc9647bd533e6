"""Rebalances on a string, as tests hold it: `broker.rebalances`. The orders are broker/rebalances.py's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ottla.broker.rebalances import Rebalances
from ottla.testing.watch import WaitTimeoutError

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.group_views import GroupView

T = TypeVar("T")
Assignment = Mapping[str, Mapping[str, Sequence[int]]]
"""Member (member id, instance id or client id) -> topic -> partitions."""


Where = Callable[["GroupView"], bool]


def _is_so(
    view: GroupView, state: str | None, members: int | None, assigned: Assignment | None, where: Where | None
) -> bool:
    """`assigned`: by member id, instance id or client id."""
    if state is not None and view.state.lower() != state.lower():
        return False
    if members is not None and len(view.members) != members:
        return False
    for name, topics in (assigned or {}).items():
        meant = [one for one in view.members if name in (one.id, one.instance_id, one.client_id)]
        wanted = {topic: tuple(sorted(indexes)) for topic, indexes in topics.items() if indexes}
        if not any(one.assigned == wanted for one in meant):
            return False
    return where is None or where(view)


async def _wait(
    orders: Rebalances,
    group: str,
    state: str | None,
    members: int | None,
    assigned: Assignment | None,
    where: Where | None,
    timeout_s: float,
) -> GroupView:
    with trio.move_on_after(timeout_s):
        return await orders.wait(group, lambda view: _is_so(view, state, members, assigned, where))
    there = orders.groups().get(group)
    told = "it is not there" if there is None else f"it is {there.state}, with members {list(there.members)}"
    wanted = {"state": state, "members": members, "assigned": assigned}
    said = ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
    raise WaitTimeoutError(f"the group {group} was not so within {timeout_s:g} s: {said}; {told}")


class GroupStrings:
    """For plain code, from any thread. Raises KafkaError for what cannot be done, ValueError for what has no sense."""

    def __init__(
        self,
        broker: Broker,
        call: Callable[[Callable[[], Any]], Any],
        wait: Callable[[Callable[[], Awaitable[Any]]], Any],
    ) -> None:
        """`call` runs a function in the broker's loop, `wait` an async one."""
        self._orders = Rebalances(broker)
        self._call = call
        self._wait = wait

    def group(self, group: str) -> GroupView:
        """The group as it is now. Raises KafkaError GROUP_ID_NOT_FOUND."""
        view: GroupView = self._call(partial(self._orders.group, group))
        return view

    def kick(self, group: str, member: str) -> str:
        """As Rebalances.kick."""
        member_id: str = self._call(partial(self._orders.kick, group, member))
        return member_id

    def fence(self, group: str, member: str) -> str:
        """As Rebalances.fence; returns what the member will hear, as FENCED_MEMBER_EPOCH."""
        hears: str = self._call(partial(self._orders.fence, group, member))[1]
        return hears

    def force(self, group: str) -> None:
        """Let the group rebalance."""
        self._call(partial(self._orders.rebalance, group))

    def pin(self, group: str, assignment: Assignment) -> None:
        """As Rebalances.pin: {member id, instance id or client id: {topic: partitions}}."""
        self._call(partial(self._orders.pin, group, assignment))

    def unpin(self, group: str) -> None:
        """Assignors decide again."""
        self._call(partial(self._orders.unpin, group))

    def move_coordinator(self, group: str, node: int | None = None) -> int:
        """As Rebalances.move_coordinator."""
        there: int = self._call(partial(self._orders.move_coordinator, group, node))
        return there

    def wait_for(
        self,
        group: str,
        *,
        state: str | None = "Stable",
        members: int | None = None,
        assigned: Assignment | None = None,
        where: Where | None = None,
        timeout_s: float = 10.0,
    ) -> GroupView:
        """The group once it is in that state, has so many members, they have just those partitions, and `where` is true
        of it. Looked at again when it changes, not from time to time. Raises WaitTimeoutError, and what `where` raises.

        The broker knows an assignment before a consumer's listener is called.
        """
        view: GroupView = self._wait(partial(_wait, self._orders, group, state, members, assigned, where, timeout_s))
        return view


class AsyncGroupStrings(Rebalances):
    """For a trio program: the orders as they are, and `wait_for`."""

    async def wait_for(
        self,
        group: str,
        *,
        state: str | None = "Stable",
        members: int | None = None,
        assigned: Assignment | None = None,
        where: Where | None = None,
    ) -> GroupView:
        """As GroupStrings.wait_for; for how long is the caller's, by a cancel scope."""
        return await _wait(self, group, state, members, assigned, where, float("inf"))
