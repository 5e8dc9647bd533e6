"""An error that a test orders looks, in every field, as where a broker really has it: Ottla, and Apache Kafka in the
long test. The same request goes to a broker that must refuse it and to one that would serve it but for the fault.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from compat_tests import apache_kafka
from compat_tests.differential.generated.line import Line
from ottla.commands.comparing import Matching, error_codes
from ottla.testing import Broker
from ottla.wire.apis import API
from ottla.wire.errors import ErrorCode
from ottla.wire.message_json import from_json, to_json
from ottla.wire.records import Record, build_batch

E = ErrorCode
SETTINGS: Final = {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0"}
TOPICS: Final = {"t": 1, "there": 1}  # of who refuses; "nope" is not there, and an id neither
SERVES: Final = {"t": 1, "nope": 1}
UNKNOWN_ID: Final = base64.urlsafe_b64encode(b"z" * 16).decode().rstrip("=")
BATCH: Final = base64.b64encode(bytes(build_batch([Record(0, 1, None, b"x")]))).decode()
TIMEOUT_S: Final = 60
_WORDS: Final = ("errorMessage",)  # for people
#: A Kafka that has just started has no coordinators yet.
_COMING: Final = {E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR, E.COORDINATOR_LOAD_IN_PROGRESS}


class Case(NamedTuple):
    """What is refused with `code`; the fault is ordered for `topic`, or for all of the request."""

    api: str
    version: int
    request: dict[str, Any]
    code: ErrorCode
    topic: str | None = None

    def __str__(self) -> str:
        return f"{self.api}-v{self.version}-{self.code.name}"


def _cases() -> Iterator[Case]:
    nope = (E.UNKNOWN_TOPIC_OR_PARTITION, "nope")

    def produce(**topic: str) -> dict[str, Any]:
        rows = [{**topic, "partitionData": [{"index": 0, "records": BATCH}]}]
        return {"transactionalId": None, "acks": -1, "timeoutMs": 1000, "topicData": rows}

    def fetch(partition: dict[str, Any], **topic: str) -> dict[str, Any]:
        rows = [{**topic, "partitions": [{"partition": 0, "fetchOffset": 0, "partitionMaxBytes": 1000, **partition}]}]
        return {"maxWaitMs": 0, "minBytes": 0, "maxBytes": 1000, "topics": rows}

    for version in (3, 5, 8, 9, 11, 12):
        yield Case("Produce", version, produce(name="nope"), *nope)
    yield Case("Produce", 13, produce(topicId=UNKNOWN_ID), E.UNKNOWN_TOPIC_ID, "nope")
    for version in (4, 7, 11, 12):
        yield Case("Fetch", version, fetch({}, topic="nope"), *nope)
    for version in (13, 17):
        yield Case("Fetch", version, fetch({}, topicId=UNKNOWN_ID), E.UNKNOWN_TOPIC_ID, "nope")
    for version in (5, 12):
        yield Case("Fetch", version, fetch({"fetchOffset": 99}, topic="t"), E.OFFSET_OUT_OF_RANGE, "t")
    yield Case("Fetch", 12, fetch({"currentLeaderEpoch": 9}, topic="t"), E.UNKNOWN_LEADER_EPOCH, "t")
    followed = {"maxWaitMs": 0, "minBytes": 0, "sessionId": 12345, "sessionEpoch": 3, "topics": []}
    yield Case("Fetch", 12, followed, E.FETCH_SESSION_ID_NOT_FOUND)
    for version in (1, 5, 9):
        rows = [{"name": "nope", "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]
        yield Case("ListOffsets", version, {"replicaId": -1, "topics": rows}, *nope)
    for version in (4, 9, 13):
        asked = {"topics": [{"name": "nope"}], "allowAutoTopicCreation": False}
        yield Case("Metadata", version, asked, *nope)
    member = {"groupId": "g", "generationId": 1, "memberId": "m"}
    joins = {
        "groupId": "g",
        "sessionTimeoutMs": 10_000,
        "memberId": "",
        "protocolType": "consumer",
        "protocols": [{"name": "range", "metadata": "AAAA"}],
    }
    for version in (2, 5, 9):
        yield Case("JoinGroup", version, {**joins, "sessionTimeoutMs": 1}, E.INVALID_SESSION_TIMEOUT)
        yield Case("JoinGroup", version, {**joins, "memberId": "m"}, E.UNKNOWN_MEMBER_ID)
    for version in (0, 5):
        named = {} if version < 5 else {"protocolType": "consumer", "protocolName": "range"}
        yield Case("SyncGroup", version, {**member, **named, "assignments": []}, E.UNKNOWN_MEMBER_ID)
    for version in (0, 4):
        yield Case("Heartbeat", version, member, E.UNKNOWN_MEMBER_ID)
    yield Case("LeaveGroup", 2, {"groupId": "g", "memberId": "m"}, E.UNKNOWN_MEMBER_ID)
    yield Case("LeaveGroup", 5, {"groupId": "", "members": [{"memberId": "m"}]}, E.INVALID_GROUP_ID)
    offsets = [{"name": "t", "partitions": [{"partitionIndex": 0, "committedOffset": 1}]}]
    for version, code in ((2, E.ILLEGAL_GENERATION), (8, E.ILLEGAL_GENERATION), (9, E.GROUP_ID_NOT_FOUND)):
        commits = {"groupId": "g", "generationIdOrMemberEpoch": 1, "memberId": "m", "topics": offsets}
        yield Case("OffsetCommit", version, commits, code)
    for version in (0, 5):
        begins = {"transactionalId": "x", "transactionTimeoutMs": 2_000_000_000}
        yield Case("InitProducerId", version, begins, E.INVALID_TRANSACTION_TIMEOUT)
    producer = {"transactionalId": "x", "producerId": 5, "producerEpoch": 0}
    old = {"v3AndBelow" + name[0].upper() + name[1:]: value for name, value in producer.items()}
    added = {**old, "v3AndBelowTopics": [{"name": "t", "partitions": [0]}]}
    yield Case("AddPartitionsToTxn", 3, added, E.INVALID_PRODUCER_ID_MAPPING)
    yield Case("AddOffsetsToTxn", 3, {**producer, "groupId": "g"}, E.INVALID_PRODUCER_ID_MAPPING)
    for version in (3, 5):
        yield Case("EndTxn", version, {**producer, "committed": True}, E.INVALID_PRODUCER_ID_MAPPING)
    sent = {**producer, "groupId": "g", "topics": offsets}
    yield Case("TxnOffsetCommit", 3, sent, E.INVALID_PRODUCER_ID_MAPPING)
    for version in (4, 7):
        rows = [{"name": "there", "numPartitions": 1, "replicationFactor": 1}]
        yield Case("CreateTopics", version, {"topics": rows, "timeoutMs": 1000}, E.TOPIC_ALREADY_EXISTS, "there")
    yield Case("DeleteTopics", 5, {"topicNames": ["nope"], "timeoutMs": 1000}, *nope)
    yield Case("DeleteTopics", 6, {"topics": [{"name": "nope"}], "timeoutMs": 1000}, *nope)
    yield Case("CreatePartitions", 3, {"topics": [{"name": "nope", "count": 5}], "timeoutMs": 1000}, *nope)
    rows = [{"name": "nope", "partitions": [{"partitionIndex": 0, "offset": 0}]}]
    yield Case("DeleteRecords", 2, {"topics": rows, "timeoutMs": 1000}, *nope)
    resource = {"resourceType": 2, "resourceName": "nope"}
    yield Case("DescribeConfigs", 4, {"resources": [resource]}, *nope)
    changed = {"name": "retention.ms", "value": "1000"}
    yield Case("AlterConfigs", 2, {"resources": [{**resource, "configs": [changed]}]}, *nope)
    yield Case("IncrementalAlterConfigs", 1, {"resources": [{**resource, "configs": [changed]}]}, *nope)
    yield Case("DescribeGroups", 6, {"groups": ["g"]}, E.GROUP_ID_NOT_FOUND)
    yield Case("DeleteGroups", 2, {"groupsNames": ["g"]}, E.GROUP_ID_NOT_FOUND)
    rows = [{"name": "t", "partitions": [{"partitionIndex": 0}]}]
    yield Case("OffsetDelete", 0, {"groupId": "g", "topics": rows}, E.GROUP_ID_NOT_FOUND)
    rows = [{"topic": "nope", "partitions": [{"partition": 0, "currentLeaderEpoch": -1, "leaderEpoch": 0}]}]
    yield Case("OffsetForLeaderEpoch", 4, {"replicaId": -1, "topics": rows}, *nope)
    yield Case("FindCoordinator", 2, {"key": "g", "keyType": 9}, E.INVALID_REQUEST)
    beat = {"groupId": "g", "memberId": "m", "memberEpoch": 5, "rebalanceTimeoutMs": -1}
    yield Case("ConsumerGroupHeartbeat", 1, beat, E.GROUP_ID_NOT_FOUND)
    yield Case("ConsumerGroupDescribe", 1, {"groupIds": ["g"]}, E.GROUP_ID_NOT_FOUND)
    yield Case("DescribeProducers", 0, {"topics": [{"name": "nope", "partitionIndexes": [0]}]}, *nope)
    elected = {"electionType": 0, "topicPartitions": [{"topic": "nope", "partitions": [0]}], "timeoutMs": 1000}
    yield Case("ElectLeaders", 2, elected, *nope)
    rows = [{"name": "nope", "partitions": [{"partitionIndex": 0, "replicas": [1]}]}]
    yield Case("AlterPartitionReassignments", 0, {"timeoutMs": 1000, "topics": rows}, *nope)
    yield Case("DescribeTransactions", 0, {"transactionalIds": ["x"]}, E.TRANSACTIONAL_ID_NOT_FOUND)


CASES: Final = list(_cases())
_KEYS: Final = {spec.name: spec for spec in API.values()}


def ask(address: str, api: str, version: int, request: dict[str, Any]) -> Any:
    """The answer as JSON, on a connection of its own."""
    with Line(int(address.rpartition(":")[2]), TIMEOUT_S) as line:
        return to_json(line.ask(from_json(_KEYS[api].request, request, version), version), version)


def heard(address: str, api: str, version: int, request: dict[str, Any]) -> Any:
    """The answer of a Kafka once its coordinators are there."""
    until_s = time.monotonic() + TIMEOUT_S
    while set(error_codes(answer := ask(address, api, version, request))) & _COMING:
        assert time.monotonic() < until_s, (api, answer)
    return answer


def ordered(case: Case) -> Any:
    """What a broker says that would serve it, but for the fault."""
    with Broker(topics=SERVES) as broker:
        metadata = ask(broker.bootstrap_servers, "Metadata", 12, {"topics": [{"name": "nope"}]})
        request = json.loads(json.dumps(case.request).replace(UNKNOWN_ID, metadata["topics"][0]["topicId"]))
        order = broker.faults.on(case.api, **({} if case.topic is None else {"topic": case.topic})).error(
            case.code.name
        )
        answer = ask(broker.bootstrap_servers, case.api, case.version, request)
        assert order.fired == 1
        return answer


def compared(case: Case, really: Any) -> list[str]:
    assert case.code in error_codes(really), "it is not refused for that"
    return [str(one) for one in Matching(_WORDS).compare(case.api, really, ordered(case))]


@pytest.fixture(scope="module")
def refuses() -> Iterator[Broker]:
    with Broker(topics=TOPICS, settings=SETTINGS) as broker:
        yield broker


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_error_looks_as_where_it_is_meant(case: Case, refuses: Broker) -> None:
    assert compared(case, ask(refuses.bootstrap_servers, case.api, case.version, case.request)) == []


@pytest.mark.long
def test_an_error_looks_as_apache_kafkas(tmp_path: Path) -> None:
    if (reason := apache_kafka.unavailable()) is not None:
        pytest.skip(reason)
    with apache_kafka.ApacheKafka(tmp_path / "kafka", settings=SETTINGS, heap="-Xmx512M -Xms256M") as kafka:
        address = f"127.0.0.1:{kafka.port}"
        rows = [{"name": name, "numPartitions": 1, "replicationFactor": 1} for name in TOPICS]
        ask(address, "CreateTopics", 7, {"topics": rows, "timeoutMs": 30_000})
        for kind, key in enumerate(("g", "x")):  # who asks for them makes them
            heard(address, "FindCoordinator", 2, {"key": key, "keyType": kind})
        different = {}
        for case in CASES:
            if found := compared(case, heard(address, case.api, case.version, case.request)):
                different[str(case)] = found
    assert different == {}
