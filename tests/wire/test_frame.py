"""Frames and headers: cut, too large, unknown; a request and its response there and back."""

import struct

import pytest

from ottla.wire.apis import ApiKey
from ottla.wire.errors import ProtocolError
from ottla.wire.frame import (
    decode_request_header,
    decode_response_header,
    encode_request,
    encode_request_header,
    encode_response,
    next_frame,
)
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.fetch import FetchResponse
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


def test_frames_in_a_buffer():
    data = struct.pack(">i", 3) + b"abc" + struct.pack(">i", 9) + b"d"
    assert next_frame(data, 0, len(data), 100) == (4, 7)
    assert next_frame(data, 7, len(data), 100) == (11, 20)  # not there yet
    assert next_frame(data, 7, 10, 100) is None
    assert next_frame(data, 11, len(data), 100) is None


@pytest.mark.parametrize("size", [-1, 101, 2**31 - 1, struct.unpack(">i", b"GET ")[0]])
def test_frames_of_a_size_that_none_may_have(size):
    with pytest.raises(ProtocolError, match=f"a frame of {size} bytes"):
        next_frame(struct.pack(">i", size), 0, 4, 100)


def test_a_request_there_and_back():
    request = HeartbeatRequest(group_id="g", member_id="m", generation_id=4)
    frame = memoryview(encode_request(ApiKey.HEARTBEAT, 4, 77, "me", request))
    assert next_frame(frame, 0, len(frame), 1000) == (4, len(frame))
    header = decode_request_header(frame, 4)
    assert (header.api_key, header.api_version, header.correlation_id, header.client_id) == (12, 4, 77, "me")
    assert HeartbeatRequest.decode(frame, header.api_version, header.body_offset) == request
    assert repr(header) == (
        f"RequestHeader(api_key=12, api_version=4, correlation_id=77, client_id='me', body_offset={header.body_offset})"
    )


@pytest.mark.parametrize("version", [3, 4])
def test_a_response_there_and_back(version):
    response = HeartbeatResponse(error_code=27)
    (frame,) = encode_response(ApiKey.HEARTBEAT, version, -5, response)
    assert isinstance(frame, bytes)
    assert struct.unpack_from(">i", frame)[0] == len(frame) - 4
    correlation_id, offset = decode_response_header(frame, ApiKey.HEARTBEAT, version, 4)
    assert correlation_id == -5
    assert HeartbeatResponse.decode(frame, version, offset) == response


def test_the_size_of_a_response_counts_the_slices_in_it():
    class Slice:
        nbytes = 1_000_000

    partition = FetchResponse.PartitionData(records=Slice())
    topic = FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])
    parts = encode_response(ApiKey.FETCH, 12, 1, FetchResponse(responses=[topic]))
    assert len(parts) == 3
    total = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    assert struct.unpack_from(">i", parts[0])[0] == total - 4


def test_client_ids_may_be_null_and_tags_are_stepped_over():
    assert decode_request_header(encode_request_header(ApiKey.HEARTBEAT, 4, 1, None)).client_id is None
    assert encode_request(ApiKey.API_VERSIONS, 0, 1, None, ApiVersionsRequest())[4:] == struct.pack(
        ">hhih", 18, 0, 1, -1
    )
    head = encode_request_header(ApiKey.HEARTBEAT, 4, 1, "me")
    tagged = head[:-1] + b"\2" + b"\0\3abc" + b"\x81\x01\0"
    assert decode_request_header(tagged + b"body").body_offset == len(tagged)


def test_a_version_that_nobody_serves_has_a_header_still():
    header = decode_request_header(struct.pack(">hhih", ApiKey.API_VERSIONS, 99, 8, 2) + b"me\0")
    assert (header.api_version, header.correlation_id, header.client_id) == (99, 8, "me")


@pytest.mark.parametrize("key", [-1, 4, 7, 52, 95, 18245])
def test_unknown_api_keys(key):
    with pytest.raises(ProtocolError, match=f"unknown api key {key}"):
        decode_request_header(struct.pack(">hhih", key, 0, 1, -1))


def test_headers_cut_anywhere():
    head = encode_request_header(ApiKey.HEARTBEAT, 4, 1, "me")[:-1] + b"\1\0\3abc"
    assert decode_request_header(head).body_offset == len(head)
    for length in range(len(head)):
        with pytest.raises(ProtocolError):
            decode_request_header(head[:length])
        with pytest.raises(ProtocolError):
            decode_request_header(head + b"the next frame", 0, length)
    response = struct.pack(">i", 1) + b"\1\0\3abc"
    assert decode_response_header(response, ApiKey.HEARTBEAT, 4) == (1, len(response))
    for length in range(len(response)):
        with pytest.raises(ProtocolError):
            decode_response_header(response[:length], ApiKey.HEARTBEAT, 4)


def test_a_client_id_that_is_not_text_is_read_as_far_as_it_is():
    header = decode_request_header(struct.pack(">hhih", ApiKey.HEARTBEAT, 0, 1, 6) + b"a\xffb\xe2\x82c")
    assert header.client_id == "a\ufffdb\ufffdc"
