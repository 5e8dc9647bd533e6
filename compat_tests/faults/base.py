"""What all stories of faults stand on: a broker with a control surface, orders that end with the story, the client
beside the test. No story.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

import pytest

from compat_tests.client import Client, Outgoing, Received, RefusedError, Sender, Sent
from compat_tests.faults.orders import Orders
from compat_tests.harness import DEADLINE_S, Broker
from compat_tests.scenarios.base import Base

T = TypeVar("T")


class FaultBase(Base):
    """One broker for the stories of a client, each with a topic of its own and no fault of another."""

    @pytest.fixture
    def orders(self, broker: Broker) -> Iterator[Orders]:
        """Taken back after the story."""
        orders = Orders(broker)
        yield orders
        orders.clear()

    def of(self, table: dict[str, T], otherwise: T) -> T:
        """What the table says of this client; who is not in it does what is right."""
        return table.get(self.adapter.name, otherwise)


class Beside(Generic[T]):
    """A call of the client in a thread, beside the test that orders and releases."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._outcome: list[tuple[bool, Any]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def is_over(self) -> bool:
        """Whether the call has come back."""
        return bool(self._outcome)

    def result(self) -> T:
        """What it gave, or raised."""
        self._thread.join(2 * DEADLINE_S)
        assert self._outcome, "the client's call never came back"
        worked, value = self._outcome[0]
        if not worked:
            raise value
        given: T = value
        return given

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(2 * DEADLINE_S)

    def _run(self) -> None:
        try:
            self._outcome.append((True, self._call()))
        except BaseException as error:
            self._outcome.append((False, error))


def refused(call: Callable[[], object]) -> str:
    """The name of the error that the call must raise."""
    with pytest.raises(RefusedError) as error:
        call()
    return error.value.name


def words(*texts: str, partition: int | None = None) -> list[Outgoing]:
    """Records of these values."""
    return [Outgoing(text.encode(), partition=partition) for text in texts]


def read(client: Client, topic: str, count: int, partitions: int = 1) -> list[str]:
    """The first values of a topic, from its beginning."""
    with client.reader(topic, range(partitions)) as reader:
        reader.seek_beginning()
        return texts(reader.take(count))


def texts(records: list[Received]) -> list[str]:
    return [(one.value or b"").decode() for one in records]


def send(sender: Sender, topic: str, *values: str, partition: int | None = None) -> list[Sent]:
    return sender.send(topic, words(*values, partition=partition))
