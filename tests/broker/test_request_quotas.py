"""request_percentage (KIP-124): clients that keep the one loop busy are told, and muted. Time is told to pass."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from ottla.broker.loop_time import LoopTime
from ottla.broker.reactor import TURN, turn
from ottla.log.clock import ManualClock
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.messages.write_txn_markers import WriteTxnMarkersRequest
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import METADATA, PRODUCE, fetch, metadata, produce
from tests.broker.test_quotas import SLOW, alter


class Busy:
    """A tap that keeps the loop busy for `seconds` at each request of a client."""

    def __init__(self, running: Running, clock: MockClock, client_id: str) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._client_id = client_id
        running.broker.gate.taps.append(self)

    def on_request(self, context: Any) -> None:
        if context.client_id == self._client_id:
            self._clock.jump(self.seconds)

    def on_response(self, context: Any, response: Any) -> None:
        pass


class Scene:
    """A broker whose client `slow` may have one percent of the loop."""

    def __init__(self, running: Running, clock: ManualClock, busy: Busy, slow: Client, other: Client) -> None:
        self.running = running
        self.clock = clock
        self.busy = busy
        self.slow = slow
        self.other = other

    async def throttle_ms(self, seconds: float, client: Client | None = None) -> int:
        """What a request says that keeps the loop busy for so long."""
        self.busy.seconds = seconds
        return int((await (client or self.slow).ask(metadata("t"), METADATA)).throttle_time_ms)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.running.broker.timers.run_due()


async def scene(launcher: Launcher, mock_clock: MockClock) -> Scene:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    slow, other = await running.client("slow"), await running.client("other")
    await slow.ask(metadata("t"), METADATA)
    assert await alter(other, list(SLOW), request_percentage=1.0) == 0
    return Scene(running, clock, Busy(running, mock_clock, "slow"), slow, other)


async def test_time_above_the_share_is_waited_for(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    assert await there.throttle_ms(0.1) == 0  # ten seconds' worth
    assert await there.throttle_ms(0.005) == 500  # (1.05 - 1) / 1 of 10 s
    assert await there.throttle_ms(5.0, there.other) == 0
    there.busy.seconds = 0.0
    await there.slow.send(metadata("t"), METADATA)
    await wait_all_tasks_blocked(0.01)
    assert len(there.running.broker.gate._muted) == 1
    there.advance(500)
    assert (await there.slow.receive(metadata("t"), METADATA)).throttle_time_ms == 0


async def test_nobody_waits_for_longer_than_a_window_at_once(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    assert await there.throttle_ms(60.0) == 1_000
    there.advance(1_000)
    assert await there.throttle_ms(0.0) == 1_000


async def test_whoever_waits_keeps_nobody_busy(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    await there.slow.send(fetch("t", 0, max_wait_ms=10_000), 12)
    await wait_all_tasks_blocked(0.01)
    mock_clock.jump(10.0)
    there.advance(10_000)
    answer = await there.slow.receive(fetch("t", 0), 12)
    assert answer.throttle_time_ms == 0


async def test_a_fetch_above_the_share_gets_nothing(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    await there.other.ask(produce("t", b"x" * 100), PRODUCE)
    there.busy.seconds = 0.2
    withheld = await there.slow.ask(fetch("t", 0), 12)
    assert (withheld.throttle_time_ms, withheld.responses) == (1_000, [])


async def test_a_producer_that_wants_no_answers_is_muted_too(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    there.busy.seconds = 0.2
    silent: ProduceRequest = produce("t", b"x" * 100)
    silent.acks = 0
    await there.slow.send(silent, PRODUCE)
    await wait_all_tasks_blocked(0.01)
    assert not there.running.broker.gate._muted
    await there.slow.send(silent, PRODUCE)
    await wait_all_tasks_blocked(0.01)
    assert len(there.running.broker.gate._muted) == 1


async def test_what_brokers_ask_takes_no_share(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    there.busy.seconds = 60.0
    await there.slow.ask(WriteTxnMarkersRequest(markers=[]), 1)
    assert await there.throttle_ms(0.0) == 0


async def test_nobody_is_measured_without_a_share(launcher: Launcher, mock_clock: MockClock) -> None:
    there = await scene(launcher, mock_clock)
    assert await alter(there.other, list(SLOW), request_percentage=None, producer_byte_rate=1.0) == 0
    assert await there.throttle_ms(60.0) == 0
    assert await alter(there.other, list(SLOW), request_percentage=1.0) == 0
    assert await there.throttle_ms(60.0) == 1_000


def test_time_belongs_to_the_connection_that_takes_it() -> None:
    counted: list[tuple[str, float]] = []
    now_s = 0.0
    meter: LoopTime[str] = LoopTime(lambda payer, seconds: counted.append((payer, seconds)), lambda: now_s)

    async def work(payer: str) -> None:
        nonlocal now_s
        meter.charge(payer)
        now_s += 1.0
        assert meter.take_s() == 1.0
        now_s += 2.0  # sending the answer
        await turn()
        meter.charge(None)
        now_s += 4.0

    connections = {name: work(name) for name in ("a", "b")}
    for name, connection in connections.items():
        assert meter.around(name, connection) == TURN
        now_s += 8.0  # of the others
    assert counted == [("a", 2.0), ("b", 2.0)]
    for name, connection in connections.items():
        with pytest.raises(StopIteration):
            meter.around(name, connection)
    assert counted == [("a", 2.0), ("b", 2.0)]
