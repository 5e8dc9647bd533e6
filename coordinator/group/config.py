"""Settings of the group coordinator, under Kafka's names with underscores for dots. They are read elsewhere."""

from __future__ import annotations

_INT32_MAX = 2**31 - 1


class GroupConfig:
    """Kafka's broker properties for groups and offsets; the defaults are Kafka 4.4's but for the initial delay."""

    __slots__ = (
        "group_initial_rebalance_delay_ms",
        "group_max_session_timeout_ms",
        "group_max_size",
        "group_min_session_timeout_ms",
        "new_member_join_timeout_ms",
        "offset_metadata_max_bytes",
        "offsets_retention_check_interval_ms",
        "offsets_retention_minutes",
        "write_retry_ms",
    )

    def __init__(
        self,
        *,
        group_min_session_timeout_ms: int = 6_000,
        group_max_session_timeout_ms: int = 1_800_000,
        group_initial_rebalance_delay_ms: int = 0,
        group_max_size: int = _INT32_MAX,
        offset_metadata_max_bytes: int = 4_096,
        offsets_retention_minutes: int = 10_080,
        offsets_retention_check_interval_ms: int = 600_000,
        new_member_join_timeout_ms: int = 300_000,
        write_retry_ms: int = 1_000,
    ) -> None:
        self.group_min_session_timeout_ms = group_min_session_timeout_ms
        self.group_max_session_timeout_ms = group_max_session_timeout_ms
        # Kafka waits 3 s for more members of a new group; here a first consumer is not kept waiting unless told so.
        self.group_initial_rebalance_delay_ms = group_initial_rebalance_delay_ms
        self.group_max_size = group_max_size
        self.offset_metadata_max_bytes = offset_metadata_max_bytes
        self.offsets_retention_minutes = offsets_retention_minutes
        self.offsets_retention_check_interval_ms = offsets_retention_check_interval_ms
        # No property in Kafka either: how long a parked join of a member that never heard its id may last.
        self.new_member_join_timeout_ms = new_member_join_timeout_ms
        # Ours: when a record that no request waits for could not be written, try again after this.
        self.write_retry_ms = write_retry_ms
