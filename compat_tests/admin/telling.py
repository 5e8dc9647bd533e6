"""Tells one client's story to a broker and brings what it answered into a form that two brokers can share.

An answer is JSON: what the client's objects say, errors by name and words. Ids, hosts, folders and times are replaced.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from compat_tests import drivers
from compat_tests.admin.scene import Scene

CLIENTS = ("java", "franz_go", "confluent", "kafka_python")
SETTINGS = {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0"}
KAFKAS_OWN = {  # what Apache Kafka is started with here; Ottla gets it too: sources of configs are compared
    "group.coordinator.append.linger.ms": "0",
    "log.retention.hours": "168",
    "log.segment.bytes": "1073741824",
    "num.io.threads": "8",
    "num.network.threads": "3",
    "num.partitions": "1",
    "num.recovery.threads.per.data.dir": "2",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
}
_DEADLINE_S = 300

# What no two brokers share. Numbers below zero and empty texts mean "none" and stay.
_OWN = {
    "cluster", "clusterid", "consumerid", "memberid", "topicid", "producerid", "host", "clienthost", "port", "dir",
    "logdir", "size", "totalbytes", "usablebytes", "partitionsize", "logendoffset", "highwatermark",
    "finalizedepoch", "finalizedfeaturesepoch", "timestamp", "lasttimestamp", "lastcaughtuptimestamp",
    "lastfetchtimestamp", "lastupdatetime", "starttimestamp", "transactionstarttimems", "transactionstarttimestamp",
}  # fmt: skip
_ID = re.compile(r"(?!AAAAAAAAAAAAAAAAAAAAA)[\w+/-]{22}(==)?")
_TEXTS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"127\.0\.0\.1:\d+|localhost:\d+"), "<address>"),
    (re.compile(r"(?<![\w.])/(?:[\w.-]+/)+(?:kraft|data)(?=$|[\s,:;\"'\]])"), "<folder>"),
    (re.compile(r"producerId=\d+"), "producerId=<own>"),
]


class Step(NamedTuple):
    """One step of a story: the methods of the admin client that it called, and what came back."""

    name: str
    methods: list[str]
    answer: Any


class Told(NamedTuple):
    """A story as it went, and every public method that the client's admin has."""

    steps: list[Step]
    methods: list[str]


def tell(client: str, bootstrap: str) -> Told:
    """Sets the scene and lets the client's process tell its story. The broker is fresh."""
    with Scene(bootstrap):
        done = subprocess.run(
            [*_command(client), "--bootstrap", bootstrap],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_DEADLINE_S,
        )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, events[-1:]
    steps = [
        Step(name, methods, plain(answer))
        for name, methods, answer in (value for _, kind, value in events if kind == "step")
    ]
    return Told(steps, next(value for _, kind, value in events if kind == "methods"))


def _command(client: str) -> tuple[str, ...]:
    if drivers.has_driver(client):
        return (*drivers.driver(client), "admin")
    return (sys.executable, "-m", f"compat_tests.admin.{client}")


def plain(answer: Any, key: str = "") -> Any:
    """An answer without what is a broker's own."""
    if isinstance(answer, dict):
        if answer and all(isinstance(one, dict) and "ProducerID" in one for one in answer.values()):  # keyed by that id
            return plain(list(answer.values()))
        return {"<id>" if name.endswith("==") else _words(name): plain(value, name) for name, value in answer.items()}
    if isinstance(answer, list):
        if answer and all(isinstance(one, str) and "=" in one for one in answer):  # configs, in no order
            return {_words(name): _words(value) for name, _, value in sorted(one.partition("=") for one in answer)}
        many = [plain(one, key) for one in answer]
        unordered = all(isinstance(one, dict) for one in many) or all(isinstance(one, str) for one in many)
        return sorted(many, key=json.dumps) if unordered else many  # Kafka's order is often that of a hash
    if key.lower().replace("_", "") in _OWN and not isinstance(answer, bool) and answer not in (None, "", -1):
        return "<own>"
    if isinstance(answer, str):
        return "<id>" if key.lower() in ("", "id") and _ID.fullmatch(answer) else _words(answer)
    return answer


def _words(text: str) -> str:
    for pattern, instead in _TEXTS:
        text = pattern.sub(instead, text)
    return text


def stored(client: str) -> Path:
    """Where Apache Kafka's answers lie."""
    return Path(__file__).parent / "data" / f"{client}.json"


def load(client: str) -> dict[str, Any]:
    """Apache Kafka's answers by step."""
    answers: dict[str, Any] = json.loads(stored(client).read_text())
    return answers


def leaves(answer: Any, path: str = "") -> dict[str, Any]:
    """Each value in an answer by its path; empty containers are values."""
    pairs = answer.items() if isinstance(answer, dict) else enumerate(answer) if isinstance(answer, list) else ()
    found: dict[str, Any] = {}
    for name, value in pairs:
        found |= leaves(value, f"{path}/{name}")
    return found or {path: answer}


def differing(theirs: Any, ours: Any) -> dict[str, tuple[Any, Any]]:
    """The paths where two answers differ, with both values; "<none>" is what one of them lacks."""
    want, got = leaves(theirs), leaves(ours)
    pairs = {path: (want.get(path, "<none>"), got.get(path, "<none>")) for path in want | got}
    return {path: pair for path, pair in sorted(pairs.items()) if pair[0] != pair[1]}
