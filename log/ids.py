"""The one source of random ids: topic ids, cluster and directory ids, member ids, fetch session ids.

Seeded, it gives the same ids again; unseeded, ids are unique across processes. Nothing else may call `uuid4` or
`random`.
"""

from __future__ import annotations

import base64
import os
import random


class Ids:
    """Random ids. `seed` None: from the operating system; else reproducible, for tests."""

    __slots__ = ("_random",)

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(os.urandom(32) if seed is None else seed)

    def uuid(self) -> bytes:
        """Sixteen bytes of a version 4 UUID whose text form does not start with '-' (as Kafka's `Uuid.randomUuid`)."""
        while True:
            raw = bytearray(self._random.randbytes(16))
            raw[6] = raw[6] & 0x0F | 0x40
            raw[8] = raw[8] & 0x3F | 0x80
            if raw[0] >> 2 != 62:  # 62 is '-' in URL-safe base64
                return bytes(raw)

    def below(self, limit: int) -> int:
        """A random integer in [0, limit)."""
        return self._random.randrange(limit)


def uuid_text(raw: bytes) -> str:
    """Kafka's text form of a 16-byte uuid: 22 characters of URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def uuid_hex(raw: bytes) -> str:
    """The canonical 8-4-4-4-12 form, used inside member ids."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def uuid_from_text(text: str) -> bytes:
    """The 16 bytes of Kafka's text form. Raises ValueError if it is not one."""
    raw = base64.urlsafe_b64decode(text + "==")
    if len(raw) != 16:
        raise ValueError(f"{text!r} is not a 22-character base64 uuid")
    return raw
