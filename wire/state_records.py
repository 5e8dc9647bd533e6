"""How coordinators frame the schemas of their records, and consumers theirs: a number, then the fields.

A record's key is the int16 record type and the key's fields (version 0), its value the int16 version and the value's
fields. The schemas are in `ottla.wire.state`, with the frame of metadata records. What records mean is not for here.
"""

from __future__ import annotations

import struct
from typing import TypeVar

from ottla.wire.errors import ProtocolError
from ottla.wire.schema import Buffer, Message

MessageT = TypeVar("MessageT", bound=Message)

_INT16 = struct.Struct(">h")


class UnknownRecordTypeError(ProtocolError):
    """A record of a type that this release does not know; a reader may skip it, as Kafka does."""


def encode_key(key: Message) -> bytes:
    """A coordinator record's key: its type, then its fields."""
    if key.KEY is None:
        raise TypeError(f"{key.NAME} is no record")
    return _INT16.pack(key.KEY) + key.encode(0)


def encode_versioned(message: Message, version: int) -> bytes:
    """The version as int16, then the fields: a coordinator record's value, a consumer's subscription or assignment."""
    return _INT16.pack(version) + message.encode(version)


def decode_versioned(cls: type[MessageT], data: Buffer, *, clamp: bool = False) -> MessageT:
    """Read what `encode_versioned` wrote. `clamp`: read a version above those known as the highest known, as consumers
    do with each other's subscriptions. Raises ProtocolError, also for a version that is not known."""
    if len(data) < 2:
        raise ProtocolError("no version", api=cls.NAME, offset=0)
    version: int = _INT16.unpack_from(data)[0]
    low, high = cls.VALID
    if clamp and version > high:
        version = high
    if not low <= version <= high:
        raise ProtocolError(f"unknown version {version}", api=cls.NAME, version=version, offset=0)
    return cls.decode(data, version, 2)


class RecordFamily:
    """The records of a coordinator's topic by type. Their module of `ottla.wire.state` is imported at first use."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._classes: dict[int, tuple[type[Message], type[Message]]] = {}

    def classes(self, record_type: int) -> tuple[type[Message], type[Message]]:
        """The classes of key and value. Raises UnknownRecordTypeError."""
        if not self._classes:
            module = __import__(f"ottla.wire.state.{self._module}", fromlist=["*"])
            for name, cls in vars(module).items():
                if name.endswith("Key"):
                    self._classes[cls.KEY] = cls, getattr(module, f"{name.removesuffix('Key')}Value")
        try:
            return self._classes[record_type]
        except KeyError:
            raise UnknownRecordTypeError(f"unknown record type {record_type}", api=self._module, offset=0) from None

    def decode(self, key: Buffer, value: Buffer | None) -> tuple[Message, Message | None]:
        """A record's key and value; a value of None (a tombstone) stays None.

        Raises UnknownRecordTypeError for a type that is not known, ProtocolError for bytes that are no such record.
        """
        if len(key) < 2:
            raise ProtocolError("no record type", api=self._module, offset=0)
        key_class, value_class = self.classes(_INT16.unpack_from(key)[0])
        return key_class.decode(key, 0, 2), None if value is None else decode_versioned(value_class, value)


CONSUMER_OFFSETS = RecordFamily("consumer_offsets")
TRANSACTION_STATE = RecordFamily("transaction_state")
SHARE_STATE = RecordFamily("share_state")
