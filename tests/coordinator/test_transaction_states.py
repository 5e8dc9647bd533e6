"""Every state against every request, of both protocol generations; and every move between states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ottla.coordinator.transaction.records import TransactionRecord, decode_record
from ottla.coordinator.transaction.state import TRANSITIONS, Transaction, TransactionState
from tests.coordinator.transaction_world import A0, B0, TransactionWorld

PRODUCER, EPOCH, TIMEOUT_MS = 7, 5, 60_000
CURRENT, LAST, OLD, FUTURE = ((PRODUCER, epoch) for epoch in (EPOCH, EPOCH - 1, EPOCH - 2, EPOCH + 1))
OTHER = (8, EPOCH)

# The id is unknown; it is in a state; or it is Empty, of which the record waits to be durable.
STATES = ["none", "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "writing"]

Ask = Callable[[TransactionWorld], Any]


def init(expected: tuple[int, int], version: int = 5) -> Ask:
    return lambda world: world.init("x", expected, version=version).error_code


def add(producer: tuple[int, int], version: int = 3) -> Ask:
    return lambda world: world.add(producer, B0, version=version)


def add_again(producer: tuple[int, int], version: int = 3) -> Ask:
    return lambda world: world.add(producer, A0, version=version)


def verify_only(producer: tuple[int, int]) -> Ask:
    return lambda world: world.add(producer, A0, version=5, verify_only=True)


def offsets(producer: tuple[int, int], version: int = 4) -> Ask:
    return lambda world: world.add_offsets(producer, version=version)


def end(producer: tuple[int, int], commit: bool, version: int) -> Ask:
    return lambda world: world.end(producer, commit, version=version).error_code


#                                                        none Em  On  PC  PA  CC  CA writing
TABLE: list[tuple[str, Ask, list[int]]] = [
    ("init", init((-1, -1)),                              [0,  0, 51, 51, 51,  0,  0, 51]),
    ("init v0", init((-1, -1), 0),                        [0,  0, 51, 51, 51,  0,  0, 51]),
    ("init as current", init(CURRENT),                    [0,  0, 51, 51, 51,  0,  0, 51]),
    ("init as last, a repeat", init(LAST),                [0,  0, 51, 51, 51,  0,  0, 51]),
    ("init as older", init(OLD),                          [0, 90, 51, 51, 51, 90, 90, 51]),
    ("init as newer", init(FUTURE),                       [0, 90, 51, 51, 51, 90, 90, 51]),
    ("init as another", init(OTHER),                      [0, 90, 90, 51, 51, 90, 90, 51]),
    ("init as another v3", init(OTHER, 3),                [0, 47, 47, 51, 51, 47, 47, 51]),
    ("add", add(CURRENT),                                 [49, 0,  0, 51, 51,  0,  0, 51]),
    ("add, of a broker", add(CURRENT, 5),                 [49, 0,  0, 51, 51,  0,  0, 51]),
    ("add what is there", add_again(CURRENT),             [49, 0,  0, 51, 51,  0,  0, 51]),
    ("add as last", add(LAST),                            [49, 90, 90, 51, 51, 90, 90, 51]),
    ("add as last v1", add(LAST, 1),                      [49, 47, 47, 51, 51, 47, 47, 51]),
    ("add as newer", add(FUTURE),                         [49, 90, 90, 51, 51, 90, 90, 51]),
    ("add as another", add(OTHER),                        [49, 49, 49, 51, 51, 49, 49, 51]),
    ("verify", verify_only(CURRENT),                      [49, 120, 0, 51, 51, 120, 120, 120]),
    ("verify as last", verify_only(LAST),                 [49, 90, 90, 90, 90, 90, 90, 90]),
    ("verify as newer", verify_only(FUTURE),              [49, 90, 90, 90, 90, 90, 90, 90]),
    ("verify as another", verify_only(OTHER),             [49, 49, 49, 49, 49, 49, 49, 49]),
    ("offsets", offsets(CURRENT),                         [49, 0,  0, 51, 51,  0,  0, 51]),
    ("offsets as last", offsets(LAST),                    [49, 90, 90, 51, 51, 90, 90, 51]),
    ("offsets as last v1", offsets(LAST, 1),              [49, 47, 47, 51, 51, 47, 47, 51]),
    ("offsets as another", offsets(OTHER),                [49, 49, 49, 51, 51, 49, 49, 51]),
    ("commit v4", end(CURRENT, True, 4),                  [49, 48, 0, 51, 51,  0, 48, 51]),
    ("abort v4", end(CURRENT, False, 4),                  [49, 48, 0, 51, 51, 48,  0, 51]),
    ("commit v4 as last", end(LAST, True, 4),             [49, 90, 90, 90, 90, 90, 90, 90]),
    ("commit v1 as last", end(LAST, True, 1),             [49, 47, 47, 47, 47, 47, 47, 47]),
    ("abort v4 as newer", end(FUTURE, False, 4),          [49, 90, 90, 90, 90, 90, 90, 90]),
    ("commit v4 as another", end(OTHER, True, 4),         [49, 49, 49, 49, 49, 49, 49, 49]),
    ("commit v5", end(CURRENT, True, 5),                  [49, 48, 0, 51, 51, 48, 48, 51]),
    ("abort v5", end(CURRENT, False, 5),                  [49, 0,  0, 51, 51,  0,  0, 51]),
    ("commit v5, a repeat", end(LAST, True, 5),           [49, 90, 90, 51, 51,  0, 48, 51]),
    ("abort v5, a repeat", end(LAST, False, 5),           [49, 90, 90, 51, 51, 48,  0, 51]),
    ("commit v5 as older", end(OLD, True, 5),             [49, 90, 90, 51, 51, 90, 90, 51]),
    ("abort v5 as newer", end(FUTURE, False, 5),          [49, 90, 90, 51, 51, 90, 90, 51]),
    ("commit v5 as another", end(OTHER, True, 5),         [49, 49, 49, 51, 51, 49, 49, 51]),
]  # fmt: skip


def world_in(state: str) -> TransactionWorld:
    world = TransactionWorld()
    shard = world.coordinator._shards[world.coordinator.partition_for("x")]
    label = "Empty" if state == "writing" else state
    for each in TransactionState:
        if each.label == label:
            holds = frozenset((A0,)) if label in ("Ongoing", "PrepareCommit", "PrepareAbort") else frozenset()
            transaction = Transaction(
                PRODUCER, EPOCH, TIMEOUT_MS, each, holds, 1, 1, PRODUCER, last_producer_epoch=EPOCH - 1
            )
            world.hold = state == "writing"
            shard.write("x", transaction, None, refused=lambda code: None)
    return world


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("name", "ask", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_request_in_a_state(name: str, ask: Ask, expected: list[int], state: str) -> None:
    world = world_in(state)
    before, written = world.coordinator.transaction("x"), len(world.log)
    code = ask(world)
    assert code == expected[STATES.index(state)]
    fences = state == "Ongoing" and name.startswith("init") and code == 51
    if code != 0 and not fences:
        assert world.coordinator.transaction("x") == before
        assert len(world.log) == written
    after = world.coordinator.transaction("x")
    if before is not None and after is not None and after.state is not before.state:
        assert len(world.log) > written
    assert world.replayed().lasting() == world.lasting()


def test_the_table_leaves_nothing_out() -> None:
    assert all(len(expected) == len(STATES) for _, _, expected in TABLE)
    unwritten = {TransactionState.DEAD, TransactionState.PREPARE_EPOCH_FENCE}
    assert {state.label for state in TransactionState if state not in unwritten} == set(STATES) - {"none", "writing"}


@pytest.mark.parametrize("before", TransactionState)
@pytest.mark.parametrize("after", TransactionState)
def test_a_move(before: TransactionState, after: TransactionState) -> None:
    transaction = Transaction(PRODUCER, EPOCH, TIMEOUT_MS, before, frozenset(), -1, 1)
    if after in TRANSITIONS[before]:
        assert transaction.moved(after, 2).state is after
    else:
        with pytest.raises(RuntimeError):
            transaction.moved(after, 2)


def test_states_have_the_ids_and_names_of_kafka() -> None:
    assert [(state.state_id, state.label) for state in TransactionState] == [
        (0, "Empty"),
        (1, "Ongoing"),
        (2, "PrepareCommit"),
        (3, "PrepareAbort"),
        (4, "CompleteCommit"),
        (5, "CompleteAbort"),
        (6, "Dead"),
        (7, "PrepareEpochFence"),
    ]


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("state", [state for state in TransactionState if TRANSITIONS[state]])
def test_a_record_comes_back_as_it_was(state: TransactionState, version: int) -> None:
    holds = frozenset((A0, B0)) if state is TransactionState.ONGOING else frozenset()
    transaction = Transaction(PRODUCER, EPOCH, TIMEOUT_MS, state, holds, 3, 4, 6, 9, 2)
    record = TransactionRecord("x", transaction, version)
    decoded = decode_record(*record.encode())
    assert decoded is not None
    assert decoded.transaction == record.transaction
    assert (record.transaction == transaction) == (version == 1)
    tombstone = decode_record(*TransactionRecord("x", None, 0).encode())
    assert tombstone is not None
    assert tombstone.transaction is None
