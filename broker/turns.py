"""Long work in bounded turns: what would hold the loop for longer than a turn is done in steps, between which others
are served.

What the work is, and what others may see of it between two steps, is for the work itself to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from ottla.coordinator.timers import Timers

TURN_US: Final = 3000  # of work, by what steps say that they cost: no clock, so that what happens can be repeated

Work: TypeAlias = Iterator[int]
"""Does a step with each `next`, and says about how many microseconds that took. Ends when all is done."""


class Turns:
    """Works begin at once and, as long as the turn lasts, end at once; the rest waits for the next turns, first come
    first served. The timers make the turns: before each of them whoever is readable is served (clockwork.py).
    """

    __slots__ = ("_left_us", "_next_is_due", "_timers", "_working", "_works")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._works: deque[Work] = deque()
        self._left_us = TURN_US
        self._next_is_due = False
        self._working = False

    def begin(self, work: Work) -> None:
        """Do the work, or as much of it as has its place in this turn. Whatever a step raises ends its work; it is
        raised here if that happens at once."""
        self._works.append(work)
        self._go_on()

    @property
    def is_busy(self) -> bool:
        """Whether something is left for later turns."""
        return bool(self._works)

    def finish(self) -> None:
        """Do all that is left now: nobody is there yet who could wait, or nobody is served any more."""
        while self._works:
            self._left_us = TURN_US
            self._go_on()

    def _go_on(self) -> None:
        if self._working:  # a step begins another work
            return
        works = self._works
        self._working = True
        try:
            while works and self._left_us > 0:
                try:
                    self._left_us -= next(works[0])
                except StopIteration:
                    works.popleft()
                except BaseException:
                    works.popleft()
                    raise
        finally:
            self._working = False
            if (works or self._left_us < TURN_US) and not self._next_is_due:
                self._next_is_due = True
                self._timers.schedule(0, self.turn)

    def turn(self) -> None:
        """Go on, for as long as a turn lasts."""
        self._next_is_due = False
        self._left_us = TURN_US
        self._go_on()
