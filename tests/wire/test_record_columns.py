"""Records of many sizes checked by columns: the walk says the same of every block with them as without them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.wire import walk as walking
from ottla.wire.errors import KafkaError
from ottla.wire.record_columns import mixed_run
from ottla.wire.record_runs import LEAST, WINDOW
from ottla.wire.records import RECORDS, Record, build_batch
from ottla.wire.varint import encode_zigzag
from ottla.wire.walk import Walk, walk

T0 = 1_700_000_000_000
BEFORE = 64  # records whose offset deltas have one byte


def block_of(rows: list[Record]) -> bytes:
    return bytes(build_batch(rows)[RECORDS:])


def of_sizes(sizes: list[int], *, key: bytes | None = None, step_ms: float = 0) -> list[Record]:
    return [Record(at, T0 + int(at * step_ms), key, bytes(size)) for at, size in enumerate(sizes)]


def mixed(count: int, least: int, most: int) -> list[int]:
    return [least + at * 61 % 97 % (most - least + 1) for at in range(count)]


def start_of(rows: list[Record], index: int) -> int:
    return len(block_of(rows[:index]))


def verdict(block: bytes, count: int) -> Walk | str:
    try:
        return walk(block, count, keys_required=True, base_timestamp=T0, timestamp_range=(T0 - 10, T0 + 1000))
    except KafkaError as error:
        return f"{error.code.name}: {error.message}"


def one_by_one(block: bytes, count: int) -> Walk | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "mixed_run", lambda *_: None)
        patch.setattr(walking, "uniform_run", lambda *_: None)
        return verdict(block, count)


def agree(block: bytes, count: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "uniform_run", lambda *_: None)  # it would take the runs that this is about
        assert verdict(block, count) == one_by_one(block, count)
    assert verdict(block, count) == one_by_one(block, count)


@pytest.mark.parametrize("least", [1, 40, 55, 100, 1900])
@pytest.mark.parametrize("key", [None, b"", b"key", b"k" * 63])
@pytest.mark.parametrize("step_ms", [0, 0.1, 0.2, 2])
def test_many_sizes(least: int, key: bytes | None, step_ms: float) -> None:
    rows = of_sizes(mixed(300, least, least + 80), key=key, step_ms=step_ms)
    block = block_of(rows)
    agree(block, 300)
    run = mixed_run(block, start_of(rows, BEFORE), BEFORE, 300 - BEFORE)
    if least < 1900 and step_ms < 2:
        assert run is not None
        assert run.key == (key is None)
        assert run.end == start_of(rows, BEFORE + run.records)
        crossing = next((at for at, row in enumerate(rows) if at > BEFORE and row.timestamp_ms >= T0 + 64), 300)
        assert run.records == (crossing if rows[BEFORE].timestamp_ms < T0 + 64 else 300) - BEFORE


@pytest.mark.parametrize("count", [8191, 8192, 8193, 8192 + LEAST, 2 * WINDOW + 100])
def test_up_to_where_offset_deltas_become_longer(count: int) -> None:
    agree(block_of(of_sizes(mixed(count, 1, 90))), count)


def test_sizes_around_the_second_byte_of_a_length() -> None:
    for key in (None, b"1234567"):
        agree(block_of(of_sizes(mixed(400, 45, 75), key=key)), 400)
        agree(block_of(of_sizes(mixed(400, 50, 140), key=key, step_ms=0.3)), 400)


def test_a_few_records_of_another_kind() -> None:
    rows = of_sizes(mixed(500, 20, 120), key=b"key")
    others = {
        100: Record(100, T0 + 500, None, b"v" * 30),
        150: Record(150, T0 - 5, b"k" * 100, b"v"),
        200: Record(200, T0, b"tombstone", None),
        300: Record(300, T0 + 9, b"key", b"v" * 40, [("name", b"ends in zero\0")]),
        400: Record(400, T0 + 2000, b"key", b"v" * 40, [("name", None)]),
        450: Record(450, T0, b"key", b"v" * 5000),
    }
    for at, record in others.items():
        rows[at] = record
    block = block_of(rows)
    agree(block, 500)
    found = verdict(block, 500)
    assert found == (2000, [100], [400])
    run = mixed_run(block, start_of(rows, BEFORE), BEFORE, 200)
    assert run is not None
    assert (run.records, run.least_timestamp_delta, run.most_timestamp_delta, run.key) == (200, -5, 500, 1)


def test_every_damaged_byte_is_judged_as_one_by_one() -> None:
    for rows in (
        of_sizes(mixed(110, 1, 9)),
        of_sizes(mixed(110, 1, 9), key=b"ab", step_ms=2),
        of_sizes([2] * BEFORE + mixed(40, 50, 64)),
    ):
        block = bytearray(block_of(rows))
        count = len(rows)
        for at in range(start_of(rows, BEFORE - 1), len(block)):
            before = block[at]
            for damaged in {before ^ 0x80, before ^ 1, before ^ 2, 0, 0xFF} - {before}:
                block[at] = damaged
                assert verdict(bytes(block), count) == one_by_one(bytes(block), count)
            block[at] = before
        for end in range(start_of(rows, BEFORE), len(block)):
            assert verdict(bytes(block[:end]), count) == one_by_one(bytes(block[:end]), count)


@pytest.mark.parametrize("at", [64, 96, 97, 700, 8191, 8192, 8900])
def test_damage_far_down(at: int) -> None:
    rows = of_sizes(mixed(9000, 3, 80), key=b"key", step_ms=0.01)
    block = bytearray(block_of(rows))
    start = start_of(rows, at)
    for byte in range(start, start + 12):
        before = block[byte]
        for damage in (1, 2, 0x80):
            block[byte] = before ^ damage
            agree(bytes(block), 9000)
        block[byte] = before


def test_lengths_that_are_longer_than_they_need_to_be() -> None:
    parts = [block_of(of_sizes(mixed(200, 10, 30)))[: start_of(of_sizes(mixed(200, 10, 30)), 130)]]
    for index in range(130, 200):
        body = b"\0\0" + encode_zigzag(index) + b"\x01" + (b"\x94\0" if index == 150 else b"\x14") + bytes(10) + b"\0"
        length = encode_zigzag(len(body))
        parts.append((bytes((length[0] | 128, 0)) if index == 170 else length) + body)
    block = b"".join(parts)
    assert isinstance(verdict(block, 200), Walk)
    agree(block, 200)


kinds = st.tuples(
    st.integers(1, 120),  # records
    st.integers(0, 130),  # the least size
    st.sampled_from([1, 2, 20, 150]),  # how far sizes go apart
    st.sampled_from([(0,), (4,), (0, 4, 8, 9), (70,), (-1,), (-1, 5)]),  # key sizes, -1: null
    st.sampled_from([(0,), (1, 30), (-3, 70), (500,), (20_000,)]),  # ms
    st.sampled_from([0.0, 0.02, 1.0]),  # how many have headers
    st.sampled_from([0.0, 0.02]),  # how many are tombstones
)


@given(st.lists(kinds, min_size=1, max_size=5), st.integers(0, 3), st.randoms(use_true_random=False), st.data())
def test_blocks_of_many_kinds(
    several: list[tuple[int, int, int, tuple[int, ...], tuple[int, ...], float, float]],
    damages: int,
    chance: Random,
    data: st.DataObject,
) -> None:
    rows: list[Record] = []
    for count, least, apart, key_sizes, times, headers, tombstones in several:
        for _ in range(count):
            key_size = chance.choice(key_sizes)
            value = None if chance.random() < tombstones else chance.randbytes(least + chance.randrange(apart))
            named = [("h", chance.choice((None, b"", b"\0", b"abc")))] if chance.random() < headers else []
            key = None if key_size < 0 else bytes(key_size)
            rows.append(Record(len(rows), T0 + chance.choice(times), key, value, named))
    block = bytearray(block_of(rows))
    for _ in range(damages):
        block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.sampled_from([1, 2, 3, 0x80, 0xFF]))
    count = len(rows) + data.draw(st.sampled_from([0, 0, 0, 1, -1]))
    agree(bytes(block), count)
    agree(bytes(block[: data.draw(st.integers(0, len(block)))]), count)


def test_what_is_no_run() -> None:
    rows = of_sizes(mixed(300, 10, 90))
    block = block_of(rows)
    at = start_of(rows, BEFORE)
    assert mixed_run(block, 0, 0, 300) is None  # nothing is known of the byte before it
    assert mixed_run(block, at, BEFORE, LEAST - 1) is None
    assert mixed_run(block, at, BEFORE + 1, 200) is None  # offset deltas of others
    assert mixed_run(block, at, 1 << 20, 200) is None
    assert mixed_run(block, len(block), BEFORE, 200) is None
    assert mixed_run(block[: at + 3], at, BEFORE, 200) is None
    assert mixed_run(block_of([*of_sizes([9] * 64), *rows[64:]])[:-1], 64 * 16, BEFORE, 236) is not None


@pytest.mark.parametrize("first", range(730, 742))
def test_odd_ones_up_to_a_damaged_one(first: int) -> None:
    """From where a run begins (736 is such a place): it is the damaged one that is named."""
    rows = of_sizes(mixed(3200, 20, 180))
    for at in range(first, 796):
        rows[at].value = None
    block = bytearray(block_of(rows))
    damaged = start_of(rows, 796)
    offset_delta_at = damaged + (2 if block[damaged] > 127 else 1) + 2  # behind the attributes and the timestamp
    block[offset_delta_at] ^= 2
    said = verdict(bytes(block), len(rows))
    assert isinstance(said, str)
    assert "797" in said
    agree(bytes(block), len(rows))
