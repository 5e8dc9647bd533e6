"""Listening sockets, accepting, and the set of live connections. Binding is apart from listening: ready means ready.

Knows sockets and limits; no protocol.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

import trio

from ottla.broker.connection import Connection, plain_host
from ottla.broker.errors import StartupError
from ottla.log.clock import Clock

if TYPE_CHECKING:
    from ottla.broker.dispatch import Gate
    from ottla.broker.logs import Log

RECEIVE_BUFFER_BYTES = 1 << 20
BACKLOG = 1024
ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_S = 0.1
SPARE_DESCRIPTORS = 32  # that connections leave to the log and to modules loaded at first use
GRACE_S = 2.0  # for connections to send their last answers at a stop
_DESCRIPTORS_USED_UP = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_DESCRIPTORS_USED_UP |= {getattr(errno, name) for name in ("WSAEMFILE", "WSAENOBUFS") if hasattr(errno, name)}
_EPHEMERAL_TRIES = 20


class ServerLimits:
    """Broker properties that bound connections; 0 means no bound for the socket buffers' sizes (the system's own)."""

    __slots__ = (
        "idle_ms",
        "max_connections",
        "max_connections_per_ip",
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
        max_connections: int,
        max_connections_per_ip: int,
        send_buffer_bytes: int,
        receive_buffer_bytes: int,
    ) -> None:
        self.max_request_bytes = max_request_bytes
        self.queued_max_request_bytes = queued_max_request_bytes
        self.idle_ms = idle_ms
        self.max_connections = max_connections
        self.max_connections_per_ip = max_connections_per_ip
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
        self._waiting: list[trio.Event] = []

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
            freed = trio.Event()
            self._waiting.append(freed)
            await freed.wait()

    def give_back(self, connection: Connection) -> None:
        """The connection's frame is done, or the connection is."""
        held = self._held.pop(connection, None)
        if held is not None:
            self.used -= held
            waiting, self._waiting = self._waiting, []
            for freed in waiting:
                freed.set()


class Server:
    """Serves the connections of some bound sockets through one gate."""

    def __init__(
        self, sockets: list[socket.socket], *, limits: ServerLimits, clock: Clock, log: Log, use_sendfile: bool = True
    ) -> None:
        self._sockets = sockets
        self._limits = limits
        self.clock = clock
        self.log = log
        self.use_sendfile = use_sendfile
        self.max_request_bytes = limits.max_request_bytes
        # One buffer for all connections: nothing awaits between recv_into and the last use of what came.
        self.receive_view = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.connections: set[Connection] = set()
        self._per_ip: Counter[str] = Counter()
        self.budget = ReceiveBudget(limits.queued_max_request_bytes)
        self._reserve: int | None = _open_reserve()
        self._is_short = False  # of descriptors

    def set_limits(self, limits: ServerLimits) -> None:
        """Other limits for the connections that come from now on."""
        self._limits = limits

    def listen(self) -> None:
        """From here on clients can connect. Raises StartupError: another process bound the port too, and was first."""
        for sock in self._sockets:
            try:
                sock.listen(BACKLOG)
            except OSError as error:
                host, port = sock.getsockname()[:2]
                raise StartupError(_taken(host, port) if error.errno == errno.EADDRINUSE else str(error)) from None

    async def accept_all(self, gate: Gate, connections: trio.Nursery) -> None:
        """Accept on every socket, each connection a task of `connections`. Ends by cancellation only."""
        async with trio.open_nursery() as nursery:
            for sock in self._sockets:
                nursery.start_soon(self._accept, sock, gate, connections)

    async def _accept(self, listener: socket.socket, gate: Gate, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            highest = _highest_descriptor()
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    sock, peer = listener.accept()
                except BlockingIOError:
                    self._is_short = False
                    break
                except OSError as error:
                    if error.errno not in _DESCRIPTORS_USED_UP:
                        continue  # the peer was gone before we took it
                    self._turn_one_away(listener)
                    await self._pause()
                    break
                if sock.fileno() > highest:
                    sock.close()
                    await self._pause()
                    break
                self._admit(sock, plain_host(peer), gate, connections)

    async def _pause(self) -> None:
        """Descriptors are used up: who waits in the backlog is turned away one by one, until some are free again."""
        if not self._is_short:  # one line, however long it lasts
            self._is_short = True
            self.log.warning("accept paused", reason="file descriptors are used up (raise `ulimit -n`)")
        await trio.sleep(ACCEPT_PAUSE_S)

    def _admit(self, sock: socket.socket, host: str, gate: Gate, connections: trio.Nursery) -> None:
        limits = self._limits
        if len(self.connections) >= limits.max_connections or self._per_ip[host] >= limits.max_connections_per_ip:
            self.log.warning(
                "connection refused", peer=host, reason="max.connections or max.connections.per.ip reached"
            )
            sock.close()
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if limits.send_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)
            if limits.receive_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.receive_buffer_bytes)
            connection = Connection(self, gate, sock, self.clock.mono_ms())
        except OSError:  # gone between accept and here
            sock.close()
            return
        self.connections.add(connection)
        self._per_ip[connection.host] += 1
        connections.start_soon(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            self._per_ip[connection.host] -= 1
            if not self._per_ip[connection.host]:
                del self._per_ip[connection.host]

    def _turn_one_away(self, listener: socket.socket) -> None:
        """Not one descriptor is left: free the reserved one, take a waiting connection with it and close that."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        try:
            sock, _ = listener.accept()
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

    def stop_connections(self) -> None:
        """Let each connection answer what it has received and end."""
        for connection in list(self.connections):
            connection.stop()

    def close(self) -> None:
        """Close the listening sockets and the reserve."""
        for sock in self._sockets:
            trio.lowlevel.notify_closing(sock)
            sock.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


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
