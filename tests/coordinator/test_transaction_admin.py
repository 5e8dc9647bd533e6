"""What DescribeTransactions, ListTransactions and the statistics say."""

from __future__ import annotations

from ottla.wire.errors import ErrorCode
from tests.coordinator.transaction_world import A0, A1, B0, TransactionWorld


def test_describe() -> None:
    world = TransactionWorld()
    producer = world.producer(timeout_ms=5_000)
    world.add(producer, B0, A1, A0)
    described, unknown, empty = world.describe("x", "unknown", "")
    assert (described.error_code, described.transactional_id, described.transaction_state) == (0, "x", "Ongoing")
    assert (described.producer_id, described.producer_epoch) == producer
    assert (described.transaction_timeout_ms, described.transaction_start_time_ms) == (5_000, world.clock.wall_ms())
    assert [(topic.topic, topic.partitions) for topic in described.topics] == [("a", [0, 1]), ("b", [0])]
    assert (unknown.error_code, empty.error_code) == (105, 42)


def test_list() -> None:
    world = TransactionWorld()
    ids = {name: world.producer(name)[0] for name in ("app-1", "app-2", "other")}
    world.add(world.identity("app-1"), A0, transactional_id="app-1")
    world.clock.advance(1_000)
    world.add(world.identity("other"), A0, transactional_id="other")
    world.clock.advance(1_000)

    def names(**filters: object) -> set[str]:
        return {each.transactional_id for each in world.list(**filters).transaction_states}

    assert names() == {"app-1", "app-2", "other"}
    assert names(state_filters=["Ongoing"]) == {"app-1", "other"}
    assert names(state_filters=["Ongoing", "Empty"]) == {"app-1", "app-2", "other"}
    assert names(state_filters=["Dead"]) == set()
    assert names(producer_id_filters=[ids["app-2"], ids["other"], 99]) == {"app-2", "other"}
    assert names(state_filters=["Ongoing"], duration_filter=999) == {"app-1", "other"}
    assert names(state_filters=["Ongoing"], duration_filter=1_000) == {"app-1"}
    assert names(state_filters=["Ongoing"], duration_filter=2_000) == set()
    assert names(transactional_id_pattern="app") == set()  # the whole id, not a part
    assert names(transactional_id_pattern="app-.*") == {"app-1", "app-2"}
    assert names(transactional_id_pattern="") == {"app-1", "app-2", "other"}
    assert names(transactional_id_pattern="app-.*", state_filters=["Ongoing"]) == {"app-1"}
    assert world.list(transactional_id_pattern="(ab(cd").error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    answer = world.list(version=0, state_filters=["Bogus", "ongoing", "Bogus"])
    assert answer.unknown_state_filters == ["Bogus", "ongoing"]
    assert answer.transaction_states == []
    (one,) = world.list(state_filters=["Empty"]).transaction_states
    assert (one.transactional_id, one.producer_id, one.transaction_state) == ("app-2", ids["app-2"], "Empty")


def test_stats() -> None:
    world = TransactionWorld()
    world.producer("x")
    world.add(world.producer("y"), A0, transactional_id="y")
    assert world.coordinator.stats == {
        "transactions": 2,
        "transactions_Empty": 1,
        "transactions_Ongoing": 1,
        "outcomes_under_way": 0,
        "markers_missing": 0,
        "records_replayed": 0,
        "records_not_understood": 0,
    }
    world.restart()
    assert world.coordinator.stats["records_replayed"] == 3


def test_the_partition_of_an_id() -> None:
    world = TransactionWorld()
    assert world.coordinator.partitions == 5
    assert (world.coordinator.partition_for("tx-obs"), world.coordinator.partition_for("tx-short")) == (1, 3)
    world.coordinator.replay_marker(0, (1, 0), True)  # there are none; nothing happens
