"""The transaction coordinator's doings one by one: epochs, fencing, markers, failures, time."""

from __future__ import annotations

import pytest

from ottla.coordinator.transaction.records import TransactionRecord, decode_record
from ottla.coordinator.transaction.state import LAST_CLIENT_EPOCH, MAX_EPOCH, Transaction, TransactionState
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from tests.coordinator.transaction_world import A0, A1, B0, Partition, TransactionWorld, partition_codes

STORAGE = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
WEEK_MS = 604_800_000


@pytest.fixture
def world() -> TransactionWorld:
    return TransactionWorld()


def at_epoch(world: TransactionWorld, epoch: int, state: TransactionState = TransactionState.EMPTY) -> tuple[int, int]:
    """The id "x" with producer id 7 at an epoch."""
    shard = world.coordinator._shards[world.coordinator.partition_for("x")]
    holds = frozenset((A0,)) if state is TransactionState.ONGOING else frozenset()
    now_ms = world.clock.wall_ms()
    transaction = Transaction(7, epoch, 60_000, state, holds, now_ms, now_ms, 7)
    shard.write("x", transaction, None, refused=lambda code: None)
    return 7, epoch


def told(world: TransactionWorld, event: str) -> int:
    return sum(name == event for name, _ in world.told.events)


# -- InitProducerId ----------------------------------------------------------------------------------------------------


def test_requests_that_make_no_sense(world: TransactionWorld) -> None:
    assert world.init("").error_code == ErrorCode.INVALID_REQUEST
    assert world.init(None).error_code == ErrorCode.INVALID_REQUEST
    assert world.init("x", (3, -1)).error_code == ErrorCode.INVALID_REQUEST
    assert world.init("x", (-1, 3)).error_code == ErrorCode.INVALID_REQUEST
    for timeout_ms in (0, -1, 900_001):
        answer = world.init("x", timeout_ms=timeout_ms)
        assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (50, -1, -1)
    assert world.add((1, 0), A0, transactional_id="") == ErrorCode.INVALID_REQUEST
    assert world.add((1, 0), A0, transactional_id="", version=4, verify_only=True) == ErrorCode.INVALID_REQUEST
    assert world.add_offsets((1, 0), transactional_id="") == ErrorCode.INVALID_REQUEST
    assert world.end((1, 0), transactional_id="").error_code == ErrorCode.INVALID_REQUEST
    assert world.log == []


def test_who_says_his_epoch_may_repeat_himself(world: TransactionWorld) -> None:
    first = world.producer()
    assert world.producer(expected=first) == (first[0], 1)
    assert world.producer(expected=first) == (first[0], 1)  # the answer was lost
    assert world.producer() == (first[0], 2)  # another instance
    assert world.init("x", (first[0], 1)).error_code == ErrorCode.PRODUCER_FENCED


def test_epochs_that_are_used_up_give_way_to_a_new_producer_id(world: TransactionWorld) -> None:
    last = at_epoch(world, LAST_CLIENT_EPOCH)
    fresh = world.producer(expected=last)
    assert fresh == (1001, 0)
    assert world.producer(expected=last) == fresh  # the answer was lost
    assert world.init("x", (7, LAST_CLIENT_EPOCH - 1)).error_code == ErrorCode.PRODUCER_FENCED
    assert world.producer() == (1001, 1)


def test_the_last_epoch_may_be_asked_for_twice(world: TransactionWorld) -> None:
    before = at_epoch(world, LAST_CLIENT_EPOCH - 1)
    assert world.producer(expected=before) == (7, LAST_CLIENT_EPOCH)
    assert world.producer(expected=before) == (7, LAST_CLIENT_EPOCH)


def test_without_producer_ids_nothing_changes(world: TransactionWorld) -> None:
    world.no_producer_ids = STORAGE
    assert world.init().error_code == ErrorCode.NOT_COORDINATOR
    assert world.state() == "none"
    last = at_epoch(world, LAST_CLIENT_EPOCH, TransactionState.ONGOING)
    assert world.end(last, version=5).error_code == ErrorCode.NOT_COORDINATOR
    assert world.init().error_code == ErrorCode.NOT_COORDINATOR  # cannot be fenced either
    assert world.state() == "Ongoing"


def test_a_second_instance_aborts_what_the_first_began(world: TransactionWorld) -> None:
    first = world.producer()
    world.add(first, A0)
    assert world.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert str(world.markers(A0)) == f"[abort({first[0]}/1 v2)]"
    assert world.producer() == (first[0], 2)
    assert world.add(first, A0) == ErrorCode.PRODUCER_FENCED
    assert world.add(first, A0, version=1) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert world.end(first).error_code == ErrorCode.PRODUCER_FENCED
    assert world.end(first, version=1).error_code == ErrorCode.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("level", [0, 1, 2])
def test_fencing_at_the_last_epoch(level: int) -> None:
    world = TransactionWorld(transaction_version=level)
    at_epoch(world, LAST_CLIENT_EPOCH, TransactionState.ONGOING)
    assert world.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert [marker.producer_epoch for marker in world.markers(A0)] == [MAX_EPOCH]
    assert world.identity() == ((1001, 0) if level == 2 else (7, MAX_EPOCH))
    assert world.producer() == ((1001, 1) if level == 2 else (1001, 0))


def test_fencing_at_an_epoch_that_should_not_be(world: TransactionWorld) -> None:
    at_epoch(world, MAX_EPOCH, TransactionState.ONGOING)
    assert world.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.producer() == (1001, 1)


# -- partitions --------------------------------------------------------------------------------------------------------


def test_a_transaction_grows(world: TransactionWorld) -> None:
    producer = world.producer()
    assert world.add(producer, A0) == ErrorCode.NONE
    began_ms = world.clock.wall_ms()
    world.clock.advance(10)
    written = len(world.log)
    assert world.add(producer, A0) == ErrorCode.NONE
    assert len(world.log) == written  # nothing new
    assert world.add(producer, A1, B0) == ErrorCode.NONE
    assert world.add_offsets(producer, "abc") == ErrorCode.NONE
    transaction = world.coordinator.transaction("x")
    assert transaction is not None
    assert transaction.partitions == {A0, A1, B0, ("__consumer_offsets", 3)}
    assert (transaction.start_ms, transaction.update_ms) == (began_ms, began_ms + 10)
    assert world.verify(producer, B0) == ErrorCode.NONE
    assert world.verify(producer, ("b", 1)) == ErrorCode.TRANSACTION_ABORTABLE


def test_one_bad_partition_keeps_the_others_out(world: TransactionWorld) -> None:
    producer = world.producer()

    def check(topic: str, index: int) -> ErrorCode:
        if topic == "b":
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if index else ErrorCode.NONE

    for version in (3, 5):
        codes = world.add(producer, A0, A1, B0, version=version, check_partition=check)
        assert codes == {A0: 55, A1: 3, B0: 29}
    assert world.state() == "Empty"
    denied = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    for version in (3, 5):
        assert world.add(producer, A0, B0, version=version, check_id=lambda name: denied) == denied


def test_brokers_ask_for_several_at_once(world: TransactionWorld) -> None:
    x, y = world.producer("x"), world.producer("y")
    topic = [AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="a", partitions=[0, 1])]
    request = AddPartitionsToTxnRequest(
        transactions=[
            AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                transactional_id=name, producer_id=who[0], producer_epoch=who[1], verify_only=verify_only, topics=topic
            )
            for name, who, verify_only in [("x", x, False), ("y", y, True), ("z", x, False), ("", x, False)]
        ]
    )
    world.hold = True
    answer = world.ask("add_partitions_to_txn", request, 5)
    assert isinstance(answer, Pending)
    world.release()
    results = answer.result().results_by_transaction
    assert [result.transactional_id for result in results] == ["x", "y", "z", ""]
    assert [
        [each.partition_error_code for each in result.topic_results[0].results_by_partition] for result in results
    ] == [[0, 0], [120, 120], [49, 49], [42, 42]]


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [True, False])
def test_the_old_generation_keeps_its_epoch(world: TransactionWorld, commit: bool) -> None:
    producer = world.producer()
    for _ in range(2):
        world.add(producer, A0, B0)
        answer = world.end(producer, commit)
        assert answer.error_code == ErrorCode.NONE
    assert world.identity() == producer
    wanted = [("commit" if commit else "abort") + f"({producer[0]}/0 v0)"] * 2
    assert [str(marker) for marker in world.markers(A0)] == wanted
    assert [str(marker) for marker in world.markers(B0)] == wanted


@pytest.mark.parametrize("commit", [True, False])
def test_the_new_generation_has_an_epoch_for_each_transaction(world: TransactionWorld, commit: bool) -> None:
    producer = world.producer()
    for epoch in (0, 1):
        assert world.coordinator.add_partitions("x", *producer, [A0]) is ErrorCode.NONE
        answer = world.end(producer, commit, version=5)
        assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (0, producer[0], epoch + 1)
        repeated = world.end(producer, commit, version=5)
        assert (repeated.error_code, repeated.producer_id, repeated.producer_epoch) == (0, producer[0], epoch + 1)
        producer = (producer[0], epoch + 1)
    assert [marker.producer_epoch for marker in world.markers(A0)] == [1, 2]
    assert {marker.transaction_version for marker in world.markers(A0)} == {2}


@pytest.mark.parametrize("commit", [True, False])
def test_the_last_transaction_of_a_producer_id(world: TransactionWorld, commit: bool) -> None:
    producer = at_epoch(world, LAST_CLIENT_EPOCH, TransactionState.ONGOING)
    world.broken[A0] = STORAGE
    answer = world.end(producer, commit, version=5)
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (0, 1001, 0)
    assert world.end(producer, commit, version=5).error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.add((1001, 0), A0) == ErrorCode.CONCURRENT_TRANSACTIONS  # not fenced by its own haste
    world.restart()
    assert str(world.markers(A0)[0]).startswith(("commit" if commit else "abort") + "(7/32767")
    repeated = world.end(producer, commit, version=5)
    assert (repeated.error_code, repeated.producer_id, repeated.producer_epoch) == (0, 1001, 0)
    assert world.end(producer, not commit, version=5).error_code == ErrorCode.INVALID_TXN_STATE
    assert world.add((1001, 0), A0) == ErrorCode.NONE


def test_an_abort_of_nothing_takes_an_epoch(world: TransactionWorld) -> None:
    producer = world.producer()
    answer = world.end(producer, False, version=5)
    assert (answer.error_code, answer.producer_epoch) == (0, 1)
    assert world.state() == "CompleteAbort"
    assert world.describe("x")[0].transaction_start_time_ms == world.clock.wall_ms()
    assert [world.markers(at) for at in (A0, A1, B0)] == [[], [], []]


def test_a_partition_that_is_gone_needs_no_marker(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0, B0)
    del world.partitions[B0]
    assert world.end(producer).error_code == ErrorCode.NONE
    assert world.state() == "CompleteCommit"


@pytest.mark.parametrize("code", [ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
def test_a_partition_where_somebody_newer_has_been(world: TransactionWorld, code: ErrorCode) -> None:
    producer = world.producer()
    world.add(producer, A0, B0)
    world.broken[A0] = KafkaError(code)
    world.end(producer)
    assert world.state() == "CompleteCommit"
    assert told(world, "transaction marker could not be written") == 1


@pytest.mark.parametrize("commit", [True, False])
def test_markers_are_tried_until_all_are_there(world: TransactionWorld, commit: bool) -> None:
    producer = world.producer()
    world.add(producer, A0, B0)
    world.broken = {A0: KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER), B0: STORAGE}
    assert world.end(producer, commit).error_code == ErrorCode.NONE
    assert world.state() == ("PrepareCommit" if commit else "PrepareAbort")
    assert world.coordinator.stats["markers_missing"] == 2
    assert world.verify(producer, A0) == ErrorCode.CONCURRENT_TRANSACTIONS
    del world.broken[A0]
    world.sleep(1_000)
    assert (len(world.markers(A0)), len(world.markers(B0))) == (1, 0)
    assert world.coordinator.stats["markers_missing"] == 1
    del world.broken[B0]
    world.sleep(1_000)
    assert (len(world.markers(A0)), len(world.markers(B0))) == (1, 1)
    assert world.state() == ("CompleteCommit" if commit else "CompleteAbort")
    assert world.coordinator.stats["outcomes_under_way"] == 0


def test_markers_of_a_large_transaction_leave_others_their_turn(world: TransactionWorld) -> None:
    many = [("many", index) for index in range(100)]
    world.partitions.update({at: Partition() for at in many})
    producer = world.producer()
    world.add(producer, *many)
    world.broken[many[99]] = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
    assert world.end(producer).error_code == ErrorCode.NONE
    assert 0 < sum(len(world.markers(at)) for at in many) < 50
    world.sleep(0)
    assert [len(world.markers(at)) for at in many] == [1] * 99 + [0]
    assert world.state() == "PrepareCommit"
    world.broken.clear()
    world.sleep(world.config.write_retry_ms)
    assert [len(world.markers(at)) for at in many] == [1] * 100
    assert world.state() == "CompleteCommit"


def test_complete_waits_for_markers_to_be_durable(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0, B0)
    world.hold_markers = True
    assert world.end(producer).error_code == ErrorCode.NONE
    assert world.state() == "PrepareCommit"
    world.release_markers(STORAGE)
    assert world.state() == "PrepareCommit"
    world.sleep(1_000)
    assert world.state() == "CompleteCommit"


def test_complete_is_tried_until_it_is_written(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0)
    world.hold_markers = True
    world.end(producer)
    world.fail = STORAGE
    world.release_markers()
    assert world.state() == "PrepareCommit"
    world.sleep(3_000)
    assert world.state() == "PrepareCommit"
    world.fail = None
    world.sleep(1_000)
    assert world.state() == "CompleteCommit"
    assert len(world.markers(A0)) == 1


# -- writes that fail, or wait to be durable ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "answered"),
    [
        (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.UNKNOWN_SERVER_ERROR),
    ],
)
def test_what_cannot_be_written_did_not_happen(raised: ErrorCode, answered: ErrorCode) -> None:
    world = TransactionWorld()
    producer = world.producer()
    world.add(producer, A0)
    before = world.lasting()
    world.fail = KafkaError(raised)
    assert world.init("new").error_code == answered
    assert world.init().error_code == answered  # it would have to abort
    assert world.add(producer, B0) == answered
    assert world.add_offsets(producer) == answered
    assert world.end(producer).error_code == answered
    assert world.end(producer, version=5).error_code == answered
    world.sleep(70_000)  # the time-out cannot be written either
    assert world.lasting() == before
    assert not any(shard._undurable or shard._writing for shard in world.coordinator._shards)
    assert world.markers(A0) == []
    world.fail = None
    world.sleep(10_000)
    assert world.state() == "CompleteAbort"
    assert world.lasting() == world.replayed().lasting()


def test_while_a_record_waits_nothing_else_may_change(world: TransactionWorld) -> None:
    producer = world.producer()
    world.hold = True
    adding = world.add(producer, A0)
    assert isinstance(adding, Pending)
    assert world.init().error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.add(producer, B0) == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.end(producer).error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.end(producer, version=5).error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.verify(producer, A0) == ErrorCode.TRANSACTION_ABORTABLE  # not before a crash cannot forget it
    other = world.init("y")
    assert isinstance(other, Pending)  # other ids go on
    world.release()
    assert partition_codes(adding.result()) == ErrorCode.NONE
    assert other.result().error_code == ErrorCode.NONE
    assert world.verify(producer, A0) == ErrorCode.NONE


def test_partitions_added_before_stay_while_another_waits(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0)
    world.hold = True
    world.add(producer, B0)
    assert world.verify(producer, A0) == ErrorCode.NONE
    assert world.verify(producer, B0) == ErrorCode.TRANSACTION_ABORTABLE


def test_what_may_be_on_disk_is_written_again(world: TransactionWorld) -> None:
    producer = world.producer()
    world.hold = True
    adding = world.add(producer, A0)
    world.release(STORAGE)
    assert partition_codes(adding.result()) == ErrorCode.NOT_COORDINATOR
    assert world.verify(producer, A0) == ErrorCode.TRANSACTION_ABORTABLE
    world.fail = STORAGE
    assert world.add(producer, A0) == ErrorCode.NOT_COORDINATOR
    world.fail = None
    assert world.verify(producer, A0) == ErrorCode.TRANSACTION_ABORTABLE
    written = len(world.log)
    assert world.add(producer, A0) == ErrorCode.NONE
    assert len(world.log) == written + 1
    assert world.verify(producer, A0) == ErrorCode.NONE


def test_no_marker_before_the_outcome_is_durable(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0)
    world.hold = True
    ending = world.end(producer)
    assert isinstance(ending, Pending)
    assert world.markers(A0) == []
    world.release(STORAGE)
    assert ending.result().error_code == ErrorCode.NOT_COORDINATOR
    assert (world.state(), world.markers(A0)) == ("PrepareCommit", [])
    world.fail = STORAGE
    world.sleep(1_500)
    assert world.markers(A0) == []
    world.fail = None
    world.sleep(1_000)
    assert (world.state(), len(world.markers(A0))) == ("CompleteCommit", 1)
    assert world.end(producer).error_code == ErrorCode.NONE  # the client's retry


def test_a_complete_that_waits(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0)
    world.hold_markers = True
    world.end(producer)
    world.hold = True
    world.release_markers()
    assert world.state() == "CompleteCommit"
    assert world.add(producer, A0) == ErrorCode.CONCURRENT_TRANSACTIONS
    world.release(STORAGE)
    assert world.add(producer, A0) == ErrorCode.NONE
    assert world.coordinator.stats["outcomes_under_way"] == 0


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_transaction_that_takes_too_long(level: int) -> None:
    world = TransactionWorld(transaction_version=level)
    producer = world.producer(timeout_ms=15_000)
    world.add(producer, A0)
    world.sleep(15_000)
    assert world.state() == "Ongoing"
    world.sleep(5_000)
    assert world.state() == "CompleteAbort"
    assert world.identity() == (producer[0], 1)
    assert str(world.markers(A0)) == f"[abort({producer[0]}/1 v{2 if level == 2 else 0})]"
    assert world.end(producer).error_code == ErrorCode.PRODUCER_FENCED
    assert world.end(producer, version=1).error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    assert told(world, "transaction timed out") == 1


def test_a_step_of_the_wall_clock_ends_no_transaction(world: TransactionWorld) -> None:
    producer = world.producer(timeout_ms=15_000)
    world.add(producer, A0)
    world.clock._wall_ms += 3_600_000
    world.sleep(10_000)
    assert world.state() == "Ongoing"
    world.clock._wall_ms -= 7_200_000
    world.sleep(10_000)
    assert world.state() == "CompleteAbort"


def test_a_restart_does_not_begin_the_time_again(world: TransactionWorld) -> None:
    producer = world.producer(timeout_ms=15_000)
    world.add(producer, A0)
    world.sleep(9_000)
    world.restart()
    world.sleep(10_000)
    assert world.state() == "CompleteAbort"


def test_each_transaction_has_its_own_time(world: TransactionWorld) -> None:
    producer = world.producer(timeout_ms=15_000)
    for _ in range(5):
        world.add(producer, A0)
        world.sleep(9_000)
        assert world.end(producer).error_code == ErrorCode.NONE
    assert world.state() == "CompleteCommit"


def test_ids_that_nobody_uses_are_forgotten() -> None:
    world = TransactionWorld(transaction_abort_timed_out_transaction_cleanup_interval_ms=900_000)
    for name in ("empty", "committed", "aborted", "open", "busy"):
        world.producer(name, timeout_ms=900_000)
    for name, commit in (("committed", True), ("aborted", False)):
        producer = world.identity(name)
        world.add(producer, A0, transactional_id=name)
        world.end(producer, commit, transactional_id=name)
    world.sleep(WEEK_MS - 1)
    world.add(world.identity("open"), A0, transactional_id="open")
    world.producer("busy")
    assert len(world.lasting()) == 5
    world.sleep(3_600_000)
    assert set(world.lasting()) == {"open", "busy"}
    assert world.lasting() == world.replayed().lasting()
    tombstones = {key for _, key, value in world.log if value is None}
    assert tombstones == {TransactionRecord(name, None, 0).encode()[0] for name in ("empty", "committed", "aborted")}
    assert world.init("empty", (1001, 0)).error_code == ErrorCode.NONE  # a new id for whoever comes back


def test_forgetting_waits_for_a_log_that_works() -> None:
    world = TransactionWorld(transaction_abort_timed_out_transaction_cleanup_interval_ms=900_000)
    world.producer()
    world.fail = STORAGE
    world.sleep(WEEK_MS + 3_600_000)
    assert world.state() == "Empty"
    world.fail = None
    world.sleep(3_600_000)
    assert world.state() == "none"


def test_many_ids_are_forgotten_in_batches() -> None:
    world = TransactionWorld(transaction_abort_timed_out_transaction_cleanup_interval_ms=900_000)
    for number in range(3_000):
        world.init(f"id-{number}")
    world.sleep(WEEK_MS + 3_600_000)
    assert world.lasting() == {}


# -- begin and end -----------------------------------------------------------------------------------------------------


def test_shutdown(world: TransactionWorld) -> None:
    producer = world.producer()
    world.add(producer, A0)
    world.broken[A0] = STORAGE
    world.end(producer)
    world.coordinator.shutdown()
    world.broken.clear()
    world.sleep(60_000)
    assert world.state() == "PrepareCommit"  # for the next start
    assert world.init().error_code == ErrorCode.NOT_COORDINATOR
    assert world.add(producer, A0) == ErrorCode.NOT_COORDINATOR
    assert world.verify(producer, A0) == ErrorCode.NOT_COORDINATOR
    assert world.end(producer).error_code == ErrorCode.NOT_COORDINATOR
    assert world.describe("x")[0].error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.list().error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    world.restart()
    assert world.state() == "CompleteCommit"


def test_shutdown_while_writes_wait(world: TransactionWorld) -> None:
    x, y = world.producer("x"), world.producer("y")
    world.add(x, A0)
    world.add(y, B0, transactional_id="y")
    world.hold_markers = True
    world.end(x)
    world.hold = True
    ending = world.end(y, transactional_id="y")
    world.coordinator.shutdown()
    world.release_markers()
    world.release()
    assert ending.result().error_code == ErrorCode.NONE
    assert (world.state("x"), world.state("y")) == ("PrepareCommit", "PrepareCommit")
    assert world.markers(B0) == []


def test_records_that_are_not_understood(world: TransactionWorld) -> None:
    key, value = TransactionRecord("x", Transaction(*_EMPTY), 1).encode()
    assert value is not None
    for bad_key, bad_value in [
        (b"", value),
        (b"\x00\x09" + key[2:], value),
        (key, b"\x00\x09" + value[2:]),
        (key, value[:5]),
        (key, TransactionRecord("x", None, 0).encode()[0]),
        (key, value[:16] + b"\x63" + value[17:]),  # a state of the future
        TransactionRecord("x", Transaction(*_EMPTY)._replace(state=TransactionState.DEAD), 1).encode(),  # never written
    ]:
        world.coordinator.replay(0, bad_key, bad_value)
    assert world.coordinator.stats["records_not_understood"] == 7
    assert world.lasting() == {}


_EMPTY = (7, 0, 60_000, TransactionState.EMPTY, frozenset[tuple[str, int]](), -1, 0, 7)


@pytest.mark.parametrize(("level", "version"), [(0, 0), (1, 1), (2, 1)])
def test_the_feature_says_how_records_are_written(level: int, version: int) -> None:
    world = TransactionWorld(transaction_version=level)
    producer = world.producer()
    world.add(producer, A0, version=5)
    world.end(producer, version=5)
    for _, key, value in world.log:
        assert value is not None
        assert int.from_bytes(value[:2], "big") == version
        record = decode_record(key, value)
        assert record is not None
        assert record.version == version
    assert world.replayed().lasting() == world.lasting()
    world.transaction_version = 2  # at any time
    world.producer()
    value = world.log[-1][2]
    assert value is not None
    assert value[:2] == b"\x00\x01"
