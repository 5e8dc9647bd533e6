"""Between the group coordinator and the log: its records go to `__consumer_offsets` and come back at start.

No group logic lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.reading import read_batches
from ottla.log.clock import Clock
from ottla.log.door import Appended, Outcome
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.records import Record, build_batch

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster
    from ottla.broker.metadata import Metadata
    from ottla.coordinator.groups import GroupCoordinator

OFFSETS_TOPIC = "__consumer_offsets"


class GroupLog:
    """Appends and replays coordinator records."""

    __slots__ = ("_clock", "_cluster", "_metadata")

    def __init__(self, cluster: Cluster, metadata: Metadata, clock: Clock) -> None:
        self._cluster = cluster
        self._metadata = metadata
        self._clock = clock

    def append(self, partition: int, records: list[tuple[bytes, bytes | None]]) -> Outcome[Appended]:
        """Write (key, value) records as one batch. Raises KafkaError."""
        topic = self._metadata.internal_topic(OFFSETS_TOPIC)
        target = topic.partition(partition)
        if target is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        now_ms = self._clock.wall_ms()
        # Kafka's coordinators write without a producer id, yet with base sequence 0.
        batch = build_batch(
            [Record(at, now_ms, key, value) for at, (key, value) in enumerate(records)], base_sequence=0
        )
        outcome = target.log.append(batch, leader_epoch=target.leader_epoch, from_client=False)
        target.grew()
        return outcome

    def load(self, groups: GroupCoordinator) -> None:
        """Replay every partition of the topic, then let sessions run."""
        topic = self._cluster.topics.get(OFFSETS_TOPIC)
        if topic is not None:
            for partition in topic.partitions:
                for batch in read_batches(partition.log):
                    if batch.is_control:
                        continue
                    for record in batch.records(batch.size):  # never compressed
                        if record.key is not None:
                            groups.replay(partition.index, record.key, record.value)
        groups.loaded()
