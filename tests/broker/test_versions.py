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
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.delete_records import DeleteRecordsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.describe_cluster import DescribeClusterRequest
from ottla.wire.messages.describe_configs import DescribeConfigsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.offset_commit import OffsetCommitRequest
from ottla.wire.messages.offset_delete import OffsetDeleteRequest
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.schema import Message, Struct
from tests.broker.conftest import Running
from tests.broker.test_connection import METADATA, fetch, metadata, produce

EVERY = [(key, version) for key, h in sorted(handlers.items()) for version in range(h.min_version, h.max_version + 1)]
# Requests about members and groups that are not there: this is the right answer to them.
EXPECTED = {
    ApiKey.HEARTBEAT: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.SYNC_GROUP: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.LEAVE_GROUP: {ErrorCode.UNKNOWN_MEMBER_ID},
    ApiKey.JOIN_GROUP: {ErrorCode.MEMBER_ID_REQUIRED},
    ApiKey.DESCRIBE_GROUPS: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.DELETE_GROUPS: {ErrorCode.GROUP_ID_NOT_FOUND},
    ApiKey.OFFSET_DELETE: {ErrorCode.GROUP_ID_NOT_FOUND},
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
        case ApiKey.DELETE_GROUPS:
            return DeleteGroupsRequest(groups_names=["none"])
        case ApiKey.OFFSET_DELETE:
            return OffsetDeleteRequest(group_id="none")
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
        with trio.fail_after(5):
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
    assert listed == served
    assert not response.finalized_features
    assert response.finalized_features_epoch == 0


async def test_a_feature_has_the_level_that_the_handlers_carry(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ApiVersionsRequest(client_software_name="tests", client_software_version="1.0")
    for key in (ApiKey.CONSUMER_GROUP_HEARTBEAT, ApiKey.CONSUMER_GROUP_DESCRIBE):
        monkeypatch.setitem(handlers, key, handlers[ApiKey.HEARTBEAT])
    async with await running.client() as client:
        new = await client.ask(asked, 4)
        old = await client.ask(asked, 3)
    assert [(each.name, each.max_version_level) for each in new.finalized_features] == [("group.version", 1)]
    assert [(each.name, each.min_version, each.max_version) for each in new.supported_features] == [
        ("group.version", 0, 1)
    ]
    assert not old.supported_features, "a minimum of 0 breaks older clients"
