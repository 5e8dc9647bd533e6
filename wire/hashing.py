"""Hashes and checksums that Kafka fixes: CRC-32C of batches, murmur2 of the default partitioner, Java's string hash.

Here: pure functions of bytes or text. Not here: security (passwords, SCRAM).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import cast

from ottla.wire.schema import Buffer


def _load_crc32c() -> Callable[[Buffer, int], int]:
    """The C function of package `crc32c`, without the package's `__init__`.

    For its version and its command line that one imports importlib.metadata and argparse: 18 ms of a start.
    """
    if "crc32c" not in sys.modules:
        package = importlib.util.find_spec("crc32c")
        if package is not None and package.submodule_search_locations is not None:
            spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return cast("Callable[[Buffer, int], int]", module.crc32c)
    from crc32c import crc32c as function

    return cast("Callable[[Buffer, int], int]", function)


crc32c = _load_crc32c()
"""crc32c(data, value=0) -> int: CRC-32C (Castagnoli) of any buffer, without a copy."""


def java_string_hash(text: str) -> int:
    """`String.hashCode()` of Java: over UTF-16 code units, as a signed 32-bit number."""
    if text.isascii():
        units: bytes | memoryview = text.encode("ascii")
    else:
        units = memoryview(text.encode("utf-16-" + sys.byteorder[0] + "e", "surrogatepass")).cast("H")
    value = 0
    for unit in units:
        value = (31 * value + unit) & 0xFFFFFFFF
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def partition_for_group(group_id: str, partitions: int) -> int:
    """The partition of `__consumer_offsets` (or, with a transactional id, `__transaction_state`) that holds `group_id`.

    Kafka's `Utils.abs(hash) % partitions`, where the smallest int has the absolute value 0.
    """
    value = java_string_hash(group_id)
    return 0 if value == -0x8000_0000 else abs(value) % partitions


def murmur2(data: Buffer) -> int:
    """Kafka's murmur2 (seed 0x9747b28c) of a record key, as a signed 32-bit number."""
    m = 0x5BD1E995
    size = len(data)
    h = 0x9747B28C ^ size
    whole = size & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    if whole != size:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    h ^= h >> 15
    return h - 0x1_0000_0000 if h & 0x8000_0000 else h


def partition_for_key(key: Buffer, partitions: int) -> int:
    """Where Kafka's default partitioner puts a record with this key: `(murmur2 & 0x7fffffff) % partitions`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
