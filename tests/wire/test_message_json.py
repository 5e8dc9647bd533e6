"""Messages as JSON: every message that Kafka's own classes wrote comes back byte for byte, under Kafka's names."""

import json
import math
import re
import uuid
from typing import Any

import pytest

from ottla.wire.apis import API, ApiKey
from ottla.wire.message_json import decode_uuid, encode_records, from_json, to_json
from ottla.wire.messages.describe_client_quotas import DescribeClientQuotasResponse
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.schema import Message
from tests.wire.test_golden import BY_API, class_of

PartitionData = FetchResponse.PartitionData


def same(golden: Any, shown: Any) -> bool:
    """Whether `shown` says what a golden value does; it may leave out what is at its default."""
    if isinstance(golden, dict) and set(golden) == {"hex"}:
        return encode_records(bytes.fromhex(golden["hex"])) == shown
    if isinstance(golden, dict):
        named = {name[0].lower() + name[1:]: item for name, item in golden.items()}
        return set(shown) <= set(named) and all(same(named[name], item) for name, item in shown.items())
    if isinstance(golden, list):
        return len(golden) == len(shown) and all(map(same, golden, shown))
    if isinstance(golden, str) and isinstance(shown, str) and golden != shown:
        return uuid.UUID(golden).bytes == decode_uuid(shown)
    return bool(golden == shown)


@pytest.mark.parametrize("name", BY_API)
def test_what_kafka_wrote_comes_back(name: str) -> None:
    for line in BY_API[name]:
        cls, version, data = class_of(line), line["version"], bytes.fromhex(line["body"])
        if not cls.VALID[0] <= version <= cls.VALID[1]:
            continue
        shown = json.loads(json.dumps(to_json(cls.decode(data, version), version)))
        assert same(line["value"], shown), (line["value"], shown)
        assert from_json(cls, shown, version).encode(version) == data


def test_records_that_are_a_slice_of_a_file_are_read() -> None:
    class Slice:
        nbytes = 3

        def read(self) -> bytes:
            return b"abc"

    response = FetchResponse(
        responses=[FetchResponse.FetchableTopicResponse(partitions=[PartitionData(records=Slice())])]
    )
    partition = to_json(response, 12)["responses"][0]["partitions"][0]
    assert partition["records"] == "YWJj"
    summarised = to_json(response, 12, lambda records: {"bytes": records.nbytes})
    assert summarised["responses"][0]["partitions"][0]["records"] == {"bytes": 3}


def test_numbers_that_json_lacks() -> None:
    value = DescribeClientQuotasResponse.ValueData(key="producer_byte_rate", value=math.inf)
    message = DescribeClientQuotasResponse(entries=[DescribeClientQuotasResponse.EntryData(entity=[], values=[value])])
    shown = to_json(message, 1)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert from_json(DescribeClientQuotasResponse, shown, 1) == message


@pytest.mark.parametrize(
    ("cls", "value", "sentence"),
    [
        (FetchRequest, [], "FetchRequest must be a JSON object"),
        (FetchRequest, {"maxWait": 1}, "FetchRequest v12 has no field 'maxWait'"),
        (FetchRequest, {"maxWaitMs": "1"}, "FetchRequest.maxWaitMs: '1' is no number"),
        (FetchRequest, {"maxWaitMs": True}, "is no number"),
        (FetchRequest, {"topics": None}, "FetchRequest.topics must not be null in v12"),
        (FetchRequest, {"topics": {}}, "FetchRequest.topics: {} is no list"),
        (FetchRequest, {"topics": [{"topic": 3}]}, "FetchRequest.topics: FetchTopic.topic: 3 is no text"),
        (JoinGroupRequest, {"protocols": [{"metadata": "?"}]}, "metadata: '?' is no base64"),
        (JoinGroupRequest, {"protocols": [{"metadata": 1}]}, "metadata: 1 is no base64"),
    ],
)
def test_what_is_no_message(cls: type[Message], value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        from_json(cls, value, 12 if cls is FetchRequest else 9)


def test_a_uuid_must_be_one() -> None:
    request = API[ApiKey.DELETE_TOPICS].request
    for text in ("short", 5, "A" * 30):
        with pytest.raises(ValueError, match="is no uuid"):
            from_json(request, {"topics": [{"topicId": text}]}, 6)
