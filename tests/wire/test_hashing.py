"""Hashes, checksums and varints against what Kafka's own classes computed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.wire.errors import ProtocolError
from ottla.wire.hashing import crc32c, java_string_hash, murmur2, partition_for_group, partition_for_key
from ottla.wire.varint import decode_unsigned, decode_zigzag, encode_unsigned, encode_zigzag

GOLDEN = json.loads((Path(__file__).parent / "data" / "hashes.json").read_text("utf-8"))


@pytest.mark.parametrize("case", GOLDEN["murmur2"], ids=lambda case: case["key_hex"])
def test_murmur2(case):
    key = bytes.fromhex(case["key_hex"])
    assert murmur2(key) == case["hash"]
    assert murmur2(memoryview(key)) == case["hash"]
    assert murmur2(key) & 0x7FFFFFFF == case["positive"]
    assert partition_for_key(key, 3) == case["partition_of_3"]
    assert partition_for_key(key, 12) == case["partition_of_12"]


@pytest.mark.parametrize("case", GOLDEN["coordinator_partition"], ids=lambda case: case["id"])
def test_coordinator_partition(case):
    assert java_string_hash(case["id"]) == case["java_hash"]
    assert partition_for_group(case["id"], 50) == case["partition_of_50"]
    assert partition_for_group(case["id"], 5) == case["partition_of_5"]


def test_java_hash_counts_utf16_units():
    assert java_string_hash("\U0001f600") == 31 * 0xD83D + 0xDE00


def test_group_whose_hash_is_the_smallest_int_has_partition_0():
    assert java_string_hash("polygenelubricants") == -0x80000000
    assert partition_for_group("polygenelubricants", 50) == 0


def test_crc32c():
    for case in GOLDEN["crc32c"]:
        data = case["text"].encode()
        assert crc32c(data, 0) == case["crc"]
        assert crc32c(memoryview(bytearray(data)), 0) == case["crc"]


def test_crc32c_is_the_same_with_and_without_its_package():
    program = (
        "import {}; from ottla.wire.hashing import crc32c; print(crc32c(b'123456789', 0), 'argparse' in sys.modules)"
    )
    for modules, imported in (("sys", "False"), ("sys, crc32c", "True")):
        out = subprocess.run(
            [sys.executable, "-c", program.format(modules)], capture_output=True, text=True, check=True
        )
        assert out.stdout.split() == ["3808858755", imported]


def test_varints():
    for value, text in GOLDEN["unsigned_varint"]:
        assert encode_unsigned(value).hex() == text
        assert decode_unsigned(bytes.fromhex(text), 0) == (value, len(text) // 2)
    for value, text in GOLDEN["zigzag_varint"]:
        assert encode_zigzag(value).hex() == text
        assert decode_zigzag(bytes.fromhex(text), 0) == (value, len(text) // 2)
    for value, text in GOLDEN["zigzag_varlong"]:
        assert encode_zigzag(value).hex() == text
        assert decode_zigzag(bytes.fromhex(text), 0, 64) == (value, len(text) // 2)


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=3))
def test_varlong_round_trip(value, before):
    encoded = encode_zigzag(value)
    assert decode_zigzag(before + encoded, len(before), 64) == (value, len(before) + len(encoded))
    for size in range(len(encoded)):
        with pytest.raises(ProtocolError):
            decode_zigzag(encoded[:size], 0, 64)


@pytest.mark.parametrize("text", ["808080808000", "ffffffff1f", "8080808010"])
def test_varint_too_long_or_too_large(text):
    with pytest.raises(ProtocolError):
        decode_unsigned(bytes.fromhex(text), 0)


def test_varlong_too_long_or_too_large():
    for text in ("80" * 10 + "01", "ff" * 9 + "02"):
        with pytest.raises(ProtocolError):
            decode_unsigned(bytes.fromhex(text), 0, 64)


def test_varint_may_be_longer_than_needed():
    assert decode_unsigned(b"\x81\x00", 0) == (1, 2)
