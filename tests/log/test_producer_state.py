"""Idempotence: the table of outcomes, wrap-around, expiry, transactions, snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.log.producer_state import ProducerState, SentBatch
from ottla.wire.errors import ErrorCode, KafkaError

MAX = 2**31 - 1
OK = ErrorCode.NONE
EPOCH, ORDER, STATE = (
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.INVALID_TXN_STATE,
)


def sent(
    state: ProducerState, base: int, count: int, offset: int, *, epoch: int = 3, transactional: bool = False
) -> None:
    state.update(1, epoch, base, count - 1, offset + count - 1, 1000 + offset, transactional=transactional)


def outcome(
    state: ProducerState, first: int, last: int, *, epoch: int = 3, transactional: bool = False
) -> ErrorCode | SentBatch:
    try:
        return state.check(1, epoch, first, last, transactional=transactional) or OK
    except KafkaError as error:
        return error.code


@pytest.fixture
def state() -> ProducerState:
    """Six batches of two records, sequences 0-11 at offsets 0-11: the first has left the window."""
    made = ProducerState()
    for index in range(6):
        sent(made, 2 * index, 2, 2 * index)
    return made


@pytest.mark.parametrize(
    ("epoch", "first", "last", "expected"),
    [
        (3, 12, 12, OK),
        (3, 10, 11, SentBatch(10, 11, 11, 1, 1010)),
        (3, 2, 3, SentBatch(2, 3, 3, 1, 1002)),
        (3, 0, 1, ORDER),
        (3, 10, 12, ORDER),
        (3, 11, 11, ORDER),
        (3, 13, 13, ORDER),
        (2, 12, 12, EPOCH),
        (2, 10, 11, EPOCH),
        (4, 0, 0, OK),
        (4, 12, 12, ORDER),
    ],
    ids=[
        "next",
        "repeats the last",
        "repeats the oldest of five",
        "older than the five",
        "overlaps",
        "inside",
        "gap",
        "old epoch",
        "old epoch repeats",
        "new epoch",
        "new epoch not from 0",
    ],
)
def test_outcomes(state: ProducerState, epoch: int, first: int, last: int, expected: ErrorCode | SentBatch) -> None:
    assert outcome(state, first, last, epoch=epoch) == expected


def test_an_unknown_producer_may_begin_anywhere() -> None:
    assert outcome(ProducerState(), 77, 80) == OK


def test_a_new_epoch_forgets_the_window(state: ProducerState) -> None:
    sent(state, 0, 1, 12, epoch=4)
    assert outcome(state, 1, 1, epoch=4) == OK
    assert outcome(state, 10, 11, epoch=4) == ORDER
    assert outcome(state, 12, 12, epoch=3) == EPOCH


def test_sequences_wrap() -> None:
    state = ProducerState()
    sent(state, MAX, 1, 0)
    assert outcome(state, 0, 0) == OK
    assert outcome(state, 1, 1) == ORDER
    sent(state, 0, 1, 1)
    state = ProducerState()
    sent(state, MAX - 1, 4, 0)  # MAX-1, MAX, 0, 1
    assert state.producers[1].last_sequence == 1
    assert outcome(state, MAX - 1, 1) == SentBatch(MAX - 1, 1, 3, 3, 1000)
    assert outcome(state, 2, 2) == OK


def test_transactions_bound_the_stable_offset() -> None:
    state = ProducerState()
    sent(state, 0, 2, 10, transactional=True)
    sent(state, 2, 2, 12, transactional=True)
    assert state.open_transactions == {1: 10}
    assert outcome(state, 4, 4) == STATE
    assert outcome(state, 4, 4, transactional=True) == OK
    assert state.end_transaction(1, 3, 0, 2000) == 10
    assert state.open_transactions == {}
    assert outcome(state, 4, 4) == OK
    assert state.end_transaction(1, 4, 0, 2001) == -1  # a marker of a new epoch fences the old one
    assert outcome(state, 4, 4, epoch=3) == EPOCH
    assert outcome(state, 0, 0, epoch=4) == OK


def test_idle_producers_expire_unless_their_transaction_is_open(state: ProducerState) -> None:
    state.update(2, 0, 0, 0, 12, 1010, transactional=True)
    assert state.expire(1010 + 99, 100) == 0
    assert state.expire(1010 + 100, 100) == 1
    assert list(state.producers) == [2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans()), max_size=30))
def test_snapshots_keep_the_last_batch_of_each(steps: list[tuple[int, int, bool]]) -> None:
    state, offset = ProducerState(), 0
    for producer_id, count, transactional in steps:
        producer = state.producers.get(producer_id)
        base = producer.last_sequence + 1 if producer else 0
        state.update(producer_id, 0, base, count - 1, offset + count - 1, 1000 + offset, transactional=transactional)
        offset += count
    data = state.encode()
    again = ProducerState.decode(data)
    assert again.encode() == data
    assert again.open_transactions == state.open_transactions
    assert list(again.open_transactions.values()) == sorted(again.open_transactions.values())
    for producer_id, producer in state.producers.items():
        assert again.producers[producer_id].batches == producer.batches[-1:]


def test_damaged_snapshots(state: ProducerState) -> None:
    data = state.encode()
    for wrong in (b"", data[:9], data[:-1], data + b"\0", b"\0\2" + data[2:], data[:-1] + bytes([data[-1] ^ 1])):
        with pytest.raises(ValueError, match="snapshot"):
            ProducerState.decode(wrong)
