"""The transaction index of a segment: which transactions were aborted, in memory and in Kafka's `.txnindex` bytes.

Readers of committed records leave out what it names (KIP-98). The file exists only if something was aborted. No files
are touched here.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import NamedTuple

ENTRY = struct.Struct(">hqqqq")  # version, then the fields of AbortedTransaction
ENTRY_BYTES = ENTRY.size
_VERSION = 0


class AbortedTransaction(NamedTuple):
    """One producer's records from `first_offset` up to the ABORT marker at `last_offset` do not count."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int  # right after the marker: transactions that end later began at or after it


class TransactionIndex:
    """Aborted transactions whose markers are in one segment, in the order of the markers."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[AbortedTransaction] = []

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, entry: AbortedTransaction) -> None:
        """Its marker comes after those of the entries before."""
        self.entries.append(entry)

    def collect(self, from_offset: int, upper_offset: int, found: list[AbortedTransaction]) -> bool:
        """Add to `found` what touches the offsets from `from_offset` up to, not including, `upper_offset`.

        True if no later entry, here or in later segments, can.
        """
        entries = self.entries
        for index in range(bisect_left(entries, from_offset, key=_last_offset), len(entries)):
            entry = entries[index]
            if entry.first_offset < upper_offset:
                found.append(entry)
            if entry.last_stable_offset >= upper_offset:
                return True
        return False

    def encode(self, first: int = 0) -> bytes:
        """The file's bytes from entry `first` on."""
        return b"".join(ENTRY.pack(_VERSION, *entry) for entry in self.entries[first:])

    @classmethod
    def decode(cls, data: bytes, base_offset: int) -> TransactionIndex:
        """Inverse of `encode`. Raises ValueError if the size is odd, a version unknown, or the entries do not grow."""
        if len(data) % ENTRY_BYTES:
            raise ValueError(f"transaction index of {len(data)} bytes")
        index = cls()
        last = base_offset - 1
        for version, *fields in ENTRY.iter_unpack(data):
            entry = AbortedTransaction(*fields)
            if version != _VERSION:
                raise ValueError(f"transaction index entry of version {version}")
            if entry.last_offset <= last or not 0 <= entry.first_offset <= entry.last_offset:
                raise ValueError(
                    f"transaction index entry of offsets {entry.first_offset} to {entry.last_offset} does not follow"
                )
            last = entry.last_offset
            index.entries.append(entry)
        return index


def _last_offset(entry: AbortedTransaction) -> int:
    return entry.last_offset
