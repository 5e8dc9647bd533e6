"""The codecs: round trips, what other implementations write, bombs and damage."""

import gzip
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib

import cramjam
import pytest
from aiokafka import codec as aiokafka_codec
from hypothesis import given
from hypothesis import strategies as st
from kafka import codec as kafka_codec

from ottla.wire.compression import Codec, compress, decompress
from ottla.wire.errors import ErrorCode, KafkaError

CODECS = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
TEXT = b"the quick brown fox jumps over the lazy dog " * 5000
NOISE = random.Random(7).randbytes(200_000)
SNAPPY_BLOCK = b"\x05\x10hello"  # a raw block: length 5, one literal


def refused(codec, data, budget_bytes=1 << 20):
    with pytest.raises(KafkaError) as caught:
        decompress(codec, data, budget_bytes)
    return caught.value.code


def is_refused_or_fits(codec, data, budget_bytes):
    """Whether damaged data is refused; if not, it unpacks to no more than it may."""
    try:
        unpacked = decompress(codec, data, budget_bytes)
    except KafkaError as error:
        if error.code not in (ErrorCode.INVALID_RECORD, ErrorCode.MESSAGE_TOO_LARGE):
            raise
        return True
    assert len(unpacked) <= budget_bytes
    return False


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "data", [b"", b"x", TEXT, NOISE, NOISE[:70_000] + TEXT], ids=["empty", "one", "text", "noise", "mixed"]
)
def test_round_trip(codec, data):
    packed = compress(codec, data)
    assert bytes(decompress(codec, packed, len(data))) == data
    assert bytes(decompress(codec, memoryview(bytearray(packed)), 1 << 20)) == data
    assert bytes(decompress(codec, compress(codec, memoryview(data)), len(data))) == data


@given(st.sampled_from(CODECS), st.binary(max_size=3000), st.integers(0, 50))
def test_any_bytes_round_trip_and_the_budget_is_exact(codec, data, times):
    data *= times
    packed = compress(codec, data)
    assert bytes(decompress(codec, packed, len(data))) == data
    if data:
        assert refused(codec, packed, len(data) - 1) == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(
    ("codec", "level"),
    [
        (Codec.GZIP, 1),
        (Codec.GZIP, 9),
        (Codec.LZ4, 1),
        (Codec.LZ4, 9),
        (Codec.LZ4, 17),
        (Codec.ZSTD, -5),
        (Codec.ZSTD, 19),
    ],
)
def test_levels(codec, level):
    assert bytes(decompress(codec, compress(codec, TEXT, level), len(TEXT))) == TEXT


def test_higher_levels_pack_tighter():
    data = bytes(random.Random(3).choices(b"abcdefgh", k=60_000)) * 2
    for codec, low, high in ((Codec.GZIP, 1, 9), (Codec.LZ4, 9, 17), (Codec.ZSTD, 1, 19)):
        assert len(compress(codec, data, high)) < len(compress(codec, data, low))


def test_none_passes_the_buffer_on():
    view = memoryview(b"abc")
    assert decompress(0, view, 3) is view
    assert compress(0, view) is view
    assert refused(0, view, 2) == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_unknown_codec(codec):
    assert refused(codec, b"abc") == ErrorCode.INVALID_RECORD
    with pytest.raises(KafkaError) as caught:
        compress(codec, b"abc")
    assert caught.value.code == ErrorCode.INVALID_RECORD


def test_the_library_is_imported_at_first_use_only():
    program = (
        "import sys; from ottla.wire import compression, records;"
        "compression.decompress(1, compression.compress(1, b'x'), 9); print('cramjam' in sys.modules);"
        "compression.compress(4, b'x'); print('cramjam' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]


# What others write and read


def test_gzip_of_the_standard_library_both_ways():
    assert decompress(Codec.GZIP, gzip.compress(TEXT), len(TEXT)) == TEXT
    assert gzip.decompress(compress(Codec.GZIP, TEXT)) == TEXT
    assert kafka_codec.gzip_decode(compress(Codec.GZIP, TEXT)) == TEXT


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_kafka_python_reads_what_we_write(name):
    """As far as its optional libraries are here; aiokafka's codecs stand in for those that are not."""
    codec = Codec[name.upper()]
    if getattr(kafka_codec, f"has_{name}")():
        reader, writer = getattr(kafka_codec, f"{name}_decode"), getattr(kafka_codec, f"{name}_encode")
    else:
        reader, writer = getattr(aiokafka_codec, f"{name}_decode"), getattr(aiokafka_codec, f"{name}_encode")
    for data in (b"x", TEXT, NOISE):
        assert bytes(reader(compress(codec, data))) == data
        assert bytes(decompress(codec, bytes(writer(data)), len(data))) == data


def test_snappy_raw_and_xerial():
    assert decompress(Codec.SNAPPY, SNAPPY_BLOCK, 5) == b"hello"
    header = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    block = struct.pack(">i", len(SNAPPY_BLOCK)) + SNAPPY_BLOCK
    assert decompress(Codec.SNAPPY, header + block * 3, 15) == b"hello" * 3
    assert decompress(Codec.SNAPPY, header + block + header + block, 10) == b"hellohello"
    assert decompress(Codec.SNAPPY, header, 0) == b""
    assert compress(Codec.SNAPPY, b"hello") == header + struct.pack(">i", 7) + SNAPPY_BLOCK
    newer = b"\x82SNAPPY\0" + struct.pack(">ii", 2, 2)
    assert refused(Codec.SNAPPY, newer + block) == ErrorCode.INVALID_RECORD


def test_lz4_frames_are_those_of_java():
    packed = compress(Codec.LZ4, NOISE[:10] + TEXT)
    assert packed[:7] == bytes.fromhex("04224d18604082")  # independent blocks of 64 KiB: Java reads no others
    assert packed[-4:] == bytes(4)
    packed = compress(Codec.LZ4, TEXT, 12)
    assert packed[4] & 0xE0 == 0x60
    stored = compress(Codec.LZ4, NOISE[:100])
    assert stored[7:11] == struct.pack("<I", 100 | 1 << 31)


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.LZ4, Codec.ZSTD])
def test_streams_may_be_joined(codec):
    packed = compress(codec, b"hello ") + compress(codec, b"") + compress(codec, b"world")
    assert decompress(codec, packed, 11) == b"hello world"
    assert refused(codec, packed, 10) == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("codec", [Codec.LZ4, Codec.ZSTD])
def test_skippable_frames(codec):
    skippable = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 3) + b"abc"
    assert decompress(codec, skippable + compress(codec, b"hello") + skippable, 5) == b"hello"
    assert refused(codec, skippable[:-1]) == ErrorCode.INVALID_RECORD


def test_lz4_and_zstd_frames_with_all_options():
    for linked in (False, True):
        compressor = cramjam.lz4.Compressor(level=4, content_checksum=True, block_linked=linked)
        compressor.compress(TEXT)
        assert decompress(Codec.LZ4, bytes(compressor.finish()), len(TEXT)) == TEXT
    compressor = cramjam.zstd.Compressor(3)
    compressor.compress(TEXT)
    assert decompress(Codec.ZSTD, bytes(compressor.finish()), len(TEXT)) == TEXT


def test_bytes_after_a_gzip_member_are_ignored_as_in_java():
    assert decompress(Codec.GZIP, compress(Codec.GZIP, b"hello") + b"garbage", 5) == b"hello"


# Bombs and damage


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_refused_within_its_budget(codec):
    bomb = compress(codec, bytes(64 << 20))
    tracemalloc.start()
    try:
        assert refused(codec, bomb, 1 << 20) == ErrorCode.MESSAGE_TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_declared_sizes_cost_no_memory():
    liar = b"\xff\xff\xff\xff\x0f" + SNAPPY_BLOCK
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 60) + b"\x09\0\0x"
    tracemalloc.start()
    try:
        assert refused(Codec.SNAPPY, liar, 1 << 40) == ErrorCode.INVALID_RECORD
        assert refused(Codec.ZSTD, frame, 1 << 40) == ErrorCode.INVALID_RECORD
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_many_empty_gzip_members_take_linear_time():
    members = compress(Codec.GZIP, b"") * 20_000
    assert decompress(Codec.GZIP, members, 0) == b""


@pytest.mark.parametrize("codec", CODECS)
def test_every_truncation_is_refused(codec):
    packed = bytes(compress(codec, TEXT[:100] + NOISE[:200]))
    for size in range(len(packed)):
        if codec == Codec.SNAPPY and size == 16:
            continue  # the bare header is a stream of no blocks
        assert refused(codec, packed[:size]) == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", CODECS)
def test_flipped_bits_end_in_an_error_or_in_bytes(codec):
    """Where the format has no checksum a flip may go unseen (the batch's CRC sees it). Never another exception."""
    rng = random.Random(codec)
    packed = bytes(compress(codec, TEXT[:2000] + NOISE[:500]))
    seen = 0
    for _ in range(3000):
        damaged = bytearray(packed)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        seen += is_refused_or_fits(codec, damaged, 4096)
    assert seen > 100


@given(
    st.sampled_from(CODECS),
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x1f\x8b\x08", b"\x82SNAPPY\0", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"]),
)
def test_garbage_is_refused_or_unpacked(codec, data, magic):
    is_refused_or_fits(codec, magic + data, 10_000)


def test_zlib_stream_is_not_gzip():
    assert refused(Codec.GZIP, zlib.compress(TEXT)) == ErrorCode.INVALID_RECORD
