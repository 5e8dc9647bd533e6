"""The sparse offset index of a segment, in memory and in Kafka's `.index` bytes. No files are touched here.

An entry pairs a batch's LAST offset (relative to the segment's base offset, int32) with that batch's start position
(int32).
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right

ENTRY_BYTES = 8


class OffsetIndex:
    """Two growing int32 columns; a lookup is one bisect."""

    __slots__ = ("base_offset", "offsets", "positions")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self.offsets = array("i")
        self.positions = array("i")

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, last_offset: int, position: int) -> None:
        """Both must be larger than those of the entry before."""
        self.offsets.append(last_offset - self.base_offset)
        self.positions.append(position)

    def position_before(self, offset: int) -> int:
        """Start of a batch at or before the one that holds `offset`: where a scan for it begins. 0 if no entry
        helps."""
        index = bisect_right(self.offsets, min(offset - self.base_offset, 0x7FFFFFFF))
        return self.positions[index - 1] if index else 0

    def offset_after(self, position: int) -> int | None:
        """The last offset of the first indexed batch that begins at or after byte `position`; None if none does."""
        index = bisect_left(self.positions, position)
        return self.base_offset + self.offsets[index] if index < len(self.offsets) else None

    def last_position(self) -> int:
        """Position of the last entry, 0 if there is none."""
        return self.positions[-1] if self.positions else 0

    def truncate(self, position: int) -> None:
        """Drop the entries of batches that start at or after `position`."""
        keep = len(self.positions)
        while keep and self.positions[keep - 1] >= position:
            keep -= 1
        del self.offsets[keep:], self.positions[keep:]

    def encode(self, first: int = 0) -> bytes:
        """The file's bytes from entry `first` on."""
        columns = array("i", bytes(ENTRY_BYTES * (len(self.offsets) - first)))
        columns[0::2] = self.offsets[first:]
        columns[1::2] = self.positions[first:]
        if sys.byteorder == "little":
            columns.byteswap()
        return columns.tobytes()

    @classmethod
    def decode(cls, data: bytes, base_offset: int, log_bytes: int) -> OffsetIndex:
        """Inverse of `encode`; the zeroed rest of a preallocated file is left out.

        Raises ValueError if the size is odd, entries do not grow, or one points outside a log file of `log_bytes`.
        """
        if len(data) % ENTRY_BYTES:
            raise ValueError(f"offset index of {len(data)} bytes")
        columns = array("i", data)
        if sys.byteorder == "little":
            columns.byteswap()
        index = cls(base_offset)
        index.offsets = columns[0::2]
        index.positions = columns[1::2]
        index._drop_preallocated()
        positions, offsets = index.positions, index.offsets
        if positions and (offsets[0] < 0 or positions[0] <= 0 or positions[-1] >= log_bytes):
            raise ValueError("offset index points outside its segment")
        if not _grows(positions) or not _grows(offsets):
            raise ValueError("offset index entries do not grow")
        return index

    def _drop_preallocated(self) -> None:
        keep = len(self.positions)
        while keep and self.positions[keep - 1] == 0:  # position 0 is never indexed
            keep -= 1
        del self.offsets[keep:], self.positions[keep:]


def _grows(column: array[int]) -> bool:
    return all(map(int.__lt__, column, column[1:]))
