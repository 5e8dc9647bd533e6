"""Brokers that tests in any language ask for over HTTP: one call starts another broker in this process, with a port and
a control surface of its own, one ends it.

The routes hang at the control surface of a broker that tests use; `ottla serve` has none of them. What a broker is made
of is instance.py's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from ottla.broker.control.routes import Call, Refused, Route, object_of
from ottla.broker.control.surface import serve
from ottla.broker.errors import StartupError, UsageError
from ottla.broker.server import bind
from ottla.log.data_folder import StoreError
from ottla.log.snapshot import SnapshotError
from ottla.testing.fork import fork
from ottla.testing.instance import HOST, Instance, Setup
from ottla.wire.errors import KafkaError

MOST: Final = 1000  # at once: each has descriptors of its own
_EXAMPLE: Final = '{"topics": {"orders": 2}, "nodes": 1, "settings": {"num.partitions": "3"}}'
_TAKES: Final = object_of(
    {
        "topics": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "nodes": {"type": "integer", "minimum": 1},
        "settings": {"type": "object", "additionalProperties": {"type": "string"}},
        "snapshot": {"type": "string"},
        "fork": {"type": "boolean"},
    }
)


@dataclass(frozen=True)
class Guest:
    """A broker that somebody asked for."""

    number: int
    instance: Instance
    control_port: int
    leave: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "bootstrap_servers": self.instance.bootstrap_servers,
            "control_url": f"http://{HOST}:{self.control_port}",
        }


class Guests:
    """The brokers that were asked for at `host`; they live in `nursery`, and end with it."""

    def __init__(self, nursery: trio.Nursery, host: Instance) -> None:
        self._nursery = nursery
        self._host = host
        self._there: dict[int, Guest] = {}
        self._met = 0

    @property
    def routes(self) -> Sequence[Route]:
        """For the control surface."""
        return (
            Route("GET", "/brokers", self._list, "The brokers that were started here."),
            Route(
                "POST",
                "/brokers",
                self._start,
                f'Start a broker of your own: {_EXAMPLE}, {{}}, {{"snapshot": "NAME"}}, or {{"fork": true}}:'
                " one that begins with all that this one has.",
                takes=_TAKES,
            ),
            Route("DELETE", "/brokers/{broker}", self._end, "End a broker that was started here."),
        )

    def _list(self, call: Call) -> Any:
        return {"brokers": [guest.shown() for guest in self._there.values()]}

    async def _start(self, call: Call) -> Any:
        if len(self._there) >= MOST:
            raise Refused(f"{MOST} brokers are here already; DELETE /v1/brokers/ID those that are done", 409)
        body = call.body()
        if body.get("fork") and len(body) > 1:
            raise Refused("a fork has all that this broker has, and nothing else: leave out the other fields")
        instance = fork(self._host) if body.get("fork") else Instance(_setup(body))
        failures: list[BaseException] = []
        try:
            guest: Guest = await self._nursery.start(self._keep, instance)
        except* (StartupError, UsageError, StoreError, SnapshotError, KafkaError) as group:
            failures += _leaves(group)
        if failures:
            raise Refused(str(failures[0]))
        return guest.shown()

    async def _end(self, call: Call) -> Any:
        guest = self._there.get(call.number("broker"))
        if guest is None:
            raise Refused(f"there is no broker {call.params['broker']}; GET /v1/brokers lists those that are", 404)
        guest.leave.set()
        await guest.gone.wait()
        return self._list(call)

    async def _keep(self, instance: Instance, *, task_status: trio.TaskStatus[Guest]) -> None:
        guest: Guest | None = None
        try:
            async with trio.open_nursery() as serving:
                await serving.start(instance.serve)
                (sock,) = bind([(HOST, 0)])
                with sock:
                    async with trio.open_nursery() as controlling:
                        await controlling.start(_serve_control, instance, sock)
                        self._met += 1
                        guest = self._there[self._met] = Guest(self._met, instance, sock.getsockname()[1])
                        task_status.started(guest)
                        await guest.leave.wait()
                        controlling.cancel_scope.cancel()
                instance.stop()
        finally:
            if guest is not None:
                del self._there[guest.number]
                guest.gone.set()


async def _serve_control(instance: Instance, sock: socket.socket, *, task_status: trio.TaskStatus[Any]) -> None:
    await serve(instance.broker, [sock], task_status=task_status)


def _setup(body: Mapping[str, Any]) -> Setup:
    """Raises Refused."""
    topics, settings, nodes = body.get("topics", {}), body.get("settings", {}), body.get("nodes", 1)
    if not isinstance(topics, dict) or not all(type(count) is int and count > 0 for count in topics.values()):
        raise Refused(f"topics must be names with numbers of partitions, as in {_EXAMPLE}")
    if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
        raise Refused(f"settings must be names with texts, as in {_EXAMPLE}")
    snapshot = body.get("snapshot")
    if snapshot is not None and not isinstance(snapshot, str):
        raise Refused('snapshot must be a name, as in {"snapshot": "seed"}')
    if type(nodes) is not int or not 1 <= nodes <= 100:
        raise Refused(f"nodes must be a number from 1 to 100, as in {_EXAMPLE}")
    return Setup(nodes=nodes, topics=topics, settings=settings, snapshot=snapshot)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
