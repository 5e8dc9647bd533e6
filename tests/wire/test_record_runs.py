"""Records checked by columns: the walk says the same of every block with runs as without them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.wire import walk as walking
from ottla.wire.errors import KafkaError
from ottla.wire.record_runs import LEAST, WINDOW, uniform_run
from ottla.wire.records import RECORDS, Record, build_batch
from ottla.wire.walk import Walk, walk

T0 = 1_700_000_000_000


def block_of(rows: list[Record]) -> bytes:
    return bytes(build_batch(rows)[RECORDS:])


def alike(count: int, *, size: int = 20, key: bytes | None = None, step_ms: int = 0, headers: int = 0) -> list[Record]:
    named = [(f"h{at}", b"abc" if at % 2 else None) for at in range(headers)]
    return [Record(at, T0 + at * step_ms, key, bytes(size), named) for at in range(count)]


def one_by_one(block: bytes, count: int) -> Walk | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "mixed_run", lambda *_: None)
        patch.setattr(walking, "uniform_run", lambda *_: None)
        return verdict(block, count)


def verdict(block: bytes, count: int) -> Walk | str:
    try:
        return walk(block, count, keys_required=True, base_timestamp=T0, timestamp_range=(T0 - 10, T0 + 1000))
    except KafkaError as error:
        return f"{error.code.name}: {error.message}"


@pytest.mark.parametrize("count", [LEAST, 63, 64, 65, 64 + LEAST, 64 + WINDOW + 1, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("size", [0, 20, 61, 200])
def test_a_block_of_records_that_are_alike(count: int, size: int) -> None:
    block = block_of(alike(count, size=size))
    assert verdict(block, count) == one_by_one(block, count)
    run = uniform_run(block, 0, 0, count)
    assert run is not None
    assert run.records == min(count, 64)


@pytest.mark.parametrize("key", [None, b"", b"key", b"k" * 100])
@pytest.mark.parametrize("step_ms", [0, 1, 13, 100])
@pytest.mark.parametrize("headers", [0, 1, 3])
def test_keys_timestamps_and_headers(key: bytes | None, step_ms: int, headers: int) -> None:
    block = block_of(alike(700, key=key, step_ms=step_ms, headers=headers))
    assert verdict(block, 700) == one_by_one(block, 700)
    assert (uniform_run(block, 0, 0, 700) is None) == (step_ms == 100 or (step_ms == 13 and LEAST > 5))


def test_timestamps_that_go_back() -> None:
    rows = [Record(at, T0 - at % 50, None, b"v") for at in range(300)]
    found = verdict(block_of(rows), 300)
    assert found == one_by_one(block_of(rows), 300)
    assert isinstance(found, Walk)
    assert found.bad_timestamps == [at for at in range(300) if at % 50 > 10]


def test_every_damaged_byte_is_judged_as_without_runs() -> None:
    for rows in (alike(80, size=3), alike(80, size=70, key=b"k", headers=1), alike(80, size=3, step_ms=90)):
        block = bytearray(block_of(rows))
        for at in range(len(block)):
            before = block[at]
            for damaged in {before ^ 0x80, before ^ 1, before ^ 2, 0, 0xFF} - {before}:
                block[at] = damaged
                assert verdict(bytes(block), 80) == one_by_one(bytes(block), 80)
            block[at] = before


@pytest.mark.parametrize("at", [64, 700, 8191, 8192, 8999])
def test_damage_far_down_a_run(at: int) -> None:
    rows = alike(9000, size=3, step_ms=1)
    block = bytearray(block_of(rows))
    start = len(block_of(rows[:at]))
    for byte in range(start, start + 9):
        before = block[byte]
        block[byte] ^= 2
        assert verdict(bytes(block), 9000) == one_by_one(bytes(block), 9000)
        block[byte] = before


@given(
    st.lists(
        st.tuples(st.integers(1, 150), st.sampled_from([0, 1, 30, 60, 70]), st.booleans()), min_size=1, max_size=5
    ),
    st.integers(0, 3),
    st.data(),
)
def test_blocks_of_several_runs(runs: list[tuple[int, int, bool]], cut: int, data: st.DataObject) -> None:
    rows: list[Record] = []
    for count, size, keyed in runs:
        rows += [Record(len(rows) + at, T0 + size, b"key" if keyed else None, bytes(size)) for at in range(count)]
    block = bytearray(block_of(rows))
    for _ in range(cut):
        block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    count = len(rows) + data.draw(st.sampled_from([0, 0, 0, 1, -1]))
    assert verdict(bytes(block), count) == one_by_one(bytes(block), count)
    assert verdict(bytes(block[:-1]), count) == one_by_one(bytes(block[:-1]), count)


def test_what_is_not_alike_is_no_run() -> None:
    block = block_of(alike(LEAST - 1))
    assert uniform_run(block, 0, 0, LEAST - 1) is None
    mixed = block_of([Record(at, T0, None, bytes(at)) for at in range(60)])
    assert uniform_run(mixed, 0, 0, 60) is None
    assert uniform_run(b"", 0, 0, 100) is None
    assert uniform_run(block_of(alike(60)), 0, 1 << 20, 60) is None
