"""The codecs that Ottla has anyway, lent to kafka-python, which would need a package for each of them."""

from __future__ import annotations

from functools import partial
from typing import Final

_NUMBERS: Final = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_BUDGET_BYTES: Final = 1 << 30  # of one batch, unpacked


def teach_codecs() -> None:
    """From now on kafka-python's batches are unpacked and packed by ottla.wire.compression."""
    from kafka import codec
    from kafka.record import default_records

    for name, number in _NUMBERS.items():
        setattr(codec, f"has_{name}", _yes)
        setattr(default_records, f"{name}_decode", partial(_decode, number))
        setattr(default_records, f"{name}_encode", partial(_encode, number))


def _yes() -> bool:
    return True


def _decode(number: int, data: bytes | memoryview) -> bytes:
    from ottla.wire.compression import decompress

    return bytes(decompress(number, data, _BUDGET_BYTES))


def _encode(number: int, data: bytes) -> bytes:
    from ottla.wire.compression import compress

    return bytes(compress(number, data))
