"""Timers: order, cancelling, bounds, and deadlines that move."""

from __future__ import annotations

import pytest

from ottla.coordinator.timers import Deadline, Timers
from ottla.log.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timers(clock: ManualClock) -> Timers:
    return Timers(clock)


def test_runs_in_order_of_deadline_then_of_insertion(clock: ManualClock, timers: Timers) -> None:
    ran: list[str] = []
    timers.schedule(20, lambda: ran.append("c"))
    timers.schedule(10, lambda: ran.append("a"))
    timers.schedule(10, lambda: ran.append("b"))
    timers.schedule(21, lambda: ran.append("later"))
    assert timers.run_due() == 0
    clock.advance(20)
    assert timers.run_due() == 3
    assert ran == ["a", "b", "c"]
    assert timers.next_deadline_ms() == 21


def test_what_a_callback_schedules_waits_for_the_next_call(clock: ManualClock, timers: Timers) -> None:
    ran: list[int] = []

    def again() -> None:
        ran.append(len(ran))
        timers.schedule(0, again)

    timers.schedule(0, again)
    assert timers.run_due() == 1
    assert timers.next_deadline_ms() == clock.mono_ms()
    assert timers.run_due() == 1
    assert ran == [0, 1]


def test_a_cancelled_callback_never_runs(clock: ManualClock, timers: Timers) -> None:
    ran: list[str] = []
    first = timers.schedule(5, lambda: ran.append("first"))
    timers.schedule(9, lambda: ran.append("second"))
    first.cancel()
    first.cancel()
    assert timers.next_deadline_ms() == 9
    clock.advance(100)
    assert timers.run_due() == 1
    assert ran == ["second"]
    assert timers.next_deadline_ms() is None


def test_a_callback_may_cancel_one_that_is_due_too(clock: ManualClock, timers: Timers) -> None:
    ran: list[str] = []
    timers.schedule(5, lambda: second.cancel())
    second = timers.schedule(5, lambda: ran.append("second"))
    clock.advance(5)
    assert timers.run_due() == 1
    assert ran == []
    assert len(timers) == 0


def test_cancelled_entries_do_not_pile_up(timers: Timers) -> None:
    kept = timers.schedule(1_000, lambda: None)
    for _ in range(10_000):
        timers.schedule(1_000, lambda: None).cancel()
    assert len(timers) < 200
    assert kept.active


def test_cancelling_after_the_run_changes_nothing(clock: ManualClock, timers: Timers) -> None:
    handles = [timers.schedule(1, lambda: None) for _ in range(100)]
    clock.advance(1)
    timers.run_due()
    for handle in handles:
        handle.cancel()
    timers.schedule(1, lambda: None)
    assert len(timers) == 1
    assert timers.next_deadline_ms() == 2


def test_a_raising_callback_leaves_the_rest_scheduled(clock: ManualClock, timers: Timers) -> None:
    ran: list[str] = []

    def bad() -> None:
        raise ValueError("no")

    timers.schedule(1, bad)
    timers.schedule(1, lambda: ran.append("second"))
    clock.advance(1)
    with pytest.raises(ValueError, match="no"):
        timers.run_due()
    assert timers.run_due() == 1
    assert ran == ["second"]


def test_tells_when_the_earliest_deadline_gets_earlier(clock: ManualClock, timers: Timers) -> None:
    told: list[int | None] = []
    timers.on_earlier = lambda: told.append(timers.next_deadline_ms())
    timers.schedule(50, lambda: None)
    timers.schedule(60, lambda: None)
    timers.schedule(50, lambda: None)
    timers.schedule(10, lambda: None)
    assert told == [50, 10]


def test_a_deadline_that_only_moves_later_holds_one_entry(clock: ManualClock, timers: Timers) -> None:
    ran: list[int] = []
    deadline = Deadline(timers, lambda: ran.append(clock.mono_ms()))
    for _ in range(1_000):
        deadline.set(100)
        clock.advance(50)
        timers.run_due()
        assert len(timers) == 1
    assert ran == []
    clock.advance(50)
    timers.run_due()
    assert ran == [50_050]
    assert deadline.due_ms is None
    assert len(timers) == 0


def test_a_deadline_may_come_earlier_and_be_cleared(clock: ManualClock, timers: Timers) -> None:
    ran: list[int] = []
    deadline = Deadline(timers, lambda: ran.append(clock.mono_ms()))
    deadline.set(1_000)
    deadline.set(10)
    clock.advance(10)
    assert timers.run_due() == 1
    assert ran == [10]
    deadline.set(10)
    deadline.clear()
    clock.advance(1_000)
    assert timers.run_due() == 0
    deadline.set(10)
    clock.advance(10)
    assert timers.run_due() == 1
