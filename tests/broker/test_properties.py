"""Java's .properties syntax, corner by corner."""

from __future__ import annotations

import pytest

from ottla.broker.properties import PropertiesError, Property, parse_properties


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("# a comment\n! another\n\n   \n\t# indented", []),
        (
            "a=1\nb:2\nc 3\nd\t=\t4\ne  :  5\nf = = 6",
            [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "= 6")],
        ),
        ("a=1\r\nb=2\rc=3", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("  indented = value with blanks  ", [("indented", "value with blanks  ")]),
        ("a=x#y!z=w:v", [("a", "x#y!z=w:v")]),
        ("alone", [("alone", "")]),
        ("empty=", [("empty", "")]),
        ("=value", [("", "value")]),
        ("list=a,\\\n     b,\\\r\n\tc", [("list", "a,b,c")]),
        ("a=1\\\\\nb=2", [("a", "1\\"), ("b", "2")]),
        ("a=1\\\\\\\n2", [("a", "1\\2")]),
        ("a=1\\\n\nb=2", [("a", "1"), ("b", "2")]),
        ("a=1\\\n# no comment here", [("a", "1# no comment here")]),
        ("# a comment does not continue \\\na=1", [("a", "1")]),
        ("a=1\\", [("a", "1")]),
        ("key\\ with\\=all\\:of=it", [("key with=all:of", "it")]),
        ("a=\\t\\n\\r\\f\\u00e9\\u4E2D\\q\\\\", [("a", "\t\n\r\f\u00e9\u4e2dq\\")]),
        ("path=C\\:\\\\kafka", [("path", "C:\\kafka")]),
        ("a=1\na=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_entries(text: str, entries: list[tuple[str, str]]) -> None:
    assert [(entry.key, entry.value) for entry in parse_properties(text)] == entries


def test_an_entry_knows_the_line_it_starts_on() -> None:
    assert parse_properties("# one\n\na=1,\\\n  2\nb=3") == [Property("a", "1,2", 3), Property("b", "3", 5)]


@pytest.mark.parametrize("text", ["a=\\u12", "a=1\nb=\\uzzzz", "a=\\u+123"])
def test_a_broken_escape_is_named(text: str) -> None:
    with pytest.raises(PropertiesError, match=f"line {text.count(chr(10)) + 1}: "):
        parse_properties(text)
