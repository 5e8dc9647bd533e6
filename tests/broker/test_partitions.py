"""CreatePartitions and DescribeTopicPartitions: what is checked, and what clients see of a topic that grows."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.wire.errors import ErrorCode
from ottla.wire.messages.create_partitions import CreatePartitionsRequest
from ottla.wire.messages.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.messages.metadata import MetadataRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import PRODUCE, produce

Wanted = CreatePartitionsRequest.CreatePartitionsTopic


def wanted(name: str = "t", count: int = 5, assigned: list[list[int]] | None = None) -> Wanted:
    assignments = None
    if assigned is not None:
        assignments = [CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=ids) for ids in assigned]
    return Wanted(name=name, count=count, assignments=assignments)


async def grow(client: Client, *topics: Wanted, validate_only: bool = False) -> list[Any]:
    answers: list[Any] = (
        await client.ask(CreatePartitionsRequest(topics=list(topics), timeout_ms=1000, validate_only=validate_only), 3)
    ).results
    return answers


async def partitions_of(client: Client, name: str) -> int:
    answer = await client.ask(MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name)]), 9)
    return len(answer.topics[0].partitions)


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    running = await launcher.start()
    for name, count in (("t", 3), ("u", 2)):
        running.broker.metadata.create_topic(running.broker.metadata.plan_topic(name, count))
    return running


REFUSED = {
    "unknown": (wanted("nope"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    "as many": (wanted(count=3), ErrorCode.INVALID_PARTITIONS),
    "fewer": (wanted(count=2), ErrorCode.INVALID_PARTITIONS),
    "none": (wanted(count=0), ErrorCode.INVALID_PARTITIONS),
    "too many": (wanted(count=1_000_000_000), ErrorCode.POLICY_VIOLATION),
    "too few assignments": (wanted(count=5, assigned=[[1]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    "unknown broker": (wanted(count=4, assigned=[[9]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    "two replicas": (wanted(count=4, assigned=[[1, 1]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    "no replica": (wanted(count=4, assigned=[[]]), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_is_refused_and_the_rest_done(running: Running, case: str) -> None:
    topic, code = REFUSED[case]
    client = await running.client()
    refused, done = await grow(client, topic, wanted("u", 4))
    assert (refused.error_code, done.error_code) == (code, 0)
    assert (await partitions_of(client, "t"), await partitions_of(client, "u")) == (3, 4)


async def test_a_topic_named_twice_has_one_refusal(running: Running) -> None:
    client = await running.client()
    (only,) = await grow(client, wanted(count=4), wanted(count=5))
    assert only.error_code == ErrorCode.INVALID_REQUEST
    assert await partitions_of(client, "t") == 3


async def test_new_partitions_are_written_to_at_once_and_outlive_a_restart(launcher: Launcher) -> None:
    running = await launcher.start()
    running.broker.metadata.create_topic(running.broker.metadata.plan_topic("t", 1))
    client = await running.client()
    (dry,) = await grow(client, wanted(count=3), validate_only=True)
    assert (dry.error_code, await partitions_of(client, "t")) == (0, 1)
    (done,) = await grow(client, wanted(count=3, assigned=[[1], [1]]))
    assert done.error_code == 0
    answer = await client.ask(produce("t", b"v", partition=2), PRODUCE)
    assert answer.responses[0].partition_responses[0].error_code == 0
    await launcher.stop()
    again = await launcher.start()
    client = await again.client()
    assert await partitions_of(client, "t") == 3
    assert again.broker.cluster.topics["t"].partitions[2].log.log_end_offset == 1


async def describe(client: Client, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> Any:
    request = DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None
        if cursor is None
        else DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )
    return await client.ask(request, 0)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 2000])
async def test_pages_together_are_the_whole(running: Running, limit: int) -> None:
    client = await running.client()
    seen: list[tuple[str, int]] = []
    cursor: tuple[str, int] | None = None
    while True:
        page = await describe(client, limit=limit, cursor=cursor)
        seen += [(topic.name, partition.partition_index) for topic in page.topics for partition in topic.partitions]
        if page.next_cursor is None:
            break
        cursor = (page.next_cursor.topic_name, page.next_cursor.partition_index)
        assert sum(len(topic.partitions) for topic in page.topics) == max(limit, 1)
    assert seen == [("t", 0), ("t", 1), ("t", 2), ("u", 0), ("u", 1)]


async def test_who_is_not_there_is_said_so(running: Running) -> None:
    client = await running.client()
    page = await describe(client, "u", "nope", "not valid")
    assert [(topic.name, topic.error_code) for topic in page.topics] == [
        ("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("not valid", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("u", 0),
    ]


async def test_a_cursor_whose_topic_is_gone_goes_on_with_the_next(running: Running) -> None:
    client = await running.client()
    page = await describe(client, cursor=("tt", 7))
    assert [(topic.name, len(topic.partitions)) for topic in page.topics] == [("u", 2)]
    refused = await describe(client, "t", cursor=("t", -1))
    assert [topic.error_code for topic in refused.topics] == [ErrorCode.INVALID_REQUEST]
