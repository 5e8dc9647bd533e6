"""How long the broker's loop is busy for whom: the measure of request_percentage (KIP-124), taken from outside.

A connection goes on in steps, and whoever drives it (reactor.py) takes each step through here while somebody has such a
quota: receiving, decoding, handling, encoding, sending; and no waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

import trio

Payer = TypeVar("Payer")
Y = TypeVar("Y")


class LoopTime(Generic[Payer]):
    """`count(payer, seconds)` hears of time that nobody took before the step ended."""

    def __init__(self, count: Callable[[Payer, float], object], now_s: Callable[[], float] = trio.current_time) -> None:
        self._count = count
        self._now_s = now_s
        self._since_s = now_s()
        self._payers: dict[object, Payer] = {}
        self._stepping: object = None

    def charge(self, payer: Payer | None) -> None:
        """Who pays for the connection that is taking its step, from now on; None: nobody."""
        if payer is None:
            self._payers.pop(self._stepping, None)
        else:
            self._payers[self._stepping] = payer

    def take_s(self) -> float:
        """The seconds of this step that were not taken yet."""
        before_s, self._since_s = self._since_s, self._now_s()
        return self._since_s - before_s

    def around(self, who: object, work: Coroutine[Y, None, None]) -> Y:
        """Resume `work`, which belongs to `who`, and give what it waits for next. Raises what it raises."""
        self._stepping = who
        self._since_s = self._now_s()
        try:
            return work.send(None)
        finally:
            payer = self._payers.get(who)
            if payer is not None:
                self._count(payer, self.take_s())
            self._stepping = None

    def forget(self, who: object) -> None:
        """It has ended."""
        self._payers.pop(who, None)
