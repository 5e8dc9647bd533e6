"""A request on its way through a fault, told as a generator: it yields what it waits for and returns the answer.

The same steps serve a request that never waits and one that waits three times. Knows no rules.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeAlias

from ottla.broker.dispatch import Tethered
from ottla.broker.faults.partitions import let_go_all
from ottla.broker.waiting import Parked
from ottla.log.door import Pending
from ottla.wire.schema import Message

Answer: TypeAlias = Message | None
Steps: TypeAlias = Generator[Parked | Pending[Any], None, Answer]


class Flight:
    """Carries out `steps`; `done` is called once, when they are over, however they end."""

    __slots__ = ("_done", "_outcome", "_over", "_steps", "_waits_for")

    def __init__(self, steps: Steps, done: Callable[[], None]) -> None:
        self._steps = steps
        self._done = done
        self._outcome: Pending[Answer] = Pending()
        self._over = False
        self._waits_for: Parked | Pending[Any] | None = None

    def begin(self) -> Message | Parked | None:
        """The answer, or a request that waits for it. Raises what the steps raise before they wait."""
        try:
            waits_for = next(self._steps)
        except StopIteration as end:
            self._end()
            answer: Answer = end.value
            return answer
        except BaseException:
            self._end()
            raise
        self._wait_for(waits_for)
        return Tethered(self._outcome, self._outcome.result, self._abandon)

    def _wait_for(self, what: Parked | Pending[Any]) -> None:
        self._waits_for = what
        (what.pending if isinstance(what, Parked) else what).then(self._go_on)

    def _go_on(self, _: Pending[Any]) -> None:
        """In the stack of whoever settled what was waited for: nothing may be raised here."""
        if self._over:
            return
        try:
            waits_for = next(self._steps)
        except StopIteration as end:
            self._end()
            self._outcome.resolve(end.value)
        except Exception as error:
            self._end()
            self._outcome.fail(error)
        else:
            self._wait_for(waits_for)

    def _abandon(self) -> None:
        """The client is gone; perhaps only after the answer was there."""
        if self._over:
            with suppress(Exception):  # there is no answer but an error
                let_go_all(self._outcome.result())
            return
        waits_for = self._waits_for
        self._over = True
        self._steps.close()
        if isinstance(waits_for, Parked) and waits_for.abandon is not None:
            waits_for.abandon()
        self._done()

    def _end(self) -> None:
        self._over = True
        self._done()
