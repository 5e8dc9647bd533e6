"""Kafka's config types (what a text must look like to be an INT or a LIST) and the definition of every config it knows.

The definitions come from configs.json, read at first use: a start without --set, --config and topic configs never needs
them. Not here: which settings Ottla obeys (config.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Final

Value = bool | int | float | str | list[str]

# ConfigType of DescribeConfigs v3+ (KIP-569).
UNKNOWN_TYPE: Final = 0
UNKNOWN_KIND: Final = ""  # of a setting that nobody defined
TYPE_CODES: Final = {
    "BOOLEAN": 1,
    "STRING": 2,
    "INT": 3,
    "SHORT": 4,
    "LONG": 5,
    "DOUBLE": 6,
    "LIST": 7,
    "CLASS": 8,
    "PASSWORD": 9,
}
_BITS: Final = {"SHORT": 16, "INT": 32, "LONG": 64}
# Patterns are compiled when first used: a plain start needs none of them.
_DOUBLE: Final = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_NUMBER: Final = r"-?[0-9.]*[0-9]"
_RANGE: Final = rf"\[({_NUMBER}),\.\.\.(?:,({_NUMBER}))?\](?: or ({_NUMBER}))?"
_CHOICES: Final = r"(\(case insensitive\) )?\[([A-Za-z0-9_, ]+)\]"
_THROTTLED: Final = "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
_THROTTLED_ITEM: Final = r"[0-9]+:[0-9]+"
_RESET: Final = "[latest, earliest, by_duration:PnDTnHnMn.nS]"
_PART: Final = r"[+-]?[0-9]+"
_DURATION: Final = (  # as java.time.Duration reads it
    rf"(?i)[+-]?P(?=.)(?:{_PART}D)?(?:T(?=.)(?:{_PART}H)?(?:{_PART}M)?(?:{_PART}(?:\.[0-9]{{0,9}})?S)?)?"
)
_MAX_DIGITS: Final = 24  # more than any number here has; int() of a long text takes long

# Ottla's own settings, in the form of configs.json.
_OWN_BROKER: Final[dict[str, dict[str, Any]]] = {
    "ottla.record.validation": {
        "type": "STRING",
        "default": "full",
        "valid": "[full, header]",
        "doc": "full walks the records of each batch as Kafka does; header trusts CRC, length, count and last delta",
    },
}

# What one node for development needs differently from Kafka's own defaults.
OTTLA_DEFAULTS: Final = {
    "controller.listener.names": "CONTROLLER",  # Kafka has none
    "group.consumer.assignment.interval.ms": "0",  # nor should a group of two wait for its second member's part
    "group.initial.rebalance.delay.ms": "0",  # a group of one should not wait three seconds
    "listeners": "PLAINTEXT://localhost:9092",  # 127.0.0.1 and ::1, where Kafka listens on every interface
    "log.dir": "./ottla-data",
    "node.id": "1",  # Kafka has none
    "offsets.topic.replication.factor": "1",
    "process.roles": "broker,controller",  # Kafka has none
    "queued.max.request.bytes": "268435456",  # Kafka has no bound; 256 MiB of half-come requests are enough
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "socket.receive.buffer.bytes": "-1",  # the system's own, which grows with the connection's speed
    "socket.send.buffer.bytes": "-1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
}


class BadValueError(ValueError):
    """A value that its config does not allow; the text says why, without naming the config."""


class Definition:
    """One config as Kafka defines it, with Ottla's default where that differs. `default` None: unset."""

    __slots__ = ("default", "doc", "dynamic", "hidden", "kind", "name", "per_broker", "valid")

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name = name
        self.kind: str = data["type"]
        self.default: str | None = data.get("default")
        self.valid: str = data.get("valid", "")
        self.dynamic: bool = data.get("dynamic", False)  # may change while the broker runs
        self.per_broker: bool = data.get("per_broker", False)  # …but not for all brokers at once
        self.hidden: bool = data.get("hidden", False) or data.get("internal", False)  # from DescribeConfigs
        self.doc: str | None = data.get("doc")

    @property
    def sensitive(self) -> bool:
        return self.kind in ("PASSWORD", UNKNOWN_KIND)

    def parsed(self, text: str) -> Value:
        """`text` as a value of this config's type. Raises BadValueError."""
        return parse(self.kind, text)

    def checked(self, text: str) -> Value:
        """`text` as a value that this config allows. Raises BadValueError."""
        value = parse(self.kind, text)
        check(value, self.valid)
        return value


class Definitions:
    """All configs that Kafka 4.4 and Ottla know, by name."""

    __slots__ = ("broker", "client_metrics", "group", "topic")

    def __init__(
        self,
        *,
        broker: dict[str, Definition],
        topic: dict[str, Definition],
        group: dict[str, Definition],
        client_metrics: dict[str, Definition],
    ) -> None:
        self.broker = broker
        self.topic = topic
        self.group = group
        self.client_metrics = client_metrics


_loaded: Definitions | None = None


def definitions() -> Definitions:
    """Every config's definition, read from configs.json at the first call."""
    global _loaded
    if _loaded is None:
        import json

        with open(os.path.join(os.path.dirname(__file__), "configs.json"), encoding="utf-8") as file:
            data = json.load(file)
        data["broker"] |= _OWN_BROKER
        scopes = {
            scope: {name: Definition(name, entry) for name, entry in entries.items()} for scope, entries in data.items()
        }
        for name, default in OTTLA_DEFAULTS.items():
            scopes["broker"][name].default = default
        _loaded = Definitions(**scopes)
    return _loaded


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be."""
    import difflib  # 12 ms that only a mistake costs

    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return found[0] if found else None


def parse(kind: str, text: str) -> Value:
    """`text` as a value of Kafka's type `kind`, trimmed as Kafka does. Raises BadValueError."""
    text = text.strip()
    if kind in _BITS:
        bound = 1 << (_BITS[kind] - 1)
        digits = text[1:] if text[:1] in ("+", "-") else text
        if digits.isascii() and digits.isdecimal() and len(text) <= _MAX_DIGITS and -bound <= int(text) < bound:
            return int(text)
        raise BadValueError(f"Not a number of type {kind}")
    if kind == "BOOLEAN":
        if text.lower() not in ("true", "false"):
            raise BadValueError("Expected value to be either true or false")
        return text.lower() == "true"
    if kind == "DOUBLE":
        if not re.fullmatch(_DOUBLE, text):
            raise BadValueError("Not a number of type DOUBLE")
        return float(text)
    if kind == "LIST":
        # Kafka keeps one of equal items.
        return list(dict.fromkeys(item.strip() for item in text.split(","))) if text else []
    return text


def check(value: Value, valid: str) -> None:
    """Check `value` against Kafka's description of what a config allows ("" for anything). Raises BadValueError."""
    if not valid or valid == "non-null string":
        return
    if found := re.fullmatch(_RANGE, valid):
        low, high, extra = found.groups()
        assert isinstance(value, int | float)
        if extra is not None and value == float(extra):
            return
        if value < float(low):
            raise BadValueError(f"Value must be at least {low}")
        if high is not None and value > float(high):
            raise BadValueError(f"Value must be no more than {high}")
    elif valid in ("non-empty string", "non-empty list"):
        if not value:
            raise BadValueError("Value must not be empty")
    elif valid == _THROTTLED:
        assert isinstance(value, list)
        if value != ["*"] and not all(re.fullmatch(_THROTTLED_ITEM, item) for item in value):
            raise BadValueError(f"Value must be the literal '*' or a list {_THROTTLED}")
    elif valid == _RESET:
        assert isinstance(value, str)
        kind, by_duration, duration = value.partition("by_duration:")
        if not (re.fullmatch(_DURATION, duration) if by_duration and not kind else value in ("latest", "earliest")):
            raise BadValueError("Value must be earliest, latest or of the format by_duration:<PnDTnHnMn.nS>")
    elif found := re.fullmatch(_CHOICES, valid):
        folds, choices = found[1] is not None, found[2].split(", ")
        items = value if isinstance(value, list) else [str(value)]
        if not all((item.upper() if folds else item) in choices for item in items):
            raise BadValueError(f"String must be one of: {', '.join(choices)}")
    else:
        raise AssertionError(f"configs.json describes valid values in a way unknown here: {valid}")


def to_text(value: Value | None) -> str | None:
    """A value as Kafka writes it in an answer."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, float):
        return repr(value).replace("e+", "E").replace("e", "E")  # Java's Double.toString, for the values in use
    return None if value is None else str(value)
