"""ApiVersions, api key 18, versions 0-5, flexible from 3. Sent by every client, first call."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class ApiVersionsRequest(Message):
    """Changes by version.

    v3: +client_software_name, +client_software_version, flexible
    v5: +cluster_id, +node_id
    """

    KEY = 18
    VALID = (0, 5)
    FLEXIBLE = 3

    client_software_name: str = field("3+", ignorable=True)
    client_software_version: str = field("3+", ignorable=True)
    cluster_id: str | None = field("5+", nullable="5+", default=None, ignorable=True)
    node_id: Int32 = field("5+", default=-1, ignorable=True)


class ApiVersionsResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms
    v3: +supported_features, +finalized_features_epoch, +finalized_features, +zk_migration_ready, flexible
    """

    KEY = 18
    VALID = (0, 5)
    FLEXIBLE = 3

    error_code: Int16 = field("0+")
    api_keys: list[ApiVersion] = field("0+")
    throttle_time_ms: Int32 = field("1+", ignorable=True)
    supported_features: list[SupportedFeatureKey] = field("3+", tag=0, tagged="3+", ignorable=True)
    finalized_features_epoch: Int64 = field("3+", tag=1, tagged="3+", default=-1, ignorable=True)
    finalized_features: list[FinalizedFeatureKey] = field("3+", tag=2, tagged="3+", ignorable=True)
    zk_migration_ready: bool = field("3+", tag=3, tagged="3+", ignorable=True)

    class ApiVersion(Struct):
        api_key: Int16 = field("0+")
        min_version: Int16 = field("0+")
        max_version: Int16 = field("0+")

    class SupportedFeatureKey(Struct):
        name: str = field("3+")
        min_version: Int16 = field("3+")
        max_version: Int16 = field("3+")

    class FinalizedFeatureKey(Struct):
        name: str = field("3+")
        max_version_level: Int16 = field("3+")
        min_version_level: Int16 = field("3+")
