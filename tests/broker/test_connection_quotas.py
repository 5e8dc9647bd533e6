"""How many connections a node takes, how fast, and from whom, on a clock that is told to move."""

from __future__ import annotations

import pytest
import trio

from ottla.broker.config import BrokerConfig
from ottla.broker.config_effects import BROKER
from ottla.broker.connection_quotas import ConnectionQuotas
from ottla.broker.quotas import ClientQuotas, checked_record, entity_of
from ottla.coordinator.timers import Timers
from ottla.log.clock import ManualClock
from tests.broker.conftest import Launcher
from tests.broker.effects import effect
from tests.broker.test_connection import METADATA, metadata
from tests.broker.test_quotas import alter

HOST = "192.0.2.1"


class Door:
    """Connections that come to one node, without sockets."""

    def __init__(self, **settings: str) -> None:
        self.clock = ManualClock()
        self.timers = Timers(self.clock)
        self.limits = ClientQuotas()
        named = {name.replace("_", "."): text for name, text in settings.items()}
        self.config = BrokerConfig(named)
        self.quotas = ConnectionQuotas(
            self.config, self.limits, self.timers, lambda name: {HOST} if name == "me" else ()
        )

    def enter(self, count: int = 1, listener: str = "PLAINTEXT") -> list[bool]:
        """Of each new connection, whether it has a place at once."""
        return [self.quotas.enter(listener).settled for _ in range(count)]

    def limit(self, host: str | None, rate: float) -> None:
        self.limits.replay(checked_record(entity_of([("ip", host)]), "connection_creation_rate", rate, False))

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        self.timers.run_due()


def test_who_comes_too_fast_waits() -> None:
    door = Door(max_connection_creation_rate="2")
    assert door.enter(20) == [True] * 20  # ten seconds' worth
    late = door.quotas.enter("PLAINTEXT")
    assert not late.settled
    door.advance(499)
    assert not late.settled
    door.advance(1)  # (21 / 10 - 2) / 2 * 10 s
    assert late.settled


def test_nobody_waits_for_longer_than_a_window() -> None:
    door = Door(max_connection_creation_rate="1")
    door.enter(60)
    late = door.quotas.enter("PLAINTEXT")
    door.advance(999)
    assert not late.settled
    door.advance(1)
    assert late.settled


def test_a_listener_may_have_limits_of_its_own() -> None:
    door = Door(
        **{"listener.name.internal.max.connections": "1", "listener.name.slow.max.connection.creation.rate": "1"}
    )
    assert door.enter(2, "INTERNAL") == [True, False]
    assert door.enter(11, "SLOW") == [True] * 10 + [False]
    assert door.enter(30) == [True] * 30


def test_a_place_that_is_given_back_goes_to_who_waited_longest() -> None:
    door = Door(max_connections="2")
    assert door.enter(2, "A") == [True, True]
    first, second = door.quotas.enter("A"), door.quotas.enter("B")
    assert door.quotas.waiting == 2
    door.quotas.leave("A")
    assert (first.settled, second.settled) == (True, False)
    door.config.set_dynamic({}, {"max.connections": "3"})
    door.quotas.settings_changed()
    assert second.settled
    assert door.quotas.excess == 0
    door.config.set_dynamic({}, {"max.connections": "1"})
    assert door.quotas.excess == 2


def test_an_address_above_its_rate_is_kept_waiting_and_counts_nowhere() -> None:
    door = Door(max_connection_creation_rate="100")
    door.limit(None, 1.0)
    door.limit("192.0.2.9", 5.0)
    for _ in range(10):
        assert door.enter() == [True]
        assert door.quotas.refusal("PLAINTEXT", HOST) is None
    for _ in range(3):  # what was refused makes nothing worse
        door.enter()
        refusal = door.quotas.refusal("PLAINTEXT", HOST)
        assert refusal is not None
        assert not refusal.settled
    door.enter()
    assert door.quotas.refusal("PLAINTEXT", "192.0.2.9") is None
    door.advance(999)
    assert not refusal.settled
    door.advance(1)  # (11 / 10 - 1) / 1 * 10 s
    assert refusal.settled
    door.advance(10_000)
    door.enter()
    assert door.quotas.refusal("PLAINTEXT", HOST) is None


def test_one_address_has_no_more_connections_than_it_may() -> None:
    door = Door(max_connections_per_ip="1", max_connections_per_ip_overrides="me:2, nobody:7")
    for host, most in ((HOST, 2), ("192.0.2.9", 1)):
        for _ in range(most):
            door.enter()
            assert door.quotas.refusal("PLAINTEXT", host) is None
        door.enter()
        refusal = door.quotas.refusal("PLAINTEXT", host)
        assert refusal is not None
        assert refusal.settled
    door.quotas.gone(HOST)
    door.quotas.leave("PLAINTEXT")
    door.enter()
    assert door.quotas.refusal("PLAINTEXT", HOST) is None


async def served(launcher: Launcher, count: int, settings: dict[str, str]) -> bool:
    """Whether that many connections at once, which come at once, get answers without a move of the clock."""
    running = await launcher.start(settings, clock=ManualClock())
    clients = [await running.client() for _ in range(count)]
    [quotas] = running.broker.connection_quotas.values()
    answers = 0
    done = trio.Event()

    async def ask(number: int) -> None:
        nonlocal answers
        try:
            await clients[number].ask(metadata("t"), METADATA)
        except (ConnectionResetError, trio.BrokenResourceError):
            done.set()
            return
        answers += 1
        if answers == count:
            done.set()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(ask, number)
        with trio.fail_after(60):
            while not done.is_set() and not quotas.waiting:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    for client in clients:
        await trio.aclose_forcefully(client.stream)
    return answers == count


@effect(BROKER, "max.connection.creation.rate")
@pytest.mark.parametrize(("rate", "expected"), [("1", False), ("2", True)])
async def test_a_rate_of_connections_holds_back_who_comes_later(launcher: Launcher, rate: str, expected: bool) -> None:
    assert await served(launcher, 11, {"max.connection.creation.rate": rate}) is expected


@effect(BROKER, "max.connections.per.ip.overrides")
@pytest.mark.parametrize(("address", "expected"), [("127.0.0.1", True), ("192.0.2.1", False)])
async def test_single_addresses_may_have_more_connections(launcher: Launcher, address: str, expected: bool) -> None:
    settings = {"max.connections.per.ip": "1", "max.connections.per.ip.overrides": f"{address}:2"}
    assert await served(launcher, 2, settings) is expected


async def test_an_address_that_connects_too_often_is_closed_after_a_while(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    async with await running.client() as first:
        assert await alter(first, [("ip", "127.0.0.1")], connection_creation_rate=1.0) == 0
        assert running.broker.gate.taps == []  # requests pay nothing for it
        for _ in range(10):
            async with await running.client() as another:
                await another.ask(metadata("t"), METADATA)
        async with await running.client() as refused:
            with trio.fail_after(60):
                while "connection refused" not in running.log_text:
                    await trio.sleep(0.01)
            clock.advance(1_000)
            running.broker.timers.run_due()
            assert await refused.closed()
