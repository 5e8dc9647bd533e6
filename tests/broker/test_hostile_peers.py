"""Peers that are slow, greedy or silent: each costs little, is closed in time, and disturbs nobody."""

from __future__ import annotations

import trio

from ottla.broker.connection import FRAME_TIMEOUT_MS, MIN_BYTES_PER_MS
from ottla.log.clock import ManualClock
from tests.broker.conftest import Client, Launcher
from tests.broker.test_connection import METADATA, PRODUCE, fetch, fetched, metadata, produce

MIB = 1 << 20


async def test_a_request_that_never_comes_whole_ends_its_connection(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client() as slow, await running.client() as honest:
        frame = slow.frame(metadata("t"), METADATA)
        await slow.stream.send_all(frame[:20])
        await honest.ask(metadata("t"), METADATA)
        clock.advance(FRAME_TIMEOUT_MS)
        running.server.sweep()
        await slow.stream.send_all(frame[20:21])
        await honest.ask(metadata("t"), METADATA)  # one more byte, and still in time
        clock.advance(2)
        running.server.sweep()
        assert await slow.closed()
        assert "too slowly" in running.log_text
        await honest.ask(metadata("t"), METADATA)


async def test_a_big_request_over_a_slow_line_is_given_the_time_it_needs(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"message.max.bytes": str(8 * MIB)}, clock=clock)
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        frame = client.frame(produce("t", b"x" * 4 * MIB), PRODUCE)
        for start in range(0, len(frame), MIB):
            await client.stream.send_all(frame[start : start + MIB])
            await trio.testing.wait_all_tasks_blocked()
            clock.advance(MIB // MIN_BYTES_PER_MS)
            running.server.sweep()
        response = await client.receive(produce("t", b""), PRODUCE)
        assert response.responses[0].partition_responses[0].error_code == 0


async def test_an_idle_connection_is_closed_and_one_that_waits_is_not(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"connections.max.idle.ms": "60000"}, clock=clock)
    async with await running.client() as idle, await running.client() as waiting, await running.client() as other:
        await other.ask(metadata("t"), METADATA)
        await idle.ask(metadata("t"), METADATA)
        await waiting.send(fetch("t", 0, max_wait_ms=3_600_000), 11)
        await trio.testing.wait_all_tasks_blocked()
        clock.advance(60_001)
        await other.ask(metadata("t"), METADATA)
        running.server.sweep()
        assert await idle.closed()
        await other.ask(produce("t", b"here"), PRODUCE)
        with trio.fail_after(60):
            assert (await waiting.receive(fetch("t", 0), 11)).responses[0].partitions[0].error_code == 0


async def test_memory_follows_the_bytes_that_came_and_stays_within_the_budget(launcher: Launcher) -> None:
    running = await launcher.start({"queued.max.request.bytes": str(4 * MIB), "message.max.bytes": str(8 * MIB)})
    budget = running.server.budget
    async with await running.client() as setup:
        await setup.ask(metadata("t"), METADATA)
    announcers = [await running.client() for _ in range(20)]
    for announcer in announcers:  # 100 MiB announced, 100 bytes sent
        await announcer.stream.send_all((100 * MIB).to_bytes(4, "big") + b"\0" * 96)
    await trio.testing.wait_all_tasks_blocked()
    assert budget.used <= 20 * 70_000
    for announcer in announcers:
        await announcer.stream.aclose()

    clients = [await running.client(f"c{i}") for i in range(4)]
    most = 0
    done: list[str] = []

    async def send(client: Client) -> None:
        await client.stream.send_all(client.frame(produce("t", client.client_id.encode() * 1_500_000), PRODUCE))
        await client.receive(produce("t", b""), PRODUCE)
        done.append(client.client_id)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(send, client)
            while len(done) < 4:
                most = max(most, budget.used)
                await trio.sleep(0)
    assert most <= 4 * MIB + 3_100_000, "only the first in line may pass the limit"
    assert budget.used == 0
    async with await running.client() as reader:
        assert len(await fetched(reader, fetch("t", 0))) == 4


async def test_a_peer_that_reads_nothing_is_closed_when_it_has_stalled_for_too_long(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start({"connections.max.idle.ms": "60000"}, clock=clock)
    async with await running.client() as deaf, await running.client() as other:
        await other.ask(metadata("t"), METADATA)
        for _ in range(20):
            await other.ask(produce("t", b"x" * 900_000), PRODUCE)
        await deaf.stream.send_all(b"".join(deaf.frame(fetch("t", 0, max_bytes=30 * MIB), 11) for _ in range(20)))
        await trio.testing.wait_all_tasks_blocked()
        assert len(running.server.connections) == 2
        clock.advance(60_001)
        await other.ask(metadata("t"), METADATA)
        running.server.sweep()
        with trio.fail_after(60):
            while len(running.server.connections) > 1:
                await trio.sleep(0.01)
        await other.ask(metadata("t"), METADATA)
