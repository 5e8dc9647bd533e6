"""Seed a broker once, fork it per test: a fork has all that the original had at that moment, and what either does from
then on is its own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from ottla.coordinator.transaction.markers import Outcomes
from ottla.log.clock import ManualClock
from ottla.log.filesystem import FileSystem
from ottla.testing import AsyncBroker, Broker
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client
from tests.broker.transactional import NEW, Producer, produce_request


@contextmanager
def producing(broker: Broker, **options: object) -> Iterator[KafkaProducer]:
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap_servers, **options)) as producer:
        yield producer


@contextmanager
def consuming(broker: Broker, *topics: str, **options: object) -> Iterator[KafkaConsumer]:
    options = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 60_000, **options}
    with closing(KafkaConsumer(*topics, bootstrap_servers=broker.bootstrap_servers, **options)) as consumer:
        yield consumer


@contextmanager
def administering(broker: Broker) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)) as admin:
        yield admin


def produce(broker: Broker, topic: str, *values: bytes) -> None:
    with producing(broker) as producer:
        for value in values:
            producer.send(topic, value)


def values(broker: Broker, topic: str) -> list[bytes | None]:
    return [one.value for one in broker.records(topic)]


def consume(broker: Broker, topic: str, count: int, **options: object) -> list[bytes]:
    with consuming(broker, topic, **options) as consumer:
        return [next(consumer).value for _ in range(count)]


def test_each_goes_on_with_its_own_records() -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one", b"two")
        with seeded.fork() as broker:
            assert broker.bootstrap_servers != seeded.bootstrap_servers
            produce(broker, "orders", b"of the fork")
            produce(seeded, "orders", b"of the original")
            assert consume(broker, "orders", 3) == [b"one", b"two", b"of the fork"]
            assert consume(seeded, "orders", 3) == [b"one", b"two", b"of the original"]
        with seeded.fork() as broker:
            assert values(broker, "orders") == [b"one", b"two", b"of the original"]


def test_a_fork_is_of_the_moment_when_it_was_asked_for() -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        later = seeded.fork()
        produce(seeded, "orders", b"two")
        with later as broker:
            assert values(broker, "orders") == [b"one"]


def test_groups_go_on_where_they_were_each_on_its_own() -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one", b"two", b"three")
        with consuming(seeded, "orders", group_id="billing", enable_auto_commit=False) as consumer:
            assert next(consumer).value == b"one"
            consumer.commit({TopicPartition("orders", 0): OffsetAndMetadata(1, "", -1)})
        with seeded.fork() as broker:
            with consuming(broker, "orders", group_id="billing", enable_auto_commit=False) as consumer:
                assert [next(consumer).value for _ in range(2)] == [b"two", b"three"]
                consumer.commit()
            with administering(broker) as forked, administering(seeded) as original:
                partition = TopicPartition("orders", 0)
                assert forked.list_group_offsets("billing")["billing"][partition].offset == 3
                assert original.list_group_offsets("billing")["billing"][partition].offset == 1


def test_a_transaction_is_aborted_in_the_fork_and_committed_in_the_original() -> None:
    with Broker(topics=["orders", "bills"]) as seeded, producing(seeded, transactional_id="t") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("orders", b"order").get(60)
        producer.send("bills", b"bill").get(60)
        with seeded.fork() as broker:
            assert [one.value for one in broker.records("orders", uncommitted=True)] == [b"order"]
            with producing(broker, transactional_id="t") as successor:
                successor.init_transactions()  # which aborts what its predecessor left open
                successor.begin_transaction()
                successor.send("orders", b"another").get(60)
                successor.commit_transaction()
            producer.commit_transaction()
            assert consume(seeded, "orders", 1, isolation_level="read_committed") == [b"order"]
            assert consume(broker, "orders", 1, isolation_level="read_committed") == [b"another"]
            assert (values(seeded, "bills"), values(broker, "bills")) == ([b"bill"], [])


async def test_an_idempotent_producer_goes_on_in_both() -> None:
    async with AsyncBroker(topics=["orders"]) as seeded:
        client = await connect(seeded)
        given = await client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 5)
        now_ms = seeded._instance.broker.clock.wall_ms()

        async def send(broker: AsyncBroker, sequence: int, *texts: bytes) -> tuple[ErrorCode, int]:
            batch = build_batch(
                [Record(at, now_ms, None, text) for at, text in enumerate(texts)],
                producer_id=given.producer_id,
                producer_epoch=given.producer_epoch,
                base_sequence=sequence,
            )
            sender = await connect(broker)
            answer = await sender.ask(produce_request("orders", {0: batch}, transactional_id=None), 11)
            (partition,) = answer.responses[0].partition_responses
            return ErrorCode(partition.error_code), partition.base_offset

        await send(seeded, 0, b"one", b"two")
        async with seeded.fork() as broker:
            for each in (broker, seeded):
                assert await send(each, 0, b"one", b"two") == (ErrorCode.NONE, 0)  # again: it is there already
                assert (await send(each, 4, b"x"))[0] is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
                assert await send(each, 2, b"three") == (ErrorCode.NONE, 2)
            assert await send(broker, 3, b"four") == (ErrorCode.NONE, 3)
            assert [len(each.records("orders")) for each in (broker, seeded)] == [4, 3]
            other = await (await connect(broker)).ask(
                InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 5
            )
            assert other.producer_id != given.producer_id


def connect(broker: AsyncBroker) -> Awaitable[Client]:
    return Client.connect(int(broker.bootstrap_servers.rpartition(":")[2]), "tester")


def test_configs_and_topics_of_one_are_not_the_others() -> None:
    with Broker(topics=["orders", "old"]) as seeded:
        produce(seeded, "old", b"kept")
        with administering(seeded) as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "orders", {"retention.ms": "1000"})])
        with seeded.fork() as broker:
            assert broker.topics["orders"].configs == {"retention.ms": "1000"}
            with administering(broker) as admin:
                admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "orders", {"retention.ms": "2000"})])
                admin.delete_topics(["old"])
            broker.create_topic("new")
            assert sorted(broker.topics) == ["new", "orders"]
            assert sorted(seeded.topics) == ["old", "orders"]
            assert seeded.topics["orders"].configs == {"retention.ms": "1000"}
            assert values(seeded, "old") == [b"kept"]


def test_what_one_compacts_or_deletes_the_other_still_has() -> None:
    compacted = {"cleanup.policy": "compact"}
    with Broker() as seeded:
        seeded.create_topic("states", 1, compacted)
        seeded.create_topic("events", 1)
        for value in (b"1", b"2", b"3"):
            seeded.produce("states", value, key=b"k")
            seeded.produce("events", value)
        with seeded.fork() as broker:
            broker._await(broker._instance.broker.housekeeping.clean_now)
            with administering(broker) as admin:
                admin.delete_records({TopicPartition("events", 0): 2})
            broker._call(broker._instance.broker.store.apply_retention)
            assert (values(broker, "states"), values(broker, "events")) == ([b"3"], [b"3"])
            assert values(seeded, "states") == values(seeded, "events") == [b"1", b"2", b"3"]
            seeded._await(seeded._instance.broker.housekeeping.clean_now)
            broker.produce("states", b"4", key=b"k2")
            assert (values(broker, "states"), values(seeded, "states")) == ([b"3", b"4"], [b"3"])


def test_a_fork_of_a_fork_outlives_both() -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        child = seeded.fork().start()
    produce(child, "orders", b"two")
    grandchild = child.fork()
    child.stop()
    with grandchild as broker:
        assert consume(broker, "orders", 2) == [b"one", b"two"]
        produce(broker, "orders", b"three")
        assert values(broker, "orders") == [b"one", b"two", b"three"]


def test_a_broker_of_several_nodes() -> None:
    with Broker(nodes=3, topics={"orders": 6}) as seeded:
        seeded.produce("orders", *(b"%d" % at for at in range(12)))
        with seeded.fork() as broker:
            assert len(broker.bootstrap_servers.split(",")) == 3
            produce(broker, "orders", b"12")
            assert sorted(values(broker, "orders"), key=lambda value: int(value or 0))[-1] == b"12"
            assert len(values(seeded, "orders")) == 12


def test_a_fork_of_a_broker_that_keeps_its_folder_keeps_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Broker(topics=["orders"], data=str(folder)) as seeded:
        produce(seeded, "orders", b"one")
        with seeded.fork() as broker:
            produce(broker, "orders", b"two")
            assert values(broker, "orders") == [b"one", b"two"]
            assert len(os.listdir(tmp_path)) == 2
        assert os.listdir(tmp_path) == ["data"]
    with Broker(data=str(folder)) as again:
        assert values(again, "orders") == [b"one"]


def test_where_files_cannot_be_shared_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(FileSystem, "make_link", refuse)
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        with seeded.fork() as broker:
            path = Path(broker._call(lambda: broker._instance.broker.store.path))
            assert {file.stat().st_nlink for file in path.rglob("*") if file.is_file()} == {1}
            produce(broker, "orders", b"two")
            assert (values(seeded, "orders"), values(broker, "orders")) == ([b"one"], [b"one", b"two"])


def test_a_fork_that_is_never_started_leaves_nothing() -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        forked = seeded.fork()
        folder = forked._instance._folder  # type: ignore[attr-defined]
        assert os.path.isdir(folder)
        del forked
        assert not os.path.exists(folder)


def test_a_clock_that_was_moved_is_forked_as_it_stands() -> None:
    clock = ManualClock()
    with Broker(topics=["orders"], clock=clock) as seeded:
        seeded._call(lambda: clock.advance(86_400_000))
        with seeded.fork() as broker:
            ours = broker._call(lambda: broker._instance.broker.clock)
            assert ours.wall_ms() == clock.wall_ms()
            seeded._call(lambda: clock.advance(5))
            assert ours.wall_ms() == clock.wall_ms() - 5


def test_a_fork_while_clients_write_is_a_cut_through_all_partitions() -> None:
    """Pairs: the second record of each is sent when the first is acknowledged, to another partition. Transactions: both
    partitions in one."""
    stop = threading.Event()

    def write_pairs(broker: Broker) -> None:
        with producing(broker, acks="all") as producer:
            number = 0
            while not stop.is_set():
                for partition in (0, 1):
                    producer.send("pairs", b"%d" % number, partition=partition).get(60)
                number += 1

    def write_transactions(broker: Broker) -> None:
        with producing(broker, transactional_id="writer") as producer:
            producer.init_transactions()
            number = 0
            while not stop.is_set():
                producer.begin_transaction()
                for partition in (0, 1):
                    producer.send("transactions", b"%d" % number, partition=partition)
                producer.commit_transaction()
                number += 1

    with Broker(topics={"pairs": 2, "transactions": 2}) as seeded:
        writers = [threading.Thread(target=write, args=(seeded,)) for write in (write_pairs, write_transactions)]
        for writer in writers:
            writer.start()
        try:
            for round_ in range(1, 6):
                seeded.wait_for("pairs", 10 * round_, timeout_s=60)
                seeded.wait_for("transactions", 5 * round_, timeout_s=60)
                with seeded.fork() as broker:
                    firsts, seconds = by_partition(broker, "pairs")
                    assert len(firsts) - len(seconds) in (0, 1)
                    assert firsts[: len(seconds)] == seconds
                    ours, theirs = by_partition(broker, "transactions")
                    assert ours == theirs
        finally:
            stop.set()
            for writer in writers:
                writer.join()


async def test_a_transaction_that_is_just_being_ended_ends_alike_in_all_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its markers are written a few a turn; a fork may come between any two turns, and before and after."""
    count = 100
    forks: list[AsyncBroker] = []
    written: list[int] = []
    async with AsyncBroker(topics={"orders": count}) as seeded:

        def fork() -> None:
            forks.append(seeded.fork())
            written.append(sum(end == 2 for end in seeded.topics["orders"].ends))

        def between_turns(outcomes: Outcomes, delay_ms: int, callback: Callable[[], None]) -> None:
            fork()
            later(outcomes, delay_ms, callback)

        producer = await Producer.start(await connect(seeded), "t", NEW)
        for index in range(count):
            assert await producer.send("orders", index, b"%d" % index) is ErrorCode.NONE
        fork()
        later = Outcomes._later
        with monkeypatch.context() as patch:
            patch.setattr(Outcomes, "_later", between_turns)
            assert await producer.commit() is ErrorCode.NONE
            while not all(end == 2 for end in seeded.topics["orders"].ends):
                await trio.lowlevel.checkpoint()
        fork()
    assert written == [0, 32, 64, 96, 100]
    outcomes = []
    for each in forks:
        async with each as broker:
            successor = await Producer.start(await connect(broker), "t", NEW)  # once the transaction before has ended
            outcomes.append(len(broker.records("orders")))
            assert await successor.send("orders", 0, b"next") is ErrorCode.NONE
    assert outcomes == [0, 100, 100, 100, 100]


def by_partition(broker: Broker, topic: str) -> tuple[list[bytes | None], list[bytes | None]]:
    records = broker.records(topic)
    first, second = ([one.value for one in records if one.partition == number] for number in (0, 1))
    return first, second


def test_what_waits_for_the_disk_is_in_with_its_flush_or_was_not_acknowledged(tmp_path: Path) -> None:
    settings = {"log.flush.interval.messages": "1"}
    with (
        Broker(topics=["orders"], data=str(tmp_path / "data"), settings=settings) as seeded,
        producing(seeded, acks="all", linger_ms=0) as producer,
    ):
        acknowledged = []
        for number in range(20):
            sent = producer.send("orders", b"%d" % number)
            with seeded.fork() as broker:
                assert values(broker, "orders")[: len(acknowledged)] == acknowledged
            sent.get(60)
            acknowledged.append(b"%d" % number)


def test_a_clock_that_stands_still_does_so_in_the_fork(tmp_path: Path) -> None:
    with Broker(topics=["orders"]) as seeded:
        seeded.clock.advance("7d")
        seeded.clock.freeze()
        with seeded.fork() as broker:
            assert broker.clock.now_ms == seeded.clock.now_ms
            seeded.clock.advance("1h")
            assert broker.clock.now_ms == seeded.clock.now_ms - 3_600_000
            broker.clock.advance("2h")
            assert broker.clock.now_ms == seeded.clock.now_ms + 3_600_000


# --- files


def test_a_snapshot_is_what_other_brokers_begin_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_SNAPSHOTS", str(tmp_path))
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        consume(seeded, "orders", 1, group_id="billing")
        path = seeded.snapshot("seed")
        produce(seeded, "orders", b"two")
        with pytest.raises(ValueError, match="snapshot seed is there already"):
            seeded.snapshot("seed")
    for snapshot in ("seed", path, Path(path)):
        with Broker(snapshot=snapshot, topics=["more"]) as broker:
            assert values(broker, "orders") == [b"one"]
            assert broker.groups["billing"].committed == {"orders": {0: 1}}
            assert sorted(broker.topics) == ["more", "orders"]
            with broker.fork() as forked:
                produce(forked, "orders", b"three")
                assert consume(forked, "orders", 2) == [b"one", b"three"]


def test_a_snapshot_for_a_folder_that_is_kept(tmp_path: Path) -> None:
    with Broker(topics=["orders"]) as seeded:
        produce(seeded, "orders", b"one")
        path = seeded.snapshot("seed", folder=str(tmp_path))
    folder = str(tmp_path / "data")
    with Broker(snapshot=path, data=folder) as broker:
        produce(broker, "orders", b"two")
    with (
        pytest.raises(ValueError, match="is not empty, and nothing in it is overwritten"),
        Broker(snapshot=path, data=folder),
    ):
        pass
    with Broker(data=folder) as broker:
        assert values(broker, "orders") == [b"one", b"two"]


@pytest.mark.parametrize("name", ["nope", "no/such", "not a name"])
def test_a_snapshot_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_SNAPSHOTS", str(tmp_path))
    with pytest.raises(ValueError, match="snapshot"), Broker(snapshot=name):
        pass


async def test_the_same_inside_a_trio_program(tmp_path: Path) -> None:
    async with AsyncBroker(topics=["orders"]) as seeded:
        await seeded.produce("orders", b"one")
        async with seeded.fork() as broker:
            await broker.produce("orders", b"two")
            assert [one.value for one in broker.records("orders")] == [b"one", b"two"]
            assert [one.value for one in seeded.records("orders")] == [b"one"]
            path = await broker.snapshot("seed", folder=str(tmp_path))
        async with AsyncBroker(snapshot=path) as again:
            assert [one.value for one in again.records("orders")] == [b"one", b"two"]
