"""ListOffsets: special timestamps by version, search by time, and the order of its checks, as Kafka 4.4.0 does them."""

from __future__ import annotations

import pytest

from ottla.log.clock import ManualClock
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Client, Launcher, Running

NOW = ManualClock().wall_ms()
Asked = tuple[int, int]  # partition, timestamp


def request(
    *topics: tuple[str, list[Asked]], epoch: int = -1, isolation: int = 0, replica: int = -1
) -> ListOffsetsRequest:
    return ListOffsetsRequest(
        replica_id=replica,
        isolation_level=isolation,
        topics=[
            ListOffsetsRequest.ListOffsetsTopic(
                name=name,
                partitions=[
                    ListOffsetsRequest.ListOffsetsPartition(
                        partition_index=index, timestamp=timestamp, current_leader_epoch=epoch
                    )
                    for index, timestamp in partitions
                ],
            )
            for name, partitions in topics
        ],
    )


async def one(client: Client, asked: ListOffsetsRequest, version: int) -> tuple[int, int, int, int]:
    """(code, offset, timestamp, leader epoch) of the only partition."""
    response = await client.ask(asked, version)
    [topic] = response.topics
    [answer] = topic.partitions
    return answer.error_code, answer.offset, answer.timestamp, answer.leader_epoch


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    """Partition 0 of t holds offsets 0-5 at NOW, NOW+10, NOW+30, NOW+20, NOW+30, NOW+5; 1 is empty; 2 trimmed."""
    running = await launcher.start(clock=ManualClock())
    metadata = running.broker.metadata
    full, _, trimmed = metadata.create_topic(metadata.plan_topic("t", 3)).partitions
    for first, late in enumerate(((0, 10, 30), (20, 30, 5))):
        records = [Record(at, NOW + ms, b"k", b"v") for at, ms in enumerate(late)]
        full.log.append(build_batch(records, codec=first), leader_epoch=0)
    trimmed.log.append(build_batch([Record(0, NOW, b"k", b"v")]), leader_epoch=0)
    trimmed.log.trim(1)
    return running


NONE = (0, -1, -1, -1)
UNSUPPORTED = (ErrorCode.UNSUPPORTED_VERSION, -1, -1, -1)
# (partition, timestamp, version, answer)
ANSWERS = {
    "latest": (0, -1, 1, (0, 6, -1, -1)),
    "latest v4": (0, -1, 4, (0, 6, -1, 0)),
    "latest of none": (1, -1, 7, (0, 0, -1, 0)),
    "latest of trimmed": (2, -1, 7, (0, 1, -1, 0)),
    "earliest": (0, -2, 7, (0, 0, -1, 0)),
    "earliest of none": (1, -2, 7, (0, 0, -1, 0)),
    "earliest of trimmed": (2, -2, 7, (0, 1, -1, 0)),
    "max timestamp: the first that has it": (0, -3, 7, (0, 2, NOW + 30, 0)),
    "max timestamp of none": (1, -3, 7, NONE),
    "earliest local": (0, -4, 8, (0, 0, -1, 0)),
    "latest tiered": (0, -5, 9, NONE),
    "earliest pending upload": (0, -6, 11, NONE),
    "max timestamp too early": (0, -3, 6, UNSUPPORTED),
    "earliest local too early": (0, -4, 7, UNSUPPORTED),
    "latest tiered too early": (0, -5, 8, UNSUPPORTED),
    "earliest pending upload too early": (0, -6, 10, UNSUPPORTED),
    "nothing special": (0, -7, 11, UNSUPPORTED),
    "as low as can be": (0, -(2**63), 11, UNSUPPORTED),
    "time 0": (0, 0, 7, (0, 0, NOW, 0)),
    "exactly": (0, NOW + 10, 7, (0, 1, NOW + 10, 0)),
    "between": (0, NOW + 11, 7, (0, 2, NOW + 30, 0)),
    "the last": (0, NOW + 30, 7, (0, 2, NOW + 30, 0)),
    "after the last": (0, NOW + 31, 7, NONE),
    "time in none": (1, 0, 7, NONE),
    "time in trimmed": (2, 0, 7, NONE),
    "unknown partition": (9, -1, 7, (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1)),
    "special before partition": (9, -9, 7, UNSUPPORTED),
}


@pytest.mark.parametrize(("partition", "timestamp", "version", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(
    running: Running, partition: int, timestamp: int, version: int, answer: tuple[int, int, int, int]
) -> None:
    async with await running.client() as client:
        assert await one(client, request(("t", [(partition, timestamp)])), version) == answer


@pytest.mark.parametrize("isolation", [0, 1])
@pytest.mark.parametrize("replica", [-1, -2])
async def test_consumers_and_debuggers_see_the_high_watermark(running: Running, isolation: int, replica: int) -> None:
    async with await running.client() as client:
        asked = request(("t", [(0, -1)]), isolation=isolation, replica=replica)
        assert await one(client, asked, 7) == (0, 6, -1, 0)


async def test_leader_epochs(running: Running) -> None:
    async with await running.client() as client:
        assert await one(client, request(("t", [(0, -1)]), epoch=0), 7) == (0, 6, -1, 0)
        unknown = (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1, -1)
        assert await one(client, request(("t", [(0, -1)]), epoch=3), 7) == unknown
        assert await one(client, request(("t", [(0, -9)]), epoch=3), 7) == UNSUPPORTED
        running.broker.cluster.topics["t"].partitions[0].leader_epoch = 4
        fenced = (ErrorCode.FENCED_LEADER_EPOCH, -1, -1, -1)
        assert await one(client, request(("t", [(0, -1)]), epoch=3), 7) == fenced


async def test_a_partition_named_twice_is_refused_once(running: Running) -> None:
    async with await running.client() as client:
        response = await client.ask(request(("t", [(0, -1), (1, -1), (0, -2)]), ("nope", [(0, -9), (0, -1)])), 7)
        answers = {t.name: [(p.partition_index, p.error_code) for p in t.partitions] for t in response.topics}
        assert answers == {
            "t": [(0, ErrorCode.INVALID_REQUEST), (1, 0)],
            "nope": [(0, ErrorCode.INVALID_REQUEST)],
        }


async def test_a_topic_named_twice_is_answered_once(running: Running) -> None:
    async with await running.client() as client:
        response = await client.ask(request(("t", [(0, -1)]), ("t", [(1, -2)])), 7)
        [topic] = response.topics
        assert [(answer.partition_index, answer.offset) for answer in topic.partitions] == [(0, 6), (1, 0)]


async def test_nothing_asked(running: Running) -> None:
    async with await running.client() as client:
        assert (await client.ask(request(), 7)).topics == []
