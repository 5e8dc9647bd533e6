"""Kafka's rules for new topics, for the command line and for requests alike: names, and how many partitions."""

from __future__ import annotations

from typing import Final

MAX_PARTITIONS_PER_REQUEST: Final = 10_000
MAX_NAME_LENGTH: Final = 249  # so that "NAME-PARTITION" is a folder's name everywhere
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def name_fault(name: str) -> str | None:
    """Why `name` can't be a topic's, or None. 1-249 of [a-zA-Z0-9._-], neither '.' nor '..'."""
    if not name:
        return "a topic name must not be empty"
    if name in (".", ".."):
        return f"a topic name must not be {name!r}"
    if len(name) > MAX_NAME_LENGTH:
        return f"a topic name has at most {MAX_NAME_LENGTH} characters, this one {len(name)}"
    if not _NAME_CHARACTERS.issuperset(name):
        return "a topic name consists of ASCII letters, digits, '.', '_' and '-'"
    return None
