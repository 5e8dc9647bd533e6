"""DescribeUserScramCredentials, api key 50, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class DescribeUserScramCredentialsRequest(Message):
    """One version."""

    KEY = 50
    VALID = (0, 0)
    FLEXIBLE = 0

    users: list[UserName] | None = field("0+", nullable="0+")

    class UserName(Struct):
        name: str = field("0+")


class DescribeUserScramCredentialsResponse(Message):
    """One version."""

    KEY = 50
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    results: list[DescribeUserScramCredentialsResult] = field("0+")

    class DescribeUserScramCredentialsResult(Struct):
        user: str = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        credential_infos: list[DescribeUserScramCredentialsResponse.CredentialInfo] = field("0+")

    class CredentialInfo(Struct):
        mechanism: Int8 = field("0+")
        iterations: Int32 = field("0+")
