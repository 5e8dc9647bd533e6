"""AlterConfigs, api key 33, versions 0-2, flexible from 2. Sent by older admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class AlterConfigsRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 33
    VALID = (0, 2)
    FLEXIBLE = 2

    resources: list[AlterConfigsResource] = field("0+")
    validate_only: bool = field("0+")

    class AlterConfigsResource(Struct):
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        configs: list[AlterConfigsRequest.AlterableConfig] = field("0+")

    class AlterableConfig(Struct):
        name: str = field("0+")
        value: str | None = field("0+", nullable="0+")


class AlterConfigsResponse(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 33
    VALID = (0, 2)
    FLEXIBLE = 2

    throttle_time_ms: Int32 = field("0+")
    responses: list[AlterConfigsResourceResponse] = field("0+")

    class AlterConfigsResourceResponse(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
