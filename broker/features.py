"""Feature levels (KIP-584): which these handlers support, at which the cluster is, which changes are allowed.

Levels are changed in metadata.py and kept in the metadata log; what a level means is decided where it is asked for.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ottla.broker.handlers import handlers
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster

TRANSACTION_VERSION: Final = "transaction.version"
GROUP_VERSION: Final = "group.version"

_TRANSACTION_APIS: Final = (
    ApiKey.ADD_PARTITIONS_TO_TXN,
    ApiKey.ADD_OFFSETS_TO_TXN,
    ApiKey.TXN_OFFSET_COMMIT,
    ApiKey.END_TXN,
)
# What a client may conclude from a feature's level: the APIs that must be served for level 1, 2, …
_STEPS: Final[dict[str, tuple[tuple[ApiKey, ...], ...]]] = {
    GROUP_VERSION: ((ApiKey.CONSUMER_GROUP_HEARTBEAT, ApiKey.CONSUMER_GROUP_DESCRIBE),),
    "share.version": (
        (ApiKey.SHARE_GROUP_HEARTBEAT, ApiKey.SHARE_GROUP_DESCRIBE, ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE),
    ),
    "streams.version": ((ApiKey.STREAMS_GROUP_HEARTBEAT, ApiKey.STREAMS_GROUP_DESCRIBE),),
    # 1: flexible records in __transaction_state; 2: an epoch for each transaction, Produce adds partitions (KIP-890)
    TRANSACTION_VERSION: (_TRANSACTION_APIS, _TRANSACTION_APIS),
}


class UpgradeType(IntEnum):
    """What a client that changes a level believes to do. Unsafe and safe downgrades are one here: no level of ours
    loses anything on its way down."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


def supported() -> dict[str, int]:
    """The highest level of each feature that the handlers carry; the lowest is 0. Those at 0 are left out."""
    return {name: highest for name in _STEPS if (highest := _highest(name))}


def finalized(cluster: Cluster) -> dict[str, int]:
    """The level that each supported feature is at: the one that somebody set, else the highest."""
    return {name: level(cluster, name) for name in supported()}


def level(cluster: Cluster, name: str) -> int:
    """The level that a feature is at; 0: it is off."""
    highest = _highest(name)
    return min(cluster.feature_levels.get(name, highest), highest)


def _highest(name: str) -> int:
    highest = 0
    for needed in _STEPS[name]:
        if not all(key in handlers for key in needed):
            break
        highest += 1
    return highest


def check_level(name: str, wanted: int) -> None:
    """Whether a feature may have this level at all. Raises KafkaError INVALID_UPDATE_VERSION."""
    levels = supported()
    if wanted < 0:
        raise _invalid(name, wanted, "a level is 0 or more")
    if name not in levels:
        raise _invalid(name, wanted, f"there is no such feature here, only {', '.join(sorted(levels)) or 'none'}")
    if wanted > levels[name]:
        raise _invalid(name, wanted, f"its levels here are 0 to {levels[name]}")


def check_update(cluster: Cluster, name: str, wanted: int, upgrade_type: int) -> None:
    """All checks of UpdateFeatures for one feature, in Kafka's order. Raises KafkaError INVALID_UPDATE_VERSION."""
    if upgrade_type not in list(UpgradeType):
        raise _invalid(name, wanted, f"upgrade type {upgrade_type} is not known")
    check_level(name, wanted)
    if upgrade_type == UpgradeType.UPGRADE and wanted < level(cluster, name):
        raise _invalid(name, wanted, "a lower level needs the upgrade type of a safe or unsafe downgrade")


def _invalid(name: str, wanted: int, reason: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_UPDATE_VERSION, f"feature {name} cannot have level {wanted}: {reason}")
