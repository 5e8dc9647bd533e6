"""Request frames, made once and sent many times, and where the answers' fields of interest are.

An answer of a known shape (one topic, one partition, one version) has its error code at a fixed place, so that looking
at each of a hundred thousand answers costs the client next to nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from crc32c import crc32c

from ottla.wire.apis import API, request_header_version, response_header_version
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.delete_topics import DeleteTopicsRequest
from ottla.wire.messages.fetch import FetchRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_offsets import ListOffsetsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import ProduceRequest
from ottla.wire.records import ATTRIBUTES, BASE_SEQUENCE, BASE_TIMESTAMP, CRC, PRODUCER_ID, Record, build_batch
from ottla.wire.schema import Message

CREATE_TOPICS, DELETE_TOPICS, METADATA, LIST_OFFSETS, INIT_PRODUCER_ID, PRODUCE, FETCH = 7, 6, 9, 7, 4, 9, 12
LATEST = -1  # as a timestamp in ListOffsets: the end of the log
T0_MS = 1_700_000_000_000
_STATES = ("new", "paid", "packed", "shipped", "delivered", "returned")
_SIZE = struct.Struct(">i")
_BEHIND_BATCH = 3  # bytes in a frame of `produce`: no tagged fields of the partition, the topic, the request


def frame(request: Message, version: int) -> bytes:
    """The bytes of a request with its size; correlation id 1."""
    key = type(request).KEY
    assert key is not None
    head = struct.pack(">hhih", key, version, 1, 5) + b"bench"
    if request_header_version(key, version) == 2:
        head += b"\0"
    payload = head + request.encode(version)
    return _SIZE.pack(len(payload)) + payload


def decode(request: Message, version: int, answer: bytes) -> Any:
    """The response to `request`, `answer` without its size."""
    key = type(request).KEY
    assert key is not None
    return API[key].response.decode(answer, version, 4 + response_header_version(key, version))


def create_topics(topics: Mapping[str, int], configs: Mapping[str, str]) -> CreateTopicsRequest:
    """`topics`: partitions by name."""
    return CreateTopicsRequest(
        timeout_ms=60_000,
        topics=[
            CreateTopicsRequest.CreatableTopic(
                name=name,
                num_partitions=partitions,
                replication_factor=1,
                configs=[CreateTopicsRequest.CreatableTopicConfig(name=key, value=configs[key]) for key in configs],
            )
            for name, partitions in topics.items()
        ],
    )


def delete_topics(names: Sequence[str]) -> DeleteTopicsRequest:
    return DeleteTopicsRequest(
        timeout_ms=60_000, topics=[DeleteTopicsRequest.DeleteTopicState(name=name) for name in names]
    )


def metadata(names: Sequence[str] | None, *, create: bool = False) -> MetadataRequest:
    """Of all topics if `names` is None."""
    topics = None if names is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
    return MetadataRequest(topics=topics, allow_auto_topic_creation=create)


def list_offsets(topics: Mapping[str, int], timestamp_ms: int = LATEST) -> ListOffsetsRequest:
    """The ends of all partitions, or where they reach a time; `topics`: partitions by name."""
    return ListOffsetsRequest(
        replica_id=-1,
        topics=[
            ListOffsetsRequest.ListOffsetsTopic(
                name=name,
                partitions=[
                    ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=timestamp_ms)
                    for index in range(partitions)
                ],
            )
            for name, partitions in topics.items()
        ],
    )


def init_producer_id() -> InitProducerIdRequest:
    return InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)


def produce(topic: str, partition: int, batch: bytes | bytearray, *, acks: int = -1) -> bytes:
    """A Produce frame of one batch."""
    data = ProduceRequest.PartitionProduceData(index=partition, records=batch)
    request = ProduceRequest(
        acks=acks, timeout_ms=30_000, topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])]
    )
    return frame(request, PRODUCE)


def produce_error_at(topic: str) -> int:
    """Where the error code of the answer to `produce` is: behind header, topics, name, partitions, index."""
    return 4 + 1 + 1 + 1 + len(topic) + 1 + 4


def fetch(
    topic: str,
    partition: int,
    offset: int,
    *,
    max_bytes: int = 1 << 20,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
    session_id: int = 0,
    session_epoch: int = -1,
) -> bytearray:
    """A Fetch frame of one partition, outside of sessions unless told; what is at `fetch_offset_at` may be changed."""
    wanted = FetchRequest.FetchPartition(
        partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes, current_leader_epoch=-1
    )
    request = FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[wanted])],
    )
    return bytearray(frame(request, FETCH))


def follow(offsets: Mapping[tuple[str, int], int], session_id: int, session_epoch: int) -> FetchRequest:
    """A Fetch in a session that does not wait; `offsets` by topic and partition."""
    topics: dict[str, list[FetchRequest.FetchPartition]] = {}
    for (topic, index), offset in offsets.items():
        wanted = FetchRequest.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
        topics.setdefault(topic, []).append(wanted)
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=1 << 20,
        session_id=session_id,
        session_epoch=session_epoch,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=topics[topic]) for topic in topics],
    )


def fetch_offset_at(topic: str) -> int:
    """Where the offset stands in a frame of `fetch`."""
    marked = fetch(topic, 0, 0x0102030405060708)
    return bytes(marked).index(bytes(range(1, 9)))


def fetch_session_at(topic: str) -> int:
    """Where session id and epoch stand in a frame of `fetch`."""
    marked = fetch(topic, 0, 0, session_id=0x01020304, session_epoch=0x05060708)
    return bytes(marked).index(bytes(range(1, 9)))


FETCH_ERROR_AT = 4 + 1 + 4
"""Where the error code of a whole Fetch answer is; its session id and the number of topics follow."""


def fetch_session(answer: memoryview) -> tuple[int, int]:
    """The session id of a Fetch answer and how many topics it tells of, which is none if nothing is new."""
    session_id: int
    (session_id,) = _SIZE.unpack_from(answer, FETCH_ERROR_AT + 2)
    return session_id, answer[FETCH_ERROR_AT + 6] - 1


def fetch_records_at(topic: str) -> tuple[int, int]:
    """Where, in the answer to `fetch`, the partition's error code is, and the length of its records.

    Header, throttle time, error, session | topics, name, partitions, index | error | three offsets, aborted
    transactions (null), preferred replica.
    """
    error_at = FETCH_ERROR_AT + 2 + 4 + 1 + 1 + len(topic) + 1 + 4
    return error_at, error_at + 2 + 8 + 8 + 8 + 1 + 4


def records(answer: memoryview, at: int) -> tuple[int, int]:
    """Where the records that are announced at `at` begin, and how many bytes they have."""
    size = shift = 0
    while True:  # a compact length: varint of the size plus one
        byte = answer[at]
        at += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at, max(0, size - 1)


def is_whole(batch: memoryview) -> bool:
    """Whether the batch's CRC is that of its bytes."""
    crc: int
    (crc,) = struct.unpack_from(">I", batch, CRC)
    return crc == crc32c(batch[ATTRIBUTES:])


def batch(count: int, size: int, *, codec: int = 0, text: bool = False, spread: float = 0.0) -> bytearray:
    """A batch of `count` records of `size` bytes each; `text` compresses as messages do; with `spread` 0.5 a record has
    between half and one and a half of `size`.
    """
    if spread:
        values = [bytes(round(size * (1 - spread + 2 * spread * (at * 61 % 97) / 96))) for at in range(count)]
    elif text:
        chance = Random(count)  # the same batch in every run
        values = [_message(chance, size) for _ in range(count)]
    else:
        values = [bytes((at * 31 + 7) % 251 for at in range(size))] * count
    return build_batch([Record(at, T0_MS, None, value) for at, value in enumerate(values)], codec=codec)


def _message(chance: Random, size: int) -> bytes:
    """What applications send: names that repeat, numbers that do not."""
    text = ""
    while len(text) < size:
        text += f'{{"order": {chance.randrange(10**9)}, "customer": "{chance.randrange(10**12):x}", "amount": '
        text += f'{chance.randrange(10**5) / 100}, "currency": "EUR", "status": "{chance.choice(_STATES)}"}},'
    return text[:size].encode()


def batch_of_bytes(
    nbytes: int, size: int, *, codec: int = 0, text: bool = False, spread: float = 0.0
) -> tuple[bytearray, int]:
    """A batch of about `nbytes` before compression, and how many records it has."""
    count = max(1, nbytes // (size + 12))
    return batch(count, size, codec=codec, text=text, spread=spread), count


def make_idempotent(frame: bytearray, batch_size: int, producer_id: int, producer_epoch: int) -> None:
    """Give the batch in a frame of `produce` a producer; `set_sequence` must follow."""
    at = len(frame) - _BEHIND_BATCH - batch_size
    struct.pack_into(">qh", frame, at + PRODUCER_ID, producer_id, producer_epoch)


def set_sequence(frame: bytearray, batch_size: int, sequence: int) -> None:
    """Number the batch in a frame of `produce`, and mend its CRC."""
    _SIZE.pack_into(frame, len(frame) - _BEHIND_BATCH - batch_size + BASE_SEQUENCE, sequence)
    _mend_crc(frame, batch_size)


def set_time(frame: bytearray, batch_size: int, timestamp_ms: int) -> None:
    """Let the records of the batch in a frame of `produce` begin at a time, and mend its CRC."""
    at = len(frame) - _BEHIND_BATCH - batch_size
    first_ms, last_ms = struct.unpack_from(">qq", frame, at + BASE_TIMESTAMP)
    struct.pack_into(">qq", frame, at + BASE_TIMESTAMP, timestamp_ms, timestamp_ms + last_ms - first_ms)
    _mend_crc(frame, batch_size)


def _mend_crc(frame: bytearray, batch_size: int) -> None:
    end = len(frame) - _BEHIND_BATCH
    at = end - batch_size
    struct.pack_into(">I", frame, at + CRC, crc32c(memoryview(frame)[at + ATTRIBUTES : end]))
