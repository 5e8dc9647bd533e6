"""The one heap of deadlines: sessions, rebalances, waiting fetches, jobs that come again and again. It knows a clock
and callbacks, nothing of trio.

Whoever drives it sleeps until `next_deadline_ms`, calls `run_due`, and hears from `on_earlier` when to wake sooner.
Whoever moves the clock asks `next_stop` where to halt on the way.
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

    __slots__ = ("_cancelled", "_heap", "_mono_ms", "_repeating", "_sequence", "on_earlier")

    def __init__(self, clock: Clock) -> None:
        self._mono_ms = clock.mono_ms
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._sequence = 0
        self._cancelled = 0
        self._repeating: set[Repeating] = set()
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

    def repeat(
        self,
        every_ms: int,
        job: Callable[[], object],
        *,
        first_ms: int | None = None,
        acts: Callable[[int], bool] | None = None,
    ) -> Repeating:
        """Run `job` in `first_ms` milliseconds (as a rule `every_ms`), and then each `every_ms` after it ran.

        `acts` says whether the job would do anything that somebody could notice if so many milliseconds passed and
        nothing else happened; once it says yes, it does so for any longer time. None: what the job does is the same
        however often it ran before (a checkpoint). Only `next_stop` asks.
        """
        return Repeating(self, every_ms, job, every_ms if first_ms is None else first_ms, acts)

    def next_stop(self, target_ms: int) -> int | None:
        """The earliest time up to `target_ms` at which something has to run; None: nothing has.

        Between here and the earliest deadline of any other kind nothing happens but time. So a job that comes again and
        again need not come each time: where it can tell, it comes when it would act for the first time, else once, the
        last time. Ticks that are left out are put off, not lost: `arrived` puts each job back in step.
        """
        own = {job.handle for job in self._repeating}
        others = [due_ms for due_ms, _, handle in self._heap if handle.active and handle not in own]
        first = min(others, default=None)
        limit_ms = target_ms if first is None else min(first, target_ms)
        stops = [job.skip_to(limit_ms) for job in self._repeating]
        if first is not None and first <= target_ms:
            stops.append(first)
        return min((stop for stop in stops if stop is not None), default=None)

    def arrived(self) -> None:
        """The clock is where it was to be moved: jobs that come again and again are due as if it had gone there."""
        for job in self._repeating:
            job.keep_step()

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


class Repeating:
    """A job that comes again and again, until it is cancelled."""

    __slots__ = ("_acts", "_every_ms", "_from_ms", "_job", "_ran_ms", "_timers", "handle")

    def __init__(
        self,
        timers: Timers,
        every_ms: int,
        job: Callable[[], object],
        first_ms: int,
        acts: Callable[[int], bool] | None,
    ) -> None:
        self._timers = timers
        self._every_ms = max(1, every_ms)
        self._job = job
        self._acts = acts
        now_ms = timers.now_ms()
        self._from_ms = now_ms + max(0, first_ms)  # a tick; the others are each `every_ms` after it
        self._ran_ms = now_ms - 1
        self.handle = timers.schedule(first_ms, self._run)
        timers._repeating.add(self)

    def cancel(self) -> None:
        """No more of it. Idempotent."""
        self.handle.cancel()
        self._timers._repeating.discard(self)

    def _run(self) -> None:
        timers = self._timers
        self._ran_ms = timers.now_ms()
        self._from_ms = self._ran_ms + self._every_ms
        self.handle = timers.schedule(self._every_ms, self._run)
        self._job()

    def skip_to(self, limit_ms: int) -> int | None:
        """Leave out ticks that would do nothing up to `limit_ms`. The tick that is left before it, if there is one."""
        now_ms = self._timers.now_ms()
        first, last = self._ticks_from(now_ms), (limit_ms - self._from_ms) // self._every_ms
        if last < first:
            self._due(first)
            return None
        tick = last if self._acts is None else self._first_that_acts(first, last, now_ms)
        self._due(last + 1 if tick is None else tick)
        return None if tick is None else self._at(tick)

    def keep_step(self) -> None:
        """Be due at the next tick."""
        self._due(self._ticks_from(self._timers.now_ms()))

    def _first_that_acts(self, first: int, last: int, now_ms: int) -> int | None:
        if not self._would_act(self._at(last) - now_ms):
            return None
        while first < last:
            middle = (first + last) // 2
            if self._would_act(self._at(middle) - now_ms):
                last = middle
            else:
                first = middle + 1
        return first

    def _would_act(self, ahead_ms: int) -> bool:
        assert self._acts is not None
        try:
            return self._acts(ahead_ms)
        except Exception:  # the job will meet it, and say so
            return True

    def _at(self, tick: int) -> int:
        return self._from_ms + tick * self._every_ms

    def _ticks_from(self, now_ms: int) -> int:
        """The number of the first tick that is still to come."""
        at_least_ms = max(now_ms, self._ran_ms + 1)
        return max(0, -((self._from_ms - at_least_ms) // self._every_ms))

    def _due(self, tick: int) -> None:
        timers = self._timers
        self.handle.cancel()
        self.handle = timers.schedule(self._at(tick) - timers.now_ms(), self._run)


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
