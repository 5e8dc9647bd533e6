"""What a scenario is: a story that is told to each broker in turn, and the figures that it must give.

Types only: scenarios/ tells the stories, brokers.py starts the brokers, runner.py takes the turns, report.py draws the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.brokers import Broker

CPU_PER_UNIT = "cpu_us_per_unit"
"""The figure that every hot scenario gives beside its own: microseconds of broker CPU per unit of its work."""


class Size(NamedTuple):
    """How much work a turn is: `scale` 1.0 is a turn of one to three seconds; `bench-quick` takes less."""

    name: str
    scale: float

    def of(self, normal: int, least: int = 1) -> int:
        """`normal` pieces of work, scaled."""
        return max(least, int(normal * self.scale))


class Figure(NamedTuple):
    """One column of results. `better` is "high" or "low"."""

    key: str
    unit: str
    what: str
    better: str


class Goal(NamedTuple):
    """Median of the figure `key` of Ottla over that of `against` in the same run: at least or at most `ratio`; or, with
    `against` None, the median itself at most `limit`.
    """

    key: str
    against: str | None = "kafka"
    at_least: float | None = None
    at_most: float | None = None


class Needs(Enum):
    """What broker a scenario is told to."""

    WARM = "one that runs since the first scenario and has been warmed (runner.WARM_BYTES, WARM_REQUESTS)"
    OWN = "none yet: the scenario starts and stops brokers of its own, by `Broker.fresh`"


class Scenario(NamedTuple):
    """`tell(broker, size)` does the work of one turn on a running broker (Needs.WARM) or on a `Broker` that is not
    started (Needs.OWN) and returns figures by key. It makes its own topics (`client.new_topic` names) and deletes them.
    What it measures it wraps in `broker.meter()`; what it prepares stays outside. A wrong answer of a broker raises
    `bench.client.BadAnswerError`: the row says FAILED, the run goes on.
    """

    name: str
    what: str  # one line for the table and --list
    unit: str  # of CPU_PER_UNIT: "MB", "request", "record", "wake-up" ..., or "" if it gives none
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...]
    tell: Callable[[Broker, Size], Mapping[str, float]]
    needs: Needs = Needs.WARM
    quick: bool = False  # part of `make bench-quick`
    settings: Mapping[str, str] = {}  # broker properties that Ottla alone needs for it, e.g. header validation
    only: frozenset[str] = frozenset()  # kinds of brokers that can take part; empty is all


__all__ = ["CPU_PER_UNIT", "Figure", "Goal", "Needs", "Path", "Scenario", "Size"]
