"""The walk over an uncompressed block of records: whether they are well-formed, and what a broker asks of them.

Here: which way each record is checked, by columns (record_runs) or one by one. Not here: batches (records), what a
topic demands (log.validate).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.record_columns import SPAN, mixed_run
from ottla.wire.record_runs import LEAST, WINDOW, uniform_run
from ottla.wire.records import NO_TIMESTAMP
from ottla.wire.schema import Buffer
from ottla.wire.skim import invalid, skim, skim_headers, skim_record


class Walk(NamedTuple):
    """What `walk` found out. Indexes are those of records in the batch, ascending."""

    max_timestamp_delta: int  # ms after the base timestamp; 0 without records
    null_keys: Sequence[int]  # records without a key; empty unless asked for
    bad_timestamps: Sequence[int]  # records outside the range asked for


_CHUNK = 64  # so many offset deltas in a row differ in the first byte of their varint only
# Two bytes, read as one number: `& 0x8080` is this if they are one varint, and 0 if the first alone is one.
_CONTINUES = 0x80
# The fields in front of a key: length, attributes (skipped), timestamp delta, offset delta (a third byte is looked at
# apart), key length. [length has two bytes][timestamp delta has two bytes][bytes of offset delta - 1] -> call, size.
_LAYOUTS = [
    [
        [
            (layout.unpack_from, layout.size)
            for layout in map(struct.Struct, (f"<{fields}{d}B" for d in ("B", "H", "Hx")))
        ]
        for fields in (f"{length}xB", f"{length}xH")
    ]
    for length in "BH"
]


def walk(
    block: Buffer,
    count: int,
    *,
    base_timestamp: int = 0,
    timestamp_range: tuple[int, int] | None = None,
    keys_required: bool = False,
) -> Walk:
    """Check that an uncompressed `block` holds exactly `count` records, well-formed, with offset deltas 0, 1, 2...

    `timestamp_range` (first and last ms allowed, given `base_timestamp`; -1, no timestamp, is always allowed) and
    `keys_required` collect offenders instead of raising. Raises KafkaError INVALID_RECORD with the record's index.

    Records that are laid out alike are checked by columns (record_runs), others are gathered into columns first
    (record_columns), what fits neither is checked one by one. That is the dearest part of Produce with small records,
    hence its shape: one struct call reads all fields in front of a key, for the widths that the record before had, or
    one more where the length has another. Whatever is not as guessed (other widths, the block's last bytes, damage) is
    left to `skim_record`.
    """
    grid: bytes | bytearray = b""
    if count >= LEAST:  # 5 us for 256 KiB of a view, of which a column takes ten times as long
        block = grid = bytes(block) if isinstance(block, memoryview) else block
    position = size = 0
    look = pause = 0  # records that are walked before the next look for a mixed run: more each time in vain
    span = LEAST
    min_delta, max_delta = 1 << 63, -1 << 63
    length_before = timestamp_before = -1  # as read
    keys = 0  # all key lengths or-ed: odd if one is null
    length_mark = _CONTINUES if len(block) and block[0] > 127 else 0
    timestamp_mark = first = 0
    last = len(block) - 1
    while first < count:
        if count - first >= LEAST:
            run = None
            # Records of many sizes pay for this alone: one of the last record's size must lead to another's first byte.
            if not size or (position + size < last and block[position] == block[position + size + 1]):
                run = uniform_run(grid, position, first, count - first)
            if run is None and first >= look:
                block = grid = bytes(grid)  # a stream over bytes needs no copy of its own
                run = mixed_run(grid, position, first, min(span, count - first))
                span = min(span * 4, SPAN) if run is not None and run.records == span else LEAST
                pause = min(2 * pause + _CHUNK, WINDOW) if run is None else 0
                look = first + pause
            if run is not None:
                max_delta = max(max_delta, run.most_timestamp_delta)
                min_delta = min(min_delta, run.least_timestamp_delta)
                keys |= run.key
                first += run.records
                position = run.end
                size = 0
                continue
        following = min(count, (first | _CHUNK - 1) + 1)
        third = 0
        if first < _CHUNK:
            more_bytes, raw_first = 0, first << 1
        elif first < 1 << 13:
            more_bytes, raw_first = 1, first << 2 & 0x7F00 | first << 1 & 0x7E | 0x80
        else:
            more_bytes, raw_first = 2, first << 2 & 0x7F00 | first << 1 & 0x7E | 0x8080
            third = first >> 13 if first < 1 << 20 else 0x100  # four bytes: no guess will do
        unpack, width = _LAYOUTS[length_mark > 0][timestamp_mark > 0][more_bytes]
        for raw_delta in range(raw_first, raw_first + 2 * (following - first), 2):
            while True:
                try:
                    length, timestamp, delta, key = unpack(block, position)
                    if (
                        delta == raw_delta
                        and (length == length_before or length & 0x8081 == length_mark)  # bit 0: negative
                        and (timestamp == timestamp_before or timestamp & 0x8080 == timestamp_mark)
                        and (not key & 0x81 or key == 1)
                        and (not third or block[position + width - 2] == third)
                    ):
                        at = position + width + (key >> 1)
                        value = block[at]
                        if value > 127:
                            value = value & 127 | block[at + 1] << 7  # a third byte would reach beyond the record
                            at += (value >> 1) + 2
                        else:
                            at += (value >> 1) + 1
                        headers = block[at]
                        if headers:
                            at = skim_headers(block, at, headers)
                        if length != length_before:
                            length_before = length
                            size = (1 if length_mark else 0) + ((length & 127 | length >> 1 & 0x3F80) >> 1)
                        if at == position + size and (not value & 1 or value == 1):
                            if timestamp != timestamp_before:
                                timestamp_before = timestamp
                                zigzag = timestamp & 127 | timestamp >> 1 & 0x3F80
                                timestamp_delta = (zigzag >> 1) ^ -(zigzag & 1)
                                if timestamp_delta > max_delta:
                                    max_delta = timestamp_delta
                                if timestamp_delta < min_delta:
                                    min_delta = timestamp_delta
                            keys |= key
                            position = at + 1
                            break
                except (IndexError, struct.error):
                    pass
                mark = _CONTINUES if position <= last and block[position] > 127 else 0
                if mark != length_mark:  # the length has another width: again with that, at half of a skim
                    length_mark = mark
                    unpack, width = _LAYOUTS[length_mark > 0][timestamp_mark > 0][more_bytes]
                    length_before = timestamp_before = -1
                    continue
                index = first + (raw_delta - raw_first >> 1)
                try:
                    end, timestamp_delta, null_key = skim_record(block, position, index)
                except ProtocolError as error:
                    raise invalid(index, error.message) from None
                if timestamp_delta > max_delta:
                    max_delta = timestamp_delta
                if timestamp_delta < min_delta:
                    min_delta = timestamp_delta
                keys |= null_key
                length_mark = _CONTINUES if end - position > 64 else 0
                timestamp_mark = 0 if -64 <= timestamp_delta < 64 else _CONTINUES
                unpack, width = _LAYOUTS[length_mark > 0][timestamp_mark > 0][more_bytes]
                length_before = timestamp_before = -1
                position = end
                break
        first = following
    if position != len(block):
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{len(block) - position} bytes after the last record")
    null_keys: Sequence[int] = ()
    if keys_required and keys & 1:
        null_keys = [index for index, (_, null_key) in enumerate(skim(block, count)) if null_key]
    bad_timestamps: Sequence[int] = ()
    if timestamp_range is not None and count > 0:
        lowest, highest = timestamp_range
        if base_timestamp + min_delta < lowest or base_timestamp + max_delta > highest:
            bad_timestamps = [
                index
                for index, (delta, _) in enumerate(skim(block, count))
                if not lowest <= base_timestamp + delta <= highest and base_timestamp + delta != NO_TIMESTAMP
            ]
    return Walk(max_delta if count > 0 else 0, null_keys, bad_timestamps)
