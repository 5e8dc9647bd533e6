"""Every message and record that Kafka's own classes wrote: decoded to its value, built from its value, cut, damaged.

The golden files hold each schema at each version in up to three variants: `min` (defaults), `full` (every field set)
and `nulls` (every nullable field null).
"""

import gzip
import json
import random
import re
import tracemalloc
import uuid
from itertools import groupby
from pathlib import Path

import pytest

from ottla.wire.apis import API
from ottla.wire.compiler import fields_of
from ottla.wire.errors import ProtocolError
from ottla.wire.frame import (
    decode_request_header,
    decode_response_header,
    encode_request_header,
    encode_response_header,
)
from ottla.wire.state import cluster_metadata, consumer_offsets, embedded, share_state, transaction_state
from ottla.wire.state.metadata_frame import decode_metadata_record, encode_metadata_record
from ottla.wire.state_records import CONSUMER_OFFSETS, SHARE_STATE, TRANSACTION_STATE, encode_key, encode_versioned

DATA = Path(__file__).parent / "data"
MODULES = (consumer_offsets, transaction_state, share_state, cluster_metadata, embedded)


def lines_of(name):
    return [json.loads(line) for line in gzip.decompress((DATA / name).read_bytes()).decode().splitlines()]


MESSAGES = lines_of("golden_messages.jsonl.gz")
RECORDS = lines_of("golden_records.jsonl.gz")
BY_API = {
    f"{api}-{direction}": list(group)
    for (api, direction), group in groupby(
        sorted(MESSAGES, key=lambda line: (line["api"], line["direction"])),
        key=lambda line: (line["api"], line["direction"]),
    )
}


def class_of(line):
    if "schema" in line:
        return next(vars(module)[line["schema"]] for module in MODULES if line["schema"] in vars(module))
    spec = API[line["key"]]
    return spec.request if line["direction"] == "request" else spec.response


def snake(name):
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", text).lower()


def build(cls, value):
    """The message or struct that a golden value describes."""
    fields = {field.name: field for field in fields_of(cls)}
    return cls(**{snake(name): convert(fields[snake(name)].type, item) for name, item in value.items()})


def convert(type_, value):
    if value is None:
        return None
    if type_.kind == "array":
        return [convert(type_.element, item) for item in value]
    if type_.kind == "struct":
        return build(type_.cls, value)
    if type_.kind in ("bytes", "records"):
        return bytes.fromhex(value["hex"])
    if type_.format == "16s":
        return uuid.UUID(value).bytes
    return value


def test_the_golden_files_are_whole():
    assert len(MESSAGES) == 1428
    assert len(RECORDS) == 267
    assert {line["key"] for line in MESSAGES} == set(API)


@pytest.mark.parametrize("lines", BY_API.values(), ids=BY_API.keys())
def test_messages(lines):
    for line in lines:
        cls, version, body = class_of(line), line["version"], bytes.fromhex(line["body"])
        message = build(cls, line["value"])
        assert message.encode(version) == body, line
        assert cls.decode(body, version) == message, line
        assert cls.decode(memoryview(b"head" + body + b"tail"), version, 4) == message, line


@pytest.mark.parametrize("line", RECORDS, ids=lambda line: f"{line['schema']}-v{line['version']}-{line['variant']}")
def test_records(line):
    cls, version, body = class_of(line), line["version"], bytes.fromhex(line["body"])
    record = build(cls, line["value"])
    assert record.encode(version) == body
    assert cls.decode(body, version) == record


def test_headers():
    for line in MESSAGES:
        key, version, header = line["key"], line["version"], bytes.fromhex(line["header"])
        if line["direction"] == "request":
            assert encode_request_header(key, version, 1234567, "golden") == header
            read = decode_request_header(b"size" + header + b"body", 4)
            assert (read.api_key, read.api_version, read.correlation_id) == (key, version, 1234567)
            assert (read.client_id, read.body_offset) == ("golden", 4 + len(header))
        else:
            assert encode_response_header(key, version, 1234567) == header
            assert decode_response_header(b"size" + header + b"body", key, version, 4) == (1234567, 4 + len(header))


FAMILIES = {
    "__consumer_offsets": CONSUMER_OFFSETS,
    "__transaction_state": TRANSACTION_STATE,
    "__share_group_state": SHARE_STATE,
}


def test_coordinator_records_in_their_frames():
    keys = {
        (line["stored_in"], line["record_type_id"]): build(class_of(line), line["value"])
        for line in RECORDS
        if line["stored_in"] in FAMILIES and line["schema"].endswith("Key") and line["variant"] == "full"
    }
    values = [line for line in RECORDS if line["stored_in"] in FAMILIES and line["schema"].endswith("Value")]
    assert len(values) > 60
    for line in values:
        record_type, version = line["record_type_id"], line["version"]
        key, value = keys[line["stored_in"], record_type], build(class_of(line), line["value"])
        raw_key, raw_value = encode_key(key), encode_versioned(value, version)
        assert raw_key[:2] == record_type.to_bytes(2, "big")
        assert raw_value == version.to_bytes(2, "big") + bytes.fromhex(line["body"])
        assert FAMILIES[line["stored_in"]].decode(raw_key, raw_value) == (key, value)
        assert FAMILIES[line["stored_in"]].decode(raw_key, None) == (key, None)


def test_metadata_records_in_their_frame():
    lines = [line for line in RECORDS if line["stored_in"] == "__cluster_metadata"]
    assert len(lines) == 90
    for line in lines:
        record = build(class_of(line), line["value"])
        raw = encode_metadata_record(record, line["version"])
        assert raw == bytes((1, line["record_type_id"], line["version"])) + bytes.fromhex(line["body"])
        assert decode_metadata_record(raw) == record


# Damage: a value or a ProtocolError, nothing else


def attempt(cls, version, body):
    """Decode bytes that may be no message; whether they were one. A refusal must say where."""
    try:
        cls.decode(body, version)
    except ProtocolError as refusal:
        error = refusal
    else:
        return True
    assert (error.api, error.version) == (cls.NAME, version)
    assert error.offset is not None
    assert 0 <= error.offset <= len(body)
    return False


@pytest.mark.parametrize("direction", ["request", "response"])
def test_every_truncation_of_a_message(direction):
    for line in MESSAGES:
        if line["direction"] == direction:
            cls, version, body = class_of(line), line["version"], bytes.fromhex(line["body"])
            assert not any(attempt(cls, version, body[:length]) for length in range(len(body))), line


def test_every_truncation_of_a_record():
    for line in RECORDS:
        cls, version, body = class_of(line), line["version"], bytes.fromhex(line["body"])
        assert not any(attempt(cls, version, body[:length]) for length in range(len(body))), line


def mutations(seed, count):
    """(class, version, bytes): golden bodies with up to four bytes changed, inserted, removed or made extreme."""
    rng = random.Random(seed)
    for _ in range(count):
        line = rng.choice(MESSAGES)
        body = bytearray.fromhex(line["body"])
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(body) + 1)
            match rng.randrange(4):
                case 0:
                    body[at : at + 1] = rng.randbytes(1)
                case 1:
                    body[at:at] = rng.randbytes(rng.randint(1, 4))
                case 2:
                    del body[at : at + rng.randint(1, 4)]
                case _:
                    body[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"])
        yield class_of(line), line["version"], bytes(body)


def test_mutations():
    outcomes = {attempt(cls, version, body) for cls, version, body in mutations(seed=20261122, count=100_000)}
    assert outcomes == {True, False}


def test_announced_sizes_cost_nothing():
    """Lengths and counts of two thousand million all over every full body: refused without being believed."""
    for line in MESSAGES:
        class_of(line).decode(bytes.fromhex(line["body"]), line["version"])  # compiles
    tracemalloc.start()
    try:
        for line in MESSAGES:
            if line["variant"] == "full" and line["version"] == API[line["key"]].max_version:
                cls, version, body = class_of(line), line["version"], bytes.fromhex(line["body"])
                for at in range(0, len(body), 37):
                    attempt(cls, version, body[:at] + b"\xff\xff\xff\xff\x07" + body[at + 1 :])
                    attempt(cls, version, body[:at] + b"\x7f\xff\xff\xff" + body[at + 4 :])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
