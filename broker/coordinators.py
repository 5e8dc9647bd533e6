"""A coordinator as a node has it: made when it is first needed, replayed before it answers, and led along as leaders of
its topic's partitions change.

What it is made of is the broker's to say (broker.py, transactions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from ottla.broker.state_log import Replayer
from ottla.wire.errors import KafkaError

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.nodes import Node
    from ottla.broker.state_log import StateLog
    from ottla.coordinator.timers import Timers

# When a partition that could not be replayed is looked at again.
_FLUSH_MS: Final = 20
_DISK_MS: Final = 1000


class Coordinator(Replayer, Protocol):
    """What both coordinators have."""

    @property
    def partitions(self) -> int:
        """Over how many partitions of its topic all nodes' ids are spread."""
        ...

    def leads(self, partition: int, /) -> bool: ...

    def elected(self, partition: int, /) -> None: ...

    def loaded(self) -> None: ...

    def began(self, partition: int, /) -> None: ...

    def resigned(self, partition: int, /) -> None: ...

    def shutdown(self) -> None: ...


C = TypeVar("C", bound=Coordinator)
Make = Callable[[int, Collection[int]], C]
"""(partitions of the topic, those that the node leads) -> a coordinator with nothing in it."""


class OnDemand(Generic[C]):
    """Holds a node's coordinator of one internal topic. Making and importing one costs a start what many do without."""

    __slots__ = ("_cluster", "_configured", "_log", "_make", "_node", "_stopped", "_timers", "current")

    def __init__(
        self, node: Node, log: StateLog, cluster: Cluster, timers: Timers, configured: int, make: Make[C]
    ) -> None:
        """`configured`: partitions of the topic while it is not there yet."""
        self._node = node
        self._log = log
        self._cluster = cluster
        self._timers = timers
        self._configured = configured
        self._make = make
        self._stopped = False
        self.current: C | None = None  # None: nobody has needed it so far

    def get(self) -> C:
        """The coordinator. Raises KafkaError if its log cannot be read: one that is not loaded must not answer."""
        partitions = self._cluster.partition_count(self._log.topic)
        if self.current is not None and partitions not in (None, self.current.partitions) and self._log.is_durable():
            self.drop()  # the topic has another number by now; what is under way to the disk could not be replayed yet
        if self.current is None:
            topic = self._cluster.topics.get(self._log.topic)
            if topic is not None:
                led = [partition for partition in topic.partitions if self._leads(partition)]
                ready = [partition.index for partition in led if self._log.is_durable(partition.index)]
            else:  # one node leads whatever there will be
                led, ready = [], list(range(self._configured if len(self._cluster.nodes) == 1 else 0))
            made = self._make(partitions or self._configured, ready)
            for index in ready:
                self._log.load(made, index)
            made.loaded()
            if self._stopped:
                made.shutdown()
            self.current = made
            for partition in led:
                if not made.leads(partition.index):
                    self._later(partition, _FLUSH_MS)
        return self.current

    def load(self) -> None:
        """At start: replay what there is before anyone can ask."""
        if self._log.topic in self._cluster.topics:
            self.get()

    def moved(self, partition: Partition) -> None:
        """The leader of a partition of the topic is another one, or the partition is new. Raises nothing."""
        coordinator = self.current
        if self._stopped:
            return
        if coordinator is None:
            # What is there goes on without being asked: sessions end, outcomes that were decided are carried out.
            if self._leads(partition) and partition.log.log_end_offset > partition.log.log_start_offset:
                self._begin(partition)
        elif partition.index >= coordinator.partitions:
            return  # the topic has grown: the coordinator begins anew at its next use
        elif not self._leads(partition):
            coordinator.resigned(partition.index)
        elif not coordinator.leads(partition.index):
            self._take_over(coordinator, partition)

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

    def _leads(self, partition: Partition) -> bool:
        return self._cluster.leader(partition) is self._node

    def _begin(self, partition: Partition) -> None:
        try:
            self.get()
        except KafkaError:  # the disk fails, which the log has told
            self._later(partition, _DISK_MS)

    def _take_over(self, coordinator: C, partition: Partition) -> None:
        """Replay the partition; until then its ids get NOT_COORDINATOR, and their clients ask again."""
        index = partition.index
        if not self._log.is_durable(index):  # the outcome of a transaction must not be acted upon before it is
            self._later(partition, _FLUSH_MS)
            return
        coordinator.elected(index)
        try:
            self._log.load(coordinator, index)
        except KafkaError:
            coordinator.resigned(index)
            self._later(partition, _DISK_MS)
        else:
            coordinator.began(index)

    def _later(self, partition: Partition, delay_ms: int) -> None:
        def due() -> None:
            if self._cluster.partition(self._log.topic, partition.index) is partition:
                self.moved(partition)

        self._timers.schedule(delay_ms, due)
