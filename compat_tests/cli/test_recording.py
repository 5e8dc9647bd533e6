"""What real clients ask a broker, recorded, and played to others: one that does the same, and one that does not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic as PlainTopic

from compat_tests.harness import DEADLINE_S, ROOT, Broker

# A broker whose FindCoordinator has another code: what the start of its process is told.
FAULT = """
from ottla.broker.handlers import find_coordinator
def handle(broker, context, request, served=find_coordinator.handle):
    answer = served(broker, context, request)
    for one in answer.coordinators if context.api_version >= 4 else [answer]:
        one.error_code = 24
    return answer
find_coordinator.handle = handle
import sys
from ottla.__main__ import main
sys.exit(main())
"""


class FaultyBroker(Broker):
    """An Ottla with one handler changed by a line."""

    def command(self) -> list[str]:
        python, _, _, *words = super().command()
        return [python, "-c", FAULT, *words]


def kafka_python(bootstrap: str) -> None:
    """Records with keys and headers, without acks too, and a group that reads and commits them."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([PlainTopic("orders", 3, 1)])
    admin.close()
    with KafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for number in range(20):
            producer.send("orders", key=b"%d" % number, value=b"v", headers=[("h", b"1")])
    with KafkaProducer(bootstrap_servers=bootstrap, acks=0, enable_idempotence=False) as producer:
        producer.send("orders", b"unanswered")
    consumer = KafkaConsumer("orders", bootstrap_servers=bootstrap, group_id="g", auto_offset_reset="earliest")
    for _ in range(20):
        next(consumer)
    consumer.commit()
    consumer.close()


def confluent(bootstrap: str) -> None:
    """A transaction that commits, one that aborts, and a group that reads."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("orders", 2, 1)])["orders"].result(DEADLINE_S)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "tx"})
    producer.init_transactions()
    for ends in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        for number in range(10):
            producer.produce("orders", b"v", str(number))
        producer.flush()
        ends()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    seen = 0
    while seen < 10:
        for message in consumer.consume(10, DEADLINE_S):
            assert message.error() is None
            seen += 1
    consumer.commit(asynchronous=False)
    consumer.close()


def replay(path: Path, broker: Broker, *flags: str) -> tuple[int, Any]:
    """The exit code of `ottla replay --json`, and what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "ottla", "replay", str(path), "--against", broker.bootstrap, "--json", *flags],
        cwd=ROOT,
        capture_output=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("session", [kafka_python, confluent])
def test_a_session_is_answered_alike_by_a_fresh_broker(tmp_path: Path, session: Callable[[str], None]) -> None:
    path = tmp_path / "session.jsonl"
    with Broker(tmp_path / "recorded", args=["--record", str(path)]) as broker:
        session(broker.bootstrap)
        broker.terminate()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (lines[0]["kind"], lines[-1]["kind"]) == ("recording", "ended")
    with Broker(tmp_path / "fresh") as fresh:
        code, found = replay(path, fresh)
        assert (code, found["differences"], found["not_played"]) == (0, [], [])
        assert found["played"] == sum(line["kind"] == "response" for line in lines) > 20
    with FaultyBroker(tmp_path / "faulty") as faulty:
        code, found = replay(path, faulty)
        assert code == 1
        assert {each["api"] for each in found["differences"]} == {"FindCoordinator"}
        assert {(each["recorded"], each["replayed"]) for each in found["differences"]} == {(0, 24)}
        assert all(each["field"].endswith("rrorCode") for each in found["differences"])


def test_a_broker_that_is_killed_leaves_what_it_recorded(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with Broker(tmp_path / "recorded", args=["--record", str(path)]) as broker:
        kafka_python(broker.bootstrap)
        whole = path.stat().st_size
        broker.kill()
    assert path.stat().st_size >= whole > 0
    with Broker(tmp_path / "fresh") as fresh:
        assert replay(path, fresh)[0] == 0


def test_ctrl_c_ends_a_recording_whole(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with Broker(tmp_path / "recorded", args=["--record", str(path)]) as broker:
        kafka_python(broker.bootstrap)
        assert broker._signal(signal.SIGINT) == 0
    assert json.loads(path.read_text().splitlines()[-1])["kind"] == "ended"


def test_a_full_disk_stops_the_recording_and_not_the_broker(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():  # Linux has one; elsewhere tests/broker/test_recording.py tells it of a file
        return
    with Broker(tmp_path / "recorded", args=["--record", str(full)]) as broker:
        kafka_python(broker.bootstrap)
        broker.terminate()
    assert "recording ended early" in broker.log
    assert "No space left on device" in broker.log
