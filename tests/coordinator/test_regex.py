"""Regular expressions of clients: RE2 within bounds, and Kafka's words for a pattern that is none."""

from __future__ import annotations

import pytest

from ottla.coordinator.regex import MAX_PATTERN_CHARS, compile_regex
from ottla.wire.errors import ErrorCode, KafkaError


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
    assert compile_regex("(a*)*b").fullmatch("a" * 249) is None
