"""AlterConfigs and IncrementalAlterConfigs: what may be set on which resource, in Kafka's order and words.

`alter` decides resource by resource, writes what was decided for all of them as one batch, and tells each how it went.
What follows from a change is dynamic_configs.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.broker.cluster import (
    BROKER_RESOURCE,
    CLIENT_METRICS_RESOURCE,
    GROUP_RESOURCE,
    LOGGER_RESOURCE,
    TOPIC_RESOURCE,
)
from ottla.broker.config import BrokerConfig, UnknownSettingError, check_together, setting_definition
from ottla.broker.config_types import BadValueError, Definition, definitions, parse
from ottla.broker.dynamic_configs import LOG_LEVELS, ROOT_LOGGER
from ottla.broker.names import name_fault
from ottla.log.config import LogConfig
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.cluster_metadata import ConfigRecord

if TYPE_CHECKING:
    from ottla.broker.broker import Broker
    from ottla.broker.nodes import Node

Resource = tuple[int, str]
"""(type, name)"""


class Operation(IntEnum):
    """What IncrementalAlterConfigs can do to a config (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Change(NamedTuple):
    """One config of one resource as a request wants it; `operation` may be none that exists."""

    name: str
    operation: int
    value: str | None


class Answer(NamedTuple):
    """How it went for one resource; code 0: well."""

    resource: Resource
    code: int
    message: str | None


# Security settings that Kafka takes for single listeners only: listener.name.{listener}.{setting}.
_PER_LISTENER: Final = frozenset(
    f"ssl.{name}"
    for name in (
        "key.password",
        "keystore.certificate.chain",
        "keystore.key",
        "keystore.location",
        "keystore.password",
        "keystore.type",
        "truststore.certificates",
        "truststore.location",
        "truststore.password",
        "truststore.type",
    )
)
# Kafka can open and close listeners while it runs.
AT_START: Final = frozenset(("listener.security.protocol.map", "listeners"))
# Kafka at most doubles or halves a pool of threads at a time.
_THREADS: Final = (
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
)
_DEDUPE_BYTES_PER_THREAD: Final = 1 << 20
_CLIENT_SELECTORS: Final = frozenset(
    (
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    )
)
_PUSH_INTERVAL_MS: Final = (100, 3_600_000)


def alter(
    broker: Broker,
    node: Node,
    wanted: Iterable[tuple[Resource, list[Change]]],
    *,
    validate_only: bool,
    replace: bool = False,
) -> list[Answer]:
    """An answer for each resource, in order. `node` is who was asked; it alone may change its own settings. `replace`:
    what is not set is deleted (AlterConfigs).
    """
    wanted = list(wanted)
    times = Counter(resource for resource, _ in wanted)
    answers: dict[Resource, Answer] = {}
    records: list[ConfigRecord] = []
    for resource, changes in wanted:
        try:
            if times[resource] > 1:
                raise _bad_request("Each resource must appear at most once.")
            _check_request(changes)
            if resource[0] == LOGGER_RESOURCE and not replace:
                _alter_logger(broker, node, resource[1], changes, validate_only=validate_only)
            else:
                records += _decide(broker, node, resource, changes, replace=replace)
            answers[resource] = Answer(resource, ErrorCode.NONE, None)
        except KafkaError as failure:
            answers[resource] = Answer(resource, failure.code, failure.message or None)
    if not validate_only:
        try:
            broker.configs.write(records)
        except KafkaError as failure:
            for record in records:
                resource = record.resource_type, record.resource_name
                answers[resource] = Answer(resource, failure.code, failure.message or None)
    return [answers[resource] for resource, _ in wanted]


def _check_request(changes: list[Change]) -> None:
    if len({change.name for change in changes}) < len(changes):
        raise _bad_request("Error due to duplicate config keys")
    nulls = [change.name for change in changes if change.value is None and change.operation != Operation.DELETE]
    if nulls:
        raise _bad_request(f"Null value not supported for : {', '.join(nulls)}")
    if not all(change.operation in Operation.__members__.values() for change in changes):
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)  # as Kafka, which knows no better code either


def _decide(
    broker: Broker, node: Node, resource: Resource, changes: list[Change], *, replace: bool
) -> list[ConfigRecord]:
    """The records that carry out the changes of one resource. Raises KafkaError."""
    kind, name = resource
    check = _CHECKS.get(kind)
    if check is None:
        raise _bad_request(f"Unknown resource type {kind}")
    current: Mapping[str, str] = broker.cluster.configs.get(resource, {})
    if kind == TOPIC_RESOURCE and name in broker.cluster.topics:
        current = broker.cluster.topics[name].overrides
    if replace:
        named = {change.name for change in changes}
        changes = changes + [Change(each, Operation.DELETE, None) for each in current if each not in named]
    after = check(broker, node, name, current, changes)
    return [
        ConfigRecord(resource_type=kind, resource_name=name, name=each, value=after.get(each))
        for each in sorted(current.keys() | after.keys())
        if current.get(each) != after.get(each)
    ]


def _after(
    current: Mapping[str, str], changes: list[Change], known: Mapping[str, Definition] | None = None
) -> dict[str, str]:
    """`current` with `changes`. Lists are `known` ones. Raises KafkaError INVALID_CONFIG."""
    after = dict(current)
    for name, operation, value in changes:
        if value is None or operation == Operation.DELETE:
            after.pop(name, None)
        elif operation == Operation.SET:
            after[name] = value
        else:
            definition = known.get(name) if known is not None else None
            if definition is None or definition.kind != "LIST":
                verb = Operation(operation).name
                raise _bad_config(f"Can't {verb} to key {name} because its type is not LIST.")
            items, given = _items(after.get(name, definition.default or "")), _items(value)
            if operation == Operation.APPEND:
                items += [item for item in given if item not in items]
            else:
                items = [item for item in items if item not in given]
            after[name] = ",".join(items)
    return after


def _items(text: str) -> list[str]:
    items = parse("LIST", text)
    assert isinstance(items, list)
    return items


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _topic(broker: Broker, node: Node, name: str, current: Mapping[str, str], changes: list[Change]) -> dict[str, str]:
    if not name:
        raise _bad_request("Default topic resources are not allowed.")
    fault = name_fault(name)
    if fault is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
    after = broker.metadata.checked_overrides(_after(current, changes, definitions().topic))
    if name not in broker.cluster.topics:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
    return after


# ── brokers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _broker(broker: Broker, node: Node, name: str, current: Mapping[str, str], changes: list[Change]) -> dict[str, str]:
    if name:
        node_id = _node_id(name)
        if node_id != node.id:
            raise _bad_request(f"Unexpected broker id, expected {node.id}, but received {name}")
    after = _after(current, changes, definitions().broker)
    new = {each: text for each, text in after.items() if current.get(each) != text}
    known = {each: definition for each in new if (definition := _setting(each)) is not None}
    _refuse("Cannot update these configs dynamically", [each for each in known if not known[each].dynamic])
    _refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        [each for each in new if each in _PER_LISTENER],
    )
    for each, definition in known.items():
        try:
            definition.checked(new[each])
        except BadValueError as error:
            raise _bad_request(f"Invalid value {new[each]} for configuration {each}: {error}") from None
    if not name:
        _refuse(
            "Cannot update these configs at default cluster level, broker id must be specified",
            [each for each in known if known[each].per_broker or each != known[each].name],
        )
    _refuse(
        "Ottla opens its listeners when it starts; set these where it finds them then", [*(AT_START & known.keys())]
    )
    _check_settings(broker.configs.settings_of(node), own=bool(name), after=after)
    return after


def _setting(name: str) -> Definition | None:
    try:
        return setting_definition(name)
    except UnknownSettingError:  # Kafka takes and keeps it: a plugin may know it
        return None


def _check_settings(config: BrokerConfig, *, own: bool, after: Mapping[str, str]) -> None:
    """What settings, once changed, demand of each other and of what was before. Raises KafkaError INVALID_REQUEST."""
    changed = BrokerConfig(config.explicit)
    changed.set_dynamic(after if own else config.dynamic, config.dynamic_default if own else after)
    try:
        check_together(changed)
        LogConfig.from_broker(changed.log_defaults())
    except (BadValueError, KafkaError) as error:
        raise _bad_request(str(error)) from None
    for name in _THREADS:
        before, now = config.value_of(name), changed.value_of(name)
        assert isinstance(before, int)
        assert isinstance(now, int)
        fault = (
            f"greater than double the current value {before}"
            if now > 2 * before
            else f"less than half the current value {before}"
            if 2 * now < before
            else None
        )
        if fault is not None:
            raise _bad_request(
                f"Dynamic thread count update validation failed for {name}={now}, value should not be {fault}"
            )
    threads = changed.value_of("log.cleaner.threads")
    assert isinstance(threads, int)
    if changed.log_cleaner_dedupe_buffer_size < threads * _DEDUPE_BYTES_PER_THREAD:
        raise _bad_request("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")


def _refuse(why: str, names: list[str]) -> None:
    if names:
        raise _bad_request(f"{why}: [{', '.join(sorted(names))}]")


def _node_id(name: str) -> int:
    try:
        return int(name)
    except ValueError:
        raise _bad_request(f"Node id must be an integer, but it is: {name}") from None


# ── loggers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _alter_logger(broker: Broker, node: Node, name: str, changes: list[Change], *, validate_only: bool) -> None:
    """Levels live as long as the process, and take effect at once. Raises KafkaError."""
    if _node_id(name) != node.id:
        raise _bad_request(f"Unexpected node id. Expected {node.id}, but received {name}")
    for logger, operation, level in changes:
        if operation not in (Operation.SET, Operation.DELETE):
            verb = Operation(operation).name
            raise _bad_request(f"{verb} operation is not allowed for the BROKER_LOGGER resource")
        if logger not in broker.configs.loggers:
            raise _bad_config(f"Logger {logger} does not exist!")
        if operation == Operation.DELETE and logger == ROOT_LOGGER:
            raise _bad_request("Removing the log level of the root logger is not allowed")
        if level not in LOG_LEVELS:
            raise _bad_config(
                f"Cannot set the log level of {logger} to {level} as it is not a supported log level. "
                f"Valid log levels are {', '.join(LOG_LEVELS)}"
            )
    if not validate_only:
        for _, _, level in changes:
            assert level is not None
            broker.configs.set_level(level)


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _group(broker: Broker, node: Node, name: str, current: Mapping[str, str], changes: list[Change]) -> dict[str, str]:
    if not name:
        raise _bad_request("Default group resources are not allowed.")
    after = _after(current, changes)
    known = definitions().group
    for each, text in after.items():
        if each not in known:
            raise _bad_config(f"Unknown group config name: {each}")
        value = _checked(known[each], text)
        if isinstance(value, int):
            _check_bounds(broker.configs.settings_of(node), each, value)
        if each == "errors.deadletterqueue.topic.name" and text.startswith("__"):
            raise _bad_config(f"{each}: DLQ topic name must not start with '__'")
    return after


def _check_bounds(config: BrokerConfig, name: str, value: int) -> None:
    """The broker bounds what groups may ask for. Raises KafkaError INVALID_CONFIG."""
    kind, _, rest = name.partition(".")
    rest = rest.removeprefix("num.")
    least, most = _bound(config, f"group.{kind}.min.{rest}"), _bound(config, f"group.{kind}.max.{rest}")
    if (least is None or least <= value) and (most is None or value <= most):
        return
    if least is not None and most is not None:
        raise _bad_config(f"{name} must be in the range {least} to {most} inclusive.")
    if least is not None:
        raise _bad_config(f"{name} must be greater than or equal to {least}")
    raise _bad_config(f"{name} must be less than or equal to {most}")


def _bound(config: BrokerConfig, name: str) -> int | None:
    if name not in definitions().broker:
        return None
    value = config.value_of(name)
    assert isinstance(value, int)
    return value


# ── client metrics ──────────────────────────────────────────────────────────────────────────────────────────────────


def _client_metrics(
    broker: Broker, node: Node, name: str, current: Mapping[str, str], changes: list[Change]
) -> dict[str, str]:
    if not name:
        raise _bad_request("Subscription name can't be empty")
    after = _after(current, changes)
    known = definitions().client_metrics
    for each, text in after.items():
        if each not in known:
            raise _bad_request(f"Unknown client metrics configuration: {each}")
        value = _checked(known[each], text)
        if each == "interval.ms":
            assert isinstance(value, int)
            if not _PUSH_INTERVAL_MS[0] <= value <= _PUSH_INTERVAL_MS[1]:
                raise _bad_request(
                    f"Invalid value {text} for interval.ms, interval must be between"
                    f" {_PUSH_INTERVAL_MS[0]} and {_PUSH_INTERVAL_MS[1]} (1 hour)"
                )
        elif each == "match":
            for selector in _items(text):
                _check_selector(selector)
    return after


def _check_selector(selector: str) -> None:
    """One `attribute=pattern` of a telemetry subscription. Raises KafkaError INVALID_CONFIG."""
    from ottla.coordinator.regex import compile_regex

    attribute, found, pattern = selector.partition("=")
    try:
        if not found or attribute.strip() not in _CLIENT_SELECTORS:
            raise KafkaError(ErrorCode.INVALID_CONFIG)
        compile_regex(pattern.strip())
    except KafkaError:
        raise _bad_config(f"Illegal client matching pattern: {selector}") from None


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _checked(definition: Definition, text: str) -> object:
    try:
        return definition.checked(text)
    except BadValueError as error:
        raise _bad_config(f"Invalid value {text} for configuration {definition.name}: {error}") from None


def _bad_request(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)


def _bad_config(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_CONFIG, message)


_CHECKS: Final[dict[int, Callable[[Broker, Node, str, Mapping[str, str], list[Change]], dict[str, str]]]] = {
    TOPIC_RESOURCE: _topic,
    BROKER_RESOURCE: _broker,
    GROUP_RESOURCE: _group,
    CLIENT_METRICS_RESOURCE: _client_metrics,
}
"""Resource type: what its configs will be after the changes; raises KafkaError."""
