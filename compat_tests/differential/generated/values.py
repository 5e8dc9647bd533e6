"""What fields hold: values that refer to what a scene has, and what is odd in their place.

A field is found by its API and path ("topics[].name"), or the longest end of its path that the table has ("name"), else
by that alone. A value may be a function of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from compat_tests.differential.generated.plain import STAMP_MS, UNKNOWN_ID, UNKNOWN_PRODUCER
from compat_tests.differential.generated.scene import ASSIGNMENT, SUBSCRIPTION, Scene
from compat_tests.raw import corrupt_batch
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasRequest
from ottla.wire.schema import ZERO_UUID

Value: TypeAlias = Any  # of a field, or a function from the scene to one
Label: TypeAlias = str

#: APIs whose requests change or fill their topic: each case has one of its own.
CHANGES_TOPIC: Final = frozenset(
    {"Produce", "DeleteTopics", "DeleteRecords", "CreatePartitions", "WriteTxnMarkers", "DescribeProducers"}
    | {"AlterConfigs", "IncrementalAlterConfigs", "AddPartitionsToTxn", "EndTxn"}
)
#: Changes of a list: one plausible element; the same one twice. Of a struct: given.
ONE: Final = object()
TWICE: Final = object()
_MAX_INT32: Final = 2**31 - 1
_LATER: Final = 4_000_000_000_000  # a time that no record reaches


def _of(path: str) -> Callable[[Scene], Any]:
    """`group.member_id` of the scene."""
    first, _, second = path.partition(".")
    return lambda scene: getattr(getattr(scene, first), second) if second else getattr(scene, first)


def _members(kind: str) -> dict[str, Value]:
    """The fields by which a member names itself."""
    return {
        "group_id": _of(f"{kind}.id"),
        "member_id": _of(f"{kind}.member_id"),
        "generation_id": _of(f"{kind}.epoch"),
        "generation_id_or_member_epoch": _of(f"{kind}.epoch"),
    }


def _producer(kind: str, prefix: str = "") -> dict[str, Value]:
    return {
        f"{prefix}transactional_id": _of(f"{kind}.id"),
        f"{prefix}producer_id": _of(f"{kind}.producer_id"),
        f"{prefix}producer_epoch": _of(f"{kind}.epoch"),
    }


#: By field name. What is in none of these tables has its schema's default.
PLAUSIBLE: Final[Mapping[str, Value]] = {
    "topic": _of("topic.name"),
    "name": _of("topic.name"),
    "topic_name": _of("topic.name"),
    "topic_id": _of("topic.id"),
    "partition_indexes[]": 0,
    "partitions[]": 0,
    "timeout_ms": 10_000,
    "current_leader_epoch": 0,
    "committed_offset": 5,
    "committed_leader_epoch": 0,
    "committed_metadata": "note",
    "group_instance_id": None,
    "reason": "because",
    "replica_id": -1,
}

_TOPIC_CONFIG: Final = {
    "resource_type": 2,
    "resource_name": _of("topic.name"),
    "configs[].name": "retention.ms",
    "value": "60000",
}
#: By API, then by the end of the path.
PLAUSIBLE_OF: Final[Mapping[str, Mapping[str, Value]]] = {
    "Produce": {"transactional_id": None, "acks": -1, "records": lambda scene: scene.records()},
    "Fetch": {
        "max_wait_ms": 0,
        "min_bytes": 1,
        "max_bytes": 1 << 20,
        "partition_max_bytes": 1 << 20,
        "forgotten_topics_data": [],
    },
    "ListOffsets": {"timestamp": -1},
    "Metadata": {"allow_auto_topic_creation": False, "topic_id": ZERO_UUID},
    "OffsetCommit": _members("group"),
    "OffsetFetch": {"group_id": _of("idle_group.id"), "member_id": None, "member_epoch": -1},
    "FindCoordinator": {"key": _of("group_name"), "coordinator_keys[]": _of("group_name")},
    "JoinGroup": {
        "group_id": _of("pending.id"),
        "member_id": _of("pending.member_id"),
        "session_timeout_ms": 30_000,
        "rebalance_timeout_ms": 30_000,
        "protocol_type": "consumer",
        "protocols[].name": "range",
        "metadata": SUBSCRIPTION,
    },
    "Heartbeat": _members("group"),
    "LeaveGroup": _members("group"),
    "SyncGroup": {
        **_members("joined"),
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignment": ASSIGNMENT,
    },
    "DescribeGroups": {"groups[]": _of("group.id")},
    "ListGroups": {"states_filter": [], "types_filter": [], "states_filter[]": "Stable", "types_filter[]": "classic"},
    "ApiVersions": {"client_software_name": "gen", "client_software_version": "1", "cluster_id": None, "node_id": -1},
    "CreateTopics": {
        "topics[].name": _of("new_name"),
        "num_partitions": 1,
        "replication_factor": 1,
        "assignments": [],
        "broker_ids[]": 1,
        "configs[].name": "retention.ms",
        "value": "60000",
    },
    "DeleteTopics": {"topic_id": ZERO_UUID, "topic_names[]": _of("topic.name")},
    "DeleteRecords": {"offset": 2},
    "InitProducerId": {"transactional_id": _of("new_name"), "transaction_timeout_ms": 60_000},
    "AddPartitionsToTxn": {**_producer("producer"), **_producer("producer", "v3_and_below_")},
    "AddOffsetsToTxn": {**_producer("producer"), "group_id": _of("idle_group.id")},
    "EndTxn": {**_producer("transaction"), "committed": True},
    "WriteTxnMarkers": {**_producer("producer"), "transaction_result": True},
    "TxnOffsetCommit": {
        **_producer("transaction"),
        "group_id": _of("group_name"),
        "generation_id_or_member_epoch": -1,
        "member_id": "",
    },
    "DescribeConfigs": {
        "resource_type": 2,
        "resource_name": _of("topic.name"),
        "configuration_keys[]": "retention.ms",
    },
    "AlterConfigs": _TOPIC_CONFIG,
    "IncrementalAlterConfigs": {**_TOPIC_CONFIG, "config_operation": 0},
    "AlterReplicaLogDirs": {"path": _of("log_dir")},
    "CreatePartitions": {"count": 3, "assignments": None, "broker_ids[]": 1},
    "DeleteGroups": {"groups_names[]": _of("idle_group.id")},
    "AlterPartitionReassignments": {"replicas[]": 1},
    "OffsetDelete": {"group_id": _of("idle_group.id")},
    "DescribeClientQuotas": {"entity_type": "user", "match": _of("user")},
    "AlterClientQuotas": {
        "entity_type": "user",
        "entity_name": _of("new_name"),
        "key": "producer_byte_rate",
        "value": 1e9,
        "validate_only": True,
    },
    "DescribeQuorum": {"topic_name": "__cluster_metadata"},
    "UpdateFeatures": {"feature": "group.version", "max_version_level": 1, "validate_only": True},
    "UnregisterBroker": {"broker_id": 99},
    "DescribeTransactions": {"transactional_ids[]": _of("transaction.id")},
    "ListTransactions": {
        "state_filters": [],
        "state_filters[]": "Ongoing",
        "producer_id_filters": [],
        "producer_id_filters[]": _of("transaction.producer_id"),
    },
    "ConsumerGroupHeartbeat": {
        "group_id": lambda scene: f"{scene.new_name}-c",
        "member_id": lambda scene: f"{scene.new_name}-m",
        "rebalance_timeout_ms": 30_000,
        "subscribed_topic_names[]": _of("topic.name"),
        "topic_partitions": [],
    },
    "ConsumerGroupDescribe": {"group_ids[]": _of("consumer_group.id")},
    "PushTelemetry": {"client_instance_id": _of("instance_id")},
    "ListConfigResources": {"resource_types": [], "resource_types[]": 2},
}
#: What must be there though no field of the request refers to it.
BEFORE: Final[Mapping[str, Callable[[Scene], Any]]] = {
    "ListGroups": lambda scene: (scene.group, scene.idle_group, scene.consumer_group),
    "ListTransactions": lambda scene: scene.transaction,
    "ListConfigResources": lambda scene: scene.topic,
    "DescribeProducers": lambda scene: scene.transaction,
}

_TOPICS: Final = {"empty": "", "of nowhere": _of("nobody"), "invalid": "gen/bad", "dots": ".."}
_PARTITIONS: Final = {"99": 99, "-1": -1}
_EPOCHS: Final = {"-2": -2, "-1": -1, "99": 99}
_CODES: Final = {"-1": -1, "1": 1, "2": 2, "99": 99}
_TOPICS_AND_INTERNAL: Final = {**_TOPICS, "internal": "__consumer_offsets"}
TEXTS: Final = {"empty": "", "unknown": _of("nobody")}
_PRODUCERS: Final = {"-1": -1, "unknown": UNKNOWN_PRODUCER}
_VALUES: Final = {"nonsense": "nonsense", "empty": "", "-2": "-2"}

#: By field name; then by the kind of the field. Null, where it may be, and lists are added by the generator.
ODD: Final[Mapping[str, Mapping[Label, Value]]] = {
    "topic": _TOPICS,
    "name": _TOPICS,
    "topic_name": _TOPICS,
    "topic_names[]": _TOPICS,
    "subscribed_topic_names[]": _TOPICS,
    "topic_id": {"zero": ZERO_UUID, "unknown": UNKNOWN_ID},
    "partition": _PARTITIONS,
    "partition_index": _PARTITIONS,
    "index": _PARTITIONS,
    "partitions[]": _PARTITIONS,
    "partition_indexes[]": _PARTITIONS,
    "current_leader_epoch": _EPOCHS,
    "leader_epoch": _EPOCHS,
    "last_fetched_epoch": {"0": 0, "99": 99},
    "generation_id": _EPOCHS,
    "generation_id_or_member_epoch": _EPOCHS,
    "member_epoch": _EPOCHS,
    "producer_epoch": {"-1": -1, "99": 99},
    "producer_id": _PRODUCERS,
    "v3_and_below_producer_epoch": {"-1": -1, "99": 99},
    "v3_and_below_producer_id": _PRODUCERS,
    "timestamp": {
        **{str(special): special for special in (-2, -3, -4, -5, -6, -99, 0)},
        "of the records": STAMP_MS,
        "later": _LATER,
    },
    "isolation_level": _CODES,
    "key_type": _CODES,
    "resource_type": {**_CODES, "broker": 4, "logger": 8, "client metrics": 16, "group": 32},
    "config_operation": {**_CODES, "3": 3},
    "match_type": _CODES,
    "election_type": _CODES,
    "endpoint_type": _CODES,
    "upgrade_type": {**_CODES, "3": 3},
    "timeout_ms": {},  # what a controller does in no time is chance
    "transaction_timeout_ms": {"0": 0, "-1": -1, "max": _MAX_INT32},
    "session_timeout_ms": {"0": 0, "-1": -1, "max": _MAX_INT32},
    "acks": {"0": 0, "1": 1, "2": 2, "-2": -2},
    "records": {"empty": b"", "corrupt": lambda scene: corrupt_batch(scene.records()), "garbage": b"\1" * 70},
    "value": _VALUES,
    "resource_types[]": {"-1": -1, "99": 99, **{str(kind): kind for kind in (4, 8, 16, 32)}},
    "states_filter[]": {"Empty": "Empty", "of no group": "Nonsense"},
    "types_filter[]": {"consumer": "consumer", "of no group": "Nonsense"},
    "state_filters[]": {"Empty": "Empty", "of none": "Nonsense"},
}
#: By API, then by the end of the path, in place of the above.
ODD_OF: Final[Mapping[str, Mapping[str, Mapping[Label, Value]]]] = {
    "Fetch": {
        "fetch_offset": {"-1": -1, "the end": 3, "99": 99},
        "max_bytes": {"0": 0, "-1": -1, "1": 1},
        "partition_max_bytes": {"0": 0, "-1": -1, "1": 1},
        "min_bytes": {"0": 0, "-1": -1},
        "max_wait_ms": {"-1": -1, "1": 1},
        "session_epoch": {"0": 0, "1": 1, "-2": -2},
        "session_id": {"-1": -1, "99": 99},
    },
    "CreateTopics": {
        "topics[].name": {
            **_TOPICS,
            "long": lambda scene: scene.new_name + "x" * 250,
            "there already": _of("topic.name"),
        },
        "num_partitions": {"0": 0, "-1": -1, "-2": -2},
        "replication_factor": {"0": 0, "-1": -1, "-2": -2, "2": 2},
        "broker_ids[]": {"99": 99, "-1": -1},
        "configs[].name": {"empty": "", "nonsense": "nonsense"},
    },
    "AlterConfigs": {"configs[].name": {"empty": "", "nonsense": "nonsense"}},
    "IncrementalAlterConfigs": {"configs[].name": {"empty": "", "nonsense": "nonsense"}},
    "DescribeConfigs": {"configuration_keys[]": {"empty": "", "nonsense": "nonsense"}},
    "CreatePartitions": {"count": {"0": 0, "-1": -1, "1": 1, "2": 2}, "broker_ids[]": {"99": 99, "-1": -1}},
    "Produce": {"name": _TOPICS_AND_INTERNAL},
    "AddPartitionsToTxn": {"name": _TOPICS_AND_INTERNAL},
    "DeleteRecords": {
        "name": _TOPICS_AND_INTERNAL,
        "offset": {"-1": -1, "-2": -2, "0": 0, "3": 3, "99": 99},
    },
    "AlterPartitionReassignments": {"replicas[]": {"99": 99, "-1": -1}},
    "DescribeClientQuotas": {
        "entity_type": {"empty": "", "nonsense": "nonsense", "ip": "ip", "client-id": "client-id"}
    },
    "AlterClientQuotas": {
        "entity_type": {"empty": "", "nonsense": "nonsense", "ip": "ip"},
        "key": {"empty": "", "nonsense": "nonsense", "rate of controllers": "controller_mutation_rate"},
        "value": {"0": 0.0, "-1": -1.0, "half": 0.5, "NaN": float("nan")},
    },
    "UnregisterBroker": {"broker_id": {"-1": -1, "0": 0}},  # 1 would be the end of the story
    "UpdateFeatures": {
        "feature": {"empty": "", "nonsense": "nonsense", "metadata.version": "metadata.version"},
        "max_version_level": {"0": 0, "-1": -1, "99": 99},
    },
    "JoinGroup": {
        "rebalance_timeout_ms": {"0": 0, "-1": -1},
        "protocol_type": {"empty": "", "another": "connect"},
        "metadata": {"empty": b"", "garbage": b"\1\2\3"},
        "group_instance_id": {"empty": "", "static": "s"},
    },
    "SyncGroup": {"assignment": {"empty": b"", "garbage": b"\1\2\3"}},
    "ApiVersions": {
        "client_software_name": {"empty": "", "invalid": "-x!"},
        "client_software_version": {"empty": "", "invalid": "-x!"},
        "node_id": {"1": 1},
        "cluster_id": {"another": "nonsense"},
    },
    "ConsumerGroupHeartbeat": {
        "member_epoch": {"-1": -1, "-2": -2, "-3": -3, "99": 99},
        "rebalance_timeout_ms": {"0": 0, "-1": -1},
        "server_assignor": {"empty": "", "range": "range", "nonsense": "nonsense"},
        "subscribed_topic_regex": {"empty": "", "none matches": "gen-zzz.*", "invalid": "["},
    },
    "GetTelemetrySubscriptions": {"client_instance_id": {"given": _of("instance_id")}},
    "PushTelemetry": {"client_instance_id": {"zero": ZERO_UUID}},
    "OffsetCommit": {"committed_metadata": {"empty": "", "long": "x" * 4097}},
    "TxnOffsetCommit": {"committed_metadata": {"empty": "", "long": "x" * 4097}},
    "ListTransactions": {
        "producer_id_filters[]": {"-1": -1, "unknown": UNKNOWN_PRODUCER},
        "duration_filter": {"-2": -2, "an hour": 3_600_000},
        "transactional_id_pattern": {"empty": "", "all": "gen-.*", "none": "zzz", "invalid": "["},
    },
}
_RECORDS: Final = "topic_data[].partition_data[].records"
#: Where more than one field must change to say something: API -> case -> path -> value.
TOGETHER: Final[Mapping[str, Mapping[Label, Mapping[str, Value]]]] = {
    "Produce": {
        "idempotent": {_RECORDS: lambda scene: scene.sent()},
        "idempotent, of an unknown producer": {
            _RECORDS: lambda scene: scene.sent(producer_id=UNKNOWN_PRODUCER, base_sequence=5)
        },
        "idempotent, in the middle": {_RECORDS: lambda scene: scene.sent(base_sequence=5)},
        "idempotent, without an epoch": {_RECORDS: lambda scene: scene.sent(producer_epoch=-1)},
        "idempotent, without a sequence": {_RECORDS: lambda scene: scene.sent(base_sequence=-1)},
        "in a transaction": {
            "transactional_id": _of("producer.id"),
            _RECORDS: lambda scene: scene.sent(transactional=True),
        },
        "in a transaction of another epoch": {
            "transactional_id": _of("producer.id"),
            _RECORDS: lambda scene: scene.sent(transactional=True, producer_epoch=9),
        },
        "in a transaction without an epoch": {
            "transactional_id": _of("producer.id"),
            _RECORDS: lambda scene: scene.sent(transactional=True, producer_epoch=-1),
        },
        "in a transaction of nobody": {_RECORDS: lambda scene: scene.sent(transactional=True)},
    },
    "Metadata": {"by id": {"topics[].name": None, "topics[].topic_id": _of("topic.id")}},
    "DeleteTopics": {
        "by id": {"topics[].name": None, "topics[].topic_id": _of("topic.id")},
        "by name and by id": {
            "topics": lambda scene: [
                DeleteTopicsRequest.DeleteTopicState(name=scene.topic.name),
                DeleteTopicsRequest.DeleteTopicState(name=None, topic_id=scene.topic.id),
            ],
        },
    },
    "DescribeClientQuotas": {
        "of a user at an address": {
            "components": lambda scene: [
                DescribeClientQuotasRequest.ComponentData(entity_type="user", match=scene.user),
                DescribeClientQuotasRequest.ComponentData(entity_type="ip", match="127.0.0.1"),
            ],
        },
    },
    "ApiVersions": {
        "to the right one": {"cluster_id": _of("cluster_id"), "node_id": 1},
        "to another node": {"cluster_id": _of("cluster_id"), "node_id": 2},
        "to another cluster": {"cluster_id": "nonsense", "node_id": 1},
    },
    "CreateTopics": {
        "by hand": {"topics[].num_partitions": -1, "topics[].replication_factor": -1, "topics[].assignments": ONE},
        "with defaults": {"topics[].num_partitions": -1, "topics[].replication_factor": -1},
    },
    "InitProducerId": {
        "without transactions": {"transactional_id": None, "transaction_timeout_ms": 0},
        "who knows its id": {
            "transactional_id": _of("producer.id"),
            "producer_id": _of("producer.producer_id"),
            "producer_epoch": _of("producer.epoch"),
        },
        "who has an old epoch": {
            "transactional_id": _of("producer.id"),
            "producer_id": _of("producer.producer_id"),
            "producer_epoch": 99,
        },
        "without transactions, with an epoch": {"transactional_id": None, "producer_epoch": 0},
        "of another": {
            "transactional_id": _of("producer.id"),
            "producer_id": UNKNOWN_PRODUCER,
            "producer_epoch": 0,
        },
    },
    "JoinGroup": {
        "a new member": {"group_id": _of("group_name"), "member_id": ""},
        "a new static member": {"group_id": _of("group_name"), "member_id": "", "group_instance_id": "s"},
        "again": {"group_id": _of("group.id"), "member_id": _of("group.member_id")},
    },
    "OffsetCommit": {
        "of nobody": {"group_id": _of("group_name"), "member_id": "", "generation_id_or_member_epoch": -1},
        "of a consumer": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "generation_id_or_member_epoch": _of("consumer_group.epoch"),
        },
        "of a fenced consumer": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "generation_id_or_member_epoch": 99,
        },
    },
    "OffsetFetch": {
        "of a consumer": {
            "groups[].group_id": _of("consumer_group.id"),
            "groups[].member_id": _of("consumer_group.member_id"),
            "groups[].member_epoch": _of("consumer_group.epoch"),
        },
        "of a fenced consumer": {
            "groups[].group_id": _of("consumer_group.id"),
            "groups[].member_id": _of("consumer_group.member_id"),
            "groups[].member_epoch": 99,
        },
    },
    "SyncGroup": {"of a Stable group": {"group_id": _of("group.id")}},
    "Heartbeat": {"before the sync": {"group_id": _of("joined.id")}},
    "DescribeGroups": {
        "a group of offsets": {"groups[]": _of("idle_group.id")},
        "a consumer group": {"groups[]": _of("consumer_group.id")},
    },
    "DeleteGroups": {"with members": {"groups_names[]": _of("group.id")}},
    "ConsumerGroupDescribe": {"a classic group": {"group_ids[]": _of("group.id")}},
    "ConsumerGroupHeartbeat": {
        "a member": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "member_epoch": _of("consumer_group.epoch"),
        },
        "a member with nothing new": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "member_epoch": _of("consumer_group.epoch"),
            "rebalance_timeout_ms": -1,
            "subscribed_topic_names": None,
            "topic_partitions": None,
        },
        "a member that leaves": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "member_epoch": -1,
        },
        "a fenced member": {
            "group_id": _of("consumer_group.id"),
            "member_id": _of("consumer_group.member_id"),
            "member_epoch": 99,
        },
        "of a classic group": {"group_id": _of("group.id")},
    },
    "DescribeConfigs": {
        "a broker": {
            "resources[].resource_type": 4,
            "resources[].resource_name": "1",
            "resources[].configuration_keys[]": "log.cleaner.threads",
        },
        "all brokers": {
            "resources[].resource_type": 4,
            "resources[].resource_name": "",
            "resources[].configuration_keys": None,
        },
        "another broker": {"resources[].resource_type": 4, "resources[].resource_name": "99"},
        "a group": {
            "resources[].resource_type": 32,
            "resources[].resource_name": _of("group_name"),
            "resources[].configuration_keys": None,
        },
        "client metrics": {"resources[].resource_type": 16, "resources[].resource_name": _of("nobody")},
        "loggers of no broker": {"resources[].resource_type": 8, "resources[].resource_name": ""},
        "client metrics without a name": {"resources[].resource_type": 16, "resources[].resource_name": ""},
        "a group without a name": {"resources[].resource_type": 32, "resources[].resource_name": ""},
    },
    "IncrementalAlterConfigs": {
        "delete": {"resources[].configs[].config_operation": 1, "resources[].configs[].value": None},
        "append": {
            "resources[].configs[].config_operation": 2,
            "resources[].configs[].name": "cleanup.policy",
            "resources[].configs[].value": "compact",
        },
        "subtract": {
            "resources[].configs[].config_operation": 3,
            "resources[].configs[].name": "cleanup.policy",
            "resources[].configs[].value": "delete",
        },
        "another broker": {"resources[].resource_type": 4, "resources[].resource_name": "99"},
    },
    "AlterConfigs": {"another broker": {"resources[].resource_type": 4, "resources[].resource_name": "99"}},
    "EndTxn": {
        "abort": {"committed": False},
        "of nothing": {
            "transactional_id": _of("producer.id"),
            "producer_id": _of("producer.producer_id"),
            "producer_epoch": _of("producer.epoch"),
        },
    },
    "CreatePartitions": {"by hand": {"topics[].count": 3, "topics[].assignments": ONE}},
    "DescribeQuorum": {"of a topic": {"topics[].topic_name": _of("topic.name")}},
    "FindCoordinator": {"of transactions": {"key_type": 1}},
}
