"""Structures inside other bytes: the consumer protocol's subscription and assignment, control records,
the transaction index, the producer snapshot, KRaft's snapshot and voter records.
"""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, Uint16, Uint32, Uuid, field


class AbortedTxn(Message):
    """One version."""

    VALID = (0, 0)

    producer_id: Int64 = field("0+")
    first_offset: Int64 = field("0+")
    last_offset: Int64 = field("0+")
    last_stable_offset: Int64 = field("0+")


class ConsumerProtocolAssignment(Message):
    """The same fields in all versions."""

    VALID = (0, 3)

    assigned_partitions: list[TopicPartition] = field("0+")
    user_data: bytes | None = field("0+", nullable="0+", default=None)

    class TopicPartition(Struct):
        topic: str = field("0+")
        partitions: list[Int32] = field("0+")


class ConsumerProtocolSubscription(Message):
    """Changes by version.

    v1: +owned_partitions
    v2: +generation_id
    v3: +rack_id
    """

    VALID = (0, 3)

    topics: list[str] = field("0+")
    user_data: bytes | None = field("0+", nullable="0+", default=None)
    owned_partitions: list[TopicPartition] = field("1+", ignorable=True)
    generation_id: Int32 = field("2+", default=-1, ignorable=True)
    rack_id: str | None = field("3+", nullable="3+", default=None, ignorable=True)

    class TopicPartition(Struct):
        topic: str = field("1+")
        partitions: list[Int32] = field("1+")


class ControlRecordTypeSchema(Message):
    """One version."""

    VALID = (0, 0)

    type: Int16 = field("0+")


class DefaultPrincipalData(Message):
    """One version."""

    VALID = (0, 0)
    FLEXIBLE = 0

    type: str = field("0+")
    name: str = field("0+")
    token_authenticated: bool = field("0+")


class EndTxnMarker(Message):
    """One version."""

    VALID = (0, 0)

    coordinator_epoch: Int32 = field("0+")


class KRaftVersionRecord(Message):
    """One version."""

    VALID = (0, 0)
    FLEXIBLE = 0

    version: Int16 = field("0+")
    k_raft_version: Int16 = field("0+")


class LeaderChangeMessage(Message):
    """Changes by version.

    v1: +Voter.voter_directory_id
    """

    VALID = (0, 1)
    FLEXIBLE = 0

    version: Int16 = field("0+")
    leader_id: Int32 = field("0+")
    voters: list[Voter] = field("0+")
    granting_voters: list[Voter] = field("0+")

    class Voter(Struct):
        voter_id: Int32 = field("0+")
        voter_directory_id: Uuid = field("1+")


class ProducerSnapshot(Message):
    """One version."""

    VALID = (1, 1)

    crc: Uint32 = field("1")
    producer_entries: list[ProducerEntry] = field("1")

    class ProducerEntry(Struct):
        producer_id: Int64 = field("1")
        epoch: Int16 = field("1")
        last_sequence: Int32 = field("1")
        last_offset: Int64 = field("1")
        offset_delta: Int32 = field("1")
        timestamp: Int64 = field("1")
        coordinator_epoch: Int32 = field("1")
        current_txn_first_offset: Int64 = field("1")


class SnapshotFooterRecord(Message):
    """One version."""

    VALID = (0, 0)
    FLEXIBLE = 0

    version: Int16 = field("0+")


class SnapshotHeaderRecord(Message):
    """One version."""

    VALID = (0, 0)
    FLEXIBLE = 0

    version: Int16 = field("0+")
    last_contained_log_timestamp: Int64 = field("0+")


class VotersRecord(Message):
    """One version."""

    VALID = (0, 0)
    FLEXIBLE = 0

    version: Int16 = field("0+")
    voters: list[Voter] = field("0+")

    class Voter(Struct):
        voter_id: Int32 = field("0+")
        voter_directory_id: Uuid = field("0+")
        endpoints: list[VotersRecord.Endpoint] = field("0+")
        k_raft_version_feature: VotersRecord.KRaftVersionFeature = field("0+")

    class Endpoint(Struct):
        name: str = field("0+")
        host: str = field("0+")
        port: Uint16 = field("0+")

    class KRaftVersionFeature(Struct):
        min_supported_version: Int16 = field("0+")
        max_supported_version: Int16 = field("0+")
