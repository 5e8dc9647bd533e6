"""How a node's coordinator reads in what it leads, step by step: every turn in which something may come between.

No broker: the log says what its steps cost and how they end, the coordinator notes what it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any, cast

import pytest

from ottla.broker.coordinators import OnDemand
from ottla.broker.turns import TURN_US, Turns
from ottla.coordinator.timers import Timers
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode, KafkaError

TOPIC = "__state"


class Log:
    """What a partition holds."""

    log_start_offset = 0
    log_end_offset = 5


class Partition:
    def __init__(self, index: int) -> None:
        self.index = index
        self.log = Log()


class Cluster:
    """Two nodes; whose partition is whose is a set of indexes."""

    def __init__(self, partitions: int) -> None:
        self.partitions = [Partition(index) for index in range(partitions)]
        self.topics = {TOPIC: self}
        self.nodes = {1: object(), 2: object()}
        self.led = set(range(partitions))

    def leader(self, partition: Partition) -> object:
        return self.nodes[1 if partition.index in self.led else 2]

    def partition(self, topic: str, index: int) -> Partition | None:
        return self.partitions[index] if topic in self.topics and index < len(self.partitions) else None

    def partition_count(self, topic: str) -> int | None:
        return len(self.partitions) if topic in self.topics else None


class StateLog:
    """Each partition takes `steps` steps of a whole turn; what is in `failing` is raised instead of the last one."""

    topic = TOPIC

    def __init__(self) -> None:
        self.steps = 3
        self.failing: dict[int, Exception] = {}
        self.durable = True
        self.read_from: list[int | None] = []
        self.told: list[tuple[int, Exception]] = []

    def is_durable(self, index: int | None = None) -> bool:
        return self.durable

    def replay(
        self, coordinator: Coordinator, partition: Partition, offset: int | None = None
    ) -> Generator[int, None, int]:
        self.read_from.append(offset)
        for step in range(self.steps):
            if partition.index in self.failing and step == self.steps - 1:
                raise self.failing[partition.index]
            coordinator.said.append(f"step {partition.index}")
            yield TURN_US
        return 5

    def not_replayed(self, partition: Partition, error: Exception) -> None:
        self.told.append((partition.index, error))


class Coordinator:
    def __init__(self, partitions: int, led: Collection[int]) -> None:
        self.partitions = partitions
        self.serving = set(led)
        self.said: list[str] = []

    def leads(self, partition: int) -> bool:
        return partition in self.serving

    def elected(self, partition: int) -> None:
        self.said.append(f"elected {partition}")

    def loaded(self) -> None:
        self.said.append("loaded")

    def began(self, partition: int) -> None:
        self.serving.add(partition)
        self.said.append(f"began {partition}")

    def resigned(self, partition: int) -> None:
        self.serving.discard(partition)
        self.said.append(f"resigned {partition}")

    def shutdown(self) -> None:
        self.said.append("shutdown")


class World:
    """A node that leads every partition of a topic that is there."""

    def __init__(self, partitions: int = 1) -> None:
        self.clock = ManualClock()
        self.timers = Timers(self.clock)
        self.turns = Turns(self.timers)
        self.cluster = Cluster(partitions)
        self.log = StateLog()
        self.on_demand: OnDemand[Any] = OnDemand(
            cast(Any, self.cluster.nodes[1]),
            cast(Any, self.log),
            cast(Any, self.cluster),
            self.timers,
            self.turns,
            7,
            cast(Any, Coordinator),
        )

    def begin(self) -> Coordinator:
        """The coordinator at its first use; the first step of the first partition is done."""
        return cast(Coordinator, self.on_demand.get())

    def move(self, index: int, *, here: bool) -> None:
        (self.cluster.led.add if here else self.cluster.led.discard)(index)
        self.on_demand.moved(cast(Any, self.cluster.partitions[index]))

    def rest(self) -> None:
        """Every turn that is due by now."""
        while self.timers.run_due():
            pass


@pytest.fixture
def world() -> World:
    return World()


def test_partitions_begin_one_after_the_other() -> None:
    world = World(partitions=2)
    world.log.steps = 2
    coordinator = world.begin()
    assert coordinator.said == ["loaded", "elected 0", "step 0", "elected 1"]
    assert world.begin() is coordinator, "whoever asks meanwhile begins nothing anew"
    world.rest()
    assert coordinator.said[4:] == ["step 0", "began 0", "step 1", "step 1", "began 1"]


def test_at_a_start_all_is_read_in_before_it_is_over(world: World) -> None:
    world.on_demand.load()
    assert world.begin().serving == {0}


def test_the_disk_is_tried_again_and_nobody_is_served_what_half_a_log_says(world: World) -> None:
    world.log.failing[0] = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
    coordinator = world.begin()
    world.rest()
    assert coordinator.said[-2:] == ["step 0", "resigned 0"]
    world.clock.advance(999)
    world.rest()
    assert world.log.read_from == [None]
    world.log.failing.clear()
    world.clock.advance(1)
    world.rest()
    assert world.log.read_from == [None, None], "from its start, into an empty coordinator"
    assert coordinator.serving == {0}
    assert world.log.told == []


def test_a_start_goes_on_without_what_cannot_be_read() -> None:
    world = World(partitions=2)
    world.log.failing = {0: KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)}
    world.on_demand.load()
    coordinator = world.begin()
    assert coordinator.serving == {1}
    world.log.failing.clear()
    world.clock.advance(1000)
    world.rest()
    assert coordinator.serving == {0, 1}


@pytest.mark.parametrize("error", [ValueError("nobody foresaw it"), KafkaError(ErrorCode.CORRUPT_MESSAGE)], ids=repr)
def test_what_fails_every_time_is_told_and_waits_for_the_next_election(world: World, error: Exception) -> None:
    world.log.failing[0] = error
    coordinator = world.begin()  # raises nothing: whoever asks is not to blame
    world.rest()
    assert coordinator.said[-1] == "resigned 0"
    assert world.log.told == [(0, error)]
    world.clock.advance(10_000)
    world.rest()
    assert world.log.read_from == [None]
    world.log.failing.clear()
    world.move(0, here=False)
    world.move(0, here=True)
    world.rest()
    assert coordinator.serving == {0}


def test_one_that_fails_takes_no_other_along() -> None:
    world = World(partitions=2)
    error = world.log.failing[0] = ValueError()
    coordinator = world.begin()
    world.rest()
    assert (world.log.told, coordinator.serving) == ([(0, error)], {1})


def test_one_that_moves_away_while_it_loads_never_begins(world: World) -> None:
    coordinator = world.begin()
    world.move(0, here=False)
    world.rest()
    assert coordinator.said[-1] == "resigned 0"


def test_one_that_comes_back_while_it_loads_is_read_in_once_from_its_start(world: World) -> None:
    coordinator = world.begin()
    world.move(0, here=False)
    world.move(0, here=True)
    world.rest()
    assert coordinator.said[2:] == ["step 0", "resigned 0", "elected 0", *["step 0"] * 3, "began 0"]


def test_an_election_that_changes_nothing_does_not_begin_anew(world: World) -> None:
    coordinator = world.begin()
    world.move(0, here=True)
    world.rest()
    assert coordinator.said.count("elected 0") == 1


def test_a_topic_made_anew_while_the_old_one_loads(world: World) -> None:
    coordinator = world.begin()
    world.cluster.partitions = [Partition(0)]
    world.move(0, here=True)
    world.rest()
    assert coordinator.said[2:] == ["step 0", "elected 0", *["step 0"] * 3, "began 0"]


def test_what_comes_while_it_loads_is_waited_for_and_read_from_there_on(world: World) -> None:
    coordinator = world.begin()
    world.log.durable = False
    world.rest()
    assert coordinator.serving == set()
    world.log.durable, world.log.steps = True, 1
    world.clock.advance(20)
    world.rest()
    assert world.log.read_from == [None, 5]
    assert coordinator.serving == {0}


def test_nothing_begins_before_all_is_on_the_disk(world: World) -> None:
    world.log.durable = False
    coordinator = world.begin()
    world.rest()
    assert coordinator.said == ["loaded"]
    world.log.durable = True
    world.clock.advance(20)
    world.rest()
    assert coordinator.serving == {0}


@pytest.mark.parametrize("durable", [True, False])
def test_a_shutdown_while_it_loads(world: World, durable: bool) -> None:
    coordinator = world.begin()
    world.log.durable = durable
    world.on_demand.shut_down()
    world.rest()
    world.clock.advance(10_000)
    world.rest()
    world.move(0, here=True)
    assert coordinator.said[2:] == ["step 0", "shutdown"]


def test_a_topic_that_grows_while_it_loads_begins_anew(world: World) -> None:
    before = world.begin()
    world.cluster.partitions.append(Partition(1))
    world.move(1, here=True)
    after = world.begin()
    world.rest()
    assert before.said[2:] == ["step 0", "shutdown"]
    assert after.serving == {0, 1}
