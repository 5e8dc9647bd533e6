"""What every client library must be able to do here: the small face that the scenarios are written against.

Each client folder has an `adapter.py` with one `Client` subclass named `Adapter`; nothing else knows a library.
"""

import importlib
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

CRC32 = "crc32"
"""The one custom partitioner that the scenarios ask for: `by_crc32`, in whatever the client is written in."""


def by_crc32(key: bytes | None, partitions: int) -> int:
    """The partition of a key: CRC-32 (that of zlib) of its bytes, modulo the number of partitions."""
    return zlib.crc32(key or b"") % partitions


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


class RefusedError(Exception):
    """A call failed for good; `name` is Kafka's error name, such as MESSAGE_TOO_LARGE, or what the library says."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Sender(AbstractContextManager["Sender"], ABC):
    """A producer of one library, acks=all. With a transactional id it has been initialised (InitProducerId)."""

    @abstractmethod
    def send(self, topic: str, records: Iterable[Outgoing]) -> list[Sent]:
        """Sends all, waits for all acknowledgements, in the order given. Raises RefusedError for the first refused."""

    def begin(self) -> None:
        """Begins a transaction."""
        raise NotImplementedError

    def commit(self) -> None:
        """Commits it. RefusedError: INVALID_PRODUCER_EPOCH or PRODUCER_FENCED for one whose id another has taken."""
        raise NotImplementedError

    def abort(self) -> None:
        """Aborts it."""
        raise NotImplementedError

    def send_offsets(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Partition -> next offset, committed for the group if and when the transaction is."""
        raise NotImplementedError


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
        """Exactly the next `count` records, or fewer if there are no more within the deadline. Raises RefusedError."""

    def pause(self, partitions: Sequence[int]) -> None:
        """Nothing more of these partitions until `resume`, though others are read on."""
        raise NotImplementedError

    def resume(self, partitions: Sequence[int]) -> None:
        """They go on where they stood."""
        raise NotImplementedError


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
    """One library. `bootstrap` is HOST:PORT. Calls raise RefusedError with Kafka's name of the error.

    lacks: feature -> why the library cannot do it. Scenarios that need it do not exist for this client: see
    `scenarios.needs`. The methods behind a lacked feature need not be there.
    """

    name: str
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @abstractmethod
    def version(self) -> str:
        """The library's own, such as 3.0.12."""

    @abstractmethod
    def create_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """By CreateTopics, one replica."""

    @abstractmethod
    def sender(
        self,
        *,
        compression: str | None = None,
        partitioner: str | None = None,
        idempotent: bool = True,
        transactional_id: str | None = None,
        request_timeout_ms: int | None = None,
    ) -> Sender:
        """compression: gzip, snappy, lz4, zstd or None. partitioner: CRC32, or None for the library's own.

        idempotent means nothing to a library that lacks idempotence. request_timeout_ms: how long an answer may take,
        None: what the library waits; of drivers only Java and franz-go take one.
        """

    @abstractmethod
    def reader(self, topic: str, partitions: Sequence[int], *, isolation: str = "read_uncommitted") -> Reader:
        """A reader that stands nowhere yet: seek first. isolation: or "read_committed"."""

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

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Partition -> log end offset, by ListOffsets."""
        raise NotImplementedError

    def topics(self) -> dict[str, int]:
        """Topic -> its number of partitions; without Kafka's internal ones, if the library leaves them out."""
        raise NotImplementedError

    def add_partitions(self, topic: str, total: int) -> None:
        """By CreatePartitions, to that number in all."""
        raise NotImplementedError

    def delete_topic(self, topic: str) -> None:
        """By DeleteTopics."""
        raise NotImplementedError

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Partition -> the offset that becomes its log start offset."""
        raise NotImplementedError

    def config(self, topic: str) -> dict[str, str]:
        """Every config of the topic by DescribeConfigs, defaults included."""
        raise NotImplementedError

    def set_config(self, topic: str, name: str, value: str) -> None:
        """One config, the others as they are: IncrementalAlterConfigs, or AlterConfigs where the library is old."""
        raise NotImplementedError

    def groups(self) -> list[str]:
        """The group ids of ListGroups."""
        raise NotImplementedError

    def group(self, group: str) -> tuple[str, int]:
        """State ("Stable", "Empty") and number of members by DescribeGroups (or ConsumerGroupDescribe)."""
        raise NotImplementedError

    def delete_group(self, group: str) -> None:
        """By DeleteGroups. NON_EMPTY_GROUP while it has members."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027
        """Ends what the client has besides its senders and readers: the process of a driver."""


def load_client(name: str) -> type[Client]:
    """The adapter class of a client folder."""
    adapter: type[Client] = importlib.import_module(f"compat_tests.{name}.adapter").Adapter
    return adapter
