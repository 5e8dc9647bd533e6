"""What compiled codecs promise beyond the golden bytes: faults named, tolerance as Kafka has, records untouched."""

import struct
import traceback

import pytest

from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from ottla.wire.messages.offset_fetch import OffsetFetchRequest
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse


def refusal(cls, version, body):
    with pytest.raises(ProtocolError) as caught:
        cls.decode(body, version)
    return caught.value


# Faults name api, version, field and offset


def test_bytes_that_end_inside_a_run_name_the_field_they_end_in():
    body = HeartbeatRequest(group_id="group", generation_id=3, member_id="m").encode(3)
    error = refusal(HeartbeatRequest, 3, body[:9])
    assert (error.api, error.version, error.field, error.offset) == ("HeartbeatRequest", 3, "generation_id", 7)
    assert str(error) == "HeartbeatRequest v3 generation_id at byte 7: the bytes end early"
    assert refusal(HeartbeatRequest, 3, body[:12]).field == "member_id"


def test_a_field_of_a_nested_struct_is_named_by_its_path():
    topic = FetchRequest.FetchTopic(topic="t", partitions=[FetchRequest.FetchPartition(partition=1)])
    body = FetchRequest(topics=[topic]).encode(4)
    assert refusal(FetchRequest, 4, body[:-1]).field == "topics.partitions"
    assert refusal(MetadataRequest, 0, struct.pack(">ih", 1, -1) + b"x").field == "topics.name"


def test_null_where_none_may_be():
    error = refusal(HeartbeatRequest, 3, struct.pack(">h", -1) + bytes(20))
    assert (error.field, error.message) == ("group_id", "null where none may be")
    error = refusal(HeartbeatRequest, 4, bytes(20))
    assert (error.field, error.message) == ("group_id", "null where none may be")
    error = refusal(MetadataRequest, 0, struct.pack(">i", -1))
    assert (error.field, error.message) == ("topics", "null where none may be")
    assert MetadataRequest.decode(struct.pack(">i", -1) + b"\1", 4).topics is None


def test_negative_lengths_and_counts():
    assert refusal(HeartbeatRequest, 3, struct.pack(">h", -2) + bytes(20)).message == "a negative length, -2"
    assert refusal(MetadataRequest, 0, struct.pack(">i", -2)).message == "a negative count, -2"


def test_lengths_and_counts_past_the_end():
    assert refusal(HeartbeatRequest, 3, struct.pack(">h", 99) + bytes(20)).message == "99 bytes announced, 20 left"
    assert (
        refusal(MetadataRequest, 0, struct.pack(">i", 2**31 - 1)).message
        == "2147483647 elements announced, 0 bytes left"
    )


def test_text_that_is_not_utf8():
    error = refusal(FindCoordinatorRequest, 0, b"\0\2\xff\xfe")
    assert (error.field, error.message) == ("key", "not UTF-8")


def test_compact_strings_have_the_limit_of_the_old_ones():
    body = b"\x81\x80\x02" + b"x" * 32768
    assert "more than 32767" in refusal(HeartbeatRequest, 4, body).message
    with pytest.raises(ValueError, match="group_id: a string of 32768 bytes"):
        HeartbeatRequest(group_id="x" * 32768).encode(4)


def test_varints_have_at_most_32_bits():
    assert refusal(HeartbeatRequest, 4, b"\xff\xff\xff\xff\xff\xff\xff").field == "group_id"


def test_a_version_that_does_not_exist():
    for call in (lambda: HeartbeatRequest.decode(b"", 5), lambda: HeartbeatRequest().encode(-1)):
        with pytest.raises(KafkaError) as caught:
            call()
        assert caught.value.code == ErrorCode.UNSUPPORTED_VERSION


# Tolerated, as Kafka does


def test_bytes_after_the_body_and_unknown_tags():
    body = HeartbeatResponse(error_code=27).encode(4)
    assert body[-1] == 0
    tags = b"\2" + b"\x05\x03abc" + b"\x90\x4e\x00"
    assert HeartbeatResponse.decode(body[:-1] + tags + b"more", 4) == HeartbeatResponse(error_code=27)
    many = b"\x80\x01" + b"".join(bytes((tag, 0)) for tag in range(126)) + b"\x7e\x00\x7f\x00"
    assert HeartbeatResponse.decode(body[:-1] + many, 4) == HeartbeatResponse(error_code=27)


def test_of_repeated_tags_the_last_counts():
    body = FetchRequest().encode(12)
    tags = b"\3" + b"\0\2\2a" + b"\x07\1?" + b"\0\2\2b"
    assert FetchRequest.decode(body[:-1] + tags, 12).cluster_id == "b"


def test_a_tag_of_another_size_than_its_value():
    body = FetchRequest().encode(12)
    assert refusal(FetchRequest, 12, body[:-1] + b"\1\0\3\2a?").field == "cluster_id"
    assert "announced" in refusal(FetchRequest, 12, body[:-1] + b"\1\0\x7f").message


# Encoding


def test_a_value_that_the_version_cannot_carry():
    request = HeartbeatRequest(group_id="g", group_instance_id="static")
    assert b"static" in request.encode(3)
    with pytest.raises(KafkaError, match=r"HeartbeatRequest v2 cannot carry group_instance_id") as caught:
        request.encode(2)
    assert caught.value.code == ErrorCode.UNSUPPORTED_VERSION
    with pytest.raises(KafkaError, match="cannot carry groups"):
        OffsetFetchRequest(groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id="g")]).encode(7)


def test_an_ignorable_value_is_dropped():
    assert JoinGroupRequest(reason="why").encode(7) == JoinGroupRequest().encode(7)
    topic = MetadataResponse.MetadataResponseTopic(name="t", topic_id=b"t" * 16)
    response = MetadataResponse(topics=[topic])
    assert b"t" * 16 not in response.encode(9)
    assert b"t" * 16 in response.encode(10)


def test_a_value_that_fits_no_field_names_it():
    with pytest.raises(ValueError, match="HeartbeatRequest v3 generation_id"):
        HeartbeatRequest(generation_id=2**31).encode(3)
    with pytest.raises(ValueError, match="JoinGroupResponse v6 protocol_name"):
        JoinGroupResponse(protocol_name=None).encode(6)
    bad = CreateTopicsRequest.CreatableTopic(name=b"bytes")
    with pytest.raises(ValueError, match=r"topics\.name"):
        CreateTopicsRequest(topics=[bad]).encode(7)


def test_tagged_fields_are_written_only_when_set():
    plain = ProduceResponse.PartitionProduceResponse(index=1)
    moved = ProduceResponse.PartitionProduceResponse(
        index=1, current_leader=ProduceResponse.LeaderIdAndEpoch(leader_id=2, leader_epoch=3)
    )
    for partition, tags in ((plain, b"\0"), (moved, b"\1\0\x09" + struct.pack(">iix", 2, 3))):
        topic = ProduceResponse.TopicProduceResponse(name="t", partition_responses=[partition])
        body = ProduceResponse(responses=[topic]).encode(10)
        assert body.endswith(tags + b"\0" + bytes(4) + b"\0")


def test_a_traceback_shows_the_generated_line():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is tested above
        HeartbeatRequest(group_id=None).encode(1)
    text = "".join(traceback.format_exception(caught.value))
    assert "ottla-codecs/HeartbeatRequest.v1.encode.py" in text
    assert "x0.group_id.encode()" in text


# Records


def produce(records):
    partition = ProduceRequest.PartitionProduceData(index=0, records=records)
    return ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[partition])])


@pytest.mark.parametrize("version", [8, 9])
def test_records_are_views_of_the_frame(version):
    frame = bytearray(produce(b"batch").encode(version))
    records = ProduceRequest.decode(memoryview(frame), version).topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records == b"batch"
    frame[frame.index(b"batch")] = ord("p")
    assert records == b"patch"
    del records
    frame.clear()  # nothing else holds the frame


@pytest.mark.parametrize("records", [b"batch", bytearray(b"batch"), memoryview(b"batch"), b"", None])
def test_records_may_be_any_buffer_or_null(records):
    body = produce(records).encode(9)
    assert ProduceRequest.decode(body, 9).topic_data[0].partition_data[0].records == records


class Slice:
    """Records that are not in memory."""

    def __init__(self, nbytes):
        self.nbytes = nbytes


def fetched(*records):
    partitions = [FetchResponse.PartitionData(partition_index=index, records=one) for index, one in enumerate(records)]
    return FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=partitions)])


@pytest.mark.parametrize("version", [4, 11, 12])
def test_slices_of_records_stand_between_the_bytes(version):
    first, second = Slice(300), Slice(5)
    parts = fetched(first, b"bytes", second).encode_parts(version)
    assert [part for part in parts if isinstance(part, Slice)] == [first, second]
    assert all(type(part) in (bytes, Slice) for part in parts)
    whole = b"".join(b"r" * part.nbytes if isinstance(part, Slice) else part for part in parts)
    assert whole == fetched(b"r" * 300, b"bytes", b"r" * 5).encode(version)


def test_encode_refuses_slices():
    with pytest.raises(TypeError, match="encode_parts"):
        fetched(Slice(3)).encode(12)


def test_encode_parts_without_slices_is_one_piece():
    assert fetched(b"r").encode_parts(12) == [fetched(b"r").encode(12)]
