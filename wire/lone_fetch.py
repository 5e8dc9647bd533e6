"""The answer to a Fetch that tells of records of one partition and of nothing else, from a template of its version:
1 us, where a FetchResponse and its encoding take 5. Such are most answers to who follows the end of a log.

Here: its bytes. When an answer is such a one, the handler knows.
"""

from __future__ import annotations

from functools import cache, lru_cache
from struct import Struct
from typing import Final

from ottla.wire.messages.fetch import FetchResponse
from ottla.wire.schema import Encoded, RecordsSlice
from ottla.wire.varint import encode_unsigned

FROM: Final = 7  # the first version whose answers have a session id
BY_ID_FROM: Final = 13
_SESSION: Final = Struct(">6xi")  # behind throttle time and error code, which are 0
_PARTITION: Final = Struct(">ihqqq")  # index, error code, high watermark, last stable offset, log start offset
_LENGTH_AND_TAGS: Final = 4  # bytes behind the rest, where the records are empty
_NO_TAGS: Final = b"\0\0\0"  # of the partition, the topic, the response


@cache
def _template(version: int, lists_aborted: bool) -> tuple[bytes, bytes, bytes]:
    """What an encoded answer has between session id, topic, partition and the length of the records."""
    index, offset = 0x01020304, 0x05060708090A0B0C
    data = FetchResponse.PartitionData(
        partition_index=index,
        high_watermark=offset,
        last_stable_offset=offset,
        log_start_offset=offset,
        aborted_transactions=[] if lists_aborted else None,
        records=b"",
    )
    name, topic_id = "t" * 16, b"i" * 16
    topic = FetchResponse.FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[data])
    body = FetchResponse(responses=[topic]).encode(version)
    encoded = topic_id if version >= BY_ID_FROM else encode_name(version, name)
    before, behind = body.split(encoded)
    between, rest = behind.split(_PARTITION.pack(index, 0, offset, offset, offset))
    return before[_SESSION.size :], between, rest[:-_LENGTH_AND_TAGS]


@lru_cache(maxsize=1000)
def encode_name(version: int, name: str) -> bytes:
    """Of a topic, as answers of the version have it."""
    encoded = name.encode()
    if version >= FetchResponse.FLEXIBLE:
        return encode_unsigned(len(encoded) + 1) + encoded
    return len(encoded).to_bytes(2) + encoded


def lone_fetch(
    version: int,
    session_id: int,
    topic: bytes,
    partition: tuple[int, int, int, int, int],
    records: bytes | RecordsSlice,
    lists_aborted: bool,
) -> Encoded:
    """The answer of a version from `FROM` on. `topic`: its id from `BY_ID_FROM` on, before its encoded name.
    `partition`: index, 0, high watermark, last stable offset, log start offset. `lists_aborted`: the client reads what
    is committed, and nothing of it was aborted."""
    before_topic, before_partition, before_length = _template(version, lists_aborted)
    nbytes = len(records) if isinstance(records, bytes) else records.nbytes
    if version >= FetchResponse.FLEXIBLE:
        length, tags = encode_unsigned(nbytes + 1), _NO_TAGS
    else:
        length, tags = nbytes.to_bytes(4), b""
    head = _SESSION.pack(session_id), before_topic, topic, before_partition, _PARTITION.pack(*partition), before_length
    if isinstance(records, bytes):
        return Encoded([b"".join((*head, length, records, tags))])
    return Encoded([b"".join((*head, length)), records, tags])
