"""Metadata (3), v0-13: nodes, topics, partitions and their leaders; creates missing topics when asked. KIP-516
(topic ids).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.names import name_fault
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from ottla.wire.schema import ZERO_UUID

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.cluster import Cluster, Topic
    from ottla.broker.dispatch import Context

TopicResponse = MetadataResponse.MetadataResponseTopic
PartitionResponse = MetadataResponse.MetadataResponsePartition

# Bit sets of what an unauthenticated client may do without an authorizer (1 << operation code).
TOPIC_OPERATIONS = 3576
CLUSTER_OPERATIONS = 8096
NOT_ASKED = -(1 << 31)


def handle(broker: Broker, context: Context, request: MetadataRequest) -> MetadataResponse:
    version = context.api_version
    cluster = broker.cluster
    wanted = request.topics
    operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED
    if wanted is None or (version == 0 and not wanted):
        topics = [_describe(cluster, topic, operations) for topic in cluster.topics.values()]
    else:
        if version < 12 and any(topic.name is None or topic.topic_id != ZERO_UUID for topic in wanted):
            return error(request, version, ErrorCode.INVALID_REQUEST)
        if any(topic.name is None and topic.topic_id == ZERO_UUID for topic in wanted):
            return error(request, version, ErrorCode.INVALID_REQUEST)
        ids = [topic.topic_id for topic in wanted if topic.topic_id != ZERO_UUID]
        if ids:  # names are ignored then
            topics = [_by_id(broker, topic_id, operations) for topic_id in dict.fromkeys(ids)]
        else:
            create = broker.config.auto_create_topics_enable and (version < 4 or request.allow_auto_topic_creation)
            names = dict.fromkeys(topic.name for topic in wanted if topic.name is not None)
            topics = [_by_name(broker, context, name, create, operations) for name in names]
    brokers = []
    for node in cluster.live_nodes:
        host, port = node.endpoint(context.connection)
        brokers.append(MetadataResponse.MetadataResponseBroker(node_id=node.id, host=host, port=port, rack=node.rack))
    cluster_operations = NOT_ASKED
    if 8 <= version <= 10 and request.include_cluster_authorized_operations:
        cluster_operations = CLUSTER_OPERATIONS
    return MetadataResponse(
        brokers=brokers,
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller_id,
        topics=topics,
        cluster_authorized_operations=cluster_operations,
    )


def error(request: MetadataRequest, version: int, code: ErrorCode) -> MetadataResponse:
    topics = [
        # A null name may only be sent back from v12 on; Kafka says "" at every version.
        TopicResponse(error_code=code, name=topic.name or "", topic_id=topic.topic_id)
        for topic in request.topics or ()
    ]
    return MetadataResponse(topics=topics, error_code=code if version >= 13 else 0)


def _by_id(broker: Broker, topic_id: bytes, operations: int) -> TopicResponse:
    topic = broker.cluster.topics_by_id.get(topic_id)
    if topic is None:
        return TopicResponse(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)
    return _describe(broker.cluster, topic, operations)


def _by_name(broker: Broker, context: Context, name: str, create: bool, operations: int) -> TopicResponse:
    topic = broker.cluster.topics.get(name)
    if topic is None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if name_fault(name) is None else ErrorCode.INVALID_TOPIC_EXCEPTION
        if create and code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            # Kafka answers UNKNOWN_TOPIC_OR_PARTITION while it creates; here the topic is there at once.
            try:
                topic = broker.metadata.auto_create(name)
                broker.log.info("topic created", topic=name, partitions=len(topic.partitions), by=context.client_id)
            except KafkaError as failure:
                code = failure.code
        if topic is None:
            return TopicResponse(error_code=code, name=name, topic_authorized_operations=operations)
    return _describe(broker.cluster, topic, operations)


def _describe(cluster: Cluster, topic: Topic, operations: int) -> TopicResponse:
    return TopicResponse(
        error_code=0,
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.internal,
        partitions=[
            PartitionResponse(
                error_code=ErrorCode.NONE if partition.leader >= 0 else ErrorCode.LEADER_NOT_AVAILABLE,
                partition_index=partition.index,
                leader_id=partition.leader,
                leader_epoch=partition.leader_epoch,
                replica_nodes=partition.replicas,
                isr_nodes=partition.isr,
                offline_replicas=cluster.offline(partition.replicas),
            )
            for partition in topic.partitions
        ],
        topic_authorized_operations=operations,
    )
