"""One broker in a trio loop: put together, loaded, serving; and all of it undone. Knows no threads and no tests.

What `ottla serve` does with a process, signals and a ready line (broker/app.py) is done here with a nursery.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any, Final, TextIO, cast

import trio

from ottla.broker.app import limits_of, run
from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.logs import Log
from ottla.broker.nodes import Node
from ottla.broker.options import TopicSpec, checked_settings
from ottla.broker.server import Door, Server, bind, bind_nodes
from ottla.log.clock import Clock, SteeredClock
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.testing.folders import make_folder, remove_folder
from ottla.testing.requests import NotingGate
from ottla.wire.errors import KafkaError

HOST: Final = "127.0.0.1"
_REPLICATED: Final = (
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
)
MOST_REPLICAS: Final = 3
_SERVING: Final = ("broker", "server", "gate")  # what an instance has while it serves


@dataclass(frozen=True)
class Setup:
    """What a broker is made of. `settings`: broker properties as text. `topics`: name -> partitions; `specs`: further
    ones. `racks`: one a
    node, or none. `snapshot`: name or path of what the folder begins
    with. `folder`: kept; None: a temporary one, in memory where there is such. `control`: it has a control
    surface, where brokers can be asked for as well (guests.py).
    """

    nodes: int = 1
    racks: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, int] = field(default_factory=dict)
    specs: Sequence[TopicSpec] = ()
    folder: str | None = None
    snapshot: str | PathLike[str] | None = None
    clock: Clock | None = None
    log: TextIO | None = None
    log_level: str = "warning"
    control: bool = False


class Instance:
    """A broker that serves while `serve` runs. What it is made of is there from when it has started until it ends, and
    gone then, so that nothing keeps a broker that has ended.
    """

    broker: Broker
    server: Server
    gate: NotingGate

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._stop = trio.Event()
        self._doors: list[Door] = []
        self._control: list[socket.socket] = []
        self.bootstrap_servers = ""
        """HOST:PORT of each node, as clients take it; also when it has ended."""
        self.control_url = ""
        """Of the control surface, if it was asked for."""

    def stop(self) -> None:
        """Ends `serve`, cleanly."""
        self._stop.set()

    def forget_sockets(self) -> None:
        """In a forked child: its copies of what the parent serves must not keep ports taken and connections open."""
        for sock in (*self._control, *(sock for sock, _ in self._doors)):
            sock.close()
        server = self.__dict__.get("server")
        for connection in server.connections if server is not None else ():
            connection._sock.close()

    def __getattr__(self, name: str) -> Any:
        if name in _SERVING:
            raise RuntimeError("this broker does not run any more, or not yet")
        raise AttributeError(name)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until `stop`; `started` means that the first request will be served. Raises StartupError, StoreError and,
        for settings and topics that cannot be, UsageError and KafkaError.
        """
        setup = self.setup
        if setup.folder is not None:
            await self._serve(setup.folder, task_status)
            return
        folder = make_folder()
        try:
            await self._serve(folder, task_status)
        finally:
            remove_folder(folder)

    async def _serve(self, folder: str, task_status: trio.TaskStatus[None]) -> None:
        setup = self.setup
        if setup.snapshot is not None:
            from ottla.log.snapshot import begin_with

            await trio.to_thread.run_sync(begin_with, setup.snapshot, folder, setup.folder is not None)
        clock, ids = setup.clock or SteeredClock(), Ids()
        replicas = {name: str(min(setup.nodes, MOST_REPLICAS)) for name in _REPLICATED} if setup.nodes > 1 else {}
        config = checked_settings({**replicas, **setup.settings}) if setup.settings else BrokerConfig(replicas)
        log = Log(setup.log or cast(TextIO, _Nowhere()), "text", clock, setup.log_level)
        nodes = [Node(config.own_id + at, setup.racks[at] if setup.racks else None) for at in range(setup.nodes)]
        for node in nodes:
            node.listen([(HOST, 0)])
        store = Store.open(
            folder,
            clock=clock,
            ids=ids,
            node_id=config.own_id,
            broker_defaults=config.log_defaults(),
            warn=log.warning,
            fs=FileSystem(durable=setup.folder is not None),
        )
        try:
            broker = Broker(config, store, nodes=nodes, clock=clock, ids=ids, log=log)
            broker.gate = gate = NotingGate(broker)
            doors = bind_nodes(nodes)
            server = Server(doors, limits=limits_of(config), clock=clock, log=log)
            try:
                broker.failover.doors = server
                broker.load()
                for name, partitions in setup.topics.items():
                    _create_topic(broker, name, partitions, {})
                for spec in setup.specs:
                    _create_topic(broker, spec.name, spec.partitions, spec.configs)
                broker.housekeeping.watch_connections(server)
                self.broker, self.server, self.gate = broker, server, gate
                self._named(doors)
                if setup.control:
                    await self._run_controlled(task_status)
                else:
                    await run(broker, server, self._stop, task_status=task_status)
            finally:
                server.close()
        finally:
            if setup.folder is None:
                store.abandon()
            else:
                store.close()
            for name in _SERVING:
                self.__dict__.pop(name, None)
            self._doors = []

    def _named(self, doors: list[Door]) -> None:
        self._doors = doors  # the server puts others into it when a node goes down
        first = {listener.node.id: listener for _, listener in reversed(doors)}
        self.bootstrap_servers = ",".join(f"{HOST}:{first[node].port}" for node in sorted(first))

    async def _run_controlled(self, task_status: trio.TaskStatus[None]) -> None:
        """As `run`, with a control surface, which ends first."""
        from ottla.broker.control.surface import serve as serve_control
        from ottla.testing.guests import Guests

        (sock,) = bind([(HOST, 0)])
        with sock:
            self._control.append(sock)
            self.control_url = f"http://{HOST}:{sock.getsockname()[1]}"
            ending = trio.Event()
            async with trio.open_nursery() as nursery:
                await nursery.start(run, self.broker, self.server, ending)
                async with trio.open_nursery() as controlling:
                    routes = Guests(controlling, self).routes
                    surface = partial(serve_control, self.broker, [sock], routes=routes)
                    await controlling.start(surface)
                    task_status.started()
                    await self._stop.wait()
                    controlling.cancel_scope.cancel()
                ending.set()


def _create_topic(broker: Broker, name: str, partitions: int, configs: Mapping[str, str]) -> None:
    """Raises KafkaError, which names it."""
    try:
        broker.metadata.create_topic(broker.metadata.plan_topic(name, partitions, -1, None, configs))
    except KafkaError as error:
        raise KafkaError(error.code, f"{error.message or error.code.name} (topic {name!r})") from None


class _Nowhere(io.TextIOBase):
    """For a log that nobody reads."""

    def write(self, text: str) -> int:
        return len(text)
