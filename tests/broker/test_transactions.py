"""Transactions over the wire, in both protocol generations: what readers see, who is fenced, what a restart finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from ottla.broker import transactions
from ottla.broker.features import TRANSACTION_VERSION
from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_transactions import ListTransactionsRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import produce
from tests.broker.transactional import (
    NEW,
    OLD,
    Generation,
    Producer,
    codes_of,
    committed,
    end_offset,
    group_offset,
    produce_request,
    state_of,
    transactional_batch,
)

CHECK_MS = 10_000  # transaction.abort.timed.out.transaction.cleanup.interval.ms
generations = pytest.mark.parametrize("generation", [OLD, NEW], ids=str)


def with_topics(running: Running, *names: str) -> None:
    for name in names or ("t",):
        running.broker.metadata.create_topic(running.broker.metadata.plan_topic(name, 3))


@pytest.fixture
async def client(running: Running) -> AsyncIterator[Client]:
    with_topics(running)
    async with await running.client() as client:
        yield client


def move(running: Running, clock: ManualClock, ms: int) -> None:
    clock.advance(ms)
    running.broker.timers.run_due()


# ── what readers see ────────────────────────────────────────────────────────────────────────────────────────────────


@generations
async def test_a_commit_shows_all_at_once(client: Client, generation: Generation) -> None:
    producer = await Producer.start(client, "x", generation)
    for index in (0, 1):
        assert await producer.send("t", index, b"a", b"b") is ErrorCode.NONE
        assert await producer.send("t", index, b"c") is ErrorCode.NONE
    assert await state_of(client, "x") == "Ongoing"
    for index in (0, 1):
        assert await committed(client, "t", index) == []
        assert await end_offset(client, "t", index) == 0
        assert await end_offset(client, "t", index, isolation_level=0) == 3
    assert await producer.commit() is ErrorCode.NONE
    assert await state_of(client, "x") == "CompleteCommit"
    for index in (0, 1):
        assert await committed(client, "t", index) == [b"a", b"b", b"c"]
        assert await end_offset(client, "t", index) == 4, "with the marker"


@generations
async def test_what_was_aborted_is_never_seen(client: Client, generation: Generation) -> None:
    producer = await Producer.start(client, "x", generation)
    for number in range(6):
        assert await producer.send("t", 0, b"%d" % number) is ErrorCode.NONE
        await client.ask(produce("t", b"plain %d" % number), 9)
        assert await (producer.commit() if number % 2 else producer.abort()) is ErrorCode.NONE
    assert await committed(client, "t") == [
        *(b"plain 0", b"1", b"plain 1"),
        *(b"plain 2", b"3", b"plain 3"),
        *(b"plain 4", b"5", b"plain 5"),
    ]


@generations
async def test_two_producers_in_one_partition(client: Client, generation: Generation) -> None:
    first = await Producer.start(client, "first", generation)
    second = await Producer.start(client, "second", generation)
    await first.send("t", 0, b"1")
    await second.send("t", 0, b"2")
    assert await second.commit() is ErrorCode.NONE
    assert await committed(client, "t") == [], "the first transaction holds up what follows"
    assert await first.abort() is ErrorCode.NONE
    assert await committed(client, "t") == [b"2"]


@generations
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_offsets_count_when_the_transaction_does(client: Client, generation: Generation, commit: bool) -> None:
    producer = await Producer.start(client, "x", generation)
    assert await producer.send_offset("g", "t", 7) is ErrorCode.NONE
    assert await group_offset(client, "g", "t") is ErrorCode.UNSTABLE_OFFSET_COMMIT
    assert await group_offset(client, "g", "t", stable=False) == -1
    assert await (producer.commit() if commit else producer.abort()) is ErrorCode.NONE
    assert await group_offset(client, "g", "t") == (7 if commit else -1)


# ── who may write ───────────────────────────────────────────────────────────────────────────────────────────────────


@generations
async def test_a_second_instance_fences_the_first(client: Client, generation: Generation) -> None:
    zombie = await Producer.start(client, "x", generation)
    assert await zombie.send("t", 0, b"half") is ErrorCode.NONE
    successor = await Producer.start(client, "x", generation)
    assert successor.producer_id == zombie.producer_id
    assert await state_of(client, "x") == "Empty", "what was open is aborted"
    fenced = ErrorCode.INVALID_PRODUCER_EPOCH
    assert await zombie.send_only("t", 0, b"more") is fenced
    assert await zombie.send_only("t", 1, b"elsewhere") is fenced
    assert await zombie.send_offset_only("g", "t", 1) is fenced
    assert await zombie.commit() is ErrorCode.PRODUCER_FENCED
    assert await successor.send("t", 0, b"new") is ErrorCode.NONE
    assert await successor.commit() is ErrorCode.NONE
    assert await committed(client, "t") == [b"new"]


@generations
async def test_a_transaction_that_takes_too_long_is_aborted(launcher: Launcher, generation: Generation) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    with_topics(running)
    async with await running.client() as client:
        producer = await Producer.start(client, "x", generation, timeout_ms=60_000)
        await producer.send("t", 0, b"late")
        move(running, clock, 60_000)
        assert await state_of(client, "x") == "Ongoing"
        move(running, clock, CHECK_MS)
        assert await state_of(client, "x") == "CompleteAbort"
        assert await end_offset(client, "t") == 2, "readers go on"
        assert await producer.send_only("t", 0, b"later") is ErrorCode.INVALID_PRODUCER_EPOCH
        assert await committed(client, "t") == []
    assert "transaction timed out transactional_id=x" in running.log_text


async def test_ids_that_nobody_uses_are_forgotten(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"transactional.id.expiration.ms": "86400000"}, clock=clock)
    with_topics(running)
    async with await running.client() as client:
        idle = await Producer.start(client, "idle", NEW)
        await idle.send("t", 0, b"v")
        await idle.commit()
        move(running, clock, 86_400_000)
        move(running, clock, 3_600_000)
        assert await state_of(client, "idle") == "TRANSACTIONAL_ID_NOT_FOUND"


@pytest.mark.parametrize(
    ("version", "not_added"),
    [
        (3, ErrorCode.INVALID_TXN_STATE),
        (10, ErrorCode.INVALID_TXN_STATE),
        (11, ErrorCode.TRANSACTION_ABORTABLE),
        (12, ErrorCode.NONE),
    ],
)
async def test_records_outside_of_a_transaction(client: Client, version: int, not_added: ErrorCode) -> None:
    producer = await Producer.start(client, "x", OLD)
    producer_id, epoch = producer.producer_id, producer.epoch
    batch = transactional_batch(producer_id, epoch, 0, b"v")

    async def sent(records: dict[int, bytes | bytearray], transactional_id: str | None = "x") -> dict[int, ErrorCode]:
        request = produce_request("t", records, transactional_id=transactional_id)
        return codes_of(await client.ask(request, version))

    assert await sent({0: batch}, None) == {0: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
    assert await sent({0: batch}, "nobody") == {0: ErrorCode.INVALID_PRODUCER_ID_MAPPING}
    others = {0: batch, 1: transactional_batch(producer_id + 1, epoch, 0, b"v")}
    assert await sent(others) == dict.fromkeys((0, 1), ErrorCode.INVALID_PRODUCER_ID_MAPPING), "of two producers"
    stale = transactional_batch(producer_id, epoch + 1, 0, b"v")
    assert await sent({0: stale}) == {0: ErrorCode.INVALID_PRODUCER_EPOCH}
    assert await sent({0: batch[:-1], 9: batch, 1: batch}) == {
        0: ErrorCode.INVALID_RECORD,
        9: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        1: not_added,
    }
    assert await producer.add("t", 0) is ErrorCode.NONE
    assert await sent({0: batch, 2: batch}) == {0: ErrorCode.NONE, 2: not_added}


async def test_verification_may_be_switched_off(launcher: Launcher) -> None:
    running = await launcher.start({"transaction.partition.verification.enable": "false"})
    with_topics(running)
    async with await running.client() as client:
        trusted = await Producer.start(client, "old", OLD)
        assert await trusted.send_only("t", 0, b"v") is ErrorCode.NONE
        assert await state_of(client, "old") == "Empty", "nobody looked"
        added = await Producer.start(client, "new", NEW)
        assert await added.send_only("t", 0, b"v") is ErrorCode.NONE
        assert await state_of(client, "new") == "Ongoing"


async def test_a_failure_without_an_answer_closes(running: Running) -> None:
    with_topics(running)
    async with await running.client() as client:
        producer = await Producer.start(client, "x", OLD)
        batch = transactional_batch(producer.producer_id, producer.epoch, 0, b"v")
        await client.send(produce_request("t", {0: batch}, transactional_id="x", acks=0), 11)
        assert await client.closed()


async def test_partitions_are_added_for_several_transactions_at_once(client: Client) -> None:
    """As brokers do, from v4 on."""
    producers = [await Producer.start(client, name, NEW) for name in ("x", "y")]
    asked = AddPartitionsToTxnRequest(
        transactions=[
            AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                transactional_id=each.transactional_id,
                producer_id=each.producer_id,
                producer_epoch=each.epoch,
                verify_only=each.transactional_id == "y",
                topics=[AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="t", partitions=[0, 1])],
            )
            for each in producers
        ]
    )
    response = await client.ask(asked, 5)
    codes = {
        each.transactional_id: [at.partition_error_code for at in each.topic_results[0].results_by_partition]
        for each in response.results_by_transaction
    }
    assert codes == {"x": [0, 0], "y": [ErrorCode.TRANSACTION_ABORTABLE] * 2}


async def test_clients_may_not_add_internal_topics(client: Client) -> None:
    producer = await Producer.start(client, "x", OLD)
    await client.ask(FindCoordinatorRequest(coordinator_keys=["g"]), 4)
    assert await producer.add("__consumer_offsets", 0) is ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert await producer.add("missing", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert await state_of(client, "x") == "Empty"


# ── crashes and disks ───────────────────────────────────────────────────────────────────────────────────────────────


@generations
async def test_an_open_transaction_goes_on_after_a_restart(launcher: Launcher, generation: Generation) -> None:
    running = await launcher.start()
    with_topics(running)
    async with await running.client() as client:
        producer = await Producer.start(client, "x", generation)
        await producer.send("t", 0, b"before")
        await producer.send_offset("g", "t", 3)
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        producer.client = client
        assert await committed(client, "t") == []
        assert await group_offset(client, "g", "t") is ErrorCode.UNSTABLE_OFFSET_COMMIT
        assert await producer.send("t", 0, b"after") is ErrorCode.NONE
        assert await producer.commit() is ErrorCode.NONE
        assert await committed(client, "t") == [b"before", b"after"]
        assert await group_offset(client, "g", "t") == 3


@asynccontextmanager
async def markers_fail(monkeypatch: pytest.MonkeyPatch, refuse: Callable[[int], bool]) -> AsyncIterator[list[int]]:
    """The markers of partitions that `refuse` names cannot be written; the numbers of all that was tried."""
    tried: list[int] = []
    write = transactions.write_marker

    def bent(broker: Any, topic: str, index: int, **marker: Any) -> Any:
        tried.append(index)
        if refuse(index):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the disk is full")
        return write(broker, topic, index, **marker)

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "write_marker", bent)
        yield tried


@generations
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
async def test_markers_that_a_crash_prevented_are_written_at_the_next_start(
    launcher: Launcher, generation: Generation, commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await launcher.start()
    with_topics(running)
    async with markers_fail(monkeypatch, lambda index: index > 0), await running.client() as client:
        producer = await Producer.start(client, "x", generation)
        for index in range(3):
            await producer.send("t", index, b"v")
        await producer.send_offset("g", "t", 3)
        assert await (producer.commit() if commit else producer.abort()) is ErrorCode.NONE, "it is decided"
        assert await state_of(client, "x") == ("PrepareCommit" if commit else "PrepareAbort")
        seen = [await committed(client, "t", index) for index in range(3)]
        assert seen == [[b"v"] if commit else [], [], []]
        response = await client.ask(InitProducerIdRequest(transactional_id="x", transaction_timeout_ms=1000), 5)
        assert response.error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert await state_of(client, "x") == ("CompleteCommit" if commit else "CompleteAbort")
        assert [await committed(client, "t", index) for index in range(3)] == [[b"v"] if commit else []] * 3
        assert await group_offset(client, "g", "t") == (3 if commit else -1)
        producer.client = client
        assert await producer.send("t", 0, b"next") is ErrorCode.NONE


@generations
async def test_markers_are_tried_again_until_they_are_written(
    launcher: Launcher, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    with_topics(running)
    full = {1}
    async with markers_fail(monkeypatch, full.__contains__) as tried, await running.client() as client:
        producer = await Producer.start(client, "x", generation)
        for index in range(2):
            await producer.send("t", index, b"v")
        assert await producer.commit() is ErrorCode.NONE
        assert await state_of(client, "x") == "PrepareCommit"
        move(running, clock, 1_000)
        full.clear()
        move(running, clock, 1_000)
        assert tried == [0, 1, 1, 1], "what is written is not written again"
        assert await state_of(client, "x") == "CompleteCommit"
        assert await committed(client, "t", 1) == [b"v"]


async def test_while_markers_are_missing_old_clients_retry_and_new_ones_hear_why(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    with_topics(running)
    async with markers_fail(monkeypatch, lambda index: True), await running.client() as client:
        old = await Producer.start(client, "old", OLD)
        await old.send("t", 0, b"v")
        assert await old.commit() is ErrorCode.NONE
        assert await old.add("t", 1) is ErrorCode.CONCURRENT_TRANSACTIONS
        assert await old.send_only("t", 1, b"v") is ErrorCode.NOT_ENOUGH_REPLICAS
        new = await Producer.start(client, "new", NEW)
        await new.send("t", 0, b"v")
        assert await new.commit() is ErrorCode.NONE
        answers: list[ErrorCode] = []

        async def send() -> None:
            answers.append(await new.send("t", 1, b"v"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert not answers, "for a little while the broker tries again by itself"
            with trio.fail_after(60):
                while not answers:
                    move(running, clock, 20)
                    await trio.testing.wait_all_tasks_blocked(0.005)
        assert answers == [ErrorCode.CONCURRENT_TRANSACTIONS]


@generations
async def test_nothing_is_answered_before_it_is_durable(launcher: Launcher, generation: Generation) -> None:
    """Each step waits for its flush, and the next transaction may come before the last marker is on disk."""
    running = await launcher.start({"log.flush.interval.messages": "1"})
    with_topics(running)
    async with await running.client() as client:
        producer = await Producer.start(client, "x", generation)
        expected: list[bytes] = []
        for number in range(10):
            value = b"%d" % number
            code = ErrorCode.CONCURRENT_TRANSACTIONS
            while code is ErrorCode.CONCURRENT_TRANSACTIONS:  # what an old client does about it
                code = await producer.send("t", 0, value)
            assert code is ErrorCode.NONE
            assert await producer.send("t", 0, value) is ErrorCode.NONE
            assert await producer.send_offset("g", "t", number) is ErrorCode.NONE
            assert await (producer.commit() if number % 3 else producer.abort()) is ErrorCode.NONE
            expected += [value, value] if number % 3 else []
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        assert await state_of(client, "x") == "CompleteAbort"
        assert await committed(client, "t") == expected
        assert await group_offset(client, "g", "t") == 8


@generations
async def test_a_topic_that_is_gone_holds_nobody_up(client: Client, running: Running, generation: Generation) -> None:
    with_topics(running, "gone")
    producer = await Producer.start(client, "x", generation)
    await producer.send("gone", 0, b"v")
    await producer.send("t", 0, b"v")
    deleted = DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name="gone")])
    assert (await client.ask(deleted, 6)).responses[0].error_code == 0
    assert await producer.commit() is ErrorCode.NONE
    assert await state_of(client, "x") == "CompleteCommit"
    assert await committed(client, "t") == [b"v"]


# ── the coordinator in the broker ───────────────────────────────────────────────────────────────────────────────────


async def test_the_topic_of_transactions_appears_with_the_first_id(running: Running) -> None:
    topics = running.broker.cluster.topics
    async with await running.client() as client:
        assert "__transaction_state" not in topics
        asked = FindCoordinatorRequest(key_type=1, coordinator_keys=["x", "y"])
        response = await client.ask(asked, 6)
        assert [(each.error_code, each.node_id, each.port) for each in response.coordinators] == [
            (0, 1, running.port),
            (0, 1, running.port),
        ]
    topic = topics["__transaction_state"]
    assert (topic.internal, len(topic.partitions), topic.overrides["cleanup.policy"]) == (True, 50, "compact")


async def test_ids_are_spread_over_the_partitions_there_are(launcher: Launcher) -> None:
    running = await launcher.start({"transaction.state.log.num.partitions": "3"})
    with_topics(running)
    async with await running.client() as client:
        for name in ("a", "b", "c", "d"):
            await Producer.start(client, name, NEW)
    assert len(running.broker.cluster.topics["__transaction_state"].partitions) == 3
    await launcher.stop()
    running = await launcher.start()
    async with await running.client() as client:
        listed = await client.ask(ListTransactionsRequest(), 2)
        assert sorted(each.transactional_id for each in listed.transaction_states) == ["a", "b", "c", "d"]


async def test_without_its_topic_the_coordinator_knows_nobody(client: Client, running: Running) -> None:
    producer = await Producer.start(client, "x", NEW)
    deleted = DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name="__transaction_state")])
    assert (await client.ask(deleted, 6)).responses[0].error_code == 0
    assert await state_of(client, "x") == "TRANSACTIONAL_ID_NOT_FOUND"
    assert await producer.send("t", 0, b"v") is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    again = await Producer.start(client, "x", NEW)
    assert again.producer_id > producer.producer_id, "ids are never given twice"


async def test_producer_ids_are_never_given_twice(launcher: Launcher) -> None:
    given: list[int] = []
    for _ in range(3):
        running = await launcher.start()
        async with await running.client() as client:
            for name in ("x", "y"):
                given.append((await Producer.start(client, f"{name}{len(given)}", NEW)).producer_id)
            plain = await client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1), 4)
            given.append(plain.producer_id)
        await launcher.stop()
    assert given == [0, 1, 2, 1000, 1001, 1002, 2000, 2001, 2002], "blocks of 1000"


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_the_level_of_transactions_decides_how_a_zombie_is_fenced(launcher: Launcher, level: int) -> None:
    """A client fenced at level 2 finds its epoch again when it repeats its call, as it may have been itself."""
    running = await launcher.start()
    with_topics(running)
    running.broker.metadata.set_features({TRANSACTION_VERSION: level})
    async with await running.client() as client:
        producer = await Producer.start(client, "x", OLD)
        await producer.send("t", 0, b"v")
        request = InitProducerIdRequest(
            transactional_id="x",
            transaction_timeout_ms=60_000,
            producer_id=producer.producer_id,
            producer_epoch=producer.epoch,
        )
        assert (await client.ask(request, 5)).error_code == ErrorCode.CONCURRENT_TRANSACTIONS
        response = await client.ask(request, 5)
        if level == 2:
            assert (response.error_code, response.producer_epoch) == (0, producer.epoch + 1)
        else:
            assert response.error_code == ErrorCode.PRODUCER_FENCED
