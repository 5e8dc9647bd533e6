"""Reading what `ottla serve --record` wrote (broker/recording.py): lines, checked. Nothing is sent or compared here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ottla.broker.recording import FORMAT, SECRET
from ottla.commands.base import CommandError

Line = dict[str, Any]

_HAS: dict[str, tuple[str, ...]] = {  # what lines of each kind have beside it
    "connected": ("connection", "node"),
    "request": ("n", "connection", "node"),
    "response": ("n", "connection", "response"),
    "closed": ("connection",),
    "ended": (),
}
_IS: dict[str, type | tuple[type, ...]] = {  # what the fields of a line are, if it has them
    "kind": str,
    "n": int,
    "connection": int,
    "node": int,
    "api": str,
    "version": int,
    "correlationId": int,
    "clientId": (str, type(None)),
    "timeMs": (int, float),
    "durationMs": (int, float),
    "nodes": list,
}


class Recording:
    """A recording, read line by line. `head` is its first one: format, cluster id, nodes. Raises CommandError."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = open(path, encoding="utf-8")  # noqa: SIM115  # closed by `lines`
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}; give a file of ottla serve --record") from None
        first = self._next_line()
        if not first:
            raise CommandError(f"{path} is empty; give a file of ottla serve --record")
        self.head = self._parse(1, first)
        if self.head.get("kind") != "recording":
            raise CommandError(f"{path} is no recording; give a file of ottla serve --record")
        if self.head.get("format") != FORMAT:
            raise CommandError(
                f"{path} is a recording of format {self.head.get('format')}, this ottla reads {FORMAT};"
                f" use the one that wrote it ({self.head.get('ottla')})"
            )

    def lines(self) -> Iterator[Line]:
        """What was recorded, in order; a line that was cut at the end is left out. Raises CommandError."""
        with self._file:
            number = 1
            while text := self._next_line():
                number += 1
                if not text.endswith("\n"):  # the broker was killed
                    return
                yield self._parse(number, text)

    def _next_line(self) -> str:
        try:
            return self._file.readline()
        except ValueError:
            raise CommandError(
                f"{self._path} is no recording: it is not UTF-8; give a file of ottla serve --record"
            ) from None

    def _parse(self, number: int, text: str) -> Line:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict) or not _is_sound(line):
            raise CommandError(f"{self._path}, line {number} is no line of a recording; record again")
        return line


def _is_sound(line: Line) -> bool:
    """Whether it has what its kind has, and that is what it should be: people cut and edit recordings."""
    if any(name in line and not isinstance(line[name], wanted) for name, wanted in _IS.items()):
        return False
    if any(not isinstance(node, dict) or not isinstance(node.get("node"), int) for node in line.get("nodes", ())):
        return False
    return all(name in line for name in _HAS.get(line.get("kind", ""), ()))


def has_secrets(value: Any) -> bool:
    """Whether something in a line was not recorded."""
    if isinstance(value, dict):
        return any(map(has_secrets, value.values()))
    if isinstance(value, list):
        return any(map(has_secrets, value))
    return bool(value == SECRET)
