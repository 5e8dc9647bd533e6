"""Walks over the stored batches of one log file: headers only, or with CRCs; and the search for a good batch after
damage.

Reads by positioned reads in chunks, so memory is bounded by the largest batch. Decides nothing about what to do with
damage.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from ottla.log.filesystem import FileSystem
from ottla.wire.hashing import crc32c
from ottla.wire.records import ATTRIBUTES as CRC_START
from ottla.wire.records import HEADER, HEADER_SIZE, LOG_OVERHEAD

_OLD_MIN_BYTES: Final = 26  # magic 0: offset, size, crc, magic, attributes, two lengths
_OLD_CRC: Final = struct.Struct(">I")
_OLD_CRC_START: Final = 16
_TIMESTAMP: Final = struct.Struct(">q")
_HEADER_CHUNK: Final = 64 * 1024
_VERIFY_CHUNK: Final = 1024 * 1024


class StoredBatch(NamedTuple):
    """Where a batch lies in its file, and its header."""

    position: int
    size: int
    base_offset: int
    last_offset: int
    leader_epoch: int
    magic: int
    attributes: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    last_offset_delta: int


class DamagedBatchError(Exception):
    """The bytes at `position` are no whole, valid batch."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(position, reason)
        self.position = position
        self.reason = reason


def scan(fs: FileSystem, fd: int, start: int, end: int, *, verify: bool, min_offset: int = 0) -> Iterator[StoredBatch]:
    """Batches of the file from byte `start` up to `end`; `verify` checks their CRCs.

    Raises DamagedBatchError at the first that is cut, malformed, wrong, or whose offsets do not follow (`min_offset`:
    the least that the first may have); OSError.
    """
    chunk_bytes = _VERIFY_CHUNK if verify else _HEADER_CHUNK
    chunk = b""
    chunk_at = position = start
    while position < end:
        at = position - chunk_at
        if at + HEADER_SIZE > len(chunk) and chunk_at + len(chunk) < end:
            chunk = fs.pread(fd, min(chunk_bytes, end - position), position)
            chunk_at, at = position, 0
        if at + LOG_OVERHEAD + 5 > len(chunk):
            raise DamagedBatchError(position, "cut header")
        size = int.from_bytes(chunk[at + 8 : at + 12], "big", signed=True) + LOG_OVERHEAD
        magic = chunk[at + 16]
        if size < (HEADER_SIZE if magic >= 2 else _OLD_MIN_BYTES):
            raise DamagedBatchError(position, f"batch of {size} bytes")
        if size > end - position:
            raise DamagedBatchError(position, f"batch of {size} bytes, {end - position} left")
        if at + (size if verify else min(size, HEADER_SIZE)) > len(chunk):
            chunk = fs.pread(fd, max(min(chunk_bytes, end - position), size), position)
            chunk_at, at = position, 0
            if len(chunk) < size:
                raise DamagedBatchError(position, "the file ends inside a batch")
        if magic == 2:
            batch, crc = _header(chunk, at, position, size)
            good = not verify or crc == crc32c(memoryview(chunk)[at + CRC_START : at + size], 0)
        elif magic < 2:
            batch, crc = _old_header(chunk, at, position, size, magic)
            good = not verify or crc == zlib.crc32(memoryview(chunk)[at + _OLD_CRC_START : at + size])
        else:
            raise DamagedBatchError(position, f"magic {magic}")
        if not good:
            raise DamagedBatchError(position, "wrong CRC")
        if batch.base_offset < min_offset or batch.last_offset < batch.base_offset:
            raise DamagedBatchError(position, f"offset {batch.base_offset}, at least {min_offset} expected")
        yield batch
        min_offset = batch.last_offset + 1
        position += size


def _header(chunk: bytes, at: int, position: int, size: int) -> tuple[StoredBatch, int]:
    base, _, epoch, magic, crc, attributes, delta, _, max_ms, producer_id, producer_epoch, sequence, _ = (
        HEADER.unpack_from(chunk, at)
    )
    return (
        StoredBatch(
            position,
            size,
            base,
            base + delta,
            epoch,
            magic,
            attributes,
            max_ms,
            producer_id,
            producer_epoch,
            sequence,
            delta,
        ),
        crc,
    )


def _old_header(chunk: bytes, at: int, position: int, size: int, magic: int) -> tuple[StoredBatch, int]:
    """A message of magic 0 or 1, as old folders may hold; a compressed one carries the offset of its last inner
    message."""
    (offset,) = _TIMESTAMP.unpack_from(chunk, at)
    (crc,) = _OLD_CRC.unpack_from(chunk, at + 12)
    max_ms = _TIMESTAMP.unpack_from(chunk, at + 18)[0] if magic == 1 else -1
    return StoredBatch(position, size, offset, offset, -1, magic, chunk[at + 17], max_ms, -1, -1, -1, 0), crc


def is_zeroed(fs: FileSystem, fd: int, start: int, end: int) -> bool:
    """Is there nothing but zeros, as in a file that was preallocated? Raises OSError."""
    return all(
        not fs.pread(fd, min(_VERIFY_CHUNK, end - position), position).strip(b"\0")
        for position in range(start, end, _VERIFY_CHUNK)
    )


def find_batch_after(fs: FileSystem, fd: int, start: int, end: int, min_offset: int) -> int | None:
    """Position of the first whole batch v2 with a right CRC that starts at or after `start`; None if there is none.

    `min_offset` is the least base offset it may have; it is taken to lie less than 2^32 above. Raises OSError.
    """
    prefixes = {offset.to_bytes(8, "big")[:4] for offset in (min_offset, min_offset + 2**32 - 1)}
    # base offset prefix, the rest of it, length, epoch, magic 2; a look-ahead so that matches may overlap
    pattern = re.compile(b"(?=(?:" + b"|".join(map(re.escape, prefixes)) + b").{12}\x02)", re.DOTALL)
    position = start
    while position < end:
        chunk = fs.pread(fd, min(_VERIFY_CHUNK, end - position), position)
        for match in pattern.finditer(chunk):
            candidate = position + match.start()
            try:
                next(scan(fs, fd, candidate, end, verify=True, min_offset=min_offset))
            except DamagedBatchError:
                continue
            return candidate
        if len(chunk) < HEADER_SIZE:
            return None
        position += max(len(chunk) - 16, 1)  # a match needs 17 bytes
    return None
