"""Messages as Python objects: constructors, equality, repr; and what importing them costs."""

import subprocess
import sys

import pytest

from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse


def test_every_field_has_kafkas_default():
    request = FetchRequest()
    assert (request.max_bytes, request.session_epoch, request.rack_id, request.topics) == (0x7FFFFFFF, -1, "", [])
    assert request.cluster_id is None
    assert request.replica_state == FetchRequest.ReplicaState(replica_id=-1, replica_epoch=-1)
    partition = FetchRequest.FetchPartition()
    assert partition.replica_directory_id == bytes(16)
    assert partition.high_watermark == 2**63 - 1
    assert FetchResponse.PartitionData().records is None


def test_lists_and_structs_are_made_fresh():
    one, other = FetchRequest(), FetchRequest()
    one.topics.append(FetchRequest.FetchTopic(topic="t"))
    one.replica_state.replica_id = 7
    assert other.topics == []
    assert other.replica_state.replica_id == -1


def test_null_is_not_the_default_of_a_nullable_list():
    assert MetadataRequest().topics == []
    assert MetadataRequest(topics=None).topics is None


def test_fields_are_keywords_and_no_others_exist():
    with pytest.raises(TypeError):
        HeartbeatRequest("group")
    with pytest.raises(TypeError, match="groupid"):
        HeartbeatRequest(groupid="group")
    with pytest.raises(AttributeError):
        HeartbeatRequest().groupid = "group"


def test_equality_is_by_value_and_type():
    assert HeartbeatRequest(group_id="g") == HeartbeatRequest(group_id="g")
    assert HeartbeatRequest(group_id="g") != HeartbeatRequest(group_id="h")
    assert HeartbeatRequest() != MetadataRequest()
    with pytest.raises(TypeError):
        hash(HeartbeatRequest())


def test_repr_builds_an_equal_message():
    request = ProduceRequest(
        acks=-1,
        topic_data=[
            ProduceRequest.TopicProduceData(
                name="t", partition_data=[ProduceRequest.PartitionProduceData(index=1, records=memoryview(b"r"))]
            )
        ],
    )
    text = repr(request)
    assert text == (
        "ProduceRequest(acks=-1, topic_data=[ProduceRequest.TopicProduceData(name='t', "
        "partition_data=[ProduceRequest.PartitionProduceData(index=1, records=b'r')])])"
    )
    assert eval(text) == request
    assert repr(ProduceResponse()) == "ProduceResponse()"


def modules_after(code):
    script = f"import sys; {code}; print(*sorted(m for m in sys.modules if m.startswith('ottla')))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_the_table_of_apis_imports_no_message():
    loaded = modules_after("import ottla.wire.apis, ottla.wire.frame, ottla.wire.state_records")
    assert "ottla.wire.compiler" in loaded
    assert not [name for name in loaded if name.startswith(("ottla.wire.messages.", "ottla.wire.state."))]


def test_asking_for_a_class_imports_its_module_only():
    loaded = modules_after("from ottla.wire.apis import API; API[12].request")
    assert [name for name in loaded if name.startswith("ottla.wire.messages.")] == ["ottla.wire.messages.heartbeat"]
