"""CreateAcls, api key 30, versions 1-3, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class CreateAclsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 30
    VALID = (1, 3)
    FLEXIBLE = 2

    creations: list[AclCreation] = field("0+")

    class AclCreation(Struct):
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        resource_pattern_type: Int8 = field("1+", default=3)
        principal: str = field("0+")
        host: str = field("0+")
        operation: Int8 = field("0+")
        permission_type: Int8 = field("0+")


class CreateAclsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 30
    VALID = (1, 3)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    results: list[AclCreationResult] = field("0+")

    class AclCreationResult(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
