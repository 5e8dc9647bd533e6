"""Java's .properties syntax: what Kafka's server.properties is written in. What the keys mean is not known here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_BLANKS: Final = " \t\f"
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(NamedTuple):
    """One entry and the number (from 1) of the line it starts on."""

    key: str
    value: str
    line: int


class PropertiesError(ValueError):
    """A line that cannot be read; the text names it and says why."""


def parse_properties(text: str) -> list[Property]:
    r"""All entries in order, a repeated key repeated. `#` and `!` start comments, a trailing `\` continues the line,
    `=`, `:` or blanks end the key. Raises PropertiesError for a broken `\u` escape.
    """
    return [_split(line, number) for line, number in _logical_lines(text)]


def _logical_lines(text: str) -> Iterator[tuple[str, int]]:
    logical: str | None = None
    start = 0
    for number, natural in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = natural.lstrip(_BLANKS)
        if logical is None:
            if not line or line[0] in "#!":
                continue
            logical, start = "", number
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            logical += line[:-1]
            continue
        yield logical + line, start
        logical = None
    if logical:
        yield logical, start


def _split(line: str, number: int) -> Property:
    end = 0
    while end < len(line) and line[end] not in "=:" + _BLANKS:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(_BLANKS)
    if rest and rest[0] in "=:":
        rest = rest[1:].lstrip(_BLANKS)
    return Property(_unescape(line[:end], number), _unescape(rest, number), number)


def _unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    result = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\" and at < len(text):
            char = text[at]
            at += 1
            if char == "u":
                digits = text[at : at + 4]
                if len(digits) < 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                    raise PropertiesError(f"line {number}: \\u must be followed by four hexadecimal digits")
                char = chr(int(digits, 16))
                at += 4
            else:
                char = _ESCAPES.get(char, char)
        result += char
    return result
