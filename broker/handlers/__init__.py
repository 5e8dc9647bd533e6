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
    ApiKey.ADD_PARTITIONS_TO_TXN: "add_partitions_to_txn",
    ApiKey.ADD_OFFSETS_TO_TXN: "add_offsets_to_txn",
    ApiKey.END_TXN: "end_txn",
    ApiKey.WRITE_TXN_MARKERS: "write_txn_markers",
    ApiKey.TXN_OFFSET_COMMIT: "txn_offset_commit",
    ApiKey.DESCRIBE_CONFIGS: "describe_configs",
    ApiKey.ALTER_CONFIGS: "alter_configs",
    ApiKey.DELETE_GROUPS: "delete_groups",
    ApiKey.OFFSET_DELETE: "offset_delete",
    ApiKey.UPDATE_FEATURES: "update_features",
    ApiKey.DESCRIBE_CLUSTER: "describe_cluster",
    ApiKey.DESCRIBE_PRODUCERS: "describe_producers",
    ApiKey.DESCRIBE_TRANSACTIONS: "describe_transactions",
    ApiKey.LIST_TRANSACTIONS: "list_transactions",
    ApiKey.CREATE_PARTITIONS: "create_partitions",
    ApiKey.ALTER_REPLICA_LOG_DIRS: "alter_replica_log_dirs",
    ApiKey.DESCRIBE_LOG_DIRS: "describe_log_dirs",
    ApiKey.ELECT_LEADERS: "elect_leaders",
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: "alter_partition_reassignments",
    ApiKey.LIST_PARTITION_REASSIGNMENTS: "list_partition_reassignments",
    ApiKey.DESCRIBE_QUORUM: "describe_quorum",
    ApiKey.UNREGISTER_BROKER: "unregister_broker",
    ApiKey.DESCRIBE_CLIENT_QUOTAS: "describe_client_quotas",
    ApiKey.ALTER_CLIENT_QUOTAS: "alter_client_quotas",
    ApiKey.INCREMENTAL_ALTER_CONFIGS: "incremental_alter_configs",
    ApiKey.LIST_CONFIG_RESOURCES: "list_config_resources",
    ApiKey.CONSUMER_GROUP_HEARTBEAT: "consumer_group_heartbeat",
    ApiKey.CONSUMER_GROUP_DESCRIBE: "consumer_group_describe",
    ApiKey.GET_TELEMETRY_SUBSCRIPTIONS: "get_telemetry_subscriptions",
    ApiKey.PUSH_TELEMETRY: "push_telemetry",
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: "describe_topic_partitions",
}


class Handler:
    """One API as served: its version range, its request class, and its functions, loaded at the first use."""

    __slots__ = ("error", "handle", "handle_again", "key", "max_version", "min_version", "request")

    # Set by __getattr__ at first use; typed Any since each module narrows the request to its own class.
    request: Any
    handle: Any
    error: Any
    handle_again: Any  # None if the API has none

    def __init__(self, key: ApiKey) -> None:
        spec = API[key]
        self.key = key
        self.min_version = spec.min_version
        self.max_version = spec.max_version

    def __getattr__(self, name: str) -> Any:
        # Only reached while the slots are empty, so a served request pays a plain attribute access.
        if name not in ("request", "handle", "handle_again", "error"):
            raise AttributeError(name)
        module = import_module(f"ottla.broker.handlers.{_MODULES[self.key]}")
        self.request = API[self.key].request
        self.handle = module.handle
        self.handle_again = getattr(module, "handle_again", None)
        self.error = module.error
        return getattr(self, name)


handlers: dict[int, Handler] = {int(key): Handler(key) for key in _MODULES}
