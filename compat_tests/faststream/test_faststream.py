"""What a user of FastStream expects: groups, batches, retries, a clean end, and a broker that may go and come."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from compat_tests.app import App
from compat_tests.client import Outgoing, Sent
from compat_tests.confluent.adapter import Adapter
from compat_tests.drivers import driver, flags
from compat_tests.harness import Broker

pytestmark = pytest.mark.compat

PARTITIONS = 6
EVERY = range(PARTITIONS)
CUSTOMERS = 7
Start = Callable[..., "Shop"]


class Shop(App):
    """The application, and what it told of orders."""

    def __init__(self, bootstrap: str, session_timeout_ms: int = 6_000) -> None:
        super().__init__(
            *driver("faststream"), *flags({"bootstrap": bootstrap, "session_timeout_ms": session_timeout_ms})
        )

    def billed(self) -> Counter[int]:
        """Order -> how often it was billed."""
        return Counter(order for _, _, order in self.told("billed"))

    def booked(self) -> Counter[int]:
        """Order -> how often its invoice was booked."""
        return Counter(order for batch in self.told("booked") for order in batch)

    def owned(self) -> list[int]:
        """The partitions of orders that it has."""
        owned: set[int] = set()
        for name, value in self.events():
            if name == "assigned":
                owned |= set(value)
            elif name == "revoked":
                owned -= set(value)
        return sorted(owned)


@pytest.fixture
def start(own_broker: Broker) -> Iterator[Start]:
    """Starts the application on the test's own broker."""
    with ExitStack() as stack:

        def start(**options: Any) -> Shop:
            app = Shop(own_broker.bootstrap, **options)
            stack.callback(app.close)
            return app

        yield start


@pytest.fixture
def other(own_broker: Broker) -> Iterator[Adapter]:
    """Another client: makes topics, sends orders, reads invoices."""
    other = Adapter(own_broker.bootstrap)
    yield other
    other.close()


def make_topics(other: Adapter) -> None:
    other.create_topic("orders", PARTITIONS)
    other.create_topic("invoices", 2)
    other.create_topic("offers", 1)


def send_orders(other: Adapter, ids: Iterable[int], topic: str = "orders", **fails: int) -> list[Sent]:
    """fails: how often order `_ID` fails."""
    orders = [{"id": n, "customer": f"c{n % CUSTOMERS}", "fails": fails.get(f"_{n}", 0)} for n in ids]
    partitions = PARTITIONS if topic == "orders" else 1
    with other.sender() as sender:
        return sender.send(topic, [Outgoing(json.dumps(o).encode(), partition=o["id"] % partitions) for o in orders])


def committed(other: Adapter) -> int:
    """How many orders are committed."""
    return sum(offset or 0 for offset in other.committed("billing", "orders", EVERY).values())


def test_it_makes_the_topics_that_it_subscribes_to(start: Start, other: Adapter) -> None:
    app = start()
    app.wait_for(lambda: app.told("started") != [], "started")
    assert {"orders", "invoices", "offers"} <= other.topics().keys()
    send_orders(other, [0])
    app.wait_for(lambda: app.booked() == Counter([0]), "the order is billed and booked")
    app.stop()


def test_invoices_that_wait_are_booked_together(start: Start, other: Adapter) -> None:
    make_topics(other)
    invoices = [{"order": n, "customer": "c"} for n in range(40)]
    with other.sender() as sender:
        sender.send("invoices", [Outgoing(json.dumps(one).encode(), partition=0) for one in invoices])
    app = start()
    app.wait_for(lambda: app.booked().total() >= 40, "all is booked")
    app.stop()
    assert [n for batch in app.told("booked") for n in batch] == list(range(40))
    assert len(app.told("booked")) < 40, "no batch had several invoices"


def test_orders_become_invoices_that_are_booked(start: Start, other: Adapter) -> None:
    make_topics(other)
    send_orders(other, range(600))
    app = start()
    app.wait_for(lambda: app.booked().total() >= 600, "all is booked")
    app.stop()
    once = Counter(range(600))
    assert app.billed() == once
    assert app.booked() == once
    assert committed(other) == 600
    with other.reader("invoices", [0, 1]) as reader:
        reader.seek_beginning()
        invoices = reader.take(600)
    assert Counter(json.loads(one.value or b"")["order"] for one in invoices) == once
    homes = defaultdict(set)
    for one in invoices:
        homes[one.key].add(one.partition)
        assert dict(one.headers).items() >= {"kind": b"invoice", "content-type": b"application/json"}.items()
    assert {key: len(partitions) for key, partitions in homes.items()} == {b"c%d" % n: 1 for n in range(CUSTOMERS)}


def test_what_failed_is_done_again_or_passed_over(start: Start, other: Adapter) -> None:
    make_topics(other)
    send_orders(other, range(60), _13=2, _31=1)
    send_orders(other, range(1000, 1010), "offers", _1004=1)
    app = start()
    app.wait_for(lambda: app.billed().total() >= 60 and len(app.told("sold")) >= 9, "all is done")
    app.stop()
    assert Counter(app.told("failed")) == {13: 2, 31: 1, 1004: 1}
    assert app.billed() == Counter(range(60))
    for partition in EVERY:  # what had to wait held back what came after it
        offsets = [offset for home, offset, _ in app.told("billed") if home == partition]
        assert offsets == list(range(10))
    assert app.told("sold") == [n for n in range(1000, 1010) if n != 1004]
    assert committed(other) == 60
    assert other.committed("sales", "offers", [0]) == {0: 10}


def test_two_apps_share_a_group_until_one_leaves(start: Start, other: Adapter) -> None:
    make_topics(other)
    first = start()
    first.wait_for(lambda: first.owned() == [*EVERY], "the first has all partitions")
    second = start()
    for app in (first, second):
        app.wait_for(lambda app=app: len(app.owned()) == 3, "each has its half")
    assert {*first.owned(), *second.owned()} == {*EVERY}
    send_orders(other, range(120))
    for app in (first, second):
        app.wait_for(lambda app=app: app.billed().total() >= 60, "each bills its half")
    second.stop()
    first.wait_for(lambda: first.owned() == [*EVERY], "the first has all partitions again")
    send_orders(other, range(120, 180))
    first.wait_for(lambda: first.billed().total() >= 120, "the first bills all that is left")
    first.stop()
    assert first.billed() + second.billed() == Counter(range(180))
    assert committed(other) == 180


def test_it_goes_on_after_its_broker_was_killed(start: Start, other: Adapter, own_broker: Broker) -> None:
    make_topics(other)
    send_orders(other, range(60))
    app = start(session_timeout_ms=60_000)
    app.wait_for(lambda: app.booked().total() >= 60, "all is booked")
    own_broker.restart(kill=True)
    send_orders(other, range(60, 120))
    app.wait_for(lambda: app.booked().total() >= 120, "all is booked after the restart")
    app.stop()
    assert app.billed() == app.booked() == Counter(range(120))
    assert committed(other) == 120

    own_broker.restart()
    send_orders(other, range(120, 150))
    again = start()
    again.wait_for(lambda: again.booked().total() >= 30, "the new orders are booked")
    again.stop()
    assert again.billed() == again.booked() == Counter(range(120, 150)), "not exactly the new orders"


def test_a_killed_app_leaves_one_order_at_most_to_be_done_again(start: Start, other: Adapter) -> None:
    make_topics(other)
    send_orders(other, range(600))
    app = start()
    app.wait_for(lambda: app.billed().total() >= 50, "some are billed")
    app.kill()
    again = start()
    again.wait_for(lambda: len(app.billed() + again.billed()) == 600, "all are billed")
    again.stop()
    twice = app.billed() & again.billed()
    assert twice.total() <= 1
    assert app.billed() + again.billed() - twice == Counter(range(600))
    assert committed(other) == 600
