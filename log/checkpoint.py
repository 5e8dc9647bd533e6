"""Kafka's small text files: offset checkpoints and Java properties, read strictly and written so that a crash keeps one
whole.

Files with garbage raise ValueError: whoever can rebuild the content does, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable

_VERSION = "0"

TopicPartition = tuple[str, int]


def format_entries(lines: Iterable[str]) -> bytes:
    """The checkpoint form: version 0, the number of entries, one entry a line."""
    entries = list(lines)
    return "\n".join([_VERSION, str(len(entries)), *entries, ""]).encode()


def parse_entries(data: bytes, fields: int) -> list[list[str]]:
    """Entries of a checkpoint file, each split into `fields` words. Raises ValueError on anything else."""
    lines = data.decode("utf-8").split("\n")
    if lines[0].strip() != _VERSION:
        raise ValueError(f"checkpoint version {lines[0][:20]!r} is not 0")
    count = int(lines[1]) if len(lines) > 1 else -1
    entries = [line.split() for line in lines[2:] if line.strip()]
    if len(entries) != count or any(len(entry) != fields for entry in entries):
        raise ValueError(f"checkpoint has {len(entries)} entries, {count} announced, or an entry is malformed")
    return entries


def format_offsets(offsets: dict[TopicPartition, int]) -> bytes:
    """recovery-point-offset-checkpoint and its like: `topic partition offset` lines."""
    return format_entries(f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items())


def parse_offsets(data: bytes) -> dict[TopicPartition, int]:
    """Inverse of `format_offsets`. Raises ValueError."""
    return {(topic, int(partition)): int(offset) for topic, partition, offset in parse_entries(data, 3)}


def format_properties(properties: dict[str, str]) -> bytes:
    """A Java properties file; our keys and values need no escapes."""
    return "".join(f"{key}={value}\n" for key, value in properties.items()).encode()


def parse_properties(data: bytes) -> dict[str, str]:
    """A Java properties file as Kafka writes them (escaped colons and equals signs; no continued lines). Raises
    ValueError."""
    properties: dict[str, str] = {}
    for raw in data.decode("utf-8").splitlines():
        line = raw.strip()
        if not line or line[0] in "#!":
            continue
        key, separator, value = line.partition("=")
        if not separator:
            raise ValueError(f"no '=' in line {line[:40]!r}")
        properties[key.strip()] = value.strip().replace("\\:", ":").replace("\\=", "=").replace("\\\\", "\\")
    return properties
