"""Produce: the order of its checks, and what each answer tells, row by row as Kafka 4.4.0 does it."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.hashing import crc32c
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

NOW = ManualClock().wall_ms()
DAY = 86_400_000
UNTOLD, TOLD = -1, 0  # the log start offset in an error
INVALID, CORRUPT = ErrorCode.INVALID_RECORD, ErrorCode.CORRUPT_MESSAGE
TOPICS = {
    "plain": {},
    "compacted": {"cleanup.policy": "compact"},
    "both": {"cleanup.policy": "compact,delete"},
    "appended": {"message.timestamp.type": "LogAppendTime"},
    "recent": {"message.timestamp.before.max.ms": "1000"},
    "roomy": {"max.message.bytes": "2000000", "segment.bytes": "1048576"},
}


def batch(count: int = 1, *, at: int = NOW, key: bytes | None = b"k", value: bytes = b"v", **options: Any) -> bytes:
    return bytes(build_batch([Record(offset, at, key, value) for offset in range(count)], **options))


def put(data: bytes, position: int, new: bytes, *, sealed: bool = True) -> bytes:
    """`data` with other bytes at `position`, its CRC put right again if `sealed`."""
    changed = bytearray(data)
    changed[position : position + len(new)] = new
    if sealed and len(changed) >= 61:
        changed[17:21] = crc32c(memoryview(changed)[21:], 0).to_bytes(4, "big")
    return bytes(changed)


def produce(topic: str, *data: tuple[int, bytes | None], acks: int = -1, topic_id: bytes = bytes(16)) -> ProduceRequest:
    partitions = [ProduceRequest.PartitionProduceData(index=index, records=records) for index, records in data]
    named = ProduceRequest.TopicProduceData(name=topic, topic_id=topic_id, partition_data=partitions)
    return ProduceRequest(acks=acks, timeout_ms=3000, topic_data=[named])


async def ask(client: Client, request: ProduceRequest, version: int = 9) -> dict[int, Any]:
    """The answers by partition."""
    response: ProduceResponse = await client.ask(request, version)
    return {answer.index: answer for answer in response.responses[0].partition_responses}


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    running = await launcher.start(clock=ManualClock())
    metadata = running.broker.metadata
    for name, overrides in TOPICS.items():
        metadata.create_topic(metadata.plan_topic(name, 2, overrides=overrides))
    return running


LARGE = batch(value=bytes(1_100_000))
V1 = put(batch(), 16, b"\1")
LOG_APPEND_TIME = b"\x08"
ATTRIBUTES = 22
# what is wrong: (topic, records, code, log start offset)
REFUSED: dict[str, tuple[str, bytes | None, ErrorCode, int]] = {
    "nothing": ("plain", None, INVALID, UNTOLD),
    "no bytes": ("plain", b"", INVALID, UNTOLD),
    "10 bytes": ("plain", bytes(10), INVALID, UNTOLD),
    "12 zeroes": ("plain", bytes(12), CORRUPT, UNTOLD),
    "30 zeroes": ("plain", bytes(30), CORRUPT, UNTOLD),
    "magic unseen": ("plain", put(bytes(16), 8, bytes((0, 0, 0, 60))), INVALID, UNTOLD),
    "cut": ("plain", batch()[:-3], INVALID, UNTOLD),
    "cut, unknown magic": ("plain", put(batch(), 16, b"\x09")[:-3], CORRUPT, UNTOLD),
    "magic 0": ("plain", put(batch(), 16, b"\0"), INVALID, UNTOLD),
    "magic 1": ("plain", V1, INVALID, UNTOLD),
    "magic 3": ("plain", put(batch(), 16, b"\3"), CORRUPT, UNTOLD),
    "two of magic 1": ("plain", V1 * 2, INVALID, UNTOLD),
    "two": ("plain", batch() * 2, INVALID, UNTOLD),
    "a second of unknown magic": ("plain", batch() + put(batch(), 16, b"\x09"), CORRUPT, UNTOLD),
    "zeroes behind": ("plain", batch() + bytes(30), CORRUPT, UNTOLD),
    "length 5": ("plain", put(batch(), 8, bytes((0, 0, 0, 5))), CORRUPT, UNTOLD),
    "length 20": ("plain", put(batch(), 8, bytes((0, 0, 0, 20))), CORRUPT, UNTOLD),
    "length -1": ("plain", put(batch(), 8, b"\xff\xff\xff\xff"), CORRUPT, UNTOLD),
    "base offset": ("plain", put(batch(), 7, b"\5"), INVALID, TOLD),
    "base offset before size": ("plain", put(LARGE, 7, b"\5"), INVALID, TOLD),
    "base offset before crc": ("plain", put(put(batch(), 7, b"\5"), 17, bytes(4), sealed=False), INVALID, TOLD),
    "too large before crc": ("plain", put(LARGE, 17, bytes(4), sealed=False), ErrorCode.MESSAGE_TOO_LARGE, UNTOLD),
    "larger than a segment": ("roomy", LARGE, ErrorCode.RECORD_LIST_TOO_LARGE, UNTOLD),
    "crc": ("plain", put(batch(), 17, bytes(4), sealed=False), CORRUPT, UNTOLD),
    "count -1": ("plain", put(batch(), 57, b"\xff\xff\xff\xff"), INVALID, TOLD),
    "count 2^31-1": (
        "plain",
        put(put(batch(), 57, b"\x7f\xff\xff\xff"), 23, b"\x7f\xff\xff\xfe"),
        INVALID,
        TOLD,
    ),
    "control": ("plain", batch(control=True), INVALID, TOLD),
    "producer without sequence": ("plain", batch(producer_id=5, producer_epoch=0, base_sequence=-1), INVALID, TOLD),
    "transactional": (
        "plain",
        batch(transactional=True, producer_id=7, producer_epoch=0, base_sequence=0),
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        UNTOLD,
    ),
    "transactional, unknown topic": (
        "nope",
        batch(transactional=True, producer_id=7, producer_epoch=0, base_sequence=0),
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        UNTOLD,
    ),
}


@pytest.mark.parametrize(("topic", "records", "code", "log_start"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(running: Running, topic: str, records: bytes | None, code: ErrorCode, log_start: int) -> None:
    async with await running.client() as client:
        answer = (await ask(client, produce(topic, (0, records))))[0]
        assert (answer.error_code, answer.base_offset, answer.log_append_time_ms) == (code, -1, -1)
        assert answer.log_start_offset == log_start
        assert not answer.record_errors
        assert (await ask(client, produce("plain", (0, batch()))))[0].base_offset == 0, "nothing was stored"


# (topic, records, code, indexes of the records at fault)
RECORDS_AT_FAULT: dict[str, tuple[str, bytes, ErrorCode, list[int]]] = {
    "no key": ("compacted", batch(2, key=None), INVALID, [0, 1]),
    "no key, compressed": ("compacted", batch(2, key=None, codec=1), INVALID, [0, 1]),
    "no key, compact and delete": ("both", batch(2, key=None), INVALID, [0, 1]),
    "no key and late": ("compacted", batch(2, at=NOW + DAY, key=None), INVALID, [0, 1]),
    "some without key, some late": (
        "compacted",
        bytes(build_batch([Record(0, NOW, None, b""), Record(1, NOW + DAY, b"k", b""), Record(2, NOW, b"k", b"")])),
        ErrorCode.INVALID_TIMESTAMP,
        [0, 1],
    ),
    "future": ("plain", batch(3, at=NOW + DAY), ErrorCode.INVALID_TIMESTAMP, [0, 1, 2]),
    "past": ("recent", batch(2, at=NOW - DAY), ErrorCode.INVALID_TIMESTAMP, [0, 1]),
    "append time without time": (
        "plain",
        put(batch(at=-1), ATTRIBUTES, LOG_APPEND_TIME),
        ErrorCode.INVALID_TIMESTAMP,
        [0],
    ),
    "append time set by the client": (
        "appended",
        put(batch(), ATTRIBUTES, LOG_APPEND_TIME),
        ErrorCode.INVALID_TIMESTAMP,
        [0],
    ),
}


@pytest.mark.parametrize(
    ("topic", "records", "code", "at_fault"), RECORDS_AT_FAULT.values(), ids=RECORDS_AT_FAULT.keys()
)
async def test_records_at_fault(
    running: Running, topic: str, records: bytes, code: ErrorCode, at_fault: list[int]
) -> None:
    async with await running.client() as client:
        answer = (await ask(client, produce(topic, (0, records))))[0]
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (code, -1, TOLD)
        assert [fault.batch_index for fault in answer.record_errors] == at_fault
        assert answer.error_message
        assert all(fault.batch_index_error_message for fault in answer.record_errors)
        before = (await ask(client, produce(topic, (0, records)), 7))[0]
        assert (before.error_code, before.record_errors, before.error_message) == (code, [], None)


# (topic, records, log append time)
TAKEN: dict[str, tuple[str, bytes, int]] = {
    "no timestamp": ("plain", batch(at=-1), -1),
    "no timestamp where the past is refused": ("recent", batch(at=-1), -1),
    "marked append time": ("plain", put(batch(), ATTRIBUTES, LOG_APPEND_TIME), -1),
    "append time": ("appended", batch(2), NOW),
    "future under append time": ("appended", batch(2, at=NOW + DAY), NOW),
    "largest timestamp wrong": ("plain", put(batch(), 35, bytes(8)), -1),
    "first sequence not 0": ("plain", batch(producer_id=5, producer_epoch=0, base_sequence=9), -1),
    "large where there is room": ("roomy", batch(value=bytes(1_040_000)), -1),
}


@pytest.mark.parametrize(("topic", "records", "append_time_ms"), TAKEN.values(), ids=TAKEN.keys())
async def test_taken(running: Running, topic: str, records: bytes, append_time_ms: int) -> None:
    async with await running.client() as client:
        answer = (await ask(client, produce(topic, (0, records))))[0]
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (0, 0, 0)
        assert answer.log_append_time_ms == append_time_ms


ZSTD = put(batch(), ATTRIBUTES, b"\4")
# Two faults in one request; the earlier check speaks: (request, version, code)
ORDER: dict[str, tuple[ProduceRequest, int, ErrorCode]] = {
    "topic before acks": (produce("nope", (0, batch()), acks=2), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    "partition before acks": (produce("plain", (9, batch()), acks=2), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    "illegal name": (produce("bad name", (0, batch()), acks=1), 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    "no batch before acks": (produce("plain", (0, b""), acks=2), 9, INVALID),
    "two batches before acks": (produce("plain", (0, batch() * 2), acks=2), 9, INVALID),
    "codec before acks": (produce("plain", (0, ZSTD), acks=2), 6, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    "codec before a second batch": (produce("plain", (0, ZSTD * 2)), 6, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    "acks before crc": (
        produce("plain", (0, put(batch(), 17, bytes(4), sealed=False)), acks=-2),
        9,
        ErrorCode.INVALID_REQUIRED_ACKS,
    ),
    "acks before internal": (
        produce("__consumer_offsets", (0, batch()), acks=2),
        9,
        ErrorCode.INVALID_REQUIRED_ACKS,
    ),
    "internal before size": (produce("__consumer_offsets", (0, LARGE)), 9, ErrorCode.INVALID_TOPIC_EXCEPTION),
    "unknown id before acks": (
        produce("", (0, batch()), acks=2, topic_id=bytes(range(16))),
        13,
        ErrorCode.UNKNOWN_TOPIC_ID,
    ),
}


@pytest.mark.parametrize(("request_", "version", "code"), ORDER.values(), ids=ORDER.keys())
async def test_order_of_checks(running: Running, request_: ProduceRequest, version: int, code: ErrorCode) -> None:
    running.broker.metadata.internal_topic("__consumer_offsets")
    async with await running.client() as client:
        [answer] = (await ask(client, request_, version)).values()
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (code, -1, UNTOLD)


async def test_one_transactional_batch_refuses_the_whole_request(running: Running) -> None:
    transactional = batch(transactional=True, producer_id=7, producer_epoch=0, base_sequence=0)
    async with await running.client() as client:
        answers = await ask(client, produce("plain", (0, batch()), (1, transactional)))
        assert {answer.error_code for answer in answers.values()} == {ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}


async def test_partitions_fail_alone(running: Running) -> None:
    async with await running.client() as client:
        answers = await ask(client, produce("plain", (0, batch()), (7, batch()), (1, b"")))
        assert {index: answer.error_code for index, answer in answers.items()} == {
            0: 0,
            7: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            1: INVALID,
        }


async def test_the_admin_client_may_write_to_internal_topics(running: Running) -> None:
    running.broker.metadata.internal_topic("__consumer_offsets")
    async with await running.client("__admin_client") as client:
        assert (await ask(client, produce("__consumer_offsets", (0, batch()))))[0].error_code == 0


def sent(first: int, *, count: int = 1, epoch: int = 0) -> bytes:
    return batch(count, producer_id=1, producer_epoch=epoch, base_sequence=first)


WINDOW = [sent(first) for first in range(6)]
# (sent before, then this, code, base offset)
SEQUENCES: dict[str, tuple[list[bytes], bytes, int, int]] = {
    "next": (WINDOW, sent(6), 0, 6),
    "the last again": (WINDOW, sent(5), 0, 5),
    "the fifth last again": (WINDOW, sent(1), 0, 1),
    "the sixth last again": (WINDOW, sent(0), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    "gap": (WINDOW, sent(8), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    "overlap": (WINDOW, sent(5, count=2), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    "new epoch from 0": (WINDOW, sent(0, epoch=1), 0, 6),
    "new epoch from 1": (WINDOW, sent(1, epoch=1), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    "old epoch": ([sent(0, epoch=3)], sent(1, epoch=2), ErrorCode.INVALID_PRODUCER_EPOCH, -1),
    "wrap": ([sent(2**31 - 1)], sent(0), 0, 1),
}


@pytest.mark.parametrize(("before", "then", "code", "offset"), SEQUENCES.values(), ids=SEQUENCES.keys())
async def test_sequences(running: Running, before: list[bytes], then: bytes, code: int, offset: int) -> None:
    async with await running.client() as client:
        for records in before:
            assert (await ask(client, produce("plain", (0, records))))[0].error_code == 0
        answer = (await ask(client, produce("plain", (0, then))))[0]
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (code, offset, 0)
        repeated = not code and offset < len(before)
        assert answer.log_append_time_ms == (NOW if repeated else -1), "a duplicate tells its original's timestamp"


async def test_without_acks_only_a_failure_is_heard(running: Running) -> None:

    async with await running.client() as client:
        await client.send(produce("plain", (0, batch()), acks=0), 9)
        assert (await ask(client, produce("plain", (0, batch()))))[0].base_offset == 1
        await client.send(produce("plain", (0, b""), acks=0), 9)
        assert await client.closed()


async def test_a_partition_under_two_entries_of_its_topic_is_written_once(running: Running) -> None:
    """And answered once: the last one counts, as in Kafka."""
    request = produce("plain", (0, batch(2)))
    request.topic_data += produce("plain", (1, batch()), (0, batch(5))).topic_data
    async with await running.client() as client:
        response: ProduceResponse = await client.ask(request, 9)
    (topic,) = response.responses
    assert {answer.index: answer.error_code for answer in topic.partition_responses} == {0: 0, 1: 0}
    partitions = running.broker.cluster.topics["plain"].partitions
    assert [partition.log.log_end_offset for partition in partitions] == [5, 1]
