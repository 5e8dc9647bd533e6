"""Messages as JSON values and back, without loss: fields have Kafka's own names, in camelCase as its JsonConverters do.

A field that a version lacks is left out, and so is a tagged one at its default. Bytes are base64, a uuid is Kafka's 22
characters, and a number that JSON lacks is its name ("NaN"). Nothing here reads or writes JSON text, or hides secrets.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, TypeAlias, TypeVar

from ottla.wire.compiler import ResolvedField, Type, fields_of
from ottla.wire.schema import Message, Struct, StructMeta

M = TypeVar("M", bound=Message)
ToJson: TypeAlias = Callable[[Any], Any]
FromJson: TypeAlias = Callable[[Any], Any]

_NUMBERS: Final = {"b": int, "h": int, "H": int, "i": int, "I": int, "q": int, "d": float, "?": bool}


class _Step:
    """One field of a struct at one version."""

    __slots__ = ("attribute", "default", "from_json", "is_tagged", "name", "nullable", "to_json")

    def __init__(self, field: ResolvedField, version: int, records: ToJson) -> None:
        self.attribute = field.name
        self.name = camel(field.name)
        self.nullable = version in field.nullable
        self.is_tagged = version in field.tagged
        self.default: Any = None  # of a tagged one, set by whoever knows the struct
        self.to_json, self.from_json = _converters(field.type, version, records)


_plans: dict[tuple[StructMeta, int, ToJson], tuple[_Step, ...]] = {}


def to_json(message: Message, version: int, records: ToJson | None = None) -> dict[str, Any]:
    """`message` as it is at `version`. `records` says how stored record batches (bytes, or a slice of a file) become
    JSON; without it they are base64, and only then `from_json` takes it back.
    """
    return _struct_to_json(message, version, records or encode_records)


def from_json(cls: type[M], value: Any, version: int) -> M:
    """The message that `to_json` was given; a field that is left out has its default. Raises ValueError, which names
    the field, for what is no such message.
    """
    made: M = _struct_from_json(cls, value, version)
    return made


def camel(name: str) -> str:
    """`error_code` -> `errorCode`."""
    first, *others = name.split("_")
    return first + "".join([word[:1].upper() + word[1:] for word in others])


def encode_records(records: Any) -> str:
    """Record batches, in memory or a slice of a file, as base64."""
    read = getattr(records, "read", None)
    return encode_bytes(records if read is None else read())


def encode_bytes(data: Any) -> str:
    """Bytes as base64."""
    return b64encode(data).decode()


def decode_bytes(text: Any) -> bytes:
    """Bytes of base64. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no base64")
    try:
        return b64decode(text, validate=True)
    except Base64Error:
        raise ValueError(f"{text[:40]!r} is no base64") from None


def encode_uuid(data: bytes) -> str:
    """A uuid as Kafka writes it: base64 of the URL kind, without its padding."""
    return urlsafe_b64encode(data)[:22].decode()


def decode_uuid(text: Any) -> bytes:
    """The 16 bytes of a uuid. Raises ValueError."""
    try:
        data = urlsafe_b64decode(text + "==")
    except (TypeError, ValueError):
        data = b""
    if len(data) != 16:
        raise ValueError(f"{text!r} is no uuid")
    return data


def _plan(cls: StructMeta, version: int, records: ToJson) -> tuple[_Step, ...]:
    known = _plans.get((cls, version, records))
    if known is None:
        known = tuple(_Step(field, version, records) for field in fields_of(cls) if version in field.versions)
        plain = cls()
        for step in known:
            step.default = getattr(plain, step.attribute)
        _plans[cls, version, records] = known
    return known


def _struct_to_json(struct: Struct, version: int, records: ToJson) -> dict[str, Any]:
    out = {}
    for step in _plan(type(struct), version, records):
        value = getattr(struct, step.attribute)
        if step.is_tagged and value == step.default:
            continue
        out[step.name] = None if value is None else step.to_json(value)
    return out


def _struct_from_json(cls: StructMeta, value: Any, version: int) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{cls.__name__} must be a JSON object, not {value!r:.80}")
    left = dict(value)
    values = {}
    for step in _plan(cls, version, encode_records):
        if step.name not in left:
            continue
        item = left.pop(step.name)
        if item is None and not step.nullable:
            raise ValueError(f"{cls.__name__}.{step.name} must not be null in v{version}")
        try:
            values[step.attribute] = None if item is None else step.from_json(item)
        except ValueError as error:
            raise ValueError(f"{cls.__name__}.{step.name}: {error}") from None
    if left:
        raise ValueError(f"{cls.__name__} v{version} has no field {next(iter(left))!r}")
    return cls(**values)


def _converters(type_: Type, version: int, records: ToJson) -> tuple[ToJson, FromJson]:
    kind = type_.kind
    if kind == "array":
        assert type_.element is not None
        one_to, one_from = _converters(type_.element, version, records)

        def list_from_json(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise ValueError(f"{value!r:.80} is no list")
            return [one_from(item) for item in value]

        return lambda value: [one_to(item) for item in value], list_from_json
    if kind == "struct":
        cls = type_.cls
        assert cls is not None
        return (
            lambda value: _struct_to_json(value, version, records),
            lambda value: _struct_from_json(cls, value, version),
        )
    if kind == "records":
        return records, decode_bytes
    if kind == "bytes":
        return encode_bytes, decode_bytes
    if kind == "str":
        return _same, _text_from_json
    if type_.format == "16s":
        return encode_uuid, decode_uuid
    if type_.format == "d":
        return lambda value: value if isfinite(value) else str(value), _float_from_json
    wanted = _NUMBERS[type_.format]
    # An enum's member is the number it stands for.
    return (bool if wanted is bool else int), lambda value: _number_from_json(value, wanted)


def _same(value: Any) -> Any:
    return value


def _text_from_json(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text")
    return value


def _float_from_json(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r:.80} is no number")
    return float(value)


def _number_from_json(value: Any, wanted: type) -> Any:
    if type(value) is not wanted:
        raise ValueError(f"{value!r:.80} is no {'truth value' if wanted is bool else 'number'}")
    return value
