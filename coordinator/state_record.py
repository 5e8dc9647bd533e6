"""A record of a coordinator's topic, as message objects and as bytes.

Key = int16 type + struct, value = int16 version + struct, no value deletes. Which records there are: group/records.py,
transaction/records.py.
"""

from __future__ import annotations

from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Message


class StateRecord:
    """One record: a key, and a value with the version to write it in; no value is a tombstone."""

    __slots__ = ("key", "value", "version")

    def __init__(self, key: Message, value: Message | None = None, version: int = 0) -> None:
        self.key = key
        self.value = value
        self.version = version

    def encode(self) -> tuple[bytes, bytes | None]:
        """(key bytes, value bytes or None)."""
        key = (self.key.KEY or 0).to_bytes(2, "big") + self.key.encode(0)
        if self.value is None:
            return key, None
        return key, self.version.to_bytes(2, "big") + self.value.encode(self.version)


def int16(data: bytes) -> int:
    """The type of a key or the version of a value. Raises ProtocolError."""
    if len(data) < 2:
        raise ProtocolError("a coordinator's record begins with two bytes of type or version")
    return int.from_bytes(data[:2], "big", signed=True)
