"""CreateTopics, DeleteTopics and the topics of Metadata: what is checked, in which order, as Kafka 4.4.0 does it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.metadata import MetadataRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import METADATA, PRODUCE, metadata, produce

Wanted = CreateTopicsRequest.CreatableTopic
Named = DeleteTopicsRequest.DeleteTopicState
ZERO = bytes(16)
UNKNOWN_ID = bytes(range(16))
NAME, EXISTS = ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.TOPIC_ALREADY_EXISTS
REQUEST, CONFIG = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_CONFIG
ASSIGNMENT, FACTOR = ErrorCode.INVALID_REPLICA_ASSIGNMENT, ErrorCode.INVALID_REPLICATION_FACTOR
PARTITIONS = ErrorCode.INVALID_PARTITIONS


def topic(
    name: str = "new",
    partitions: int = 1,
    replicas: int = 1,
    assigned: list[tuple[int, list[int]]] | None = None,
    **configs: str | None,
) -> Wanted:
    """Config names with _ for their dots."""
    return Wanted(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[
            CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=brokers)
            for index, brokers in assigned or []
        ],
        configs=[
            CreateTopicsRequest.CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )


def assigned(*spread: tuple[int, list[int]]) -> Wanted:
    return topic(partitions=-1, replicas=-1, assigned=list(spread))


async def create(client: Client, *topics: Wanted, version: int = 7, validate_only: bool = False) -> list[Any]:
    request = CreateTopicsRequest(topics=list(topics), timeout_ms=5000, validate_only=validate_only)
    answers: list[Any] = (await client.ask(request, version)).topics
    return answers


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    running = await launcher.start({"num.partitions": "3"})
    for name in ("there", "a.b"):
        running.broker.metadata.create_topic(running.broker.metadata.plan_topic(name))
    return running


# what is wrong: (topics, codes)
REFUSED: dict[str, tuple[list[Wanted], list[int]]] = {
    "empty": ([topic("")], [NAME]),
    "dot": ([topic(".")], [NAME]),
    "dots": ([topic("..")], [NAME]),
    "blank": ([topic("a b")], [NAME]),
    "not ascii": ([topic("é")], [NAME]),
    "250 long": ([topic("n" * 250)], [NAME]),
    "collides": ([topic("a_b")], [NAME]),
    "there": ([topic("there")], [EXISTS]),
    "there, before its config": ([topic("there", no_such="1")], [EXISTS]),
    "twice": ([topic("new"), topic("new"), topic("other")], [REQUEST, 0]),
    "twice, before its name": ([topic("a b"), topic("a b")], [REQUEST]),
    "unknown config": ([topic(no_such="1")], [CONFIG]),
    "a broker's config": ([topic(log_retention_ms="1")], [CONFIG]),
    "no value": ([topic(retention_ms=None)], [CONFIG]),
    "empty number": ([topic(retention_ms="")], [CONFIG]),
    "not a number": ([topic(retention_ms="abc")], [CONFIG]),
    "below its range": ([topic(retention_ms="-2")], [CONFIG]),
    "not a boolean": ([topic(preallocate="yes")], [CONFIG]),
    "unknown policy": ([topic(cleanup_policy="shred")], [CONFIG]),
    "unknown codec": ([topic(compression_type="zip")], [CONFIG]),
    "small segments": ([topic(segment_bytes="1000")], [CONFIG]),
    "lags cross": ([topic(min_compaction_lag_ms="10", max_compaction_lag_ms="5")], [CONFIG]),
    "config before partitions": ([topic(partitions=0, no_such="1")], [CONFIG]),
    "null config before partitions": ([topic(partitions=0, retention_ms=None)], [CONFIG]),
    "no replicas": ([topic(replicas=0)], [FACTOR]),
    "replicas -2": ([topic(replicas=-2)], [FACTOR]),
    "replicas before partitions": ([topic(partitions=0, replicas=0)], [FACTOR]),
    "more replicas than brokers": ([topic(replicas=2)], [FACTOR]),
    "no partitions": ([topic(partitions=0)], [PARTITIONS]),
    "partitions -5": ([topic(partitions=-5)], [PARTITIONS]),
    "assigned and counted": ([topic(partitions=1, replicas=-1, assigned=[(0, [1])])], [REQUEST]),
    "assigned and replicated": ([topic(partitions=-1, replicas=1, assigned=[(0, [1])])], [REQUEST]),
    "assigned twice": ([assigned((0, [1]), (0, [1]))], [ASSIGNMENT]),
    "assigned with a gap": ([assigned((0, [1]), (2, [1]))], [ASSIGNMENT]),
    "assigned from -1": ([assigned((-1, [1]))], [ASSIGNMENT]),
    "assigned to nobody": ([assigned((0, []))], [ASSIGNMENT]),
    "assigned to one twice": ([assigned((0, [1, 1]))], [ASSIGNMENT]),
    "assigned to a stranger": ([assigned((0, [9]))], [ASSIGNMENT]),
    "too many partitions": ([topic(partitions=10_001)], [ErrorCode.POLICY_VIOLATION]),
    "too many in all": (
        [topic("a b", partitions=1), topic("new", partitions=6000), topic("other", partitions=4000)],
        [ErrorCode.POLICY_VIOLATION] * 3,
    ),
    "too many by assignment": (
        [topic("new", partitions=10_000), assigned((0, [1]))],
        [REQUEST],
    ),
}


@pytest.mark.parametrize(("topics", "codes"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(running: Running, topics: list[Wanted], codes: list[int]) -> None:
    before = set(running.broker.cluster.topics)
    async with await running.client() as client:
        answers = await create(client, *topics)
        assert [answer.error_code for answer in answers] == codes
        for answer in answers:
            if answer.error_code:
                assert answer.error_message
                assert (answer.topic_id, answer.num_partitions, answer.replication_factor) == (ZERO, -1, -1)
                assert answer.configs == []
    created = {answer.name for answer in answers if not answer.error_code}
    assert set(running.broker.cluster.topics) == before | created


# (topic, its partitions)
CREATED = {
    "249 long": (topic("n" * 249), 1),
    "defaults": (topic(partitions=-1, replicas=-1), 3),
    "assigned": (assigned((1, [1]), (0, [1])), 2),
    "no policy": (topic(cleanup_policy=""), 1),
    "policy twice": (topic(cleanup_policy="delete, delete,compact"), 1),
    "blanks": (topic(retention_ms=" 07 ", preallocate="TRUE"), 1),
    "local retention above retention": (topic(local_retention_ms="10", retention_ms="5"), 1),
}


@pytest.mark.parametrize(("wanted", "partitions"), CREATED.values(), ids=CREATED.keys())
async def test_created(launcher: Launcher, running: Running, wanted: Wanted, partitions: int) -> None:
    async with await running.client() as client:
        [tried] = await create(client, wanted, validate_only=True)
        assert wanted.name not in running.broker.cluster.topics
        [answer] = await create(client, wanted)
        for each in (tried, answer):
            assert (each.error_code, each.error_message) == (0, None)
            assert (each.num_partitions, each.replication_factor) == (partitions, 1)
            names = [config.name for config in each.configs]
            assert len(names) == 37
            assert names == sorted(names)
        created = running.broker.cluster.topics[wanted.name]
        assert answer.topic_id == created.id != tried.topic_id
        for partition in created.partitions:
            assert partition.log.log_end_offset == 0
    await launcher.stop()
    again = await launcher.start({"num.partitions": "3"})
    assert len(again.broker.cluster.topics[wanted.name].partitions) == partitions


async def test_delete(running: Running) -> None:
    cluster = running.broker.cluster
    for name in "abcdef":
        running.broker.metadata.create_topic(running.broker.metadata.plan_topic(name))
    ids = {name: cluster.topics[name].id for name in "abcdef"}
    # (named, answered: name, id, code)
    steps: list[tuple[list[Named], list[tuple[str | None, bytes, int]]]] = [
        ([Named(name="a"), Named(name="a"), Named(name="b")], [("a", ZERO, REQUEST), ("b", ids["b"], 0)]),
        (
            [Named(name="a"), Named(name=None, topic_id=ids["a"]), Named(name="c")],
            [("a", ids["a"], REQUEST), ("c", ids["c"], 0)],
        ),
        ([Named(name=None, topic_id=ids["d"])] * 2, [(None, ids["d"], REQUEST)]),
        ([Named(name="e", topic_id=ids["e"])], [("e", ids["e"], REQUEST)]),
        ([Named(name=None, topic_id=ZERO)], [(None, ZERO, REQUEST)]),
        ([Named(name="nope")], [("nope", ZERO, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]),
        ([Named(name="bad name")], [("bad name", ZERO, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]),
        ([Named(name="nope"), Named(name="nope")], [("nope", ZERO, REQUEST)]),
        ([Named(name=None, topic_id=UNKNOWN_ID)], [(None, UNKNOWN_ID, ErrorCode.UNKNOWN_TOPIC_ID)]),
        ([Named(name=None, topic_id=ids["d"])], [("d", ids["d"], 0)]),
        ([], []),
    ]
    async with await running.client() as client:
        for named, expected in steps:
            response = await client.ask(DeleteTopicsRequest(topics=named, timeout_ms=3000), 6)
            assert [(each.name, each.topic_id, each.error_code) for each in response.responses] == expected
            assert all(bool(each.error_message) == bool(each.error_code) for each in response.responses)
        response = await client.ask(DeleteTopicsRequest(topic_names=["f", "nope", "a", "a"], timeout_ms=3000), 5)
        answered = {each.name: each.error_code for each in response.responses}
        assert answered == {"f": 0, "nope": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "a": REQUEST}
        assert len(response.responses) == 3
    assert set(cluster.topics) == {"there", "a.b", "a", "e"}


@pytest.mark.parametrize(("version", "code"), [(1, REQUEST), (3, ErrorCode.TOPIC_DELETION_DISABLED)])
async def test_delete_disabled(launcher: Launcher, version: int, code: ErrorCode) -> None:
    running = await launcher.start({"delete.topic.enable": "false"})
    async with await running.client() as client:
        response = await client.ask(DeleteTopicsRequest(topic_names=["t"], timeout_ms=3000), version)
        assert [(each.name, each.error_code) for each in response.responses] == [("t", code)]


Asked = MetadataRequest.MetadataRequestTopic
ALL_OPERATIONS, NOT_ASKED = 3576, -(1 << 31)


async def describe(client: Client, *topics: Asked, version: int = 12, create: bool = False, ops: bool = False) -> Any:
    request = MetadataRequest(
        topics=list(topics), allow_auto_topic_creation=create or version < 4, include_topic_authorized_operations=ops
    )
    return await client.ask(request, version)


async def test_metadata_by_name_and_id(running: Running) -> None:
    there = running.broker.cluster.topics["there"]
    # (asked, version, answered: name, code)
    rows: list[tuple[list[Asked], int, list[tuple[str | None, int]]]] = [
        ([Asked(name="there"), Asked(name="there")], 12, [("there", 0)]),
        ([Asked(name="nope"), Asked(name=None, topic_id=there.id)], 12, [("there", 0)]),
        ([Asked(name="nope", topic_id=there.id)], 12, [("there", 0)]),
        ([Asked(name=None, topic_id=there.id)] * 2, 12, [("there", 0)]),
        ([Asked(name=None, topic_id=UNKNOWN_ID)], 12, [(None, ErrorCode.UNKNOWN_TOPIC_ID)]),
        ([Asked(name="there", topic_id=there.id)], 10, [("there", REQUEST)]),
        ([Asked(name=None)], 11, [("", REQUEST)]),
        ([Asked(name=None)], 12, [("", REQUEST)]),
        ([Asked(name="nope")], 12, [("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]),
        ([Asked(name="a b"), Asked(name="")], 12, [("a b", NAME), ("", NAME)]),
        ([], 12, []),
        ([], 0, [("there", 0), ("a.b", 0)]),
    ]
    async with await running.client() as client:
        for asked, version, expected in rows:
            response = await describe(client, *asked, version=version)
            assert [(each.name, each.error_code) for each in response.topics] == expected
            whole = any(code == REQUEST for _, code in expected)
            assert bool(response.brokers) != whole
        assert (await describe(client, Asked(name=None), version=13)).error_code == REQUEST


async def test_authorized_operations_are_told_when_asked_for(running: Running) -> None:
    names = [Asked(name="there"), Asked(name="nope")]
    async with await running.client() as client:
        asked = (await describe(client, *names, ops=True)).topics
        assert [each.topic_authorized_operations for each in asked] == [ALL_OPERATIONS] * 2
        plain = (await describe(client, *names)).topics
        assert [each.topic_authorized_operations for each in plain] == [NOT_ASKED] * 2
        [unknown_id] = (await describe(client, Asked(name=None, topic_id=UNKNOWN_ID), ops=True)).topics
        assert unknown_id.topic_authorized_operations == NOT_ASKED


async def test_auto_creation(running: Running) -> None:
    async with await running.client() as client:
        for name, code, partitions in (("new", 0, 3), ("a_b", NAME, 0), ("..", NAME, 0), ("__consumer_offsets", 0, 50)):
            [answer] = (await describe(client, Asked(name=name), create=True)).topics
            assert (answer.error_code, len(answer.partitions)) == (code, partitions)
            assert answer.is_internal == (name == "__consumer_offsets")
        [answer] = (await describe(client, Asked(name="always before v4"), version=1)).topics
        assert answer.error_code == NAME
        [answer] = (await describe(client, Asked(name="always-before-v4"), version=1)).topics
        assert answer.error_code == 0


async def test_no_auto_creation(launcher: Launcher) -> None:
    running = await launcher.start({"auto.create.topics.enable": "false"})
    async with await running.client() as client:
        [answer] = (await describe(client, Asked(name="new"), create=True)).topics
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_the_files_of_a_deleted_topic_go_when_their_delay_is_over(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"log.segment.delete.delay.ms": "60000"}, clock=clock)
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"value"), PRODUCE)
        await client.ask(DeleteTopicsRequest(topic_names=["t"]), 4)

        def left() -> list[str]:
            return [path.name for path in launcher.folder.iterdir() if path.name.startswith("t-0")]

        assert [name.endswith("-delete") for name in left()] == [True]
        clock.advance(60_000)
        running.broker.timers.run_due()
        with trio.fail_after(60):
            while left():
                await trio.sleep(0.01)
