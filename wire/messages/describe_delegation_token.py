"""DescribeDelegationToken, api key 41, versions 1-3, flexible from 2. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int16, Int32, Int64, Message, Struct, field


class DescribeDelegationTokenRequest(Message):
    """Changes by version.

    v2: flexible
    """

    KEY = 41
    VALID = (1, 3)
    FLEXIBLE = 2

    owners: list[DescribeDelegationTokenOwner] | None = field("0+", nullable="0+")

    class DescribeDelegationTokenOwner(Struct):
        principal_type: str = field("0+")
        principal_name: str = field("0+")


class DescribeDelegationTokenResponse(Message):
    """Changes by version.

    v2: flexible
    v3: +DescribedDelegationToken.token_requester_principal_type,
        +DescribedDelegationToken.token_requester_principal_name
    """

    KEY = 41
    VALID = (1, 3)
    FLEXIBLE = 2

    error_code: Int16 = field("0+")
    tokens: list[DescribedDelegationToken] = field("0+")
    throttle_time_ms: Int32 = field("0+")

    class DescribedDelegationToken(Struct):
        principal_type: str = field("0+")
        principal_name: str = field("0+")
        token_requester_principal_type: str = field("3+")
        token_requester_principal_name: str = field("3+")
        issue_timestamp: Int64 = field("0+")
        expiry_timestamp: Int64 = field("0+")
        max_timestamp: Int64 = field("0+")
        token_id: str = field("0+")
        hmac: bytes = field("0+")
        renewers: list[DescribeDelegationTokenResponse.DescribedDelegationTokenRenewer] = field("0+")

    class DescribedDelegationTokenRenewer(Struct):
        principal_type: str = field("0+")
        principal_name: str = field("0+")
