"""Consumer groups, and their rebalances on a string: rebalances.py's orders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import trio

from ottla.broker.control.routes import Call, Refused, Route, object_of
from ottla.broker.durations import parse_ms
from ottla.broker.group_views import GroupView
from ottla.broker.rebalances import EXAMPLE, Rebalances

_TIMEOUT: Final = "10s"
_ASKS: Final = {
    "wait": "answer when the group is in this state, as Stable or Empty",
    "members": "answer when the group has so many members",
    "timeout": f"for how long that is waited for, {_TIMEOUT} if not said",
}
_TAKES_PIN: Final = object_of(
    {
        "assignment": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            },
        }
    },
    required=("assignment",),
)
_TAKES_NODE: Final = object_of({"node": {"type": "integer"}})


def _orders(call: Call) -> Rebalances:
    return Rebalances(call.broker)


def _shown(call: Call, view: GroupView) -> Any:
    return {**asdict(view), "lag": view.lag, "pinned": _orders(call).pinned(view.id)}


def _groups(call: Call) -> Any:
    return {"groups": [_shown(call, view) for view in _orders(call).groups().values()]}


async def _group(call: Call) -> Any:
    group, orders = call.params["group"], _orders(call)
    holds = _condition(call)
    if holds is None:
        return _shown(call, orders.group(group))
    try:
        timeout_ms = parse_ms(call.query.get("timeout", _TIMEOUT))
    except ValueError as error:
        raise Refused(str(error)) from None
    with trio.move_on_after(timeout_ms / 1000):
        return _shown(call, await orders.wait(group, holds))
    there = orders.groups().get(group)
    now = "it is not there" if there is None else f"it is {there.state} with {len(there.members)} members"
    raise Refused(f"the group {group} did not come to be so: {now}", 408)


def _condition(call: Call) -> Callable[[GroupView], bool] | None:
    state, members = call.query.get("wait"), call.query.get("members")
    if state is None and members is None:
        return None
    if members is not None and not (members.isascii() and members.isdecimal()):
        raise Refused(f"members={members}: give a number")
    return lambda view: (
        (state is None or view.state.lower() == state.lower())
        and (members is None or len(view.members) == int(members))
    )


def _told(call: Call) -> Any:
    return _shown(call, _orders(call).group(call.params["group"]))


def _rebalance(call: Call) -> Any:
    _orders(call).rebalance(call.params["group"])
    return _told(call)


def _kick(call: Call) -> Any:
    return {"kicked": _orders(call).kick(call.params["group"], call.params["member"])}


def _fence(call: Call) -> Any:
    member, hears = _orders(call).fence(call.params["group"], call.params["member"])
    return {"fenced": member, "hears": hears}


def _pin(call: Call) -> Any:
    assignment = call.field("assignment", dict, f'{{"assignment": {EXAMPLE}}}')
    try:
        _orders(call).pin(call.params["group"], assignment)
    except ValueError as error:
        raise Refused(str(error)) from None
    return {"group": call.params["group"], "pinned": _orders(call).pinned(call.params["group"])}


def _unpin(call: Call) -> Any:
    _orders(call).unpin(call.params["group"])
    return {"group": call.params["group"], "pinned": {}}


def _move(call: Call) -> Any:
    node = call.field("node", int, '{"node": 2}') if "node" in call.body() else None
    group = call.params["group"]
    return {"group": group, "coordinator": _orders(call).move_coordinator(group, node)}


ROUTES = (
    Route("GET", "/groups", _groups, "Every group: state, members with what they have, committed offsets, lag."),
    Route("GET", "/groups/{group}", _group, "One group, or the moment when it is so.", asks=_ASKS),
    Route("POST", "/groups/{group}/rebalance", _rebalance, "Let the group rebalance."),
    Route(
        "POST",
        "/groups/{group}/members/{member}/kick",
        _kick,
        "Remove a member, by its member id, instance id or client id: it hears UNKNOWN_MEMBER_ID.",
    ),
    Route(
        "POST",
        "/groups/{group}/members/{member}/fence",
        _fence,
        "Make a member's next words outdated; the answer says what it will hear.",
    ),
    Route(
        "POST",
        "/groups/{group}/pin",
        _pin,
        f'Pin who has what, whatever assignors say: {{"assignment": {EXAMPLE}}}.',
        takes=_TAKES_PIN,
    ),
    Route("DELETE", "/groups/{group}/pin", _unpin, "Let assignors decide again."),
    Route(
        "POST",
        "/groups/{group}/coordinator",
        _move,
        'Move the coordinator of a group: {"node": 2}; without a node away and back.',
        takes=_TAKES_NODE,
    ),
)
