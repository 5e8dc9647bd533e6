"""A Spring Kafka application does what its guide promises: listeners, retries, dead letters, transactions."""

from collections import Counter
from collections.abc import Iterator

import pytest

from compat_tests.app import App
from compat_tests.client import Outgoing
from compat_tests.confluent.adapter import Adapter
from compat_tests.drivers import driver, missing
from compat_tests.harness import Broker

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(missing("spring") is not None, reason=str(missing("spring"))),
]

# [topic, partitions] of each consumer once all have joined: the three of orders have two each only then.
SHARES = [["from", 2], ["orders", 2], ["orders", 2], ["orders", 2], ["orders.dead", 6]]


def settled(app: App) -> bool:
    """Whether each consumer was told its share of a group that lacks nobody."""
    return app.told("ready") != [] and all(app.told("assigned").count(share) >= SHARES.count(share) for share in SHARES)


@pytest.fixture
def app(own_broker: Broker) -> Iterator[App]:
    """The application, ready, its groups settled: a rebalance would let a retry begin anew with the next owner."""
    running = App(*driver("spring"), own_broker.bootstrap)
    running.wait_for(lambda: settled(running), "it is ready and each consumer has its share")
    yield running
    running.close()


@pytest.fixture
def client(own_broker: Broker) -> Adapter:
    """Looks at the same broker."""
    return Adapter(own_broker.bootstrap)


def test_its_topics_are_created(app: App, client: Adapter) -> None:
    assert client.topics().items() >= {"orders": 6, "orders.dead": 6, "from": 2, "to": 2}.items()


def test_three_listeners_share_the_partitions_and_commit(app: App, client: Adapter) -> None:
    with client.sender() as sender:
        sent = sender.send("orders", [Outgoing(b"order %d" % n, partition=n % 6) for n in range(60)])
    app.wait_for(lambda: len(app.told("took")) >= 60, "all orders are taken")
    assert {(partition, offset) for partition, offset, _ in app.told("took")} == set(sent)
    assert client.group("orders") == ("Stable", 3)
    app.stop()
    assert client.committed("orders", "orders", range(6)) == dict.fromkeys(range(6), 10)
    assert len(app.told("took")) == 60


def test_a_poisoned_record_is_retried_and_buried_and_holds_up_nobody(app: App, client: Adapter) -> None:
    with client.sender() as sender:
        values = [b"first", b"poison", b"last"]
        sender.send("orders", [Outgoing(value, partition=4) for value in values])
    app.wait_for(lambda: app.told("dead") != [] and len(app.told("took")) == 2, "one is dead, two are taken")
    assert app.told("failed") == ["poison"] * 3
    assert [value for _, _, value in app.told("took")] == ["first", "last"]
    assert app.told("dead") == [[4, 0, "poison"]]
    with client.reader("orders.dead", [4]) as reader:
        reader.seek_beginning()
        (dead,) = reader.take(1)
    headers = dict(dead.headers)
    assert headers["kafka_dlt-original-topic"] == b"orders"
    assert int.from_bytes(headers["kafka_dlt-original-offset"], "big") == 1


def test_what_a_template_sends_together_is_there_together_or_not_at_all(app: App, client: Adapter) -> None:
    app.do("together", "orders", "kept-", 5, "yes")
    app.do("together", "orders", "dropped-", 5, "no")
    app.do("together", "orders", "kept-too-", 5, "yes")
    app.wait_for(lambda: len(app.told("took")) >= 10, "what was committed is taken")
    assert app.told("sent") == ["kept-", "kept-too-"]
    assert app.told("not sent") == ["dropped-"]
    app.stop()
    assert sorted(value for _, _, value in app.told("took")) == sorted(
        f"{prefix}{n}" for prefix in ("kept-", "kept-too-") for n in range(5)
    )


def test_a_transactional_copy_is_exact_though_listeners_fail_and_the_broker_dies(
    app: App, client: Adapter, own_broker: Broker
) -> None:
    expected: Counter[str] = Counter()
    for turn in range(3):
        values = [f"{turn}-{n}" for n in range(50)]
        expected.update(values)
        with client.sender() as sender:
            sender.send("from", [Outgoing(one.encode(), partition=n % 2) for n, one in enumerate(values)])
        app.wait_for(lambda: {value for _, _, value in app.told("copied")} >= set(expected), "all are copied")
        if turn < 2:
            own_broker.restart(kill=turn == 0)
    app.stop()
    with client.reader("to", [0, 1], isolation="read_committed") as reader, client.sender() as sender:
        sender.send("to", [Outgoing(b"end", partition=p) for p in (0, 1)])
        reader.seek_beginning()
        found = Counter((one.value or b"").decode() for one in reader.take(len(expected) + 2))
    assert found == expected + Counter({"end": 2})
    assert len(app.told("failed")) >= 15
