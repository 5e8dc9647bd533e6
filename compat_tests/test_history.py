"""The checker itself: a clean history passes, and each fault that is put into it is found and named."""

from collections.abc import Callable

import pytest

from compat_tests.history import Anomaly, History, Kind, Log, Outcome, Read, Transaction

A: Log = ("t", 0)
B: Log = ("t", 1)
COMMITTED, ABORTED, UNKNOWN = Outcome.COMMITTED, Outcome.ABORTED, Outcome.UNKNOWN


def transaction(history: History, outcome: Outcome, *writes: tuple[Log, str, int | None]) -> Transaction:
    """A transaction of producer p; offsets as acknowledged."""
    one = history.begin("p")
    for log, value, offset in writes:
        one.tried(log, value, offset)
    one.outcome = outcome
    return one


def clean() -> tuple[History, list[Read]]:
    """Two commits with an abort between them (markers at A 2, A 4, B 1, B 3), and what a reader of all must see."""
    history = History()
    transaction(history, COMMITTED, (A, "a0", 0), (A, "a1", 1), (B, "b0", 0))
    transaction(history, ABORTED, (A, "x", 3), (B, "y", 2))
    transaction(history, COMMITTED, (A, "a5", 5), (B, "b4", 4))
    reads = [Read(A, 0, "a0"), Read(A, 1, "a1"), Read(A, 5, "a5"), Read(B, 0, "b0"), Read(B, 4, "b4")]
    return history, reads


def judge(history: History, reads: list[Read]) -> list[Anomaly]:
    history.polled("all", reads)
    history.completed("all", [A, B])
    return history.anomalies()


def test_clean_history() -> None:
    history, reads = clean()
    history.polled("part", reads[1:3])  # another reader may see less
    assert judge(history, reads) == []
    assert history.counts() == {COMMITTED: 2, ABORTED: 1}
    assert history.seen() == {"a0", "a1", "a5", "b0", "b4"}


def test_interleaved_logs_are_one_order_each() -> None:
    history, reads = clean()
    assert judge(history, [reads[0], reads[3], reads[1], reads[4], reads[2]]) == []


@pytest.mark.parametrize("seen", [True, False])
def test_unknown_outcome_is_all_or_nothing(seen: bool) -> None:
    history, reads = clean()
    transaction(history, UNKNOWN, (A, "a7", None), (B, "b6", None))
    assert judge(history, [*reads, Read(A, 7, "a7"), Read(B, 6, "b6")] if seen else reads) == []


def test_unfinished_reader_does_not_call_a_write_lost() -> None:
    history, reads = clean()
    history.polled("slow", reads[:1])
    assert history.anomalies() == []


def test_reader_of_one_log_judges_that_log_only() -> None:
    history, reads = clean()
    history.polled("one", reads[:3])
    history.completed("one", [A])
    assert history.anomalies() == []


def _lost(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, COMMITTED, (A, "gone", 7))
    return reads


def _whole_log_lost(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, COMMITTED, (("t", 1), "gone", None))
    return reads


def _aborted(history: History, reads: list[Read]) -> list[Read]:
    return [*reads[:2], Read(A, 3, "x"), *reads[2:3], *reads[3:4], Read(B, 2, "y"), *reads[4:]]


def _phantom(history: History, reads: list[Read]) -> list[Read]:
    return [*reads, Read(A, 9, "nobody's")]


def _wrong_log(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, UNKNOWN, (A, "a7", None))
    return [*reads, Read(A, 7, "a7"), Read(B, 7, "a7")]


def _duplicate(history: History, reads: list[Read]) -> list[Read]:
    return [*reads, Read(A, 7, "a5")]


def _torn(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, UNKNOWN, (A, "a7", 7), (B, "b6", 6))
    return [*reads, Read(A, 7, "a7")]


def _torn_commit(history: History, reads: list[Read]) -> list[Read]:
    return reads[:4]


def _other_value_for_another_reader(history: History, reads: list[Read]) -> list[Read]:
    history.polled("other", [Read(A, 0, "a1")])
    return reads


def _not_where_it_was_acknowledged(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, COMMITTED, (A, "a7", 6))
    transaction(history, COMMITTED, (A, "a6", 7))
    return [*reads[:3], Read(A, 6, "a6"), Read(A, 7, "a7"), *reads[3:]]


def _reordered(history: History, reads: list[Read]) -> list[Read]:
    transaction(history, COMMITTED, (A, "a8", None), (A, "a7", None))
    return [*reads, Read(A, 7, "a7"), Read(A, 8, "a8")]


def _back(history: History, reads: list[Read]) -> list[Read]:
    history.polled("back", [reads[0], reads[1], reads[0]])
    return reads


def _twice(history: History, reads: list[Read]) -> list[Read]:
    history.polled("twice", [reads[0], reads[0]])
    return reads


def _skip(history: History, reads: list[Read]) -> list[Read]:
    history.polled("hasty", [reads[0], reads[2]])
    return reads


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (_lost, {Kind.LOST}),
        (_whole_log_lost, {Kind.LOST}),
        (_aborted, {Kind.ABORTED_READ}),
        (_phantom, {Kind.PHANTOM}),
        (_wrong_log, {Kind.PHANTOM, Kind.DUPLICATE}),
        (_duplicate, {Kind.DUPLICATE}),
        (_torn, {Kind.TORN}),
        (_torn_commit, {Kind.TORN, Kind.LOST}),
        (_other_value_for_another_reader, {Kind.DISAGREEMENT, Kind.DUPLICATE}),
        (_not_where_it_was_acknowledged, {Kind.DISAGREEMENT, Kind.REORDERED}),
        (_reordered, {Kind.REORDERED}),
        (_back, {Kind.NONMONOTONIC}),
        (_twice, {Kind.NONMONOTONIC}),
        (_skip, {Kind.SKIP}),
    ],
)
def test_fault_is_found(fault: Callable[[History, list[Read]], list[Read]], kinds: set[Kind]) -> None:
    history, reads = clean()
    found = judge(history, fault(history, reads))
    assert {anomaly.kind for anomaly in found} == kinds


def test_aborted_read_of_a_part_is_not_also_torn() -> None:
    history, reads = clean()
    assert {one.kind for one in judge(history, [*reads[:2], Read(A, 3, "x"), *reads[2:]])} == {Kind.ABORTED_READ}
