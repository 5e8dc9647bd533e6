"""Between the group coordinator and the log: its records go to `__consumer_offsets` and come back at start.

No group logic lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.reading import read_batches
from ottla.log.clock import Clock
from ottla.log.door import Appended, Done, Outcome
from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.records import Record, RecordBatch, build_batch

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster, Partition
    from ottla.broker.logs import Log
    from ottla.broker.metadata import Metadata
    from ottla.coordinator.groups import GroupCoordinator

OFFSETS_TOPIC = "__consumer_offsets"
MAX_UNPACKED_BYTES = 100 << 20  # of one batch


class GroupLog:
    """Appends and replays coordinator records."""

    __slots__ = ("_clock", "_cluster", "_log", "_metadata")

    def __init__(self, cluster: Cluster, metadata: Metadata, clock: Clock, log: Log) -> None:
        self._cluster = cluster
        self._metadata = metadata
        self._clock = clock
        self._log = log

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
        if isinstance(outcome, Done):
            target.grew()
        else:
            outcome.then(lambda _: target.grew())
        return outcome

    def load(self, groups: GroupCoordinator) -> None:
        """Replay every partition of the topic, then let sessions run."""
        topic = self._cluster.topics.get(OFFSETS_TOPIC)
        if topic is not None:
            for partition in topic.partitions:
                for batch in read_batches(partition.log):
                    for key, value in self._keyed(partition, batch):
                        groups.replay(partition.index, key, value)
        groups.loaded()

    def _keyed(self, partition: Partition, batch: RecordBatch) -> list[tuple[bytes, bytes | None]]:
        """(key, value) of the records of a batch; nothing, and a warning, if they cannot be read.

        Ours always can. But Kafka may have compressed its own, and admin clients may write to the topic what they like.
        """
        if batch.is_control:
            return []
        try:
            return [
                (record.key, record.value) for record in batch.records(MAX_UNPACKED_BYTES) if record.key is not None
            ]
        except (KafkaError, ProtocolError) as error:
            self._log.warning(
                "group records not understood", partition=partition.index, offset=batch.base_offset, reason=str(error)
            )
            return []
