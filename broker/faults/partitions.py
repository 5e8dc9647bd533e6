"""Some partitions of a request go wrong and the others are really served: taking those out of the request, and putting
their errors into the answer.

Pure, on messages; which partitions go wrong is a rule's to say, where they stand layouts.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import Any, Final, NamedTuple

from ottla.broker.faults.layouts import Layout, TopicNames, row_class
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import NOT_THERE, ErrorCode
from ottla.wire.records import CRC, HEADER_SIZE
from ottla.wire.schema import Message

Touches = Callable[[str, int | None], bool]  # topic, and its partition, or None: as a whole
_CRC_BYTES: Final = 4


class Taken(NamedTuple):
    """A topic of a request of which something was taken out: all that is named as its row says, or some partitions."""

    row: Any
    name: str
    indexes: list[int] | None


def take_out(
    key: int, version: int, layout: Layout, request: Message, touches: Touches, names: TopicNames
) -> tuple[Message | None, list[Taken]]:
    """The request without what `touches`, None if nothing is left of it; and what was taken. `request` stays whole."""
    place = layout.asked
    taken: list[Taken] = []
    left: list[Any] = []
    for row in place.rows(request):
        name = place.name_in(row, names)
        indexes = place.indexes(row)
        if name is None:
            left.append(row)
        elif indexes is None:
            if touches(name, None):
                taken.append(Taken(row, name, None))
            else:
                left.append(row)
        else:
            gone = [index for index in indexes if touches(name, index)]
            if gone:
                taken.append(Taken(row, name, gone))
            if len(gone) < len(indexes) or not indexes:
                left.append(_without(layout, row, indexes, touches, name) if gone else row)
    if not taken:
        return request, taken
    if key == ApiKey.METADATA:
        if version == 0 and not left:  # no topics would be all topics
            return request, []
    elif not left:
        return None, taken
    rest = copy(request)
    setattr(rest, place.topics, left)
    return rest, taken


def _without(layout: Layout, row: Any, indexes: list[int], touches: Touches, name: str) -> Any:
    attribute = layout.asked.partitions
    assert attribute is not None
    kept = copy(row)
    both = zip(getattr(row, attribute), indexes, strict=True)
    setattr(kept, attribute, [each for each, index in both if not touches(name, index)])
    return kept


def put_in(key: int, layout: Layout, answer: Message, taken: list[Taken], code: ErrorCode) -> None:
    """Say `code` of all that was taken out of a request, in the answer to the rest."""
    if not taken:
        return
    asked, told = layout.asked, layout.told
    rows: list[Any] = getattr(answer, told.topics)
    for row, name, indexes in taken:
        said: dict[str, Any] = {}
        if told.name is not None:
            own = row if asked.name is None else getattr(row, asked.name)
            said[told.name] = name if own is None else own
        if told.id is not None and asked.id is not None:
            said[told.id] = getattr(row, asked.id)
        if indexes is None:
            rows.append(row_class(key, layout.topic)(**said, **{layout.topic_error or layout.error: code}))
            continue
        same = next((each for each in rows if all(getattr(each, at) == value for at, value in said.items())), None)
        if same is None:
            same = row_class(key, layout.topic)(**said)
            rows.append(same)
        add_rows(key, layout, same, dict.fromkeys(indexes), code)


def add_rows(key: int, layout: Layout, topic: Any, indexes: Iterable[int], code: ErrorCode) -> None:
    """Say `code` of partitions of which `topic`, in an answer, says nothing."""
    assert layout.told.partitions is not None
    getattr(topic, layout.told.partitions).extend(_failed(key, layout, index, code) for index in indexes)


def overwrite(
    key: int, layout: Layout, answer: Message, touches: Touches, names: TopicNames, code: ErrorCode, *, whole: bool
) -> list[tuple[str, int | None]]:
    """Say `code` of whatever the answer tells of what `touches`; of what that was. `whole`: of topics that have an
    error of their own say it there.
    """
    told = layout.told
    spoiled: list[tuple[str, int | None]] = []
    for holder in told.holders(answer):
        for row in getattr(holder, told.topics):
            name = told.name_in(row, names)
            if name is None:
                continue
            if told.partitions is None or (whole and layout.topic_error is not None):
                if touches(name, None):
                    setattr(row, layout.topic_error or layout.error, code)
                    if told.partitions is not None:
                        setattr(row, told.partitions, [])
                    spoiled.append((name, None))
                continue
            partitions: list[Any] = getattr(row, told.partitions)
            for at, partition in enumerate(partitions):
                assert told.index is not None
                index = getattr(partition, told.index)
                if touches(name, index):
                    let_go(getattr(partition, "records", None))
                    partitions[at] = _failed(key, layout, index, code)
                    spoiled.append((name, index))
    return spoiled


def _failed(key: int, layout: Layout, index: int, code: ErrorCode) -> Any:
    assert layout.partition is not None
    assert layout.told.index is not None
    unknown = layout.blank_unknown if code in NOT_THERE else None
    blank = layout.blank if unknown is None else unknown
    return row_class(key, layout.partition)(**blank, **{layout.told.index: index, layout.error: code})


def empty_answer(key: int) -> Message:
    """An answer that tells of nothing yet."""
    return API[key].response()


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def let_go(records: Any) -> None:
    """Give back the file of records that are a slice of one."""
    release = getattr(records, "release", None)
    if release is not None:
        release()


def let_go_all(answer: Message | None) -> None:
    """Give back what an answer holds that will not be sent."""
    for part in getattr(answer, "parts", ()):  # one that is encoded already
        let_go(part)
    for topic in getattr(answer, "responses", ()):
        for partition in getattr(topic, "partitions", ()):
            let_go(getattr(partition, "records", None))


def spoil_batch(answer: Any, layout: Layout, touches: Touches, names: TopicNames) -> tuple[str, int, int] | None:
    """Flip a bit of the CRC of the first batch in a Fetch's answer that `touches`; the log keeps its own. Its topic,
    partition and base offset; None: there is no batch. Raises KafkaError KAFKA_STORAGE_ERROR.
    """
    found = _first_batch(answer, layout, touches, names)
    if found is None:
        return None
    name, partition = found
    stored = partition.records
    records = bytearray(stored.read() if hasattr(stored, "read") else stored)
    let_go(stored)
    records[CRC + _CRC_BYTES - 1] ^= 1
    partition.records = bytes(records)
    return name, partition.partition_index, int.from_bytes(records[:8], "big", signed=True)


def has_batch(answer: Any, layout: Layout, touches: Touches, names: TopicNames) -> bool:
    """Whether `spoil_batch` would find one."""
    return _first_batch(answer, layout, touches, names) is not None


def _first_batch(answer: Any, layout: Layout, touches: Touches, names: TopicNames) -> tuple[str, Any] | None:
    for row in layout.told.rows(answer):
        name = layout.told.name_in(row, names)
        if name is None:
            continue
        for partition in row.partitions:
            records = partition.records
            size = 0 if records is None else getattr(records, "nbytes", None)
            if (len(records) if size is None else size) > HEADER_SIZE and touches(name, partition.partition_index):
                return name, partition
    return None
