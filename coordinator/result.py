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

S = TypeVar("S")
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


def chain(answer: Answer[S], function: Callable[[S], Answer[T]]) -> Answer[T]:
    """What `function` makes of the answer, at once or when it is there. An error goes on to whoever waits."""
    if not isinstance(answer, Pending):
        return function(answer)
    later: Pending[T] = Pending()

    def settled(answer: Pending[S]) -> None:
        try:
            made = function(answer.result())
        except Exception as error:
            later.fail(error)
            return
        if isinstance(made, Pending):
            made.then(lambda made: _pass_on(made, later))
        else:
            later.resolve(made)

    answer.then(settled)
    return unpark(later)


def gather(answers: list[Answer[S]], function: Callable[[list[S]], T]) -> Answer[T]:
    """What `function` makes of all answers, in their order, when the last is there."""
    left = 1  # this call itself, so that what is there at once does not end it early
    together: Pending[T] = Pending()

    def one_more(_: Pending[S] | None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            try:
                made = function([answer.result() if isinstance(answer, Pending) else answer for answer in answers])
            except Exception as error:
                together.fail(error)
            else:
                together.resolve(made)

    for answer in answers:
        if isinstance(answer, Pending):
            left += 1
            answer.then(one_more)
    one_more(None)
    return unpark(together)


def _pass_on(settled: Pending[T], later: Pending[T]) -> None:
    try:
        later.resolve(settled.result())
    except Exception as error:
        later.fail(error)
