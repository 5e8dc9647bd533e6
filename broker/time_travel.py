"""Time travel: the clock of a broker moved by hand, and what falls due on the way done in order, before it is over.

Where to halt is timers.next_stop's affair; here is what happens at each halt. The clock itself is log/clock.py's.

Clients live in real time: on the way none of them could have said anything. So nobody is listened to until the journey
is over; who waits is answered when his time has come. Else a client that asks again at once, or one that produces while
files are flushed, would bring the next deadline within a second, and a week would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from ottla.broker.clockwork import run_due
from ottla.broker.housekeeping import Housekeeping
from ottla.broker.logs import Log
from ottla.coordinator.timers import Timers
from ottla.log.clock import SteeredClock

if TYPE_CHECKING:
    from ottla.broker.reactor import Driver

LAST_MS: Final = 253_402_300_799_000  # the end of the year 9999: what comes after it has no date


class TimeTravel:
    """Moves, stops and starts the clock of one broker."""

    def __init__(self, clock: SteeredClock, timers: Timers, housekeeping: Housekeeping, log: Log) -> None:
        self.clock = clock
        self._timers = timers
        self._housekeeping = housekeeping
        self._log = log
        self._lock = trio.Lock()  # one journey after the other
        self._travels = False
        self._stands_still_then = False  # when the journey is over
        self.driver: Driver | None = None
        """Drives the connections; given by who opened the sockets, as the next one."""
        self.skipped: Callable[[int], None] | None = None
        """Hears by how many milliseconds the clock was moved. Connections do not grow idle by that: real peers could
        not have spoken meanwhile, and would be cut off in the middle of a test."""

    @property
    def stands_still(self) -> bool:
        """Whether the clock moves only when told."""
        return self._stands_still_then if self._travels else self.clock.stands_still

    def freeze(self) -> None:
        """Let the clock stand still; during a journey, from its end on."""
        self._stands_still_then = True
        if not self._travels:
            self.clock.freeze()

    def resume(self) -> None:
        """Let the clock go on; during a journey, from its end on."""
        self._stands_still_then = False
        if not self._travels:
            self.clock.resume()

    async def advance(self, ms: int) -> None:
        """Move the clock forward by `ms` milliseconds (>= 0): who has sent something is served, and then it goes from
        deadline to deadline. At each the clock says just that time, what is due runs, and what that began in the
        background (files flushed and removed, logs compacted) ends, before it goes on.

        Afterwards it stands still or goes on as before. Raises ValueError.
        """
        if ms < 0:
            raise ValueError("a clock only moves forward: give a length of time of 0 or more")
        clock, timers, driver = self.clock, self._timers, self.driver
        async with self._lock:
            if clock.wall_ms() + ms > LAST_MS:
                raise ValueError("a clock goes to the year 9999; give a shorter length of time")
            self._stands_still_then = clock.stands_still
            clock.freeze()
            self._travels = True
            began_ms = clock.mono_ms()
            target_ms = began_ms + ms
            try:
                if driver is not None:
                    await driver.catch_up()
                    driver.listen(listens=False)
                await self._halt()
                while (stop_ms := timers.next_stop(target_ms)) is not None:
                    clock.move(max(0, stop_ms - clock.mono_ms()))
                    await self._halt()
                clock.move(target_ms - clock.mono_ms())
            finally:
                timers.arrived()
                if self.skipped is not None:
                    self.skipped(clock.mono_ms() - began_ms)
                self._travels = False
                if not self._stands_still_then:
                    clock.resume()
                if driver is not None:
                    driver.listen(listens=True)

    async def _halt(self) -> None:
        await trio.lowlevel.checkpoint()
        run_due(self._timers, self._log)
        driver, housekeeping = self.driver, self._housekeeping
        while True:
            if driver is not None:  # who waited goes on, and may begin something
                await driver.catch_up()
            if housekeeping.rests:
                return
            await housekeeping.rested()
