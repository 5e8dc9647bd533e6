"""A clock that is moved from stop to stop does what one that runs does, and leaves out what nobody could notice."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.timers import Timers
from ottla.log.clock import ManualClock, SteeredClock

Log = list[tuple[int, str]]


class Play:
    """Deadlines, jobs that act once what they wait for is old, and jobs that are the same however often they ran."""

    def __init__(self, deadlines: list[int], jobs: list[tuple[int, int, int]], saves: list[tuple[int, int]]) -> None:
        """`jobs`: (every, first, delay of what follows); `saves`: (every, first)."""
        self.clock = ManualClock()
        self.timers = Timers(self.clock)
        self.log: Log = []
        self.saved: dict[int, tuple[int, int]] = {}  # job -> when it ran last, and how much of the log it saw
        self.old: dict[int, int | None] = {}  # job -> when it has something to do
        self.runs = 0
        for at in deadlines:
            self.timers.schedule(at, lambda at=at: self.say(f"deadline {at}"))
        for number, (every, first, delay) in enumerate(jobs):
            self.old[number] = first * 3
            self.timers.repeat(every, self._job(number, delay), first_ms=first, acts=self._acts(number))
        for number, (every, first) in enumerate(saves):
            self.timers.repeat(every, self._save(number), first_ms=first)

    def say(self, what: str) -> None:
        self.log.append((self.clock.mono_ms(), what))

    def _job(self, number: int, delay: int) -> Callable[[], None]:
        def run() -> None:
            self.runs += 1
            due = self.old[number]
            if due is not None and self.clock.mono_ms() >= due:
                self.say(f"job {number}")
                self.old[number] = self.clock.mono_ms() + delay if len(self.log) < 40 else None
                self.timers.schedule(delay // 2, lambda: self.say(f"after job {number}"))

        return run

    def _acts(self, number: int) -> Callable[[int], bool]:
        def acts(ahead_ms: int) -> bool:
            due = self.old[number]
            return due is not None and self.clock.mono_ms() + ahead_ms >= due

        return acts

    def _save(self, number: int) -> Callable[[], None]:
        def run() -> None:
            self.runs += 1
            self.saved[number] = (self.clock.mono_ms(), len(self.log))

        return run

    def walk(self, ms: int) -> None:
        """Millisecond by millisecond."""
        for _ in range(ms):
            self.clock.advance(1)
            while self._is_due():
                self.timers.run_due()

    def travel(self, ms: int) -> None:
        """From stop to stop."""
        target = self.clock.mono_ms() + ms
        while (stop := self.timers.next_stop(target)) is not None:
            self.clock.advance(stop - self.clock.mono_ms())
            self.timers.run_due()
        self.clock.advance(target - self.clock.mono_ms())
        self.timers.arrived()

    def _is_due(self) -> bool:
        due = self.timers.next_deadline_ms()
        return due is not None and due <= self.clock.mono_ms()


times = st.integers(1, 400)
plays = st.tuples(
    st.lists(times, max_size=4),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(2, 200)), max_size=3),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=2),
)


@given(plays, st.lists(times, min_size=1, max_size=4))
def test_what_happens_is_what_happens_to_a_clock_that_runs(
    play: tuple[list[int], list[tuple[int, int, int]], list[tuple[int, int]]], legs: list[int]
) -> None:
    walked, travelled, at_once = Play(*play), Play(*play), Play(*play)
    for leg in legs:
        walked.walk(leg)
        travelled.travel(leg)
        # of what happens in the same millisecond the order is nobody's
        assert sorted(travelled.log) == sorted(walked.log)
        assert {number: at for number, (at, _) in travelled.saved.items()} == {
            number: at for number, (at, _) in walked.saved.items()
        }
    at_once.travel(sum(legs))
    assert sorted(at_once.log) == sorted(walked.log)
    assert at_once.runs <= walked.runs


def test_a_week_of_idle_jobs_is_a_few_stops() -> None:
    play = Play([], [(1000, 1000, 2)], [(1000, 1000), (250, 250)])
    play.old[0] = None
    play.travel(7 * 86_400_000)
    assert play.runs == 2
    assert play.saved == {0: (7 * 86_400_000, 0), 1: (7 * 86_400_000, 0)}


def test_a_job_that_cannot_tell_runs_and_says_so_itself() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    ran: list[int] = []

    def unreadable(ahead_ms: int) -> bool:
        raise OSError("the disk")

    timers.repeat(100, lambda: ran.append(clock.mono_ms()), acts=unreadable)
    while (stop := timers.next_stop(300)) is not None:
        clock.advance(stop - clock.mono_ms())
        timers.run_due()
    assert ran == [100, 200, 300]


def test_a_job_that_is_cancelled_comes_no_more() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    job = timers.repeat(10, lambda: job.cancel(), first_ms=5)
    clock.advance(5)
    assert timers.run_due() == 1
    assert timers.next_stop(1000) is None
    assert timers.next_deadline_ms() is None


def test_a_steered_clock_keeps_both_readings_together() -> None:
    base = ManualClock(wall_ms=1000, mono_ms=10)
    clock = SteeredClock(base)
    told: list[tuple[int, int]] = []
    clock.on_change(lambda: told.append((clock.wall_ms(), clock.mono_ms())))
    base.advance(5)
    assert (clock.wall_ms(), clock.mono_ms()) == (1005, 15)
    clock.move(100)
    assert (clock.wall_ms(), clock.mono_ms()) == (1105, 115)
    clock.freeze()
    base.advance(7)
    assert (clock.wall_ms(), clock.mono_ms()) == (1105, 115)
    clock.move(1)
    clock.resume()
    base.advance(2)
    assert (clock.wall_ms(), clock.mono_ms()) == (1108, 118)
    assert told == [(1105, 115), (1105, 115), (1106, 116), (1106, 116)]
