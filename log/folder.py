"""A partition's folder: what it and the files in it are called, and `partition.metadata`, which says whose it is.

Nothing of batches, offsets or segments.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from ottla.log.filesystem import FileSystem
from ottla.log.ids import uuid_text
from ottla.wire.errors import ErrorCode, KafkaError

EPOCHS_FILE: Final = "leader-epoch-checkpoint"
METADATA_FILE: Final = "partition.metadata"
SEGMENT_SUFFIXES: Final = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")


def folder_name(topic: str, partition: int) -> str:
    """`topic-0`."""
    return f"{topic}-{partition}"


def parse_folder_name(name: str) -> tuple[str, int] | None:
    """Topic and partition of a folder's name; None for others (deleted, stray and future ones included)."""
    topic, dash, number = name.rpartition("-")
    if not topic or not dash or not number.isdecimal() or not number.isascii() or os.sep in topic:
        return None
    return topic, int(number)


def claim_folder(fs: FileSystem, folder: str, topic_id: bytes) -> None:
    """Make the folder of a topic's partition; one that is there, from a try that failed, is taken over.

    A folder of another topic (its name differs in case only, or it could not be deleted) must not be written to.
    Raises KafkaError KAFKA_STORAGE_ERROR for it, OSError.
    """
    try:
        fs.make_folder(folder)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            if fs.read_file(f"{folder}/{METADATA_FILE}") != _metadata(topic_id):
                raise KafkaError(
                    ErrorCode.KAFKA_STORAGE_ERROR, f"{folder} holds the records of another topic"
                ) from None


def save_topic_id(fs: FileSystem, folder: str, topic_id: bytes) -> None:
    """Write `partition.metadata`. Raises OSError."""
    fs.replace_file(f"{folder}/{METADATA_FILE}", _metadata(topic_id), sync=False)


def read_topic_id(fs: FileSystem, folder: str) -> str | None:
    """The text of topic_id in `partition.metadata`; None if there is no such file or it is garbage."""
    try:
        text = fs.read_file(f"{folder}/{METADATA_FILE}").decode("utf-8")
    except (OSError, ValueError):
        return None
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "topic_id":
            return value.strip()
    return None


def _metadata(topic_id: bytes) -> bytes:
    return f"version: 0\ntopic_id: {uuid_text(topic_id)}".encode()
