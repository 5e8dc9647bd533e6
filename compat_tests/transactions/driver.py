"""The steps of a transactional producer and its consumer, as every client library must be able to do them here.

A driver is a process that does one step a line, so that it can be killed at any of them. The line is words:

    init, begin, send TOPIC PARTITION VALUE (any number of these three), take TIMEOUT_MS, offsets, commit, abort,
    read TOPIC ISOLATION END PARTITION...

The answer is an event as drivers.py has them: done with what the method of `TransactionalDriver` gives, or error with
[name, may be aborted, not usable any more]. Each Python client's part is `Driver` in its folder's `transactional.py`,
which `run_driver.py` makes a process of; Java and Go do the same in their own folders.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

STEP_TIMEOUT_S = 60.0
"""How long a client may try to do one step before it must answer with an error."""


@dataclass(frozen=True)
class DriverConfig:
    """What a driver is started with: its flags. group, topic, batch and what follows are of the consumer of `take`."""

    bootstrap: str
    transactional_id: str = ""
    transaction_timeout_ms: int = 60_000
    group: str = ""
    topic: str = ""
    batch: int = 8
    session_timeout_ms: int = 1_500
    heartbeat_interval_ms: int = 300


class StepError(Exception):
    """A step failed. name: the error as Kafka calls it, without Exception or Error, such as ProducerFenced."""

    def __init__(self, name: str, *, abort: bool = False, fatal: bool = False) -> None:
        super().__init__(name)
        self.name = name
        self.abort = abort
        self.fatal = fatal


class TransactionalDriver(ABC):
    """The steps. Each raises StepError."""

    def __init__(self, config: DriverConfig) -> None:
        self.config = config

    @abstractmethod
    def init(self) -> None:
        """initTransactions."""

    @abstractmethod
    def begin(self) -> None:
        """beginTransaction."""

    @abstractmethod
    def send(self, records: Sequence[tuple[str, int, str]]) -> list[int]:
        """Sends (topic, partition, value), waits for all acknowledgements: the offsets."""

    @abstractmethod
    def take(self, timeout_ms: int) -> list[tuple[int, int, str]]:
        """The group's next records, read_committed: at least one, at most a batch, or none within the time."""

    @abstractmethod
    def offsets(self) -> None:
        """sendOffsetsToTransaction of the positions after all records that were taken, with the group's metadata."""

    @abstractmethod
    def commit(self) -> None:
        """commitTransaction."""

    @abstractmethod
    def abort(self) -> bool | None:
        """abortTransaction. True where the client's consumer then stands at the group's offsets again by itself."""

    @abstractmethod
    def read(self, topic: str, partitions: Sequence[int], isolation: str, end: str) -> list[tuple[int, int, str]]:
        """From the beginning until each partition has given a record with the value `end`; without a group."""

    @abstractmethod
    def close(self) -> None:
        """A clean end."""
