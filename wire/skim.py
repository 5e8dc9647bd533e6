"""Records one by one, without their content: what each one says of itself, and whether its fields fill it.

Here: exact readers of one record or of all of a block, on which the faster ways (walk, record_runs) fall back.
Not here: records as objects (records).
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.wire.errors import ErrorCode, KafkaError, ProtocolError
from ottla.wire.schema import Buffer
from ottla.wire.varint import decode_unsigned


def invalid(index: int, why: object) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, f"record {index}: {why}")


def misfit(position: int, end: int) -> ProtocolError:
    return ProtocolError(f"its fields end at {position}, it ends at {end}")


def skim_record(data: Buffer, position: int, offset_delta: int) -> tuple[int, int, bool]:
    """(end, timestamp delta, whether the key is null) of the record at `position`, whose content is not touched.

    Raises ProtocolError. It reads what `_read_record` does; numbers of one byte, as most are, in place: half the time.
    """
    try:
        zigzag = data[position]
        position += 1
        if zigzag > 127:
            zigzag, position = decode_unsigned(data, position - 1)
        end = position + (zigzag >> 1)
        if zigzag & 1 or end > len(data):
            raise ProtocolError("its length does not fit the batch")
        zigzag = data[position + 1]  # the byte before it is the attributes, of which none are defined
        position += 2
        if zigzag > 127:
            zigzag, position = decode_unsigned(data, position - 1, 64)
        timestamp_delta = (zigzag >> 1) ^ -(zigzag & 1)
        zigzag = data[position]
        position += 1
        if zigzag > 127:
            zigzag, position = decode_unsigned(data, position - 1)
        if zigzag != offset_delta << 1:
            raise ProtocolError(f"its offset delta is {(zigzag >> 1) ^ -(zigzag & 1)}")
        key = data[position]
        position += 1
        if key > 127:
            key, position = decode_unsigned(data, position - 1)
        position += key >> 1
        value = data[position]
        position += 1
        if value > 127:
            value, position = decode_unsigned(data, position - 1)
        position += value >> 1
        if (key & 1 and key != 1) or (value & 1 and value != 1):
            raise ProtocolError("a length is negative")
        count = data[position]
        position += 1
        if count > 127:
            count, position = decode_unsigned(data, position - 1)
        if count & 1 or count >> 1 > end - position:
            raise ProtocolError("its number of headers cannot be")
        for _ in range(count >> 1):
            name = data[position]
            position += 1
            if name > 127:
                name, position = decode_unsigned(data, position - 1)
            position += name >> 1
            value = data[position]
            position += 1
            if value > 127:
                value, position = decode_unsigned(data, position - 1)
            position += value >> 1
            if name & 1 or (value & 1 and value != 1):
                raise ProtocolError("a length in a header is negative")
    except IndexError:
        raise ProtocolError("it is cut") from None
    if position != end:
        raise misfit(position, end)
    return end, timestamp_delta, key == 1


def skim_headers(block: Buffer, at: int, count: int) -> int:
    """Where the last byte of headers with lengths of one byte is, given the zig-zag of their count, which is `at`.

    -1 if they have others or are cut. Raises IndexError.
    """
    if count & 0x81:  # negative, or of more bytes
        return -1
    for _ in range(count >> 1):
        name = block[at + 1]
        at += (name >> 1) + 1
        value = block[at + 1]
        at += (value >> 1) + 1
        if name & 0x81 or (value & 0x81 and value != 1):
            return -1
    return at if at < len(block) else -1


def skim(block: Buffer, count: int) -> Iterator[tuple[int, bool]]:
    """(timestamp delta, whether the key is null) of each record of a block that was walked."""
    position = 0
    for index in range(count):
        position, timestamp_delta, null_key = skim_record(block, position, index)
        yield timestamp_delta, null_key


Entry = tuple[int, int, int, int, "bytes | None", bool]
"""Of a stored record: end, timestamp delta, position of its offset delta, offset delta, key, whether it has a value."""


def entries(block: bytes, count: int) -> Iterator[Entry]:
    """Where the records of an uncompressed block lie, and what compaction asks of them; offset deltas may have gaps.

    Each record starts where the one before ends. Raises KafkaError INVALID_RECORD.
    """
    position = index = 0
    try:
        for index in range(count):  # noqa: B007  # named in the error
            zigzag = block[position]
            position += 1
            if zigzag > 127:
                zigzag, position = decode_unsigned(block, position - 1)
            end = position + (zigzag >> 1)
            if zigzag & 1 or end > len(block):
                raise ProtocolError("its length does not fit the batch")
            zigzag = block[position + 1]  # the byte before it is the attributes, of which none are defined
            position += 2
            if zigzag > 127:
                zigzag, position = decode_unsigned(block, position - 1, 64)
            timestamp_delta = (zigzag >> 1) ^ -(zigzag & 1)
            tail = position
            offset_delta = block[position]
            position += 1
            if offset_delta > 127:
                offset_delta, position = decode_unsigned(block, tail)
            size = block[position]
            position += 1
            if size > 127:
                size, position = decode_unsigned(block, position - 1)
            key: bytes | None = None
            if not size & 1:
                key = block[position : position + (size >> 1)]
                position += size >> 1
            if position >= end or offset_delta & 1:
                raise misfit(position, end)
            yield end, timestamp_delta, tail, offset_delta >> 1, key, block[position] != 1  # 1: the length of null
            position = end
    except (ProtocolError, IndexError) as error:
        raise invalid(index, error.message if isinstance(error, ProtocolError) else "it is cut") from None
    if position != len(block):
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{len(block) - position} bytes after the last record")
