"""Waiting in the broker's own loop: for records, for requests, and for nothing more to come. What is waited for is
looked at again when something happened, not from time to time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from ottla.testing.requests import Request, api_key
from ottla.testing.view import Reader, Record, Where
from ottla.wire.apis import ApiKey

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.testing.instance import Instance

_SHOWN: Final = 5  # records in a failure
_RECHECK_S: Final = 0.05  # a frame that never comes in whole tells nobody
_WRITING: Final = (ApiKey.PRODUCE, ApiKey.END_TXN, ApiKey.WRITE_TXN_MARKERS)
"""Requests that may bring records to light."""

WhereRequest = Callable[[Request], bool]


class WaitTimeoutError(AssertionError):
    """What a test waited for did not come; the text says what there was instead."""


class UnexpectedRecordsError(AssertionError):
    """There are more records than a test expects; the text shows them."""


class _Changes:
    """Tells one task that something happened since it looked. Is a waiter of partitions (broker/waiting.py)."""

    def __init__(self) -> None:
        self._happened = trio.Event()

    def partition_grew(self) -> None:
        self._happened.set()

    def wake(self) -> None:
        self._happened.set()

    async def next(self) -> None:
        """Since the last time."""
        await self._happened.wait()
        self._happened = trio.Event()


class _Topic:
    """The records of a topic that `where` is true of, read once each, though the topic may come later, grow, or be made
    anew.
    """

    def __init__(self, broker: Broker, topic: str, where: Where | None, *, uncommitted: bool = False) -> None:
        self._broker = broker
        self._topic = topic
        self._where = where
        self._uncommitted = uncommitted
        self._readers: dict[Partition, Reader] = {}

    def look(self) -> list[Record]:
        """As they are now. Raises what `where` raises."""
        topic = self._broker.cluster.topics.get(self._topic)
        there = topic.partitions if topic is not None else []
        self._readers = {
            partition: self._readers.get(partition) or Reader(partition, self._where, uncommitted=self._uncommitted)
            for partition in there
        }
        for reader in self._readers.values():
            reader.look()
        return [record for reader in self._readers.values() for record in reader.found]

    @property
    def seen(self) -> int:
        """Records, whether `where` is true of them or not."""
        return sum(reader.seen for reader in self._readers.values())

    @contextmanager
    def changes(self) -> Iterator[_Changes]:
        """Tells of whatever may bring records."""
        changes = _Changes()
        cluster = self._broker.cluster

        def led(partition: Partition) -> None:  # it is new, or has another leader
            if partition.topic.name == self._topic:
                partition.waiters.add(changes)
                changes.wake()

        cluster.on_leader_change.append(led)
        topic = cluster.topics.get(self._topic)
        for partition in topic.partitions if topic is not None else ():
            partition.waiters.add(changes)
        try:
            yield changes
        finally:
            cluster.on_leader_change.remove(led)
            topic = cluster.topics.get(self._topic)
            for partition in topic.partitions if topic is not None else ():
                partition.waiters.discard(changes)


async def wait_for_records(
    instance: Instance, topic: str, count: int, where: Where | None, timeout_s: float
) -> list[Record]:
    """Raises WaitTimeoutError, and what `where` raises."""
    watched = _Topic(instance.broker, topic, where)
    found: list[Record] = []
    with trio.move_on_after(timeout_s), watched.changes() as changes:
        while True:
            found = watched.look()
            if len(found) >= count:
                return found
            await changes.next()
    matching = "" if where is None else f", {len(found)} of them as asked for"
    shown = found if where is None else watched_all(instance.broker, topic)
    raise WaitTimeoutError(
        f"not {_records(count)} in {topic} after {timeout_s:g} s: {watched.seen} are there{matching}{_listed(shown)}"
    )


def watched_all(broker: Broker, topic: str) -> list[Record]:
    """All records of a topic."""
    return _Topic(broker, topic, None).look()


async def expect_no_more(
    instance: Instance, topic: str, after: int, where: Where | None, uncommitted: bool, for_s: float, timeout_s: float
) -> list[Record]:
    """The records that are there. Raises UnexpectedRecordsError, WaitTimeoutError."""
    watched = _Topic(instance.broker, topic, where, uncommitted=uncommitted)

    def look() -> list[Record]:
        found = watched.look()
        if len(found) > after:
            raise UnexpectedRecordsError(
                f"{_records(len(found))} in {topic}, {after} expected{_listed(found[after:], 'beyond them')}"
            )
        return found

    with trio.move_on_after(timeout_s), watched.changes() as changes:
        await _all_served(instance)
        look()
        if for_s > 0:
            over = False

            def end() -> None:
                nonlocal over
                over = True
                changes.wake()

            timer = instance.broker.timers.schedule(round(for_s * 1000), end)
            try:
                while not over:
                    await changes.next()
                    look()
            finally:
                timer.cancel()
            await _all_served(instance)
        return look()
    waiting = [str(one) for one in instance.gate.under_way(_WRITING)]
    if waiting:
        why = f"still under way: {'; '.join(waiting[:_SHOWN])}"
    elif for_s > 0:
        why = f"the broker's clock has not moved by {for_s:g} s; is it frozen?"
    else:
        why = "a request is still coming in"
    raise WaitTimeoutError(f"whether more comes to {topic} is not known after {timeout_s:g} s: {why}")


async def _all_served(instance: Instance) -> None:
    """What clients have sent is served: nothing is left in a socket, half received, or waits to be written."""
    changes = _Changes()
    watchers = instance.gate.watchers
    watchers.append(changes.wake)
    try:
        while True:
            await instance.server.driver.catch_up()
            if not instance.server.budget.used and not instance.gate.under_way(_WRITING):
                return
            with trio.move_on_after(_RECHECK_S):
                await changes.next()
    finally:
        watchers.remove(changes.wake)


async def wait_for_requests(
    instance: Instance, api: str, count: int, where: WhereRequest | None, timeout_s: float
) -> list[Request]:
    """Raises WaitTimeoutError, ValueError for an API that is not there, and what `where` raises."""
    key = api_key(api)
    changes = _Changes()
    watchers = instance.gate.watchers
    watchers.append(changes.wake)
    found: list[Request] = []
    try:
        with trio.move_on_after(timeout_s):
            while True:
                found = [one for one in instance.gate.requests(key) if where is None or where(one)]
                if len(found) >= count:
                    return found
                await changes.next()
    finally:
        watchers.remove(changes.wake)
    others = [str(one) for one in instance.gate.requests()[-_SHOWN:]]
    wanted = f"{count} {api} requests{'' if where is None else ' as asked for'}"
    raise WaitTimeoutError(f"not {wanted} after {timeout_s:g} s: {len(found)} came; the last of all{_lines(others)}")


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _listed(records: Sequence[Record], what: str = "the last") -> str:
    if not records:
        return ""
    more = f", {_SHOWN} of {len(records)}" if len(records) > _SHOWN else ""
    shown = records[:_SHOWN] if what != "the last" else records[-_SHOWN:]
    return f"; {what}{more}{_lines(shown)}"


def _lines(shown: Sequence[Any]) -> str:
    return ":" + "".join(f"\n  {one}" for one in shown) if shown else ": none"
