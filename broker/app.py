"""The composition root: builds a broker from its options, starts it when everything can serve, stops it cleanly.

Parts know each other only through what is handed to them here and in broker.py.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Self

import trio

from ottla import __version__
from ottla.broker.broker import Broker
from ottla.broker.clockwork import drive
from ottla.broker.errors import StartupError
from ottla.broker.logs import Log, ready_line
from ottla.broker.nodes import Address, Listener, Node
from ottla.broker.server import GRACE_S, Door, Server, ServerLimits, bind, bind_nodes
from ottla.log.clock import Clock, SteeredClock, SystemClock
from ottla.log.data_folder import StoreError
from ottla.log.filesystem import FileSystem
from ottla.log.ids import Ids
from ottla.log.store import Store
from ottla.wire.errors import KafkaError

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig
    from ottla.broker.listeners import NodeSpec
    from ottla.broker.options import ServeOptions

# `localhost` is ::1 first for many clients; where a machine lacks one of the two, the other serves.
LOOPBACK = frozenset(("127.0.0.1", "::1"))


class StopSignals:
    """SIGINT and SIGTERM, inside the `with`: the first asks to stop, the second ends the process at once, also while it
    is busy replaying its log.
    """

    __slots__ = ("_before", "_first", "_received", "_token")

    def __init__(self) -> None:
        self._first: signal.Signals | None = None
        self._received = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._first = signal.Signals(number)
        self._token.run_sync_soon(self._received.set)

    @property
    def came(self) -> bool:
        """Whether there was one."""
        return self._first is not None

    async def wait(self) -> signal.Signals:
        """The first signal, when it has come."""
        await self._received.wait()
        assert self._first is not None
        return self._first


async def serve(options: ServeOptions, *, started_ms: int) -> None:
    """Run a broker until a signal. `started_ms`: the system clock's `mono_ms` when the process began.

    Raises StartupError with a sentence for the user.
    """
    clock: Clock = SystemClock() if options.control is None else SteeredClock()
    ids = Ids()
    log = Log(sys.stderr, options.log_format, clock, options.log_level)
    # Open before the log is, so that the first Ctrl-C never lands inside an append.
    with StopSignals() as signals:
        _raise_descriptor_limit()
        nodes = make_nodes(options.nodes)
        doors = bind_nodes(nodes, optional=LOOPBACK)
        control: list[socket.socket] = []
        try:
            if options.control is not None:
                control = _bind_control(options.control)
            with _data_folder(options) as path:
                if options.snapshot is not None:
                    _unpack(options.snapshot, path, durable=not options.ephemeral)
                store = _open_store(path, options, clock, ids, log)
                try:
                    broker = Broker(options.settings, store, nodes=nodes, clock=clock, ids=ids, log=log)
                    with _recorded(broker, options.record):
                        await _serve_until_signal(broker, doors, control, options, path, signals, started_ms)
                finally:
                    store.close()
                    log.info("stopped")
        finally:
            for sock in (*control, *(sock for sock, _ in doors)):
                sock.close()


async def run(
    broker: Broker, server: Server, stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve `broker`, which has loaded, until `stop`; `started` means that the first request will be served.

    Two nurseries: listeners and timers end first, then connections send their last answers within GRACE_S.
    """

    def set_limits() -> None:
        server.set_limits(limits_of(broker.config))

    broker.configs.on_change.append(set_limits)
    set_limits()  # some may have been set before the last stop
    broker.connect(server.driver)
    if broker.time is not None:
        broker.time.skipped = server.skip
    async with trio.open_nursery() as connections:
        await connections.start(server.driver.run)
        async with trio.open_nursery() as serving:
            serving.start_soon(drive, broker.timers, broker.clock, broker.log, server.driver.catch_up)
            serving.start_soon(broker.housekeeping.flush)
            serving.start_soon(broker.housekeeping.commit)
            serving.start_soon(broker.housekeeping.clean)
            serving.start_soon(broker.housekeeping.delete)
            serving.start_soon(server.accept_all, broker.gate, broker.connection_quotas)
            server.listen()
            task_status.started()
            await stop.wait()
            serving.cancel_scope.cancel()
        server.close()
        broker.shut_down()
        server.stop_connections()
        connections.cancel_scope.deadline = trio.current_time() + GRACE_S


async def _serve_until_signal(
    broker: Broker,
    doors: list[Door],
    control: list[socket.socket],
    options: ServeOptions,
    path: str,
    signals: StopSignals,
    started_ms: int,
) -> None:
    broker.failover.doors = server = Server(
        doors, limits=limits_of(options.settings), clock=broker.clock, log=broker.log
    )
    if options.port_file is not None:
        with suppress(OSError):  # one that a killed broker left says nothing of this one
            os.unlink(options.port_file)
    broker.load()
    _set_features(broker, options)
    _create_topics(broker, options)
    _order_faults(broker, options)
    if signals.came:  # nobody is told that it is ready
        return
    broker.housekeeping.watch_connections(server)
    # What is here now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    stop = trio.Event()
    failure: StartupError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(run, broker, server, stop)
        async with trio.open_nursery() as controlling:
            try:
                if control:
                    from ottla.broker.control.surface import serve as serve_control

                    await controlling.start(serve_control, broker, control)
                _announce(options, path, broker, control, broker.clock.mono_ms() - started_ms)
            except StartupError as error:  # kept for outside: a nursery would wrap it
                failure = error
            else:
                received = await signals.wait()
                broker.log.info("stopping", signal=received.name, connections=len(server.connections))
            controlling.cancel_scope.cancel()
        stop.set()
    if failure is not None:
        raise failure


def make_nodes(specs: Iterable[NodeSpec]) -> list[Node]:
    """The nodes that options ask for, each with its listeners, not bound yet."""
    nodes = []
    for spec in specs:
        node = Node(spec.id, spec.rack, spec.settings())
        for listener in spec.listeners:
            node.listen(
                listener.addresses,
                name=listener.name,
                advertised_host=listener.advertised_host,
                advertised_port=listener.advertised_port,
            )
        nodes.append(node)
    return nodes


def limits_of(config: BrokerConfig) -> ServerLimits:
    return ServerLimits(
        max_request_bytes=config.socket_request_max_bytes,
        queued_max_request_bytes=config.queued_max_request_bytes,
        idle_ms=config.connections_max_idle_ms,
        send_buffer_bytes=max(0, config.socket_send_buffer_bytes),
        receive_buffer_bytes=max(0, config.socket_receive_buffer_bytes),
    )


def _bind_control(address: Address) -> list[socket.socket]:
    try:
        return bind([address])
    except StartupError as error:  # says what to do by --listen
        raise StartupError(str(error).replace("--listen", "--control")) from None


def _recorded(broker: Broker, path: str | None) -> AbstractContextManager[None]:
    """What clients ask and hear goes to the file at `path`, if one is named."""
    if path is None:
        return nullcontext()
    from ottla.broker.recording import recording

    return recording(broker, path, trio.current_time)


def _unpack(snapshot: str, path: str, *, durable: bool) -> None:
    """The data folder begins with what a snapshot holds. Raises StartupError."""
    from ottla.log.snapshot import SnapshotError, begin_with

    try:
        begin_with(snapshot, path, durable)
    except SnapshotError as error:
        raise StartupError(f"--snapshot {snapshot}: {error}") from None


@contextmanager
def _data_folder(options: ServeOptions) -> Iterator[str]:
    """The folder of the log; a temporary one, removed at the end, if nothing is to be kept."""
    if not options.ephemeral:
        yield options.data_dir
        return
    import shutil
    import tempfile

    try:
        path = tempfile.mkdtemp(prefix="ottla-")
    except OSError as error:
        raise StartupError(
            f"no temporary folder can be made for --ephemeral: {error.strerror}; name one that can be written by TMPDIR"
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _open_store(path: str, options: ServeOptions, clock: Clock, ids: Ids, log: Log) -> Store:
    try:
        return Store.open(
            path,
            clock=clock,
            ids=ids,
            node_id=options.settings.own_id,
            broker_defaults=options.settings.log_defaults(),
            warn=log.warning,
            progress=lambda partitions, loaded: log.info("recovering", partitions=partitions, mib=loaded >> 20),
            fs=FileSystem(durable=not options.ephemeral),
        )
    except StoreError as error:
        raise StartupError(str(error)) from None


def _set_features(broker: Broker, options: ServeOptions) -> None:
    """The levels of --feature; they stay when the flag is gone."""
    if not options.features:
        return
    from ottla.broker.features import finalized

    now = finalized(broker.cluster)
    try:
        broker.metadata.set_features({name: level for name, level in options.features.items() if now[name] != level})
    except KafkaError as error:
        raise StartupError(f"--feature: {error.message or error.code.name}") from None


def _create_topics(broker: Broker, options: ServeOptions) -> None:
    """The topics of --topic; one that is there already is left as it is."""
    for spec in options.topics:
        if spec.name not in broker.cluster.topics:
            try:
                broker.metadata.create_topic(
                    broker.metadata.plan_topic(spec.name, spec.partitions, -1, None, spec.configs)
                )
            except KafkaError as error:
                raise StartupError(f"--topic {spec.name}: {error.message or error.code.name}") from None


def _order_faults(broker: Broker, options: ServeOptions) -> None:
    """The rules of --faults."""
    if options.faults:
        from ottla.broker.faults.faults import Faults

        for rule in options.faults:
            Faults.of(broker).add(rule)


def _announce(options: ServeOptions, path: str, broker: Broker, control: list[socket.socket], elapsed_ms: int) -> None:
    """Tell whoever waits: the port file, a port a node, then the ready line. It names each node's first listener."""
    first = [next(iter(node.listeners.values())) for node in broker.cluster.nodes.values()]
    if options.port_file is not None:
        partial = f"{options.port_file}.{os.getpid()}"
        try:
            with open(partial, "w") as file:
                file.writelines(f"{listener.port}\n" for listener in first)
            os.replace(partial, options.port_file)  # whoever sees the file sees it whole
        except OSError as error:
            raise StartupError(
                f"cannot write --port-file {options.port_file}: {error.strerror}; give a path in a folder you may write"
            ) from None
    bootstrap = ",".join(_shown(listener) for listener in first)
    surface = f"http://{_address(*control[0].getsockname()[:2])}" if control else None
    line = ready_line(bootstrap, os.path.abspath(path), __version__, elapsed_ms, options.log_format, control=surface)
    try:
        print(line, flush=True)
    except (OSError, ValueError):  # nobody reads stdout: clients may come all the same
        with suppress(OSError, ValueError):  # what is buffered must not fail the exit, either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(listener: Listener) -> str:
    """What clients of this machine, or of where it is advertised, put into bootstrap.servers."""
    return _address(listener.advertised_host or listener.addresses[0][0], listener.advertised_port or listener.port)


def _address(host: str, port: int) -> str:
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _raise_descriptor_limit() -> None:
    """Lift the soft limit of open files to the hard one: segments and connections each take one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
