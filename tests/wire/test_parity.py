"""Two independent codecs must agree with ours on random messages: kio and kafka-python, at every version they share.

Bytes that we write are read by them and written again unchanged, and we read what they wrote as the message it was.
"""

import importlib
import io
import pkgutil
import random
import sys
import warnings

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from kio.index import UnknownAPIKey, UnknownEntity, load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer

from ottla.wire.apis import API, ApiKey
from ottla.wire.compiler import fields_of
from ottla.wire.errors import ErrorCode

LIMITS = {"b": 7, "h": 15, "H": 16, "i": 31, "I": 32, "q": 63}
EPOCH_MS = 1_700_000_000_000


def random_message(rng, cls, version, flexible, depth=0):
    """A message or struct whose fields of this version have random values, often small, empty, extreme or null ones."""
    values = {}
    for field in fields_of(cls):
        is_tagged = flexible and version in field.tagged
        if not (is_tagged or version in field.versions) or rng.random() < 0.1:
            continue
        if version in field.nullable and rng.random() < 0.2:
            values[field.name] = None
        else:
            values[field.name] = random_value(rng, field.name, field.type, version, flexible, depth)
    return cls(**values)


def random_value(rng, name, type_, version, flexible, depth):
    if type_.kind == "array":
        count = rng.choice([0, 1, 2, 3, 130] if depth == 0 and type_.element.kind != "struct" else [0, 1, 2])
        return [random_value(rng, name, type_.element, version, flexible, depth + 1) for _ in range(count)]
    if type_.kind == "struct":
        return random_message(rng, type_.cls, version, flexible, depth + 1)
    if type_.kind == "str":
        return "".join(rng.choices("ab-.é水😀", k=rng.choice([0, 1, 5, 40])))
    if type_.kind in ("bytes", "records"):
        return rng.randbytes(rng.choice([0, 1, 100, 200]))
    if type_.format == "16s":
        return rng.randbytes(16)
    if type_.format == "?":
        return rng.random() < 0.5
    if type_.format == "d":
        return rng.choice([0.0, -1.5, 1e300])
    return random_integer(rng, name, type_.format)


def random_integer(rng, name, format_):
    # kio reads codes, times and durations as Python's own types, which hold less than the wire does.
    if "error_code" in name:
        return rng.choice(list(ErrorCode)[:90])
    if format_ == "q" and ("time" in name or name.endswith("_ms")):
        return EPOCH_MS + rng.randrange(10**9)
    high = 1 << LIMITS[format_]
    low = 0 if format_ in "HI" else -high
    return rng.choice([0, 1, -1 if low else 1, low, high - 1, rng.randrange(low, high)])


def cases():
    for spec in API.values():
        for cls in (spec.request, spec.response):
            for version in range(cls.VALID[0], cls.VALID[1] + 1):
                yield cls, version, cls.FLEXIBLE is not None and version >= cls.FLEXIBLE


CASES = list(cases())


def kafka_python_classes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how they read their resources
        base = importlib.import_module("kafka.protocol.api_message").ApiMessage
        for found in pkgutil.walk_packages(sys.modules["kafka.protocol"].__path__, "kafka.protocol."):
            if ".old" in found.name or "generate_stubs" in found.name:
                continue
            for name, cls in vars(importlib.import_module(found.name)).items():
                if isinstance(cls, type) and issubclass(cls, base) and cls is not base:
                    yield name, cls


KAFKA_PYTHON = dict(kafka_python_classes())


def kio_codec(cls, version):
    """Bytes -> kio's entity -> bytes; None where kio has no such message or version."""
    load = load_request_schema if cls.NAME.endswith("Request") else load_response_schema
    try:
        theirs = load(cls.KEY, version)
    except (UnknownAPIKey, UnknownEntity):
        return None
    read, write = entity_reader(theirs), entity_writer(theirs)

    def through(body):
        entity, size = read(body, 0)
        assert size == len(body)
        out = io.BytesIO()
        write(out, entity)
        return out.getvalue()

    return through


def kafka_python_codec(cls, version):
    """Bytes -> kafka-python's message -> bytes; None where it has no such message or version."""
    theirs = KAFKA_PYTHON.get(cls.NAME)
    if theirs is None or version > theirs.max_version:
        return None

    def through(body):
        message = theirs.decode(body, version=version)
        message._header = None  # their decoder leaves it unset, their encoder reads it
        return bytes(message.encode(version=version))

    return through


@pytest.mark.parametrize(("codec", "at_least"), [(kio_codec, 550), (kafka_python_codec, 470)])
def test_they_agree(codec, at_least):
    shared = [(case, through) for case in CASES if (through := codec(case[0], case[1])) is not None]
    assert len(shared) >= at_least

    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    def agree(seed):
        for (cls, version, flexible), through in shared:
            message = random_message(random.Random(seed), cls, version, flexible)
            if cls is API[ApiKey.API_VERSIONS].response:
                message.error_code = 0  # with any other, kafka-python reads version 0 (KIP-511)
            body = message.encode(version)
            assert cls.decode(body, version) == message
            assert through(body) == body, (version, message)

    agree()
