"""What tests of the effects of configs share: the mark that says which test sees which config, and what they do to a
broker to see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from ottla.log.clock import ManualClock
from ottla.log.ids import Ids
from ottla.log.partition import Partition
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import Record, RecordBatch, batches, build_batch
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import FETCH, fetch

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
MIB = 1 << 20
EARLIEST = -2

Test = TypeVar("Test", bound=Callable[..., Any])

OBSERVED: Final[dict[tuple[str, str], list[str]]] = {}
"""(kind, name) of a config -> the tests in which it makes a difference."""


def effect(kind: str, *names: str) -> Callable[[Test], Test]:
    """The test sees that these configs make a difference."""

    def note(test: Test) -> Test:
        for name in names:
            OBSERVED.setdefault((kind, name), []).append(f"{test.__module__}.{test.__name__}")
        return test

    return note


class HighIds(Ids):
    """Whatever is random is as large as it may be."""

    def below(self, limit: int) -> int:
        return limit - 1


class World:
    """A broker with a clock that is told to move, and what a client does to one of its topics."""

    def __init__(self, running: Running, client: Client, clock: ManualClock) -> None:
        self.running = running
        self.client = client
        self.clock = clock

    def create(self, topic: str, configs: dict[str, str]) -> None:
        metadata = self.running.broker.metadata
        metadata.create_topic(metadata.plan_topic(topic, overrides=configs))

    async def send(
        self, topic: str, value: bytes | None = b"v", *, key: bytes | None = b"k", age_ms: int = 0, codec: int = 0
    ) -> Any:
        """The answer to one record that is `age_ms` old."""
        batch = build_batch([Record(0, self.clock.wall_ms() - age_ms, key, value)], codec=codec)
        data = ProduceRequest.PartitionProduceData(index=0, records=batch)
        named = ProduceRequest.TopicProduceData(name=topic, partition_data=[data])
        answer = await self.client.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=[named]), 9)
        return answer.responses[0].partition_responses[0]

    async def stored(self, topic: str) -> list[RecordBatch]:
        data = (await self.client.ask(fetch(topic, 0), FETCH)).responses[0].partitions[0]
        assert data.error_code == 0
        return list(batches(bytes(data.records)))

    async def values(self, topic: str) -> list[bytes | None]:
        return [record.value for batch in await self.stored(topic) for record in batch.records(MIB)]

    async def earliest(self, topic: str) -> int:
        asked = ListOffsetsRequest.ListOffsetsPartition(partition_index=0, timestamp=EARLIEST)
        named = ListOffsetsRequest.ListOffsetsTopic(name=topic, partitions=[asked])
        answer = await self.client.ask(ListOffsetsRequest(replica_id=-1, topics=[named]), 7)
        return int(answer.topics[0].partitions[0].offset)

    def log(self, topic: str) -> Partition:
        found = self.running.broker.store.get(topic, 0)
        assert found is not None
        return found

    def files(self, topic: str, suffix: str) -> list[int]:
        """The sizes of the files of a kind, of topics that are there or wait to be removed."""
        folder = Path(self.running.broker.store.path)
        return [path.stat().st_size for path in sorted(folder.glob(f"{topic}-0*/*{suffix}"))]

    async def compact(self, topic: str) -> None:
        housekeeping = self.running.broker.housekeeping
        housekeeping.in_process = True
        await housekeeping.clean_now(topic)


Observer = Callable[[World, str], Awaitable[Any]]
"""Does something with a topic (or beside it) and gives what a client, or a person at the disk, sees."""


class Case(NamedTuple):
    """`observe` gives `otherwise` on a topic like any other, `then` where the config is `value`. `beside`: what both
    topics have."""

    value: str
    observe: Observer
    otherwise: Any
    then: Any
    beside: dict[str, str] = {}  # noqa: RUF012 (nobody changes it)


async def start(launcher: Launcher, settings: dict[str, str] | None = None) -> World:
    clock = ManualClock()
    running = await launcher.start(settings, clock=clock, ids=HighIds(7))
    return World(running, await running.client(), clock)


async def observed(launcher: Launcher, name: str, case: Case) -> None:
    """See what a broker does without a setting, and what one does that has it."""
    for at, (settings, wanted) in enumerate(
        ((case.beside, case.otherwise), ({**case.beside, name: case.value}, case.then))
    ):
        launcher.folder = launcher.folder.with_name(f"data-{at}")
        world = await start(launcher, settings)
        world.create("t", {})
        async with world.client:
            assert await case.observe(world, "t") == wanted, settings
        assert "failed" not in world.running.log_text
        await launcher.stop()
