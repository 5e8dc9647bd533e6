"""Writing the marker that ends a transaction into one partition: what the transaction coordinator's plan and
WriteTxnMarkers have in common.

Which markers are to be written, and when again, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.state_log import OFFSETS_TOPIC
from ottla.log.door import Done, Outcome, Pending

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.log.door import Appended


def write_marker(
    broker: Broker,
    topic: str,
    index: int,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    commit: bool,
    transaction_version: int,
) -> Outcome[None]:
    """Append the marker, tell the group coordinator if it is about offsets, wake who waits to read. Settled once the
    marker is durable.

    Raises KafkaError UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS (it is an append with
    acks=all), and as `PartitionLog.append_marker`.
    """
    partition, node = broker.led(topic, index)
    broker.check_min_isr(partition)
    groups = node.groups if topic == OFFSETS_TOPIC else None  # made before the marker is there: replayed once
    outcome = partition.log.append_marker(
        producer_id,
        producer_epoch,
        commit,
        coordinator_epoch,
        leader_epoch=partition.leader_epoch,
        transaction_version=transaction_version,
    )
    # As with every record of a coordinator it counts once it has its place; one that is still loading finds it there.
    if groups is not None and groups.leads(index):
        groups.replay_marker(index, (producer_id, producer_epoch), commit)
    if isinstance(outcome, Done):
        partition.grew()
        return Done(None)
    written: Pending[None] = Pending()

    def durable(appended: Pending[Appended]) -> None:
        partition.grew()
        try:
            appended.result()
        except Exception as error:
            written.fail(error)
        else:
            written.resolve(None)

    outcome.then(durable)
    return written
