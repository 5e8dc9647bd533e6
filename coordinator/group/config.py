"""Settings of the group coordinator, under Kafka's names with underscores for dots. They are read elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

_INT32_MAX = 2**31 - 1


class ConsumerSettings(NamedTuple):
    """What may differ from group to group of the KIP-848 protocol: consumer.session.timeout.ms and so on."""

    session_timeout_ms: int
    heartbeat_interval_ms: int
    assignment_interval_ms: int


class GroupConfigs(Protocol):
    """The configs that operators set for single groups (resource type GROUP, KIP-848)."""

    def of(self, group_id: str) -> ConsumerSettings:
        """The group's settings as they are now: its own, else the broker's."""
        ...


class GroupConfig:
    """Kafka's broker properties for groups and offsets; the defaults are Kafka 4.4's but for two delays.

    The attributes of a live coordinator's config change when a dynamic setting does: read them when they are needed.
    """

    __slots__ = (
        "group_consumer_assignment_interval_ms",
        "group_consumer_assignors",
        "group_consumer_heartbeat_interval_ms",
        "group_consumer_max_assignment_interval_ms",
        "group_consumer_max_heartbeat_interval_ms",
        "group_consumer_max_session_timeout_ms",
        "group_consumer_max_size",
        "group_consumer_migration_policy",
        "group_consumer_min_assignment_interval_ms",
        "group_consumer_min_heartbeat_interval_ms",
        "group_consumer_min_session_timeout_ms",
        "group_consumer_session_timeout_ms",
        "group_coordinator_rebalance_protocols",
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
        group_consumer_session_timeout_ms: int = 45_000,
        group_consumer_min_session_timeout_ms: int = 45_000,
        group_consumer_max_session_timeout_ms: int = 60_000,
        group_consumer_heartbeat_interval_ms: int = 5_000,
        group_consumer_min_heartbeat_interval_ms: int = 5_000,
        group_consumer_max_heartbeat_interval_ms: int = 15_000,
        group_consumer_assignment_interval_ms: int = 0,
        group_consumer_min_assignment_interval_ms: int = 0,
        group_consumer_max_assignment_interval_ms: int = 15_000,
        group_consumer_max_size: int = _INT32_MAX,
        group_consumer_assignors: tuple[str, ...] = ("uniform", "range"),
        group_consumer_migration_policy: str = "bidirectional",
        group_coordinator_rebalance_protocols: frozenset[str] = frozenset(("classic", "consumer")),
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
        # KIP-848. The intervals and the timeout are a group's own if it has some (`GroupConfigs`).
        self.group_consumer_session_timeout_ms = group_consumer_session_timeout_ms
        self.group_consumer_min_session_timeout_ms = group_consumer_min_session_timeout_ms
        self.group_consumer_max_session_timeout_ms = group_consumer_max_session_timeout_ms
        self.group_consumer_heartbeat_interval_ms = group_consumer_heartbeat_interval_ms
        self.group_consumer_min_heartbeat_interval_ms = group_consumer_min_heartbeat_interval_ms
        self.group_consumer_max_heartbeat_interval_ms = group_consumer_max_heartbeat_interval_ms
        # Kafka makes a target assignment at most each second; here the next member gets its part at once.
        self.group_consumer_assignment_interval_ms = group_consumer_assignment_interval_ms
        self.group_consumer_min_assignment_interval_ms = group_consumer_min_assignment_interval_ms
        self.group_consumer_max_assignment_interval_ms = group_consumer_max_assignment_interval_ms
        self.group_consumer_max_size = group_consumer_max_size
        self.group_consumer_assignors = group_consumer_assignors  # the first is used when no member asks for one
        self.group_consumer_migration_policy = group_consumer_migration_policy  # disabled, downgrade, upgrade, both
        self.group_coordinator_rebalance_protocols = group_coordinator_rebalance_protocols
        self.offset_metadata_max_bytes = offset_metadata_max_bytes
        self.offsets_retention_minutes = offsets_retention_minutes
        self.offsets_retention_check_interval_ms = offsets_retention_check_interval_ms
        # No property in Kafka either: how long a parked join of a member that never heard its id may last.
        self.new_member_join_timeout_ms = new_member_join_timeout_ms
        # Ours: when a record that no request waits for could not be written, try again after this.
        self.write_retry_ms = write_retry_ms

    @property
    def may_upgrade(self) -> bool:
        """A classic group becomes a consumer group when the first KIP-848 member joins."""
        return self.group_consumer_migration_policy in ("upgrade", "bidirectional")

    @property
    def may_downgrade(self) -> bool:
        """A consumer group becomes a classic one when its last KIP-848 member leaves."""
        return self.group_consumer_migration_policy in ("downgrade", "bidirectional")

    def consumer_settings(self, own: Mapping[str, int]) -> ConsumerSettings:
        """Settings of a group whose configs are `own`, by name. The broker's bounds hold also if they came later."""
        return ConsumerSettings(
            *(
                max(getattr(self, least), min(own.get(name, getattr(self, default)), getattr(self, most)))
                for name, default, least, most in _PER_GROUP
            )
        )

    def consumer_bounds(self, name: str) -> tuple[int, int] | None:
        """The (least, most) that a group config called `name` may be; None: this broker sets no bounds for it."""
        return next(
            ((getattr(self, least), getattr(self, most)) for each, _, least, most in _PER_GROUP if each == name), None
        )

    def update(self, newer: GroupConfig) -> None:
        """Take over every attribute of `newer`."""
        for attribute in self.__slots__:
            setattr(self, attribute, getattr(newer, attribute))


class SameForAll:
    """`GroupConfigs` of a broker on which no group has configs of its own."""

    __slots__ = ("_config",)

    def __init__(self, config: GroupConfig) -> None:
        self._config = config

    def of(self, group_id: str) -> ConsumerSettings:
        return self._config.consumer_settings({})


_PER_GROUP: Final = tuple(
    (
        f"consumer.{name}",
        *(f"group_consumer_{bound}{name.replace('.', '_')}" for bound in ("", "min_", "max_")),
    )
    for name in ("session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms")
)
"""The fields of `ConsumerSettings` in order: the group's config, the broker's default, least and most."""
