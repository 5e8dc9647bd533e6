"""The table of the APIs that Ottla serves. What stands here is advertised (ApiVersions), what does not isn't.

One module an API, imported when the first such request comes, each with
`handle(broker, context, request) -> Message | Pending | Parked | None` and `error(request, version, code) -> Message`,
the answer that carries `code` wherever Kafka would put it. Versions are those of Kafka 4.4 (wire/apis.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ottla.wire.apis import API, ApiKey

_MODULES = {
    ApiKey.PRODUCE: "produce",
    ApiKey.FETCH: "fetch",
    ApiKey.LIST_OFFSETS: "list_offsets",
    ApiKey.METADATA: "metadata",
    ApiKey.OFFSET_COMMIT: "offset_commit",
    ApiKey.OFFSET_FETCH: "offset_fetch",
    ApiKey.FIND_COORDINATOR: "find_coordinator",
    ApiKey.JOIN_GROUP: "join_group",
    ApiKey.HEARTBEAT: "heartbeat",
    ApiKey.LEAVE_GROUP: "leave_group",
    ApiKey.SYNC_GROUP: "sync_group",
    ApiKey.DESCRIBE_GROUPS: "describe_groups",
    ApiKey.LIST_GROUPS: "list_groups",
    ApiKey.API_VERSIONS: "api_versions",
    ApiKey.CREATE_TOPICS: "create_topics",
    ApiKey.DELETE_TOPICS: "delete_topics",
    ApiKey.DELETE_RECORDS: "delete_records",
    ApiKey.INIT_PRODUCER_ID: "init_producer_id",
    ApiKey.OFFSET_FOR_LEADER_EPOCH: "offset_for_leader_epoch",
    ApiKey.DESCRIBE_CONFIGS: "describe_configs",
    ApiKey.DELETE_GROUPS: "delete_groups",
    ApiKey.OFFSET_DELETE: "offset_delete",
    ApiKey.DESCRIBE_CLUSTER: "describe_cluster",
    ApiKey.CREATE_PARTITIONS: "create_partitions",
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: "describe_topic_partitions",
}


# What a client may conclude from a feature's level (KIP-584): the APIs that must be served for level 1, 2, …
_FEATURES: dict[str, tuple[tuple[ApiKey, ...], ...]] = {
    "group.version": ((ApiKey.CONSUMER_GROUP_HEARTBEAT, ApiKey.CONSUMER_GROUP_DESCRIBE),),
    "share.version": (
        (ApiKey.SHARE_GROUP_HEARTBEAT, ApiKey.SHARE_GROUP_DESCRIBE, ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE),
    ),
    "streams.version": ((ApiKey.STREAMS_GROUP_HEARTBEAT, ApiKey.STREAMS_GROUP_DESCRIBE),),
    "transaction.version": (
        (ApiKey.ADD_PARTITIONS_TO_TXN, ApiKey.ADD_OFFSETS_TO_TXN, ApiKey.TXN_OFFSET_COMMIT, ApiKey.END_TXN),
    ),
}


def feature_levels() -> dict[str, int]:
    """The level of each feature that these handlers carry; those at level 0 are left out."""
    levels = {}
    for name, steps in _FEATURES.items():
        level = 0
        for needed in steps:
            if not all(key in handlers for key in needed):
                break
            level += 1
        if level:
            levels[name] = level
    return levels


class Handler:
    """One API as served: its version range, its request class, and its two functions, loaded at the first use."""

    __slots__ = ("error", "handle", "key", "max_version", "min_version", "request")

    # Set by __getattr__ at first use; typed Any since each module narrows the request to its own class.
    request: Any
    handle: Any
    error: Any

    def __init__(self, key: ApiKey) -> None:
        spec = API[key]
        self.key = key
        self.min_version = spec.min_version
        self.max_version = spec.max_version

    def __getattr__(self, name: str) -> Any:
        # Only reached while the slots are empty, so a served request pays a plain attribute access.
        if name not in ("request", "handle", "error"):
            raise AttributeError(name)
        module = import_module(f"ottla.broker.handlers.{_MODULES[self.key]}")
        self.request = API[self.key].request
        self.handle = module.handle
        self.error = module.error
        return getattr(self, name)


handlers: dict[int, Handler] = {int(key): Handler(key) for key in _MODULES}
