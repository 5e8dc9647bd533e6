"""FindCoordinator, api key 10, versions 0-6, flexible from 3. Sent by consumers, transactional producers."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class FindCoordinatorRequest(Message):
    """Changes by version.

    v1: +key_type
    v3: flexible
    v4: -key, +coordinator_keys
    """

    KEY = 10
    VALID = (0, 6)
    FLEXIBLE = 3

    key: str = field("0-3")
    key_type: Int8 = field("1+")
    coordinator_keys: list[str] = field("4+")


class FindCoordinatorResponse(Message):
    """Changes by version.

    v1: +throttle_time_ms, +error_message
    v3: flexible
    v4: -error_code, -error_message, -node_id, -host, -port, +coordinators
    """

    KEY = 10
    VALID = (0, 6)
    FLEXIBLE = 3

    throttle_time_ms: Int32 = field("1+", ignorable=True)
    error_code: Int16 = field("0-3")
    error_message: str | None = field("1-3", nullable="1-3", ignorable=True)
    node_id: Int32 = field("0-3")
    host: str = field("0-3")
    port: Int32 = field("0-3")
    coordinators: list[Coordinator] = field("4+")

    class Coordinator(Struct):
        key: str = field("4+")
        node_id: Int32 = field("4+")
        host: str = field("4+")
        port: Int32 = field("4+")
        error_code: Int16 = field("4+")
        error_message: str | None = field("4+", nullable="4+", ignorable=True)
