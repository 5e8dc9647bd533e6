"""ListConfigResources, api key 74, versions 0-1, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class ListConfigResourcesRequest(Message):
    """Changes by version.

    v1: +resource_types
    """

    KEY = 74
    VALID = (0, 1)
    FLEXIBLE = 0

    resource_types: list[Int8] = field("1+")


class ListConfigResourcesResponse(Message):
    """Changes by version.

    v1: +ConfigResource.resource_type
    """

    KEY = 74
    VALID = (0, 1)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    config_resources: list[ConfigResource] = field("0+")

    class ConfigResource(Struct):
        resource_name: str = field("0+")
        resource_type: Int8 = field("1+", default=16, ignorable=True)
