"""The client commands of `ottla` as processes, against a real broker: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from confluent_kafka import Consumer, Producer

from compat_tests.harness import DEADLINE_S, ROOT, Broker, free_port, make_broker

Fresh = Callable[[str], str]


class Cli:
    """Runs `ottla` commands against one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.environment = {**os.environ, "OTTLA_BOOTSTRAP": bootstrap, "PYTHONPATH": str(ROOT)}

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The command when it has ended, whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "ottla", *words],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=2 * DEADLINE_S,
            check=False,
        )

    def text(self, *words: str, stdin: bytes = b"") -> str:
        """What a command prints that must succeed, and say nothing on stderr."""
        done = self.run(*words, stdin=stdin)
        assert (done.returncode, done.stderr.decode()) == (0, "")
        return done.stdout.decode()

    def json(self, *words: str) -> Any:
        """The JSON document that a command prints."""
        return json.loads(self.text(*words, "--json"))

    def json_lines(self, *words: str) -> list[Any]:
        """The JSON objects that a command prints, a line each."""
        return [json.loads(line) for line in self.text(*words, "--json").splitlines()]

    def refused(self, *words: str, stdin: bytes = b"") -> str:
        """The one sentence of a command that fails."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 1
        sentence = done.stderr.decode()
        assert sentence.startswith("ottla: ")
        assert sentence.count("\n") == 1
        return sentence

    @contextmanager
    def started(self, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        """A command that runs on, and its stdout; killed at the end if it is still there."""
        process = subprocess.Popen(
            [sys.executable, "-m", "ottla", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def cli(broker: Broker) -> Cli:
    """The command line, on the broker of this module."""
    return Cli(broker.bootstrap)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, the heading first."""
    return [line.split() for line in text.splitlines()]


def test_topics(cli: Cli, fresh: Fresh) -> None:
    one, two = fresh("one"), fresh("two")
    assert cli.text("topics", "create", f"{one}:3:retention.ms=60000,cleanup.policy=compact,delete", two) == (
        f"created {one} with 3 partitions\ncreated {two} with 1 partition\n"
    )
    assert f"topic {one} exists already" in cli.refused("topics", "create", one)
    assert cli.json("topics", "create", one, "--if-not-exists")[0]["created"] is False
    assert [one, "3", "1"] in rows(cli.text("topics"))
    listed = {topic["name"]: topic for topic in cli.json("topics", "list", "--internal")}
    assert listed[two] == {"name": two, "partitions": 1, "replication": 1, "internal": False}
    assert cli.text("topics", "grow", one, "5") == f"{one} has 5 partitions\n"
    assert "(INVALID_PARTITIONS)" in cli.refused("topics", "grow", one, "2")
    assert rows(cli.text("topics", "describe", one))[-1] == [one, "4", "1", "1", "1", "0", "0"]
    (described,) = cli.json("topics", "describe", one)
    assert len(described["id"]) == 22
    assert [part["partition"] for part in described["partitions"]] == [0, 1, 2, 3, 4]
    done = cli.run("topics", "delete", one, "not-there", two)
    assert (done.returncode, sorted(done.stdout.decode().split())) == (1, sorted(["deleted", one, "deleted", two]))
    assert "there is no topic not-there" in done.stderr.decode()
    assert cli.text("topics", "delete", one, "--if-exists") == ""
    assert f"there is no topic {one}" in cli.refused("topics", "describe", one)


def test_records_in_and_out(cli: Cli, fresh: Fresh) -> None:
    topic = fresh("records")
    cli.text("topics", "create", f"{topic}:2")
    printed = cli.text(
        "produce", topic, "--key-separator", ":", "--header", "from=test", stdin=b"k:one\nk:two:2\r\nk:\n"
    )
    assert printed.endswith("offsets 0 to 2  3 records\n")
    partition = int(printed.partition(":")[2].split()[0])
    cli.text("produce", topic, "--key", "k", "--tombstone", "--idempotent")
    cli.text("produce", topic, "--partition", "1", stdin=b"\x1b[31m\xff\n")
    cli.text("produce", topic, "--value", "\x1b[2J", "--acks", "0", "--partition", "0")

    records = cli.json_lines("consume", topic, "--exit")
    keyed = [record for record in records if record["key"] == "k"]
    assert [record["value"] for record in keyed] == ["one", "two:2", "", None]
    assert {record["partition"] for record in keyed} == {partition}
    assert keyed[0]["headers"] == [{"key": "from", "value": "test"}]
    assert {"base64": "G1szMf9t"} not in [record["value"] for record in records]
    assert {"base64": "G1szMW3/"} in [record["value"] for record in records]

    text = cli.text("consume", topic, "-e", "--key-separator", "=")
    assert {"k=one", "k=two:2", "k=", "k=null", "null=0x1b5b33316dff", r"null=\x1b[2J"} == set(text.splitlines())
    raw = cli.run("consume", f"{topic}:1", "-e", "--raw").stdout
    assert b"\x1b[31m\xff\n" in raw
    assert len(cli.json_lines("consume", topic, "-n", "2")) == 2
    assert [
        record["offset"] for record in cli.json_lines("consume", f"{topic}:{partition}", "--from", "2", "-n", "1")
    ] == [2]
    assert cli.text("consume", topic, "--from", "latest", "-e") == ""
    assert len(cli.json_lines("consume", topic, "--from", "1h", "-e")) == 6

    assert [record["value"] for record in cli.json_lines("tail", topic, "-n", "1")] == ["\x1b[2J"]
    lines = cli.text("tail", topic).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(f"{topic}:{partition}:0  ")
    assert lines[0].endswith("  k  [from=test]  one")
    assert "there is no topic" in cli.refused("produce", "not-there", "--value", "x")
    assert "has no partition 7; it has 0 to 1" in cli.refused("tail", f"{topic}:7")
    assert "line 2 has no : in it" in cli.refused("produce", topic, "--key-separator", ":", stdin=b"a:b\nc\n")
    assert [record["key"] for record in cli.json_lines("tail", topic, "-n", "1")] == ["a"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records(cli: Cli, broker: Broker, fresh: Fresh, codec: str) -> None:
    topic = fresh(codec)
    cli.text("topics", "create", topic)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 100})
    for number in range(50):
        producer.produce(topic, f"{number:03} " * 100)
    assert producer.flush(DEADLINE_S) == 0
    assert [line[:3] for line in cli.text("consume", topic, "-e").splitlines()] == [f"{n:03}" for n in range(50)]


def test_transactions(cli: Cli, broker: Broker, fresh: Fresh) -> None:
    topic = fresh("transactions")
    cli.text("topics", "create", topic)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": topic})
    producer.init_transactions(DEADLINE_S)
    for number in range(4):
        producer.begin_transaction()
        producer.produce(topic, f"v{number}")
        producer.flush(DEADLINE_S)
        producer.commit_transaction(DEADLINE_S) if number % 2 == 0 else producer.abort_transaction(DEADLINE_S)
    assert cli.text("consume", topic, "-e").split() == ["v0", "v1", "v2", "v3"]
    assert cli.text("consume", topic, "-e", "--committed").split() == ["v0", "v2"]
    values = [record["value"] for record in cli.json_lines("tail", topic, "-n", "2", "--committed")]
    assert values == ["v0", "v2"]  # though most offsets hold markers and what was aborted


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_groups_and_offsets(cli: Cli, broker: Broker, fresh: Fresh, protocol: str) -> None:
    topic, group = fresh("read"), fresh("group")
    cli.text("topics", "create", f"{topic}:2")
    for partition in (0, 1):
        cli.text("produce", topic, "--partition", str(partition), stdin=b"a\nb\nc\n")
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": group, "client.id": "reader"}
    consumer = Consumer({**settings, "group.protocol": protocol, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        read = 0
        while read < 6:
            message = consumer.poll(DEADLINE_S)
            assert message is not None
            assert not message.error()
            read += 1
        consumer.commit(asynchronous=False)
        cli.text("produce", topic, "--partition", "1", "--value", "d")

        assert [group, "Stable", protocol, "consumer"] in rows(cli.text("groups"))
        (described,) = cli.json("groups", "describe", group)
        assert (described["state"], described["type"], described["members"]) == ("Stable", protocol, 1)
        parts = [(part["partition"], part["committed"], part["end"], part["lag"]) for part in described["partitions"]]
        assert parts == [(0, 3, 3, 0), (1, 3, 4, 1)]
        assert {part["client"] for part in described["partitions"]} == {"reader"}
        assert "TOPIC  " in cli.text("groups", "describe", group)
        (member,) = cli.json("groups", "members", group)
        assert (member["client"], member["host"], member["partitions"]) == ("reader", "127.0.0.1", {topic: [0, 1]})
        assert "has 1 member" in cli.refused("offsets", "reset", group, "--all-topics", "--to", "0", "--execute")
        assert "has members; stop them first" in cli.refused("groups", "delete", group)
    finally:
        consumer.close()

    planned = cli.run("offsets", "reset", group, "--all-topics", "--to", "earliest")
    assert planned.stderr.decode() == "nothing has changed yet; --execute does it\n"
    assert rows(planned.stdout.decode())[1:] == [[group, topic, "0", "3", "0"], [group, topic, "1", "3", "0"]]
    assert [at["committed"] for at in cli.json("offsets", "show", group)] == [3, 3]
    cli.text("offsets", "reset", group, "--topic", f"{topic}:1", "--to=-2", "--execute")
    cli.text("offsets", "reset", group, "--topic", f"{topic}:0", "--to", "1h", "--execute")
    assert [(at["committed"], at["lag"]) for at in cli.json("offsets", "show", group)] == [(0, 3), (1, 3)]
    assert cli.text("offsets", "delete", group, f"{topic}:0") == f"{group} has forgotten {topic}:0\n"
    assert [at["partition"] for at in cli.json("offsets", "show", group)] == [1]
    assert cli.text("groups", "delete", group) == f"deleted {group}\n"
    assert f"there is no group {group}" in cli.refused("groups", "describe", group)
    assert rows(cli.text("offsets", topic, "--at", "1h"))[1:] == [
        [topic, "0", "0", "3", "0", "3"],
        [topic, "1", "0", "4", "0", "4"],
    ]


def test_reading_as_a_group_goes_on_where_it_stopped(cli: Cli, fresh: Fresh) -> None:
    topic, group = fresh("shared"), fresh("group")
    cli.text("topics", "create", f"{topic}:2")
    cli.text("produce", topic, "--partition", "0", stdin=b"1\n2\n3\n4\n5\n")
    assert cli.text("consume", topic, "-g", group, "-n", "2").split() == ["1", "2"]
    assert cli.text("consume", topic, "-g", group, "-n", "1").split() == ["3"]
    assert cli.text("consume", topic, "-g", group, "--exit").split() == ["4", "5"]
    assert cli.text("consume", topic, "-g", group, "--exit") == ""
    (described,) = cli.json("groups", "describe", group)
    assert (described["state"], described["lag"]) == ("Empty", 0)


def test_configs(cli: Cli, fresh: Fresh) -> None:
    topic = fresh("settings")
    cli.text("topics", "create", f"{topic}:1:retention.ms=60000")
    assert ["retention.ms", "60000", "topic"] in rows(cli.text("configs", "topic", topic))
    assert "(INVALID_CONFIG)" in cli.refused("configs", "set", "topic", topic, "no.such=1", "retention.ms=5")
    cli.text("configs", "set", "topic", topic, "cleanup.policy=compact,delete", "retention.ms=70000")
    cli.text("configs", "unset", "topic", topic, "cleanup.policy")
    (shown,) = cli.json("configs", "topic", topic, "--all")
    settings = {setting["name"]: setting for setting in shown["settings"]}
    assert (settings["retention.ms"]["value"], settings["retention.ms"]["source"]) == ("70000", "topic")
    assert (settings["cleanup.policy"]["value"], settings["cleanup.policy"]["source"]) == ("delete", "default")
    assert settings["retention.ms"]["documentation"]
    assert settings["retention.ms"]["type"] == "long"
    assert "retention.ms" in cli.text("configs", "topic", topic, "--docs")
    assert "there is no topic not-there" in cli.refused("configs", "topic", "not-there")
    assert "there is no topic not-there" in cli.refused("configs", "set", "topic", "not-there", "retention.ms=1")
    cli.text("configs", "set", "broker", "default", "log.retention.ms=123456")
    assert ["log.retention.ms", "123456", "all", "brokers"] in rows(cli.text("configs", "broker"))
    cli.text("configs", "unset", "broker", "default", "log.retention.ms")
    cli.text("configs", "set", "group", topic, "consumer.session.timeout.ms=50000")
    assert "50000" in cli.text("configs", "group", topic)
    cli.text("configs", "set", "logger", "1", "root=WARN")
    assert "WARN" in cli.text("configs", "logger", "1", "--all")
    cli.text("configs", "set", "logger", "1", "root=INFO")


def test_nodes(cli: Cli, broker: Broker) -> None:
    assert rows(cli.text("nodes"))[1] == ["1", "127.0.0.1", str(broker.port), "-", "*"]
    document = cli.json("nodes")
    assert len(document["cluster"]) == 22
    assert [(node["id"], node["port"], node["rack"]) for node in document["nodes"]] == [(1, broker.port, None)]


def test_tail_follows_until_ctrl_c(cli: Cli, fresh: Fresh) -> None:
    topic = fresh("followed")
    cli.text("topics", "create", topic)
    cli.text("produce", topic, stdin=b"a\nb\n")
    with cli.started("tail", "-f", "-n", "1", "--json", topic) as (process, lines):
        assert json.loads(lines.readline())["value"] == "b"
        cli.text("produce", topic, "--value", "c")
        assert json.loads(lines.readline())["value"] == "c"
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, rest, said) == (130, b"", b"")


def test_whoever_closes_the_pipe_has_seen_enough(cli: Cli, fresh: Fresh) -> None:
    topic = fresh("long")
    cli.text("topics", "create", topic)
    cli.text("produce", topic, stdin=b"a line of text that fills pipes\n" * 20_000)
    with cli.started("consume", topic) as (process, lines):
        assert lines.readline()
        lines.close()
        assert process.wait(DEADLINE_S) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_wait(tmp_path: Path, fresh: Fresh) -> None:
    port = free_port(also=1000)
    cli = Cli(f"127.0.0.1:{port}")
    assert "not ready in time: nothing listens on" in cli.refused("wait", "--timeout", "0.2")
    topic = fresh("awaited")
    words = ("wait", "--topic", topic, "--timeout", str(2 * DEADLINE_S), "--json")
    with cli.started(*words) as (process, printed), make_broker(tmp_path, port=port):
        assert cli.json("wait")["ready"] is True
        assert f"there is no topic {topic}" in cli.refused("wait", "--topic", topic, "--timeout", "0.5")
        assert process.poll() is None
        cli.text("topics", "create", topic)
        assert process.wait(DEADLINE_S) == 0
        assert json.load(printed)["ready"] is True
