"""How a record is shown: as a line of text, as JSON, its key and value decoded as Avro if there is a schema."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from typing import Any, Final

from ottla.broker.errors import UsageError
from ottla.broker.logs import one_line
from ottla.commands.base import Parser
from ottla.commands.output import Output, coloured_json, json_bytes, readable
from ottla.commands.places import time_text

Decoder = Callable[[bytes], object]  # raises ValueError for what it cannot decode

_INLINE_CHARS: Final = 80  # JSON that is longer gets lines of its own on a terminal
_TIMESTAMP_TYPES: Final = {0: "create", 1: "append"}
_REGISTRY_HEADER_BYTES: Final = 5  # 0, then the number of a schema: what Confluent's serializers write in front


def add_flags(parser: Parser) -> None:
    """The flags that say how records are shown and which."""
    parser.add_argument("--avro", metavar="FILE", help="decode values by the Avro schema in FILE")
    parser.add_argument("--key-avro", metavar="FILE", help="decode keys by the Avro schema in FILE")
    parser.add_argument(
        "--committed", action="store_true", help="only records of transactions that are committed, and of none"
    )


class RecordView:
    """Shows records on `out`; `key` and `value` decode what is there."""

    def __init__(self, out: Output, key: Decoder | None = None, value: Decoder | None = None) -> None:
        self._out = out
        self._key = key
        self._value = value

    @classmethod
    def of(cls, flags: argparse.Namespace, out: Output) -> RecordView:
        """As the flags of `add_flags` say. Raises UsageError."""
        return cls(
            out,
            avro_decoder(flags.key_avro, "--key-avro") if flags.key_avro else None,
            avro_decoder(flags.avro, "--avro") if flags.avro else None,
        )

    def json_object(self, record: Any) -> dict[str, object]:
        """A record for scripts; the keys are always the same."""
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "timestamp_type": _TIMESTAMP_TYPES.get(record.timestamp_type),
            "key": _for_json(record.key, self._key),
            "headers": [{"key": key, "value": json_bytes(value)} for key, value in record.headers],
            "value": _for_json(record.value, self._value),
        }

    def line(self, record: Any) -> str:
        """A record for people: where, when, key, headers, value; JSON that is long has lines of its own."""
        out = self._out
        parts = [
            out.paint(one_line(f"{record.topic}:{record.partition}:{record.offset}"), "cyan"),
            out.paint(time_text(record.timestamp), "dim"),
        ]
        if record.key is not None:
            parts.append(out.paint(self.key_text(record), "bold"))
        if record.headers:
            headers = ", ".join(f"{one_line(key)}={readable(value)}" for key, value in record.headers)
            parts.append(out.paint(f"[{headers}]", "yellow"))
        return "  ".join([*parts, self.value_text(record)])

    def key_text(self, record: Any) -> str:
        """The key alone."""
        return _shown(record.key, self._key)

    def value_text(self, record: Any) -> str:
        """The value alone; on a terminal JSON is laid out and coloured."""
        out = self._out
        if record.value is None:
            return out.paint("null", "dim")
        if not out.colour:
            return _shown(record.value, self._value)
        value = _decoded(record.value, self._value)
        if not isinstance(value, dict | list):
            return _shown(record.value, self._value)
        if len(json.dumps(value, ensure_ascii=False, default=str)) <= _INLINE_CHARS:
            return coloured_json(value, out)
        return "\n" + coloured_json(value, out, indent=2)


def _decoded(data: bytes, decoder: Decoder | None) -> object:
    """What the bytes stand for; None if they cannot be decoded."""
    try:
        return decoder(data) if decoder is not None else json.loads(data)
    except (ValueError, RecursionError):
        return None


def _for_json(data: bytes | None, decoder: Decoder | None) -> object:
    if data is None or decoder is None:
        return json_bytes(data)
    try:
        return decoder(data)
    except ValueError:
        return json_bytes(data)


def _shown(data: bytes | None, decoder: Decoder | None) -> str:
    if data is None or decoder is None:
        return readable(data)
    try:
        from ottla.commands.output import json_text

        return json_text(decoder(data))
    except ValueError as error:
        return f"{readable(data)} ({one_line(str(error))})"


def avro_decoder(path: str, flag: str) -> Decoder:
    """Decodes by the schema in the file. Raises UsageError if there is none, or if fastavro is not installed."""
    try:
        import fastavro
    except ImportError:
        raise UsageError(f"{flag} needs the package fastavro; install it with: pip install 'ottla[avro]'") from None
    try:
        with open(path, encoding="utf-8") as file:
            schema = fastavro.parse_schema(json.load(file))
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror or error}; give the file of an Avro schema") from None
    except Exception as error:  # whatever fastavro thinks of what it was given
        raise UsageError(f"{flag} {path}: it is no Avro schema ({type(error).__name__}: {error})") from None

    def read(data: bytes) -> object:
        stream = io.BytesIO(data)
        value = fastavro.schemaless_reader(stream, schema, None)
        if stream.tell() != len(data):
            raise ValueError("more bytes than the schema tells of")
        return value

    def decode(data: bytes) -> object:
        framed = len(data) >= _REGISTRY_HEADER_BYTES and data[0] == 0
        for start in (_REGISTRY_HEADER_BYTES, 0) if framed else (0,):
            try:
                return read(data[start:])
            except Exception:  # wrong bytes make fastavro raise whatever they lead to
                continue
        raise ValueError("not Avro by this schema")

    return decode
