"""What a test sees of its broker without a client: groups with their lag, and what was asked and answered."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ottla.testing import AsyncBroker, Broker, Records, UnexpectedRecordsError, WaitTimeoutError
from ottla.testing.requests import KEPT, KEPT_BYTES, MOST_COPIED
from ottla.wire.apis import ApiKey
from ottla.wire.frame import encode_request
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, build_batch

TIMEOUT_S = 60


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(topics={"orders": 2}) as broker:
        yield broker


def consume(broker: Broker, count: int, **options: object) -> KafkaConsumer:
    consumer = KafkaConsumer(
        "orders",
        bootstrap_servers=broker.bootstrap_servers,
        group_id="kitchen",
        client_id="cook",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=1,
        **options,
    )
    for _ in range(count):
        next(consumer)
    return consumer


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_group_is_seen_with_members_offsets_and_lag(broker: Broker) -> None:
    assert broker.groups == {}
    broker.produce("orders", "tea", "milk", "soup", partition=0)
    broker.produce("orders", "bread", partition=1)
    consumer = consume(broker, 4)
    member = broker.groups["kitchen"].members[0]
    assert (member.client_id, member.host, member.assigned) == ("cook", "127.0.0.1", {"orders": (0, 1)})
    assert broker.groups["kitchen"].lag == 4  # nothing is committed, so nothing is done

    consumer.commit()
    broker.produce("orders", "more", partition=1)
    group = broker.groups["kitchen"]
    assert (group.state, group.type) == ("Stable", "classic")
    assert group.generation >= 1  # a kafka-python that joins before it knows the topic joins again
    assert group.committed == {"orders": {0: 3, 1: 1}}
    assert group.lags == {"orders": {0: 0, 1: 1}}
    assert group.lag == 1
    consumer.close()
    left = broker.groups["kitchen"]
    assert (left.state, left.members, left.lag) == ("Empty", (), 1)
    assert left.generation == group.generation + 1


def test_a_group_of_the_new_protocol_is_seen_alike(broker: Broker) -> None:
    from confluent_kafka import Consumer

    broker.produce("orders", "tea", "milk")
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "kitchen",
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["orders"])
    read = [consumer.poll(TIMEOUT_S) for _ in range(2)]
    group = broker.groups["kitchen"]
    assert (group.type, group.state) == ("consumer", "Stable")
    assert group.generation > 0
    assert group.members[0].assigned == {"orders": (0, 1)}
    assert group.lag == 2
    consumer.commit(read[0], asynchronous=False)
    assert broker.groups["kitchen"].lag == 1
    consumer.close()


def test_a_group_without_members_is_one_that_only_commits(broker: Broker) -> None:
    broker.produce("orders", "tea", partition=1)
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id="counter", enable_auto_commit=False)
    consumer.assign([TopicPartition("orders", 1)])
    consumer.seek_to_end()
    assert consumer.position(TopicPartition("orders", 1)) == 1
    consumer.commit()
    consumer.close()
    assert broker.groups["counter"].committed == {"orders": {1: 1}}
    assert broker.groups["counter"].state == "Empty"


# ── topics and records without a client ─────────────────────────────────────────────────────────────────────────────


def test_topics_are_made_and_filled_without_a_client(broker: Broker) -> None:
    broker.create_topic("audit", partitions=3, configs={"max.message.bytes": "999"})
    assert broker.topics["audit"].ends == (0, 0, 0)
    assert broker.topics["audit"].configs == {"max.message.bytes": "999"}
    broker.produce("audit", b"1", b"2", b"3", b"4", timestamp_ms=1_700_000_000_000, headers=[("h", b"x")])
    assert broker.topics["audit"].ends == (2, 1, 1)
    first = broker.records("audit")[0]
    assert (first.value, first.timestamp_ms, first.headers) == (b"1", 1_700_000_000_000, (("h", b"x"),))
    broker.produce("new", None, key="k")
    assert [(one.key, one.value) for one in broker.records("new")] == [(b"k", None)]


def test_a_key_goes_where_clients_put_it(broker: Broker) -> None:
    for key in ("tea", "milk", "soup"):
        broker.produce("orders", "ours", key=key)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for key in (b"tea", b"milk", b"soup"):
            producer.send("orders", b"theirs", key=key)
    places: dict[bytes | None, set[int]] = {}
    for record in broker.records("orders"):
        places.setdefault(record.key, set()).add(record.partition)
    assert [len(found) for found in places.values()] == [1, 1, 1]


def test_a_lot_is_written_in_several_batches(broker: Broker) -> None:
    broker.produce("orders", *[bytes(100_000)] * 30, partition=0)
    assert broker.topics["orders"].ends == (30, 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda broker: broker.create_topic("no/name"), "topic 'no/name' cannot be created: INVALID_TOPIC_EXCEPTION"),
        (lambda broker: broker.create_topic("orders"), "topic 'orders' already exists"),
        (lambda broker: broker.create_topic("new", configs={"retention.ms": "long"}), "retention.ms"),
        (lambda broker: broker.produce("orders", b"x", partition=2), "no partition 2: its partitions are 0 to 1"),
        (lambda broker: broker.produce("orders", bytes(2 << 20)), "cannot be written to 'orders': MESSAGE_TOO_LARGE"),
        (lambda broker: broker.requests("Prodduce"), "there is no API 'Prodduce'; did you mean Produce?"),
        (lambda broker: broker.wait_for_request("Tea"), "there is no API 'Tea'"),
        (lambda broker: broker.control_url, "start it with control=True"),
        (lambda broker: Broker(topics="orders"), "not 'orders'"),
        (lambda broker: Broker(topics=["orders:many"]), "many is not a number of partitions"),
        (lambda broker: Broker(nodes=0), "1 node or more, not 0"),
        (lambda broker: Broker(nodes=2, racks=["a"]), "1 racks for 2 nodes"),
        (lambda broker: Broker(settings={"num.partitions": "x"}).start(), "num.partitions=x"),
        (lambda broker: Broker(settings={"nonsense": "x"}).start(), "there is no broker setting nonsense"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(broker: Broker, wrong: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        wrong(broker)  # type: ignore[operator]
    assert "\n" not in str(refusal.value)


# ── nothing more ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_more_is_expected_once_all_that_was_sent_is_served(broker: Broker) -> None:
    broker.expect_no_more("orders")
    broker.expect_no_more("never-was")
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        producer.send("orders", b"one", partition=0)
        producer.send("orders", b"two", partition=1)
        producer.flush()
        assert len(broker.expect_no_more("orders", 2)) == 2
        producer.send("orders", b"three", partition=0)
        producer.flush()
    with pytest.raises(UnexpectedRecordsError) as failure:
        broker.expect_no_more("orders", 2)
    assert str(failure.value).startswith("3 records in orders, 2 expected; beyond them:\n  Record(topic='orders'")
    broker.expect_no_more("orders", 1, where=lambda one: one.value == b"three")


def produce_frame(value: bytes) -> bytes:
    """A Produce to orders-0 as it goes over the wire."""
    batch = bytes(build_batch([Record(0, 1_700_000_000_000, None, value)]))
    data = ProduceRequest.PartitionProduceData(index=0, records=batch)
    topic = ProduceRequest.TopicProduceData(name="orders", partition_data=[data])
    return encode_request(ApiKey.PRODUCE, 9, 1, "till", ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[topic]))


def test_what_waits_in_a_socket_is_served_before_it_is_said_that_there_is_no_more(broker: Broker) -> None:
    """Nobody has read the answer: the request has left the client, and that is all."""
    host, port = broker.bootstrap_servers.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(produce_frame(b"first"))
        assert sock.recv(4)  # the connection is accepted
        sock.sendall(produce_frame(b"second"))
        with pytest.raises(UnexpectedRecordsError, match="2 records in orders, 1 expected"):
            broker.expect_no_more("orders", 1)


def test_what_has_come_half_is_waited_for(broker: Broker) -> None:
    host, port = broker.bootstrap_servers.split(":")
    frame = produce_frame(b"tea" * 1000)
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(frame[:1000])
        while not broker._call(lambda: broker._instance.server.budget.used):
            pass
        with pytest.raises(WaitTimeoutError, match="a request is still coming in"):
            broker.expect_no_more("orders", timeout_s=0)
        rest = threading.Thread(target=sock.sendall, args=(frame[1000:],))
        rest.start()
        with pytest.raises(UnexpectedRecordsError, match="1 record in orders, 0 expected"):
            broker.expect_no_more("orders", timeout_s=TIMEOUT_S)
        rest.join()


def test_what_a_fault_keeps_back_is_named(broker: Broker) -> None:
    held = broker.faults.produce(topic="orders").hold("before")
    host, port = broker.bootstrap_servers.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(produce_frame(b"tea"))
        held.wait_held()
        with pytest.raises(WaitTimeoutError, match="still under way: <Produce v9, of till at node 1, under way>"):
            broker.expect_no_more("orders", timeout_s=0)
        held.release()
        with pytest.raises(UnexpectedRecordsError):
            broker.expect_no_more("orders", timeout_s=TIMEOUT_S)


def test_what_comes_in_the_time_that_is_given_is_too_much(broker: Broker) -> None:
    """The broker's clock may be far from its end: the record counts at once."""
    asked = threading.Event()
    found: list[str] = []

    def expect() -> None:
        asked.set()
        try:
            broker.expect_no_more("orders", for_s=3600, timeout_s=TIMEOUT_S)
        except UnexpectedRecordsError as failure:
            found.append(str(failure))

    thread = threading.Thread(target=expect)
    thread.start()
    asked.wait()
    broker.produce("orders", "late")
    thread.join()
    assert found[0].startswith("1 record in orders, 0 expected")


def test_time_in_which_nothing_comes_is_the_brokers(broker: Broker) -> None:
    assert broker.expect_no_more("orders", for_s=0.02) == []


def test_an_open_transaction_brings_nothing_to_light_but_its_commit_does(broker: Broker) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id="till")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send("orders", b"tea").get(TIMEOUT_S)
    assert broker.expect_no_more("orders") == []
    assert [one.value for one in broker.records("orders", uncommitted=True)] == [b"tea"]
    with pytest.raises(UnexpectedRecordsError):
        broker.expect_no_more("orders", uncommitted=True)
    producer.commit_transaction()
    assert [one.value for one in broker.wait_for("orders")] == [b"tea"]
    producer.begin_transaction()
    producer.send("orders", b"no tea").get(TIMEOUT_S)
    producer.abort_transaction()
    producer.close()
    assert len(broker.expect_no_more("orders", 1)) == 1


def test_records_that_are_gone_are_not_waited_for(broker: Broker) -> None:
    """Waiting reads on from where it was: what was deleted meanwhile does not count."""
    from kafka import KafkaAdminClient

    broker.produce("orders", "a", "b", "c", partition=0)
    found: list[list[bytes | None]] = []
    looked = threading.Event()

    def wait() -> None:
        records = broker.wait_for("orders", 3, where=lambda one: looked.set() or one.value != b"a", timeout_s=TIMEOUT_S)
        found.append([one.value for one in records])

    thread = threading.Thread(target=wait)
    thread.start()
    looked.wait()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.delete_records({TopicPartition("orders", 0): 2})
    admin.close()
    broker.produce("orders", "d", "e", partition=0)
    thread.join()
    assert found == [[b"c", b"d", b"e"]]


def test_a_topic_that_is_made_anew_is_waited_for(broker: Broker) -> None:
    from kafka import KafkaAdminClient

    found: list[list[bytes | None]] = []
    looked = threading.Event()

    def wait() -> None:
        records = broker.wait_for("orders", 2, where=lambda one: looked.set() or True, timeout_s=TIMEOUT_S)
        found.append([one.value for one in records])

    broker.produce("orders", "old")
    thread = threading.Thread(target=wait)
    thread.start()
    looked.wait()
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.delete_topics(["orders"])
    admin.close()
    broker.produce("orders", "new", "newer")
    thread.join()
    assert found == [[b"new", b"newer"]]


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_are_seen_with_their_answers(broker: Broker) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, client_id="till") as producer:
        producer.send("orders", b"tea", partition=1).get(TIMEOUT_S)
    (produced,) = broker.requests("produce")
    assert (produced.api, produced.client_id, produced.node) == ("Produce", "till", 1)
    assert produced.took_ms is not None
    assert produced.request is not None
    assert produced.response is not None
    (data,) = produced.request["topicData"][0]["partitionData"]
    assert (data["index"], data["records"].batches, data["records"].records) == (1, 1, 1)
    (answer,) = produced.response["responses"][0]["partitionResponses"]
    assert (answer["index"], answer["errorCode"], answer["baseOffset"]) == (1, 0, 0)
    apis = [one.api for one in broker.requests()]
    assert apis.index("ApiVersions") < apis.index("Metadata") < apis.index("Produce")


def test_errors_are_seen_by_name_and_refusals_by_reason(broker: Broker) -> None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id="g", request_timeout_ms=30_000)
    consumer.subscribe(["orders"])
    consumer.poll(timeout_ms=1000)
    consumer.close()
    assert broker.requests("JoinGroup")[0].errors == ["MEMBER_ID_REQUIRED"]
    host, port = broker.bootstrap_servers.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"\x00\x00\x00\x0a\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff")
        assert sock.recv(1) == b""
    last = broker.requests()[-1]
    assert (last.api, last.request, last.response) == ("API key 32767", None, None)
    assert last.refusal is not None
    assert "unknown api key" in last.refusal


def test_records_of_any_size_are_summed_up_in_requests_and_answers(broker: Broker) -> None:
    """Small and large ones take different ways: copied or decoded at once; in memory or in a file."""
    for size in (10, 3 * MOST_COPIED):
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=0) as producer:
            producer.send("orders", bytes(size), partition=0).get(TIMEOUT_S)
        request = broker.requests("Produce")[-1].request
        assert request is not None
        sent: Records = request["topicData"][0]["partitionData"][0]["records"]
        assert size < sent.bytes < size + 200
        assert (sent.batches, sent.records) == (1, 1)
    consume(broker, 2).close()
    answers = [one.response for one in broker.requests("Fetch")]
    fetched = [
        partition["records"]
        for answer in answers
        if answer is not None
        for topic in answer["responses"]
        for partition in topic["partitions"]
        if partition["records"] and partition["records"].bytes
    ]
    assert sum(one.records for one in fetched) == 2
    assert sum(one.bytes for one in fetched) > 3 * MOST_COPIED


def test_a_request_that_waits_is_seen_under_way_and_then_with_its_end(broker: Broker) -> None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, fetch_max_wait_ms=20_000)
    consumer.assign([TopicPartition("orders", 0)])
    consumer.poll(timeout_ms=0)
    thread = threading.Thread(target=lambda: next(consumer))
    thread.start()
    (waiting,) = broker.wait_for_request("Fetch", where=lambda one: one.is_under_way, timeout_s=TIMEOUT_S)
    assert waiting.response is None
    broker.produce("orders", "tea", partition=0)
    thread.join()
    consumer.close()
    answered = broker.wait_for_request("Fetch", where=lambda one: not one.is_under_way, timeout_s=TIMEOUT_S)
    assert waiting.is_under_way  # a view does not change
    assert answered[0].took_ms is not None


def test_what_is_waited_for_in_vain_shows_the_last_requests(broker: Broker) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, client_id="till") as producer:
        producer.send("orders", b"x").get(TIMEOUT_S)
    with pytest.raises(WaitTimeoutError) as failure:
        broker.wait_for_request("Produce", 2, timeout_s=0)
    said, *shown = str(failure.value).splitlines()
    assert said == "not 2 Produce requests after 0 s: 1 came; the last of all:"
    assert shown[-1].startswith("  <Produce v")
    assert "of till at node 1" in shown[-1]


def test_the_latest_requests_are_kept_and_bytes_are_bounded(broker: Broker) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=0) as producer:
        for n in range(KEPT + 100):
            producer.send("orders", b"%d" % n, partition=0).get(TIMEOUT_S)
    assert len(broker.requests()) == KEPT
    assert broker.requests_seen > KEPT
    gate = broker._instance.gate
    assert 0 < gate._kept_bytes < KEPT_BYTES
    assert gate._kept_bytes == sum(noted.size() for noted in gate._kept)


def test_every_node_says_that_it_was_asked() -> None:
    with Broker(nodes=3, topics={"orders": 3}) as broker:
        with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            for partition in range(3):
                producer.send("orders", b"x", partition=partition).get(TIMEOUT_S)
        assert {one.node for one in broker.requests("Produce")} == {1, 2, 3}


def test_a_recording_beside_it_sees_each_request_once(broker: Broker) -> None:
    """Frames that a recorder is given come back to the gate: they count once."""
    with Broker(topics=["orders"], control=True) as recorded:
        with urlopen(f"{recorded.control_url}/v1/trace", timeout=TIMEOUT_S) as trace:
            with KafkaProducer(bootstrap_servers=recorded.bootstrap_servers) as producer:
                producer.send("orders", b"x").get(TIMEOUT_S)
            seen = []
            while "Produce" not in seen:
                seen.append(json.loads(trace.readline())["api"])
        assert [one.api for one in recorded.requests()][: len(seen)] == seen


# ── in a trio program ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_all_of_it_inside_a_trio_program() -> None:
    import trio

    def client(bootstrap: str) -> None:
        with KafkaProducer(bootstrap_servers=bootstrap) as producer:
            producer.send("orders", b"tea").get(TIMEOUT_S)

    async with AsyncBroker(topics=["orders:2"], control=True) as broker:
        broker.create_topic("audit")
        await broker.produce("audit", "one", "two")
        assert len(await broker.wait_for("audit", 2)) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, client, broker.bootstrap_servers)
            (produced,) = await broker.wait_for_request("Produce")
        assert produced.api == "Produce"
        assert len(await broker.expect_no_more("orders", 1)) == 1
        assert broker.groups == {}
        assert broker.requests("Produce")[0].errors == []
        assert broker.control_url.startswith("http://127.0.0.1:")
        with pytest.raises(ValueError, match="already exists"):
            broker.create_topic("audit")
    with pytest.raises(ValueError, match="no/name"):
        async with AsyncBroker(topics=["no/name"]):
            pass


async def test_a_test_that_is_a_trio_task_may_ask_a_broker_in_a_thread(broker: Broker) -> None:
    broker.produce("orders", "tea")
    assert len(broker.records("orders")) == 1
    assert broker.wait_for("orders")[0].value == b"tea"
