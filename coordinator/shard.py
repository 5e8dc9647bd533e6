"""One partition of a coordinator's topic, and the one way by which its state changes: decide, append, replay, answer.

What the records mean is the subclass's (`group/shard.py`, `transaction/shard.py`); what to decide is the operations'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ottla.coordinator.ports import Append, Events, ProducerIdentity
from ottla.coordinator.result import Answer, Result, T
from ottla.coordinator.state_record import StateRecord
from ottla.log.door import Appended, Done, Pending
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError


class Shard(ABC):
    """State of one partition, changed by `apply` alone. Once `resigned` it writes nothing: another node leads."""

    __slots__ = ("_append", "events", "partition", "resigned")

    def __init__(self, partition: int, *, append: Append, events: Events) -> None:
        self.partition = partition
        self.events = events
        self.resigned = False
        self._append = append

    @abstractmethod
    def decode(self, key: bytes, value: bytes | None) -> StateRecord | None:
        """A stored record, None if it is of a kind that is not kept here. Raises ProtocolError, KafkaError."""

    @abstractmethod
    def apply(self, record: StateRecord, producer: ProducerIdentity | None) -> None:
        """The only code that changes lasting state. `producer`: the record belongs to a transaction of theirs."""

    def run(self, result: Result[T]) -> Answer[T]:
        """Append the records, replay them, answer. If the append fails nothing changes, and the answer says why.

        An append that is Pending has its place in the log, so its records are replayed at once; the answer waits.
        """
        if not result.records:
            if result.settled is not None:
                result.settled(ErrorCode.NONE)
            return result.answer
        try:
            if self.resigned:
                raise KafkaError(ErrorCode.NOT_COORDINATOR)
            outcome = self._append(self.partition, [record.encode() for record in result.records], result.producer)
        except KafkaError as error:
            return self._refuse(result, error)
        for record in result.records:
            self.apply(record, result.producer)
        if isinstance(outcome, Done):
            if result.settled is not None:
                result.settled(ErrorCode.NONE)
            return result.answer
        return self._wait(result, outcome)

    def replay(self, key: bytes, value: bytes | None, producer: ProducerIdentity | None = None) -> bool:
        """Apply a record of the log at start-up; False for one of an unknown kind or that cannot be read."""
        try:
            record = self.decode(key, value)
        except (ProtocolError, KafkaError) as error:
            self.events.warning("state record not understood", partition=self.partition, error=str(error))
            return False
        if record is None:
            return False
        self.apply(record, producer)
        return True

    def _refuse(self, result: Result[T], error: KafkaError) -> Answer[T]:
        code = error.code
        # A disk that fails is told once, by the log, not for each request; and to have resigned is no fault.
        if code != ErrorCode.KAFKA_STORAGE_ERROR and not self.resigned:
            self.events.warning(
                "coordinator state could not be written",
                partition=self.partition,
                error=code.name,
                detail=error.message,
            )
        if result.settled is not None:
            result.settled(code)
        return result.answer if result.refused is None else result.refused(code)

    def _wait(self, result: Result[T], outcome: Pending[Appended]) -> Answer[T]:
        waiting: Pending[T] | None = None if isinstance(result.answer, Pending) else Pending()

        def written(outcome: Pending[Appended]) -> None:
            try:
                outcome.result()
            except Exception as error:
                reason = (
                    error if isinstance(error, KafkaError) else KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error))
                )
                answer = self._refuse(result, reason)
            else:
                if result.settled is not None:
                    result.settled(ErrorCode.NONE)
                answer = result.answer
            if waiting is not None and not isinstance(answer, Pending):
                waiting.resolve(answer)

        outcome.then(written)
        if waiting is None:
            return result.answer
        return waiting.result() if waiting.settled else waiting
