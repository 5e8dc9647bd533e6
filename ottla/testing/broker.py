"""The brokers that tests use: `Broker` for plain code, with a thread of its own, `AsyncBroker` inside a trio program.

Both are the same `Instance`; what they show of it is view.py's, groups.py's and requests.py's, how they wait for it is
watch.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TextIO, TypeVar

import trio

from ottla.broker.errors import UsageError
from ottla.broker.group_views import GroupView, groups_of
from ottla.broker.options import TopicSpec, parse_topic
from ottla.log.clock import Clock, SteeredClock
from ottla.testing import changes, fork, processes
from ottla.testing.changes import Headers, Text
from ottla.testing.clock import AsyncBrokerClock, BrokerClock
from ottla.testing.instance import Instance, Setup
from ottla.testing.rebalances import AsyncGroupStrings, GroupStrings
from ottla.testing.requests import Request, api_key
from ottla.testing.view import Record, TopicView, Where, records_of, topics_of
from ottla.testing.watch import WhereRequest, expect_no_more, wait_for_records, wait_for_requests
from ottla.wire.errors import KafkaError

if TYPE_CHECKING:
    from ottla.testing.faults import AsyncBrokerFaults, BrokerFaults

T = TypeVar("T")
TIMEOUT_S: Final = 10.0


class _Base:
    def __init__(
        self,
        *,
        nodes: int = 1,
        racks: Sequence[str] = (),
        topics: Mapping[str, int] | Iterable[str] = (),
        settings: Mapping[str, str] | None = None,
        data: str | None = None,
        snapshot: str | PathLike[str] | None = None,
        clock: Clock | Literal["frozen"] | None = None,
        log: TextIO | None = None,
        log_level: str = "warning",
        control: bool = False,
    ) -> None:
        """`topics`: name -> partitions, or texts as for `ottla serve --topic`: "orders", "orders:6",
        "orders:6:cleanup.policy=compact". `settings`: broker properties. `data`: a folder that
        is kept; without it nothing is. `snapshot`: name or path of what the folder, which is empty then, begins with;
        `topics` are made besides. `clock`: "frozen" stands still until it is moved. `log`: where the broker's log
        goes. `control`: tests in other languages ask at `control_url`. Raises ValueError.
        """
        if isinstance(topics, str):
            raise ValueError(f"topics must be names with numbers of partitions, or a list of names, not {topics!r}")
        if nodes < 1:
            raise ValueError(f"a broker has 1 node or more, not {nodes}")
        if racks and len(racks) != nodes:
            raise ValueError(f"{len(racks)} racks for {nodes} nodes: give one to each, or none")
        if isinstance(clock, str):
            if clock != "frozen":
                raise ValueError(f"clock={clock!r}: it is 'frozen', or a clock of your own")
            clock = SteeredClock()
            clock.freeze()
        self._instance = Instance(
            Setup(
                nodes=nodes,
                racks=racks,
                settings={name: str(value) for name, value in (settings or {}).items()},
                topics=topics if isinstance(topics, Mapping) else {},
                specs=() if isinstance(topics, Mapping) else _specs(topics),
                folder=data,
                snapshot=snapshot,
                clock=clock,
                log=log,
                log_level=log_level,
                control=control,
            )
        )

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of each node, as clients take it."""
        return self._instance.bootstrap_servers

    @property
    def has_control(self) -> bool:
        """Whether it has a control surface."""
        return bool(self._instance.control_url)

    @property
    def control_url(self) -> str:
        """Where the control surface is; raises ValueError if the broker has none."""
        if not self._instance.control_url:
            raise ValueError("this broker has no control surface: start it with control=True")
        return self._instance.control_url


class Broker(_Base):
    """A broker in this process, in a thread of its own: ready when `start` (or `with`) returns, gone when it ends.

    Every method may be called from any thread. A process that is forked from this one can reach it at
    `bootstrap_servers`, as any other can, but not look into it.
    """

    _token: trio.lowlevel.TrioToken | None = None
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    def start(self) -> Self:
        """Raises ValueError for settings and topics that cannot be, StartupError and StoreError for what cannot be had,
        RuntimeError if it has been started.
        """
        if self._thread is not None:
            raise RuntimeError("a Broker is started once; make another")
        ready: Future[trio.lowlevel.TrioToken] = Future()
        self._thread = threading.Thread(target=self._host, args=(ready,), name="ottla", daemon=True)
        try:
            self._thread.start()
            self._token = ready.result()
            processes.register(self)
        except BaseException as error:
            if ready.done() and ready.exception() is error:
                self._thread.join()
                raise _told(error) from None
            self._token = None  # Ctrl-C: nobody will know of it
            ready.add_done_callback(self._abandon)
            raise
        return self

    def _host(self, ready: Future[trio.lowlevel.TrioToken]) -> None:
        """The thread. Trio's first task is the broker itself: a nursery to start it in would cost 100 us."""
        try:
            trio.run(partial(self._instance.serve, task_status=_Started(ready)))
        except BaseException as error:
            if ready.done():
                self._failure = error  # for whoever calls next
            else:
                ready.set_exception(_innermost(error))

    def _abandon(self, ready: Future[trio.lowlevel.TrioToken]) -> None:
        processes.forget(self)
        if ready.exception() is None:
            ready.result().run_sync_soon(self._instance.stop)

    def stop(self) -> None:
        """Clean: what was acknowledged is written, connections get their last answers. Nothing if it does not run.
        Raises RuntimeError if it ended before, by a fault of its own.
        """
        token, self._token = self._token, None
        if token is None or not processes.forget(self):
            return
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._instance.stop)
        assert self._thread is not None
        self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise RuntimeError(f"the broker failed: {_innermost(failure)!r}") from failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def topics(self) -> dict[str, TopicView]:
        """As they are now."""
        return self._call(lambda: topics_of(self._instance.broker))

    @property
    def groups(self) -> dict[str, GroupView]:
        """Consumer groups as they are now: state, members, committed offsets, lag."""
        return self._call(lambda: groups_of(self._instance.broker))

    def records(self, topic: str, *, where: Where | None = None, uncommitted: bool = False) -> list[Record]:
        """Every record of the topic (that `where` is true of), partition by partition."""
        return self._call(lambda: records_of(self._instance.broker, topic, where, uncommitted=uncommitted))

    def requests(self, api: str | None = None, *, since: int = 0) -> list[Request]:
        """What clients asked, an API by its name or all, the oldest first: the last thousand are kept. `since`: not
        those before `requests_seen` was so much. Raises ValueError.
        """
        key = None if api is None else api_key(api)
        return self._call(lambda: self._instance.gate.requests(key, since))

    @property
    def requests_seen(self) -> int:
        """How many came so far, kept or not."""
        return self._call(lambda: self._instance.gate.seen)

    def wait_for(
        self, topic: str, count: int = 1, *, where: Where | None = None, timeout_s: float = TIMEOUT_S
    ) -> list[Record]:
        """The records of the topic that `where` is true of, once there are so many. Looked at again when something is
        written, not from time to time. Raises WaitTimeoutError, and what `where` raises.
        """
        return self._await(partial(wait_for_records, self._instance, topic, count, where, timeout_s))

    def expect_no_more(
        self,
        topic: str,
        after: int = 0,
        *,
        where: Where | None = None,
        uncommitted: bool = False,
        for_s: float = 0.0,
        timeout_s: float = TIMEOUT_S,
    ) -> list[Record]:
        """The records of the topic, which are `after` at most, once everything that clients have sent is served: what
        waits in sockets, comes in just now, or is held up. What a client has not sent yet cannot be known: flush it, or
        give it `for_s` seconds of the broker's clock in which nothing may come. Raises UnexpectedRecordsError, and
        WaitTimeoutError if requests stay under way.
        """
        return self._await(partial(expect_no_more, self._instance, topic, after, where, uncommitted, for_s, timeout_s))

    def wait_for_request(
        self, api: str, count: int = 1, *, where: WhereRequest | None = None, timeout_s: float = TIMEOUT_S
    ) -> list[Request]:
        """The requests of an API that `where` is true of, answered or under way, once there are so many. Raises
        ValueError, WaitTimeoutError, and what `where` raises.
        """
        return self._await(partial(wait_for_requests, self._instance, api, count, where, timeout_s))

    def create_topic(self, name: str, partitions: int = -1, configs: Mapping[str, str] | None = None) -> None:
        """Partitions are num.partitions if not given. Raises ValueError."""
        self._call(lambda: changes.create_topic(self._instance.broker, name, partitions, configs))

    def produce(
        self,
        topic: str,
        *values: Text | None,
        key: Text | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Put records there without a client; returns once they are acknowledged. They go to the partition that is
        named, or of the key as in Java's clients, or to all in turns. Raises ValueError.
        """
        self._await(
            partial(
                changes.produce,
                self._instance,
                topic,
                values,
                key=key,
                headers=headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
            )
        )

    def delete_all(self, prefix: str) -> None:
        """The topics and groups whose names begin so, with what is in them; members of groups are made to leave."""
        self._call(lambda: changes.delete_all(self._instance.broker, prefix))

    def clear(self, prefix: str = "") -> None:
        """As `delete_all`; and faults are removed, and a clock that stands still goes on."""
        self._call(lambda: changes.clear(self._instance.broker, prefix))

    @property
    def clock(self) -> BrokerClock:
        """Moves the time of the broker. Raises ValueError: it was given a clock that is moved elsewhere."""
        return BrokerClock(self._instance.broker, self._call, self._await)

    @property
    def faults(self) -> BrokerFaults:
        """Orders faults: `broker.faults.produce(topic="t").error("NOT_LEADER_OR_FOLLOWER", times=3)`."""
        from ottla.testing.faults import BrokerFaults

        return BrokerFaults(self._instance.broker, self._call, self._await)

    @property
    def has_faults(self) -> bool:
        """Whether any were ordered so far."""
        return self._call(lambda: self._instance.gate.faults is not None)

    @property
    def rebalances(self) -> GroupStrings:
        """Holds the rebalances of groups on a string."""
        return GroupStrings(self._instance.broker, self._call, self._await)

    def fork(self) -> Broker:
        """Another broker with all that this one has at this moment: records, groups, offsets, transactions, topics and
        configs, on a port of its own. Neither sees what the other does from then on. Nothing is copied, so a gigabyte
        takes milliseconds: `with seeded.fork() as broker:`. Raises KafkaError if the disk does.
        """
        return fork.broker_of(Broker, self._call(partial(fork.fork, self._instance)))

    def snapshot(self, name: str, *, folder: str | None = None, replace: bool = False) -> str:
        """Save all that the broker has at this moment to a file, for `Broker(snapshot=name)` and `ottla serve
        --snapshot`; its path. `folder`: of snapshots; else $OTTLA_SNAPSHOTS, else ./ottla-snapshots. Raises ValueError:
        the name cannot be, or is taken and not to be replaced.
        """
        return self._await(partial(fork.snapshot, self._instance, name, folder, replace))

    def _call(self, what: Callable[[], T]) -> T:
        """In the broker's loop. Raises RuntimeError if it does not run. Tests that are tasks of trio or asyncio may
        call it, too: their loop waits as long, a fraction of a millisecond.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(what())
            except BaseException as error:
                done.set_exception(error)

        self._submit(run)
        return done.result()

    def _await(self, what: Callable[[], Awaitable[T]]) -> T:
        """In the broker's loop, until it is done. Raises RuntimeError if the broker does not run, or ends meanwhile."""
        done: Future[T] = Future()
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    done.set_result(await what())
            except trio.Cancelled:
                done.set_exception(self._ended())
                raise
            except BaseException as error:
                done.set_exception(error)

        def begin() -> None:
            try:
                trio.lowlevel.spawn_system_task(run)
            except BaseException as error:
                done.set_exception(error)

        self._submit(begin)
        try:
            return done.result()
        except BaseException:
            if not done.done():  # Ctrl-C
                self._submit(scope.cancel)
            raise

    def _submit(self, job: Callable[[], None]) -> None:
        try:
            self._running().run_sync_soon(job)
        except trio.RunFinishedError:
            raise self._ended() from self._failure

    def _running(self) -> trio.lowlevel.TrioToken:
        if self._token is None:
            raise RuntimeError("this broker does not run: call start(), or use it as `with Broker() as broker:`")
        processes.check(self)
        return self._token

    def _ended(self) -> RuntimeError:
        why = "was stopped meanwhile" if self._failure is None else f"failed: {_innermost(self._failure)!r}"
        return RuntimeError(f"this broker {why}")


class AsyncBroker(_Base):
    """A broker in this trio program: `async with AsyncBroker() as broker:`. As `Broker`, but that what takes time is
    awaited, and for how long is the caller's, by a cancel scope.
    """

    _stack: AsyncExitStack

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            try:
                await nursery.start(self._instance.serve)
            except (UsageError, KafkaError) as error:
                raise _told(error) from None
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._instance.stop()
        return await self._stack.__aexit__(kind, error, trace)

    @property
    def topics(self) -> dict[str, TopicView]:
        """As they are now."""
        return topics_of(self._instance.broker)

    @property
    def groups(self) -> dict[str, GroupView]:
        """As Broker.groups."""
        return groups_of(self._instance.broker)

    def records(self, topic: str, *, where: Where | None = None, uncommitted: bool = False) -> list[Record]:
        """As Broker.records."""
        return records_of(self._instance.broker, topic, where, uncommitted=uncommitted)

    def requests(self, api: str | None = None) -> list[Request]:
        """As Broker.requests."""
        return self._instance.gate.requests(None if api is None else api_key(api))

    async def wait_for(self, topic: str, count: int = 1, *, where: Where | None = None) -> list[Record]:
        """As Broker.wait_for."""
        return await wait_for_records(self._instance, topic, count, where, float("inf"))

    async def expect_no_more(
        self,
        topic: str,
        after: int = 0,
        *,
        where: Where | None = None,
        uncommitted: bool = False,
        for_s: float = 0.0,
    ) -> list[Record]:
        """As Broker.expect_no_more."""
        return await expect_no_more(self._instance, topic, after, where, uncommitted, for_s, float("inf"))

    async def wait_for_request(self, api: str, count: int = 1, *, where: WhereRequest | None = None) -> list[Request]:
        """As Broker.wait_for_request."""
        return await wait_for_requests(self._instance, api, count, where, float("inf"))

    def create_topic(self, name: str, partitions: int = -1, configs: Mapping[str, str] | None = None) -> None:
        """As Broker.create_topic."""
        changes.create_topic(self._instance.broker, name, partitions, configs)

    async def produce(
        self,
        topic: str,
        *values: Text | None,
        key: Text | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """As Broker.produce."""
        await changes.produce(
            self._instance,
            topic,
            values,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )

    @property
    def clock(self) -> AsyncBrokerClock:
        """As Broker.clock."""
        return AsyncBrokerClock(self._instance.broker)

    @property
    def faults(self) -> AsyncBrokerFaults:
        """As Broker.faults."""
        from ottla.testing.faults import AsyncBrokerFaults

        return AsyncBrokerFaults(self._instance.broker)

    @property
    def rebalances(self) -> AsyncGroupStrings:
        """As Broker.rebalances."""
        return AsyncGroupStrings(self._instance.broker)

    def fork(self) -> AsyncBroker:
        """As Broker.fork."""
        return fork.broker_of(AsyncBroker, fork.fork(self._instance))

    async def snapshot(self, name: str, *, folder: str | None = None, replace: bool = False) -> str:
        """As Broker.snapshot."""
        return await fork.snapshot(self._instance, name, folder, replace)


class _Started(trio.TaskStatus[None]):
    """Tells the thread that waits how it reaches the loop."""

    def __init__(self, ready: Future[trio.lowlevel.TrioToken]) -> None:
        self._ready = ready

    def started(self, value: None = None) -> None:
        self._ready.set_result(trio.lowlevel.current_trio_token())


def _specs(topics: Iterable[str]) -> list[TopicSpec]:
    """Raises ValueError."""
    specs = {}
    for text in topics:
        try:
            spec = parse_topic(text)
        except UsageError as error:
            raise ValueError(f"topic {text!r}: {error}") from None
        specs[spec.name] = spec  # of several the last one counts
    return list(specs.values())


def _told(error: BaseException) -> BaseException:
    """As Python says it that what was asked for cannot be."""
    if isinstance(error, KafkaError):
        return ValueError(error.message or error.code.name)
    return ValueError(str(error)) if isinstance(error, UsageError) else error


def _innermost(error: BaseException) -> BaseException:
    """What left a nursery, without its wrapping."""
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif isinstance(error, trio.TrioInternalError) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error
