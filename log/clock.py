"""The one clock: wall time for timestamps, monotonic time for deadlines; and clocks that are moved by hand.

Nothing else in Ottla may ask the operating system for the time. Must not hold timers (coordinator/timers.py); what
falls due while a clock is moved is broker/time_travel.py's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Two readings: `wall_ms` stamps records, `mono_ms` drives deadlines, so that a clock step ends no session."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def mono_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...

    @property
    def stands_still(self) -> bool:
        """Whether it moves only when told."""
        ...

    def on_change(self, told: Callable[[], object]) -> None:
        """`told` is called after each move by hand, and when it stops or goes on."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()
    stands_still = False

    def on_change(self, told: Callable[[], object]) -> None:
        """Never."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock for tests: stands still until `advance` moves both readings."""

    __slots__ = ("_mono_ms", "_told", "_wall_ms")
    stands_still = True

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_ms: int = 0) -> None:
        self._wall_ms = wall_ms
        self._mono_ms = mono_ms
        self._told: list[Callable[[], object]] = []

    def wall_ms(self) -> int:
        return self._wall_ms

    def mono_ms(self) -> int:
        return self._mono_ms

    def on_change(self, told: Callable[[], object]) -> None:
        self._told.append(told)

    def advance(self, ms: int) -> None:
        """Move both readings forward by `ms` milliseconds (>= 0)."""
        if ms < 0:
            raise ValueError("a clock only moves forward")
        self._wall_ms += ms
        self._mono_ms += ms
        for told in self._told:
            told()


class SteeredClock:
    """The machine's clocks, which can be stopped, and moved forward: both readings together, by the same amount.

    It never goes back: one that stood still goes on from where it stood. So it may be behind the machine's, or ahead.
    """

    __slots__ = ("_base", "_mono_ahead_ms", "_mono_ms", "_still", "_told", "_wall_ahead_ms", "_wall_ms")

    def __init__(self, base: Clock | None = None) -> None:
        self._base: Clock = base or SystemClock()
        self._wall_ahead_ms = self._mono_ahead_ms = 0  # of the base, while it runs
        self._wall_ms = self._mono_ms = 0  # while it stands still
        self._still = False
        self._told: list[Callable[[], object]] = []

    def wall_ms(self) -> int:
        return self._wall_ms if self._still else self._base.wall_ms() + self._wall_ahead_ms

    def mono_ms(self) -> int:
        return self._mono_ms if self._still else self._base.mono_ms() + self._mono_ahead_ms

    @property
    def stands_still(self) -> bool:
        return self._still

    def on_change(self, told: Callable[[], object]) -> None:
        self._told.append(told)

    def move(self, ms: int) -> None:
        """Forward by `ms` milliseconds (>= 0). What falls due is not run: that is broker/time_travel.py."""
        if ms < 0:
            raise ValueError("a clock only moves forward")
        if self._still:
            self._wall_ms += ms
            self._mono_ms += ms
        else:
            self._wall_ahead_ms += ms
            self._mono_ahead_ms += ms
        self._tell()

    def twin(self) -> SteeredClock:
        """Another one that goes on from where this one is, and is moved apart from it."""
        other = SteeredClock(self._base)
        other._wall_ahead_ms, other._mono_ahead_ms = self._wall_ahead_ms, self._mono_ahead_ms
        other._wall_ms, other._mono_ms, other._still = self._wall_ms, self._mono_ms, self._still
        return other

    def freeze(self) -> None:
        """Stand still. Idempotent."""
        if not self._still:
            self._wall_ms, self._mono_ms = self.wall_ms(), self.mono_ms()
            self._still = True
            self._tell()

    def resume(self) -> None:
        """Go on, at the pace of the base. Idempotent."""
        if self._still:
            self._wall_ahead_ms = self._wall_ms - self._base.wall_ms()
            self._mono_ahead_ms = self._mono_ms - self._base.mono_ms()
            self._still = False
            self._tell()

    def _tell(self) -> None:
        for told in self._told:
            told()
