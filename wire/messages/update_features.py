"""UpdateFeatures, api key 57, versions 0-2, flexible from 0. Sent by admin clients."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class UpdateFeaturesRequest(Message):
    """Changes by version.

    v1: +validate_only, -FeatureUpdateKey.allow_downgrade, +FeatureUpdateKey.upgrade_type
    """

    KEY = 57
    VALID = (0, 2)
    FLEXIBLE = 0

    timeout_ms: Int32 = field("0+", default=60000)
    feature_updates: list[FeatureUpdateKey] = field("0+")
    validate_only: bool = field("1+")

    class FeatureUpdateKey(Struct):
        feature: str = field("0+")
        max_version_level: Int16 = field("0+")
        allow_downgrade: bool = field("0")
        upgrade_type: Int8 = field("1+", default=1)


class UpdateFeaturesResponse(Message):
    """Changes by version.

    v2: -results
    """

    KEY = 57
    VALID = (0, 2)
    FLEXIBLE = 0

    throttle_time_ms: Int32 = field("0+")
    error_code: Int16 = field("0+")
    error_message: str | None = field("0+", nullable="0+")
    results: list[UpdatableFeatureResult] = field("0-1", ignorable=True)

    class UpdatableFeatureResult(Struct):
        feature: str = field("0+")
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
