"""The one clock: wall time for timestamps, monotonic time for deadlines; and a clock that only moves when told.

Nothing else in Ottla may ask the operating system for the time. Must not hold timers (coordinator/timers.py).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: `wall_ms` stamps records, `mono_ms` drives deadlines, so that a clock step ends no session."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def mono_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock for tests: stands still until `advance` moves both readings."""

    __slots__ = ("_mono_ms", "_wall_ms")

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_ms: int = 0) -> None:
        self._wall_ms = wall_ms
        self._mono_ms = mono_ms

    def wall_ms(self) -> int:
        return self._wall_ms

    def mono_ms(self) -> int:
        return self._mono_ms

    def advance(self, ms: int) -> None:
        """Move both readings forward by `ms` milliseconds (>= 0)."""
        if ms < 0:
            raise ValueError("a clock only moves forward")
        self._wall_ms += ms
        self._mono_ms += ms
