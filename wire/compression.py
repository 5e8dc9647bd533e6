"""The compression codecs of record batches: gzip, snappy, lz4, zstd, as Kafka's Java client reads and writes them.

Here: one block in, one block out, within a budget of bytes. Not here: the batch around it (`records`).
The library is imported at first use: a broker that only passes batches on never needs it.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from types import ModuleType
from typing import NoReturn

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.schema import Buffer


class Codec(IntEnum):
    """Bits 0-2 of a batch's attributes; 5 to 7 are not assigned."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_PIECE_SIZE = 16 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\0"
_XERIAL_HEADER = _XERIAL_MAGIC + bytes.fromhex("0000000100000001")  # version 1, readable from version 1 on
_XERIAL_BLOCK_SIZE = 32 * 1024
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
# Version 1, independent blocks (Java reads no others) of up to 64 KiB, no checksums but the header's, its last byte.
_LZ4_HEADER = _LZ4_MAGIC + b"\x60\x40\x82"
_LZ4_BLOCK_SIZE = 64 * 1024
_LZ4_STORED = 0x8000_0000  # bit of a block's size: the block is not compressed
_LZ4_DEFAULT_LEVEL = 9  # Kafka's number for the fast compressor; every other level is lz4hc
_LZ4_HIGHEST_LEVEL = 12  # of liblz4; Kafka's go up to 17
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK_MAX = 128 * 1024
_UINT32 = struct.Struct("<I")
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # after a byte 0x50-0x5f, in lz4 and zstd alike


def decompress(codec: int, data: Buffer, budget_bytes: int, room: memoryview | None = None) -> Buffer:
    """The uncompressed block, of at most `budget_bytes`; `data` itself if `codec` is 0.

    It may be a part of `room`, which the caller uses again once it is done with the block: fresh memory for each batch
    costs more, in page faults, than unpacking lz4 into it (340 us for 256 KiB, 46 without).

    A bomb is refused before more than the budget is unpacked. Raises KafkaError MESSAGE_TOO_LARGE over budget,
    INVALID_RECORD if the codec is unknown or the data unreadable: under a right CRC the producer made them so, and the
    retry that CORRUPT_MESSAGE asks for would not help.
    """
    if codec == 0:
        if len(data) > budget_bytes:
            _too_large("records", budget_bytes)
        return data
    try:
        unpack = _DECOMPRESS[codec]
    except KeyError:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"unknown compression codec {codec}") from None
    return unpack(memoryview(data), budget_bytes, room)


def compress(codec: int, data: Buffer, level: int | None = None) -> Buffer:
    """`data` compressed as one block; `level` as in `compression.<codec>.level`, None for Kafka's default.

    Raises KafkaError INVALID_RECORD if the codec is unknown.
    """
    if codec == Codec.NONE:
        return data
    if codec == Codec.GZIP:
        packer = zlib.compressobj(-1 if level is None else level, wbits=31)
        return packer.compress(data) + packer.flush()
    if codec == Codec.SNAPPY:
        return _compress_snappy(memoryview(data))
    if codec == Codec.LZ4:
        return _compress_lz4(memoryview(data), level)
    if codec == Codec.ZSTD:
        return bytes(_cramjam().zstd.compress(data, level=3 if level is None else level))
    raise KafkaError(ErrorCode.INVALID_RECORD, f"unknown compression codec {codec}")


def _cramjam() -> ModuleType:
    import cramjam

    return cramjam


def _too_large(what: str, budget_bytes: int) -> NoReturn:
    raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"{what} unpack to more than {budget_bytes} bytes")


def _unreadable(codec: str, why: object) -> NoReturn:
    raise KafkaError(ErrorCode.INVALID_RECORD, f"unreadable {codec} data: {why}")


def _decompress_gzip(data: memoryview, budget_bytes: int, _: memoryview | None) -> bytes:
    """One or more members; as in Java, bytes after them that start no member are ignored."""
    parts: list[bytes] = []
    left = budget_bytes
    position = 0
    while True:
        unpacker = zlib.decompressobj(wbits=31)
        while not unpacker.eof:
            # Small pieces: zlib copies what follows a member's end, which many empty members would make quadratic.
            piece = data[position : position + _GZIP_PIECE_SIZE]
            if not piece:
                _unreadable("gzip", "it is cut")
            try:
                part = unpacker.decompress(piece, left + 1)  # one more than may be tells "full" from "too much"
            except zlib.error as error:
                _unreadable("gzip", error)
            left -= len(part)
            if left < 0:
                _too_large("gzip records", budget_bytes)
            position += len(piece) - len(unpacker.unused_data)
            parts.append(part)
        if data[position : position + 2] != _GZIP_MAGIC:
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompress_snappy(data: memoryview, budget_bytes: int, room: memoryview | None) -> Buffer:
    """Xerial framing (Java) or one raw block (librdkafka). Both state their sizes, added up before unpacking."""
    blocks = _xerial_blocks(data) if data[:8] == _XERIAL_MAGIC else [data]
    sizes = [_snappy_size(block) for block in blocks]
    total = sum(sizes)
    if total > budget_bytes:
        _too_large("snappy records", budget_bytes)
    snappy = _cramjam().snappy
    view = room[:total] if room is not None and total <= len(room) else memoryview(bytearray(total))
    position = 0
    try:
        for block, size in zip(blocks, sizes, strict=True):
            if snappy.decompress_raw_into(block, view[position : position + size]) != size:
                _unreadable("snappy", "a block is shorter than it says")
            position += size
    except _cramjam().DecompressionError as error:
        _unreadable("snappy", error)
    return view


def _xerial_blocks(data: memoryview) -> list[memoryview]:
    if len(data) < 16:
        _unreadable("snappy", "its header is cut")
    if int.from_bytes(data[12:16], "big") > 1:
        _unreadable("snappy", "its version is not supported")
    blocks = []
    position = 16
    while position < len(data):
        if data[position : position + 8] == _XERIAL_MAGIC:  # streams may be joined
            position += 16
            continue
        size = int.from_bytes(data[position : position + 4], "big")
        position += 4 + size
        if position > len(data):
            _unreadable("snappy", "a block is cut")
        blocks.append(data[position - size : position])
    return blocks


def _snappy_size(block: memoryview) -> int:
    """The uncompressed size, a varint in front. Three bytes copy 64 at most: over 32 times the input is a lie."""
    size = shift = 0
    for byte in block[:5]:
        size |= (byte & 127) << shift
        if byte < 128:
            if size > 32 * len(block):
                _unreadable("snappy", "it cannot be as long as it says")
            return size
        shift += 7
    _unreadable("snappy", "its length is cut")


def _compress_snappy(data: memoryview) -> bytes:
    snappy = _cramjam().snappy
    parts = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK_SIZE):
        block = bytes(snappy.compress_raw(data[start : start + _XERIAL_BLOCK_SIZE]))
        parts.append(len(block).to_bytes(4, "big"))
        parts.append(block)
    return b"".join(parts)


def _decompress_lz4(data: memoryview, budget_bytes: int, room: memoryview | None) -> Buffer:
    try:
        bound = _lz4_bound(data)
    except (IndexError, struct.error):
        _unreadable("lz4", "it is cut")
    return _unpack_frames("lz4", data, bound, budget_bytes, room)


def _decompress_zstd(data: memoryview, budget_bytes: int, room: memoryview | None) -> Buffer:
    try:
        bound = _zstd_bound(data)
    except IndexError:
        _unreadable("zstd", "it is cut")
    return _unpack_frames("zstd", data, bound, budget_bytes, room)


def _unpack_frames(codec: str, data: memoryview, bound: int, budget_bytes: int, room: memoryview | None) -> Buffer:
    """Unpack into a buffer of `bound` bytes, or of the budget if that is less; the library stops at its end."""
    most = min(bound, budget_bytes)
    out = room[:most] if room is not None and most <= len(room) else memoryview(bytearray(most))
    try:
        size = getattr(_cramjam(), codec).decompress_into(data, out)
    except _cramjam().DecompressionError as error:
        if bound > budget_bytes and "write whole buffer" in str(error):
            _too_large(f"{codec} records", budget_bytes)
        _unreadable(codec, error)
    return out[:size]


def _lz4_bound(data: memoryview) -> int:
    """The most bytes that the frames can unpack to, from their block headers. Raises IndexError or struct.error where
    they are cut."""
    total = position = 0
    while position < len(data):
        if data[position + 1 : position + 4] == _SKIPPABLE_MAGIC and data[position] >> 4 == 5:
            position += 8 + _little(data, position + 4, 4)
            continue
        if data[position : position + 4] != _LZ4_MAGIC:
            _unreadable("lz4", "no frame where one should start")
        flags, descriptor = data[position + 4], data[position + 5]
        block_max = 1 << (8 + 2 * (descriptor >> 4 & 7))  # 4: 64 KiB ... 7: 4 MiB
        position += 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)  # content size, dictionary id
        while size := _UINT32.unpack_from(data, position)[0]:
            if size & _LZ4_STORED:
                size &= ~_LZ4_STORED
                total += min(size, block_max)
            else:
                total += min(255 * size, block_max)  # a byte of lz4 stands for 255 at most
            position += 4 + size + (4 if flags & 0x10 else 0)  # block checksum
        position += 4 + (4 if flags & 0x04 else 0)  # end mark, content checksum
    if position != len(data):
        raise IndexError
    return total


def _zstd_bound(data: memoryview) -> int:
    """The most bytes that the frames can unpack to, from their block headers. Raises IndexError where they are cut."""
    total = position = 0
    while position < len(data):
        if data[position + 1 : position + 4] == _SKIPPABLE_MAGIC and data[position] >> 4 == 5:
            position += 8 + _little(data, position + 4, 4)
            continue
        if data[position : position + 4] != _ZSTD_MAGIC:
            _unreadable("zstd", "no frame where one should start")
        descriptor = data[position + 4]
        single_segment = descriptor >> 5 & 1
        position += 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]  # window, dictionary id
        position += (single_segment, 2, 4, 8)[descriptor >> 6]  # content size
        last = 0
        while not last:
            header = _little(data, position, 3)
            last, kind, size = header & 1, header >> 1 & 3, header >> 3
            total += _ZSTD_BLOCK_MAX if kind == 2 else min(size, _ZSTD_BLOCK_MAX)
            position += 3 + (1 if kind == 1 else size)  # kind 1 repeats one byte
        position += 4 if descriptor & 4 else 0  # content checksum
    if position != len(data):
        raise IndexError
    return total


def _little(data: memoryview, position: int, size: int) -> int:
    part = data[position : position + size]
    if len(part) != size:
        raise IndexError
    return int.from_bytes(part, "little")


def _compress_lz4(data: memoryview, level: int | None) -> bytes:
    """As Java frames it. The library's fast function packs the blocks, its own frames (hc) are for other levels."""
    lz4 = _cramjam().lz4
    if level is not None and level != _LZ4_DEFAULT_LEVEL:
        packer = lz4.Compressor(level=min(level, _LZ4_HIGHEST_LEVEL), content_checksum=False, block_linked=False)
        packer.compress(bytes(data))
        return bytes(packer.finish())
    parts = [_LZ4_HEADER]
    for start in range(0, len(data), _LZ4_BLOCK_SIZE):
        block = data[start : start + _LZ4_BLOCK_SIZE]
        packed = bytes(lz4.compress_block(block, store_size=False))
        if len(packed) < len(block):
            parts += (len(packed).to_bytes(4, "little"), packed)
        else:
            parts += ((len(block) | _LZ4_STORED).to_bytes(4, "little"), bytes(block))
    parts.append(bytes(4))
    return b"".join(parts)


_DECOMPRESS = {
    Codec.GZIP.value: _decompress_gzip,
    Codec.SNAPPY.value: _decompress_snappy,
    Codec.LZ4.value: _decompress_lz4,
    Codec.ZSTD.value: _decompress_zstd,
}
