"""What every client library must be able to do here: the small face that the scenarios are written against.

Each client folder has an `adapter.py` with one `Client` subclass named `Adapter`; nothing else knows a library.
"""

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

Partitioner = Callable[[bytes | None, int], int]
"""(key, number of partitions) -> partition."""

Emit = Callable[[str, Any], None]
"""(event name, JSON value): how a group member tells its parent process what happened."""


class Outgoing(NamedTuple):
    """A record to send. partition None: the client's partitioner decides."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Sent(NamedTuple):
    """An acknowledged record."""

    partition: int
    offset: int


class Received(NamedTuple):
    """A consumed record."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class SendError(Exception):
    """A record was refused; `name` is Kafka's error name, such as MESSAGE_TOO_LARGE."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Sender(AbstractContextManager["Sender"], ABC):
    """A producer of one library, acks=all."""

    @abstractmethod
    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        """Sends all, waits for all acknowledgements, in the order given. Raises SendError for the first refused."""


class Reader(AbstractContextManager["Reader"], ABC):
    """A consumer without a group, on partitions that the test names."""

    @abstractmethod
    def seek_beginning(self) -> None:
        """All partitions to their first offset."""

    @abstractmethod
    def seek_end(self) -> None:
        """All partitions to their end as of now: returns once the end has been asked for."""

    @abstractmethod
    def seek(self, offsets: Mapping[int, int]) -> None:
        """Partition -> next offset."""

    @abstractmethod
    def seek_time(self, timestamp_ms: int) -> dict[int, int | None]:
        """Each partition to its first record at or after the time (or its end); gives what the broker answered."""

    @abstractmethod
    def take(self, count: int) -> list[Received]:
        """Exactly the next `count` records, or fewer if there are no more within the deadline."""


@dataclass(frozen=True)
class MemberConfig:
    """How a group member behaves: process up to `batch` records, commit, again.

    protocol: group.protocol, "classic" or "consumer" (KIP-848). assignor: None for the library's own first choice.
    instance_id: group.instance.id of a static member. pattern: drivers only, a regular expression in place of `topic`.
    """

    group: str
    topic: str
    session_timeout_ms: int = 6_000
    heartbeat_interval_ms: int = 500
    batch: int = 50
    protocol: str = "classic"
    assignor: str | None = None
    instance_id: str | None = None
    pattern: str | None = None


class Client(ABC):
    """One library. `bootstrap` is HOST:PORT."""

    name: str

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @abstractmethod
    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """By CreateTopics, one replica."""

    @abstractmethod
    def sender(
        self, *, compression: str | None = None, partitioner: Partitioner | None = None, idempotent: bool = True
    ) -> Sender:
        """compression: gzip, snappy, lz4, zstd or None."""

    @abstractmethod
    def reader(self, topic: str, partitions: Sequence[int]) -> Reader:
        """A reader that stands nowhere yet: seek first."""

    @abstractmethod
    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int | None]:
        """The group's committed offsets, without joining it."""

    @abstractmethod
    def run_member(self, config: MemberConfig, emit: Emit, stop: threading.Event) -> None:
        """Runs in a process of its own: subscribe, then poll, emit `records`, commit, emit `committed`; until stop.

        It may be started while its broker is away. What a commit was refused for is committed after the next poll
        unless its partition was taken away: incremental rebalances refuse commits and let partitions be kept.

        Events: assigned [partition], revoked [partition], lost [partition] (owned no longer, too late to commit),
        records [[partition, offset, value]], committed {partition: offset}, commit_failed "name".
        """


def load_client(name: str) -> type[Client]:
    """The adapter class of a client folder."""
    adapter: type[Client] = importlib.import_module(f"compat_tests.{name}.adapter").Adapter
    return adapter
