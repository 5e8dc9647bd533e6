"""One partition of `__consumer_offsets`: its groups and offsets, and the one way by which they change.

An operation's `Result` is carried out here: append its records, replay them, answer. Start-up is the same replay. What
to decide is the operations' business (group/, offsets.py).
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.offsets import OffsetStore
from ottla.coordinator.ports import Append, Events
from ottla.coordinator.records import StateRecord, decode_record
from ottla.coordinator.result import Answer, Result, T
from ottla.log.clock import Clock
from ottla.log.door import Appended, Done, Pending
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.state.consumer_offsets import GroupMetadataValue, OffsetCommitKey, OffsetCommitValue


class Shard:
    """State of one partition. `groups` and `offsets` are changed by `replay` alone."""

    __slots__ = ("_append", "_clock", "_events", "groups", "offsets", "on_group_removed", "partition")

    def __init__(self, partition: int, *, append: Append, clock: Clock, events: Events) -> None:
        self.partition = partition
        self.groups: dict[str, ClassicGroup] = {}
        self.offsets = OffsetStore()
        self.on_group_removed: Callable[[ClassicGroup], None] = _nothing
        self._append = append
        self._clock = clock
        self._events = events

    def run(self, result: Result[T]) -> Answer[T]:
        """Append the records, replay them, answer. If the append fails nothing changes, and the answer says why.

        An append that is Pending has its place in the log, so its records are replayed at once; the answer waits.
        """
        if not result.records:
            if result.settled is not None:
                result.settled(ErrorCode.NONE)
            return result.answer
        try:
            outcome = self._append(self.partition, [record.encode() for record in result.records])
        except KafkaError as error:
            return self._refuse(result, error)
        for record in result.records:
            self._apply(record)
        if isinstance(outcome, Done):
            if result.settled is not None:
                result.settled(ErrorCode.NONE)
            return result.answer
        return self._wait(result, outcome)

    def replay(self, key: bytes, value: bytes | None) -> bool:
        """Apply a record of the log at start-up; False for one of an unknown kind or that cannot be read."""
        try:
            record = decode_record(key, value)
        except (ProtocolError, KafkaError) as error:
            self._events.warning("state record not understood", partition=self.partition, error=str(error))
            return False
        if record is None:
            return False
        self._apply(record)
        return True

    def _apply(self, record: StateRecord) -> None:
        """The only code that changes lasting state."""
        key, value = record.key, record.value
        if isinstance(key, OffsetCommitKey):
            if value is None:
                self.offsets.forget(key.group, key.topic, key.partition)
                return
            assert isinstance(value, OffsetCommitValue)
            self._group(key.group)
            self.offsets.save(key.group, key.topic, key.partition, value)
        elif value is None:
            group = self.groups.pop(key.group, None)
            if group is not None:
                self.on_group_removed(group)
        else:
            assert isinstance(value, GroupMetadataValue)
            self._group(key.group).save(value)

    def _group(self, group_id: str) -> ClassicGroup:
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = ClassicGroup(group_id, self._clock.wall_ms())
        return group

    def _refuse(self, result: Result[T], error: KafkaError) -> Answer[T]:
        code = error.code
        if code != ErrorCode.KAFKA_STORAGE_ERROR:  # a disk that fails is told once, by the log, not for each request
            self._events.warning(
                "group state could not be written", partition=self.partition, error=code.name, detail=error.message
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


def _nothing(group: ClassicGroup) -> None:
    """Before anybody listens."""
