"""DescribeClientQuotas, api key 48, versions 0-1, flexible from 1. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Float64, Int8, Int16, Int32, Message, Struct, field


class DescribeClientQuotasRequest(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 48
    VALID = (0, 1)
    FLEXIBLE = 1

    components: list[ComponentData] = field("0+")
    strict: bool = field("0+")

    class ComponentData(Struct):
        entity_type: str = field("0+")
        match_type: Int8 = field("0+")
        match: str | None = field("0+", nullable="0+")


class DescribeClientQuotasResponse(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 48
    VALID = (0, 1)
    FLEXIBLE = 1

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    entries: list[EntryData] | None = field("0+", nullable="0+")

    class EntryData(Struct):
        entity: list[DescribeClientQuotasResponse.EntityData] = field("0+")
        values: list[DescribeClientQuotasResponse.ValueData] = field("0+")

    class EntityData(Struct):
        entity_type: str = field("0+")
        entity_name: str | None = field("0+", nullable="0+")

    class ValueData(Struct):
        key: str = field("0+")
        value: Float64 = field("0+")
