"""How results are shown: tables for people, JSON for scripts, colour only on a terminal. No result is made here.

Whatever came from a broker is escaped: no name, key or value moves the cursor of a terminal.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from ottla.broker.logs import one_line

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_GAP: Final = "  "
NOTHING: Final = "-"  # what a table shows where there is no value
MAX_UNREADABLE_BYTES: Final = 256  # of what is no text, shown to people


class Output:
    """Where a command writes its result. `json` and `colour` say how.

    `colour` is asked for by a terminal, unless NO_COLOR is set or TERM is dumb.
    """

    def __init__(self, stream: TextIO, *, json: bool, colour: bool) -> None:
        self.stream = stream
        self.json = json
        self.colour = colour

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Output:
        """The one on stdout, as `flags` want it."""
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end a command
        return cls(sys.stdout, json=flags.json, colour=colour_wanted(sys.stdout, os.environ))

    def document(self, value: object) -> None:
        """One JSON document, laid out for reading."""
        self.stream.write(json_text(value, indent=2) + "\n")

    def json_line(self, value: object) -> None:
        """One JSON value in one line."""
        self.stream.write(json_text(value) + "\n")

    def line(self, text: str = "") -> None:
        """A line as it is: what is in it must be escaped already."""
        self.stream.write(text + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table with a heading. A row may hold what `cell` understands; columns of numbers stand at the right."""
        heading, *lines = table_lines(columns, [[cell(value) for value in row] for row in rows])
        self.line(self.paint(heading, "bold"))
        for line in lines:
            self.line(line)

    def paint(self, text: str, *styles: str) -> str:
        """`text` in these styles, if there is colour at all."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def flush(self) -> None:
        """What is written is on its way."""
        self.stream.flush()


def colour_wanted(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that may be coloured (https://no-color.org)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def cell(value: object) -> str:
    """A value as text in a table."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(cell(item) for item in value) or NOTHING
    return one_line(str(value))


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, the heading first. Numbers stand at the right, but not in a column named value."""
    widths = [max([len(name), *(len(row[at]) for row in rows)]) for at, name in enumerate(columns)]
    right = [
        name != "value"
        and any(row[at] != NOTHING for row in rows)
        and all(re.fullmatch(r"-?\d*", row[at]) for row in rows)
        for at, name in enumerate(columns)
    ]

    def laid(row: Sequence[str]) -> str:
        cells = [
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(row, widths, right, strict=True)
        ]
        return _GAP.join(cells).rstrip()

    return [laid([name.upper() for name in columns]), *map(laid, rows)]


def json_text(value: object, indent: int | None = None) -> str:
    """`value` as JSON that no terminal stumbles over: what is not printable is escaped. Bytes become `json_bytes`."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_json_ready)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _json_ready(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return json_bytes(bytes(value))
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    written = getattr(value, "isoformat", None)
    return written() if written is not None else str(value)  # dates, UUIDs and decimals, of Avro


def json_bytes(data: bytes | None) -> object:
    """Bytes for JSON: a text if they are UTF-8, else {"base64": ...}; None stays null."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def readable(data: bytes | None) -> str:
    """Bytes for people, in one line: text with escapes if they are UTF-8, else 0x and hex; null if there are none."""
    if data is None:
        return "null"
    try:
        return one_line(data.decode())
    except UnicodeDecodeError:
        if len(data) > MAX_UNREADABLE_BYTES:
            return f"0x{data[:MAX_UNREADABLE_BYTES].hex()}...({len(data)} bytes)"
        return f"0x{data.hex()}"


def coloured_json(value: object, output: Output, indent: int | None = None) -> str:
    """`value` as JSON, its parts painted."""
    text = json_text(value, indent)
    if not output.colour:
        return text

    def painted(match: re.Match[str]) -> str:
        string, colon, word = match.group("string", "colon", "word")
        if string is None:
            return output.paint(word, "yellow")
        return output.paint(string, "blue") + colon if colon else output.paint(string, "green")

    return re.sub(
        r'(?P<string>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?|(?P<word>-?\d[\d.eE+-]*|true|false|null|NaN|-?Infinity)',
        painted,
        text,
    )
