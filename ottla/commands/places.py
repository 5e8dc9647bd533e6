"""Where in a topic to begin: the words after --from and --to, and what they mean. Nothing is asked of a broker here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ottla.broker.durations import UNITS_MS
from ottla.broker.errors import UsageError

_EXAMPLES: Final = "earliest, latest, an offset as 42, a time as 2026-11-23T10:00 or @MILLISECONDS, a time ago as 15m"


@dataclass(frozen=True, slots=True)
class Place:
    """`kind` is earliest, latest, offset, shift (by `number` from where one is) or time (`number`: ms since 1970)."""

    kind: str
    number: int = 0


def parse_place(text: str, now_ms: int, *, shift: bool = False) -> Place:
    """The place that `text` means; `now_ms` is what a time ago counts from. Raises UsageError.

    With `shift`, +N and -N are places too. A time without a zone is one of the local zone.
    """
    word = text.strip()
    if word.lower() in ("earliest", "latest"):
        return Place(word.lower())
    if re.fullmatch(r"\d{1,19}", word, re.ASCII):
        return Place("offset", int(word))
    if shift and re.fullmatch(r"[+-]\d{1,19}", word, re.ASCII):
        return Place("shift", int(word))
    if re.fullmatch(r"@\d{1,15}", word, re.ASCII):
        return Place("time", int(word[1:]))
    ago = re.fullmatch(r"(\d{1,9})(ms|s|m|h|d|w)", word, re.ASCII)
    if ago:
        return Place("time", max(0, now_ms - int(ago[1]) * UNITS_MS[ago[2]]))
    try:
        return Place("time", int(datetime.fromisoformat(word).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        more = f"{_EXAMPLES}, a shift as -10" if shift else _EXAMPLES
        raise UsageError(f"{text} is no place in a topic; give one of: {more}") from None


def parse_partitions(text: str) -> tuple[str, list[int] | None]:
    """TOPIC or TOPIC:0,1,2 as the topic and its partitions, None for all of them. Raises UsageError."""
    topic, colon, numbers = text.partition(":")
    if not topic or (colon and not re.fullmatch(r"\d{1,9}(,\d{1,9})*", numbers, re.ASCII)):
        raise UsageError(f"{text} is not of the form TOPIC or TOPIC:PARTITION,..., as in orders:0,2")
    return topic, [int(number) for number in numbers.split(",")] if colon else None


def time_text(timestamp_ms: int) -> str:
    """A timestamp for people, in the local zone; - for none."""
    if timestamp_ms < 0:
        return "-"
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"@{timestamp_ms}"
