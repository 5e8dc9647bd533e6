"""What a test sees of topics: records, offsets, configs, as plain values. Read inside the broker's loop, never
changed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ottla.broker.reading import read_batches
from ottla.wire.records import ControlRecordType

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Partition
    from ottla.wire.records import RecordBatch

_UNPACKED_BYTES: Final = 1 << 28  # of a batch
_OFFSET: Final = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as consumers get it. `headers` in order, names may repeat."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic: by partition the log start offset and the high watermark; its own configs."""

    name: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    configs: dict[str, str]


Where = Callable[[Record], bool]


class Reader:
    """The records of a partition that `where` is true of, without markers and what is not committed: as consumers get
    them. Looking again reads on from where the last look ended.
    """

    __slots__ = ("_in_doubt", "_next_offset", "_partition", "_uncommitted", "_where", "found", "seen")

    def __init__(self, partition: Partition, where: Where | None = None, *, uncommitted: bool = False) -> None:
        self._partition = partition
        self._where = where
        self._uncommitted = uncommitted
        self._next_offset = 0
        self._in_doubt: dict[int, list[Record]] = {}  # of each producer's transaction, until its marker tells
        self.found: list[Record] = []  # in the order of their offsets
        self.seen = 0  # records that a consumer gets, whatever `where` says

    def look(self) -> None:
        """Raises KafkaError if the log cannot be read, and what `where` raises."""
        log = self._partition.log
        start = log.log_start_offset
        if self.found and self.found[0].offset < start:
            del self.found[: bisect_left(self.found, start, key=_OFFSET)]
        if self._next_offset >= log.high_watermark:
            return
        before = len(self.found)
        for batch in read_batches(log, max(start, self._next_offset)):
            self._take(batch)
            self._next_offset = batch.next_offset
        if before < len(self.found):
            self.found.sort(key=_OFFSET)

    def _take(self, batch: RecordBatch) -> None:
        if batch.is_control:
            kept = self._in_doubt.pop(batch.producer_id, [])
            if batch.control_record()[0] is ControlRecordType.COMMIT:
                self._keep(kept)
        elif batch.is_transactional and not self._uncommitted:
            self._in_doubt.setdefault(batch.producer_id, []).extend(self._decoded(batch))
        else:
            self._keep(list(self._decoded(batch)))

    def _keep(self, records: list[Record]) -> None:
        start = self._partition.log.log_start_offset  # may lie inside the first batch
        visible = [one for one in records if one.offset >= start]
        self.seen += len(visible)
        where = self._where
        self.found += visible if where is None else [one for one in visible if where(one)]

    def _decoded(self, batch: RecordBatch) -> Iterator[Record]:
        for one in batch.records(_UNPACKED_BYTES):
            place = (self._partition.topic.name, self._partition.index, one.offset)
            yield Record(*place, one.timestamp_ms, one.key, one.value, tuple(one.headers))


def records_of(broker: Broker, topic: str, where: Where | None = None, *, uncommitted: bool = False) -> list[Record]:
    """Every record of the topic that `where` is true of, partition by partition, without markers and what is not
    committed. A topic that is not there has none. Raises KafkaError if the log cannot be read.
    """
    found = broker.cluster.topics.get(topic)
    records: list[Record] = []
    for partition in () if found is None else found.partitions:
        reader = Reader(partition, where, uncommitted=uncommitted)
        reader.look()
        records += reader.found
    return records


def topics_of(broker: Broker) -> dict[str, TopicView]:
    """Every topic that is not Kafka's own, by name."""
    return {
        name: TopicView(
            name,
            tuple(one.log.log_start_offset for one in topic.partitions),
            tuple(one.log.high_watermark for one in topic.partitions),
            dict(topic.overrides),
        )
        for name, topic in sorted(broker.cluster.topics.items())
        if not topic.internal
    }
