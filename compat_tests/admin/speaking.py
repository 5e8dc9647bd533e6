"""How a Python client's story is told: calls by name, answers as JSON on standard output, as the drivers do it."""

import dataclasses
import json
import sys
import time
from concurrent.futures import Future
from enum import Enum
from typing import Any
from uuid import UUID

_DEADLINE_S = 90.0  # more than a client waits on its own


class Speaker:
    """Calls the methods of one admin client and says what they answer."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def tell(self, step: str, method: str, *arguments: Any, **options: Any) -> Any:
        """One step. Returns what the method did, or None if it raised."""
        answer = None
        try:
            answer = getattr(self.admin, method)(*arguments, **options)
            said = facts(answer)
        except Exception as refused:
            said = facts(refused)
        self._emit("step", [step, [method], said])
        return answer

    def end(self) -> None:
        """Says which public methods there are."""
        names = (name for name in dir(type(self.admin)) if not name.startswith("_"))
        self._emit("methods", sorted(name for name in names if callable(getattr(self.admin, name))))

    def _emit(self, kind: str, value: Any) -> None:
        json.dump([time.monotonic(), kind, value], sys.stdout)
        sys.stdout.write("\n")
        sys.stdout.flush()


def bootstrap() -> str:
    """The address on the command line."""
    return sys.argv[sys.argv.index("--bootstrap") + 1]


def facts(value: Any) -> Any:
    """Whatever a client answers: public attributes, futures awaited, sets in order, errors by name and words."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Future):
        try:
            return facts(value.result(_DEADLINE_S))
        except Exception as refused:
            return facts(refused)
    if isinstance(value, BaseException):
        return _error(value)
    if isinstance(value, type):  # kafka-python answers with classes of errors
        return value.__name__
    if isinstance(value, dict):
        return {_name(key): facts(one) for key, one in sorted(value.items(), key=lambda item: _name(item[0]))}
    if hasattr(value, "_asdict"):
        return facts(value._asdict())
    if isinstance(value, (list, tuple)):
        return [facts(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted((facts(one) for one in value), key=json.dumps)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return _attributes(value)


def _attributes(value: Any) -> Any:
    if dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        public = {name: one for name, one in vars(value).items() if not name.startswith("_")}
    else:
        public = {
            name: getattr(value, name)
            for name in dir(value)
            if not name.startswith("_") and not callable(getattr(value, name))
        }
    if {"name", "value", "source", "is_default"} <= public.keys():  # a config, in one line: a topic has thirty
        return f"{public['name']}={public['value']} {facts(public['source'])}"
    return facts(public) if public else str(value)


def _error(refused: BaseException) -> dict[str, Any]:
    inner = refused.args[0] if refused.args else None
    if type(inner).__name__ == "KafkaError":  # confluent-kafka's, which carries a code
        return {"error": inner.name(), "message": inner.str()}
    return {"error": type(refused).__name__, "message": str(refused)}


def _name(key: Any) -> str:
    if isinstance(key, Enum):
        return key.name
    if hasattr(key, "topic") and hasattr(key, "partition"):
        return f"{key.topic}-{key.partition}"
    if hasattr(key, "restype"):
        return f"{key.restype.name} {key.name}"
    return str(key)
