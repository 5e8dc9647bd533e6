"""How fast the wire codec is: decode and encode of everyday messages, against kafka-python and kio; what a start pays.

    python -m bench.wire [--rounds 7] [--json]

Everyone gets the same bytes and messages in one process, in turns within each round; figures are medians of CPU time.
`broker` rows are what a broker does (decode requests, encode responses), `client` rows the other half.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ottla.wire.apis import ApiKey
from ottla.wire.messages.fetch import FetchRequest, FetchResponse
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from ottla.wire.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from ottla.wire.schema import Message

ROOT = Path(__file__).resolve().parent.parent
TURN_S = 0.02  # CPU time of one measurement, roughly
STARTS = 9
RECORDS = bytes(range(256)) * 4  # one batch's worth; no codec looks inside
GOALS_MS = {"at serve": 5.0, "every message": 40.0}

_KAFKA_PYTHON = {
    ApiKey.PRODUCE: "kafka.protocol.producer",
    ApiKey.FETCH: "kafka.protocol.consumer",
    ApiKey.METADATA: "kafka.protocol.metadata",
    ApiKey.OFFSET_COMMIT: "kafka.protocol.consumer",
    ApiKey.JOIN_GROUP: "kafka.protocol.consumer",
}


class Case(NamedTuple):
    """One message at one version. `title` says what is in it."""

    title: str
    version: int
    message: Message


class Codec(NamedTuple):
    """One library's two functions for one message and version."""

    decode: Callable[[], Any]
    encode: Callable[[], Any]


class Row(NamedTuple):
    """Medians in microseconds a call; None where a library has no such message."""

    side: str
    what: str
    ottla_us: float
    kafka_python_us: float | None
    kio_us: float | None


# --- the messages -----------------------------------------------------------------------------------------------------


def produce(partitions: int) -> Iterator[Case]:
    title = f"Produce v9, {partitions} partition{'s' * (partitions > 1)} of 1 KiB"
    data = [ProduceRequest.PartitionProduceData(index=index, records=RECORDS) for index in range(partitions)]
    topic = ProduceRequest.TopicProduceData(name="orders.created", partition_data=data)
    yield Case(title, 9, ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic]))
    answers = [
        ProduceResponse.PartitionProduceResponse(index=index, base_offset=123_456 + index, log_start_offset=0)
        for index in range(partitions)
    ]
    answered = ProduceResponse.TopicProduceResponse(name="orders.created", partition_responses=answers)
    yield Case(title, 9, ProduceResponse(responses=[answered]))


def fetch() -> Iterator[Case]:
    title = "Fetch v12, 10 partitions"
    wanted = [
        FetchRequest.FetchPartition(
            partition=index, current_leader_epoch=0, fetch_offset=5_000 + index, partition_max_bytes=1 << 20
        )
        for index in range(10)
    ]
    topic = FetchRequest.FetchTopic(topic="orders.created", partitions=wanted)
    yield Case(title, 12, FetchRequest(max_wait_ms=500, min_bytes=1, max_bytes=50 << 20, topics=[topic], rack_id=""))
    given = [
        FetchResponse.PartitionData(
            partition_index=index,
            high_watermark=6_000,
            last_stable_offset=6_000,
            log_start_offset=0,
            aborted_transactions=None,
            records=RECORDS,
        )
        for index in range(10)
    ]
    answered = FetchResponse.FetchableTopicResponse(topic="orders.created", partitions=given)
    yield Case(title, 12, FetchResponse(session_id=77, responses=[answered]))


def metadata() -> Iterator[Case]:
    title = "Metadata v9, 10 topics x 6 partitions"
    names = [f"service-{number}.events" for number in range(10)]
    topics = [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
    yield Case(title, 9, MetadataRequest(topics=topics, allow_auto_topic_creation=True))
    brokers = [MetadataResponse.MetadataResponseBroker(node_id=1, host="broker-1.example.org", port=9092)]
    described = [
        MetadataResponse.MetadataResponseTopic(
            name=name,
            partitions=[
                MetadataResponse.MetadataResponsePartition(
                    partition_index=index, leader_id=1, leader_epoch=0, replica_nodes=[1], isr_nodes=[1]
                )
                for index in range(6)
            ],
        )
        for name in names
    ]
    yield Case(
        title,
        9,
        MetadataResponse(brokers=brokers, cluster_id="b8mJ2yDqQ0aOaG2vQhKq3Q", controller_id=1, topics=described),
    )


def join_group() -> Iterator[Case]:
    title = "JoinGroup v7, leader of 10 members"
    subscription = b"\x00\x01\x00\x00\x00\x01\x00\x0eorders.created\xff\xff\xff\xff\x00\x00\x00\x00"
    member = "consumer-1-2f6c1f0e-8f4c-4b3a-9a7e-1d2c3b4a5f60"
    protocols = [
        JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=subscription)
        for name in ("range", "cooperative-sticky")
    ]
    yield Case(
        title,
        7,
        JoinGroupRequest(
            group_id="billing",
            session_timeout_ms=45_000,
            rebalance_timeout_ms=300_000,
            member_id=member,
            protocol_type="consumer",
            protocols=protocols,
        ),
    )
    members = [
        JoinGroupResponse.JoinGroupResponseMember(member_id=f"{member}{number}", metadata=subscription)
        for number in range(10)
    ]
    yield Case(
        title,
        7,
        JoinGroupResponse(
            generation_id=5,
            protocol_type="consumer",
            protocol_name="range",
            leader=f"{member}0",
            member_id=f"{member}0",
            members=members,
        ),
    )


def offset_commit() -> Iterator[Case]:
    title = "OffsetCommit v8, 10 partitions"
    wanted = [
        OffsetCommitRequest.OffsetCommitRequestPartition(
            partition_index=index, committed_offset=9_000 + index, committed_leader_epoch=0, committed_metadata=""
        )
        for index in range(10)
    ]
    topic = OffsetCommitRequest.OffsetCommitRequestTopic(name="orders.created", partitions=wanted)
    yield Case(
        title,
        8,
        OffsetCommitRequest(
            group_id="billing",
            generation_id_or_member_epoch=5,
            member_id="consumer-1-2f6c1f0e-8f4c-4b3a-9a7e-1d2c3b4a5f60",
            topics=[topic],
        ),
    )
    done = [OffsetCommitResponse.OffsetCommitResponsePartition(partition_index=index) for index in range(10)]
    yield Case(
        title,
        8,
        OffsetCommitResponse(
            topics=[OffsetCommitResponse.OffsetCommitResponseTopic(name="orders.created", partitions=done)]
        ),
    )


def cases() -> Iterator[Case]:
    yield from metadata()
    yield from join_group()
    yield from offset_commit()
    yield from fetch()
    yield from produce(1)
    yield from produce(10)


# --- the libraries ----------------------------------------------------------------------------------------------------


def ottla(case: Case, body: bytes) -> Codec:
    cls, version, message = type(case.message), case.version, case.message
    # A broker decodes a piece of its receive buffer, a client the bytes that it received.
    frame = memoryview(body) if cls.NAME.endswith("Request") else body
    return Codec(lambda: cls.decode(frame, version), lambda: message.encode(version))


def kafka_python(case: Case, body: bytes) -> Codec:
    cls, version = type(case.message), case.version
    assert cls.KEY is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(importlib.import_module(_KAFKA_PYTHON[ApiKey(cls.KEY)]), cls.NAME)
    message = theirs.decode(body, version=version)
    message._header = None  # their decoder leaves it unset, their encoder reads it
    return Codec(lambda: theirs.decode(body, version=version), lambda: message.encode(version=version))


def kio(case: Case, body: bytes) -> Codec:
    from kio.index import load_request_schema, load_response_schema
    from kio.serial import entity_reader, entity_writer

    cls = type(case.message)
    load = load_request_schema if cls.NAME.endswith("Request") else load_response_schema
    theirs: Any = load(cls.KEY, case.version)  # type: ignore[arg-type]
    read, write = entity_reader(theirs), entity_writer(theirs)
    entity, _ = read(body, 0)

    def encode() -> bytes:
        out = io.BytesIO()
        write(out, entity)
        return out.getvalue()

    return Codec(lambda: read(body, 0), encode)


LIBRARIES: dict[str, Callable[[Case, bytes], Codec]] = {"ottla": ottla, "kafka-python": kafka_python, "kio": kio}


# --- measuring --------------------------------------------------------------------------------------------------------


def repeat_us(work: Callable[[], Any], times: int) -> float:
    """CPU microseconds of one call, over `times` of them."""
    calls = range(times)
    before_ns = time.process_time_ns()
    for _ in calls:
        work()
    return (time.process_time_ns() - before_ns) / times / 1000


def medians_us(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Every round runs each of `works` in turn, so that what disturbs the machine disturbs all."""
    times = {name: max(1, int(TURN_S * 1e6 / repeat_us(work, 50))) for name, work in works.items()}
    seen: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seen[name].append(repeat_us(work, times[name]))
    return {name: statistics.median(values) for name, values in seen.items()}


def codec_rows(rounds: int) -> list[Row]:
    rows = []
    for case in cases():
        body = case.message.encode(case.version)
        codecs = {}
        for name, make in LIBRARIES.items():
            codec = codecs[name] = make(case, body)
            if bytes(codec.encode()) != body:
                raise AssertionError(f"{name} writes other bytes for {type(case.message).__name__} v{case.version}")
        is_request = type(case.message).__name__.endswith("Request")
        for action in ("decode", "encode"):
            figures = medians_us({name: getattr(codec, action) for name, codec in codecs.items()}, rounds)
            side = "broker" if is_request == (action == "decode") else "client"
            what = f"{action} {'request' if is_request else 'response'}: {case.title}"
            rows.append(Row(side, what, figures["ottla"], figures.get("kafka-python"), figures.get("kio")))
    return sorted(rows, key=lambda row: row.side)


def environment(folder: str) -> dict[str, str]:
    """For child processes: Ottla's bytecode is kept in `folder`, as an installed Ottla has it beside its modules."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}


def imported_by_serve() -> list[str]:
    """Names of all modules that `ottla serve` has imported when it says that it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-X", "importtime", "-m", "ottla", "serve", "--listen", "127.0.0.1:0"]
        broker = subprocess.Popen(
            [*command, "--data", f"{folder}/data"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert broker.stdout is not None
            if not broker.stdout.readline():
                raise AssertionError("`ottla serve` did not start")
        finally:
            broker.terminate()
            _, log = broker.communicate(timeout=30)
    return [line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")][1:]


def import_cpu_ms(before: list[str], modules: list[str]) -> float:
    """CPU of importing `modules` in a new process that has imported `before`: the median of some starts."""
    code = (
        "import sys, time, importlib\n"
        "before, modules = sys.argv[1].split(), sys.argv[2].split()\n"
        "for name in before:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: pass\n"
        "start = time.process_time_ns()\n"
        "for name in modules: importlib.import_module(name)\n"
        "print((time.process_time_ns() - start) / 1e6)\n"
    )
    command = [sys.executable, "-c", code, " ".join(before), " ".join(modules)]
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment(folder)).stdout)
            for _ in range(1 + STARTS)
        ]
    return statistics.median(runs[1:])  # the first one compiled the bytecode


def start_up() -> dict[str, float | int]:
    """What the schema costs a start beside the modules that `serve` needs anyway, and what all of wire does."""
    names = imported_by_serve()
    others = [name for name in names if name.partition(".")[0] not in ("ottla", "__main__", "site")]
    others += ["ottla", "ottla.wire", "ottla.log"]
    everything = [name for name in names if name.startswith("ottla.wire.")]
    schema = [name for name in everything if name.rpartition(".")[2] not in ("records", "compression", "hashing")]
    messages = [f"ottla.wire.messages.{key.name.lower()}" for key in ApiKey]
    return {
        "at serve, ms": import_cpu_ms(others, schema),
        "at serve, message modules": sum(name.startswith("ottla.wire.messages.") for name in everything),
        "at serve, all of wire, ms": import_cpu_ms(others, everything),
        "every message, ms": import_cpu_ms(others, [*schema, *messages]),
        "every message, message modules": len(messages),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="measurements of which the median is shown (7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    costs = start_up()
    rows = codec_rows(arguments.rounds)
    if arguments.json:
        print(json.dumps({"python": sys.version.split()[0], "codec": [row._asdict() for row in rows], "start": costs}))
        return 0
    print(f"{'CPU us a call, medians':63} {'Ottla':>8} {'kafka-py':>9} {'kio':>9}")
    for row in rows:
        theirs = [f"{figure:9.1f}" if figure is not None else f"{'-':>9}" for figure in row[3:]]
        print(f"{row.side}  {row.what:55} {row.ottla_us:8.1f} {' '.join(theirs)}")
    slower = [row.what for row in rows if row.kafka_python_us is not None and row.ottla_us >= row.kafka_python_us]
    print(f"slower than kafka-python: {', '.join(slower) or 'nowhere'}")
    for when, goal_ms in GOALS_MS.items():
        print(
            f"schema {when}: {costs[f'{when}, ms']:.1f} ms CPU (goal {goal_ms:.0f}), "
            f"{costs[f'{when}, message modules']} message modules imported"
        )
    print(f"all of wire at serve, record batches and codecs too: {costs['at serve, all of wire, ms']:.1f} ms CPU")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
