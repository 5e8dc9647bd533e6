"""Variable-length integers: unsigned (compact lengths, tags) and zig-zag (record fields).

Here: one number in, its bytes out, and back.
Not here: the inlined copies in the hot loops of `records` and in the compiled codecs.
"""

from __future__ import annotations

from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Buffer

# Most numbers of a record are small: 0.05 us out of a table, 0.25 us made anew.
_ONE_BYTE = tuple(bytes((value,)) for value in range(128))
_ZIGZAG = _ONE_BYTE[::2] + _ONE_BYTE[:0:-2]  # by the number itself: 0 to 63, then, counted from the end, -64 to -1


def encode_unsigned(value: int) -> bytes:
    """The base-128 bytes of `value` (>= 0), least significant group first."""
    if value < 128:
        return _ONE_BYTE[value]
    if value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_zigzag(value: int) -> bytes:
    """The zig-zag varint of a signed `value` of up to 64 bits; varint and varlong differ only in their range."""
    if -64 <= value < 64:
        return _ZIGZAG[value]
    return encode_unsigned(value << 1 if value >= 0 else ~(value << 1))


def decode_unsigned(data: Buffer, offset: int, bits: int = 32) -> tuple[int, int]:
    """(value, offset after it). Raises ProtocolError if the number is cut or does not fit `bits`."""
    value = shift = 0
    try:
        while (byte := data[offset]) > 127:
            value |= (byte & 127) << shift
            shift += 7
            offset += 1
            if shift >= bits:
                raise ProtocolError(f"varint is longer than {bits} bits", offset=offset)
    except IndexError:
        raise ProtocolError("varint is cut", offset=offset) from None
    value |= byte << shift
    if value >> bits:
        raise ProtocolError(f"varint does not fit {bits} bits", offset=offset)
    return value, offset + 1


def decode_zigzag(data: Buffer, offset: int, bits: int = 32) -> tuple[int, int]:
    """(value, offset after it) of a zig-zag varint (`bits` 32) or varlong (64). Raises as `decode_unsigned`."""
    if offset < len(data) and (value := data[offset]) < 128:  # most numbers of a record
        return (value >> 1) ^ -(value & 1), offset + 1
    value, offset = decode_unsigned(data, offset, bits)
    return (value >> 1) ^ -(value & 1), offset
