"""The drivers of connections by themselves: what a coroutine waits for, who goes first, and how they end."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ottla.broker.reactor import (
    Driver,
    Reactor,
    TaskPerConnection,
    Work,
    make_driver,
    readable,
    settled,
    turn,
    writable,
)
from ottla.log.door import Pending

DRIVERS = [Reactor, TaskPerConnection] if sys.platform == "linux" else [TaskPerConnection]


class Peers:
    """Socket pairs: `near` ends are driven."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.ended: list[str] = []

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    def start(self, name: str, work: Work, near: socket.socket) -> None:
        self.driver.start(work, near, lambda: self.ended.append(name))


@pytest.fixture(params=DRIVERS)
async def peers(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Peers]:
    driver = request.param()
    await nursery.start(driver.run)
    yield Peers(driver)
    driver.end()


async def echo(sock: socket.socket) -> None:
    with sock:
        while True:
            try:
                data = sock.recv(100)
            except BlockingIOError:
                await readable()
                continue
            if not data:
                return
            sock.send(data)


async def heard(sock: socket.socket) -> bytes:
    with trio.fail_after(60):
        await trio.lowlevel.wait_readable(sock)
        return sock.recv(1 << 20)


async def test_whoever_becomes_readable_goes_on(peers: Peers) -> None:
    near, far = peers.pair()
    other_near, other = peers.pair()
    with far, other:
        peers.start("one", echo(near), near)
        peers.start("other", echo(other_near), other_near)
        for word in (b"a", b"b", b"c"):
            other.send(word)
            assert await heard(other) == word
        far.send(b"late")
        assert await heard(far) == b"late"
        other.close()
        await wait_all_tasks_blocked()
        assert peers.ended == ["other"]


async def test_a_descriptor_that_comes_again_is_another_connection(peers: Peers) -> None:
    for name in ("first", "second", "third"):
        near, far = peers.pair()
        with far:
            peers.start(name, echo(near), near)
            far.send(b"x")
            assert await heard(far) == b"x"
        await wait_all_tasks_blocked()
        assert near.fileno() == -1
    assert peers.ended == ["first", "second", "third"]


async def test_what_does_not_fit_waits_until_it_does(peers: Peers) -> None:
    near, far = peers.pair()

    async def pour(sock: socket.socket) -> None:
        with sock:
            left = memoryview(bytes(1 << 22))
            while left:
                try:
                    left = left[sock.send(left) :]
                except BlockingIOError:
                    await writable()
            await readable()  # back to reading
            sock.send(sock.recv(1))

    with far:
        peers.start("pouring", pour(near), near)
        got = 0
        while got < 1 << 22:
            got += len(await heard(far))
        assert got == 1 << 22
        far.send(b"!")
        assert await heard(far) == b"!"


async def test_who_waits_for_an_event_does_not_hear_its_peer_until_then(peers: Peers) -> None:
    near, far = peers.pair()
    event: Pending[str] = Pending()

    async def park(sock: socket.socket) -> None:
        with sock:
            await readable()
            sock.recv(100)
            await settled(event)
            sock.send(event.result().encode())
            await readable()
            sock.send(sock.recv(100))

    with far:
        peers.start("parked", park(near), near)
        far.send(b"go")
        await wait_all_tasks_blocked()
        far.send(b"more")  # while it is parked, and again
        await wait_all_tasks_blocked()
        far.send(b" still")
        await wait_all_tasks_blocked()
        event.resolve("done")  # from outside of any connection
        answers = b""
        while len(answers) < len(b"donemore still"):
            answers += await heard(far)
        assert answers == b"donemore still"
        await wait_all_tasks_blocked()
        assert peers.ended == ["parked"]


async def test_a_parked_connection_whose_peer_has_gone_costs_no_turns(peers: Peers) -> None:
    near, far = peers.pair()
    event: Pending[None] = Pending()

    async def park(sock: socket.socket) -> None:
        with sock:
            await settled(event)
            await readable()

    peers.start("parked", park(near), near)
    far.close()
    await wait_all_tasks_blocked()  # would never be, if it were told again and again
    assert peers.ended == []
    event.resolve(None)
    await wait_all_tasks_blocked()
    assert peers.ended == ["parked"]


async def test_what_is_settled_already_is_not_waited_for(peers: Peers) -> None:
    near, far = peers.pair()
    event: Pending[None] = Pending()
    event.resolve(None)

    async def at_once(sock: socket.socket) -> None:
        with sock:
            await settled(event)

    with far:
        peers.start("at once", at_once(near), near)
        await wait_all_tasks_blocked()
        assert peers.ended == ["at once"]


async def test_a_turn_lets_the_others_go_first(peers: Peers) -> None:
    order: list[str] = []

    async def busy(sock: socket.socket, name: str) -> None:
        with sock:
            for _ in range(3):
                order.append(name)
                await turn()

    ends = []
    for name in ("a", "b"):
        near, far = peers.pair()
        ends.append(far)
        peers.start(name, busy(near, name), near)
    await wait_all_tasks_blocked()
    assert sorted(peers.ended) == ["a", "b"]
    for at in (0, 2, 4):  # trio shuffles within a turn
        assert sorted(order[at : at + 2]) == ["a", "b"]
    for far in ends:
        far.close()


async def test_catching_up_serves_whoever_can_be_served(peers: Peers) -> None:
    pairs = [peers.pair() for _ in range(300)]
    for at, (near, _) in enumerate(pairs):
        peers.start(str(at), echo(near), near)
    await wait_all_tasks_blocked()
    for _, far in pairs:
        far.send(b"beat")
    with trio.fail_after(60):
        while True:  # trio shuffles who is first: the fallback's connections may need one more turn
            await peers.driver.catch_up()
            with suppress(BlockingIOError):
                for _, far in pairs:
                    assert far.recv(100, socket.MSG_PEEK) == b"beat"
                break
    for _, far in pairs:
        far.recv(100)
        far.close()


async def test_whoever_has_more_to_do_after_catching_up_goes_on(peers: Peers) -> None:
    near, far = peers.pair()
    steps: list[int] = []

    async def busy(sock: socket.socket) -> None:
        with sock:
            await readable()
            sock.recv(100)
            for at in range(20):
                steps.append(at)
                await turn()

    with far:
        peers.start("busy", busy(near), near)
        await wait_all_tasks_blocked()
        far.send(b"go")
        await peers.driver.catch_up()
        await wait_all_tasks_blocked()
        assert steps == list(range(20))
        assert peers.ended == ["busy"]


async def test_settled_before_catching_up_and_after_it_both_are_heard(peers: Peers) -> None:
    events: list[Pending[None]] = [Pending() for _ in range(5)]

    async def park(sock: socket.socket, event: Pending[None]) -> None:
        with sock:
            await settled(event)

    ends = []
    for at, event in enumerate(events):
        near, far = peers.pair()
        ends.append(far)
        peers.start(str(at), park(near, event), near)
    await wait_all_tasks_blocked()
    *others, last = events
    for event in others:
        event.resolve(None)
        await peers.driver.catch_up()  # before the driver itself has run again
    last.resolve(None)
    await wait_all_tasks_blocked()
    assert sorted(peers.ended) == ["0", "1", "2", "3", "4"]
    for far in ends:
        far.close()


async def test_while_nobody_is_listened_to_who_waited_for_something_else_goes_on(peers: Peers) -> None:
    near, far = peers.pair()
    other, other_far = peers.pair()
    event: Pending[None] = Pending()

    async def park(sock: socket.socket) -> None:
        with sock:
            await settled(event)

    with far, other_far, trio.fail_after(60):
        peers.start("speaks", echo(near), near)
        peers.start("waits", park(other), other)
        await wait_all_tasks_blocked()
        for _ in range(2):
            peers.driver.listen(listens=False)
            far.send(b"beat")
            await peers.driver.catch_up()
            await wait_all_tasks_blocked()
            with pytest.raises(BlockingIOError):
                far.recv(100)
            if not event.settled:
                event.resolve(None)
            await peers.driver.catch_up()
            assert peers.ended == ["waits"]
            peers.driver.listen(listens=True)
            assert await heard(far) == b"beat"


@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_driver_that_is_to_end_listens_again(kind: type[Driver]) -> None:
    driver = kind()
    near, far = socket.socketpair()
    near.setblocking(False)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            driver.start(echo(near), near, lambda: None)
            driver.listen(listens=False)
            await wait_all_tasks_blocked()
            driver.end()
            driver.listen(listens=False)
            far.close()
    await driver.catch_up()
    assert near.fileno() < 0


@pytest.mark.parametrize("kind", DRIVERS)
async def test_the_driver_ends_with_the_last_connection(kind: type[Driver]) -> None:
    driver = kind()
    near, far = socket.socketpair()
    near.setblocking(False)
    with far, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            driver.start(echo(near), near, lambda: None)
            await wait_all_tasks_blocked()
            driver.end()
            await wait_all_tasks_blocked()
            assert near.fileno() >= 0
            far.close()


@pytest.mark.parametrize("kind", DRIVERS)
async def test_cancelled_it_closes_what_is_under_way(kind: type[Driver]) -> None:
    driver = kind()
    near, far = socket.socketpair()
    near.setblocking(False)
    never: Pending[None] = Pending()
    ended: list[str] = []

    async def park(sock: socket.socket) -> None:
        try:
            await settled(never)
        finally:
            sock.close()
            ended.append("abandoned")

    with far, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(driver.run)
            driver.start(park(near), near, lambda: ended.append("told"))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert ended == ["abandoned", "told"]
        assert far.recv(1) == b""
    never.resolve(None)  # nobody is left to wake


def test_a_platform_without_epoll_has_a_task_per_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_driver(use_epoll=False), TaskPerConnection)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert isinstance(make_driver(), TaskPerConnection)
