"""Subscriptions by regular expression: whole topic names match."""

from __future__ import annotations

import pytest

from ottla.coordinator.group.subscriptions import resolve
from ottla.coordinator.regex import compile_regex

NAMES = ("foo", "foo-1", "foobar", "bar", "BAR", "a.b", "a_b")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("foo", {"foo"}),
        ("foo.*", {"foo", "foo-1", "foobar"}),
        ("foo|bar", {"foo", "bar"}),
        ("(?i)bar", {"bar", "BAR"}),
        ("a[.]b", {"a.b"}),
        ("a.b", {"a.b", "a_b"}),
        ("o+", set()),
        (".*", set(NAMES)),
        (r"[[:alpha:]]+", {"foo", "foobar", "bar", "BAR"}),
    ],
)
def test_whole_names_match(pattern: str, found: set[str]) -> None:
    assert resolve(compile_regex(pattern), NAMES) == found
