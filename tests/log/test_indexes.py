"""The two sparse indexes: lookups against a plain search, bytes there and back, files that are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.log.offset_index import OffsetIndex
from ottla.log.time_index import TimeIndex

BASE = 1000
columns = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), max_size=30)


def offset_index(steps: list[tuple[int, int]]) -> OffsetIndex:
    index = OffsetIndex(BASE)
    offset, position = BASE, 0
    for more, size in steps:
        offset, position = offset + more, position + size
        index.append(offset, position)
    return index


@given(columns, st.integers(BASE, BASE + 2000))
def test_position_before(steps: list[tuple[int, int]], offset: int) -> None:
    index = offset_index(steps)
    entries = zip(index.offsets, index.positions, strict=True)
    assert index.position_before(offset) == max((p for o, p in entries if o + BASE <= offset), default=0)


@given(columns)
def test_offset_index_bytes(steps: list[tuple[int, int]]) -> None:
    index = offset_index(steps)
    data = index.encode()
    for padded in (data, data + bytes(80)):  # as it is, and preallocated
        again = OffsetIndex.decode(padded, BASE, index.last_position() + 1)
        assert (again.offsets, again.positions) == (index.offsets, index.positions)
    half = len(index) // 2
    assert index.encode(half) == data[half * 8 :]


@pytest.mark.parametrize(
    ("data", "log_bytes"),
    [
        (b"\0\0\0\1\0\0\0", 100),
        (bytes.fromhex("00000001 00000010 00000001 00000020"), 100),
        (bytes.fromhex("00000001 00000010 00000002 00000010"), 100),
        (bytes.fromhex("00000001 00000064"), 100),
        (bytes.fromhex("ffffffff 00000010"), 100),
        (bytes.fromhex("00000000 00000000 00000002 00000010"), 100),
    ],
    ids=["odd size", "same offset", "same position", "behind the end", "negative", "position 0"],
)
def test_wrong_offset_index(data: bytes, log_bytes: int) -> None:
    with pytest.raises(ValueError, match="offset index"):
        OffsetIndex.decode(data, BASE, log_bytes)


def test_offset_index_truncate() -> None:
    index = offset_index([(1, 10), (1, 10), (1, 10)])
    index.truncate(20)
    assert list(index.positions) == [10]


@given(st.lists(st.tuples(st.integers(-5, 50), st.integers(1, 50)), max_size=30), st.integers(0, 2000))
def test_time_index(steps: list[tuple[int, int]], timestamp_ms: int) -> None:
    index = TimeIndex(BASE)
    seen: list[tuple[int, int]] = []
    timestamp, offset = 100, BASE
    for more_ms, more in steps:
        timestamp, offset = timestamp + more_ms, offset + more
        if timestamp > max((t for t, _ in seen), default=-1):
            seen.append((timestamp, offset))
        index.maybe_append(timestamp, offset)
    assert index.last() == (seen[-1] if seen else (-1, BASE))
    assert index.offset_before(timestamp_ms) == max((o for t, o in seen if t <= timestamp_ms), default=BASE)
    data = index.encode()
    for padded in (data, data + bytes(120)):
        again = TimeIndex.decode(padded, BASE)
        assert (again.timestamps, again.offsets) == (index.timestamps, index.offsets)


@pytest.mark.parametrize(
    "data",
    [
        bytes(11),
        bytes.fromhex("0000000000000005 00000001 0000000000000005 00000002"),
        bytes.fromhex("0000000000000005 00000002 0000000000000006 00000001"),
    ],
    ids=["odd size", "same time", "falling offset"],
)
def test_wrong_time_index(data: bytes) -> None:
    with pytest.raises(ValueError, match="time index"):
        TimeIndex.decode(data, BASE)
