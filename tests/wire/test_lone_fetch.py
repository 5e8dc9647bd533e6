"""An answer that tells of one partition has the bytes of the FetchResponse that says the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.wire.lone_fetch import BY_ID_FROM, FROM, encode_name, lone_fetch
from ottla.wire.messages.fetch import FetchResponse

NUMBERS = st.integers(-1, (1 << 63) - 1)


class Slice:
    """Stored records, as far as encoding is concerned."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.nbytes = len(data)


def joined(parts: Any) -> bytes:
    return b"".join(part.data if isinstance(part, Slice) else part for part in parts)


@pytest.mark.parametrize("version", range(FROM, FetchResponse.VALID[1] + 1))
@given(
    session_id=st.integers(0, (1 << 31) - 1),
    name=st.text(min_size=1, max_size=249),
    topic_id=st.binary(min_size=16, max_size=16),
    index=st.integers(0, (1 << 31) - 1),
    offsets=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    records=st.binary(min_size=1, max_size=300) | st.integers(1, 70_000).map(bytes),
    stored=st.booleans(),
    lists_aborted=st.booleans(),
)
def test_bytes(
    version: int,
    session_id: int,
    name: str,
    topic_id: bytes,
    index: int,
    offsets: tuple[int, int, int],
    records: bytes,
    stored: bool,
    lists_aborted: bool,
) -> None:
    data = FetchResponse.PartitionData(
        partition_index=index,
        high_watermark=offsets[0],
        last_stable_offset=offsets[1],
        log_start_offset=offsets[2],
        aborted_transactions=[] if lists_aborted else None,
        records=records,
    )
    topic = FetchResponse.FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[data])
    expected = FetchResponse(session_id=session_id, responses=[topic]).encode(version)
    answer = lone_fetch(
        version,
        session_id,
        topic_id if version >= BY_ID_FROM else encode_name(version, name),
        (index, 0, *offsets),
        Slice(records) if stored else records,
        lists_aborted,
    )
    assert joined(answer.encode_parts(version)) == expected
