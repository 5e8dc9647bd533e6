"""Drives the heap of deadlines (coordinator/timers.py) with trio: the only place that sleeps until a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ottla.broker.logs import Log
from ottla.coordinator.timers import Timers
from ottla.log.clock import Clock


async def drive(timers: Timers, clock: Clock, log: Log, catch_up: Callable[[], Awaitable[None]]) -> None:
    """Run timers as they fall due, for ever. One that raises is logged; the others, and the broker, go on.

    `catch_up` serves whoever can be served now: after a stall (SIGSTOP, a closed lid) heartbeats may wait in the
    sockets, and they come first.
    """
    changed = trio.Event()

    def earlier() -> None:
        changed.set()

    timers.on_earlier = earlier
    clock.on_change(earlier)
    while True:
        deadline_ms = timers.next_deadline_ms()
        left_ms = float("inf") if deadline_ms is None else max(0, deadline_ms - clock.mono_ms())
        wait_s = float("inf") if left_ms and clock.stands_still else left_ms / 1000
        with trio.move_on_after(wait_s):
            await changed.wait()
        changed = trio.Event()
        await catch_up()
        run_due(timers, log)


def run_due(timers: Timers, log: Log) -> None:
    """What is due now; what is not, and what is due after one that raises, stays."""
    try:
        timers.run_due()
    except Exception as error:
        log.error("timer failed", error)
