"""CreateDelegationToken, api key 38, versions 1-3, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class CreateDelegationTokenRequest(Message):
    """Changes by version.

    v2: flexible
    v3: +owner_principal_type, +owner_principal_name
    """

    KEY = 38
    VALID = (1, 3)
    FLEXIBLE = 2

    owner_principal_type: str | None = field("3+", nullable="3+")
    owner_principal_name: str | None = field("3+", nullable="3+")
    renewers: list[CreatableRenewers] = field("0+")
    max_lifetime_ms: Int64 = field("0+")

    class CreatableRenewers(Struct):
        principal_type: str = field("0+")
        principal_name: str = field("0+")


class CreateDelegationTokenResponse(Message):
    """Changes by version.

    v2: flexible
    v3: +token_requester_principal_type, +token_requester_principal_name
    """

    KEY = 38
    VALID = (1, 3)
    FLEXIBLE = 2

    error_code: Int16 = field("0+")
    principal_type: str = field("0+")
    principal_name: str = field("0+")
    token_requester_principal_type: str = field("3+")
    token_requester_principal_name: str = field("3+")
    issue_timestamp_ms: Int64 = field("0+")
    expiry_timestamp_ms: Int64 = field("0+")
    max_timestamp_ms: Int64 = field("0+")
    token_id: str = field("0+")
    hmac: bytes = field("0+")
    throttle_time_ms: Int32 = field("0+")
