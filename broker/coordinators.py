"""A coordinator as a node has it: made when it is first needed, replayed in bounded turns, and led along as leaders of
its topic's partitions change.

What it is made of is the broker's to say (broker.py, transactions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from ottla.broker.state_log import Replayer
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.nodes import Node
    from ottla.broker.state_log import StateLog
    from ottla.broker.turns import Turns, Work
    from ottla.coordinator.timers import Timers

# When a partition that could not be replayed is looked at again.
_FLUSH_MS: Final = 20
_DISK_MS: Final = 1000
# Why a read may succeed later: the disk fails, which the log has told; its start has moved past the reader.
_PASSING: Final = (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.OFFSET_OUT_OF_RANGE)


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


class _Load:
    """A partition that is being replayed: so far up to `offset`."""

    __slots__ = ("offset", "partition")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.offset: int | None = None  # its start


C = TypeVar("C", bound=Coordinator)
Make = Callable[[int, Collection[int]], C]
"""(partitions of the topic, those that the node leads) -> a coordinator with nothing in it."""


class OnDemand(Generic[C]):
    """Holds a node's coordinator of one internal topic. Making and importing one costs a start what many do without."""

    __slots__ = (
        "_cluster",
        "_configured",
        "_loads",
        "_log",
        "_make",
        "_node",
        "_stopped",
        "_timers",
        "_turns",
        "current",
    )

    def __init__(
        self, node: Node, log: StateLog, cluster: Cluster, timers: Timers, turns: Turns, configured: int, make: Make[C]
    ) -> None:
        """`configured`: partitions of the topic while it is not there yet."""
        self._node = node
        self._log = log
        self._cluster = cluster
        self._timers = timers
        self._turns = turns
        self._configured = configured
        self._make = make
        self._stopped = False
        self._loads: dict[int, _Load] = {}  # by partition
        self.current: C | None = None  # None: nobody has needed it so far

    def get(self) -> C:
        """The coordinator. What it leads is being replayed if that takes longer than a turn."""
        partitions = self._cluster.partition_count(self._log.topic)
        if self.current is not None and partitions not in (None, self.current.partitions) and self._log.is_durable():
            self.drop()  # the topic has another number by now; what is under way to the disk could not be replayed yet
        if self.current is None:
            topic = self._cluster.topics.get(self._log.topic)
            # While there is no topic one node leads whatever there will be.
            led = range(self._configured if topic is None and len(self._cluster.nodes) == 1 else 0)
            made = self.current = self._make(partitions or self._configured, led)
            made.loaded()
            if self._stopped:
                made.shutdown()
            elif topic is not None:
                for partition in topic.partitions:
                    if self._leads(partition):
                        self._take_over(made, partition)
        return self.current

    def load(self) -> None:
        """At start: replay what there is before anyone can ask."""
        if self._log.topic in self._cluster.topics:
            self.get()
            self._turns.finish()

    def moved(self, partition: Partition) -> None:
        """The leader of a partition of the topic is another one, or the partition is new. Raises nothing."""
        coordinator = self.current
        if self._stopped:
            return
        if coordinator is None:
            # What is there goes on without being asked: sessions end, outcomes that were decided are carried out.
            if self._leads(partition) and partition.log.log_end_offset > partition.log.log_start_offset:
                self.get()
        elif partition.index >= coordinator.partitions:
            return  # the topic has grown: the coordinator begins anew at its next use
        elif not self._leads(partition):
            self._loads.pop(partition.index, None)
            coordinator.resigned(partition.index)
        elif not coordinator.leads(partition.index) and not self._is_loading(partition):
            self._take_over(coordinator, partition)

    def reload(self, index: int) -> None:
        """Give up a partition that the node leads and take it back, as if it had gone to another node and returned."""
        topic = self._cluster.topics.get(self._log.topic)
        if self.current is not None and topic is not None and self.current.leads(index):
            self.current.resigned(index)
            self._take_over(self.current, topic.partitions[index])

    def drop(self) -> None:
        """Begin anew with what the log holds, at the next use."""
        self._loads.clear()
        if self.current is not None:
            self.current.shutdown()
            self.current = None

    def shut_down(self) -> None:
        """Answer everyone who waits, and refuse whoever still comes."""
        self._stopped = True
        self._loads.clear()
        if self.current is not None:
            self.current.shutdown()

    def _leads(self, partition: Partition) -> bool:
        return self._cluster.leader(partition) is self._node

    def _is_loading(self, partition: Partition) -> bool:
        """And not one of a topic that was deleted meanwhile, whose index it has."""
        load = self._loads.get(partition.index)
        return load is not None and load.partition is partition

    def _take_over(self, coordinator: C, partition: Partition) -> None:
        """Replay the partition: its ids get NOT_COORDINATOR until that begins, then COORDINATOR_LOAD_IN_PROGRESS."""
        # The outcome of a transaction must not be acted upon before it is on the disk.
        if not self._log.is_durable(partition.index):
            self._later(partition, _FLUSH_MS)
            return
        coordinator.elected(partition.index)
        load = self._loads[partition.index] = _Load(partition)
        self._turns.begin(self._replay(coordinator, load))

    def _replay(self, coordinator: C, load: _Load) -> Work:
        steps = self._log.replay(coordinator, load.partition, load.offset)
        while self._loads.get(load.partition.index) is load:  # or it has gone on to another node
            try:
                cost_us = next(steps)
            except StopIteration as end:
                load.offset = end.value
                self._caught_up(coordinator, load)
                return
            except Exception as error:
                self._give_up(coordinator, load, error)
                return
            yield cost_us

    def _caught_up(self, coordinator: C, load: _Load) -> None:
        index = load.partition.index
        if self._log.is_durable(index):
            del self._loads[index]
            coordinator.began(index)
        else:  # a marker has come meanwhile
            self._timers.schedule(_FLUSH_MS, lambda: self._turns.begin(self._replay(coordinator, load)))

    def _give_up(self, coordinator: C, load: _Load, error: Exception) -> None:
        """As in Kafka the ids get NOT_COORDINATOR: what half a log says is no answer. There another node would take
        over when a disk fails; here it is the same disk for all, which is tried again. What fails for another reason
        fails every time, so that it waits for the next election, as there.
        """
        del self._loads[load.partition.index]
        coordinator.resigned(load.partition.index)
        if isinstance(error, KafkaError) and error.code in _PASSING:
            self._later(load.partition, _DISK_MS)
        else:
            self._log.not_replayed(load.partition, error)

    def _later(self, partition: Partition, delay_ms: int) -> None:
        def due() -> None:
            if self._cluster.partition(self._log.topic, partition.index) is partition:
                self.moved(partition)

        self._timers.schedule(delay_ms, due)
