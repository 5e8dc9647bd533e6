"""What three real Kafka 4.4.0 brokers answered to requests at the wrong node, and while nodes went and came: Ottla's
nodes say the same.

data/observed_nodes.json: steps in order. `do` stops or starts a node; else `at` a node (or "!g": one that does not
coordinate group or transactional id g) `api` is asked, and `answer` is what it said. Fields at their defaults are left
out; ids of topics stand there as their names, ports as the nodes they are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ottla.wire.apis import API
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message, Struct
from tests.broker.conftest import Client, Launcher, Running

DATA = Path(__file__).parent / "data" / "observed_nodes.json"
RACKS = ("a", "b", "c")
SETTINGS = {
    "default.replication.factor": "3",
    "log.retention.ms": "-1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.leader.rebalance.enable": "false",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
}
RECORDS = "RECORDS"  # in a request: a batch of one record; in an answer: there are some
ANY = "ANY"  # an answer of which nothing is known before
# What is of one run, of one machine, or a matter of words.
NOT_COMPARED = frozenset(
    (
        "throttle_time_ms",
        "cluster_id",
        "controller_id",
        "error_message",
        "host",
        "log_dir",
        "total_bytes",
        "usable_bytes",
        "partition_size",
        "log_append_time_ms",
        "timestamp",
        "is_cordoned",
        "configs",
        "topic_authorized_operations",
        "session_id",
    )
)
UNORDERED = frozenset(
    (
        "node_endpoints",
        "brokers",
        "topics",
        "partitions",
        "responses",
        "results",
        "replica_election_results",
        "partition_result",
    )
)


class Cluster:
    """Asks nodes of a cluster, whoever's it is. `ports` by node id; `ids` of topics by name."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        self.ports = dict(ports)
        self.ids: dict[str, bytes] = {}
        self._clients: dict[int, Client] = {}

    async def client(self, node: int) -> Client:
        found = self._clients.get(node)
        if found is None:
            found = self._clients[node] = await Client.connect(self.ports[node], "probe")
        return found

    async def ask(self, step: Mapping[str, Any]) -> Any:
        """The answer to a step, in the form of the data."""
        at = step["at"]
        if isinstance(at, str):
            at = await self._not_coordinator(at[1:], step.get("kind", 0))
        spec = next(spec for spec in API.values() if spec.name == step["api"])
        request = self.build(spec.request, step["request"])
        client = await self.client(at)
        try:
            answer = await client.ask(request, step["version"])
        except ConnectionResetError:
            del self._clients[at]
            return "CLOSED"
        self._learn_ids(answer)
        return self.plain(answer)

    def forget(self, node: int) -> None:
        """The node is gone, and what was connected to it."""
        self._clients.pop(node, None)

    async def _not_coordinator(self, key: str, kind: int) -> int:
        found = await self.coordinator(key, kind)
        return next(node for node in sorted(self.ports) if node != found)

    async def coordinator(self, key: str, kind: int) -> int:
        request = self.build(API[10].request, {"key_type": kind, "coordinator_keys": [key]})
        answer = await (await self.client(min(self.ports))).ask(request, 4)
        node: int = answer.coordinators[0].node_id
        return node

    def build(self, struct: type[Struct], values: Mapping[str, Any]) -> Any:
        message = struct.OWNER or struct
        fields: dict[str, Any] = {}
        for name, value in values.items():
            inner = str(struct.__annotations__[name]).split(" |")[0].removeprefix("list[").removesuffix("]")
            kind = getattr(message, inner.split(".")[-1], None)
            if name == "topic_id":
                value = self.ids[value]
            elif value == RECORDS:
                value = build_batch([Record(0, 1, None, b"v")])
            elif inner == "bytes":
                value = value.encode()
            elif isinstance(value, dict) and kind is not None:
                value = self.build(kind, value)
            elif isinstance(value, list) and value and isinstance(value[0], dict) and kind is not None:
                value = [self.build(kind, each) for each in value]
            fields[name] = value
        return struct(**fields)

    def plain(self, value: Any) -> Any:
        if not isinstance(value, Struct):
            return value
        told: dict[str, Any] = {}
        usual = type(value)()
        for name in type(value).FIELDS:
            each = getattr(value, name)
            if name in NOT_COMPARED or each == getattr(usual, name):
                continue
            if name == "topic_id":
                each = next((topic for topic, found in self.ids.items() if found == each), "UNKNOWN")
            elif name == "port":
                each = next((f"node {node}" for node, port in self.ports.items() if port == each), each)
            elif name == "records":
                each = RECORDS if each else ""
            elif isinstance(each, list):
                each = [self.plain(one) for one in each if not getattr(one, "topic", "").startswith("__")]
                if name in UNORDERED:
                    each.sort(key=lambda one: json.dumps(one, sort_keys=True))
            else:
                each = self.plain(each)
            told[name] = each
        return told

    def _learn_ids(self, answer: Message) -> None:
        for topic in getattr(answer, "topics", None) or ():
            name, topic_id = getattr(topic, "name", None), getattr(topic, "topic_id", None)
            if name and topic_id and any(topic_id):
                self.ids[name] = topic_id


async def test_nodes_answer_as_three_brokers_of_kafka(launcher: Launcher) -> None:
    running = await launcher.start(SETTINGS, nodes=3, racks=RACKS)
    cluster = Cluster({node: running.port_of(node) for node in (1, 2, 3)})
    wrong: list[str] = []
    for number, step in enumerate(json.loads(DATA.read_text())):
        if "do" in step:
            do(running, cluster, step)
            continue
        answer = await cluster.ask(step)
        if step["answer"] not in (answer, ANY):
            wrong.append(
                f"{number} at {step['at']} {step['api']} v{step['version']} {json.dumps(step['request'])}\n"
                f"    Kafka {json.dumps(step['answer'])}\n    Ottla {json.dumps(answer)}"
            )
    assert "request failed" not in running.log_text
    assert not wrong, "\n" + "\n".join(wrong)


def do(running: Running, cluster: Cluster, step: Mapping[str, Any]) -> None:
    failover = running.broker.failover
    if step["do"] == "stop":
        failover.stop_node(step["node"])
        cluster.forget(step["node"])
    else:
        failover.start_node(step["node"])
