"""Error codes against an independent list, and how the two exceptions read."""

from kio.schema.errors import ErrorCode as KioErrorCode

from ottla.wire.errors import REFRESHES_METADATA, RETRIABLE, ErrorCode, KafkaError, ProtocolError


def test_codes_are_kafkas():
    assert set(range(-1, 137)) == set(ErrorCode)
    for code in KioErrorCode:
        assert ErrorCode[code.name.upper()].value == code.value
    assert {code for code in KioErrorCode if code.retriable} <= RETRIABLE
    assert ErrorCode.NOT_LEADER_OR_FOLLOWER in REFRESHES_METADATA <= RETRIABLE


def test_a_kafka_error_reads_as_its_code():
    assert str(KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)) == "UNKNOWN_MEMBER_ID"
    assert str(KafkaError(ErrorCode.INVALID_CONFIG, "no such key")) == "INVALID_CONFIG: no such key"


def test_a_protocol_error_says_where():
    assert str(ProtocolError("bad")) == "bad"
    error = ProtocolError("bad", api="FetchRequest", version=12, field="topics.topic", offset=9)
    assert str(error) == "FetchRequest v12 topics.topic at byte 9: bad"
