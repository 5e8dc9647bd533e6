"""Produce requests that repeat: a producer's next request mostly differs from its last in correlation id, partition and
records only. Then the decoded request is used again, with other records: 1 us instead of 5.

Here: recognising such a frame. Everything else about it was checked when the first one was decoded, so whatever is not
byte for byte the same is decoded anew by whoever asks.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Any, Final, Protocol

FLEXIBLE_FROM: Final = 9  # compact lengths and tags: others are not worth it
_HEAD: Final = 4  # bytes in front of the correlation id
_VARYING: Final = Struct(">i")  # a correlation id, or an index
_NO_TAGS: Final = 3  # bytes at the end: of the partition, the topic, the request


class Asked(Protocol):
    """What is known of a request that was decoded: header and body."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str
    request: Any


class RepeatedProduce:
    """A decoded Produce request of one partition, as `request`, and the bytes that it began with."""

    __slots__ = (
        "_behind",
        "_data",
        "_length",
        "_start",
        "answer",
        "client_id",
        "correlation_id",
        "counted",
        "request",
        "version",
    )

    def __init__(self, frame: memoryview, length: int, asked: Asked) -> None:
        """`length`: of what the frame begins with, up to the partition's index."""
        self._start = bytes(frame[:_HEAD])
        self._behind = bytes(frame[_HEAD + _VARYING.size : length])
        self._length = length
        self.request = asked.request
        self._data = asked.request.topic_data[0].partition_data[0]
        self.version = asked.api_version
        self.client_id = asked.client_id
        self.correlation_id = asked.correlation_id
        self.counted = (asked.api_key, asked.api_version)
        self.answer: Any = None  # what the handler makes its answers of

    @classmethod
    def of(cls, frame: memoryview, body_offset: int, asked: Asked) -> RepeatedProduce | None:
        """What can be recognised in the frames to come, of a Produce request whose body begins at `body_offset`; None
        if it has another shape."""
        topics = asked.request.topic_data
        if asked.api_version < FLEXIBLE_FROM or len(topics) != 1 or len(topics[0].partition_data) != 1:
            return None
        records = topics[0].partition_data[0].records
        if records is None:
            return None
        width = ((len(records) + 1).bit_length() + 6) // 7  # of their length
        length = len(frame) - _NO_TAGS - len(records) - width - _VARYING.size
        if length < body_offset:  # tags at the end, or a length longer than it need be
            return None
        found = cls(frame, length, asked)
        if not found.take(frame):
            return None
        found.let_go()
        return found

    def take(self, frame: memoryview) -> bool:
        """Whether `frame` differs in correlation id, partition and records only; then they are here and in `request`.

        Nothing has changed if not.
        """
        at = self._length
        if frame[_HEAD + _VARYING.size : at] != self._behind or frame[:_HEAD] != self._start:
            return False
        try:
            (index,) = _VARYING.unpack_from(frame, at)
            at += _VARYING.size
            size = byte = frame[at]
            shift = 0
            while byte > 127:
                at += 1
                shift += 7
                byte = frame[at]
                size = size & (1 << shift) - 1 | byte << shift
            first = at + 1
            end = first + size - 1
            if size < 1 or end + _NO_TAGS != len(frame) or frame[end] or frame[end + 1] or frame[end + 2]:
                return False
        except (IndexError, error):
            return False
        (self.correlation_id,) = _VARYING.unpack_from(frame, _HEAD)
        self._data.index = index
        self._data.records = frame[first:end]
        return True

    def let_go(self) -> None:
        """The records were handled: the request keeps nobody's buffer alive."""
        self._data.records = None
