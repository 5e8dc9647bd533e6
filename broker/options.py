"""What `ottla serve` was asked to do: flags, --set and a server.properties become one `ServeOptions`.

Flags win over --set, --set over the file, the file over Ottla's defaults, these over Kafka's. Every mistake is one
`UsageError`, a sentence that names the cause and the fix. Reads the config file and touches nothing else: no sockets,
no data folder; argparse is cli.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ottla.broker.config import (
    BrokerConfig,
    UnknownSettingError,
    check_setting,
    check_together,
    setting_definition,
)
from ottla.broker.config_effects import without_effect
from ottla.broker.config_types import BadValueError
from ottla.broker.errors import UsageError
from ottla.broker.listeners import (
    NodeSpec,
    advertise,
    configured_listeners,
    default_listeners,
    flag_listeners,
    node_specs,
    split_address,
)
from ottla.broker.logs import Log
from ottla.broker.names import MAX_PARTITIONS_PER_REQUEST, name_fault
from ottla.broker.nodes import Address
from ottla.log.config import LogConfig
from ottla.wire.errors import KafkaError

if TYPE_CHECKING:
    from ottla.broker.faults.rules import Rule

DEFAULT_DATA_DIR: Final = "./ottla-data"
LOOPBACK: Final = "127.0.0.1"
REPLICATION_FACTOR: Final = 3  # of topics that ask for none, where there are as many nodes
FACTORS: Final = (
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "share.coordinator.state.topic.replication.factor",
    "transaction.state.log.replication.factor",
)


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
        "control",
        "data_dir",
        "ephemeral",
        "faults",
        "features",
        "log_format",
        "log_level",
        "nodes",
        "port_file",
        "record",
        "settings",
        "snapshot",
        "topics",
    )

    def __init__(
        self,
        *,
        nodes: list[NodeSpec] | None = None,
        control: Address | None = None,
        topics: list[TopicSpec] | None = None,
        features: dict[str, int] | None = None,
        data_dir: str = DEFAULT_DATA_DIR,
        ephemeral: bool = False,
        snapshot: str | None = None,
        settings: BrokerConfig | None = None,
        port_file: str | None = None,
        record: str | None = None,
        faults: list[Rule] | None = None,
        log_format: str = "text",
        log_level: str = "info",
    ) -> None:
        self.nodes = nodes or [NodeSpec(1, None, default_listeners())]
        self.control = control  # where the control surface listens; None: nowhere
        self.topics = topics or []
        self.features = features or {}  # name -> level that it must have
        self.data_dir = data_dir  # not to be touched if `ephemeral`
        self.ephemeral = ephemeral
        self.snapshot = snapshot  # name or path of what the data folder begins with
        self.settings = settings or BrokerConfig()
        self.port_file = port_file
        self.record = record  # the file for what clients ask and hear
        self.faults = faults or []  # from the first request on
        self.log_format = log_format
        self.log_level = log_level


class Flags(Protocol):
    """The parsed command line of `ottla serve`, each value as it was typed."""

    listen: list[str] | None
    advertise: list[str] | None
    nodes: str | None
    racks: str | None
    control: str | None
    topic: list[str] | None
    feature: list[str] | None
    data: str | None
    ephemeral: bool
    snapshot: str | None
    config: str | None
    set: list[str] | None
    port_file: str | None
    record: str | None
    faults: str | None
    log_format: str
    log_level: str


def serve_options(flags: Flags, log: Log) -> ServeOptions:
    """The options that `flags` and the config file they name ask for. Raises UsageError; warnings go to `log`."""
    if flags.data is not None and flags.ephemeral:
        raise UsageError("--data keeps the records and --ephemeral removes them at exit; give one of the two")
    if flags.data == "":
        raise UsageError("--data is empty; give a folder, or --ephemeral to keep nothing")
    if flags.snapshot == "":
        raise UsageError("--snapshot is empty; give the name of a snapshot (`ottla snapshot list`), or its path")
    if flags.port_file == "":
        raise UsageError("--port-file is empty; give the path of a file to write")
    if flags.record == "":
        raise UsageError("--record is empty; give the path of a file to write")
    settings = _settings(flags, log)
    listeners = flag_listeners(flags.listen, settings) if flags.listen else configured_listeners(settings)
    advertise(listeners, flags.advertise or ())  # the file's advertised.listeners belong to the file's listeners
    nodes = node_specs(listeners, flags.nodes, flags.racks, first_id=settings.own_id, rack=settings.broker_rack)
    return ServeOptions(
        nodes=nodes,
        control=control_address(flags.control, nodes) if flags.control is not None else None,
        topics=_topics(flags.topic or (), settings),
        features=_features(flags.feature) if flags.feature else None,
        data_dir=DEFAULT_DATA_DIR if flags.ephemeral else flags.data or _configured_data_dir(settings),
        ephemeral=flags.ephemeral,
        snapshot=flags.snapshot,
        settings=_with_flags(settings, flags, nodes),
        port_file=flags.port_file,
        record=flags.record,
        faults=_faults(flags.faults) if flags.faults is not None else None,
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
        _check(name, value, f"--set {text}")
        explicit[name] = value
    if not explicit:
        return BrokerConfig()
    idle = without_effect(explicit)
    if idle:
        log.info("settings without effect in Ottla", keys=idle)
    return _together(explicit)


def checked_settings(explicit: Mapping[str, str]) -> BrokerConfig:
    """Broker settings from outside, by Kafka's names. Raises UsageError with a sentence that names the one at fault."""
    for name, text in explicit.items():
        _check(name, text, f"{name}={text}")
    return _together(explicit)


def _check(name: str, value: str, said: str) -> None:
    """`said`: how the user put it."""
    try:
        check_setting(name, value)
    except UnknownSettingError as error:
        hint = error.hint or "Kafka lists them at https://kafka.apache.org/documentation/#brokerconfigs"
        raise UsageError(f"{said}: there is no broker setting {name}; {hint}") from None
    except BadValueError as error:
        raise UsageError(f"{said}: {_reason(name, error)}") from None


def _together(explicit: Mapping[str, str]) -> BrokerConfig:
    settings = BrokerConfig(explicit)
    try:
        check_together(settings)
        LogConfig.from_broker(settings.log_defaults())  # what topics get must be what a topic may have
    except BadValueError as error:
        raise UsageError(str(error)) from None
    except KafkaError as error:
        raise UsageError(error.message) from None
    return settings


def _with_flags(settings: BrokerConfig, flags: Flags, nodes: list[NodeSpec]) -> BrokerConfig:
    """`settings` as DescribeConfigs shall show them: the flags that stand in for a setting are that setting."""
    shown = dict(settings.explicit)
    own = nodes[0].settings()
    if flags.listen:
        shown.pop("advertised.listeners", None)
    for name in ("listeners", "advertised.listeners") if flags.listen or flags.advertise else ():
        if name in own and (name != "listeners" or flags.listen):
            shown[name] = own[name]
    if flags.data is not None:
        shown["log.dirs"] = flags.data
    if "node.id" in shown or "broker.id" in shown:  # Kafka shows the one under both names
        shown["node.id"] = shown["broker.id"] = str(settings.own_id)
    if len(nodes) > 1:  # what several nodes are there for: a leader that goes has a follower
        for name in FACTORS:
            shown.setdefault(name, str(min(len(nodes), REPLICATION_FACTOR)))
    return BrokerConfig(shown)


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


def _configured_data_dir(settings: BrokerConfig) -> str:
    for name, folders in (("log.dirs", settings.log_dirs), ("log.dir", settings.log_dir)):
        if name in settings.explicit and folders:
            if len(folders) > 1:
                raise UsageError(
                    f"{name} names {len(folders)} folders and Ottla keeps one; name one of them with --data DIR"
                )
            return folders[0]
    return DEFAULT_DATA_DIR


def control_address(text: str, nodes: Iterable[NodeSpec]) -> Address:
    """HOST:PORT or PORT of the control surface, this machine's loopback if no host is named. Raises UsageError."""
    taken = {port: node for node in nodes for spec in node.listeners for _, port in spec.addresses if port}
    if text.isascii() and text.isdecimal():
        text = f"{LOOPBACK}:{text}"
    try:
        host, port = split_address(text)
        if not host or port is None:
            raise UsageError(f"give host and port, as in {LOOPBACK}:9090")
        if port in taken:
            raise UsageError(f"clients reach node {taken[port].id} on that port; choose another")
    except UsageError as error:
        raise UsageError(f"--control {text}: {error}") from None
    return host, port


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


def _faults(path: str) -> list[Rule]:
    from ottla.broker.faults.file import read_rules

    return read_rules(path)


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
