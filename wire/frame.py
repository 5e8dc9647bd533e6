"""Frames and headers: int32 size, header, body. Bytes in, values out; no sockets here, and no bodies.

A request header is api key, api version, correlation id, client id (never compact, KIP-482) and, in header version 2,
a tag section. A response header is the correlation id and, in header version 1, a tag section.
"""

from __future__ import annotations

import struct

from ottla.wire.apis import API, request_header_version, response_header_version
from ottla.wire.compiler import skip_tags
from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Buffer, Message, RecordsSlice

#: Bytes of the size that stands before each frame.
SIZE_BYTES = 4

_SIZE = struct.Struct(">i")
_REQUEST_HEAD = struct.Struct(">hhih")  # api key, api version, correlation id, length of the client id
_RESPONSE_HEAD = struct.Struct(">ii")  # size, correlation id


class RequestHeader:
    """A decoded request header. `body_offset` is where the body begins in the buffer that the header was read from."""

    __slots__ = ("api_key", "api_version", "body_offset", "client_id", "correlation_id")

    def __init__(
        self, api_key: int, api_version: int, correlation_id: int, client_id: str | None, body_offset: int = 0
    ) -> None:
        self.api_key = api_key
        self.api_version = api_version
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.body_offset = body_offset

    def __repr__(self) -> str:
        return (
            f"RequestHeader(api_key={self.api_key}, api_version={self.api_version}, "
            f"correlation_id={self.correlation_id}, client_id={self.client_id!r}, body_offset={self.body_offset})"
        )


def next_frame(data: Buffer, start: int, end: int, max_bytes: int) -> tuple[int, int] | None:
    """Where the frame whose size stands at `start` has its content, as (first byte, byte after the last).

    The second may lie beyond `end`: the frame is not there yet. None: not even its size is. Raises ProtocolError for a
    negative size and for one above `max_bytes`.
    """
    if end - start < SIZE_BYTES:
        return None
    size: int = _SIZE.unpack_from(data, start)[0]
    if size < 0:
        raise ProtocolError(f"a frame of {size} bytes", offset=start)
    if size > max_bytes:
        raise ProtocolError(f"a frame of {size} bytes, more than the {max_bytes} allowed", offset=start)
    first = start + SIZE_BYTES
    return first, first + size


def decode_request_header(data: Buffer, start: int = 0, end: int | None = None) -> RequestHeader:
    """Read the header that begins at `start` of a frame that ends before `end`.

    Raises ProtocolError where the bytes are no header, and for an api key that no client may send: how its header goes
    on is then unknown. The version may be one that nobody serves.
    """
    stop = len(data) if end is None else end
    try:
        api_key, api_version, correlation_id, length = _REQUEST_HEAD.unpack_from(data, start)
        spec = API.get(api_key)
        if spec is None:
            raise ProtocolError(f"unknown api key {api_key}")
        offset = start + 10
        client_id = None
        if length >= 0:
            first = offset
            offset += length
            if offset > stop:
                raise ProtocolError(f"a client id of {length} bytes, {stop - first} left")
            client_id = str(data[first:offset], "utf-8", "replace")  # as in Kafka
        flexible_from = spec.flexible_from
        if flexible_from is not None and api_version >= flexible_from:
            offset = skip_tags(data, offset + 1, data[offset])
        if offset > stop:
            raise ProtocolError("the frame ends early")
    except (ProtocolError, IndexError, struct.error) as fault:
        raise _refusal(fault, "RequestHeader", start) from None
    return RequestHeader(api_key, api_version, correlation_id, client_id, offset)


def _refusal(fault: Exception, header: str, start: int) -> ProtocolError:
    if isinstance(fault, ProtocolError):
        message = fault.message
    else:
        message = "the frame ends early"
    return ProtocolError(message, api=header, offset=start)


def encode_request_header(api_key: int, api_version: int, correlation_id: int, client_id: str | None) -> bytes:
    """The header as a client sends it."""
    name = b"" if client_id is None else client_id.encode()
    length = -1 if client_id is None else len(name)
    head = _REQUEST_HEAD.pack(api_key, api_version, correlation_id, length) + name
    return head + b"\0" if request_header_version(api_key, api_version) == 2 else head


def encode_response_header(api_key: int, api_version: int, correlation_id: int) -> bytes:
    """The header that answers a request of this key and version."""
    head = _SIZE.pack(correlation_id)
    return head + b"\0" if response_header_version(api_key, api_version) == 1 else head


def decode_response_header(data: Buffer, api_key: int, api_version: int, start: int = 0) -> tuple[int, int]:
    """(correlation id, where the body begins). Raises ProtocolError."""
    try:
        correlation_id: int = _SIZE.unpack_from(data, start)[0]
        offset = start + 4
        if response_header_version(api_key, api_version) == 1:
            offset = skip_tags(data, offset + 1, data[offset])
    except (ProtocolError, IndexError, struct.error) as fault:
        raise _refusal(fault, "ResponseHeader", start) from None
    return correlation_id, offset


def encode_request(
    api_key: int, api_version: int, correlation_id: int, client_id: str | None, request: Message
) -> bytes:
    """A whole request frame, its size in front."""
    content = encode_request_header(api_key, api_version, correlation_id, client_id) + request.encode(api_version)
    return _SIZE.pack(len(content)) + content


def encode_response(
    api_key: int, api_version: int, correlation_id: int, response: Message
) -> list[bytes | RecordsSlice]:
    """A whole response frame, its size in front: bytes, with slices of stored records between them where it has any."""
    parts = response.encode_parts(api_version)
    has_tags = response_header_version(api_key, api_version)
    size = 4 + has_tags
    for part in parts:
        size += len(part) if type(part) is bytes else part.nbytes  # type: ignore[union-attr]
    head = _RESPONSE_HEAD.pack(size, correlation_id)
    parts[0] = (head + b"\0" if has_tags else head) + parts[0]  # type: ignore[operator]  # encode_parts begins with bytes
    return parts
