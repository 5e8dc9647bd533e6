"""What the transaction coordinator asks of those around it, beside what all coordinators ask (coordinator/ports.py)."""

from __future__ import annotations

from typing import Protocol

from ottla.log.door import Outcome

TopicPartition = tuple[str, int]


class MarkerWriter(Protocol):
    """Write the marker that ends a transaction into one partition, for readers and for the group coordinator.

    `producer_epoch` is the marker's own (KIP-890: the bumped one). Settled once it is in the log. Writing it twice does
    no harm. Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION (it was deleted: nothing is left to end), else: try again.
    """

    def __call__(
        self,
        partition: TopicPartition,
        *,
        producer_id: int,
        producer_epoch: int,
        coordinator_epoch: int,
        commit: bool,
        transaction_version: int,
    ) -> Outcome[None]: ...


class ProducerIds(Protocol):
    """Where new producer ids come from. Raises KafkaError if the block of ids cannot be made durable."""

    def __call__(self) -> int: ...
