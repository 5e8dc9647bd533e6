"""Where each node listens and what it tells clients: from flags and from a server.properties to `NodeSpec`s.

Pure: texts in, specifications out, every mistake a `UsageError` that names the cause and the fix. server.py binds.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ottla.broker.errors import UsageError
from ottla.broker.nodes import DEFAULT_LISTENER, Address

if TYPE_CHECKING:
    from ottla.broker.config import BrokerConfig

DEFAULT_PORT: Final = 9092
DEFAULT_HOSTS: Final = ("127.0.0.1", "::1")  # `localhost` is ::1 first for many clients
MAX_NODES: Final = 64
MAX_PORT: Final = 65535


class ListenerSpec:
    """A named listener: the addresses to listen on (host "": every interface; port 0: a free one), and what clients
    are told; None stands for the host or port that they came to.
    """

    __slots__ = ("addresses", "advertised_host", "advertised_port", "name")

    def __init__(
        self,
        name: str,
        addresses: list[Address],
        advertised_host: str | None = None,
        advertised_port: int | None = None,
    ) -> None:
        self.name = name
        self.addresses = addresses
        self.advertised_host = advertised_host
        self.advertised_port = advertised_port


class NodeSpec:
    """A node that the process shall be: its id, its rack, its listeners."""

    __slots__ = ("id", "listeners", "rack")

    def __init__(self, node_id: int, rack: str | None, listeners: list[ListenerSpec]) -> None:
        self.id = node_id
        self.rack = rack
        self.listeners = listeners

    def settings(self) -> dict[str, str]:
        """The settings that are the node's own, as DescribeConfigs shows them."""
        own = {"node.id": str(self.id), "broker.id": str(self.id)}
        own["listeners"] = ",".join(
            _url(spec.name, host, port) for spec in self.listeners for host, port in spec.addresses
        )
        told = [
            _url(spec.name, spec.advertised_host, spec.advertised_port or spec.addresses[0][1])
            for spec in self.listeners
            if spec.advertised_host
        ]
        if told:
            own["advertised.listeners"] = ",".join(told)
        if self.rack is not None:
            own["broker.rack"] = self.rack
        return own


def default_listeners() -> list[ListenerSpec]:
    """Where a broker listens that was told nothing: this machine only, both families."""
    return [ListenerSpec(DEFAULT_LISTENER, [(host, DEFAULT_PORT) for host in DEFAULT_HOSTS])]


# ── from flags ──────────────────────────────────────────────────────────────────────────────────────────────────────


def flag_listeners(texts: Iterable[str], settings: BrokerConfig) -> list[ListenerSpec]:
    """The listeners of --listen [NAME://]HOST[:PORT], in the order of their names' first use. Raises UsageError."""
    listeners: dict[str, ListenerSpec] = {}
    protocols = _protocols(settings)
    for text in texts:
        name, host, port = _flag_address("--listen", text)
        name = name or DEFAULT_LISTENER
        protocol = protocols.get(name, "PLAINTEXT")
        if protocol != "PLAINTEXT":
            raise UsageError(f"--listen {text}: {name} asks for {protocol}, which Ottla does not serve yet")
        if not host:
            raise UsageError(
                f"--listen {text}: name the host: 127.0.0.1 for this machine only, 0.0.0.0 for every IPv4 interface"
            )
        spec = listeners.setdefault(name, ListenerSpec(name, []))
        spec.addresses.append((host, DEFAULT_PORT if port is None else port))
    return list(listeners.values())


def advertise(listeners: Sequence[ListenerSpec], texts: Iterable[str]) -> None:
    """Give `listeners` what --advertise [NAME://]HOST[:PORT] says; without a name, all of them. Raises UsageError."""
    by_name = {spec.name: spec for spec in listeners}
    told: set[str] = set()
    for text in texts:
        name, host, port = _flag_address("--advertise", text)
        if not host or host in ("0.0.0.0", "::"):
            raise UsageError(
                f"--advertise {text}: clients cannot connect to that; give a name or address they reach this broker by"
            )
        if port == 0:
            raise UsageError(
                f"--advertise {text}: clients cannot connect to port 0;"
                " leave the port out to advertise the one listened on"
            )
        if name is None and port is not None and len(listeners) > 1:
            raise UsageError(
                f"--advertise {text}: there are {len(listeners)} listeners; say whose port that is,"
                f" as in {listeners[0].name}://{text}"
            )
        if name is not None and name not in by_name:
            raise UsageError(f"--advertise {text}: there is no listener {name}; there is {', '.join(by_name)}")
        for spec in listeners if name is None else (by_name[name],):
            if spec.name in told:
                raise UsageError(f"--advertise {text}: listener {spec.name} is given two addresses; leave one out")
            told.add(spec.name)
            spec.advertised_host, spec.advertised_port = host, port


def _flag_address(flag: str, text: str) -> tuple[str | None, str, int | None]:
    """Of [NAME://]HOST[:PORT] (name in upper case, host, port)."""
    name, separator, address = text.rpartition("://")
    try:
        if separator and not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise UsageError("not of the form NAME://HOST:PORT, for example EXTERNAL://localhost:9092")
        host, port = split_address(address)
    except UsageError as error:
        raise UsageError(f"{flag} {text}: {error}") from None
    return name.upper() if separator else None, host, port


# ── from a server.properties ────────────────────────────────────────────────────────────────────────────────────────


def configured_listeners(settings: BrokerConfig) -> list[ListenerSpec]:
    """The listeners of listeners and advertised.listeners, the default ones if there are none.

    Listeners of the controller are left out: one process talks to itself without. Raises UsageError.
    """
    controller = {name.upper() for name in settings.controller_listener_names}
    listeners = _configured(settings, controller) if "listeners" in settings.explicit else default_listeners()
    by_name = {spec.name: spec for spec in listeners}
    for name, host, port in _named_addresses("advertised.listeners", settings.advertised_listeners or []):
        if name in controller or not host:
            continue
        if name not in by_name:
            raise UsageError(f"advertised.listeners names {name}, which listeners does not; add it there or remove it")
        by_name[name].advertised_host, by_name[name].advertised_port = host, port
    return listeners


def _configured(settings: BrokerConfig, controller: set[str]) -> list[ListenerSpec]:
    if settings.process_roles == ["controller"]:
        raise UsageError("process.roles=controller has no broker in it; use the server.properties of a broker")
    protocols = _protocols(settings)
    listeners: dict[str, ListenerSpec] = {}
    for name, host, port in _named_addresses("listeners", settings.listeners):
        if name in controller:
            continue
        protocol = protocols.get(name)
        if protocol is None:
            raise UsageError(f"listener {name} has no protocol; add {name}:PLAINTEXT to listener.security.protocol.map")
        if protocol != "PLAINTEXT":
            raise UsageError(
                f"listener {name} asks for {protocol}, which Ottla does not serve yet;"
                " make it PLAINTEXT, or say where to listen with --listen HOST:PORT"
            )
        listeners.setdefault(name, ListenerSpec(name, [])).addresses.append((host, port))
    if not listeners:
        raise UsageError("listeners names none that a client could use; add PLAINTEXT://localhost:9092")
    return list(listeners.values())


def _protocols(settings: BrokerConfig) -> dict[str, str]:
    protocols = {}
    for pair in settings.listener_security_protocol_map.split(","):
        name, _, protocol = pair.partition(":")
        protocols[name.strip().upper()] = protocol.strip().upper()
    return protocols


def _named_addresses(setting: str, texts: Iterable[str]) -> list[tuple[str, str, int]]:
    """Of each NAME://HOST:PORT (name in upper case, host, port)."""
    result = []
    for text in texts:
        name, separator, address = text.partition("://")
        try:
            if not separator or not name:
                raise UsageError("not of the form NAME://HOST:PORT, for example PLAINTEXT://localhost:9092")
            host, port = split_address(address)
            if port is None:
                raise UsageError("the port is missing, as in PLAINTEXT://localhost:9092")
        except UsageError as error:
            raise UsageError(f"{setting}: {text}: {error}") from None
        result.append((name.upper(), host, port))
    return result


# ── several nodes ───────────────────────────────────────────────────────────────────────────────────────────────────


def node_specs(
    listeners: list[ListenerSpec], nodes: str | None, racks: str | None, *, first_id: int, rack: str | None
) -> list[NodeSpec]:
    """One node or, by --nodes, several: their ids count up from `first_id`.

    nodes: a number of nodes, whose ports follow one after another, or the ports of all of them. racks: one a node;
    `rack` is that of all nodes otherwise. What is advertised moves with the port. Raises UsageError.
    """
    shifts = _shifts(listeners, nodes) if nodes is not None else [0]
    names = _racks(racks, len(shifts)) if racks is not None else [rack] * len(shifts)
    specs = [
        NodeSpec(first_id + at, name, [_shifted(spec, shift) for spec in listeners])
        for at, (shift, name) in enumerate(zip(shifts, names, strict=True))
    ]
    taken: dict[Address, str] = {}
    for node in specs:
        for spec in node.listeners:
            for address in spec.addresses:
                owner = f"listener {spec.name} of node {node.id}"
                if address[1] and address in taken:
                    raise UsageError(_taken_twice(address, taken[address], owner, len(specs)))
                taken[address] = owner
    return specs


def _shifts(listeners: list[ListenerSpec], nodes: str) -> list[int]:
    """How far each node's ports are from those of the first."""
    numbers = [text.strip() for text in nodes.split(",")]
    if not all(text.isascii() and text.isdecimal() and len(text) <= 5 for text in numbers):
        raise UsageError(f"--nodes {nodes}: give a number of nodes, as in 3, or their ports, as in 9092,9192,9292")
    if len(numbers) == 1:
        count = int(numbers[0])
        if not 1 <= count <= MAX_NODES:
            raise UsageError(f"--nodes {nodes}: give 1 to {MAX_NODES} nodes, or their ports, as in 9092,9192,9292")
        return list(range(count))
    ports = [int(text) for text in numbers]
    if len(ports) > MAX_NODES:
        raise UsageError(f"--nodes: {len(ports)} ports are given; there may be {MAX_NODES} nodes")
    if not all(1 <= port <= MAX_PORT for port in ports):
        raise UsageError(f"--nodes {nodes}: a port is a number from 1 to {MAX_PORT}")
    if len(listeners) > 1:
        raise UsageError(
            f"--nodes {nodes}: there are {len(listeners)} listeners, and each node has all of them;"
            " give the number of nodes, and the listeners of the first node by --listen"
        )
    only = listeners[0]
    only.addresses = [(host, ports[0]) for host, _ in only.addresses]
    return [port - ports[0] for port in ports]


def _shifted(spec: ListenerSpec, shift: int) -> ListenerSpec:
    advertised_port = spec.advertised_port
    if advertised_port is not None:
        advertised_port = _port(advertised_port + shift)
    addresses = [(host, _port(port + shift) if port else 0) for host, port in spec.addresses]
    return ListenerSpec(spec.name, addresses, spec.advertised_host, advertised_port)


def _port(port: int) -> int:
    if not 1 <= port <= MAX_PORT:
        raise UsageError(
            f"--nodes: one of the nodes would have the port {port}; begin lower, with --listen HOST:PORT, or name"
            " the ports, as in --nodes 9092,9192,9292"
        )
    return port


def _racks(racks: str, count: int) -> list[str | None]:
    names = [name.strip() for name in racks.split(",")]
    if len(names) != count or not all(names):
        nodes = "1 node" if count == 1 else f"{count} nodes"
        raise UsageError(f"--racks {racks}: there {'is' if count == 1 else 'are'} {nodes}; give a rack for each")
    return [*names]


def _taken_twice(address: Address, first: str, second: str, count: int) -> str:
    host, port = address
    if first == second or count == 1:
        return f"{host or '*'}:{port} is given twice to listen on; leave one out"
    return f"port {port} would be that of {first} and of {second}; keep the listeners' ports {count} or more apart"


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def split_address(text: str) -> tuple[str, int | None]:
    """HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, the host possibly empty. Raises UsageError with the reason alone."""
    if "://" in text:
        raise UsageError("write HOST:PORT without a protocol before it")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise UsageError("not an IPv6 address in brackets; one looks like [::1]:9092")
        port = rest[1:] if rest else None
    elif text.count(":") > 1:
        raise UsageError("put an IPv6 address in brackets, as in [::1]:9092")
    else:
        host, colon, after = text.partition(":")
        port = after if colon else None
        if host.isdecimal():
            raise UsageError(f"a host must come before the port, as in 127.0.0.1:{host}")
        if any(char.isspace() or not char.isprintable() or char in "/\\,=[]@" for char in host):
            raise UsageError(f"{host} is not a host name or address; write HOST:PORT, as in 127.0.0.1:9092")
    if port is None:
        return host, None
    if not port.isascii() or not port.isdecimal() or int(port[:6]) > MAX_PORT or len(port) > 5:
        raise UsageError(f"{port or 'nothing'} after the colon is not a port; give a number from 0 to {MAX_PORT}")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except OSError:
        return False
    return True


def _url(name: str, host: str, port: int) -> str:
    return f"{name}://[{host}]:{port}" if ":" in host else f"{name}://{host}:{port}"
