"""The control surface as a whole: its sockets, its routes, its life."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from ottla.broker.control import client_metrics, nodes, trace
from ottla.broker.control.http import HttpServer
from ottla.broker.control.routes import Router
from ottla.broker.server import listen

if TYPE_CHECKING:
    from ottla.broker.broker import Broker

ROUTES = (*nodes.ROUTES, *client_metrics.ROUTES, *trace.ROUTES)


async def serve(
    broker: Broker,
    sockets: list[socket.socket],
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on bound `sockets` until cancelled; `started` means that they listen. Raises StartupError."""
    advertised = {
        listener.advertised_host
        for node in broker.cluster.nodes.values()
        for listener in node.listeners.values()
        if listener.advertised_host
    }
    http = HttpServer(Router(broker, ROUTES).answer, broker.log, hosts=advertised)
    listeners = []
    for sock in sockets:
        listen(sock)
        listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
    await trio.serve_listeners(http.serve, listeners, task_status=task_status)
