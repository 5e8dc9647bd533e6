"""DescribeCluster (60), v0-2: the nodes and the controller. KIP-700, KIP-919 (endpoint types), KIP-1073 (fenced
brokers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.broker.handlers.metadata import CLUSTER_OPERATIONS, NOT_ASKED
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

BROKERS, CONTROLLERS = 1, 2
_WHY = {
    ErrorCode.MISMATCHED_ENDPOINT_TYPE: "this is a broker's listener, ask for endpoint type 1",
    ErrorCode.UNSUPPORTED_ENDPOINT_TYPE: "the endpoint type must be 1 (brokers) or 2 (controllers)",
}


def handle(broker: Broker, context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    cluster = broker.cluster
    if request.endpoint_type == CONTROLLERS:
        return error(request, context.api_version, ErrorCode.MISMATCHED_ENDPOINT_TYPE)
    if request.endpoint_type != BROKERS:
        return error(request, context.api_version, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)
    brokers = []
    for node in cluster.nodes.values() if request.include_fenced_brokers else cluster.live_nodes:
        host, port = node.endpoint(context.connection)
        brokers.append(
            DescribeClusterResponse.DescribeClusterBroker(
                broker_id=node.id, host=host, port=port, rack=node.rack, is_fenced=not node.is_up
            )
        )
    return DescribeClusterResponse(
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller_id,
        brokers=brokers,
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


def error(request: DescribeClusterRequest, version: int, code: ErrorCode) -> DescribeClusterResponse:
    return DescribeClusterResponse(error_code=code, error_message=_WHY.get(code))
