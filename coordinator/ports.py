"""What the coordinator asks of those around it: who calls, which topics exist, where records and news go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ottla.log.door import Appended, Outcome

ProducerIdentity = tuple[int, int]
"""(producer id, producer epoch)."""

Record = tuple[bytes, bytes | None]
"""(key, value); None deletes."""


class Append(Protocol):
    """Write records as one batch to a partition of the coordinator's topic; with a `producer`, as part of its
    transaction. Raises KafkaError."""

    def __call__(
        self, partition: int, records: list[Record], producer: ProducerIdentity | None = None, /
    ) -> Outcome[Appended]: ...


class RequestContext(Protocol):
    """Who sent a request."""

    @property
    def client_id(self) -> str | None: ...
    @property
    def client_host(self) -> str:
        """The peer's address as Kafka prints it: "/127.0.0.1"."""
        ...


class TopicLookup(Protocol):
    """Which topics exist; topic ids are 16 bytes."""

    @property
    def version(self) -> int:
        """Another number whenever topics or their partitions changed."""
        ...

    def names(self) -> Iterable[str]: ...
    def name_of(self, topic_id: bytes) -> str | None: ...
    def id_of(self, name: str) -> bytes | None: ...
    def partition_count(self, name: str) -> int | None: ...


class Events(Protocol):
    """Where news for people goes. Ids in fields are raw: whoever prints them escapes them."""

    def info(self, event: str, /, **fields: object) -> None: ...
    def warning(self, event: str, /, **fields: object) -> None: ...


class NoEvents:
    """Nobody listens."""

    __slots__ = ()

    def info(self, event: str, /, **fields: object) -> None:
        pass

    def warning(self, event: str, /, **fields: object) -> None:
        pass
