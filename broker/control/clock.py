"""The clock of the broker, as time_travel.py moves it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ottla.broker.control.routes import Call, Refused, Route, object_of
from ottla.broker.durations import parse_ms

if TYPE_CHECKING:
    from ottla.broker.time_travel import TimeTravel

_LENGTH = '{"by": "7d"}'
_TAKES = object_of({"by": {"type": ["string", "number"]}}, required=("by",))


def _time(call: Call) -> TimeTravel:
    if call.broker.time is None:
        raise Refused("the clock of this broker cannot be moved: it was started with one of its own", 409)
    return call.broker.time


def _show(call: Call) -> Any:
    time = _time(call)
    now_ms = time.clock.wall_ms()
    return {
        "now": datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "wall_ms": now_ms,
        "frozen": time.stands_still,
    }


async def _advance(call: Call) -> Any:
    time = _time(call)
    try:
        by_ms = parse_ms(call.field("by", object, _LENGTH))
        await time.advance(by_ms)
    except ValueError as error:
        raise Refused(str(error)) from None
    return _show(call)


def _freeze(call: Call) -> Any:
    _time(call).freeze()
    return _show(call)


def _resume(call: Call) -> Any:
    _time(call).resume()
    return _show(call)


ROUTES = (
    Route("GET", "/clock", _show, "What time it is for the broker, and whether its clock stands still."),
    Route("POST", "/clock/advance", _advance, f"Move the clock, and do what falls due: {_LENGTH}.", takes=_TAKES),
    Route("POST", "/clock/freeze", _freeze, "Let the clock stand still until it is moved."),
    Route("POST", "/clock/resume", _resume, "Let the clock go on."),
)
