"""How a record of `__cluster_metadata` stands in a record's value: frame version, record type, record version, body.

The three numbers are unsigned varints (KIP-631). Here: that frame. Not here: the schemas (cluster_metadata.py).
"""

from __future__ import annotations

from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Buffer, Message
from ottla.wire.state import cluster_metadata
from ottla.wire.varint import decode_unsigned, encode_unsigned

FRAME_VERSION = 1

_TYPES: dict[int, type[Message]] = {
    cls.KEY: cls
    for cls in vars(cluster_metadata).values()
    if isinstance(cls, type) and issubclass(cls, Message) and cls.KEY is not None
}


def encode_metadata_record(record: Message, version: int | None = None) -> bytes:
    """The value of a record that holds `record`, in its highest version unless told otherwise."""
    if version is None:
        version = record.VALID[1]
    assert record.KEY is not None
    head = encode_unsigned(FRAME_VERSION) + encode_unsigned(record.KEY) + encode_unsigned(version)
    return head + record.encode(version)


def decode_metadata_record(value: Buffer) -> Message | None:
    """The record in `value`; None for a type that this version does not know. Raises ProtocolError."""
    frame_version, offset = decode_unsigned(value, 0)
    if frame_version != FRAME_VERSION:
        raise ProtocolError(f"metadata record of frame version {frame_version}")
    key, offset = decode_unsigned(value, offset)
    version, offset = decode_unsigned(value, offset)
    cls = _TYPES.get(key)
    return None if cls is None else cls.decode(value, version, offset)
