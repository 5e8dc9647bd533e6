"""A coordinator as the broker has it: made when it is first needed, replayed before it answers, begun anew when its
topic is.

What it is made of is the broker's to say (broker.py, transactions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ottla.broker.state_log import Replayer

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster
    from ottla.broker.state_log import StateLog


class Coordinator(Replayer, Protocol):
    """What both coordinators have."""

    @property
    def partitions(self) -> int:
        """Over how many partitions of its topic it spreads its ids."""
        ...

    def shutdown(self) -> None: ...


C = TypeVar("C", bound=Coordinator)


class OnDemand(Generic[C]):
    """Holds the coordinator of one internal topic. Making and importing one costs a start what many do without."""

    __slots__ = ("_cluster", "_configured", "_log", "_make", "_stopped", "current")

    def __init__(self, log: StateLog, cluster: Cluster, configured: int, make: Callable[[int], C]) -> None:
        """`configured`: partitions of the topic while it is not there yet; `make` is given the number of them."""
        self._log = log
        self._cluster = cluster
        self._configured = configured
        self._make = make
        self._stopped = False
        self.current: C | None = None  # None: nobody has needed it so far

    def get(self) -> C:
        """The coordinator. Raises KafkaError if its log cannot be read: one that is not loaded must not answer."""
        partitions = self._cluster.partition_count(self._log.topic)
        if self.current is not None and partitions not in (None, self.current.partitions) and self._log.is_durable:
            self.drop()  # the topic has another number by now; what is under way to the disk could not be replayed yet
        if self.current is None:
            made = self._make(partitions or self._configured)
            self._log.load(made)
            if self._stopped:
                made.shutdown()
            self.current = made
        return self.current

    def load(self) -> None:
        """At start: replay what there is before anyone can ask."""
        if self._log.topic in self._cluster.topics:
            self.get()

    def drop(self) -> None:
        """Begin anew with what the log holds, at the next use."""
        if self.current is not None:
            self.current.shutdown()
            self.current = None

    def shut_down(self) -> None:
        """Answer everyone who waits, and refuse whoever still comes."""
        self._stopped = True
        if self.current is not None:
            self.current.shutdown()
