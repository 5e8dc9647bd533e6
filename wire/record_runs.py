"""Runs of records that are laid out alike, checked by columns instead of one by one: the fastest way of `walk`.

Producers of one kind of message write batches of which most records have the same size and the same lengths inside.
There the n-th byte of all records is a slice with a step, and one comparison in C checks it for hundreds of records.
What is not alike is left to the walk. Here: one run. Not here: what a batch must hold, errors.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from ottla.wire.errors import ProtocolError
from ottla.wire.varint import decode_unsigned

WINDOW: Final = 8192  # records: so many offset deltas in a row have the same third byte, a run ends with them
LEAST: Final = 32  # fewer cost less one by one

_DIGITS: Final = bytes(range(128))  # bytes that end a varint
_CONTINUED: Final = bytes(range(128, 256))  # bytes that do not
_LOOK: Final = 64  # records whose first bytes are looked at before those of all: a short run shall cost no long slices
WIDTHS: Final = ((1 << 6, 1), (1 << 13, 2), (1 << 20, 3))  # offset deltas below have varints of so many bytes


class Run(NamedTuple):
    """`records` good ones up to `end`. Timestamp deltas in ms; `key` is their key length as stored (1: null)."""

    records: int
    end: int
    least_timestamp_delta: int
    most_timestamp_delta: int
    key: int


def uniform_run(block: bytes | bytearray, position: int, index: int, most: int) -> Run | None:
    """The run that starts with record `index` (its offset delta) at `position`; None if it is none, or too short.

    A record is part of it if it is well-formed, has the offset delta that follows, and has all its lengths, and the
    width of its timestamp delta, in common with the first. `most` records are left. 0.02 us a record, the walk takes
    0.4.
    """
    width = next((width for limit, width in WIDTHS if index < limit), None)
    if width is None:
        return None
    count = min(most, (1 << 7 * width - 1) - index, WINDOW - index % WINDOW)
    try:
        if count < LEAST or not _are_alike(block, position):
            return None
        layout = _layout(block, position)
    except (IndexError, ProtocolError):
        return None
    size, timestamp_at, timestamp_width, constants, key = layout
    if timestamp_width > 2:
        return None
    count = min(count, (len(block) - position) // size)
    first = block[position : position + 1]
    if count > _LOOK and block[position : position + _LOOK * size : size] != first * _LOOK:
        count = _LOOK
    for at in constants:
        column = block[position + at : position + count * size : size]
        if column != column[:1] * count:
            count -= len(column.lstrip(column[:1]))
            if count < LEAST:
                return None
    first = block[position + timestamp_at : position + count * size : size]
    second: bytes | bytearray = b""
    if timestamp_width == 1:
        if not first.isascii():
            count -= len(first.lstrip(_DIGITS))
    else:
        second = block[position + timestamp_at + 1 : position + count * size : size]
        count -= max(len(first.lstrip(_CONTINUED)), len(second.lstrip(_DIGITS)))
    if count < LEAST:
        return None
    delta_at = position + timestamp_at + timestamp_width
    for expected in delta_columns(index, count, width):
        if block[delta_at : position + count * size : size] != expected:
            return None
        delta_at += 1
    least, greatest = bounds(first[:count], second[:count])
    return Run(count, position + count * size, least, greatest, key)


def _are_alike(block: bytes | bytearray, position: int) -> bool:
    """Whether there may be a run: if all records up to `LEAST` were as long as the one at `position`, they would begin
    as it does. Raises IndexError, ProtocolError.
    """
    length, at = decode_unsigned(block, position)
    size = at - position + (length >> 1)
    return block[position] == block[position + size] == block[position + (LEAST - 1) * size]


def _layout(block: bytes | bytearray, position: int) -> tuple[int, int, int, list[int], int]:
    """Of the record at `position`: its size, where its timestamp delta is and how many bytes it has, where the bytes
    are that say how it is laid out, and its key length as stored. Positions count from its start.

    Raises IndexError, ProtocolError if it is not well-formed.
    """
    length, at = decode_unsigned(block, position)
    end = at + (length >> 1)
    constants = list(range(at - position))
    timestamp_at = at + 1 - position  # behind the attributes, of which none are defined
    _, at = decode_unsigned(block, at + 1, 64)
    timestamp_width = at - position - timestamp_at
    _, at = decode_unsigned(block, at)  # the offset delta

    def sized(at: int, *, nullable: bool) -> tuple[int, int]:
        size, after = decode_unsigned(block, at)
        if size & 1 and not (nullable and size == 1):
            raise ProtocolError("a length is negative")
        constants.extend(range(at - position, after - position))
        return size, after + (size >> 1)

    key, at = sized(at, nullable=True)
    _, at = sized(at, nullable=True)
    headers, after = decode_unsigned(block, at)
    if headers & 1 or headers >> 1 > end - after:
        raise ProtocolError("its number of headers cannot be")
    constants.extend(range(at - position, after - position))
    at = after
    for _ in range(headers >> 1):
        _, at = sized(at, nullable=False)
        _, at = sized(at, nullable=True)
    if at != end or length & 1:
        raise ProtocolError("its fields do not fill it")
    return end - position, timestamp_at, timestamp_width, constants, key


def delta_columns(index: int, count: int, width: int) -> list[bytes]:
    """The bytes of `count` offset deltas from `index` on, up to the next multiple of WINDOW; first bytes first."""
    if width == 1:
        return [_LOW[index : index + count]]
    start = index % WINDOW
    end = start + count
    if width == 2:
        return [_LOW_CONTINUED[start:end], _HIGH[start:end]]
    return [_LOW_CONTINUED[start:end], _HIGH_CONTINUED[start:end], bytes((index // WINDOW,)) * count]


_LOW: Final = bytes(range(0, 128, 2))
_LOW_CONTINUED: Final = bytes(range(128, 256, 2)) * (WINDOW // 64)
_HIGH: Final = b"".join([bytes((byte,)) * 64 for byte in range(128)])
_HIGH_CONTINUED: Final = b"".join([bytes((byte,)) * 64 for byte in range(128, 256)])


def bounds(first: bytes | bytearray, second: bytes | bytearray) -> tuple[int, int]:
    """The least and the greatest number in columns of zig-zag varints of one byte (`second` is empty) or two."""
    stored: Collection[int]
    if not second:
        stored = _distinct(first)
    else:
        stored = [low & 127 | high << 7 for low, high in {*zip(first, second, strict=True)}]
    numbers = [(number >> 1) ^ -(number & 1) for number in stored]
    return min(numbers), max(numbers)


def _distinct(column: bytes | bytearray) -> bytes:
    """The values in it: its ends, and those of what is left without them; few turns if they ascend, as times do."""
    found = b""
    while column:
        ends = bytes((column[0], column[-1]))
        found += ends
        column = column.translate(None, ends)
    return found
