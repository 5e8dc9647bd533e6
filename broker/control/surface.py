"""The control surface as a whole: its sockets, its routes, its life."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from ottla.broker.control import client_metrics, clock, faults, groups, nodes, snapshots, trace
from ottla.broker.control.http import HttpServer
from ottla.broker.control.routes import Route, Router
from ottla.broker.server import listen

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

ROUTES = (
    *nodes.ROUTES,
    *groups.ROUTES,
    *clock.ROUTES,
    *faults.ROUTES,
    *snapshots.ROUTES,
    *client_metrics.ROUTES,
    *trace.ROUTES,
)


async def serve(
    broker: Broker,
    sockets: list[socket.socket],
    *,
    routes: Iterable[Route] = (),
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on bound `sockets` until cancelled; `started` means that they listen. Raises StartupError. `routes`: what
    whoever serves it has besides.
    """
    advertised = {
        listener.advertised_host
        for node in broker.cluster.nodes.values()
        for listener in node.listeners.values()
        if listener.advertised_host
    }
    http = HttpServer(Router(broker, (*ROUTES, *routes)).answer, broker.log, hosts=advertised)
    listeners = []
    for sock in sockets:
        listen(sock)
        listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
    await trio.serve_listeners(http.serve, listeners, task_status=task_status)
