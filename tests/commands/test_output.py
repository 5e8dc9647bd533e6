"""What people and scripts see: tables, JSON, escapes, colour."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime

import pytest

from ottla.commands.output import (
    MAX_UNREADABLE_BYTES,
    Output,
    cell,
    colour_wanted,
    coloured_json,
    json_bytes,
    json_text,
    readable,
    table_lines,
)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ([1, 2], "1,2"),
        ([], "-"),
        ("plain", "plain"),
        ("Jörg", "Jörg"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("\x9b2J", r"\x9b2J"),
        ("safe\u202eevil", r"safe\u202eevil"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_table_has_numbers_at_the_right_and_no_blanks_at_line_ends() -> None:
    lines = table_lines(["topic", "lag", "value"], [["a", "5", "1"], ["longer", "-", "x"], ["b", "1234", ""]])
    assert lines == ["TOPIC    LAG  VALUE", "a          5  1", "longer     -  x", "b       1234"]


def test_a_table_without_rows_is_its_heading() -> None:
    assert table_lines(["a", "b"], []) == ["A  B"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "null"),
        (b"", ""),
        (b"text", "text"),
        ("Jörg".encode(), "Jörg"),
        (b"\x1b]0;title\x07", r"\x1b]0;title\x07"),
        (b"\xff\x00", "0xff00"),
        (b"a\r\nb", r"a\r\nb"),
    ],
)
def test_data_for_people(data: bytes | None, text: str) -> None:
    assert readable(data) == text
    assert readable(data).isprintable()


def test_long_data_that_is_no_text_is_cut() -> None:
    text = readable(b"\xff" * 10_000)
    assert len(text) < 2 * MAX_UNREADABLE_BYTES + 40
    assert text.endswith("...(10000 bytes)")


@pytest.mark.parametrize(
    ("data", "value"),
    [(None, None), (b"", ""), (b"a\x00b", "a\x00b"), (b"\xff\x00", {"base64": "/wA="})],
)
def test_data_for_scripts(data: bytes | None, value: object) -> None:
    assert json_bytes(data) == value


def test_json_is_printable_and_says_the_same() -> None:
    value = {"name": "Jörg \x1b[31m \x9b \u202e \u2028 😀", "list": [1, None, True], "nested": {"a": "\n"}}
    for indent in (None, 2):
        text = json_text(value, indent)
        assert json.loads(text) == value
        assert text.replace("\n", "").isprintable()
        assert "Jörg" in text
        assert "😀" in text


def test_json_of_what_avro_knows() -> None:
    number = uuid.UUID(int=5)
    value = {"data": b"\xff", "text": b"abc", "when": datetime(2026, 1, 2, tzinfo=UTC), "id": number}
    assert json.loads(json_text(value)) == {
        "data": {"base64": "/w=="},
        "text": "abc",
        "when": "2026-01-02T00:00:00+00:00",
        "id": str(number),
    }


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal(environment: dict[str, str], wanted: bool) -> None:
    assert colour_wanted(Terminal(), environment) is wanted
    assert colour_wanted(io.StringIO(), environment) is False


def test_paint_is_nothing_without_colour() -> None:
    assert Output(io.StringIO(), json=False, colour=False).paint("text", "bold") == "text"
    assert Output(io.StringIO(), json=False, colour=True).paint("text", "bold", "red") == "\x1b[1;31mtext\x1b[0m"
    assert Output(io.StringIO(), json=False, colour=True).paint("", "bold") == ""


def test_coloured_json_is_json_with_paint() -> None:
    import re

    value = {"a": [1, -2.5e10, True, None, "text: 5, true"], 'quo"ted': "\\"}
    plain = Output(io.StringIO(), json=False, colour=False)
    painted = Output(io.StringIO(), json=False, colour=True)
    assert coloured_json(value, plain) == json.dumps(value)
    text = coloured_json(value, painted, indent=2)
    assert re.sub(r"\x1b\[\d+m", "", text) == json.dumps(value, indent=2)
    assert '\x1b[34m"a"\x1b[0m:' in text
    assert '\x1b[32m"text: 5, true"\x1b[0m' in text
    assert "\x1b[33mtrue\x1b[0m" in text
