"""How long the broker's loop is busy for whom: the measure of request_percentage (KIP-124), taken from outside.

One task is one connection, so an instrument of trio that reads the clock around each step of a task sees all of it:
receiving, decoding, handling, encoding, sending; and no waiting. Hung in only while somebody has such a quota.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

Payer = TypeVar("Payer")


class LoopTime(trio.abc.Instrument, Generic[Payer]):
    """`count(payer, seconds)` hears of time that nobody took before the step ended."""

    def __init__(self, count: Callable[[Payer, float], object], now_s: Callable[[], float] = trio.current_time) -> None:
        self._count = count
        self._now_s = now_s
        self._since_s = now_s()
        self._payers: dict[trio.lowlevel.Task, Payer] = {}

    def charge(self, payer: Payer | None) -> None:
        """Who pays for this task from now on; None: nobody."""
        task = trio.lowlevel.current_task()
        if payer is None:
            self._payers.pop(task, None)
        else:
            self._payers[task] = payer

    def take_s(self) -> float:
        """The seconds of this step that were not taken yet."""
        before_s, self._since_s = self._since_s, self._now_s()
        return self._since_s - before_s

    # ── trio.abc.Instrument ─────────────────────────────────────────────────────────────────────────────────────────

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._since_s = self._now_s()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        payer = self._payers.get(task)
        if payer is not None:
            self._count(payer, self.take_s())

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._payers.pop(task, None)
