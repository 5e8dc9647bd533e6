"""Listening sockets, accepting, and the set of live connections. Binding is apart from listening: ready means ready.

Knows sockets and limits; no protocol.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import trio

from ottla.broker.connection import Connection, plain_host
from ottla.broker.errors import StartupError
from ottla.broker.reactor import make_driver, settled
from ottla.log.clock import Clock
from ottla.log.door import Pending

if TYPE_CHECKING:
    from ottla.broker.connection_quotas import ConnectionQuotas
    from ottla.broker.dispatch import Gate
    from ottla.broker.logs import Log
    from ottla.broker.nodes import Listener, Node

Door = tuple[socket.socket, "Listener"]  # a bound socket, and whose it is

RECEIVE_BUFFER_BYTES = 1 << 20
SEND_BUFFER_BYTES = (1 << 20) + (1 << 16)  # a Fetch of 1 MiB, and the answer around it
LARGE_FRAME_BYTES = 1 << 16
SPARE_ROOMS, MOST_SPARE_BYTES = 4, 1 << 20  # kept, each of at most so many bytes
BACKLOG = 1024
ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_S = 0.1
SPARE_DESCRIPTORS = 32  # that connections leave to the log and to modules loaded at first use
MAX_KEPT = 256  # sockets that are refused and not closed yet: descriptors are for clients that are served
GRACE_S = 2.0  # for connections to send their last answers at a stop
_DESCRIPTORS_USED_UP = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_DESCRIPTORS_USED_UP |= {getattr(errno, name) for name in ("WSAEMFILE", "WSAENOBUFS") if hasattr(errno, name)}
_EPHEMERAL_TRIES = 20


class ServerLimits:
    """Broker properties that bound connections; 0 means no bound for the socket buffers' sizes (the system's own)."""

    __slots__ = (
        "idle_ms",
        "max_request_bytes",
        "queued_max_request_bytes",
        "receive_buffer_bytes",
        "send_buffer_bytes",
    )

    def __init__(
        self,
        *,
        max_request_bytes: int,
        queued_max_request_bytes: int,
        idle_ms: int,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
    ) -> None:
        self.max_request_bytes = max_request_bytes
        self.queued_max_request_bytes = queued_max_request_bytes
        self.idle_ms = idle_ms
        self.send_buffer_bytes = send_buffer_bytes
        self.receive_buffer_bytes = receive_buffer_bytes


class ReceiveBudget:
    """The memory of all frames under way, `limit` bytes (negative: no limit; queued.max.request.bytes).

    Beyond it connections wait, in TCP's back-pressure; the one whose frame began first never does, so one always
    gets on.
    """

    __slots__ = ("_held", "_limit", "_waiting", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        self._held: dict[Connection, int] = {}  # in the order in which their frames began
        self._waiting: list[Pending[None]] = []

    def take(self, connection: Connection, nbytes: int) -> bool:
        """Take `nbytes` more for a connection, if they may be had now."""
        if self._limit >= 0 and self.used + nbytes > self._limit and self._held:
            self._held.setdefault(connection, 0)
            if next(iter(self._held)) is not connection:
                return False
        self.hold(connection, nbytes)
        return True

    def hold(self, connection: Connection, nbytes: int) -> None:
        """Count `nbytes` that a connection has already."""
        self.used += nbytes
        self._held[connection] = self._held.get(connection, 0) + nbytes

    async def wait_for(self, connection: Connection, nbytes: int) -> None:
        """As `take`, when it can be done."""
        while not self.take(connection, nbytes):
            freed: Pending[None] = Pending()
            self._waiting.append(freed)
            await settled(freed)

    def give_back(self, connection: Connection) -> None:
        """The connection's frame is done, or the connection is."""
        held = self._held.pop(connection, None)
        if held is not None:
            self.used -= held
            waiting, self._waiting = self._waiting, []
            for freed in waiting:
                freed.resolve(None)


class SpareRooms:
    """Buffers of large frames that were handled, for those to come: memory that is got and given back for each frame is
    64 page faults for 256 KiB, 40 us.
    """

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        self._rooms: list[bytearray] = []

    def __len__(self) -> int:
        return len(self._rooms)

    def take(self, beginning: memoryview, total: int) -> bytearray:
        """A buffer that begins with a copy of the `beginning` of a frame of `total` bytes."""
        nbytes = len(beginning)
        if total >= LARGE_FRAME_BYTES and self._rooms and len(self._rooms[-1]) >= nbytes:
            room = self._rooms.pop()
            del room[total:]  # the budget counts what a frame has
            with memoryview(room) as view:
                view[:nbytes] = beginning
            return room
        return bytearray(beginning)

    def give(self, room: bytearray) -> None:
        """It is needed no more, unless somebody still looks at it: then it stays theirs."""
        if LARGE_FRAME_BYTES <= len(room) <= MOST_SPARE_BYTES and len(self._rooms) < SPARE_ROOMS:
            try:
                room.append(room.pop())
            except BufferError:
                return
            self._rooms.append(room)


class Server:
    """Serves the connections of some bound sockets through one gate."""

    def __init__(
        self,
        doors: list[Door],
        *,
        limits: ServerLimits,
        clock: Clock,
        log: Log,
        use_epoll: bool = True,
    ) -> None:
        self._doors = doors
        self._limits = limits
        self.clock = clock
        self.log = log
        self.driver = make_driver(use_epoll=use_epoll)
        self.max_request_bytes = limits.max_request_bytes
        # One buffer for all connections: nothing awaits between recv_into and the last use of what came.
        self.receive_view = _room(RECEIVE_BUFFER_BYTES)
        self.send_view = _room(SEND_BUFFER_BYTES)  # and one for what leaves, by the same rule
        self.connections: set[Connection] = set()
        self._quotas: Mapping[int, ConnectionQuotas] = {}  # by node id
        self._kept: set[socket.socket] = set()  # refused, to be closed in a while
        self.budget = ReceiveBudget(limits.queued_max_request_bytes)
        self.spare_rooms = SpareRooms()
        self._reserve: int | None = _open_reserve()
        self._is_short = False  # of descriptors
        self._accepting: Callable[[Door], None] | None = None  # begins to accept, while `accept_all` runs

    def set_limits(self, limits: ServerLimits) -> None:
        """Other limits for the connections that come from now on; those beyond a lower max.connections are closed, the
        longest silent ones first.
        """
        self._limits = limits
        for node_id, quotas in self._quotas.items():
            if quotas.excess:
                own = [connection for connection in self.connections if connection.node.id == node_id]
                for connection in sorted(own, key=lambda each: each.active_ms)[: quotas.excess]:
                    connection.abort()

    def listen(self) -> None:
        """From here on clients can connect. Raises StartupError: another process bound the port too, and was first."""
        for door in self._doors:
            listen(door[0])

    async def accept_all(self, gate: Gate, quotas: Mapping[int, ConnectionQuotas]) -> None:
        """Accept on every socket, as many as the `quotas` of its node (by id) allow; `driver`, which must run, drives
        the connections. Ends by cancellation only.
        """
        self._quotas = quotas
        async with trio.open_nursery() as nursery:

            def accept(door: Door) -> None:
                nursery.start_soon(self._accept, *door, gate)

            for door in self._doors:
                accept(door)
            self._accepting = accept
            try:
                await trio.sleep_forever()
            finally:
                self._accepting = None

    def close_node(self, node: Node) -> None:
        """Clients of the node lose their connections, and new ones are refused; its ports stay ours."""
        for at, (sock, listener) in enumerate(self._doors):
            if listener.node is node:
                host, port = sock.getsockname()[:2]
                trio.lowlevel.notify_closing(sock)
                sock.close()
                self._doors[at] = (_bind_one(host, port), listener)
        for connection in list(self.connections):
            if connection.node is node:
                connection.abort()

    def open_node(self, node: Node) -> None:
        """Clients can connect to the node again. Raises StartupError: another process listens on its port."""
        for door in self._doors:
            if door[1].node is node:
                listen(door[0])
                if self._accepting is not None:
                    self._accepting(door)

    async def _accept(self, door: socket.socket, listener: Listener, gate: Gate) -> None:
        quotas = self._quotas[listener.node.id]
        while door.fileno() >= 0:  # else the node was taken down
            try:
                await trio.lowlevel.wait_readable(door)
            except trio.ClosedResourceError:
                return
            highest = _highest_descriptor()
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    sock, peer = door.accept()
                except BlockingIOError:
                    self._is_short = False
                    break
                except OSError as error:
                    if error.errno not in _DESCRIPTORS_USED_UP:
                        continue  # the peer was gone before we took it
                    self._turn_one_away(door)
                    await self._pause()
                    break
                if sock.fileno() > highest:
                    sock.close()
                    await self._pause()
                    break
                place = quotas.enter(listener.name)
                if not place.settled:
                    await self._hold(sock, place)
                if listener.node.is_up:
                    self._admit(sock, plain_host(peer), listener, gate)
                else:
                    quotas.leave(listener.name)
                    sock.close()

    async def _hold(self, sock: socket.socket, place: Pending[None]) -> None:
        """Wait until there is a place for `sock`; whoever comes after it waits in the backlog."""
        found = trio.Event()
        place.then(lambda _: found.set())
        try:
            await found.wait()
        except BaseException:
            sock.close()
            raise

    async def _pause(self) -> None:
        """Descriptors are used up: who waits in the backlog is turned away one by one, until some are free again."""
        if not self._is_short:  # one line, however long it lasts
            self._is_short = True
            self.log.warning("accept paused", reason="file descriptors are used up (raise `ulimit -n`)")
        await trio.sleep(ACCEPT_PAUSE_S)

    def _admit(self, sock: socket.socket, host: str, listener: Listener, gate: Gate) -> None:
        limits = self._limits
        quotas = self._quotas[listener.node.id]
        refusal = quotas.refusal(listener.name, host)
        if refusal is not None:
            self._refuse(sock, host, refusal)
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if limits.send_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
            if limits.receive_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.receive_buffer_bytes)
            connection = Connection(self, gate, sock, listener, self.clock.mono_ms())
        except OSError:  # gone between accept and here
            quotas.gone(host)
            quotas.leave(listener.name)
            sock.close()
            return
        self.connections.add(connection)
        self.driver.start(connection.run(), sock, lambda: self._ended(connection))

    def _ended(self, connection: Connection) -> None:
        self.connections.discard(connection)
        quotas = self._quotas[connection.node.id]
        quotas.gone(connection.host)
        quotas.leave(connection.listener.name)

    def _refuse(self, sock: socket.socket, host: str, refusal: Pending[None]) -> None:
        """Close the socket when the refusal is due."""
        self.log.warning(
            "connection refused", peer=host, reason="max.connections.per.ip, or connection_creation_rate of the address"
        )
        self._kept.add(sock)

        def close(_: object) -> None:
            self._kept.discard(sock)
            sock.close()

        if len(self._kept) > MAX_KEPT:
            close(None)
        else:
            refusal.then(close)

    def _turn_one_away(self, door: socket.socket) -> None:
        """Not one descriptor is left: free the reserved one, take a waiting connection with it and close that."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        try:
            sock, _ = door.accept()
            sock.close()
        except OSError:
            pass
        self._reserve = _open_reserve()

    def sweep(self) -> None:
        """Close connections without traffic for connections.max.idle.ms (a parked request is traffic), and too slow
        peers.
        """
        now_ms = self.clock.mono_ms()
        idle_ms = self._limits.idle_ms
        for connection in list(self.connections):
            if connection.is_too_slow(now_ms):
                self.log.warning(
                    "connection closed", peer=f"{connection.host}:{connection.port}", reason="a request came too slowly"
                )
                connection.abort()
            elif idle_ms >= 0 and now_ms - connection.active_ms > idle_ms and not connection.parked:
                self.log.debug("connection closed", peer=f"{connection.host}:{connection.port}", reason="idle")
                connection.abort()

    def skip(self, ms: int) -> None:
        """The clock was moved by hand, by so many milliseconds."""
        for connection in self.connections:
            connection.skip(ms)

    def stop_connections(self) -> None:
        """Let each connection answer what it has received and end; with the last one the driver does, too."""
        self.driver.end()
        for connection in list(self.connections):
            connection.stop()

    def close(self) -> None:
        """Close the listening sockets and the reserve."""
        for sock, _ in self._doors:
            trio.lowlevel.notify_closing(sock)
            sock.close()
        for sock in self._kept:
            sock.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _room(nbytes: int) -> memoryview:
    """A buffer whose memory comes as it is used: one that is zeroed first costs a start 200 us."""
    if os.name == "posix":
        return memoryview(mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    return memoryview(mmap.mmap(-1, nbytes))


def bind_nodes(nodes: Iterable[Node], *, optional: frozenset[str] = frozenset()) -> list[Door]:
    """Bind every listener of every node, and note in it which port it got. Arguments and errors as of `bind`."""
    doors: list[Door] = []
    try:
        for node in nodes:
            for listener in node.listeners.values():
                hosts = {host for host, _ in listener.addresses}
                sockets = bind(listener.addresses, optional=optional if hosts >= optional else frozenset())
                listener.port = sockets[0].getsockname()[1]
                doors += [(sock, listener) for sock in sockets]
    except StartupError:
        for sock, _ in doors:
            sock.close()
        raise
    return doors


def bind(addresses: list[tuple[str, int]], *, optional: frozenset[str] = frozenset()) -> list[socket.socket]:
    """Bound, not yet listening sockets for `addresses`; hosts in `optional` may be missing on this machine.

    Several addresses with port 0 share one free port. Raises StartupError that names the cause and the fix.
    """
    tries = _EPHEMERAL_TRIES if len(addresses) > 1 and {port for _, port in addresses} == {0} else 1
    while True:
        tries -= 1
        try:
            return _bind_all(addresses, optional)
        except StartupError:  # a port that is free on one address may be taken on the next
            if not tries:
                raise


def _bind_all(addresses: list[tuple[str, int]], optional: frozenset[str]) -> list[socket.socket]:
    share = all(port == 0 for _, port in addresses)
    bound: list[socket.socket] = []
    try:
        for host, port in addresses:
            try:
                bound.append(_bind_one(host, bound[0].getsockname()[1] if share and bound else port))
            except _Unavailable as error:
                if host not in optional:
                    raise StartupError(str(error)) from None
        if not bound:
            raise StartupError(
                "none of the addresses to listen on exists on this machine; name one with --listen HOST:PORT"
            )
    except StartupError:
        for sock in bound:
            sock.close()
        raise
    return bound


def listen(sock: socket.socket) -> None:
    """From here on others can connect to a bound socket. Raises StartupError: another one listens on its port."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        host, port = sock.getsockname()[:2]
        raise StartupError(_taken(host, port) if error.errno == errno.EADDRINUSE else str(error)) from None


class _Unavailable(Exception):  # noqa: N818
    pass


def _bind_one(host: str, port: int) -> socket.socket:
    if not host:  # every interface, of both families where the machine has both
        try:
            return _bind_one("::", port)
        except _Unavailable:
            host = "0.0.0.0"
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartupError(f"cannot listen on {host!r}: {error.strerror}; give an address of this machine") from None
    family, kind, protocol, _, address = info[0]
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _Unavailable(f"cannot listen on {host}: {error.strerror}") from None
    try:
        sock.setblocking(False)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(_taken(host, port)) from None
        if error.errno == errno.EACCES:
            raise StartupError(f"no permission to listen on port {port}; choose one above 1023 with --listen") from None
        raise _Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; give an address of this machine"
        ) from None
    return sock


def _taken(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"port {port} on {host} is taken by another process; stop it or choose another by --listen {shown}:PORT"


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _highest_descriptor() -> int:
    """The highest descriptor that a connection may have; descriptors are given out from the lowest free one up."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return limit - 1 - min(SPARE_DESCRIPTORS, limit // 4)
