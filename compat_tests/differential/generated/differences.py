"""Where two answers differ, and which of that is known: compat_tests/differences.toml."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from compat_tests.differential.generated.cases import Cell, cases

FILE: Final = Path(__file__).parents[2] / "differences.toml"
ABSENT: Final = "<absent>"
_LONG = 100
#: Texts for people: each broker has its own words.
_WORDS: Final = frozenset({"error_message", "documentation"})


class Difference(NamedTuple):
    """Of one case: the field's path, and both values as JSON."""

    case: str
    field: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.case} | {self.field or '(answer)'}: {self.ours}, Kafka: {self.theirs}"

    @property
    def is_words(self) -> bool:
        """Whether it is only how something is said to people."""
        return self.field.rpartition(".")[2] in _WORDS


class Entry(NamedTuple):
    """Known differences: at each of these versions, in each of these cases that the version has, all of these fields.

    `fields`: by path, what Ottla says and what Kafka says, as JSON.
    """

    api: str
    versions: range
    cases: tuple[str, ...]
    fields: dict[str, tuple[str, str]]
    reason: str

    def of(self, case: str) -> Iterator[Difference]:
        """What must differ in a case."""
        for field, (ours, theirs) in self.fields.items():
            yield Difference(case, field, ours, theirs)


@cache
def entries() -> list[Entry]:
    """All known differences. Raises KeyError for an entry that lacks something."""
    found = []
    for table in tomllib.loads(FILE.read_text())["difference"]:
        low, _, high = table["versions"].partition("-")
        fields = {path: (json.dumps(ours), json.dumps(theirs)) for path, (ours, theirs) in table["fields"].items()}
        versions = range(int(low), int(high or low) + 1)
        found.append(Entry(table["api"], versions, tuple(table["cases"]), fields, table["reason"]))
    return found


def known(cell: Cell) -> set[Difference]:
    """What must differ in a cell."""
    names = {case.name for case in cases(cell)}
    return {
        difference
        for entry in entries()
        if entry.api == cell.api and cell.version in entry.versions
        for case in entry.cases
        if case in names
        for difference in entry.of(case)
    }


def between(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Difference]:
    """What is different in a cell, case by case. Both must have played the same cases."""
    found = []
    for case, played in theirs.items():
        for path, mine, his in _walk("", ours[case]["heard"], played["heard"]):
            found.append(Difference(case, path, json.dumps(mine), json.dumps(his)))
    return found


def _walk(path: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            at = f"{path}.{key}".lstrip(".")
            yield from _walk(at, ours.get(key, ABSENT), theirs.get(key, ABSENT))
    elif type(ours) is not type(theirs) or ours != theirs:
        yield path, _short(ours), _short(theirs)


def _short(value: Any) -> Any:
    """Of a whole answer or element, and of long bytes, it is enough that they are there. TOML has no null."""
    if value is None:
        return "<null>"
    is_long = isinstance(value, str) and len(value) > _LONG
    return "<there>" if is_long or isinstance(value, dict) else value
