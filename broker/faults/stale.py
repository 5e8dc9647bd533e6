"""Metadata as it was once: what a `stale` fault keeps of the cluster, and the answer that it makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.handlers.metadata import CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS, described
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from ottla.wire.schema import ZERO_UUID

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster
    from ottla.broker.dispatch import Context

BrokerResponse = MetadataResponse.MetadataResponseBroker
TopicResponse = MetadataResponse.MetadataResponseTopic


class StaleMetadata:
    """What Metadata said of `cluster` when this was made. Where nodes are reached never changes."""

    __slots__ = ("_by_id", "_by_name", "_cluster", "_controller_id", "_live")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._controller_id = cluster.controller_id
        self._live = [node.id for node in cluster.live_nodes]
        self._by_name = {topic.name: described(cluster, topic) for topic in cluster.topics.values()}
        self._by_id = {topic.topic_id: topic for topic in self._by_name.values()}

    def answer(self, context: Context, request: MetadataRequest) -> MetadataResponse:
        """What a request would have been told; it creates nothing."""
        version = context.api_version
        operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED
        if request.topics is None or (version == 0 and not request.topics):
            found = list(self._by_name.values())
        else:
            found = [self._find(topic) for topic in request.topics]
        topics = []
        for topic in found:
            # Each answer has rows of its own: others at the gate may write into them.
            topics.append(
                TopicResponse(
                    error_code=topic.error_code,
                    name=topic.name,
                    topic_id=topic.topic_id,
                    is_internal=topic.is_internal,
                    partitions=list(topic.partitions),
                    topic_authorized_operations=operations if topic.partitions else NOT_ASKED,
                )
            )
        brokers = []
        for node_id in self._live:
            node = self._cluster.nodes[node_id]
            host, port = node.endpoint(context.connection)
            brokers.append(BrokerResponse(node_id=node.id, host=host, port=port, rack=node.rack))
        of_cluster = 8 <= version <= 10 and request.include_cluster_authorized_operations
        return MetadataResponse(
            brokers=brokers,
            cluster_id=self._cluster.cluster_id,
            controller_id=self._controller_id,
            topics=topics,
            cluster_authorized_operations=CLUSTER_OPERATIONS if of_cluster else NOT_ASKED,
        )

    def _find(self, wanted: MetadataRequest.MetadataRequestTopic) -> TopicResponse:
        if wanted.topic_id != ZERO_UUID:
            by_id = self._by_id.get(wanted.topic_id)
            return by_id or TopicResponse(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=wanted.topic_id)
        name = wanted.name or ""
        return self._by_name.get(name) or TopicResponse(error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name=name)
