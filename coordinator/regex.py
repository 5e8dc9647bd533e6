"""Regular expressions that clients send, in subscriptions (KIP-848) and filters: RE2 syntax, bounded in size and time.

Not here: what is matched with them.
"""

from __future__ import annotations

from typing import Final, Protocol

from ottla.wire.errors import ErrorCode, KafkaError

MAX_PATTERN_CHARS: Final = 32_768  # more than any client sends; compiling takes memory by length
_MAX_MEMORY_BYTES: Final = 8 << 20  # RE2's own default; a pattern that needs more is refused
# What RE2 says, in the words of RE2/J, which Kafka passes on.
_REASONS: Final = {
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "trailing \\": "trailing backslash at end of expression",
}


class Pattern(Protocol):
    """A compiled RE2 expression."""

    def fullmatch(self, text: str) -> object | None: ...


def compile_regex(text: str) -> Pattern:
    """`text` as RE2. Raises KafkaError INVALID_REGULAR_EXPRESSION, worded as Kafka does.

    RE2 takes linear time whatever it is given, so that no subscription can stall the broker.
    """
    import re2  # type: ignore[import-untyped]  # only groups that use a pattern pay for it

    if len(text) > MAX_PATTERN_CHARS:
        raise _invalid(text[:100] + "…", f"longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options=options)
    except re2.error as error:
        reason = _text(error.args[0]).partition(": ")[0]  # RE2 repeats the pattern after it
        raise _invalid(text, _REASONS.get(reason, reason)) from None
    except UnicodeEncodeError:  # a lone surrogate, which no topic name can match
        raise _invalid(text, "invalid UTF-8") from None
    return pattern


def _text(reason: object) -> str:
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _invalid(text: str, reason: str) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_REGULAR_EXPRESSION,
        f"SubscribedTopicRegex `{text}` is not a valid regular expression: {reason}.",
    )
