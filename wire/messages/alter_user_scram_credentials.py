"""AlterUserScramCredentials, api key 51, version 0, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class AlterUserScramCredentialsRequest(Message):
    """One version."""

    KEY = 51
    VALID = (0, 0)
    FLEXIBLE = 0

    deletions: list[ScramCredentialDeletion] = field("0+")
    upsertions: list[ScramCredentialUpsertion] = field("0+")

    class ScramCredentialDeletion(Struct):
        name: str = field("0+")
        mechanism: Int8 = field("0+")

    class ScramCredentialUpsertion(Struct):
        name: str = field("0+")
        mechanism: Int8 = field("0+")
        iterations: Int32 = field("0+")
        salt: bytes = field("0+")
        salted_password: bytes = field("0+")


class AlterUserScramCredentialsResponse(Message):
    """One version."""

    KEY = 51
    VALID = (0, 0)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    results: list[AlterUserScramCredentialsResult] = field("0+")

    class AlterUserScramCredentialsResult(Struct):
        user: str = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
