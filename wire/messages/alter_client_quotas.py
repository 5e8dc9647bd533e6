"""AlterClientQuotas, api key 49, versions 0-1, flexible from 1. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Float64, Int16, Int32, Message, Struct, field


class AlterClientQuotasRequest(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 49
    VALID = (0, 1)
    FLEXIBLE = 1

    entries: list[EntryData] = field("0+")
    validate_only: bool = field("0+")

    class EntryData(Struct):
        entity: list[AlterClientQuotasRequest.EntityData] = field("0+")
        ops: list[AlterClientQuotasRequest.OpData] = field("0+")

    class EntityData(Struct):
        entity_type: str = field("0+")
        entity_name: str | None = field("0+", nullable="0+")

    class OpData(Struct):
        key: str = field("0+")
        value: Float64 = field("0+")
        remove: bool = field("0+")


class AlterClientQuotasResponse(Message):
    """Changes by version.

    v1: flexible
    """

    KEY = 49
    VALID = (0, 1)
    FLEXIBLE = 1

    throttle_time_ms: Int32 = field("0+")
    entries: list[EntryData] = field("0+")

    class EntryData(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        entity: list[AlterClientQuotasResponse.EntityData] = field("0+")

    class EntityData(Struct):
        entity_type: str = field("0+")
        entity_name: str | None = field("0+", nullable="0+")
