"""What a real Kafka 4.4.0 answered, request for request, in the order asked: the same codes and fields come out here.

data/observed_groups_offsets.jsonl: one request and its answer a line. Its random ids are bound to ours as they appear.
data/observed_transactional_offsets.jsonl: those of transactions, with the ends of the transactions in between.
data/observed_records.jsonl: what it had then written to `__consumer_offsets`, in order within each partition.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

from ottla.coordinator.group.records import decode_record
from ottla.wire.apis import API, ApiKey
from ottla.wire.schema import Message, Struct

DATA = Path(__file__).parent / "data"
LINES = [json.loads(line) for line in (DATA / "observed_groups_offsets.jsonl").read_text().splitlines()]
RECORDS = [json.loads(line) for line in (DATA / "observed_records.jsonl").read_text().splitlines()]
TRANSACTIONAL = [json.loads(line) for line in (DATA / "observed_transactional_offsets.jsonl").read_text().splitlines()]
METHODS = {
    "JoinGroup": "join_group",
    "SyncGroup": "sync_group",
    "Heartbeat": "heartbeat",
    "LeaveGroup": "leave_group",
    "OffsetCommit": "commit_offsets",
    "OffsetFetch": "fetch_offsets",
    "TxnOffsetCommit": "commit_transactional_offsets",
    "OffsetDelete": "delete_offsets",
    "DescribeGroups": "describe_groups",
    "ListGroups": "list_groups",
    "DeleteGroups": "delete_groups",
}
MEMBER_ID = re.compile(r"(probe|i1)-[0-9a-f]{8}-[0-9a-f-]{27}")
TOPIC_ID = "9c33ded2-1f5a-4307-a859-f6cce55aceec"
# The order of groups in these answers is that of a hash table there.
UNORDERED = ("DescribeGroups", "ListGroups", "DeleteGroups")
# Authorized operations are filled in by the broker, which knows who may do what; time stands still here.
NOT_COMPARED = ("AuthorizedOperations", "currentStateTimestamp", "commitTimestamp")


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def build(root: type[Message], struct: type[Struct], values: dict[str, Any]) -> Any:
    """A message from its JSON form."""
    fields = {}
    for name, value in values.items():
        annotation = str(struct.__annotations__[snake(name)])
        fields[snake(name)] = convert(root, annotation, value)
    return struct(**fields)


def convert(root: type[Message], annotation: str, value: Any) -> Any:
    if isinstance(value, list):
        element = annotation[annotation.index("[") + 1 : annotation.index("]")]
        return [convert(root, element, each) for each in value]
    if isinstance(value, dict) and list(value) == ["hex"]:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict):
        return build(root, getattr(root, annotation.split(".")[-1]), value)
    return UUID(value).bytes if annotation == "Uuid" else value


class Comparison:
    """Their ids by ours."""

    def __init__(self) -> None:
        self.ours: dict[str, str] = {}

    def request(self, text: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(MEMBER_ID.sub(lambda found: self.ours[found.group()], text))
        return values

    def check(self, expected: Any, actual: Any, where: str, unordered: bool = False) -> None:
        if isinstance(expected, dict) and list(expected) == ["hex"]:
            assert actual == bytes.fromhex(expected["hex"]), where
        elif isinstance(expected, dict):
            for name, value in expected.items():
                if name not in NOT_COMPARED:
                    self.check(value, getattr(actual, snake(name)), f"{where}.{name}", unordered)
        elif isinstance(expected, list):
            assert len(expected) == len(actual), where
            if unordered and expected and "GroupId" in expected[0]:
                expected = sorted(expected, key=lambda group: str(group["GroupId"]))
                actual = sorted(actual, key=lambda group: str(group.group_id))
            for number, (their, our) in enumerate(zip(expected, actual, strict=True)):
                self.check(their, our, f"{where}[{number}]")
        elif isinstance(expected, str) and MEMBER_ID.fullmatch(expected):
            assert MEMBER_ID.fullmatch(actual), where
            assert self.ours.setdefault(expected, actual) == actual, where
        elif expected == "<text>":
            assert isinstance(actual, str), where
        elif isinstance(actual, bytes):
            assert actual == UUID(expected).bytes, where
        else:
            assert actual == expected, where


def tell_the_story(world: Any) -> Comparison:
    """Ask all that was asked, and compare the answers."""
    world.topics.known = {"obs-a": (UUID(TOPIC_ID).bytes, 3)}
    world.context.client_id = "probe"
    comparison = Comparison()
    parked: Any = None
    for line in LINES:
        scenario, version = line["scenario"], line["version"]
        api = API[ApiKey[snake(line["api"]).upper()]]
        if "request" in line:
            request = build(api.request, api.request, comparison.request(json.dumps(line["request"])))
            answer = world.ask(METHODS[line["api"]], request, version)
        else:
            answer = parked
        world.settle()
        if hasattr(answer, "result"):
            answer = answer.result()
        sent = api.response.decode(answer.encode(version), version)
        comparison.check(line["response"], sent, f"{scenario} v{version}", line["api"] in UNORDERED)
        if scenario == "second member step 1":
            # Its second step was parked while the lines below ran; "(async)" is the answer.
            request.member_id = answer.member_id
            parked = world.ask("join_group", request, version)
    return comparison


def test_every_answer_is_that_of_kafka(world: Any) -> None:
    tell_the_story(world)


def test_every_record_is_that_of_kafka(world: Any) -> None:
    comparison = tell_the_story(world)
    world.sleep(600_000)  # sessions end, and housekeeping forgets the empty groups
    for partition in range(5):
        expected = [record for record in RECORDS if record["partition"] == partition]
        written = [(key, value) for index, key, value in world.log if index == partition]
        assert len(written) == len(expected)
        for number, (record, (key, value)) in enumerate(zip(expected, written, strict=True)):
            where = f"{partition}/{number}"
            ours = decode_record(key, value)
            assert ours is not None, where
            comparison.check(record["key"], ours.key, where)
            if record["value"] is None:
                assert value is None, where
                continue
            assert ours.version == record["version"], where
            comparison.check(record["value"], ours.value, where)


def test_every_answer_about_transactional_offsets_is_that_of_kafka(world: Any) -> None:
    world.topics.known = {"obs-a": (UUID(TOPIC_ID).bytes, 3)}
    comparison = Comparison()
    for line in TRANSACTIONAL:
        if line["api"] == "EndTxn":
            request = line["request"]
            world.end_transaction(request["ProducerId"], request["Committed"], group="og-tx")
            continue
        api = API[ApiKey[snake(line["api"]).upper()]]
        request = build(api.request, api.request, line["request"])
        answer = world.ask(METHODS[line["api"]], request, line["version"])
        comparison.check(line["response"], answer, f"{line['scenario']} v{line['version']}")
    assert world.committed("obs-a", group="og-tx") == 4
