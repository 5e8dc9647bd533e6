"""What a scenario is: a story that is told to each broker in turn, and the figures that it must give.

Types only: scenarios/ tells the stories, brokers.py starts the brokers, runner.py takes the turns, report.py draws the
table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.brokers import Broker

CPU_PER_UNIT = "cpu_us"
"""The figure of every hot scenario beside its own: microseconds of broker CPU per unit of its work."""


class Size(NamedTuple):
    """How much work a turn is: `scale` 1 is a turn of one to three seconds; `bench-quick` takes less."""

    name: str
    scale: float

    def of(self, normal: int, least: int = 1) -> int:
        """`normal` pieces of work, scaled."""
        return max(least, int(normal * self.scale))


SIZES = {size.name: size for size in (Size("normal", 1.0), Size("quick", 0.5), Size("tiny", 0.002))}


class Figure(NamedTuple):
    """One column of results. `better` is "high" or "low"."""

    key: str
    unit: str
    what: str
    better: str


class Goal(NamedTuple):
    """What the median of Ottla's figure `key` over that of `against`, in the same run, must be at least or at most;
    with `against` None, the median itself.
    """

    key: str
    against: str | None = "kafka"
    at_least: float | None = None
    at_most: float | None = None


class Scenario(NamedTuple):
    """`tell(broker, size)` does the work of one turn and returns figures by key.

    The broker runs and is warm; or, with `own`, it is one that is not started, whose `fresh()` the scenario starts and
    stops itself. It makes its own topics (`client.new_topic`) and deletes them. What it measures it wraps in
    `broker.meter()`; what it prepares stays outside. Raises BadAnswerError if the broker answers wrongly: the row says
    FAILED, the run goes on.
    """

    name: str
    what: str
    unit: str  # of CPU_PER_UNIT: "MB", "request", ...; "" if it gives none
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...]
    tell: Callable[[Broker, Size], Mapping[str, float]]
    own: bool = False
    quick: bool = False  # part of `make bench-quick`
