"""Faults on order (broker/faults/): ordered, looked at, waited for and taken back over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from ottla.broker.control.routes import Call, Refused, Route, object_of
from ottla.broker.durations import parse_ms

if TYPE_CHECKING:
    from ottla.broker.faults.fault import Fault
    from ottla.broker.faults.faults import Faults

WAIT_MS: Final = 10_000  # for those who do not say how long
_EXAMPLE: Final = '{"api": "Produce", "topic": "orders", "error": "NOT_LEADER_OR_FOLLOWER", "times": 3}'
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_LENGTH: Final = {"type": ["string", "number"]}
_WHEN: Final = {"type": "string", "enum": ["before", "after"]}
_TAKES: Final = object_of(
    {
        "api": _TEXT,
        "versions": {"type": ["string", "integer"]},
        "topic": _TEXT,
        "partition": _COUNT,
        "group": _TEXT,
        "client_id": _TEXT,
        "connection": _COUNT,
        "node": _COUNT,
        "nth": {"type": "integer", "minimum": 1},
        "probability": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "seed": _COUNT,
        "times": {"type": "integer", "minimum": 1},
        "error": _TEXT,
        "delay": _LENGTH,
        "when": _WHEN,
        "drop": _WHEN,
        "cut": {"type": "number", "minimum": 0},
        "corrupt": {"type": "string", "enum": ["crc"]},
        "throttle": _LENGTH,
        "hold": _WHEN,
        "stale": {"type": "boolean", "enum": [True]},
        "fence": {"type": "string", "enum": ["leader", "producer", "member"]},
    }
)
_RELEASE_TAKES: Final = object_of({"keep": {"type": "boolean"}})
_WAITS: Final = {
    "wait_fired": "wait until it has fired so often",
    "wait_held": "wait until it holds so many requests at once",
    "timeout": "for how long at most, as in 10s, which is the default",
}


def _faults(call: Call) -> Faults:
    from ottla.broker.faults.faults import Faults

    return Faults.of(call.broker)


def _add(call: Call) -> Any:
    from ottla.broker.faults.rules import parse_rule

    try:
        return _faults(call).add(parse_rule(call.body())).shown()
    except ValueError as error:
        raise Refused(str(error)) from None


def _list(call: Call) -> Any:
    return {"faults": [fault.shown() for fault in _faults(call).all()]}


async def _show(call: Call) -> Any:
    fault = _found(call)
    fired, held = _asked_for(call, "wait_fired"), _asked_for(call, "wait_held")
    if fired is None and held is None:
        if "timeout" in call.query:
            raise Refused("timeout belongs to wait_fired or wait_held, as in ?wait_fired=3&timeout=10s")
        return fault.shown()
    try:
        timeout_ms = parse_ms(call.query.get("timeout", WAIT_MS))
    except ValueError as error:
        raise Refused(f"timeout: {error}") from None
    faults = _faults(call)
    try:
        with trio.move_on_after(timeout_ms / 1000):
            if fired is not None:
                await faults.wait_fired(fault.id, fired)
            if held is not None:
                await faults.wait_held(fault.id, held)
            return fault.shown()
    except ValueError as error:
        raise Refused(str(error), 409) from None
    raise Refused(
        f"fault {fault.id} fired {fault.fired} times and holds {len(fault.waiting)} requests after {timeout_ms} ms", 408
    )


def _remove(call: Call) -> Any:
    return _faults(call).remove(_found(call).id).shown()


def _clear(call: Call) -> Any:
    _faults(call).clear()
    return _list(call)


def _release(call: Call) -> Any:
    keep = call.body().get("keep", False)
    if not isinstance(keep, bool):
        raise Refused('keep must be true or false, as in {"keep": true}')
    return _faults(call).release(_found(call).id, keep=keep).shown()


def _found(call: Call) -> Fault:
    try:
        return _faults(call).get(call.number("fault"))
    except ValueError as error:
        raise Refused(str(error), 404) from None


def _asked_for(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Refused(f"{name} takes a number, as in ?{name}=3, not {text!r}")
    return int(text)


ROUTES = (
    Route("GET", "/faults", _list, "All faults, each with how often it fired and what it did."),
    Route("POST", "/faults", _add, f"Order a fault: {_EXAMPLE}.", takes=_TAKES),
    Route("DELETE", "/faults", _clear, "Take all faults back; whom they hold they let go."),
    Route("GET", "/faults/{fault}", _show, "A fault, at once or when it has fired or holds so often.", asks=_WAITS),
    Route("DELETE", "/faults/{fault}", _remove, "Take a fault back; whom it holds it lets go."),
    Route(
        "POST",
        "/faults/{fault}/release",
        _release,
        'Let go whom a fault holds, and hold no more; with {"keep": true} only those that wait now.',
        takes=_RELEASE_TAKES,
    ),
)
