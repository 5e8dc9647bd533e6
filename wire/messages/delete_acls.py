"""DeleteAcls, api key 31, versions 1-3, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class DeleteAclsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 31
    VALID = (1, 3)
    FLEXIBLE = 2

    filters: list[DeleteAclsFilter] = field("0+")

    class DeleteAclsFilter(Struct):
        resource_type_filter: Int8 = field("0+")
        resource_name_filter: str | None = field("0+", nullable="0+")
        pattern_type_filter: Int8 = field("1+", default=3)
        principal_filter: str | None = field("0+", nullable="0+")
        host_filter: str | None = field("0+", nullable="0+")
        operation: Int8 = field("0+")
        permission_type: Int8 = field("0+")


class DeleteAclsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 31
    VALID = (1, 3)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    filter_results: list[DeleteAclsFilterResult] = field("0+")

    class DeleteAclsFilterResult(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        matching_acls: list[DeleteAclsResponse.DeleteAclsMatchingAcl] = field("0+")

    class DeleteAclsMatchingAcl(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        pattern_type: Int8 = field("1+", default=3)
        principal: str = field("0+")
        host: str = field("0+")
        operation: Int8 = field("0+")
        permission_type: Int8 = field("0+")
