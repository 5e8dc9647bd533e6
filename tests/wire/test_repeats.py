"""Produce requests that repeat: a frame is recognised only if decoding it would give the same request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.wire.errors import ProtocolError
from ottla.wire.frame import decode_request_header, encode_request_header
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.repeats import RepeatedProduce


def request(topic: str, index: int, records: bytes | None, *, acks: int = -1, partitions: int = 1) -> ProduceRequest:
    data = [ProduceRequest.PartitionProduceData(index=index + at, records=records) for at in range(partitions)]
    return ProduceRequest(
        acks=acks,
        timeout_ms=1000,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, topic_id=bytes(16), partition_data=data)],
    )


def frame(
    body: ProduceRequest, *, version: int = 9, correlation_id: int = 1, client_id: str | None = "me"
) -> memoryview:
    if version >= 13:
        body.topic_data[0].name = ""
    else:
        body.topic_data[0].topic_id = bytes(16)
    return memoryview(encode_request_header(0, version, correlation_id, client_id) + body.encode(version))


def asked(data: memoryview) -> SimpleNamespace:
    """The frame as it is decoded without any memory."""
    header = decode_request_header(data)
    return SimpleNamespace(
        api_key=header.api_key,
        api_version=header.api_version,
        correlation_id=header.correlation_id,
        client_id=header.client_id or "",
        request=ProduceRequest.decode(data, header.api_version, header.body_offset),
    )


def remember(data: memoryview) -> RepeatedProduce | None:
    return RepeatedProduce.of(data, decode_request_header(data).body_offset, asked(data))


@pytest.mark.parametrize("version", [9, 12, 13])
@pytest.mark.parametrize("size", [0, 1, 100, 126, 127, 128, 16_382, 16_383, 16_384, 3_000_000])
def test_other_records_of_another_partition_are_recognised(version: int, size: int) -> None:
    repeated = remember(frame(request("t", 0, b"x" * 200), version=version))
    assert repeated is not None
    assert repeated.request.topic_data[0].partition_data[0].records is None  # nobody's buffer is kept
    data = frame(request("t", 7, bytes(size)), version=version, correlation_id=2**31 - 1)
    assert repeated.take(data)
    fresh = asked(data)
    assert repeated.request == fresh.request
    assert (repeated.version, repeated.correlation_id, repeated.client_id) == (version, 2**31 - 1, "me")
    assert repeated.counted == (0, version)


@pytest.mark.parametrize(
    "other",
    [
        frame(request("u", 0, b"x")),
        frame(request("tt", 0, b"x")),
        frame(request("t", 0, b"x", acks=1)),
        frame(request("t", 0, None)),
        frame(request("t", 0, b"x", partitions=2)),
        frame(request("t", 0, b"x"), client_id="you"),
        frame(request("t", 0, b"x"), client_id=None),
        frame(request("t", 0, b"x"), version=10),
        frame(request("t", 0, b"x"))[:-1],
        memoryview(bytes(frame(request("t", 0, b"x"))) + b"\0"),
        memoryview(bytes(frame(request("t", 0, b"x"))[:-1]) + b"\1\0\0"),
        memoryview(b""),
    ],
)
def test_what_differs_in_anything_else_is_not(other: memoryview) -> None:
    repeated = remember(frame(request("t", 0, b"x")))
    assert repeated is not None
    assert not repeated.take(other)
    assert repeated.take(frame(request("t", 3, b"y")))


@pytest.mark.parametrize(
    "first",
    [
        frame(request("t", 0, b"x", partitions=2)),
        frame(request("t", 0, None)),
        frame(request("t", 0, b"x"), version=8),
        memoryview(bytes(frame(request("t", 0, b"x"))[:-1]) + b"\1\0\0"),  # a tag
    ],
)
def test_what_has_another_shape_is_not_remembered(first: memoryview) -> None:
    assert remember(first) is None


@given(
    st.sampled_from(["t", "topic", "tøpic"]),
    st.sampled_from(["t", "topic"]),
    st.integers(-1, 1),
    st.integers(0, 300),
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
)
def test_whatever_is_recognised_decodes_to_the_same(
    topic: str, other: str, acks: int, size: int, other_size: int, damage: list[tuple[int, int]]
) -> None:
    repeated = remember(frame(request(topic, 0, bytes(size), acks=acks)))
    assert repeated is not None
    second = bytearray(frame(request(other, 5, bytes(other_size)), correlation_id=9))
    for at, byte in damage:
        second[at % len(second)] = byte
    data = memoryview(second)
    if repeated.take(data):
        try:
            fresh = asked(data)
        except ProtocolError as error:
            raise AssertionError("recognised, and not decodable") from error
        assert repeated.request == fresh.request
        assert (repeated.version, repeated.client_id) == (fresh.api_version, fresh.client_id)
        assert repeated.correlation_id == fresh.correlation_id
