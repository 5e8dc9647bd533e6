"""Subscriptions by regular expression: RE2, whole names, and Kafka's words for a pattern that is none."""

from __future__ import annotations

import pytest

from ottla.coordinator.group.subscriptions import MAX_PATTERN_CHARS, compile_regex, resolve
from ottla.wire.errors import ErrorCode, KafkaError

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


# As Kafka 4.4.0 worded them.
@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing closing )"),
        ("[a", "missing closing ]"),
        ("*a", "missing argument to repetition operator"),
        ("a{1001}", "invalid repeat count"),
        ("(?=a)", "invalid or unsupported Perl syntax"),
        ("(?z)", "invalid or unsupported Perl syntax"),
        ("[z-a]", "invalid character class range"),
        (r"\8", "invalid escape sequence"),
        ("a\\", "trailing backslash at end of expression"),
        ("a**", "invalid nested repetition operator"),
        (r"\p{Foo}", "invalid character class range"),
    ],
)
def test_what_is_no_pattern(pattern: str, reason: str) -> None:
    with pytest.raises(KafkaError) as caught:
        compile_regex(pattern)
    assert caught.value.code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert caught.value.message == f"SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}."


@pytest.mark.parametrize("pattern", ["x" * (MAX_PATTERN_CHARS + 1), "(a{1000}){1000}", "a{1000}" * 4000, "\udc80"])
def test_a_pattern_that_is_too_large_or_no_text(pattern: str) -> None:
    with pytest.raises(KafkaError) as caught:
        compile_regex(pattern)
    assert caught.value.code == ErrorCode.INVALID_REGULAR_EXPRESSION


def test_backtracking_costs_nothing() -> None:
    assert resolve(compile_regex("(a*)*b"), ["a" * 249]) == frozenset()
