"""Where to begin: --from, --to, TOPIC:PARTITION, and what they come to in a partition."""

from __future__ import annotations

from datetime import datetime

import pytest

from ottla.broker.errors import UsageError
from ottla.commands.base import CommandError
from ottla.commands.offsets import target_offset
from ottla.commands.places import Place, parse_partitions, parse_place, time_text

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("earliest", Place("earliest")),
        ("Latest", Place("latest")),
        ("0", Place("offset", 0)),
        ("42", Place("offset", 42)),
        ("@1700000000000", Place("time", 1_700_000_000_000)),
        ("15m", Place("time", NOW_MS - 900_000)),
        ("500ms", Place("time", NOW_MS - 500)),
        ("2h", Place("time", NOW_MS - 7_200_000)),
        ("1d", Place("time", NOW_MS - 86_400_000)),
        ("999999999w", Place("time", 0)),
        ("2026-11-23T10:00:00Z", Place("time", 1_795_428_000_000)),
        ("2026-11-23T10:00+02:00", Place("time", 1_795_420_800_000)),
        ("2026-11-23", Place("time", int(datetime(2026, 11, 23).timestamp() * 1000))),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text, NOW_MS) == place


def test_shifts_only_where_they_mean_something() -> None:
    assert parse_place("-10", NOW_MS, shift=True) == Place("shift", -10)
    assert parse_place("+3", NOW_MS, shift=True) == Place("shift", 3)
    with pytest.raises(UsageError, match="-10 is no place in a topic"):
        parse_place("-10", NOW_MS)


@pytest.mark.parametrize("text", ["", "soon", "-1h", "1y", "٣", "1.5", "2026-13-01", "9" * 20, "@-1"])
def test_no_places(text: str) -> None:
    with pytest.raises(UsageError, match="is no place in a topic; give one of"):
        parse_place(text, NOW_MS, shift=True)


@pytest.mark.parametrize(
    ("text", "partitions"),
    [("t", ("t", None)), ("t:0", ("t", [0])), ("my.topic:3,1", ("my.topic", [3, 1]))],
)
def test_partitions(text: str, partitions: tuple[str, list[int] | None]) -> None:
    assert parse_partitions(text) == partitions


@pytest.mark.parametrize("text", ["", ":0", "t:", "t:a", "t:1,", "t:-1", "t:1:2"])
def test_no_partitions(text: str) -> None:
    with pytest.raises(UsageError, match="is not of the form"):
        parse_partitions(text)


@pytest.mark.parametrize(
    ("place", "committed", "at_time", "offset"),
    [
        (Place("earliest"), None, None, 10),
        (Place("latest"), 15, None, 20),
        (Place("offset", 12), None, None, 12),
        (Place("offset", 3), None, None, 10),
        (Place("offset", 99), None, None, 20),
        (Place("shift", 2), 15, None, 17),
        (Place("shift", -9), 15, None, 10),
        (Place("shift", 9), 15, None, 20),
        (Place("time", 5), None, 14, 14),
        (Place("time", 5), None, -1, 20),
    ],
)
def test_what_a_place_is_in_a_partition(place: Place, committed: int | None, at_time: int | None, offset: int) -> None:
    assert target_offset(place, 10, 20, committed, at_time, "t:0") == offset


def test_nothing_can_be_shifted_where_nothing_is_committed() -> None:
    with pytest.raises(CommandError, match="nothing is committed for t:0"):
        target_offset(Place("shift", 1), 0, 5, None, None, "t:0")


def test_timestamps() -> None:
    assert time_text(-1) == "-"
    assert time_text(1_795_428_000_123).endswith(".123")
    assert time_text(1 << 62) == f"@{1 << 62}"
