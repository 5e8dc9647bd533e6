"""The rules of compaction without files: which log and how far, which records stay, and how segments are grouped."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.log.cleaner import (
    LastRecord,
    OffsetMap,
    Plan,
    Rules,
    Sealed,
    Stretch,
    Transactions,
    fill,
    group,
    is_due,
    plan,
)
from ottla.log.config import LogConfig
from ottla.log.txn_index import AbortedTransaction
from ottla.wire.records import Record, RecordBatch, TimestampType, build_batch, build_control_batch

NOW = 1_700_000_000_000
DAY = 86_400_000


# --- which log, and how far


def planned(sizes: list[int], cleaned: int = 0, **options: Any) -> Plan | None:
    """Segments of 10 offsets each; the last is the active one."""
    properties = {"cleanup.policy": "compact", **options.pop("config", {})}
    first_ms = options.pop("first_ms", [-1] * len(sizes))
    largest_ms = options.pop("largest_ms", [-1] * len(sizes))
    stretches = [
        Stretch(10 * at, size, largest, first)
        for at, (size, largest, first) in enumerate(zip(sizes, largest_ms, first_ms, strict=True))
    ]
    end = 10 * len(sizes)
    facts = {"log_start_offset": 0, "log_end_offset": end, "last_stable_offset": end, "now_ms": NOW, **options}
    return plan(stretches, LogConfig.from_properties(None, properties), cleaned_offset=cleaned, **facts)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"sizes": [100]}, None),  # the active segment is never touched
        ({"sizes": [100, 100, 5]}, (0, 20, 1.0)),
        ({"sizes": [100, 100, 5], "cleaned": 10}, (10, 20, 0.5)),
        ({"sizes": [100, 300, 5], "cleaned": 10}, (10, 20, 0.75)),
        ({"sizes": [100, 100, 5], "cleaned": 15}, (15, 20, 100 / 300)),  # a segment cut by the border counts twice
        ({"sizes": [100, 100, 5], "cleaned": 20}, None),
        ({"sizes": [100, 100, 5], "cleaned": 31}, (0, 20, 1.0)),  # beyond the end: as if never cleaned
        ({"sizes": [100, 100, 5], "cleaned": 3, "log_start_offset": 10}, (10, 20, 0.5)),
        ({"sizes": [100, 100, 5], "last_stable_offset": 7}, (0, 7, 1.0)),
        ({"sizes": [100, 100, 5], "last_stable_offset": 0}, None),
        ({"sizes": [0, 0, 5]}, None),
    ],
)
def test_how_far(case: dict[str, Any], expected: tuple[int, int, float] | None) -> None:
    found = planned(**case)
    assert (found and found[:3]) == expected


def test_records_within_the_min_lag_stay_out() -> None:
    config = {"min.compaction.lag.ms": "1000"}
    found = planned([10, 10, 10, 5], config=config, largest_ms=[NOW - 5000, NOW - 999, NOW - 5000, NOW])
    assert found is not None
    assert (found.first_dirty, found.end) == (0, 10)
    assert planned([10, 10, 5], config=config, largest_ms=[NOW, NOW - 5000, NOW]) is None


def test_a_log_is_due_by_ratio_or_age() -> None:
    half = planned([100, 100, 5], cleaned=10)
    more = planned([100, 101, 5], cleaned=10)
    assert half is not None
    assert more is not None
    config = LogConfig.from_properties(None, {"cleanup.policy": "compact"})
    assert (is_due(half, config), is_due(more, config)) == (False, True)
    for age_ms, due in ((60_000, False), (60_001, True)):
        lag = {"max.compaction.lag.ms": "60000"}
        old = planned([900, 100, 5], cleaned=10, config=lag, first_ms=[1, NOW - age_ms, NOW])
        assert old is not None
        assert is_due(old, LogConfig.from_properties(None, lag)) == due


def test_a_compacted_log_rolls_before_its_max_lag() -> None:
    lag = {"max.compaction.lag.ms": "60000"}
    assert LogConfig.from_properties(None, lag).roll_ms == 7 * DAY
    compacted = LogConfig.from_properties(None, {"cleanup.policy": "compact", **lag})
    assert (compacted.roll_ms, compacted.segment_ms) == (60_000, 7 * DAY)
    assert LogConfig.from_properties(compacted, {"cleanup.policy": "delete"}).roll_ms == 7 * DAY


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(0, 40, 8), (10, 40, 8), (20, 40, 8)], [[0, 10], [20]]),  # 100 bytes a segment
        ([(0, 150, 8), (10, 10, 8), (20, 10, 8)], [[0], [10, 20]]),  # a large one stays alone
        ([(0, 10, 24), (10, 10, 16), (20, 10, 16)], [[0], [10, 20]]),  # 32 bytes of index
        ([(0, 10, 8), (2**31 - 1, 10, 8), (2**31 + 5, 10, 8)], [[0], [2**31 - 1, 2**31 + 5]]),  # relative offsets
        ([], []),
    ],
)
def test_groups(sizes: list[tuple[int, int, int]], expected: list[list[int]]) -> None:
    segments = [Sealed(base, size, index, index) for base, size, index in sizes]
    end = segments[-1].base_offset + 10 if segments else 0
    assert [[segment.base_offset for segment in found] for found in group(segments, end, 100, 32)] == expected


# --- the map


def test_the_map_ends_where_it_is_full() -> None:
    offsets = OffsetMap(1000, 24 * 8)  # six keys at most
    assert [offsets.put(b"k%d" % n, n) for n in range(8)] == [True] * 6 + [False] * 2
    assert offsets.put(b"k2", 50)  # a key that is there needs no room
    assert [offsets.get(b"k%d" % n) for n in range(8)] == [0, 1, 50, 3, 4, 5, -1, -1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=600))
def test_the_map_is_a_map(keys: list[int]) -> None:
    offsets, model = OffsetMap(max(1, len(keys)), 1 << 20), {}
    for at, key in enumerate(keys):
        assert offsets.put(b"%d" % key, at)
        model[key] = at
    assert {key: offsets.get(b"%d" % key) for key in range(301)} == {key: model.get(key, -1) for key in range(301)}
    assert offsets.size == len(model)


# --- records


def batch(base: int, *records: tuple[bytes | None, bytes | None], **options: Any) -> RecordBatch:
    options = {"timestamp_ms": NOW - 5000, **options}
    stamp = options.pop("timestamp_ms")
    made = [Record(base + at, stamp + at, key, value) for at, (key, value) in enumerate(records)]
    return RecordBatch(build_batch(made, base_offset=base, leader_epoch=3, **options))


class Cleaned(NamedTuple):
    batches: list[RecordBatch]
    kept: list[AbortedTransaction]

    @property
    def values(self) -> list[tuple[int, bytes | None, bytes | None]]:
        return [(r.offset, r.key, r.value) for b in self.batches if not b.is_control for r in b.records(1 << 20)]

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        return [(b.base_offset, b.last_offset, b.records_count) for b in self.batches]


def clean(
    log: list[RecordBatch],
    *,
    now_ms: int = NOW,
    aborted: list[AbortedTransaction] | None = None,
    producers: dict[int, LastRecord] | None = None,
    end: int | None = None,
    keys: int = 1000,
) -> Cleaned:
    """One pass over all batches; the round ends behind the last, or at `end`, without keeping its last batch."""
    offsets = OffsetMap(keys, 1 << 20)
    seen = Transactions(aborted or [], 0)
    for one in log:
        wanted = end is None or one.base_offset < end
        if wanted and not fill(offsets, one, seen, 0, 1 << 20):
            break
    else:
        offsets.latest = (end or 10_000) - 1
    rules = Rules(
        offsets,
        Transactions(aborted or [], 0),
        producers or {},
        now_ms=now_ms,
        delete_retention_ms=DAY,
        budget_bytes=1 << 20,
    )
    found = [kept for one in log if (kept := rules.retained(one)) is not None]
    for one in found:
        assert RecordBatch(one).is_valid_crc()
    return Cleaned([RecordBatch(one) for one in found], rules.transactions.kept)


def test_the_last_record_of_each_key_stays_where_it_was() -> None:
    log = [
        batch(0, (b"a", b"1"), (b"b", b"1"), (b"c", b"1")),
        batch(3, (b"a", b"2")),
        batch(4, (b"a", b"3"), (b"b", b"2"), (b"d", b"1")),
        batch(7, (b"a", b"4")),
    ]
    done = clean(log)
    assert done.values == [(2, b"c", b"1"), (5, b"b", b"2"), (6, b"d", b"1"), (7, b"a", b"4")]
    assert done.spans == [(0, 2, 1), (4, 6, 2), (7, 7, 1)]  # offsets of a batch stay, what is empty vanishes
    assert [b.partition_leader_epoch for b in done.batches] == [3, 3, 3]
    assert bytes(done.batches[2].memory()) == bytes(log[3].memory())
    assert [b.base_timestamp for b in done.batches] == [NOW - 5000 + 2, NOW - 5000 + 1, NOW - 5000]  # as Kafka's
    assert [r.timestamp_ms for b in done.batches for r in b.records(1000)] == [
        NOW - 4998,
        NOW - 4999,
        NOW - 4998,
        NOW - 5000,
    ]


def test_records_without_a_key_go_and_headers_stay() -> None:
    record = Record(2, NOW, b"k", b"v", [("h", b"x"), ("n", None)])
    mixed = build_batch([Record(1, NOW, None, b"n"), record], base_offset=1)
    done = clean([batch(0, (None, b"x")), RecordBatch(mixed)])
    assert [list(b.records(1000)) for b in done.batches] == [[record]]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_the_codec_stays(codec: int) -> None:
    log = [batch(0, *[(b"%d" % (n % 7), b"v" * 50) for n in range(30)], codec=codec), batch(30, (b"0", b"new"))]
    done = clean(log)
    assert [b.codec for b in done.batches] == [codec, 0]
    assert [offset for offset, _, _ in done.values] == [23, 24, 25, 26, 27, 29, 30]


def test_append_time_stays() -> None:
    log = [
        RecordBatch(
            build_batch(
                [Record(0, NOW, b"a", b"1"), Record(1, NOW, b"b", None), Record(2, NOW, b"c", b"1")],
                timestamp_type=TimestampType.LOG_APPEND_TIME,
            )
        ),
        batch(3, (b"a", b"2")),
    ]
    done = clean(log)
    assert [r.timestamp_ms for r in done.batches[0].records(1000)] == [NOW, NOW]
    assert done.batches[0].timestamp_type == TimestampType.LOG_APPEND_TIME


def test_tombstones_stay_until_their_horizon() -> None:
    log = [batch(0, (b"a", b"1"), (b"b", b"1")), batch(2, (b"a", None), (b"c", b"1"), timestamp_ms=NOW - 9000)]
    once = clean(log)
    assert once.values == [(1, b"b", b"1"), (2, b"a", None), (3, b"c", b"1")]
    assert [b.delete_horizon_ms for b in once.batches] == [None, NOW + DAY]
    assert [r.timestamp_ms for r in once.batches[1].records(1000)] == [NOW - 9000, NOW - 8999]
    assert once.batches[1].max_timestamp == NOW - 8999
    early = clean(once.batches, now_ms=NOW + DAY - 1)
    assert [bytes(b.memory()) for b in early.batches] == [bytes(b.memory()) for b in once.batches]
    late = clean(once.batches, now_ms=NOW + DAY)
    assert late.values == [(1, b"b", b"1"), (3, b"c", b"1")]
    assert [r.timestamp_ms for r in late.batches[1].records(1000)] == [NOW - 8999]


def test_a_tombstone_that_a_later_record_replaced_goes_at_once() -> None:
    assert clean([batch(0, (b"a", None)), batch(1, (b"a", b"2"))]).values == [(1, b"a", b"2")]


def test_records_behind_the_map_stay() -> None:
    log = [batch(0, (b"a", b"1"), (b"b", b"1")), batch(2, (b"a", b"2"), (b"a", b"3"), (None, b"n"))]
    assert clean(log, end=2).values == [
        (0, b"a", b"1"),
        (1, b"b", b"1"),
        (2, b"a", b"2"),
        (3, b"a", b"3"),
        (4, None, b"n"),
    ]
    full = clean([batch(0, *[(b"%d" % (n % 5), b"x") for n in range(10)])], keys=1)  # three keys fit
    assert [offset for offset, _, _ in full.values] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_an_active_producer_keeps_its_last_batch_as_a_header() -> None:
    producer = {"producer_id": 7, "producer_epoch": 2}
    log = [
        batch(0, (b"a", b"1"), base_sequence=0, **producer),
        batch(1, (b"a", b"2"), (b"b", b"1"), base_sequence=1, codec=1, **producer),
        batch(3, (b"a", b"3"), (b"b", b"2")),
    ]
    done = clean(log, producers={7: LastRecord(2, 2)})
    assert done.spans == [(1, 2, 0), (3, 4, 2)]
    header = done.batches[0]
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (7, 2, 1, 2)
    assert (header.size, header.codec, header.max_timestamp) == (61, 0, log[1].max_timestamp)
    again = clean(done.batches, producers={7: LastRecord(2, 2)})
    assert again.spans == done.spans
    assert clean(done.batches).spans == [(3, 4, 2)]  # the producer is forgotten


def test_the_last_batch_of_a_round_stays_as_a_header() -> None:
    done = clean([batch(0, (b"a", b"1")), batch(1, (None, b"x")), batch(2, (b"b", b"1"))], end=2)
    assert done.spans == [(0, 0, 1), (1, 1, 0), (2, 2, 1)]


def marker(base: int, producer_id: int, *, commit: bool) -> RecordBatch:
    return RecordBatch(build_control_batch(producer_id, 0, commit, 0, timestamp_ms=NOW, base_offset=base))


def test_aborted_records_go_and_their_marker_follows() -> None:
    txn = {"producer_id": 7, "producer_epoch": 0, "transactional": True}
    aborted = [AbortedTransaction(7, 1, 4, 5)]
    log = [
        batch(0, (b"a", b"0")),
        batch(1, (b"a", b"lost"), (b"b", b"lost"), base_sequence=0, **txn),
        batch(3, (b"b", b"1")),
        marker(4, 7, commit=False),
        batch(5, (b"c", b"kept"), base_sequence=2, **txn),
        marker(6, 7, commit=True),
    ]
    once = clean(log, aborted=aborted)
    assert once.values == [(0, b"a", b"0"), (3, b"b", b"1"), (5, b"c", b"kept")]
    assert once.spans == [(0, 0, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1), (6, 6, 1)]
    assert once.kept == aborted  # while the marker may still be met, so may the records by someone who reads on
    assert [b.delete_horizon_ms for b in once.batches] == [None] * 5
    twice = clean(once.batches, aborted=aborted)
    assert twice.kept == []
    assert [b.delete_horizon_ms for b in twice.batches] == [None, None, NOW + DAY, None, None]
    assert twice.batches[2].control_record()[0] == 0
    assert clean(twice.batches, now_ms=NOW + DAY - 1).spans == once.spans
    assert clean(twice.batches, now_ms=NOW + DAY).spans == [(0, 0, 1), (3, 3, 1), (5, 5, 1), (6, 6, 1)]


def test_a_commit_marker_goes_when_its_records_have() -> None:
    txn = {"producer_id": 7, "producer_epoch": 0, "transactional": True}
    log = [batch(0, (b"a", b"1"), base_sequence=0, **txn), marker(1, 7, commit=True), batch(2, (b"a", b"2"))]
    once = clean(log)
    assert once.spans == [(1, 1, 1), (2, 2, 1)]
    twice = clean(once.batches)
    assert twice.batches[0].delete_horizon_ms == NOW + DAY
    assert clean(twice.batches, now_ms=NOW + DAY).spans == [(2, 2, 1)]
    held = clean(twice.batches, now_ms=NOW + DAY, producers={7: LastRecord(-1, 0)})  # known by its marker alone
    assert held.spans == [(1, 1, 0), (2, 2, 1)]


def test_an_open_transaction_behind_the_end_is_left_alone() -> None:
    txn = {"producer_id": 7, "producer_epoch": 0, "transactional": True}
    log = [batch(0, (b"a", b"1")), batch(1, (b"a", b"open"), base_sequence=0, **txn), batch(2, (b"a", b"3"))]
    assert clean(log, end=1).values == [(0, b"a", b"1"), (1, b"a", b"open"), (2, b"a", b"3")]


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
VALUES = st.one_of(st.none(), st.integers(0, 999).map(lambda n: b"%d" % n))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=5), st.sampled_from([0, 0, 1, 4])),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 2 * DAY)), min_size=1, max_size=5),
)
def test_compaction_agrees_with_a_map(
    appends: list[tuple[list[tuple[bytes, bytes | None]], int]], passes: list[tuple[int, int]]
) -> None:
    """Whatever the map holds and when passes run: the latest value of each key, at its offset."""
    log: list[RecordBatch] = []
    latest: dict[bytes, tuple[int, bytes | None]] = {}
    offset = 0
    for records, codec in appends:
        log.append(batch(offset, *records, codec=codec))
        for key, value in records:
            latest[key] = (offset, value)
            offset += 1
    original = {r.offset: r for b in log for r in b.records(1 << 20)}
    now_ms = NOW
    for keys, wait_ms in [*passes, (100, 0)]:
        now_ms += wait_ms
        done = clean(log, now_ms=now_ms, keys=keys)
        log = done.batches
        records_left = [r for b in log for r in b.records(1 << 20)]
        assert [r.offset for r in records_left] == sorted({r.offset for r in records_left})
        assert all(r == original[r.offset] for r in records_left)
        held: dict[bytes, tuple[int, bytes | None]] = {}
        for record in records_left:
            held[record.key or b""] = (record.offset, record.value)
        assert {k: v for k, v in held.items() if v[1] is not None} == {
            k: v for k, v in latest.items() if v[1] is not None
        }
        assert all(held[key] == latest[key] for key in held)
    assert len(records_left) == len(held)  # the last pass had room for all keys
    gone = clean(clean(log, now_ms=now_ms).batches, now_ms=now_ms + 3 * DAY)
    assert {key for _, key, _ in gone.values} == {key for key, (_, value) in latest.items() if value is not None}
