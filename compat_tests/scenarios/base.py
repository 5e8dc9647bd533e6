"""What all scenarios stand on: the client under test, records by number, a feeder beside the test. No scenario."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from compat_tests.client import Client, Outgoing, Received, Sent
from compat_tests.drivers import missing
from compat_tests.harness import DEADLINE_S, Broker

MANY = 100_000
PARTITIONS = 6
EVERY = range(PARTITIONS)
Name = Callable[[str], str]
Connect = Callable[[str], Client]


def needs(*features: str) -> pytest.MarkDecorator:
    """The scenario is for clients that lack none of these; for others it does not exist (conftest.py)."""
    return pytest.mark.needs(*features)


class Base:
    """`adapter` is the client's."""

    adapter: type[Client]

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        """bootstrap -> the client on that broker, closed after the test."""
        if (reason := missing(self.adapter.name)) is not None:
            pytest.skip(reason)
        made: list[Client] = []

        def make(bootstrap: str) -> Client:
            made.append(self.adapter(bootstrap))
            return made[-1]

        yield make
        for client in made:
            client.close()

    @pytest.fixture
    def client(self, broker: Broker, connect: Connect) -> Client:
        """The client on the module's broker."""
        return connect(broker.bootstrap)


def until(condition: Callable[[], bool]) -> bool:
    """Asks until it is so, or until the deadline: for what a broker carries out after it has answered."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (met := condition()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return met


def value(number: int) -> bytes:
    """100 bytes."""
    return b"%0100d" % number


def numbers(records: list[Received]) -> list[int]:
    return [int(one.value or b"") for one in records]


def places_of(records: list[Received]) -> list[tuple[int, int]]:
    return [(one.partition, one.offset) for one in records]


def ends_of(places: list[Sent]) -> dict[int, int]:
    """Partition -> the offset after the last of these records."""
    ends: dict[int, int] = {}
    for place in places:
        ends[place.partition] = max(place.offset + 1, ends.get(place.partition, 0))
    return ends


def known(offsets: dict[int, int | None]) -> dict[int, int]:
    return {partition: offset for partition, offset in offsets.items() if offset is not None}


@contextmanager
def feeding(
    client: Client, topic: str, partitions: Iterable[int], *, each: int, pause_s: float
) -> Iterator[list[Sent]]:
    """Sends `each` records to each partition, over and over until the end of the block; gives the acknowledged ones."""
    fed: list[Sent] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def feed() -> None:
        try:
            with client.sender() as sender:
                for turn in itertools.count():
                    batch = [Outgoing(value(turn), partition=p) for p in partitions for _ in range(each)]
                    fed.extend(sender.send(topic, batch))
                    if enough.wait(pause_s):
                        return
        except BaseException as error:
            failures.append(error)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield fed
    finally:
        enough.set()
        feeder.join()
    assert not failures, failures
