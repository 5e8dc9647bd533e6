"""What `ottla serve` was asked to do: flags, --set and a server.properties become one `ServeOptions`.

Flags win over --set, --set over the file, the file over Ottla's defaults, these over Kafka's. Every mistake is one
`UsageError`, a sentence that names the cause and the fix. Reads the config file and touches nothing else: no sockets,
no data folder; argparse is cli.py's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final, Protocol

from ottla.broker.config import (
    EFFECTS,
    BrokerConfig,
    UnknownSettingError,
    check_setting,
    check_together,
    setting_definition,
)
from ottla.broker.config_types import BadValueError
from ottla.broker.logs import Log
from ottla.broker.names import MAX_PARTITIONS_PER_REQUEST, name_fault
from ottla.log.config import LogConfig
from ottla.wire.errors import KafkaError

DEFAULT_PORT: Final = 9092
DEFAULT_HOSTS: Final = ("127.0.0.1", "::1")  # `localhost` is ::1 first for many clients
DEFAULT_DATA_DIR: Final = "./ottla-data"
Address = tuple[str, int]


class UsageError(Exception):
    """The command line or the config file is wrong: one sentence that names the cause and the fix (exit code 2)."""


class TopicSpec:
    """A topic that must exist before the broker is ready. `partitions` -1: num.partitions."""

    __slots__ = ("configs", "name", "partitions")

    def __init__(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        self.name = name
        self.partitions = partitions
        self.configs = configs


class ServeOptions:
    """All that a broker needs to know to start. Every text in it is checked."""

    __slots__ = (
        "advertise",
        "data_dir",
        "ephemeral",
        "features",
        "listeners",
        "log_format",
        "log_level",
        "port_file",
        "settings",
        "topics",
    )

    def __init__(
        self,
        *,
        listeners: list[Address],
        advertise: tuple[str, int | None] | None = None,
        topics: list[TopicSpec] | None = None,
        features: dict[str, int] | None = None,
        data_dir: str = DEFAULT_DATA_DIR,
        ephemeral: bool = False,
        settings: BrokerConfig | None = None,
        port_file: str | None = None,
        log_format: str = "text",
        log_level: str = "info",
    ) -> None:
        self.listeners = listeners  # host "": every interface; port 0: a free one
        self.advertise = (
            advertise  # what clients are told: (host, None: the port they came to); None: where they came to
        )
        self.topics = topics or []
        self.features = features or {}  # name -> level that it must have
        self.data_dir = data_dir  # not to be touched if `ephemeral`
        self.ephemeral = ephemeral
        self.settings = settings or BrokerConfig()
        self.port_file = port_file
        self.log_format = log_format
        self.log_level = log_level


class Flags(Protocol):
    """The parsed command line of `ottla serve`, each value as it was typed."""

    listen: list[str] | None
    advertise: str | None
    topic: list[str] | None
    feature: list[str] | None
    data: str | None
    ephemeral: bool
    config: str | None
    set: list[str] | None
    port_file: str | None
    log_format: str
    log_level: str


def serve_options(flags: Flags, log: Log) -> ServeOptions:
    """The options that `flags` and the config file they name ask for. Raises UsageError; warnings go to `log`."""
    if flags.data is not None and flags.ephemeral:
        raise UsageError("--data keeps the records and --ephemeral removes them at exit; give one of the two")
    if flags.data == "":
        raise UsageError("--data is empty; give a folder, or --ephemeral to keep nothing")
    if flags.port_file == "":
        raise UsageError("--port-file is empty; give the path of a file to write")
    settings = _settings(flags, log)
    if flags.listen:
        listeners = [_listen_address(text) for text in flags.listen]
        advertise = None  # the file's advertised.listeners belong to the file's listeners
    else:
        listeners, advertise = configured_listeners(settings)
    if len(set(listeners)) != len(listeners):
        raise UsageError("the same address is given twice to listen on; leave one out")
    listeners = listeners or [(host, DEFAULT_PORT) for host in DEFAULT_HOSTS]
    if flags.advertise is not None:
        advertise = _advertise_address(flags.advertise)
    return ServeOptions(
        listeners=listeners,
        advertise=advertise,
        topics=_topics(flags.topic or (), settings),
        features=_features(flags.feature) if flags.feature else None,
        data_dir=DEFAULT_DATA_DIR if flags.ephemeral else flags.data or _configured_data_dir(settings),
        ephemeral=flags.ephemeral,
        settings=_with_flags(settings, flags, listeners, advertise),
        port_file=flags.port_file,
        log_format=flags.log_format,
        log_level=flags.log_level,
    )


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(flags: Flags, log: Log) -> BrokerConfig:
    explicit: dict[str, str] = {}
    if flags.config is not None:
        explicit = _file_settings(flags.config, log)
    for text in flags.set or ():
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            raise UsageError(f"--set {text}: not of the form key=value, for example --set num.partitions=3")
        try:
            check_setting(name, value)
        except UnknownSettingError as error:
            hint = error.hint or "Kafka lists them at https://kafka.apache.org/documentation/#brokerconfigs"
            raise UsageError(f"--set {text}: there is no broker setting {name}; {hint}") from None
        except BadValueError as error:
            raise UsageError(f"--set {text}: {_reason(name, error)}") from None
        explicit[name] = value
    if not explicit:
        return BrokerConfig()
    without_effect = sorted(explicit.keys() - EFFECTS)
    if without_effect:
        log.info("settings without effect in Ottla", keys=without_effect)
    settings = BrokerConfig(explicit)
    try:
        check_together(settings)
        LogConfig.from_broker(settings.log_defaults())  # what topics get must be what a topic may have
    except BadValueError as error:
        raise UsageError(str(error)) from None
    except KafkaError as error:
        raise UsageError(error.message) from None
    return settings


def _with_flags(
    settings: BrokerConfig, flags: Flags, listeners: list[Address], advertise: tuple[str, int | None] | None
) -> BrokerConfig:
    """`settings` as DescribeConfigs shall show them: the flags that stand in for a setting are that setting."""
    shown = dict(settings.explicit)
    if flags.listen:
        shown.pop("advertised.listeners", None)
        shown["listeners"] = ",".join(_listener(host, port) for host, port in listeners)
    if flags.advertise is not None and advertise is not None:
        host, port = advertise
        shown["advertised.listeners"] = _listener(host, listeners[0][1] if port is None else port)
    if flags.data is not None:
        shown["log.dirs"] = flags.data
    if "node.id" in shown or "broker.id" in shown:  # Kafka shows the one under both names
        shown["node.id"] = shown["broker.id"] = str(settings.own_id)
    return BrokerConfig(shown)


def _listener(host: str, port: int) -> str:
    return f"PLAINTEXT://[{host}]:{port}" if ":" in host else f"PLAINTEXT://{host}:{port}"


def _file_settings(path: str, log: Log) -> dict[str, str]:
    from ottla.broker.properties import PropertiesError, parse_properties

    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise UsageError(f"--config {path}: no such file; give the path of a Kafka server.properties") from None
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}; give a readable Kafka server.properties") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # what Java reads
    try:
        properties = parse_properties(text)
    except PropertiesError as error:
        raise UsageError(f"--config {path}: {error}") from None
    explicit: dict[str, str] = {}
    for name, value, line in properties:  # as in Java the last of several wins
        try:
            check_setting(name, value)
        except UnknownSettingError as error:
            log.warning("unknown setting ignored", key=name, file=path, line=line, hint=error.hint or None)
            continue
        except BadValueError as error:
            shown = "" if setting_definition(name).sensitive else f"={value.strip()}"
            raise UsageError(f"--config {path}, line {line}: {name}{shown}: {_reason(name, error)}") from None
        explicit[name] = value.strip()
    return explicit


def _reason(name: str, error: BadValueError) -> str:
    text = str(error)
    definition = setting_definition(name)
    default = f" (the default is {definition.default})" if definition.default else ""
    if text.startswith("Not a number"):
        return f"not a number of type {definition.kind}; give one{default}"
    return f"{text[0].lower()}{text[1:]}{default}"


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
    if not port.isascii() or not port.isdecimal() or int(port[:6]) > 65535 or len(port) > 5:
        raise UsageError(f"{port or 'nothing'} after the colon is not a port; give a number from 0 to 65535")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except OSError:
        return False
    return True


def _listen_address(text: str) -> Address:
    try:
        host, port = split_address(text)
        if not host:
            raise UsageError("name the host: 127.0.0.1 for this machine only, 0.0.0.0 for every IPv4 interface")
    except UsageError as error:
        raise UsageError(f"--listen {text}: {error}") from None
    return host, DEFAULT_PORT if port is None else port


def _advertise_address(text: str) -> tuple[str, int | None]:
    try:
        host, port = split_address(text)
        if not host or host in ("0.0.0.0", "::"):
            raise UsageError("clients cannot connect to that; give a name or address they reach this broker by")
        if port == 0:
            raise UsageError("clients cannot connect to port 0; leave the port out to advertise the one listened on")
    except UsageError as error:
        raise UsageError(f"--advertise {text}: {error}") from None
    return host, port


def configured_listeners(settings: BrokerConfig) -> tuple[list[Address], tuple[str, int | None] | None]:
    """(addresses, what to advertise) from listeners and advertised.listeners; ([], ...) if listeners is not set.

    Listeners of the controller are left out: one process talks to itself without. Raises UsageError.
    """
    if "listeners" not in settings.explicit:
        advertised = _named_addresses("advertised.listeners", settings.advertised_listeners or [])
        return [], _common_advertise(settings, [], advertised)
    if settings.process_roles == ["controller"]:
        raise UsageError("process.roles=controller has no broker in it; use the server.properties of a broker")
    controller = {name.upper() for name in settings.controller_listener_names}
    protocols = _protocols(settings)
    listeners = []
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
        listeners.append((name, host, port))
    if not listeners:
        raise UsageError("listeners names none that a client could use; add PLAINTEXT://localhost:9092")
    advertised = _named_addresses("advertised.listeners", settings.advertised_listeners or [])
    return [(host, port) for _, host, port in listeners], _common_advertise(settings, listeners, advertised)


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


def _common_advertise(
    settings: BrokerConfig, listeners: list[tuple[str, str, int]], advertised: list[tuple[str, str, int]]
) -> tuple[str, int | None] | None:
    """The one address that all listeners advertise: Ottla has one for all of them."""
    controller = {name.upper() for name in settings.controller_listener_names}
    told = {name: (host, port) for name, host, port in advertised if name not in controller and host}
    if not told:
        return None
    if not listeners:  # Ottla's own two, which are one listener to Kafka
        listeners = [("PLAINTEXT", "localhost", DEFAULT_PORT)]
    ports = {name: port for name, _, port in listeners}
    if unknown := told.keys() - ports.keys():
        raise UsageError(
            f"advertised.listeners names {min(unknown)}, which listeners does not; add it there or remove it"
        )
    if len(listeners) == 1 or (len(set(told.values())) == 1 and len(told) == len(listeners)):
        return next(iter(told.values()))
    hosts = {host for host, _ in told.values()}
    if len(hosts) == 1 and len(told) == len(listeners) and all(port == ports[name] for name, (_, port) in told.items()):
        return hosts.pop(), None
    raise UsageError(
        "advertised.listeners differs from listener to listener, and Ottla advertises one host for all of them;"
        " name it with --advertise HOST and say where to listen with --listen HOST:PORT"
    )


def _configured_data_dir(settings: BrokerConfig) -> str:
    for name, folders in (("log.dirs", settings.log_dirs), ("log.dir", settings.log_dir)):
        if name in settings.explicit and folders:
            if len(folders) > 1:
                raise UsageError(
                    f"{name} names {len(folders)} folders and Ottla keeps one; name one of them with --data DIR"
                )
            return folders[0]
    return DEFAULT_DATA_DIR


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _topics(texts: Iterable[str], settings: BrokerConfig) -> list[TopicSpec]:
    topics: dict[str, TopicSpec] = {}
    for text in texts:
        try:
            topic = parse_topic(text)
            settings.checked_topic_overrides(topic.configs)
        except KafkaError as error:
            raise UsageError(f"--topic {text}: {error.message}") from None
        except UsageError as error:
            raise UsageError(f"--topic {text}: {error}") from None
        folded = topic.name.replace(".", "_")  # names that differ in this alone collide in Kafka's metrics
        if folded in topics:
            other = topics[folded].name
            reason = "is given twice" if other == topic.name else f"collides with {other} (. and _ count as equal)"
            raise UsageError(f"--topic {text}: topic {topic.name} {reason}; leave one out")
        topics[folded] = topic
    return list(topics.values())


def _features(texts: Iterable[str]) -> dict[str, int]:
    from ottla.broker.features import check_level

    levels: dict[str, int] = {}
    for text in texts:
        name, equals, level = (part.strip() for part in text.partition("="))
        if not name or not equals or not level.isascii() or not level.isdecimal() or len(level) > 4:
            raise UsageError(f"--feature {text}: not of the form NAME=LEVEL, for example transaction.version=1")
        try:
            check_level(name, int(level))
        except KafkaError as error:
            raise UsageError(f"--feature {text}: {error.message}") from None
        if levels.setdefault(name, int(level)) != int(level):
            raise UsageError(f"--feature {text}: {name} is given two levels; leave one out")
    return levels


def parse_topic(text: str) -> TopicSpec:
    """NAME[:PARTITIONS[:key=value,...]]; PARTITIONS may be empty. A value may hold commas. Raises UsageError."""
    name, _, rest = text.partition(":")
    count, _, pairs = rest.partition(":")
    fault = name_fault(name)
    if fault is not None:
        raise UsageError(fault)
    partitions = -1
    if count:
        if not count.isascii() or not count.isdecimal() or not 1 <= int(count[:9]) <= MAX_PARTITIONS_PER_REQUEST:
            raise UsageError(
                f"{count} is not a number of partitions; give one from 1 to {MAX_PARTITIONS_PER_REQUEST},"
                f" as in {name}:3"
            )
        partitions = int(count)
    configs: dict[str, str] = {}
    key = ""
    for item in pairs.split(",") if pairs else ():
        before, equals, after = item.partition("=")
        if equals:
            key = before.strip()
            if not key:
                raise UsageError(f"{item} has no key before '='; write key=value, as in {name}:3:retention.ms=60000")
            configs[key] = after.strip()
        elif key:
            configs[key] += "," + item.strip()  # cleanup.policy=compact,delete
        else:
            raise UsageError(f"{item} is not of the form key=value, as in {name}:3:retention.ms=60000")
    return TopicSpec(name, partitions, configs)
