"""What an operation decides: the records it wants written, the answer once they are, and what follows if they are not.

An operation changes no lasting state itself. `Shard.run` carries a result out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.state_record import StateRecord
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode

T = TypeVar("T")

Answer: TypeAlias = T | Pending[T]
"""A response, or one that comes later."""


class Result(Generic[T]):
    """Records to write as one batch, in order, and what to do then."""

    __slots__ = ("answer", "producer", "records", "refused", "settled")

    def __init__(
        self,
        answer: Answer[T],
        records: list[StateRecord] | None = None,
        *,
        refused: Callable[[ErrorCode], T] | None = None,
        settled: Callable[[ErrorCode], None] | None = None,
        producer: ProducerIdentity | None = None,
    ) -> None:
        self.answer = answer
        self.records = records or []
        # The answer in place of `answer` when the write fails with a code of the log; None: `settled` sees to that.
        self.refused = refused
        # Soft effects that wait for the write, called with NONE or the log's error before anything is answered.
        self.settled = settled
        # The records belong to a transaction: they count once its marker commits them.
        self.producer = producer


# What a failed append means to those who wait for it.
_WRITE_ERRORS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
}
_TOO_LARGE = (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE, ErrorCode.INVALID_FETCH_SIZE)


def group_write_error(code: ErrorCode) -> ErrorCode:
    """The code a client of a group gets when the log answered `code`."""
    return ErrorCode.UNKNOWN_SERVER_ERROR if code in _TOO_LARGE else _WRITE_ERRORS.get(code, code)


def commit_write_error(code: ErrorCode) -> ErrorCode:
    """The code an offset commit gets when the log answered `code`."""
    return ErrorCode.INVALID_COMMIT_OFFSET_SIZE if code in _TOO_LARGE else _WRITE_ERRORS.get(code, code)


def unpark(parked: Pending[T]) -> Answer[T]:
    """The value itself if it is there already."""
    return parked.result() if parked.settled else parked
