"""DescribeConfigs, api key 32, versions 1-4, flexible from 4. Sent by admin clients, Connect."""

from __future__ import annotations

from ottla.wire.schema import Int8, Int16, Int32, Message, Struct, field


class DescribeConfigsRequest(Message):
    """Changes by version.

    v3: +include_documentation
    v4: flexible
    """

    KEY = 32
    VALID = (1, 4)
    FLEXIBLE = 4

    resources: list[DescribeConfigsResource] = field("0+")
    include_synonyms: bool = field("1+")
    include_documentation: bool = field("3+")

    class DescribeConfigsResource(Struct):
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        configuration_keys: list[str] | None = field("0+", nullable="0+")


class DescribeConfigsResponse(Message):
    """Changes by version.

    v3: +DescribeConfigsResourceResult.config_type, +DescribeConfigsResourceResult.documentation
    v4: flexible
    """

    KEY = 32
    VALID = (1, 4)
    FLEXIBLE = 4

    throttle_time_ms: Int32 = field("0+")
    results: list[DescribeConfigsResult] = field("0+")

    class DescribeConfigsResult(Struct):
        error_code: Int16 = field("0+")
        error_message: str | None = field("0+", nullable="0+")
        resource_type: Int8 = field("0+")
        resource_name: str = field("0+")
        configs: list[DescribeConfigsResponse.DescribeConfigsResourceResult] = field("0+")

    class DescribeConfigsResourceResult(Struct):
        name: str = field("0+")
        value: str | None = field("0+", nullable="0+")
        read_only: bool = field("0+")
        config_source: Int8 = field("1+", default=-1, ignorable=True)
        is_sensitive: bool = field("0+")
        synonyms: list[DescribeConfigsResponse.DescribeConfigsSynonym] = field("1+", ignorable=True)
        config_type: Int8 = field("3+", ignorable=True)
        documentation: str | None = field("3+", nullable="0+", ignorable=True)

    class DescribeConfigsSynonym(Struct):
        name: str = field("1+")
        value: str | None = field("1+", nullable="0+")
        source: Int8 = field("1+")
