"""The one heap of deadlines: sessions, rebalances, waiting fetches. It knows a clock and callbacks, nothing of trio.

Whoever drives it sleeps until `next_deadline_ms`, calls `run_due`, and hears from `on_earlier` when to wake sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from ottla.log.clock import Clock

# Cancelled entries stay in the heap until they surface; beyond this many and half of the heap they are swept out.
_SWEEP_MIN = 64


class TimerHandle:
    """A scheduled callback. Once run or cancelled it is spent."""

    __slots__ = ("_callback", "_timers")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback: Callable[[], object] | None = callback

    @property
    def active(self) -> bool:
        """Whether the callback is still to come."""
        return self._callback is not None

    def cancel(self) -> None:
        """Drop the callback; a no-op when it has run or was cancelled."""
        if self._callback is not None:
            self._callback = None
            self._timers._swept_later()


class Timers:
    """Callbacks in order of deadline, then of insertion. Deadlines are `mono_ms` of the clock."""

    __slots__ = ("_cancelled", "_heap", "_mono_ms", "_sequence", "on_earlier")

    def __init__(self, clock: Clock) -> None:
        self._mono_ms = clock.mono_ms
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._sequence = 0
        self._cancelled = 0
        self.on_earlier: Callable[[], None] | None = None
        """Called when a new deadline comes before all others."""

    def __len__(self) -> int:
        """How many entries the heap holds, cancelled ones included."""
        return len(self._heap)

    def now_ms(self) -> int:
        """The clock's `mono_ms`."""
        return self._mono_ms()

    def schedule(self, delay_ms: int, callback: Callable[[], object]) -> TimerHandle:
        """Run `callback` in `delay_ms` milliseconds (0 or less: at the next `run_due`)."""
        handle = TimerHandle(self, callback)
        sequence = self._sequence = self._sequence + 1
        heap = self._heap
        heappush(heap, (self._mono_ms() + (delay_ms if delay_ms > 0 else 0), sequence, handle))
        if self.on_earlier is not None and heap[0][1] == sequence:
            self.on_earlier()
        return handle

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline in `mono_ms`, None if nothing is scheduled."""
        heap = self._heap
        while heap:
            if heap[0][2].active:
                return heap[0][0]
            heappop(heap)
            self._cancelled -= 1
        return None

    def run_due(self) -> int:
        """Run what is due; returns how many callbacks ran.

        What the callbacks schedule waits for the next call, so that one call always ends. If a callback raises, the
        rest stays scheduled.
        """
        now_ms = self._mono_ms()
        last_sequence = self._sequence
        heap = self._heap
        ran = 0
        while heap and heap[0][0] <= now_ms and heap[0][1] <= last_sequence:
            handle = heappop(heap)[2]
            callback, handle._callback = handle._callback, None
            if callback is None:
                self._cancelled -= 1
                continue
            ran += 1
            callback()
        return ran

    def _swept_later(self) -> None:
        self._cancelled += 1
        if self._cancelled > _SWEEP_MIN and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].active]
            heapify(self._heap)
            self._cancelled = 0


class Deadline:
    """A deadline that moves far more often than it passes, such as a member's session.

    Moving it later only writes a number: its one heap entry looks again when it fires.
    """

    __slots__ = ("_armed_ms", "_callback", "_due_ms", "_handle", "_timers")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback = callback
        self._due_ms: int | None = None
        self._armed_ms = 0
        self._handle: TimerHandle | None = None

    @property
    def due_ms(self) -> int | None:
        """When it passes (`mono_ms`), None while it is not set."""
        return self._due_ms

    def set(self, delay_ms: int) -> None:
        """Let it pass `delay_ms` milliseconds from now, whatever it was before."""
        due_ms = self._due_ms = self._timers.now_ms() + delay_ms
        if self._handle is not None:
            if self._armed_ms <= due_ms:
                return
            self._handle.cancel()
        self._arm(due_ms, delay_ms)

    def clear(self) -> None:
        """Never let it pass, unless it is set again."""
        self._due_ms = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due_ms: int, delay_ms: int) -> None:
        self._armed_ms = due_ms
        self._handle = self._timers.schedule(delay_ms, self._fired)

    def _fired(self) -> None:
        self._handle = None
        due_ms = self._due_ms
        if due_ms is None:
            return
        left_ms = due_ms - self._timers.now_ms()
        if left_ms > 0:
            self._arm(due_ms, left_ms)
            return
        self._due_ms = None
        self._callback()
