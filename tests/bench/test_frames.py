"""Frames are what the schema says, and the fixed places in answers are where the schema puts the fields."""

from __future__ import annotations

import struct

import pytest

from bench import frames
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.init_producer_id import InitProducerIdResponse
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from ottla.wire.records import RecordBatch

LZ4 = 3
TOPIC = "bench-000001"
HEAD = 4 + 2 + 2 + 4 + 2 + len("bench") + 1  # of a request: size, key, version, correlation id, client id, no tags
ANSWER_HEAD = bytes(4) + b"\0"  # correlation id, no tags


def batch_of(frame: bytes | bytearray) -> RecordBatch:
    request = ProduceRequest.decode(bytes(frame), frames.PRODUCE, HEAD)
    (topic,) = request.topic_data
    (data,) = topic.partition_data
    assert data.records is not None
    return RecordBatch(data.records)


def test_produce_is_one_batch_for_one_partition() -> None:
    frame = frames.produce(TOPIC, 3, frames.batch(5, 100))
    request = ProduceRequest.decode(frame, frames.PRODUCE, HEAD)
    assert (request.acks, request.topic_data[0].name, request.topic_data[0].partition_data[0].index) == (-1, TOPIC, 3)
    assert struct.unpack_from(">i", frame) == (len(frame) - 4,)
    batch = batch_of(frame)
    assert batch.is_valid_crc()
    assert [len(record.value or b"") for record in batch.records(1 << 20)] == [100] * 5


@pytest.mark.parametrize("code", [0, 6, -1])
def test_the_error_of_a_produce_answer_is_at_its_place(code: int) -> None:
    partition = ProduceResponse.PartitionProduceResponse(index=3, error_code=code, base_offset=77)
    answer = ProduceResponse(
        responses=[ProduceResponse.TopicProduceResponse(name=TOPIC, partition_responses=[partition])]
    )
    encoded = ANSWER_HEAD + answer.encode(frames.PRODUCE)
    assert struct.unpack_from(">h", encoded, frames.produce_error_at(TOPIC)) == (code,)


def test_an_idempotent_batch_is_numbered_in_place() -> None:
    batch = frames.batch(5, 100)
    frame = bytearray(frames.produce(TOPIC, 0, batch))
    frames.make_idempotent(frame, len(batch), 4711, 2)
    for sequence in (0, 5, 2**31 - 1):
        frames.set_sequence(frame, len(batch), sequence)
        found = batch_of(frame)
        assert found.is_valid_crc()
        assert (found.producer_id, found.producer_epoch, found.base_sequence) == (4711, 2, sequence)


def test_fetch_takes_another_offset_and_session_in_place() -> None:
    frame = frames.fetch(TOPIC, 3, 0, session_epoch=0)
    struct.pack_into(">q", frame, frames.fetch_offset_at(TOPIC), 1 << 40)
    struct.pack_into(">ii", frame, frames.fetch_session_at(TOPIC), 815, 9)
    request = FetchRequest.decode(bytes(frame), frames.FETCH, HEAD)
    partition = request.topics[0].partitions[0]
    assert (request.session_id, request.session_epoch) == (815, 9)
    assert (partition.partition, partition.fetch_offset, partition.current_leader_epoch) == (3, 1 << 40, -1)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 20_000])
@pytest.mark.parametrize("aborted", [None, []])
def test_the_records_of_a_fetch_answer_are_at_their_place(
    size: int, aborted: list[FetchResponse.AbortedTransaction] | None
) -> None:
    partition = FetchResponse.PartitionData(
        partition_index=3, error_code=1, aborted_transactions=aborted, records=bytes(range(1, 255))[:size]
    )
    answer = FetchResponse(
        error_code=2,
        session_id=815,
        responses=[FetchResponse.FetchableTopicResponse(topic=TOPIC, partitions=[partition])],
    )
    encoded = memoryview(ANSWER_HEAD + answer.encode(frames.FETCH))
    error_at, records_at = frames.fetch_records_at(TOPIC)
    assert struct.unpack_from(">h", encoded, frames.FETCH_ERROR_AT) == (2,)
    assert frames.fetch_session(encoded) == (815, 1)
    assert struct.unpack_from(">h", encoded, error_at) == (1,)
    at, found = frames.records(encoded, records_at)
    assert found == min(size, 254)
    assert bytes(encoded[at : at + found]) == bytes(range(1, 255))[:size]


def test_a_fetch_answer_without_news_has_no_topics() -> None:
    encoded = memoryview(ANSWER_HEAD + FetchResponse(session_id=815).encode(frames.FETCH))
    assert frames.fetch_session(encoded) == (815, 0)


def test_decode_finds_the_response_behind_either_header() -> None:
    answer = InitProducerIdResponse(producer_id=12, producer_epoch=1)
    encoded = ANSWER_HEAD + answer.encode(frames.INIT_PRODUCER_ID)
    assert frames.decode(frames.init_producer_id(), frames.INIT_PRODUCER_ID, encoded).producer_id == 12


def test_text_compresses_as_messages_do_and_spread_sizes_differ() -> None:
    packed, count = frames.batch_of_bytes(1 << 16, 1024, codec=LZ4, text=True)
    assert 2 < count * 1024 / len(packed) < 5
    mixed, count = frames.batch_of_bytes(1 << 14, 100, spread=0.8)
    sizes = {len(record.value or b"") for record in RecordBatch(mixed).records(1 << 20)}
    assert (min(sizes), max(sizes)) == (20, 180)
    assert len(sizes) > 50


def test_a_damaged_batch_is_not_whole() -> None:
    batch = frames.batch(5, 100)
    assert frames.is_whole(memoryview(batch))
    batch[-1] ^= 1
    assert not frames.is_whole(memoryview(batch))
