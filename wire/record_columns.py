"""Runs of records of many sizes, gathered into columns by C calls and checked there: the way between `record_runs`,
for records that are laid out alike, and one by one.

Each column is one big number, xored with what it should be and or-ed to the others: bytes that are not 0 then are the
records that need a look of their own. Here: one run. Not here: what a batch must hold, errors.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from io import BytesIO
from itertools import accumulate, compress, islice
from operator import getitem, itemgetter, sub
from typing import Final

from ottla.wire.errors import ProtocolError
from ottla.wire.record_runs import LEAST, WIDTHS, WINDOW, Run, bounds, delta_columns
from ottla.wire.skim import skim_record

_LONGEST: Final = 2048  # bytes behind a length: longer records cost little for each byte, and tables have their price
SPAN: Final = 2048  # records: so many are copied at once
_TWO_BYTES: Final = 64  # a length from here on has two
_ODD_SHARE: Final = 16  # of so many records one may need a look of its own, which takes four times as long

_OPEN: Final = bytes(128) + b"\1" * 128  # not 0: the byte is not the end of a varint
_CLOSED: Final = b"\1" * 128 + bytes(128)  # not 0: it is
_SECOND: Final = bytes(128) + b"\xff" * 128  # which bits of the byte behind it belong to a varint
_KEY_SIZES: Final = bytes([byte >> 1 if byte < 128 and not byte & 1 else 0 for byte in range(256)])
_NOT_A_KEY: Final = bytes([byte > 127 or (byte & 1 and byte != 1) for byte in range(256)])


def mixed_run(block: bytes, position: int, index: int, most: int) -> Run | None:
    """The run that starts with record `index` (its offset delta) at `position`; None if it is none, or too short.

    Its records are well-formed, have no headers and the offset deltas that follow; most of them have a key of less
    than 64 bytes and the width of their timestamp delta in common with the first. `most` records are left. 0.28 us a
    record, 0.42 if there are keys; one by one takes 0.58.
    """
    width = next((width for limit, width in WIDTHS if index < limit), None)
    if width is None or not position or position + 4 > len(block):
        return None
    asked = min(most, SPAN, (1 << 7 * width - 1) - index, WINDOW - index % WINDOW)
    timestamp_at = position + (2 if block[position] < 128 else 3)
    timestamp_width = 1 if block[timestamp_at] < 128 else 2
    bodies = _bodies(block, position, asked)
    count = len(bodies)
    if count < LEAST:
        return None
    front = timestamp_width + width + 1  # bytes up to the key: timestamp delta, offset delta, key length
    sizes = list(map(len, bodies))
    of_sizes = itemgetter(*sizes)
    rows = _gather(bodies, of_sizes(_fronts(front + 2)), front + 2)
    columns = [rows[at :: front + 2] for at in range(front + 2)]
    keys = columns[front - 1]
    key_sizes = keys.translate(_KEY_SIZES)
    if key_sizes.count(0) == count:
        value, value_second = columns[front:]
        expected, expected_second = (bytes(of_sizes(table)) for table in _value_lengths(front))
    else:
        rests = list(map(sub, of_sizes(_rests(front)), key_sizes))
        if min(rests) < 0:
            return None
        values = _gather(bodies, itemgetter(*map(sub, sizes, rests))(_pairs()), 2)
        value, value_second = values[::2], values[1::2]
        expected, expected_second = (bytes(itemgetter(*rests)(table)) for table in _value_lengths())
    odd = _number(keys.translate(_NOT_A_KEY)) | _number(value) ^ _number(expected)
    odd |= _number(value_second) & _number(value.translate(_SECOND)) ^ _number(expected_second)
    odd |= _number(columns[timestamp_width - 1].translate(_OPEN))
    if timestamp_width > 1:
        odd |= _number(columns[0].translate(_CLOSED))
    for column, deltas in zip(columns[timestamp_width:], delta_columns(index, count, width), strict=False):
        odd |= _number(column) ^ _number(deltas)
    times = columns[:timestamp_width] if timestamp_width > 1 else [columns[0], b""]
    if not odd:
        least, greatest = bounds(*times)
        return Run(count, position + 3 * count + sum(sizes), least, greatest, int(1 in keys))
    return _with_odd_ones(block, position, index, odd.to_bytes(count, "little"), sizes, times, keys)


def _with_odd_ones(
    block: bytes, position: int, index: int, marks: bytes, sizes: list[int], times: list[bytes], keys: bytes
) -> Run | None:
    """The run up to the first record that is not well-formed, of those that are marked."""
    count = len(marks)
    odd = [at for at in range(count) if marks[at]]
    if len(odd) * _ODD_SHARE > count:
        count, odd = odd[0], []
    starts = list(accumulate(sizes, lambda start, size: start + size + 3, initial=position))
    numbers, null_key = [], False
    for at in odd:
        try:
            _, timestamp_delta, null = skim_record(block, starts[at], index + at)
        except ProtocolError:
            count = at
            break
        numbers.append(timestamp_delta)
        null_key |= null
    good = [not mark for mark in marks[:count]]
    if count < LEAST or not any(good):  # all in front of a damaged one may be odd
        return None
    least, greatest = bounds(*(bytes(compress(column, good)) for column in times))
    return Run(
        count,
        starts[count],
        min([least, *numbers]),
        max([greatest, *numbers]),
        int(null_key or 1 in compress(keys, good)),
    )


def _bodies(block: bytes, position: int, count: int) -> list[bytes]:
    """Up to `count` records from `position` on, each without its first two bytes (its length, or that and its
    attributes) and its last, which says that it has no headers. It ends where that is not so, or a length is not in
    `_body_sizes`. One chain of C calls: 0.1 us a record.
    """
    stream = BytesIO(block)
    stream.seek(position - 1)  # the last byte of a record and the first ones of the next are read together
    bodies: list[bytes] = []
    body_sizes = _body_sizes()
    starts = iter(partial(stream.read, 3), b"")
    with suppress(KeyError):
        bodies.extend(map(stream.read, map(body_sizes.__getitem__, islice(starts, count))))
    if bodies:
        end = position - 1 + 3 * len(bodies) + sum(map(len, bodies))
        start = end - len(bodies[-1]) - 2
        if block[end : end + 1] != b"\0" or body_sizes.get(b"\0" + block[start : start + 2]) != len(bodies[-1]):
            bodies.pop()  # it is cut, or has headers
    return bodies


def _gather(bodies: list[bytes], places: tuple[slice, ...], width: int) -> bytes:
    """The part of each body at its place, `width` bytes each; 0 is put where a body ends at once behind its value's
    length.
    """
    gathered = b"".join(map(getitem, bodies, places))  # type: ignore[arg-type]  # overloaded
    if len(gathered) == width * len(bodies):
        return gathered
    return b"".join([body[place].ljust(width, b"\0") for body, place in zip(bodies, places, strict=True)])


def _number(column: bytes) -> int:
    return int.from_bytes(column, "little")


@cache
def _body_sizes() -> dict[bytes, int]:
    """How long a body is, by the byte before the record and its first two: a length of two, or one of one and
    attributes of 0.
    """
    sizes = {bytes((0, 2 * length, 0)): length - 2 for length in range(2, _TWO_BYTES)}
    for length in range(_TWO_BYTES, _LONGEST):
        sizes[bytes((0, 2 * length & 127 | 128, length >> 6))] = length - 1
    return sizes


@cache
def _fronts(width: int) -> list[slice]:
    """By size of a body: where its first `width` bytes behind the attributes are."""
    return [slice(width) if size < _TWO_BYTES - 1 else slice(1, 1 + width) for size in range(_LONGEST)]


@cache
def _rests(front: int) -> list[int]:
    """By size of a body: how many of its bytes are left behind the first `front`, the key among them."""
    return [size - front - (size >= _TWO_BYTES - 1) for size in range(_LONGEST)]


def _value_length(rest: int) -> tuple[int, int]:
    """The two bytes that the length of a value is, if both are `rest` bytes; the second is 0 if there is none, and what
    cannot be, 255 behind one byte, if no value has so many.
    """
    if 1 <= rest < 1 + _TWO_BYTES:
        return 2 * (rest - 1), 0
    if rest >= 2 + _TWO_BYTES:
        return 2 * (rest - 2) & 127 | 128, rest - 2 >> 6
    return 0, 255


@cache
def _value_lengths(front: int | None = None) -> tuple[bytes, ...]:
    """Both bytes of `_value_length`: by size of a body whose first `front` bytes are followed by the value, or by what
    is left of it.
    """
    rests = range(_LONGEST) if front is None else _rests(front)
    return tuple(map(bytes, zip(*map(_value_length, rests), strict=True)))


@cache
def _pairs() -> list[slice]:
    return [slice(at, at + 2) for at in range(_LONGEST)]
