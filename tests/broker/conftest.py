"""A broker in this process on a manual or real clock, and a small client that speaks the wire codec to it."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import trio

from ottla.broker.app import limits_of, run
from ottla.broker.broker import Broker
from ottla.broker.config import BrokerConfig
from ottla.broker.logs import Log
from ottla.broker.nodes import DEFAULT_LISTENER, Node
from ottla.broker.server import Server, bind_nodes
from ottla.log.clock import Clock, SystemClock
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.apis import API, request_header_version, response_header_version
from ottla.wire.schema import Message

M = TypeVar("M", bound=Message)


class Client:
    """One connection. `ask` sends a request and gives the decoded response; `send` and `receive` are its halves."""

    def __init__(self, stream: trio.SocketStream, client_id: str) -> None:
        self.stream = stream
        self.client_id = client_id
        self._correlation_id = 0
        self._buffer = b""

    @classmethod
    async def connect(cls, port: int, client_id: str) -> Self:
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        await sock.connect(("127.0.0.1", port))
        return cls(trio.SocketStream(sock), client_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await trio.aclose_forcefully(self.stream)

    def frame(self, request: Message, version: int) -> bytes:
        """The request's bytes, size included; each has the next correlation id."""
        self._correlation_id += 1
        key = type(request).KEY
        assert key is not None
        name = self.client_id.encode()
        head = key.to_bytes(2, "big") + version.to_bytes(2, "big") + self._correlation_id.to_bytes(4, "big")
        head += len(name).to_bytes(2, "big") + name
        if request_header_version(key, version) == 2:
            head += b"\0"
        payload = head + request.encode(version)
        return len(payload).to_bytes(4, "big") + payload

    async def send(self, request: Message, version: int) -> int:
        """Send; returns the correlation id."""
        await self.stream.send_all(self.frame(request, version))
        return self._correlation_id

    async def receive(self, request: Message, version: int) -> Any:
        """The next response, decoded as the answer to `request`; its correlation id must be the oldest unanswered."""
        key = type(request).KEY
        assert key is not None
        size = int.from_bytes(await self._exactly(4), "big")
        data = await self._exactly(size)
        skip = 4 + response_header_version(key, version)
        return API[key].response.decode(data, version, skip)

    async def ask(self, request: Message, version: int) -> Any:
        await self.send(request, version)
        return await self.receive(request, version)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = await self.stream.receive_some(65536)
            if not piece:
                raise ConnectionResetError("closed by the broker")
            self._buffer += piece
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def closed(self) -> bool:
        """Wait until the broker closes; False if it sends something first."""
        with trio.fail_after(60):
            try:
                return not self._buffer and not await self.stream.receive_some(1)
            except trio.BrokenResourceError:
                return True


class Running:
    """A broker that serves. `log_text` is what a person would have read."""

    def __init__(self, broker: Broker, server: Server, log: io.StringIO) -> None:
        self.broker = broker
        self.server = server
        self._log = log

    @property
    def port(self) -> int:
        """Of the first node."""
        return self.port_of(next(iter(self.broker.cluster.nodes)))

    def port_of(self, node: int) -> int:
        return self.broker.cluster.nodes[node].listeners[DEFAULT_LISTENER].port

    @property
    def log_text(self) -> str:
        return self._log.getvalue()

    async def client(self, client_id: str = "tester", *, node: int | None = None) -> Client:
        """A client of the first node, or of another one."""
        return await Client.connect(self.port if node is None else self.port_of(node), client_id)


class Launcher:
    """Starts brokers on one data folder, one after another."""

    def __init__(self, nursery: trio.Nursery, folder: Path, *, use_epoll: bool = True) -> None:
        self._nursery = nursery
        self.folder = folder
        self._use_epoll = use_epoll
        self._stop: Callable[[], Any] | None = None

    async def start(
        self,
        settings: dict[str, str] | None = None,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        advertise: tuple[str | None, int | None] = (None, None),
        nodes: int = 1,
        racks: Sequence[str] = (),
    ) -> Running:
        """`nodes`: how many, the first has the id that `settings` say."""
        clock, ids, text = clock or SystemClock(), ids or Ids(), io.StringIO()
        config = BrokerConfig(settings)
        log = Log(text, "text", clock, "debug")
        store = Store.open(
            self.folder,
            clock=clock,
            ids=ids,
            node_id=config.own_id,
            broker_defaults=config.log_defaults(),
            warn=log.warning,
        )
        cluster = [Node(config.own_id + at, racks[at] if racks else None) for at in range(nodes)]
        for node in cluster:
            node.listen([("127.0.0.1", 0)], advertised_host=advertise[0], advertised_port=advertise[1])
        broker = Broker(config, store, nodes=cluster, clock=clock, ids=ids, log=log)
        doors = bind_nodes(cluster)
        server = Server(
            doors,
            limits=limits_of(config),
            clock=clock,
            log=log,
            use_epoll=self._use_epoll,
        )
        broker.failover.doors = server
        broker.load()
        stop, stopped = trio.Event(), trio.Event()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            try:
                await run(broker, server, stop, task_status=task_status)
            finally:
                store.close()
                stopped.set()

        async def end() -> None:
            stop.set()
            await stopped.wait()

        await self._nursery.start(serve)
        self._stop = end
        return Running(broker, server, text)

    async def stop(self) -> None:
        """A clean stop of the broker started last."""
        if self._stop is not None:
            end, self._stop = self._stop, None
            await end()


@pytest.fixture
def use_epoll() -> bool:
    """Whether connections are driven by an epoll of the broker's; a file that says otherwise means the fallback too."""
    return True


@pytest.fixture
async def launcher(nursery: trio.Nursery, tmp_path: Path, use_epoll: bool) -> AsyncIterator[Launcher]:
    launcher = Launcher(nursery, tmp_path / "data", use_epoll=use_epoll)
    yield launcher
    with trio.CancelScope(shield=True), trio.fail_after(60):
        await launcher.stop()


@pytest.fixture
async def running(launcher: Launcher) -> Running:
    """A broker with default settings."""
    return await launcher.start()
