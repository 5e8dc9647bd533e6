"""Two brokers' answers to the same request, compared field by field: what a broker makes up may differ, nothing else.

Answers are JSON values of wire/message_json.py. An id that a broker made up (topics, producers, members, sessions), an
address, and who is which node are matched: what the one calls X the other may call Y, from then on and in requests,
too. Times have to be there or not. Lists whose elements have names have no order. Record batches are compared record
by record. Beside the commands, since `ottla replay` and the differential tests both need it and it needs neither.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.hashing import crc32c
from ottla.wire.message_json import decode_bytes
from ottla.wire.records import ATTRIBUTES, CRC, PRODUCER_ID, RecordBatch, TimestampType, batches

_UNPACKED_BYTES: Final = 64 << 20  # of a batch
_MOST_TRIES: Final = 2_500  # to find out which elements of two lists belong together

#: Fields that hold what a broker makes up, or what it is called by -> of which kind that is.
MADE_UP: Final = {
    "topicId": "topic",
    "producerId": "producer",
    "v3AndBelowProducerId": "producer",
    "ongoingTxnProducerId": "producer",
    "memberId": "member",
    "leader": "member",  # of a JoinGroup; a number elsewhere
    "sessionId": "session",
    "clientInstanceId": "client instance",
    "subscriptionId": "subscription",
    "clusterId": "cluster",
    "replicaDirectoryId": "directory",
    "voterDirectoryId": "directory",
    "logDir": "folder",
    "host": "host",
    "port": "port",
    "nodeId": "node",
    "leaderId": "node",
    "brokerId": "node",
    "brokerIds": "node",
    "controllerId": "node",
    "replicaId": "node",
    "replicaNodes": "node",
    "isrNodes": "node",
    "offlineReplicas": "node",
    "replicas": "node",
    "addingReplicas": "node",
    "removingReplicas": "node",
    "preferredReadReplica": "node",
    "eligibleLeaderReplicas": "node",
    "lastKnownElr": "node",
}
_NOBODY: Final = (None, "", -1, -2, "AAAAAAAAAAAAAAAAAAAAAA")  # ids of nothing; so is a session 0

#: Fields of which only counts whether they are there: times, and offsets in logs that no client writes to.
PASSING: Final = re.compile(
    r"(?i:.*timestamp(ms)?)|logAppendTimeMs|transactionStartTimeMs|finalizedFeaturesEpoch"
    r"|DescribeQuorum\.(highWatermark|logEndOffset|leaderEpoch)|DescribeLogDirs\.(totalBytes|usableBytes)"
)
NOT_COMPARED: Final = frozenset(("throttleTimeMs",))

_NAMES: Final = (  # what tells the elements of a list apart, if they have it
    "name",
    "topic",
    "topicName",
    "topicId",
    "index",
    "partition",
    "partitionIndex",
    "partitionId",
    "nodeId",
    "brokerId",
    "replicaId",
    "apiKey",
    "groupId",
    "memberId",
    "groupInstanceId",
    "transactionalId",
    "producerId",
    "resourceType",
    "resourceName",
    "logDir",
    "key",
    "entityType",
)
_IN_ORDER: Final = frozenset(("replicaNodes", "replicas", "batches", "records", "headers"))
_SHORTEST_ID: Final = 8  # in texts: shorter ones are there by chance
_CODE: Final = "rrorCode"  # ends their names: errorCode, partitionErrorCode
ABSENT: Final = "<absent>"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of an answer: what it was, and what it is. `path` is as in `topics[orders].errorCode`."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: was {shown(self.path, self.before)}, is {shown(self.path, self.after)}"


class Matching:
    """Whose id is whose in the brokers of before and after, learnt from their answers as they come."""

    def __init__(self, ignored: Iterable[str] = ()) -> None:
        """`ignored`: names of more fields that are not compared, as `errorMessage` or `Metadata.errorMessage`."""
        self._ignored = NOT_COMPARED | set(ignored)
        self._after: dict[tuple[str, Any], Any] = {}
        self._before: dict[tuple[str, Any], Any] = {}

    def match(self, kind: str, before: Any, after: Any) -> None:
        """They are the same thing, from now on."""
        self._after[kind, before] = after
        self._before[kind, after] = before

    def translate(self, value: Any, name: str = "") -> Any:
        """A request as it was asked before, in the words of the broker of after."""
        if isinstance(value, dict):
            return {key: self.translate(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.translate(item, name) for item in value]
        if name == "records" and isinstance(value, str):
            return self._translate_records(value)
        kind = _kind(name, value)
        return value if kind is None else self._after.get((kind, value), value)

    def compare(self, api: str, before: Any, after: Any, *, learn: bool = True) -> list[Difference]:
        """What differs between two answers of `api`. Ids that stand where another one stood become known by that,
        unless `learn` is False.
        """
        found = _Comparison(self, api, learn=learn)
        found.compare("", "", before, after)
        return found.differences

    def _translate_records(self, text: str) -> str:
        data = bytearray(decode_bytes(text))
        with suppress(KafkaError):  # what is no batch is sent as it is
            for batch in batches(bytes(data)):
                after = self._after.get(("producer", batch.producer_id), batch.producer_id)
                if after != batch.producer_id:
                    start, end = batch.offset, batch.offset + batch.size
                    data[start + PRODUCER_ID : start + PRODUCER_ID + 8] = after.to_bytes(8, "big", signed=True)
                    crc = crc32c(bytes(data[start + ATTRIBUTES : end]), 0)
                    data[start + CRC : start + CRC + 4] = crc.to_bytes(4, "big")
        return b64encode(data).decode()

    def _known(self, kind: str, before: Any) -> Any:
        return self._after.get((kind, before))

    def _is_taken(self, kind: str, after: Any) -> bool:
        return (kind, after) in self._before

    def _text(self, text: str) -> str:
        """A text for people with the ids and ports of after."""
        for (kind, before), after in self._after.items():
            if kind == "port":
                text = text.replace(f":{before}", f":{after}")
            if isinstance(before, str) and len(before) >= _SHORTEST_ID and before != after and before in text:
                text = text.replace(before, str(after))
        return text


class _Comparison:
    def __init__(self, matching: Matching, api: str, *, learn: bool) -> None:
        self.differences: list[Difference] = []
        self._matching = matching
        self._api = api
        self._learn = learn

    def compare(self, path: str, name: str, before: Any, after: Any) -> None:
        ignored = self._matching._ignored
        if name in ignored or f"{self._api}.{name}" in ignored:
            return
        if isinstance(before, dict) and isinstance(after, dict):
            for key in dict.fromkeys((*before, *after)):  # in order: what comes first may name what comes later
                inner = f"{path}.{key}" if path else key
                self.compare(inner, key, before.get(key, ABSENT), after.get(key, ABSENT))
        elif isinstance(before, list) and isinstance(after, list):
            self._compare_lists(path, name, before, after)
        elif name == "records" and isinstance(before, str) and isinstance(after, str):
            if before != after:
                self.compare(path, "batches", _batches(before), _batches(after))
        elif not self._is_same(name, before, after):
            self.differences.append(Difference(path, self._expected(name, before), after))

    def _is_same(self, name: str, before: Any, after: Any) -> bool:
        kind = _kind(name, before)
        if kind is not None:
            return self._is_same_thing(kind, before, after)
        if before == after:
            return type(before) is type(after)
        if isinstance(before, str) and isinstance(after, str):
            before = self._matching._text(before)
            return before == after or (name.endswith("essage") and _timeless(before) == _timeless(after))
        if _is_number(before) and _is_number(after) and self._is_passing(name):
            return (before < 0) is (after < 0)
        return False

    def _is_same_thing(self, kind: str, before: Any, after: Any) -> bool:
        if type(before) is not type(after) or _is_nobody(kind, before) or _is_nobody(kind, after):
            return bool(before == after)
        known = self._matching._known(kind, before)
        if known is not None:
            return bool(known == after)
        if self._matching._is_taken(kind, after):
            return False
        if self._learn:
            self._matching.match(kind, before, after)
        return True

    def _is_passing(self, name: str) -> bool:
        return bool(PASSING.fullmatch(name) or PASSING.fullmatch(f"{self._api}.{name}"))

    def _expected(self, name: str, before: Any) -> Any:
        kind = _kind(name, before)
        known = None if kind is None else self._matching._known(kind, before)
        return before if known is None else known

    def _compare_lists(self, path: str, name: str, before: list[Any], after: list[Any]) -> None:
        if all(isinstance(item, dict) for item in (*before, *after)):
            for label, one, other in self._pairs(name, before, after):
                self.compare(f"{path}[{label}]", "", one, other)
            return
        if len(before) == len(after) == 1:
            self.compare(f"{path}[0]", name, before[0], after[0])
            return
        expected = [self._expected(name, item) for item in before]
        if name not in _IN_ORDER:
            expected, after = sorted(expected, key=repr), sorted(after, key=repr)
        if expected != after:
            self.differences.append(Difference(path, expected, after))

    def _pairs(self, name: str, before: list[Any], after: list[Any]) -> Iterator[tuple[str, Any, Any]]:
        """Elements that belong together, with what they are called; ABSENT where one has no other."""
        if name in _IN_ORDER:
            for at in range(max(len(before), len(after))):
                yield str(at), (before[at : at + 1] or [ABSENT])[0], (after[at : at + 1] or [ABSENT])[0]
            return
        left = list(after)
        without: list[tuple[int, Any]] = []
        keys = [self._key(item, mine=False) for item in left]
        for at, one in enumerate(before):
            key = self._key(one, mine=True)
            if key and key in keys:
                index = keys.index(key)
                del keys[index]
                yield self._label(one, at), one, left.pop(index)
            else:
                without.append((at, one))
        few = len(without) * len(left) <= _MOST_TRIES
        for at, one in without:  # ids not known yet, or elements without a name: whoever is most like it
            index = min(range(len(left)), key=lambda index: len(self._tried(one, left[index]))) if few and left else 0
            yield self._label(one, at), one, left.pop(index) if left else ABSENT
        for at, other in enumerate(left):
            yield self._label(other, at), ABSENT, other

    def _tried(self, one: Any, other: Any) -> list[Difference]:
        attempt = _Comparison(self._matching, self._api, learn=False)
        attempt.compare("", "", one, other)
        return attempt.differences

    def _key(self, item: dict[str, Any], *, mine: bool) -> tuple[Any, ...]:
        """By its names if it has some, else by its ids, in the words of after."""
        named = _named(item)
        lasting = [pair for pair in named if _kind(*pair) is None]
        return tuple((name, self._expected(name, value) if mine else value) for name, value in lasting or named)

    def _label(self, item: Any, at: int) -> str:
        """What a person calls it."""
        named = _named(item)
        return str(named[0][1]) if named else str(at)


def _named(item: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, item[name])
        for name in _NAMES
        if name in item and not isinstance(item[name], list | dict) and item[name] not in _NOBODY
    ]


def _kind(name: str, value: Any) -> str | None:
    kind = MADE_UP.get(name)
    if kind is None or (name == "leader" and not isinstance(value, str)):
        return None
    return kind


def _is_nobody(kind: str, value: Any) -> bool:
    return value in _NOBODY or (kind == "session" and value == 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _batches(text: str) -> Any:
    """Base64 of record batches as what they say; the text itself if they say nothing."""
    try:
        return [_batch(batch) for batch in batches(decode_bytes(text))]
    except (KafkaError, ValueError):
        return text


def _batch(batch: RecordBatch) -> dict[str, Any]:
    stamped = batch.is_control or batch.timestamp_type is TimestampType.LOG_APPEND_TIME  # by the broker
    time_name = "timestamp" if stamped else "createTimeMs"
    return {
        "baseOffset": batch.base_offset,
        "lastOffset": batch.last_offset,
        "partitionLeaderEpoch": batch.partition_leader_epoch,
        "attributes": batch.attributes,
        "producerId": batch.producer_id,
        "producerEpoch": batch.producer_epoch,
        "baseSequence": batch.base_sequence,
        "validCrc": batch.is_valid_crc(),
        "records": [
            {
                "offset": record.offset,
                time_name: record.timestamp_ms,
                "key": _text(record.key),
                "value": _text(record.value),
                "headers": [{"key": key, "value": _text(value)} for key, value in record.headers],
            }
            for record in batch.records(_UNPACKED_BYTES)
        ],
    }


def _timeless(text: str) -> str:
    return re.sub(r"\d{13,}", "<time>", text)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def error_codes(value: Any) -> Iterator[int]:
    """All error codes in an answer, 0 for none among them."""
    if isinstance(value, list):
        for item in value:
            yield from error_codes(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name.endswith(_CODE) and isinstance(item, int):
                yield item
            else:
                yield from error_codes(item)


def shown(path: str, value: Any) -> str:
    """A value for people: error codes by name."""
    if path.endswith(_CODE) and isinstance(value, int):
        with suppress(ValueError):
            return f"{value} ({ErrorCode(value).name})"
    return ABSENT if value is ABSENT else repr(value)
