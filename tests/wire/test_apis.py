"""The table of APIs against the classes that it names."""

import pytest

from ottla.wire.apis import API, ApiKey, request_header_version, response_header_version


def test_the_table_holds_what_a_broker_listener_meets():
    assert len(API) == len(ApiKey) == 79
    assert all(spec.key == key for key, spec in API.items())
    assert not API.keys() & {4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82}


@pytest.mark.parametrize("spec", API.values(), ids=lambda spec: spec.name)
def test_classes_agree_with_the_table(spec):
    for cls in (spec.request, spec.response):
        assert spec.key == cls.KEY
        assert spec.flexible_from == cls.FLEXIBLE
        assert cls.VALID[0] == spec.min_version
        assert cls.VALID[1] - spec.max_version == (1 if spec.key == ApiKey.INIT_PRODUCER_ID else 0)
    assert (f"{spec.name}Request", f"{spec.name}Response") == (spec.request.NAME, spec.response.NAME)
    assert ApiKey[spec.key.name] == spec.key


def test_header_versions():
    assert (request_header_version(ApiKey.PRODUCE, 8), response_header_version(ApiKey.PRODUCE, 8)) == (1, 0)
    assert (request_header_version(ApiKey.PRODUCE, 9), response_header_version(ApiKey.PRODUCE, 9)) == (2, 1)
    assert (request_header_version(ApiKey.API_VERSIONS, 4), response_header_version(ApiKey.API_VERSIONS, 4)) == (2, 0)
    assert request_header_version(ApiKey.SASL_HANDSHAKE, 1) == 1
