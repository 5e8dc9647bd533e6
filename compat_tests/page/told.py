"""What the tests said, from the files of one or more runs, and what it comes to for a cell."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from compat_tests.results import FAILED, LACKS, LEFT, PASSED, SKIPPED, SOAK

MISSING = "missing"
MARKS = {FAILED: "❌", MISSING: "?", PASSED: "✓", LACKS: "–", "": ""}
_WORST_FIRST = (FAILED, MISSING, PASSED, LACKS)


class Line(NamedTuple):
    """One test. `home`, `at`: the module and the line where it stands, for the order of rows."""

    test: str
    outcome: str
    suite: str = ""
    home: str = ""
    at: int = 0
    name: str = ""
    case: str = ""
    client: str = ""
    is_scenario: bool = False
    make: str = ""
    version: str = ""
    reason: str = ""
    api: tuple[str, int] | None = None
    tools: tuple[tuple[str, str], ...] = ()
    configs: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> str:
        """What it makes of its cell. A test that was skipped has said nothing."""
        return MISSING if self.outcome in (LEFT, SKIPPED) else self.outcome


class Told(NamedTuple):
    """All runs together. `modules`: that were collected; `trees`: by file, the checksum of the sources it is about."""

    lines: list[Line]
    modules: frozenset[str]
    trees: dict[str, str]

    def red(self) -> list[str]:
        """The tests that failed."""
        return [line.test for line in self.lines if line.state == FAILED]

    def missing(self) -> list[str]:
        """The tests that were collected and have no outcome."""
        return [line.test for line in self.lines if line.state == MISSING]


def read(files: Iterable[Path]) -> Told:
    """Of a test in several files the last one that has run it counts; a file of which nothing counts does not."""
    lines: dict[str, Line] = {}
    said_by: dict[str, str] = {}
    trees = {}
    for file in files:
        content = json.loads(file.read_text("utf-8"))
        trees[str(file)] = content["tree"]
        for each in content["tests"]:
            line = _line(each)
            known = lines.get(line.test)
            if known is None or line.state != MISSING or known.state == MISSING:
                lines[line.test] = line
                said_by[line.test] = str(file)
    found = [line for line in lines.values() if line.outcome != SOAK]
    return Told(
        lines=sorted(found, key=lambda line: (line.home, line.at, line.case, line.test)),
        modules=frozenset(test.partition("::")[0] for test in lines),
        trees={file: tree for file, tree in trees.items() if file in said_by.values()},
    )


def worst(lines: Iterable[Line]) -> str:
    """The state of a cell that several tests make; "": none does."""
    states = {line.state for line in lines}
    return next((state for state in _WORST_FIRST if state in states), "")


def _line(each: dict[str, Any]) -> Line:
    """Lists become tuples."""
    frozen: dict[str, Any] = {name: tuple(map(tuple, each[name])) for name in ("tools", "configs") if name in each}
    if "api" in each:
        frozen["api"] = tuple(each["api"])
    return Line(**(each | frozen))
