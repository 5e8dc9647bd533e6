"""Purgatory: requests that wait, and how they are woken. One wake-up object a request, watched by the partitions it
needs.

No protocol knowledge beyond "enough bytes" lives here; what a waiting Fetch answers is decided in handlers/fetch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ottla.coordinator.timers import Timers
from ottla.log.door import Pending

if TYPE_CHECKING:
    from ottla.broker.cluster import Partition
    from ottla.wire.schema import Message


class Parked:
    """A request that must wait. Once `pending` is settled, `finish` builds the response in the connection's own task.

    `abandon` is called instead when the connection ends first: it takes the request out of whatever watches it.
    """

    __slots__ = ("abandon", "finish", "pending")

    def __init__(
        self,
        pending: Pending[Any],
        finish: Callable[[], Message | None],
        abandon: Callable[[], None] | None = None,
    ) -> None:
        self.pending = pending
        self.finish = finish
        self.abandon = abandon


class Waiter(Protocol):
    """Who watches a partition: in its `waiters`."""

    def partition_grew(self) -> None:
        """It was appended to."""

    def wake(self) -> None:
        """It goes away, or is led elsewhere."""


class ByteWaiter:
    """Waits until the watched partitions hold `min_bytes` beyond their fetch offsets, one of them goes away, or time
    is up. With `committed_only`, records of open transactions do not count.
    """

    __slots__ = ("_committed_only", "_min_bytes", "_peers", "_timer", "_watched", "pending")

    def __init__(
        self,
        watched: list[tuple[Partition, int, int]],
        min_bytes: int,
        max_wait_ms: int,
        timers: Timers,
        *,
        committed_only: bool = False,
        peers: set[ByteWaiter] | None = None,
    ) -> None:
        """`watched`: (partition, fetch offset, most bytes that count from it). `peers`: where it is found while it
        waits, by whoever gives it more to watch.
        """
        self.pending: Pending[None] = Pending()
        self._watched = watched
        self._committed_only = committed_only
        self._min_bytes = min_bytes
        for partition, _, _ in watched:
            partition.waiters.add(self)
        self._peers = peers
        if peers is not None:
            peers.add(self)
        self._timer = timers.schedule(max_wait_ms, self.wake)

    def watch(self, partition: Partition, offset: int, limit: int) -> None:
        """Wait for one more, which had nothing beyond `offset` till now."""
        self._watched.append((partition, offset, limit))
        partition.waiters.add(self)

    def partition_grew(self) -> None:
        """A watched partition was appended to. Wakes only if the answer can be given now."""
        if (self._min_bytes > 1 or self._committed_only) and self._available() < self._min_bytes:
            return
        self.wake()

    def _available(self) -> int:
        total = 0
        for partition, offset, limit in self._watched:
            available = partition.log.available_bytes(offset, committed_only=self._committed_only, enough=limit)
            total += min(available, limit)
            if total >= self._min_bytes:
                break
        return total

    def wake(self) -> None:
        self.forget()
        self.pending.resolve(None)

    def forget(self) -> None:
        """Stop watching; idempotent."""
        self._timer.cancel()
        for partition, _, _ in self._watched:
            partition.waiters.discard(self)
        if self._peers is not None:
            self._peers.discard(self)
        self._watched = []


def all_settled(outcomes: list[Pending[Any]]) -> Pending[None]:
    """Settled when every one of `outcomes` is, whether by value or error."""
    together: Pending[None] = Pending()
    left = len(outcomes)

    def one_more(_: Pending[Any]) -> None:
        nonlocal left
        left -= 1
        if not left:
            together.resolve(None)

    for outcome in outcomes:
        outcome.then(one_more)
    if not outcomes:
        together.resolve(None)
    return together
