"""ApiVersions (18), v0-5: what this broker serves, computed from the table of handlers. KIP-35, KIP-511, KIP-584."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.broker.features import finalized, supported
from ottla.broker.handlers import handlers
from ottla.wire.apis import ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.dispatch import Context

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
# Produce 0-2 are refused, yet listed: librdkafka before 1.x does not believe in the protocol otherwise (KAFKA-18659).
# Announced only while somebody wants metrics: clients that hear of them ask at once and every five minutes. A stock
# Kafka does not announce them either (it needs a receiver), and answers them all the same.
_TELEMETRY = (ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, ApiKey.PUSH_TELEMETRY)
_LISTED_FROM = {ApiKey.PRODUCE: 0}


def handle(broker: Broker, context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse:
    version = context.api_version
    if version >= 3 and not (
        _SOFTWARE.fullmatch(request.client_software_name) and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
    if version >= 5:
        code = _addressee_fault(broker, context, request)
        if code is not None:
            return ApiVersionsResponse(error_code=code)
    if version >= 3:
        context.connection.software = (request.client_software_name, request.client_software_version)
    return ApiVersionsResponse(
        api_keys=[_entry(key) for key in sorted(handlers) if key not in _TELEMETRY or broker.wants_client_metrics],
        # All of them begin at level 0, which clients before v4 choke on.
        supported_features=[
            ApiVersionsResponse.SupportedFeatureKey(name=name, min_version=0, max_version=level)
            for name, level in supported().items()
            if version >= 4
        ],
        # Clients believe the levels of the highest epoch that they have seen.
        finalized_features_epoch=broker.metadata.end_offset,
        finalized_features=[
            ApiVersionsResponse.FinalizedFeatureKey(name=name, min_version_level=level, max_version_level=level)
            for name, level in finalized(broker.cluster).items()
            if level  # as in Kafka, level 0 is that of a feature which is off
        ],
    )


def error(request: ApiVersionsRequest | None, version: int, code: ErrorCode) -> ApiVersionsResponse:
    """With UNSUPPORTED_VERSION the list holds ApiVersions alone, so that the client can come back lower."""
    keys = [_entry(ApiKey.API_VERSIONS)] if code == ErrorCode.UNSUPPORTED_VERSION else []
    return ApiVersionsResponse(error_code=code, api_keys=keys)


def _entry(key: int) -> ApiVersionsResponse.ApiVersion:
    handler = handlers[key]
    return ApiVersionsResponse.ApiVersion(
        api_key=key, min_version=_LISTED_FROM.get(handler.key, handler.min_version), max_version=handler.max_version
    )


def _addressee_fault(broker: Broker, context: Context, request: ApiVersionsRequest) -> ErrorCode | None:
    """v5: a client may say which broker it believes to talk to (KIP-1242); both or neither."""
    has_cluster, has_node = request.cluster_id is not None, request.node_id >= 0
    if has_cluster != has_node:
        return ErrorCode.INVALID_REQUEST
    if has_cluster and (request.cluster_id != broker.cluster.cluster_id or request.node_id != context.node.id):
        return ErrorCode.REBOOTSTRAP_REQUIRED
    return None
