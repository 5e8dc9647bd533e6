"""What a real Kafka 4.4.0 answered to transactional requests of both generations, in the order asked.

data/observed_transactions/*.jsonl.gz has the form of data/observed (test_observed.py). Calls in between that were not
kept are made up for here. The clock stands where Kafka's stood at each outcome: markers are equal byte for byte.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Final, NamedTuple

from trio.testing import wait_all_tasks_blocked

from ottla.log.clock import ManualClock
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from tests.broker.conftest import Launcher, Running
from tests.broker.test_observed import Player

DATA: Final = Path(__file__).parent / "data" / "observed_transactions" / "4_transactions.jsonl.gz"
STARTED_MS: Final = 1_795_364_082_000
FIRST_PRODUCER_ID: Final = 4
FETCH_WAIT_MS: Final = 100
CHECK_MS: Final = 10_000  # transaction.abort.timed.out.transaction.cleanup.interval.ms


class Before(NamedTuple):
    """What happened before an exchange: InitProducerId calls, and the time it was."""

    inits: int = 0
    transactional_id: str = "tx-obs"
    timeout_ms: int = 60_000
    at_ms: int = 0


BEFORE: Final = {
    "txn init again bumps epoch": Before(1),
    "tv1 produce before AddPartitions (v11)": Before(2),
    "add partitions v3": Before(at_ms=1_795_364_083_240),
    "end txn abort": Before(at_ms=0x1A20409D770),
    "end txn commit": Before(at_ms=0x1A20409D974),
    "tv2 produce v12 without AddPartitions": Before(1),
    "tv2 abort with nothing added": Before(1),
    "tv2 commit with nothing added": Before(1),
    "tv2 txn offset commit v5": Before(1),
    "txn short add": Before(1, "tx-short", 1000, 1_795_364_085_337),
    "txn short end after timeout abort": Before(at_ms=1_795_364_085_337 + CHECK_MS),
}


class ExactPlayer(Player):
    """Lets a Fetch wait as long as it asks for, to the millisecond."""

    async def _pass_time(self) -> None:
        await wait_all_tasks_blocked(0.05)
        self._clock.advance(FETCH_WAIT_MS)
        self.running.broker.timers.run_due()


async def test_every_answer_is_that_of_kafka(launcher: Launcher) -> None:
    clock = ManualClock(wall_ms=STARTED_MS)
    running = await launcher.start({"num.partitions": "3"}, clock=clock)
    metadata = running.broker.metadata
    for name in ("obs-a", "obs-t"):
        metadata.create_topic(metadata.plan_topic(name))
    while metadata.new_producer_id() < FIRST_PRODUCER_ID - 1:
        pass
    player = ExactPlayer(running, clock)
    wrong: list[str] = []
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        exchanges = [json.loads(line) for line in file]
    for number, exchange in enumerate(exchanges, 1):
        scenario = exchange["scenario"]
        if scenario in BEFORE:
            await bring_about(running, clock, BEFORE[scenario])
        for path, (theirs, ours) in (await player.play(exchange)).items():
            wrong.append(f"{number} {scenario} v{exchange['version']} {path}: Kafka {theirs!r}, Ottla {ours!r}")
    assert "request failed" not in running.log_text
    assert not wrong, "\n" + "\n".join(wrong)


async def bring_about(running: Running, clock: ManualClock, before: Before) -> None:
    if before.at_ms:
        clock.advance(before.at_ms - clock.wall_ms())
        running.broker.timers.run_due()
    async with await running.client() as client:
        for _ in range(before.inits):
            request = InitProducerIdRequest(
                transactional_id=before.transactional_id, transaction_timeout_ms=before.timeout_ms
            )
            assert (await client.ask(request, 4)).error_code == 0
