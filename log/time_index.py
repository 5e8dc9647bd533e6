"""The sparse time index of a segment, in memory and in Kafka's `.timeindex` bytes. No files are touched here.

An entry pairs the largest timestamp so far (int64, ms) with the last offset (relative, int32) of the batch that brought
it.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

ENTRY_BYTES = 12
_ENTRY = struct.Struct(">qi")
_NOTHING = bytes(ENTRY_BYTES)


class TimeIndex:
    """Two columns: timestamps strictly grow, offsets never fall."""

    __slots__ = ("base_offset", "offsets", "timestamps")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self.timestamps = array("q")
        self.offsets = array("i")

    def __len__(self) -> int:
        return len(self.timestamps)

    def maybe_append(self, timestamp_ms: int, last_offset: int) -> None:
        """Add an entry unless its timestamp is not larger than the last one's."""
        timestamps = self.timestamps
        if timestamp_ms > (timestamps[-1] if timestamps else -1):
            timestamps.append(timestamp_ms)
            self.offsets.append(last_offset - self.base_offset)

    def last(self) -> tuple[int, int]:
        """(timestamp, absolute offset) of the last entry; (-1, base offset) if there is none."""
        if not self.timestamps:
            return -1, self.base_offset
        return self.timestamps[-1], self.base_offset + self.offsets[-1]

    def offset_before(self, timestamp_ms: int) -> int:
        """An offset at or before the first record whose timestamp is >= `timestamp_ms`."""
        index = bisect_right(self.timestamps, timestamp_ms)
        return self.base_offset + self.offsets[index - 1] if index else self.base_offset

    def truncate(self, offset: int) -> None:
        """Drop the entries whose offset is at or after `offset`."""
        keep = len(self.offsets)
        while keep and self.offsets[keep - 1] + self.base_offset >= offset:
            keep -= 1
        del self.timestamps[keep:], self.offsets[keep:]

    def encode(self, first: int = 0) -> bytes:
        """The file's bytes from entry `first` on."""
        return b"".join(map(_ENTRY.pack, self.timestamps[first:], self.offsets[first:]))

    @classmethod
    def decode(cls, data: bytes, base_offset: int) -> TimeIndex:
        """Inverse of `encode`; the zeroed rest of a preallocated file is left out.

        Raises ValueError if the size is odd or the entries do not grow.
        """
        if len(data) % ENTRY_BYTES:
            raise ValueError(f"time index of {len(data)} bytes")
        keep = len(data)
        while keep and data[keep - ENTRY_BYTES : keep] == _NOTHING:
            keep -= ENTRY_BYTES
        index = cls(base_offset)
        last_timestamp, last_offset = -1, 0
        for timestamp, offset in _ENTRY.iter_unpack(data[:keep]):
            if timestamp <= last_timestamp or offset < last_offset:
                raise ValueError("time index entries do not grow")
            index.timestamps.append(timestamp)
            index.offsets.append(offset)
            last_timestamp, last_offset = timestamp, offset
        return index
