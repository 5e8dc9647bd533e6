"""What Kafka's own dump tool reads in the files that transactions leave: markers, producer snapshots, aborted
transactions, and `__transaction_state` with its decoder.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from compat_tests.harness import DEADLINE_S, ROOT, Broker
from compat_tests.java_tools import verbs

TOOL = Path(os.environ.get("OTTLA_KAFKA_TOOL", ROOT.parent / "shared" / "kafka" / "tool.sh"))
FETCH_DEADLINE_S = 540  # the first run fetches Kafka's jars
TOPIC = "dumped"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not TOOL.is_file(), reason=f"no {TOOL}: set OTTLA_KAFKA_TOOL to run Kafka's own tools"),
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed"),
]


def dump(files: Iterable[Path], *options: str) -> str:
    """What DumpLogSegments prints; it must end well."""
    verbs.note("DumpLogSegments", options)
    command = ["bash", str(TOOL), "DumpLogSegments", "--files", ",".join(map(str, sorted(files))), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FETCH_DEADLINE_S, env={**os.environ, "FAST": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def begin(broker: Broker, transactional_id: str) -> Producer:
    """A producer in a transaction that has two records."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transactional_id, "log_level": 0})
    producer.init_transactions(DEADLINE_S)
    producer.begin_transaction()
    for value in (b"1", b"2"):
        producer.produce(TOPIC, value, partition=0)
    assert producer.flush(DEADLINE_S) == 0
    return producer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a broker that was stopped with one transaction committed, one aborted, one open."""
    broker = Broker(tmp_path_factory.mktemp("dumped"))
    with broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(DEADLINE_S)
        begin(broker, "commits").commit_transaction(DEADLINE_S)
        begin(broker, "aborts").abort_transaction(DEADLINE_S)
        open_one = begin(broker, "stays open")
        broker.terminate()
        del open_one
    broker.close()
    return broker.data


def test_markers(data: Path) -> None:
    shown = dump((data / f"{TOPIC}-0").glob("*.log"), "--deep-iteration", "--print-data-log")
    markers = re.findall(r"endTxnMarker: (\w+) coordinatorEpoch: (-?\d+)", shown)
    assert markers == [("COMMIT", "0"), ("ABORT", "0")]
    assert shown.count("isTransactional: true") == 5
    assert shown.count("isControl: true") == 2
    assert "isvalid: false" not in shown


def test_snapshots_and_aborted_transactions(data: Path) -> None:
    folder = data / f"{TOPIC}-0"
    snapshot = dump(folder.glob("*.snapshot"))
    opened = re.findall(r"currentTxnFirstOffset: OptionalLong(\S+)", snapshot)
    assert opened == [".empty", ".empty", "[6]"]
    assert snapshot.count("coordinatorEpoch: 0") == 2
    aborted = dump(folder.glob("*.txnindex"))
    assert re.findall(r"producerId: \d+ firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)", aborted) == [
        ("3", "5", "6")
    ]


def test_transaction_state(data: Path) -> None:
    logs = [file for file in data.glob("__transaction_state-*/*.log") if file.stat().st_size]
    shown = dump(logs, "--transaction-log-decoder")
    states: dict[str, list[int]] = {}
    for line in shown.splitlines():
        if line.startswith("| offset: "):
            key, value = re.findall(r"(?:key|payload): (\{.*?\})(?= payload: |$)", line)
            transactional_id = json.loads(key)["data"]["transactionalId"]
            states.setdefault(transactional_id, []).append(json.loads(value)["data"]["transactionStatus"])
    empty, ongoing = 0, 1
    assert states == {
        "commits": [empty, ongoing, 2, 4],  # PrepareCommit, CompleteCommit
        "aborts": [empty, ongoing, 3, 5],
        "stays open": [empty, ongoing],
    }
