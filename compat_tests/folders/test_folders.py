"""Partition folders change hands between Ottla and a real Apache Kafka, and Kafka's own DumpLogSegments reads Ottla's.

The topic is created in the target first, with as many partitions; both stop; the segments and what belongs to them are
copied, the target's own partition.metadata stays. Nothing else is touched. `start.sh` and `tool.sh` lie in the folder
`shared/kafka` beside the project, or in the one that OTTLA_COMPAT_KAFKA names.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from compat_tests.harness import DEADLINE_S, ROOT, ApacheKafka, Broker
from ottla.log.clock import SystemClock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.records import Record, build_batch

SCRIPTS = Path(os.environ.get("OTTLA_COMPAT_KAFKA", ROOT.parent / "shared" / "kafka"))
KAFKA_DEADLINE_S = 540  # the first run fetches Kafka's jars
COUNT = 1000  # records a codec: several segments
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
CONFIG = {"segment.bytes": str(1 << 20)}
PARTITION_FILES = re.compile(r"\d{20}\.(log|index|timeindex|txnindex|snapshot)|leader-epoch-checkpoint")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (SCRIPTS / "start.sh").is_file(),
        reason=f"no {SCRIPTS}/start.sh: set OTTLA_COMPAT_KAFKA to run a real Kafka",
    ),
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed"),
]


class Read(NamedTuple):
    """A record as a consumer gets it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Kafka(ApacheKafka):
    """A real Kafka whose settings are its own, whoever judges the other tests."""

    def __init__(self, folder: Path) -> None:
        Broker.__init__(self, folder)
        self.scripts = SCRIPTS
        self._kafka_pid = 0

    @property
    def logs(self) -> Path:
        """Its partition folders."""
        return self.data / "kraft"


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kafka]:
    """Not started yet."""
    monkeypatch.setenv("KAFKA_VERSION", os.environ.get("KAFKA_VERSION", "4.4.0"))
    broker = Kafka(tmp_path / "kafka")
    yield broker
    broker.close()


@pytest.fixture
def ottla(tmp_path: Path) -> Iterator[Broker]:
    """Not started yet."""
    broker = Broker(tmp_path / "ottla")
    yield broker
    broker.close()


def create_topic(broker: Broker, topic: str, partitions: int = 2) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1, config=CONFIG)])[topic].result(DEADLINE_S)


def produce(broker: Broker, topic: str, codec: str, count: int = COUNT, **options: Any) -> Producer:
    """Keys, null keys, null values, headers; values that compress well and values that do not."""
    chance = random.Random(codec)
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 5, "log_level": 0, **options},
    )
    if "transactional.id" in options:
        producer.init_transactions(DEADLINE_S)
        producer.begin_transaction()
    for n in range(count):
        value = None if n % 50 == 49 else codec.encode() * 100 if n % 3 == 0 else chance.randbytes(1200)
        producer.produce(
            topic,
            value,
            None if n % 7 == 0 else f"{codec}-{n}".encode(),
            partition=n % 2,
            headers=[("n", str(n).encode()), ("none", None)] if n % 5 == 0 else None,
        )
    assert producer.flush(DEADLINE_S) == 0
    return producer


def read_all(broker: Broker, topic: str, partitions: int = 2, isolation: str = "read_uncommitted") -> list[Read]:
    """Every record from the start to the end as it is now, every CRC checked by the client."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "exchange",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "enable.partition.eof": True,
            "isolation.level": isolation,
        }
    )
    found: list[Read] = []
    try:
        consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
        ended: set[int] = set()
        while len(ended) < partitions:
            message = consumer.poll(DEADLINE_S)
            assert message is not None, f"nothing for {DEADLINE_S} s, {len(found)} records so far"
            error = message.error()
            if error is not None:
                assert error.code() == -191, error  # _PARTITION_EOF
                ended.add(message.partition())
                continue
            found.append(
                Read(
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    tuple(message.headers() or ()),
                )
            )
    finally:
        consumer.close()
    return sorted(found, key=lambda read: read[:2])


def hand_over(source: Path, target: Path, topic: str, partitions: int = 2) -> None:
    """Copy what a partition's log consists of; partition.metadata stays the target's."""
    for index in range(partitions):
        name = f"{topic}-{index}"
        (target / name).mkdir(exist_ok=True)  # Ottla makes it at the first append
        for file in (target / name).iterdir():
            if PARTITION_FILES.fullmatch(file.name):
                file.unlink()
        for file in (source / name).iterdir():
            if PARTITION_FILES.fullmatch(file.name):
                shutil.copy2(file, target / name)


def check_folder(folder: Path) -> str:
    """`ottla log check` must find no damage."""
    done = subprocess.run(
        [sys.executable, "-m", "ottla", "log", "check", str(folder)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dump_with_kafka(files: Sequence[Path], *options: str) -> str:
    """The output of Kafka's DumpLogSegments, which must end well."""
    done = subprocess.run(
        ["bash", str(SCRIPTS / "tool.sh"), "DumpLogSegments", "--files", ",".join(map(str, files)), *options],
        capture_output=True,
        text=True,
        timeout=KAFKA_DEADLINE_S,
        env={**{k: v for k, v in os.environ.items() if k != "KAFKA_VERSION"}, "FAST": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # said of every segment but the first, of Kafka's own files, too
    quirk = re.compile(r"Non-consecutive offsets in \S+\n  -1 is followed by \d+\n")
    assert not quirk.sub("", done.stderr).strip(), done.stderr
    complaints = re.findall(
        r"(?i)^.*(?:mismatch|non-consecutive|out of order|invalid|corrupt|could not).*$", done.stdout, re.M
    )
    assert not complaints, complaints
    return done.stdout


def test_a_folder_written_by_ottla_is_served_by_kafka(kafka: Kafka, ottla: Broker) -> None:
    topic = "exchange"
    with ottla:
        create_topic(ottla, topic)
        for codec in CODECS:
            produce(ottla, topic, codec)
        produce(ottla, topic, "none", **{"enable.idempotence": True})
        written = read_all(ottla, topic)
        ottla.terminate()
    assert len(written) == 6 * COUNT
    assert len(list((ottla.data / f"{topic}-0").glob("*.log"))) > 1
    check_folder(ottla.data)
    kafka.start()
    create_topic(kafka, topic)
    kafka.terminate()
    hand_over(ottla.data, kafka.logs, topic)
    kafka.start()
    assert read_all(kafka, topic) == written
    assert not [folder.name for folder in kafka.logs.iterdir() if "stray" in folder.name]
    # it goes on where Ottla stopped
    produce(kafka, topic, "zstd", 10, **{"enable.idempotence": True})
    assert len(read_all(kafka, topic)) == len(written) + 10
    kafka.terminate()
    check_folder(kafka.logs)


def test_a_folder_written_by_kafka_is_served_by_ottla(kafka: Kafka, ottla: Broker) -> None:
    topic = "exchange"
    kafka.start()
    create_topic(kafka, topic)
    for codec in CODECS:
        produce(kafka, topic, codec)
    produce(kafka, topic, "none", **{"enable.idempotence": True})
    for number, codec in enumerate(CODECS):
        producer = produce(kafka, topic, codec, 20, **{"transactional.id": f"exchange-{number}"})
        if number % 2:
            producer.abort_transaction(DEADLINE_S)
        else:
            producer.commit_transaction(DEADLINE_S)
    written = read_all(kafka, topic)
    committed = read_all(kafka, topic, isolation="read_committed")
    kafka.terminate()
    assert (len(written), len(committed)) == (6 * COUNT + 5 * 20, 6 * COUNT + 3 * 20)
    assert list((kafka.logs / f"{topic}-0").glob("*.txnindex"))
    check_folder(kafka.logs)
    with ottla:
        create_topic(ottla, topic)
        ottla.terminate()
    hand_over(kafka.logs, ottla.data, topic)
    check_folder(ottla.data)
    with ottla:
        assert read_all(ottla, topic) == written
        produce(ottla, topic, "zstd", 10)
        assert len(read_all(ottla, topic)) == len(written) + 10
        ottla.terminate()
    check_folder(ottla.data)
    assert committed_by_index(ottla.data, topic, written) == committed


def committed_by_index(data: Path, topic: str, written: list[Read]) -> list[Read]:
    """What Ottla's transaction indexes leave of `written`: none of these producers' transactions overlap."""
    store = open_store(data)
    try:
        aborted = {
            index: store.get(topic, index).aborted_transactions(0, 1 << 62)  # type: ignore[union-attr]
            for index in range(2)
        }
    finally:
        store.abandon()
    return [
        read
        for read in written
        if not any(entry.first_offset <= read.offset <= entry.last_offset for entry in aborted[read.partition])
    ]


def open_store(path: Path) -> Store:
    return Store.open(
        str(path), clock=SystemClock(), ids=Ids(), node_id=1, broker_defaults={}, warn=lambda _: None, scan_all=True
    )


def write_transactions(path: Path, topic: str) -> None:
    """A log of several segments with transactions of three producers that overlap, committed and aborted, each of the
    third with an epoch of its own (KIP-890), and one of a fourth that stays open."""
    now_ms = SystemClock().wall_ms()
    store = open_store(path)
    options = {"segment.bytes": "4096", "index.interval.bytes": "200"}
    log = store.create(topic, 0, Ids().uuid(), options, lazy=False)
    epochs = dict.fromkeys(range(7, 11), 0)
    sequences = dict.fromkeys(range(7, 11), 0)

    def append(producer_id: int, value: bytes) -> None:
        records = [Record(n, now_ms, b"k%d" % n, value) for n in range(3)]
        batch = build_batch(
            records,
            producer_id=producer_id,
            producer_epoch=epochs[producer_id],
            base_sequence=sequences[producer_id],
            transactional=True,
        )
        sequences[producer_id] += 3
        log.append(batch, leader_epoch=0, transaction_version=2)

    def end(producer_id: int, commit: bool, version: int = 1) -> None:
        if version == 2:
            epochs[producer_id], sequences[producer_id] = epochs[producer_id] + 1, 0
        log.append_marker(producer_id, epochs[producer_id], commit, 0, leader_epoch=0, transaction_version=version)

    for turn in range(30):
        append(7, b"keep" * 20 if turn % 3 else b"drop" * 20)
        append(8, b"drop" * 20 if turn % 2 else b"keep" * 20)
        append(9, b"keep" * 20 if turn % 5 else b"drop" * 20)
        end(7, commit=turn % 3 != 0)
        end(8, commit=turn % 2 == 0)
        end(9, commit=turn % 5 != 0, version=2)
    append(10, b"open" * 20)
    store.close()


def test_transactions_written_by_ottla_are_left_out_by_kafka(kafka: Kafka, tmp_path: Path) -> None:
    topic = "transactions"
    write_transactions(tmp_path / "data", topic)
    assert len(list((tmp_path / "data" / f"{topic}-0").glob("*.txnindex"))) > 1
    check_folder(tmp_path / "data")
    kafka.start()
    create_topic(kafka, topic, 1)
    kafka.terminate()
    hand_over(tmp_path / "data", kafka.logs, topic, 1)
    kafka.start()
    everything = read_all(kafka, topic, 1)
    assert len(everything) == 3 * 3 * 30 + 3
    kept = [read for read in everything if read.value and read.value.startswith(b"keep")]
    assert read_all(kafka, topic, 1, isolation="read_committed") == kept


def test_kafkas_dump_tool_reads_every_kind_of_file(ottla: Broker, tmp_path: Path) -> None:
    topic = "exchange"
    with ottla:
        create_topic(ottla, topic)
        for codec in CODECS:
            produce(ottla, topic, codec, **{"enable.idempotence": True})
        reader = Consumer({"bootstrap.servers": ottla.bootstrap, "group.id": "dumped", "auto.offset.reset": "earliest"})
        reader.subscribe([topic])
        assert reader.consume(10, DEADLINE_S)
        reader.commit(asynchronous=False)
        reader.close()
        ottla.terminate()
    write_transactions(tmp_path / "data", "transactions")
    folders = [ottla.data / f"{topic}-0", tmp_path / "data" / "transactions-0"]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    logs = [file for file in files if file.suffix == ".log"]
    indexes = [file for file in files if file.suffix in (".index", ".timeindex")]
    others = [file for file in files if file.suffix in (".txnindex", ".snapshot")]
    assert len(logs) > 4
    assert {file.suffix for file in indexes + others} == {".index", ".timeindex", ".txnindex", ".snapshot"}

    batches = dump_with_kafka(logs, "--deep-iteration", "--print-data-log")
    assert "isvalid: true" in batches
    assert "isvalid: false" not in batches
    assert batches.count("endTxnMarker: ABORT") == 10 + 15 + 6
    assert batches.count("| offset: ") == 5 * COUNT // 2 + 273 + 90
    sane = dump_with_kafka(indexes, "--index-sanity-check")
    assert sane.count(" passed sanity check.") + sane.count(" is empty.") == len(indexes)
    assert sane.count(" is empty.") < 3, sane
    dump_with_kafka(indexes, "--verify-index-only")
    dump_with_kafka(indexes)
    shown = dump_with_kafka(others)
    assert shown.count("producerId: ") >= 31
    # one that ended, one whose next transaction has an epoch of its own, one that is open
    for epoch, first_offset in ((0, ".empty"), (30, ".empty"), (0, "[360]")):
        state = rf"producerEpoch: {epoch} .*currentTxnFirstOffset: OptionalLong{re.escape(first_offset)} "
        assert re.search(state, shown)
    groups = [file for file in ottla.data.glob("__consumer_offsets-*/*.log") if file.stat().st_size]
    assert '"group":"dumped"' in dump_with_kafka(groups, "--offsets-decoder")
    metadata = dump_with_kafka([*(ottla.data / "__cluster_metadata-0").glob("*.log")], "--cluster-metadata-decoder")
    assert f'"name":"{topic}"' in metadata
