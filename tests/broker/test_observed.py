"""What a real Kafka 4.4.0 answered, request for request, in the order asked: Ottla says the same codes and fields.

data/observed/*.jsonl.gz: one exchange a line (scenario, api, version, request, response). Ids of theirs are bound to
ours when they first appear. The clock stands where Kafka's stood, and moves only while a Fetch waits. Groups and
offsets are replayed in tests/coordinator/test_observed.py.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import trio
from trio.testing import wait_all_tasks_blocked

from ottla.broker.cluster import Partition
from ottla.broker.handlers import handlers
from ottla.log.clock import ManualClock
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message, Struct
from tests.broker.conftest import Client, Launcher, Running

DATA = Path(__file__).parent / "data" / "observed"
STARTED_MS = 1_795_364_057_645  # when Kafka answered "produce log-append-time topic"
STEP_MS = 100
CLUSTER_ID = "AAAAAAAAQACAAAAAAAAAAQ"
PORT = 19392
# Their id: what it had sent last to obs-a-1.
EARLIER_PRODUCERS = {
    2: {"producer_epoch": 1, "base_sequence": 0, "stamp_ms": 1_795_364_063_737},
    5002: {"producer_epoch": 0, "base_sequence": 7, "stamp_ms": 1_795_364_063_929},
}
CLOSED = "CLOSED"
NEVER = "TIMEOUT"
NO_ID = (-1, "00000000-0000-0000-0000-000000000000")
SILENT = "NO RESPONSE (connection stays open)"

# What can't be replayed yet. An API that is served may not stand here.
_ONE_NODE = "one node, one folder: nothing to elect, move or describe"
_OPEN = "no authentication, no authorizer, no quotas"
NOT_SERVED = {
    "DescribeAcls": _OPEN,
    "CreateAcls": _OPEN,
    "DescribeUserScramCredentials": _OPEN,
    "AlterUserScramCredentials": _OPEN,
    "CreateDelegationToken": _OPEN,
    "SaslHandshake": _OPEN,
    "SaslAuthenticate": _OPEN,
}


class Difference(NamedTuple):
    """Why Ottla answers otherwise, and what it says there; `ANY` where only the field's difference is known before."""

    reason: str
    ours: dict[str, Any]


ANY = object()
_AT_ONCE = "Kafka is not ready at the first call and the client asks again; Ottla is"
_COORDINATOR = Difference(_AT_ONCE, {"ErrorCode": 0, "NodeId": 1, "Host": "127.0.0.1", "Port": ANY})
_PRODUCED = "Responses[0].PartitionResponses[0]"
_UNREADABLE = Difference("Kafka answers UNKNOWN_SERVER_ERROR; the batch is at fault", {f"{_PRODUCED}.ErrorCode": 87})
_LOG_DIR = {"Results[0].LogDir": ANY, "Results[0].TotalBytes": ANY, "Results[0].UsableBytes": ANY}
_QUORUM = "Topics[0].Partitions[0]"
# By scenario and version. One that is no longer different may not stand here.
DIFFERENCES = {
    "metadata auto create first v12": Difference(
        _AT_ONCE, {"Topics[0].ErrorCode": 0, "Topics[0].TopicId": ANY, "Topics[0].Partitions.length": 3}
    ),
    "metadata null name zero id v12 v12": Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR; the request is at fault", {"Topics[0].ErrorCode": 42}
    ),
    "produce null record set v9": Difference("Kafka never answers", {f"{_PRODUCED}.ErrorCode": 87}),
    "produce trailing garbage v9": Difference(
        "Kafka drops bytes after the batch silently",
        {
            f"{_PRODUCED}.ErrorCode": 2,
            f"{_PRODUCED}.BaseOffset": -1,
            f"{_PRODUCED}.LogStartOffset": -1,
            f"{_PRODUCED}.ErrorMessage": ANY,
        },
    ),
    "produce unknown codec 7 v9": _UNREADABLE,
    "produce gzip attr but plain data v9": _UNREADABLE,
    "init producer id idempotent v4": Difference(_AT_ONCE, {"ErrorCode": 0, "ProducerId": 0, "ProducerEpoch": 0}),
    "find coordinator group (first call creates __consumer_offsets) v0": _COORDINATOR,
    "find coordinator group (first call creates __consumer_offsets) v2": _COORDINATOR,
    "find coordinator group (first call creates __consumer_offsets) v3": _COORDINATOR,
    "find coordinator txn v4": Difference(
        _AT_ONCE, {f"Coordinators[0].{name}": value for name, value in _COORDINATOR.ours.items()}
    ),
    "describe broker configs (all) v4": Difference(
        "one setting is Ottla's own, ottla.record.validation", {"Results[0].Configs.length": 351}
    ),
    "describe broker default v4": Difference(
        "Kafka sets min.insync.replicas for all brokers when it formats its folder", {"Results[0].Configs.length": 0}
    ),
    "describe log dirs v4": Difference(
        "another folder, and what Ottla refuses to store is not in it",
        {**_LOG_DIR, "Results[0].Topics[0].Partitions[1].PartitionSize": ANY},
    ),
    "describe log dirs v5 v5": Difference("another folder", _LOG_DIR),
    "describe quorum v2": Difference(
        "another history, and the broker's own port is the controller's",
        {
            "Nodes[0].Listeners[0].Port": ANY,
            f"{_QUORUM}.LeaderEpoch": 0,
            f"{_QUORUM}.HighWatermark": ANY,
            f"{_QUORUM}.CurrentVoters[0].LogEndOffset": ANY,
            f"{_QUORUM}.CurrentVoters[0].LastFetchTimestamp": ANY,
            f"{_QUORUM}.CurrentVoters[0].LastCaughtUpTimestamp": ANY,
        },
    ),
    "848 second member joins v1": Difference(
        "Kafka makes a target assignment at most each second, Ottla for each member", {"MemberEpoch": 3}
    ),
    "describe broker loggers v4": Difference("another level", {"Results[0].Configs[0].Value": "DEBUG"}),
}
# Their order is that of a hash table in Kafka.
UNORDERED = {
    "Metadata": ("Name",),
    "Produce": ("Name", "Index"),
    "DescribeProducers": ("ProducerId",),
    "ListConfigResources": ("ResourceName",),
    "ConsumerGroupDescribe": ("GroupId", "MemberId"),
    "ConsumerGroupHeartbeat": ("TopicId",),
}


def uuid_text(value: Any) -> Any:
    """Ids as the data has them."""
    return str(UUID(bytes=value)) if isinstance(value, bytes) and len(value) == 16 else value


def load(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def key_of(api: str) -> int:
    return next(key for key, spec in API.items() if spec.name == api)


class Ours:
    """Their random values by ours: topic ids, cluster id, port, fetch session ids, producer ids."""

    def __init__(self, running: Running) -> None:
        self._known: dict[tuple[str, Any], Any] = {
            ("ClusterId", CLUSTER_ID): running.broker.cluster.cluster_id,
            ("Port", PORT): running.port,
        }

    def bind(self, field: str, theirs: Any, ours: Any) -> None:
        self._known.setdefault((field, theirs), ours)

    def __call__(self, field: str, theirs: Any) -> Any:
        return self._known.get((field, theirs), theirs)


def build(struct: type[Struct], values: dict[str, Any], ours: Ours) -> Any:
    """A message from its JSON form, with their ids replaced by ours."""
    message = struct.OWNER or struct
    fields = {}
    for name, value in values.items():
        annotation = str(struct.__annotations__[snake(name)])
        inner = annotation.split(" |")[0].removeprefix("list[").removesuffix("]").split(".")[-1]
        value = ours(name, value) if not isinstance(value, list | dict) else value
        if isinstance(value, dict) and list(value) == ["hex"]:
            value = bytes.fromhex(value["hex"])
        elif isinstance(value, dict):
            value = build(getattr(message, inner), value, ours)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            value = [build(getattr(message, inner), each, ours) for each in value]
        elif inner == "Uuid" and isinstance(value, str):
            value = UUID(value).bytes
        fields[snake(name)] = value
    return struct(**fields)


def plain(value: Any) -> Any:
    """A decoded response in the JSON form of the data, snake names kept."""
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in type(value).FIELDS}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


class Comparison:
    """Compares one response, field by field; `found` is {path: (Kafka's, ours)}."""

    def __init__(self, api: str, ours: Ours) -> None:
        self.found: dict[str, tuple[Any, Any]] = {}
        self._ours = ours
        self._unordered = UNORDERED.get(api, ())

    def check(self, theirs: Any, actual: Any, path: str = "", field: str = "", code: int = 0) -> None:
        if isinstance(theirs, dict) and list(theirs) == ["hex"]:
            self._equal(bytes.fromhex(theirs["hex"]), actual, path)
        elif isinstance(theirs, dict) and actual is None:
            self.found[path] = (theirs, actual)
        elif isinstance(theirs, dict):
            code = theirs.get("ErrorCode", code)
            for name, value in theirs.items():
                self.check(value, actual[snake(name)], f"{path}.{name}".lstrip("."), name, code)
        elif isinstance(theirs, list) and isinstance(actual, list):
            self._check_list(theirs, actual, path, field)
        elif isinstance(theirs, str) and (counted := re.fullmatch(r"<(\d+) configs, see .*>", theirs)):
            self._equal(int(counted[1]), len(actual), f"{path}.length")
        elif field.endswith("ErrorMessage"):
            self._check_text(theirs, actual, path, code)
        elif "ActiveProducers" in path:  # from batches, which hold their ids
            self._equal(theirs, actual, path)
        elif (
            field in ("TopicId", "ReplicaDirectoryId", "ProducerId")
            or (field == "SessionId" and theirs)
            or (field == "MemberId" and code == ErrorCode.MEMBER_ID_REQUIRED)
        ):
            self._check_id(field, theirs, actual, path)
        else:
            self._equal(self._ours(field, theirs), actual, path)

    def _check_list(self, theirs: list[Any], actual: list[Any], path: str, field: str) -> None:
        first = theirs[0] if theirs and isinstance(theirs[0], dict) else {}
        name = next((name for name in self._unordered if name in first), None)
        if name is not None:
            known = self._ours if name == "TopicId" else lambda _, value: value
            theirs = sorted(theirs, key=lambda each: str(known(name, each[name])))
            actual = sorted(actual, key=lambda each: str(uuid_text(each[snake(name)])))
        if len(theirs) != len(actual):
            self._equal(len(theirs), len(actual), f"{path}.length")
            return
        for number, (their, our) in enumerate(zip(theirs, actual, strict=True)):
            self.check(their, our, f"{path}[{number}]", field)

    def _check_text(self, theirs: str | None, actual: str | None, path: str, code: int) -> None:
        """Words are our own. Where Kafka leaves an error unexplained, a text is welcome; no text may be missing."""
        if theirs == "<text>":
            self._equal(True, bool(actual), path)
        elif code == 0 or not actual:
            self._equal(theirs, actual, path)

    def _check_id(self, field: str, theirs: Any, actual: Any, path: str) -> None:
        actual = uuid_text(actual)
        if theirs not in NO_ID and actual not in NO_ID:
            self._ours.bind(field, theirs, actual)
        self._equal(self._ours(field, theirs), actual, path)

    def _equal(self, theirs: Any, actual: Any, path: str) -> None:
        if theirs != actual:
            self.found[path] = (theirs, actual)


class Player:
    """Asks what was asked of Kafka, on one connection for as long as it stays open."""

    def __init__(self, running: Running, clock: ManualClock) -> None:
        self.running = running
        self.ours = Ours(running)
        self._clock = clock
        self._client: Client | None = None

    async def play(self, exchange: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """The differences in one exchange."""
        client = self._client
        if client is None:
            client = self._client = await self.running.client("probe")
        api, version, theirs = exchange["api"], exchange["version"], exchange["response"]
        request = build(API[key_of(api)].request, exchange["request"], self.ours)
        if theirs == SILENT:
            await client.send(request, version)
            request, version = API[ApiKey.METADATA].request(topics=[]), 1
            await client.ask(request, version)
            return {}
        started_ms = self._clock.mono_ms()
        try:
            actual = await self._ask(client, request, version)
        except ConnectionResetError:
            self._client = None
            return {} if theirs == CLOSED else {"": (theirs, CLOSED)}
        comparison = Comparison(api, self.ours)
        if theirs == NEVER:
            theirs = {"Responses": [{"PartitionResponses": [{"ErrorCode": NEVER}]}]}
        comparison.check(theirs, plain(actual))
        limit_ms = exchange["request"].get("MaxWaitMs", 0)
        if limit_ms:
            waited = self._clock.mono_ms() - started_ms >= limit_ms
            comparison.check(exchange.get("ms", 0) >= limit_ms, waited, "waited")
        return comparison.found

    async def _ask(self, client: Client, request: Message, version: int) -> Any:
        if not getattr(request, "max_wait_ms", 0):
            return await client.ask(request, version)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_time)
                answer = await client.ask(request, version)
                nursery.cancel_scope.cancel()
        return answer

    async def _pass_time(self) -> None:
        """While nobody has anything to do, time goes on."""
        timers = self.running.broker.timers
        while True:
            await wait_all_tasks_blocked(0.002)
            self._clock.advance(STEP_MS)
            timers.schedule(0, lambda: None)  # the driver looks at the clock again

    def meanwhile(self) -> None:
        """What was done to Kafka, unrecorded, between the first file and the second."""
        metadata = self.running.broker.metadata
        created = metadata.create_topic(metadata.plan_topic("obs-fr", 2))
        self.ours.bind("TopicId", "00cb0cd5-d8bb-42ed-bd33-dcb1016e7018", str(UUID(bytes=created.id)))
        for theirs, sent in EARLIER_PRODUCERS.items():  # who had gone through this file before
            self.append("obs-a", 1, 1, producer_id=theirs, **sent)
        self.append("obs-a", 1, 24 - self._partition("obs-a", 1).log.log_end_offset)

    def later(self) -> None:
        """What other topics there were when configs were asked for."""
        metadata, topics = self.running.broker.metadata, self.running.broker.cluster.topics
        for name in {"obs-f", "obs-t"} - topics.keys():
            metadata.create_topic(metadata.plan_topic(name))
        if "obs-fr" in topics:
            metadata.delete_topics([topics["obs-fr"]])

    def append(self, topic: str, index: int, count: int, stamp_ms: int = STARTED_MS, **producer: Any) -> None:
        """Records that nobody looks at."""
        records = [Record(at, stamp_ms, b"k", b"v") for at in range(count)]
        self._partition(topic, index).log.append(build_batch(records, **producer), leader_epoch=0)

    def _partition(self, topic: str, index: int) -> Partition:
        return self.running.broker.cluster.topics[topic].partitions[index]


async def test_every_answer_is_that_of_kafka(launcher: Launcher) -> None:
    clock = ManualClock(wall_ms=STARTED_MS)
    running = await launcher.start({"num.partitions": "3"}, clock=clock)
    player = Player(running, clock)
    wrong: list[str] = []
    differing: set[str] = set()
    for name in sorted(path.name.removesuffix(".jsonl.gz") for path in DATA.iterdir()):
        if name.startswith("2"):
            player.meanwhile()
        if name.startswith("5"):
            player.later()
        for number, exchange in enumerate(load(name), 1):
            if exchange["api"] in NOT_SERVED:
                continue
            scenario = f"{exchange['scenario']} v{exchange['version']}"
            found = await player.play(exchange)
            wanted = DIFFERENCES[scenario].ours if found and scenario in DIFFERENCES else {}
            if wanted:
                differing.add(scenario)
            for path in found.keys() | wanted.keys():
                theirs, actual = found.get(path, ("the same", "the same"))
                if path not in found or (wanted.get(path) is not ANY and wanted.get(path, NO_ID) != actual):
                    wrong.append(f"{name}:{number} {scenario} {path}: Kafka {theirs!r}, Ottla {actual!r}")
            if scenario == "produce trailing garbage v9":  # stored there: keep offsets in step
                player.append("obs-a", 0, 1)
    assert "request failed" not in running.log_text
    assert not wrong, "\n" + "\n".join(wrong)
    assert differing == DIFFERENCES.keys(), "no longer different"


def test_what_is_left_out_is_not_served() -> None:
    served = {API[key].name for key in handlers}
    assert not served & NOT_SERVED.keys()
    asked = {exchange["api"] for path in DATA.iterdir() for exchange in load(path.name.removesuffix(".jsonl.gz"))}
    assert asked >= NOT_SERVED.keys()
