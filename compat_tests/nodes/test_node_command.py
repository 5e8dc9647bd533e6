"""`ottla node` and `ottla metrics` as a person types them, and what a client sees of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.client import Outgoing
from compat_tests.confluent.adapter import Adapter
from compat_tests.harness import DEADLINE_S, ROOT
from compat_tests.nodes.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with a topic of three partitions."""
    with Cluster(tmp_path_factory.mktemp("cluster"), {}) as running:
        Adapter(running.bootstrap).create_topic("orders", 3)
        yield running


def ottla(cluster: Cluster, *words: str, code: int = 0) -> str:
    """What a command prints: on stdout, or on stderr if it ends with another code."""
    done = subprocess.run(
        [sys.executable, "-m", "ottla", *words],
        cwd=ROOT,
        env={**os.environ, "OTTLA_CONTROL": cluster.control},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_nodes_go_down_and_up(cluster: Cluster) -> None:
    heading, *rows = ottla(cluster, "node").splitlines()
    assert heading.split() == ["ID", "STATE", "RACK", "LISTENERS", "LEADS", "COORDINATES"]
    assert [row.split()[:2] for row in rows] == [["1", "up"], ["2", "up"], ["3", "up"]]
    assert ottla(cluster, "node", "stop", "2").splitlines()[2].split()[:2] == ["2", "down"]
    assert ottla(cluster, "node", "stop", "2", code=1) == "ottla: node 2 is down already\n"
    with Adapter(cluster.bootstrap).sender() as sender:
        assert len(sender.send("orders", [Outgoing(b"v", partition=p) for p in range(3)])) == 3
    nodes = json.loads(ottla(cluster, "node", "start", "2", "--json"))["nodes"]
    assert [(node["id"], node["up"], node["leads"]) for node in nodes] == [(1, True, 1), (2, True, 0), (3, True, 2)]


def test_leads_isrs_and_coordinators_move(cluster: Cluster) -> None:
    moved = json.loads(ottla(cluster, "node", "leader", "orders:0", "3", "--json"))
    assert (moved["leader"], sorted(moved["isr"])) == (3, [1, 2, 3])
    table = ottla(cluster, "node", "isr", "orders:0", "3,1").splitlines()
    assert table[1].split()[-1] == "3,1"
    assert "always in sync" in ottla(cluster, "node", "isr", "orders:0", "1", code=1)
    assert ottla(cluster, "node", "coordinator", "group", "billing", "2").splitlines()[1].split() == ["billing", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("node", "stop", "two"), "two is no id of a node; give a number"),
        (("node", "leader", "orders", "1"), "orders is not of the form TOPIC:PARTITION, as in orders:0"),
    ],
)
def test_wrong_words_are_told(cluster: Cluster, words: tuple[str, ...], said: str) -> None:
    assert said in ottla(cluster, *words, code=2)


def test_metrics_of_clients_are_shown(cluster: Cluster) -> None:
    wanted = ("metrics=org.apache.kafka.producer.", "interval.ms=100")
    ottla(cluster, "configs", "set", "-b", cluster.bootstrap, "client-metrics", "mine", *wanted)
    client = Adapter(cluster.bootstrap)
    with client.sender() as sender:
        while not (pushed := json.loads(ottla(cluster, "metrics", "--json"))["instances"]):
            sender.send("orders", [Outgoing(b"v", partition=0)])
    assert pushed[0]["client_software_name"] == "confluent-kafka-python"
    table = ottla(cluster, "metrics", pushed[0]["client_instance_id"])
    assert "org.apache.kafka.producer." in table
    assert "there is no client instance" in ottla(cluster, "metrics", "nobody", code=1)


def test_no_broker_is_told_where_to_look(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ottla", "node"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "OTTLA_CONTROL"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 2
    assert "ottla serve --control PORT" in done.stderr
