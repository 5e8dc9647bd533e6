"""How records are shown and read in, without a broker."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest

from ottla.broker.errors import UsageError
from ottla.commands.base import CommandError
from ottla.commands.configs import no_effect
from ottla.commands.group_facts import Position
from ottla.commands.groups import by_topic
from ottla.commands.output import Output
from ottla.commands.produce import lines, split_key
from ottla.commands.record_view import RecordView, avro_decoder
from ottla.commands.tail import latest

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "int"}, {"name": "note", "type": "string"}, {"name": "raw", "type": "bytes"}],
}


def record(**fields: Any) -> Any:
    defaults = {"topic": "t", "partition": 0, "offset": 7, "timestamp": 1_795_428_000_123, "timestamp_type": 0}
    return SimpleNamespace(**defaults | {"key": None, "value": b"v", "headers": []} | fields)


def view(*, colour: bool = False, **decoders: Any) -> RecordView:
    return RecordView(Output(io.StringIO(), json=False, colour=colour), **decoders)


def after_the_time(line: str) -> str:
    return line.split("  ", 2)[2]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "v"),
        ({"key": b"k"}, "k  v"),
        ({"key": b"", "value": None}, "  null"),
        ({"key": b"k", "headers": [("a", b"1"), ("b", None), ("c\x1b", b"\xff")]}, r"k  [a=1, b=null, c\x1b=0xff]  v"),
        ({"value": b"line\nline\x1b[2J"}, r"line\nline\x1b[2J"),
        ({"value": b'{"a": 1}'}, '{"a": 1}'),
    ],
)
def test_a_record_is_one_line(fields: dict[str, Any], text: str) -> None:
    line = view().line(record(**fields))
    assert line.startswith("t:0:7  20")
    assert after_the_time(line) == text
    assert line.isprintable()


def test_on_a_terminal_long_json_has_lines_of_its_own() -> None:
    short = view(colour=True).value_text(record(value=b'{"a":1}'))
    assert short == '{\x1b[34m"a"\x1b[0m: \x1b[33m1\x1b[0m}'
    value = {"name": "x" * 100, "list": [1, 2]}
    long = view(colour=True).value_text(record(value=json.dumps(value).encode()))
    assert long.startswith("\n{\n  ")
    for not_an_object in (b"5", b'"text"', b"{broken", b"[" * 100_000):
        assert "\x1b" not in view(colour=True).value_text(record(value=not_an_object))


def test_a_record_for_scripts_always_has_the_same_keys() -> None:
    full = view().json_object(record(key=b"\xff", headers=[("h", b"x"), ("h", None)], value=b'{"a":1}'))
    assert full == {
        "topic": "t",
        "partition": 0,
        "offset": 7,
        "timestamp": 1_795_428_000_123,
        "timestamp_type": "create",
        "key": {"base64": "/w=="},
        "headers": [{"key": "h", "value": "x"}, {"key": "h", "value": None}],
        "value": '{"a":1}',
    }
    assert full.keys() == view().json_object(record(value=None)).keys()


def encoded(value: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(SCHEMA), value)
    return stream.getvalue()


@pytest.fixture
def schema(tmp_path: Path) -> str:
    """The path of a schema file."""
    path = tmp_path / "order.avsc"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


@pytest.mark.parametrize("number", [0, 1, 150])
@pytest.mark.parametrize("header", [b"", b"\x00\x00\x00\x00\x07"])
def test_avro_with_and_without_the_header_of_a_registry(schema: str, number: int, header: bytes) -> None:
    value = {"id": number, "note": "n", "raw": b"\xff"}
    data = header + encoded(value)
    decode = avro_decoder(schema, "--avro")
    assert decode(data) == value
    shown = view(value=decode)
    assert after_the_time(shown.line(record(value=data))).startswith(f'{{"id": {number}, "note": "n", "raw": {{"base')
    assert shown.json_object(record(value=data))["value"] == value


@pytest.mark.parametrize("data", [b"", b"junk", b"\x00\x00\x00\x00\x07", b"\xff" * 50])
def test_what_is_no_avro_is_shown_as_it_is(schema: str, data: bytes) -> None:
    shown = view(value=avro_decoder(schema, "--avro"))
    assert after_the_time(shown.line(record(value=data))).endswith("(not Avro by this schema)")
    assert shown.line(record(value=data)).isprintable()


def test_schemas_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--avro no/such: No such file"):
        avro_decoder("no/such", "--avro")
    for text in ("{", '{"type": "recrd"}', "[]x"):
        path = tmp_path / "schema"
        path.write_text(text)
        with pytest.raises(UsageError, match="it is no Avro schema"):
            avro_decoder(str(path), "--avro")


def test_the_last_records_keep_the_order_of_each_partition() -> None:
    records = [
        record(partition=0, offset=0, timestamp=100),
        record(partition=0, offset=1, timestamp=50),  # the producer's clock went back
        record(partition=1, offset=0, timestamp=90),
        record(partition=1, offset=1, timestamp=110),
    ]
    order = [(found.partition, found.offset) for found in latest(records, 10)]
    assert order == [(1, 0), (0, 0), (0, 1), (1, 1)]
    assert [(found.partition, found.offset) for found in latest(records, 2)] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("committed", "start", "end", "lag"),
    [(5, 0, 8, 3), (8, 0, 8, 0), (None, 0, 8, None), (5, 0, None, None), (2, 6, 8, 2), (9, 0, 8, 0), (5, None, 8, 3)],
)
def test_lag(committed: int | None, start: int | None, end: int | None, lag: int | None) -> None:
    assert Position("t", 0, committed, start, end).lag == lag


def test_partitions_by_topic() -> None:
    assert by_topic([("b", 1), ("a", 2), ("b", 0)]) == {"a": [2], "b": [0, 1]}


def test_lines_that_become_records() -> None:
    assert list(lines(io.BytesIO(b"a\nb\r\n\n\xff\nlast"))) == [b"a", b"b", b"", b"\xff", b"last"]
    assert split_key(b"k:v:w", b":", 1) == (b"k", b"v:w")
    with pytest.raises(CommandError, match="line 3 has no => in it"):
        split_key(b"k:v", b"=>", 3)


@pytest.mark.parametrize(
    ("documentation", "reason"),
    [
        (None, None),
        ("How long to keep a log.", None),
        ("No effect in Ottla: nothing is replicated. The number of threads.", "nothing is replicated"),
        ("No effect in Ottla: one sentence", "one sentence"),
        ("No effect in Ottla:", "it is only stored"),
    ],
)
def test_settings_without_effect(documentation: str | None, reason: str | None) -> None:
    assert no_effect(documentation) == reason
