"""Records of the topic `__share_group_state`: how far a share group has come in each partition.

KEY is the record type, the int16 before the key's fields; a value begins with its version as int16
(`ottla.wire.state_records` frames both).
"""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Int64, Message, Struct, Uuid, field


class ShareSnapshotKey(Message):
    """One version."""

    KEY = 0
    VALID = (0, 0)

    group_id: str = field("0")
    topic_id: Uuid = field("0")
    partition: Int32 = field("0")


class ShareSnapshotValue(Message):
    """One version."""

    KEY = 0
    VALID = (0, 0)
    FLEXIBLE = 0

    snapshot_epoch: Int32 = field("0+")
    state_epoch: Int32 = field("0+")
    leader_epoch: Int32 = field("0+")
    start_offset: Int64 = field("0+")
    delivery_complete_count: Int32 = field("0+", tag=0, tagged="0+", default=-1)
    create_timestamp: Int64 = field("0+")
    write_timestamp: Int64 = field("0+")
    state_batches: list[StateBatch] = field("0+")

    class StateBatch(Struct):
        first_offset: Int64 = field("0+")
        last_offset: Int64 = field("0+")
        delivery_state: Int8 = field("0+")
        delivery_count: Int16 = field("0+")


class ShareUpdateKey(Message):
    """One version."""

    KEY = 1
    VALID = (0, 0)

    group_id: str = field("0")
    topic_id: Uuid = field("0")
    partition: Int32 = field("0")


class ShareUpdateValue(Message):
    """One version."""

    KEY = 1
    VALID = (0, 0)
    FLEXIBLE = 0

    snapshot_epoch: Int32 = field("0+")
    leader_epoch: Int32 = field("0+")
    start_offset: Int64 = field("0+")
    delivery_complete_count: Int32 = field("0+", tag=0, tagged="0+", default=-1)
    state_batches: list[StateBatch] = field("0+")

    class StateBatch(Struct):
        first_offset: Int64 = field("0+")
        last_offset: Int64 = field("0+")
        delivery_state: Int8 = field("0+")
        delivery_count: Int16 = field("0+")
