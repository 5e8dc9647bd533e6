"""Who drives the coroutines of connections: one task with an epoll of our own, or, where there is none, a task each.

A connection awaits only what is here: `readable`, `writable`, `turn`, `settled` and `settled_or_gone`. Knows readiness
and turns; nothing of frames, protocol or limits.

Why not trio's own waits: they re-arm the socket by a system call and pass two queues each time, 25 us of a request.
Why it looks again before it sleeps: where a client's next request comes at once, falling asleep and being woken is what
costs most, 80 us of a round trip against 20, and more CPU than the looking takes.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from ottla.log.door import Pending

if TYPE_CHECKING:
    from ottla.broker.loop_time import LoopTime

READ: Final = 1  # as EPOLLIN
WRITE: Final = 4  # as EPOLLOUT
GONE: Final = 0x2000  # as EPOLLRDHUP
TURN: Final = 0


class Leash:
    """Waits for a Pending, and for the peer to hang up."""

    __slots__ = ("pending",)

    def __init__(self, pending: Pending[Any]) -> None:
        self.pending = pending


Wait = int | Pending[Any] | Leash
Work = Coroutine[Wait, None, None]

MOST_EVENTS = 256  # of one look; the others come with the next
TURN_S = 0.001  # that trio's other tasks may have to wait for theirs
LOOKS = 100  # before it sleeps, 120 us in all: about what falling asleep and being woken costs both sides
LOOK_AGAIN_S = 0.1  # whether a client that talks on, unheard, has hung up; without epoll only
SOON_S = 300e-6  # a wait as short as this one is likely to be followed by another


@coroutine
def readable() -> Generator[Wait, None, None]:
    """Wait until the connection's socket can be read, or has ended."""
    yield READ


@coroutine
def writable() -> Generator[Wait, None, None]:
    """Wait until the connection's socket takes more, or has ended."""
    yield WRITE


@coroutine
def turn() -> Generator[Wait, None, None]:
    """Let everyone else who can go on do so first."""
    yield TURN


@coroutine
def settled(pending: Pending[Any]) -> Generator[Wait, None, None]:
    """Wait until `pending` is settled."""
    if not pending.settled:
        yield pending


@coroutine
def settled_or_gone(pending: Pending[Any]) -> Generator[Wait, None, None]:
    """Wait until `pending` is settled. Raises ConnectionResetError if the peer hangs up first."""
    if not pending.settled:
        yield Leash(pending)
        if not pending.settled:
            raise ConnectionResetError("the peer hung up while its request waited")


class Driver(Protocol):
    """Drives the coroutines of connections."""

    meter: LoopTime[Any] | None
    """Told of each step of each connection, while somebody wants to know."""
    crowded: bool
    """Several connections became readable at once, and not all have been served: answers had better leave together,
    after a `turn`. Each of them would wake its client, which costs 15 us unless it is up already."""

    def start(self, work: Work, sock: socket.socket, ended: Callable[[], object]) -> None:
        """Drive `work`, which waits for `sock`, from the next turn on, while `run` runs. It lets no Exception out and
        closes the socket; then `ended()` is called."""
        ...

    async def catch_up(self) -> None:
        """Whoever can go on now has done so when this returns."""
        ...

    def listen(self, *, listens: bool) -> None:
        """Whether what peers say is heard, as it is at first. If not, only those go on that wait for something else."""
        ...

    def end(self) -> None:
        """Let `run` return once the last connection has ended."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Drive; `started` means that connections may come. Cancelled, it closes what is still under way."""
        ...


class Reactor:
    """The driver of all connections in the one task that awaits `run`. Needs epoll."""

    __slots__ = (
        "_alarm",
        "_alarmed",
        "_asleep",
        "_deaf",
        "_ending",
        "_epoll",
        "_looks_at",
        "_members",
        "_ready",
        "_soon",
        "crowded",
        "meter",
    )

    _epoll: select.epoll
    _looks_at: select.epoll  # the same; while nobody is listened to, the deaf one, which knows the alarm only
    _alarm: int  # an eventfd that wakes the task from outside

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}  # by descriptor
        self._ready: deque[_Member] = deque()
        self._asleep = False
        self._alarmed = False
        self.crowded = False
        self._soon = False  # the last wait was short
        self._ending = False
        self._deaf: select.epoll | None = None  # made when it is needed
        self.meter: LoopTime[Any] | None = None

    def start(self, work: Work, sock: socket.socket, ended: Callable[[], object]) -> None:
        member = self._members[sock.fileno()] = _Member(self, work, sock.fileno(), ended)
        self.wake(member)

    def wake(self, member: _Member) -> None:
        """The member's next step is due."""
        member.waits_for = _QUEUED
        self._ready.append(member)
        self._rouse()

    async def catch_up(self) -> None:
        if self._looks_at.closed:
            return
        while self._round() >= MOST_EVENTS:
            pass
        if self._ready:  # they took their turn here, and have more to do
            self._rouse()

    def listen(self, *, listens: bool) -> None:
        if listens:
            self._looks_at = self._epoll
            self._rouse()
        elif not self._ending:
            if self._deaf is None:
                self._deaf = select.epoll()
                self._deaf.register(self._alarm, select.EPOLLIN)
            self._looks_at = self._deaf

    def end(self) -> None:
        self._ending = True
        self._looks_at = self._epoll
        self._rouse()

    def _rouse(self) -> None:
        """See to it that `run` goes on. The alarm rings until `run` itself hears it: `catch_up` may come in between."""
        if self._asleep and not self._alarmed:
            self._alarmed = True
            os.eventfd_write(self._alarm, 1)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        now_s = trio.current_time
        members = self._members
        turn_s = now_s()
        self._epoll = self._looks_at = select.epoll()
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._alarm, select.EPOLLIN)
        task_status.started()
        try:
            while members or not self._ending:
                if self._round() or (self._soon and self._linger()):
                    if now_s() - turn_s < TURN_S:
                        continue
                    await trio.lowlevel.checkpoint()
                else:
                    slept_s = now_s()
                    self._asleep = True
                    await trio.lowlevel.wait_readable(self._looks_at.fileno())
                    self._asleep = False
                    if self._alarmed:
                        self._alarmed = False
                        os.eventfd_read(self._alarm)
                    self._soon = now_s() - slept_s < SOON_S
                turn_s = now_s()
        finally:
            self._asleep = False  # nobody is to be roused any more
            self._ending = True
            self._looks_at = self._epoll
            for member in list(members.values()):
                member.work.close()
                self._forget(member)
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            if self._deaf is not None:
                trio.lowlevel.notify_closing(self._deaf.fileno())
                self._deaf.close()
            os.close(self._alarm)

    def _linger(self) -> bool:
        """Look a while longer; whether anyone came."""
        self._soon = False
        for _ in range(LOOKS):
            if self._round():
                self._soon = True
                break
        return self._soon

    def _round(self) -> int:
        """Everyone who can go on takes one step; how many those were."""
        members, ready = self._members, self._ready
        events = self._looks_at.poll(0, MOST_EVENTS)
        self.crowded = len(events) > 1
        for descriptor, _ in events:
            member = members.get(descriptor)
            if member is None:  # the alarm, which is for `run`
                continue
            if member.waits_for > 0:
                self._step(member)
            elif member.waits_for == _PARKED:  # it talks on, or has gone: heard when it is listened to again
                self._epoll.unregister(descriptor)
                member.listens_for = 0
        self.crowded = False
        steps = len(ready)  # those that are queued from now on come after the next look
        for _ in range(steps):
            self._step(ready.popleft())
        return len(events) + steps

    def _step(self, member: _Member) -> None:
        meter = self.meter
        try:
            if meter is None:
                wait = member.work.send(None)
            else:
                wait = meter.around(member, member.work)
        except StopIteration:
            self._forget(member)
            return
        if isinstance(wait, Pending):
            member.waits_for = _PARKED
            wait.then(member.wake)
        elif wait == TURN:
            member.waits_for = _QUEUED
            self._ready.append(member)
        else:
            if member.listens_for != wait:
                wait = self._listen(member, wait)
            member.waits_for = wait

    def _listen(self, member: _Member, wait: int | Leash) -> int:
        """Let the epoll listen for what the member waits for, which is returned."""
        if isinstance(wait, Leash):
            wait.pending.then(member.let_go)
            wait = GONE
        if member.listens_for:
            self._epoll.modify(member.descriptor, wait)
        else:
            self._epoll.register(member.descriptor, wait)
        member.listens_for = wait
        return wait

    def _forget(self, member: _Member) -> None:
        member.waits_for = _ENDED
        del self._members[member.descriptor]
        if self.meter is not None:
            self.meter.forget(member)
        member.ended()


_PARKED: Final = 0  # what `waits_for` is beside READ and WRITE
_QUEUED: Final = -1
_ENDED: Final = -2


class _Member:
    """A connection as the reactor sees it. What the epoll `listens_for` lags behind, to save system calls."""

    __slots__ = ("_reactor", "descriptor", "ended", "listens_for", "waits_for", "work")

    def __init__(self, reactor: Reactor, work: Work, descriptor: int, ended: Callable[[], object]) -> None:
        self._reactor = reactor
        self.work = work
        self.descriptor = descriptor
        self.ended = ended
        self.waits_for = _QUEUED
        self.listens_for = 0

    def wake(self, _: object) -> None:
        """What it waited for is settled."""
        if self.waits_for == _PARKED:
            self._reactor.wake(self)

    def let_go(self, _: object) -> None:
        """What it waited for on a leash is settled."""
        if self.waits_for == GONE:
            self._reactor.wake(self)


class TaskPerConnection:
    """The driver where there is no epoll: trio's waits, a task each."""

    __slots__ = ("_deaf", "_ending", "_nursery", "crowded", "meter")

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._ending = trio.Event()
        self._deaf: trio.Event | None = None  # set when peers are listened to again
        self.crowded = False
        self.meter: LoopTime[Any] | None = None

    def start(self, work: Work, sock: socket.socket, ended: Callable[[], object]) -> None:
        assert self._nursery is not None, "connections come while `run` runs"
        self._nursery.start_soon(self._drive, work, sock, ended)

    async def catch_up(self) -> None:
        for _ in range(2):  # trio shuffles who is first of those that can go on
            await trio.lowlevel.checkpoint()

    def listen(self, *, listens: bool) -> None:
        if listens and self._deaf is not None:
            self._deaf.set()
            self._deaf = None
        elif not listens and self._deaf is None and not self._ending.is_set():
            self._deaf = trio.Event()

    def end(self) -> None:
        self._ending.set()
        self.listen(listens=True)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await self._ending.wait()

    async def _drive(self, work: Work, sock: socket.socket, ended: Callable[[], object]) -> None:
        try:
            while True:
                meter = self.meter
                wait = work.send(None) if meter is None else meter.around(work, work)
                if isinstance(wait, Pending):
                    await _settled(wait)
                elif wait == READ:
                    await trio.lowlevel.wait_readable(sock)
                    while self._deaf is not None:
                        await self._deaf.wait()
                elif wait == WRITE:
                    await trio.lowlevel.wait_writable(sock)
                elif isinstance(wait, Leash):
                    await _settled_or_gone(wait.pending, sock)
                else:
                    await trio.lowlevel.checkpoint()
        except StopIteration:
            pass
        finally:
            work.close()
            if self.meter is not None:
                self.meter.forget(work)
            ended()


def make_driver(*, use_epoll: bool = True) -> Driver:
    """The best that the platform has."""
    if use_epoll and sys.platform == "linux":
        return Reactor()
    return TaskPerConnection()


async def _settled(pending: Pending[Any]) -> None:
    task = trio.lowlevel.current_task()
    waiting = True

    def wake(_: Pending[Any]) -> None:
        if waiting:
            trio.lowlevel.reschedule(task)

    def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        nonlocal waiting
        waiting = False
        return trio.lowlevel.Abort.SUCCEEDED

    pending.then(wake)
    await trio.lowlevel.wait_task_rescheduled(abort)


async def _settled_or_gone(pending: Pending[Any], sock: socket.socket) -> None:
    async with trio.open_nursery() as watching:

        async def watch() -> None:
            await trio.lowlevel.wait_readable(sock)
            while not _has_hung_up(sock):  # it talks on: that is for later
                await trio.sleep(LOOK_AGAIN_S)
            watching.cancel_scope.cancel()

        watching.start_soon(watch)
        await _settled(pending)
        watching.cancel_scope.cancel()


def _has_hung_up(sock: socket.socket) -> bool:
    """Whether the peer of a readable socket has gone; where there is no poll, only if it said nothing before."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, getattr(select, "POLLRDHUP", select.POLLHUP))
        if poll.poll(0):
            return True
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
