"""The clock of a broker that a test moves: `broker.clock`. What falls due is broker/time_travel.py's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ottla.broker.durations import parse_ms

if TYPE_CHECKING:
    from ottla.broker.broker import Broker


class _Clock:
    def __init__(self, broker: Broker) -> None:
        """Raises ValueError: it cannot be moved."""
        if broker.time is None:
            raise ValueError("this broker was given a clock of its own; leave out clock= to move it here")
        self._time = broker.time

    @property
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, for the broker."""
        return self._time.clock.wall_ms()

    @property
    def is_frozen(self) -> bool:
        return self._time.stands_still


class BrokerClock(_Clock):
    """For plain code, from any thread."""

    def __init__(
        self,
        broker: Broker,
        call: Callable[[Callable[[], Any]], Any],
        wait: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        """`call` runs a function in the broker's loop, `wait` an async one. Raises ValueError: it cannot be moved."""
        super().__init__(broker)
        self._call = call
        self._wait = wait

    def advance(self, length: str | float) -> None:
        """Move it by "7d", "1h30m", "500ms" or a number of milliseconds, and do what falls due on the way, in order.
        Raises ValueError.
        """
        self._wait(partial(self._time.advance, parse_ms(length)))

    def freeze(self) -> None:
        """Let it stand still until it is moved."""
        self._call(self._time.freeze)

    def resume(self) -> None:
        """Let it go on."""
        self._call(self._time.resume)


class AsyncBrokerClock(_Clock):
    """For a trio program."""

    async def advance(self, length: str | float) -> None:
        """As BrokerClock.advance."""
        await self._time.advance(parse_ms(length))

    def freeze(self) -> None:
        """Let it stand still until it is moved."""
        self._time.freeze()

    def resume(self) -> None:
        """Let it go on."""
        self._time.resume()
