"""Faults on order, as tests put it: `broker.faults.produce(topic="t").error("NOT_LEADER_OR_FOLLOWER", times=3)`.

Only words: what a fault is and does is broker/faults/'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

import trio

from ottla.broker.faults.fault import Fault, Firing
from ottla.broker.faults.faults import Faults
from ottla.broker.faults.rules import parse_rule, shown
from ottla.testing.watch import WaitTimeoutError

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

T = TypeVar("T")
O = TypeVar("O", bound="_Ordered")  # noqa: E741  # what is ordered
TIMEOUT_S: Final = 10.0


class Call(Protocol):
    """Runs a plain function in the broker's loop."""

    def __call__(self, what: Callable[[], T]) -> T: ...


class Wait(Protocol):
    """Runs an async function in the broker's loop."""

    def __call__(self, what: Callable[[], Awaitable[T]]) -> T: ...


class _Ordered:
    """A fault that was ordered; at the end of a `with` block it is removed. What it did can still be read when it, or
    the broker, is gone.
    """

    def __init__(self, faults: Faults, call: Call, fault: Fault) -> None:
        self._faults = faults
        self._call = call
        self._fault = fault

    @property
    def id(self) -> int:
        """Its number, as the control surface has it."""
        return self._fault.id

    @property
    def rule(self) -> dict[str, Any]:
        """What was ordered."""
        return shown(self._fault.rule)

    @property
    def seen(self) -> int:
        """How many requests it was about, whether it fired or not."""
        return self._fault.seen

    @property
    def fired(self) -> int:
        """How often it fired."""
        return self._fault.fired

    @property
    def held(self) -> int:
        """How many requests it keeps waiting."""
        return len(self._fault.waiting)

    @property
    def log(self) -> list[Firing]:
        """What it did, each time; the latest thousand."""
        return list(self._fault.log)

    def release(self, *, keep: bool = False) -> None:
        """Let go whom it keeps waiting, and fire no more; with `keep` it goes on with those that come."""
        self._call(lambda: self._faults.release(self._fault.id, keep=keep))

    def remove(self) -> None:
        """It is no more; whom it keeps it lets go. Nothing if it was removed."""

        def remove() -> None:
            if not self._fault.removed:
                self._faults.remove(self._fault.id)

        self._call(remove)

    def __repr__(self) -> str:
        fault = self._fault
        return f"<fault {fault.id}: {shown(fault.rule)}, fired {fault.fired} times, holds {len(fault.waiting)}>"


class OrderedFault(_Ordered):
    """For plain code."""

    def __init__(self, faults: Faults, call: Call, wait: Wait, fault: Fault) -> None:
        super().__init__(faults, call, fault)
        self._wait = wait

    def wait_fired(self, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until it has fired so often. Raises WaitTimeoutError; ValueError: it never will."""
        self._wait_for(partial(self._faults.wait_fired, self._fault.id, count), f"{count} firings", timeout_s)

    def wait_held(self, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until it keeps so many requests waiting at once. Raises WaitTimeoutError."""
        self._wait_for(partial(self._faults.wait_held, self._fault.id, count), f"{count} requests held", timeout_s)

    def _wait_for(self, so: Callable[[], Awaitable[object]], what: str, timeout_s: float) -> None:
        async def within() -> bool:
            with trio.move_on_after(timeout_s):
                await so()
                return True
            return False

        if not self._wait(within):
            raise WaitTimeoutError(f"not {what} within {timeout_s:g} s: {self!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class AsyncOrderedFault(_Ordered):
    """For a trio program."""

    async def wait_fired(self, count: int = 1) -> None:
        """Wait until it has fired so often; for how long is the caller's. Raises ValueError: it never will."""
        await self._faults.wait_fired(self._fault.id, count)

    async def wait_held(self, count: int = 1) -> None:
        """Wait until it keeps so many requests waiting at once."""
        await self._faults.wait_held(self._fault.id, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


class Order(Generic[O]):
    """Which requests a fault is to be about; the action makes it so. Every action takes `times` (how often, default:
    until it is removed), `nth` (from which matching request on; alone: that one only), `probability` and `seed`. All of
    them raise ValueError with a sentence.
    """

    def __init__(self, place: Callable[[dict[str, Any]], O], matchers: dict[str, Any]) -> None:
        self._place = place
        self._matchers = matchers

    def error(self, name: str, **when: Any) -> O:
        """Answer this error of Kafka's: for the matching partitions, and serve the others; or as a whole."""
        return self._place({**self._matchers, "error": name, **when})

    def delay(self, length: str | float, when: str = "before", **how: Any) -> O:
        """Let it wait, before it is applied or (when="after") before it is answered. By the broker's clock."""
        return self._place({**self._matchers, "delay": length, "when": when, **how})

    def drop(self, when: str = "before", **how: Any) -> O:
        """Close the connection, before it is applied or (when="after") instead of the answer."""
        return self._place({**self._matchers, "drop": when, **how})

    def cut(self, much: int | float, **how: Any) -> O:
        """Send so many bytes of the answer (0.5: half of it), then close the connection."""
        return self._place({**self._matchers, "cut": much, **how})

    def corrupt(self, what: str = "crc", **how: Any) -> O:
        """Spoil the CRC of a batch in the answer of a Fetch; the log stays whole."""
        return self._place({**self._matchers, "corrupt": what, **how})

    def throttle(self, length: str | float, **how: Any) -> O:
        """Tell the client so, and do not listen to it for so long (KIP-219)."""
        return self._place({**self._matchers, "throttle": length, **how})

    def hold(self, when: str = "before", **how: Any) -> O:
        """Let it wait until it is released, before it is applied or (when="after") before it is answered."""
        return self._place({**self._matchers, "hold": when, **how})

    def stale(self, **how: Any) -> O:
        """Answer Metadata as it is now, whatever happens later."""
        return self._place({**self._matchers, "stale": True, **how})

    def fence(self, what: str, **how: Any) -> O:
        """Really raise the epoch of the "leader", "producer" or "member" that the request has, then serve it."""
        return self._place({**self._matchers, "fence": what, **how})


class _Faults(ABC, Generic[O]):
    def __init__(self, broker: Broker, call: Call) -> None:
        self._call = call
        self._broker = broker

    @property
    def _faults(self) -> Faults:
        return Faults.of(self._broker)

    @abstractmethod
    def _handle(self, fault: Fault) -> O:
        """What comes back of an order."""

    def on(self, api: str | None = None, **matchers: Any) -> Order[O]:
        """Requests of an API, or of all, that match everything given: topic, partition, group, client_id, connection,
        node, versions. What is wrong is said when an action is named.
        """
        return Order(self._place, {"api": api, **matchers})

    def produce(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("Produce", **matchers)

    def fetch(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("Fetch", **matchers)

    def metadata(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("Metadata", **matchers)

    def join_group(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("JoinGroup", **matchers)

    def sync_group(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("SyncGroup", **matchers)

    def heartbeat(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("Heartbeat", **matchers)

    def offset_commit(self, **matchers: Any) -> Order[O]:
        """As `on`."""
        return self.on("OffsetCommit", **matchers)

    def add(self, **rule: Any) -> O:
        """A fault as JSON has it: `add(api="Produce", drop="after")`. Raises ValueError."""
        return self._place(rule)

    def all(self) -> list[O]:
        """Those that were not removed."""
        return [self._handle(fault) for fault in self._call(lambda: self._faults.all())]

    def clear(self) -> None:
        """Remove them all; whom they keep they let go."""
        self._call(lambda: self._faults.clear())

    def _place(self, order: dict[str, Any]) -> O:
        rule = parse_rule(order)
        return self._handle(self._call(lambda: self._faults.add(rule)))


class BrokerFaults(_Faults[OrderedFault]):
    """The faults of a broker, for plain code, from any thread."""

    def __init__(self, broker: Broker, call: Call, wait: Wait) -> None:
        super().__init__(broker, call)
        self._wait = wait

    def _handle(self, fault: Fault) -> OrderedFault:
        return OrderedFault(self._faults, self._call, self._wait, fault)


class AsyncBrokerFaults(_Faults[AsyncOrderedFault]):
    """The faults of a broker, for a trio program."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker, _at_once)

    def _handle(self, fault: Fault) -> AsyncOrderedFault:
        return AsyncOrderedFault(self._faults, self._call, fault)


def _at_once(what: Callable[[], T]) -> T:
    return what()
