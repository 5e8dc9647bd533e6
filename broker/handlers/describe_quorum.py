"""DescribeQuorum (55), v0-2: who keeps the metadata log, and how far it goes. KIP-595, KIP-836, KIP-853.

The one process is the quorum: it is leader and only voter, and is always caught up with itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.cluster import METADATA_TOPIC
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_quorum import DescribeQuorumRequest, DescribeQuorumResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

TopicData = DescribeQuorumResponse.TopicData
PartitionData = DescribeQuorumResponse.PartitionData


def handle(broker: Broker, context: Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    asked = {(topic.topic_name, each.partition_index) for topic in request.topics for each in topic.partitions}
    if asked != {(METADATA_TOPIC, 0)}:
        return _refused(request, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    metadata, cluster = broker.metadata, broker.cluster
    now_ms = broker.clock.wall_ms()
    voter = DescribeQuorumResponse.ReplicaState(
        replica_id=cluster.controller_id,
        log_end_offset=metadata.log_end_offset,
        last_fetch_timestamp=now_ms,
        last_caught_up_timestamp=now_ms,
    )
    partition = PartitionData(
        error_message="",
        leader_id=cluster.controller_id,
        leader_epoch=0,
        high_watermark=metadata.log_end_offset,
        current_voters=[voter],
        observers=[],
    )
    response = DescribeQuorumResponse(
        error_message="", topics=[TopicData(topic_name=METADATA_TOPIC, partitions=[partition])], nodes=[]
    )
    if context.api_version >= 2:  # nobody sees them before
        host, port = cluster.nodes[cluster.controller_id].endpoint(context.connection)
        listener = DescribeQuorumResponse.Listener(name="CONTROLLER", host=host, port=port)
        response.nodes = [DescribeQuorumResponse.Node(node_id=cluster.controller_id, listeners=[listener])]
    return response


def error(request: DescribeQuorumRequest, version: int, code: ErrorCode) -> DescribeQuorumResponse:
    return DescribeQuorumResponse(error_code=code)


def _refused(request: DescribeQuorumRequest, code: ErrorCode) -> DescribeQuorumResponse:
    """The code with each partition that was asked for."""
    return DescribeQuorumResponse(
        error_message="",
        topics=[
            TopicData(
                topic_name=topic.topic_name,
                partitions=[
                    PartitionData(partition_index=each.partition_index, error_code=code) for each in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
