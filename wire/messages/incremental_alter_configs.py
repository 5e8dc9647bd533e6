"""IncrementalAlterConfigs, api key 44, versions 0-1, flexible from 1. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class IncrementalAlterConfigsRequest(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 44
    VALID = (0, 1)
    FLEXIBLE = 1

    resources: list[AlterConfigsResource] = field("0+")
    validate_only: bool = field("0+")

    class AlterConfigsResource(Struct):
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        configs: list[IncrementalAlterConfigsRequest.AlterableConfig] = field("0+")

    class AlterableConfig(Struct):
        name: str = field("0+")
        config_operation: Int8 = field("0+")
        value: str | None = field("0+", nullable="0+")


class IncrementalAlterConfigsResponse(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 44
    VALID = (0, 1)
    FLEXIBLE = 1

    throttle_time_ms: Int32 = field("0+")
    responses: list[AlterConfigsResourceResponse] = field("0+")

    class AlterConfigsResourceResponse(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
