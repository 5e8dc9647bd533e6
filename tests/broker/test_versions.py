"""Every API that is advertised, at every version of it: a plain request gets an answer that decodes and carries no
error.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ottla.broker.handlers import handlers
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.alter_client_quotas import AlterClientQuotasRequest
from ottla.wire.messages.alter_configs import AlterConfigsRequest
from ottla.wire.messages.alter_partition_reassignments import AlterPartitionReassignmentsRequest
from ottla.wire.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.delete_records import DeleteRecordsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasRequest
from ottla.wire.messages.describe_cluster import DescribeClusterRequest
from ottla.wire.messages.describe_configs import DescribeConfigsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.describe_log_dirs import DescribeLogDirsRequest
from ottla.wire.messages.describe_producers import DescribeProducersRequest
from ottla.wire.messages.describe_quorum import DescribeQuorumRequest
from ottla.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.messages.describe_transactions import DescribeTransactionsRequest
from ottla.wire.messages.elect_leaders import ElectLeadersRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_config_resources import ListConfigResourcesRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from ottla.wire.messages.list_transactions import ListTransactionsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from ottla.wire.messages.push_telemetry import PushTelemetryRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.messages.txn_offset_commit import TxnOffsetCommitRequest
from ottla.wire.messages.unregister_broker import UnregisterBrokerRequest
from ottla.wire.messages.update_features import UpdateFeaturesRequest
from ottla.wire.messages.write_txn_markers import WriteTxnMarkersRequest
from ottla.wire.schema import Message, Struct
from tests.broker.conftest import Running
from tests.broker.test_connection import METADATA, fetch, metadata, produce

EVERY = [(key, version) for key, h in sorted(handlers.items()) for version in range(h.min_version, h.max_version + 1)]
# Requests about members and groups that are not there: this is the right answer to them.
EXPECTED = {
    ApiKey.ALTER_REPLICA_LOG_DIRS: {ErrorCode.LOG_DIR_NOT_FOUND},
    ApiKey.PUSH_TELEMETRY: {ErrorCode.UNKNOWN_SUBSCRIPTION_ID},
    ApiKey.ELECT_LEADERS: {ErrorCode.ELECTION_NOT_NEEDED},
    ApiKey.UNREGISTER_BROKER: {ErrorCode.BROKER_ID_NOT_REGISTERED},
    ApiKey.HEARTBEAT: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.SYNC_GROUP: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.LEAVE_GROUP: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.JOIN_GROUP: {ErrorCode.MEMBER_ID_REQUIRED},
    ApiKey.DESCRIBE_GROUPS: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.CONSUMER_GROUP_DESCRIBE: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.DELETE_GROUPS: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.OFFSET_DELETE: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.ADD_PARTITIONS_TO_TXN: {ErrorCode.INVALID_PRODUCER_ID_MAPPING},
    ApiKey.ADD_OFFSETS_TO_TXN: {ErrorCode.INVALID_PRODUCER_ID_MAPPING},
    ApiKey.END_TXN: {ErrorCode.INVALID_PRODUCER_ID_MAPPING},
    ApiKey.DESCRIBE_TRANSACTIONS: {ErrorCode.TRANSACTIONAL_ID_NOT_FOUND},
    ApiKey.TXN_OFFSET_COMMIT: {ErrorCode.INVALID_PRODUCER_ID_MAPPING},
}


def request_for(key: int, version: int, topic_id: bytes) -> Message:
    by_id = {"topic_id": topic_id}
    name = {"name": "t"}
    match key:
        case ApiKey.PRODUCE:
            request = produce("t", b"value")
            if version >= 13:
                request.topic_data[0].topic_id = topic_id
            return request
        case ApiKey.FETCH:
            asked = fetch("t", 0)
            if version >= 13:
                asked.topics[0].topic_id = topic_id
            if version >= 15:
                asked.replica_id = -1
            return asked
        case ApiKey.LIST_OFFSETS:
            partition = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=0)
            return ListOffsetsRequest(
                replica_id=-1, topics=[ListOffsetsRequest.ListOffsetsTopic(name="t", partitions=[partition])]
            )
        case ApiKey.METADATA:
            return metadata("t")
        case ApiKey.OFFSET_COMMIT:
            commit = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
            topic = OffsetCommitRequest.OffsetCommitRequestTopic(
                partitions=[commit], **(by_id if version >= 10 else name)
            )
            return OffsetCommitRequest(group_id="simple", generation_id_or_member_epoch=-1, topics=[topic])
        case ApiKey.OFFSET_FETCH:
            if version < 8:
                single = OffsetFetchRequest.OffsetFetchRequestTopic(name="t", partition_indexes=[0])
                return OffsetFetchRequest(group_id="simple", topics=[single])
            many = OffsetFetchRequest.OffsetFetchRequestTopics(
                partition_indexes=[0], **(by_id if version >= 10 else name)
            )
            return OffsetFetchRequest(
                groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="simple", topics=[many])]
            )
        case ApiKey.FIND_COORDINATOR:
            return FindCoordinatorRequest(coordinator_keys=["g"]) if version >= 4 else FindCoordinatorRequest(key="g")
        case ApiKey.JOIN_GROUP:
            protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")
            return JoinGroupRequest(
                group_id=f"join-{version}",
                session_timeout_ms=10_000,
                rebalance_timeout_ms=10_000 if version >= 1 else -1,
                protocol_type="consumer",
                protocols=[protocol],
            )
        case ApiKey.HEARTBEAT:
            return HeartbeatRequest(group_id="none", generation_id=1, member_id="m")
        case ApiKey.LEAVE_GROUP:
            if version >= 3:
                return LeaveGroupRequest(group_id="none", members=[LeaveGroupRequest.MemberIdentity(member_id="m")])
            return LeaveGroupRequest(group_id="none", member_id="m")
        case ApiKey.SYNC_GROUP:
            named = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
            return SyncGroupRequest(group_id="none", generation_id=1, member_id="m", **named)
        case ApiKey.DESCRIBE_GROUPS:
            return DescribeGroupsRequest(groups=["none"])
        case ApiKey.LIST_GROUPS:
            return ListGroupsRequest()
        case ApiKey.API_VERSIONS:
            return ApiVersionsRequest(client_software_name="tests", client_software_version="1.0")
        case ApiKey.CREATE_TOPICS:
            return CreateTopicsRequest(
                topics=[
                    CreateTopicsRequest.CreatableTopic(name=f"new-{version}", num_partitions=2, replication_factor=1)
                ]
            )
        case ApiKey.DELETE_TOPICS:
            if version >= 6:
                return DeleteTopicsRequest(topics=[DeleteTopicsRequest.DeleteTopicState(name="t")])
            return DeleteTopicsRequest(topic_names=["t"])
        case ApiKey.CREATE_PARTITIONS:
            more = CreatePartitionsRequest.CreatePartitionsTopic(name="t", count=20, assignments=None)
            return CreatePartitionsRequest(topics=[more], validate_only=True)
        case ApiKey.ALTER_REPLICA_LOG_DIRS:
            moved = AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic(name="t", partitions=[0])
            there = AlterReplicaLogDirsRequest.AlterReplicaLogDir(path="/nowhere", topics=[moved])
            return AlterReplicaLogDirsRequest(dirs=[there])
        case ApiKey.DESCRIBE_LOG_DIRS:
            return DescribeLogDirsRequest(topics=None)
        case ApiKey.ELECT_LEADERS:
            led = ElectLeadersRequest.TopicPartitions(topic="t", partitions=[0])
            return ElectLeadersRequest(topic_partitions=[led])
        case ApiKey.ALTER_PARTITION_REASSIGNMENTS:
            same = AlterPartitionReassignmentsRequest.ReassignablePartition(partition_index=0, replicas=[1])
            reassigned = AlterPartitionReassignmentsRequest.ReassignableTopic(name="t", partitions=[same])
            return AlterPartitionReassignmentsRequest(topics=[reassigned])
        case ApiKey.LIST_PARTITION_REASSIGNMENTS:
            return ListPartitionReassignmentsRequest()
        case ApiKey.DESCRIBE_QUORUM:
            quorum = DescribeQuorumRequest.TopicData(
                topic_name="__cluster_metadata", partitions=[DescribeQuorumRequest.PartitionData(partition_index=0)]
            )
            return DescribeQuorumRequest(topics=[quorum])
        case ApiKey.DESCRIBE_CLIENT_QUOTAS:
            return DescribeClientQuotasRequest()
        case ApiKey.ALTER_CLIENT_QUOTAS:
            limited = AlterClientQuotasRequest.EntityData(entity_type="client-id", entity_name="slow")
            op = AlterClientQuotasRequest.OpData(key="producer_byte_rate", value=1e6)
            return AlterClientQuotasRequest(entries=[AlterClientQuotasRequest.EntryData(entity=[limited], ops=[op])])
        case ApiKey.UNREGISTER_BROKER:
            return UnregisterBrokerRequest(broker_id=77)
        case ApiKey.GET_TELEMETRY_SUBSCRIPTIONS:
            return GetTelemetrySubscriptionsRequest()
        case ApiKey.PUSH_TELEMETRY:
            return PushTelemetryRequest(client_instance_id=topic_id, subscription_id=1)
        case ApiKey.DESCRIBE_TOPIC_PARTITIONS:
            return DescribeTopicPartitionsRequest(topics=[DescribeTopicPartitionsRequest.TopicRequest(name="t")])
        case ApiKey.DELETE_RECORDS:
            low = DeleteRecordsRequest.DeleteRecordsPartition(partition_index=0, offset=0)
            return DeleteRecordsRequest(
                topics=[DeleteRecordsRequest.DeleteRecordsTopic(name="t", partitions=[low])], timeout_ms=1000
            )
        case ApiKey.OFFSET_FOR_LEADER_EPOCH:
            epoch = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(partition=0, leader_epoch=0)
            return OffsetForLeaderEpochRequest(
                topics=[OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic="t", partitions=[epoch])]
            )
        case ApiKey.INIT_PRODUCER_ID:
            return InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
        case ApiKey.DESCRIBE_CONFIGS:
            resource = DescribeConfigsRequest.DescribeConfigsResource
            topic_and_broker = [(2, "t"), (4, "1")]
            return DescribeConfigsRequest(
                include_synonyms=True,
                include_documentation=version >= 3,
                resources=[
                    resource(resource_type=kind, resource_name=name, configuration_keys=None)
                    for kind, name in topic_and_broker
                ],
            )
        case ApiKey.ALTER_CONFIGS:
            kept = AlterConfigsRequest.AlterableConfig(name="flush.ms", value="1000")
            replaced = AlterConfigsRequest.AlterConfigsResource(resource_type=2, resource_name="t", configs=[kept])
            return AlterConfigsRequest(resources=[replaced])
        case ApiKey.INCREMENTAL_ALTER_CONFIGS:
            unset = IncrementalAlterConfigsRequest.AlterableConfig(name="flush.ms", config_operation=1, value=None)
            altered = IncrementalAlterConfigsRequest.AlterConfigsResource(
                resource_type=2, resource_name="t", configs=[unset]
            )
            return IncrementalAlterConfigsRequest(resources=[altered])
        case ApiKey.LIST_CONFIG_RESOURCES:
            return ListConfigResourcesRequest()
        case ApiKey.CONSUMER_GROUP_HEARTBEAT:
            return ConsumerGroupHeartbeatRequest(
                group_id=f"consumers-{version}",
                member_id="m" if version >= 1 else "",
                rebalance_timeout_ms=10_000,
                subscribed_topic_names=["t"],
                topic_partitions=[],
            )
        case ApiKey.CONSUMER_GROUP_DESCRIBE:
            return ConsumerGroupDescribeRequest(group_ids=["none"], include_authorized_operations=True)
        case ApiKey.DELETE_GROUPS:
            return DeleteGroupsRequest(groups_names=["none"])
        case ApiKey.OFFSET_DELETE:
            return OffsetDeleteRequest(group_id="none")
        case ApiKey.TXN_OFFSET_COMMIT:
            pending = TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=1)
            of = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(
                partitions=[pending], **(by_id if version >= 6 else name)
            )
            return TxnOffsetCommitRequest(
                transactional_id="none", group_id="simple", producer_id=1, producer_epoch=0, topics=[of]
            )
        case ApiKey.ADD_PARTITIONS_TO_TXN:
            added = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="t", partitions=[0])
            if version < 4:
                return AddPartitionsToTxnRequest(
                    v3_and_below_transactional_id="none",
                    v3_and_below_producer_id=1,
                    v3_and_below_producer_epoch=0,
                    v3_and_below_topics=[added],
                )
            one = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                transactional_id="none", producer_id=1, producer_epoch=0, verify_only=False, topics=[added]
            )
            return AddPartitionsToTxnRequest(transactions=[one])
        case ApiKey.ADD_OFFSETS_TO_TXN:
            return AddOffsetsToTxnRequest(transactional_id="none", producer_id=1, producer_epoch=0, group_id="simple")
        case ApiKey.END_TXN:
            return EndTxnRequest(transactional_id="none", producer_id=1, producer_epoch=0, committed=True)
        case ApiKey.DESCRIBE_TRANSACTIONS:
            return DescribeTransactionsRequest(transactional_ids=["none"])
        case ApiKey.LIST_TRANSACTIONS:
            return ListTransactionsRequest(transactional_id_pattern=".*" if version >= 2 else None)
        case ApiKey.UPDATE_FEATURES:
            updated = UpdateFeaturesRequest.FeatureUpdateKey(feature="transaction.version", max_version_level=2)
            return UpdateFeaturesRequest(feature_updates=[updated])
        case ApiKey.WRITE_TXN_MARKERS:
            marked = WriteTxnMarkersRequest.WritableTxnMarkerTopic(name="t", partition_indexes=[0])
            marker = WriteTxnMarkersRequest.WritableTxnMarker(producer_id=1, producer_epoch=0, topics=[marked])
            return WriteTxnMarkersRequest(markers=[marker])
        case ApiKey.DESCRIBE_PRODUCERS:
            described = DescribeProducersRequest.TopicRequest(name="t", partition_indexes=[0])
            return DescribeProducersRequest(topics=[described])
        case ApiKey.DESCRIBE_CLUSTER:
            return DescribeClusterRequest(include_cluster_authorized_operations=True)
    raise AssertionError(f"{API[key].name} is advertised, and nobody tests it here")


def error_codes(value: Any) -> set[int]:
    """All codes other than 0 in a response, at any depth."""
    found: set[int] = set()
    if isinstance(value, Struct):
        for field in type(value).FIELDS:
            inner = getattr(value, field)
            if field.endswith("error_code"):
                found.add(inner)
            else:
                found |= error_codes(inner)
    elif isinstance(value, list):
        for item in value:
            found |= error_codes(item)
    return found - {0}


@pytest.mark.parametrize(("key", "version"), EVERY, ids=[f"{API[k].name}-v{v}" for k, v in EVERY])
async def test_a_plain_request_is_answered(running: Running, key: int, version: int) -> None:
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"before"), 9)
        topic_id = running.broker.cluster.topics["t"].id
        with trio.fail_after(60):
            response = await client.ask(request_for(key, version, topic_id), version)
        allowed = EXPECTED.get(ApiKey(key), set())
        assert error_codes(response) <= allowed, response
    assert "request failed" not in running.log_text


@pytest.mark.parametrize(("key", "version"), EVERY, ids=[f"{API[k].name}-v{v}" for k, v in EVERY])
def test_an_error_of_the_whole_request_can_be_said(key: int, version: int) -> None:
    """What the gate answers when a handler fails must fit every version, and carry the code where it can."""
    request = request_for(key, version, bytes(range(16)))
    asked = type(request).decode(request.encode(version), version)
    response = handlers[key].error(asked, version, ErrorCode.KAFKA_STORAGE_ERROR)
    decoded = API[key].response.decode(response.encode(version), version)
    assert error_codes(decoded) == {ErrorCode.KAFKA_STORAGE_ERROR}


async def test_what_is_advertised_is_what_is_served(running: Running) -> None:
    async with await running.client() as client:
        response = await client.ask(ApiVersionsRequest(client_software_name="tests", client_software_version="1.0"), 4)
    listed = {key.api_key: (key.min_version, key.max_version) for key in response.api_keys}
    served = {key: (h.min_version, h.max_version) for key, h in handlers.items()}
    served[ApiKey.PRODUCE] = (0, served[ApiKey.PRODUCE][1])  # refused, yet listed, for old librdkafka
    for key in (ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, ApiKey.PUSH_TELEMETRY):  # listed while somebody wants metrics
        del served[key]
    assert listed == served
