"""What passes the gate, live: each request with its answer as a line of JSON, for `ottla trace` and whoever asks.

Record batches are summed up, not shown. A reader that is too slow misses some, and is told how many.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import trio

from ottla.broker.control.http import Stream
from ottla.broker.control.routes import Call, Refused, Route
from ottla.broker.recording import Line, Recorder
from ottla.wire.apis import API
from ottla.wire.errors import KafkaError
from ottla.wire.message_json import ToJson, decode_uuid
from ottla.wire.records import HEADER_SIZE, RecordBatch

if TYPE_CHECKING:
    from ottla.broker.cluster import Cluster

LINES_KEPT: Final = 1000  # for a reader that is slower than the broker
MAX_BATCHES: Final = 1000  # that are looked at, of one partition in one request
_NAME_TOPICS: Final = frozenset(
    ("name", "topic", "topics", "topicName", "topicNames", "subscribedTopicNames", "resourceName")
)
_APIS: Final = {spec.name.lower(): spec.name for spec in API.values()}


class Tracing:
    """A sink of the recorder that makes a line of each request, once it is answered or never will be."""

    def __init__(self, cluster: Cluster, *, api: str | None, topic: str | None, client_id: str | None) -> None:
        """`api` is its name in any case. Only requests of that api, that topic and that client are told."""
        self.records: ToJson = sum_up
        self._cluster = cluster
        self._api = api
        self._topic = topic
        self._client_id = client_id
        self._under_way: dict[int, Line] = {}  # by connection: its request
        self._missed = 0
        self._into, self.lines = trio.open_memory_channel[bytes](LINES_KEPT)

    def write(self, line: Line) -> None:
        kind = line["kind"]
        if kind == "request":
            before = self._under_way.pop(line["connection"], None)
            if before is not None:
                self._tell(before)
            if self._wants(line):
                self._under_way[line["connection"]] = line
        elif kind == "response":
            asked = self._under_way.pop(line["connection"], None)
            if asked is not None:
                self._tell(asked | {name: line[name] for name in _ENDS if name in line})
        elif kind == "closed":
            asked = self._under_way.pop(line["connection"], None)
            if asked is not None:
                self._tell(asked | {"refused": "the client hung up"})

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        self._into.close()

    def _wants(self, line: Line) -> bool:
        return self._api in (None, line.get("api")) and self._client_id in (None, line.get("clientId"))

    def _tell(self, line: Line) -> None:
        ids = dict.fromkeys(_topic_ids(line))
        names = {text: name for text in ids if (name := self._name(text)) is not None}
        if self._topic is not None and self._topic not in names.values() and self._topic not in _topic_names(line):
            return
        told = {**line, "topicNames": names}
        del told["kind"]
        if self._missed:
            told["missed"] = self._missed
        try:
            self._into.send_nowait(json.dumps(told, separators=(",", ":")).encode() + b"\n")
            self._missed = 0
        except trio.WouldBlock:
            self._missed += 1

    def _name(self, text: str) -> str | None:
        topic = self._cluster.topics_by_id.get(decode_uuid(text))
        return None if topic is None else topic.name


_ENDS: Final = ("response", "refused", "durationMs")


def sum_up(records: Any) -> Line:
    """Record batches, in memory or a slice of a file, as their numbers."""
    read = getattr(records, "read", None)
    size = len(records) if read is None else records.nbytes
    position = seen = count = 0
    while size - position >= HEADER_SIZE and seen < MAX_BATCHES:
        end = position + HEADER_SIZE
        try:
            batch = RecordBatch(records[position:end] if read is None else read(position, HEADER_SIZE))
        except KafkaError:
            break
        seen += 1
        count += max(0, batch.records_count)
        position += batch.size
    return {"bytes": size, "batches": seen, "records": count}


def _topic_names(value: Any) -> set[str]:
    """All that may be the name of a topic."""
    if isinstance(value, list):
        return {name for item in value for name in _topic_names(item)}
    found: set[str] = set()
    if isinstance(value, dict):
        for name, item in value.items():
            if name in _NAME_TOPICS and isinstance(item, str):
                found.add(item)
            elif name in _NAME_TOPICS and isinstance(item, list):
                found.update(one for one in item if isinstance(one, str))
            found |= _topic_names(item)
    return found


def _topic_ids(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _topic_ids(item)]
    if isinstance(value, dict):
        own = [value["topicId"]] if isinstance(value.get("topicId"), str) else []
        return own + [text for item in value.values() for text in _topic_ids(item)]
    return []


def _trace(call: Call) -> Any:
    api = call.query.get("api")
    if api is not None and api.lower() not in _APIS:
        raise Refused(f"there is no API {api!r}; give one as Produce or JoinGroup")
    sink = Tracing(
        call.broker.cluster,
        api=None if api is None else _APIS[api.lower()],
        topic=call.query.get("topic"),
        client_id=call.query.get("client-id"),
    )
    recorder = Recorder.of(call.broker, trio.current_time)
    recorder.add(sink)
    return Stream(sink.lines, lambda: recorder.remove(sink))


ROUTES = (
    Route(
        "GET",
        "/trace",
        _trace,
        "Requests and answers as they pass, a line of JSON each, without end.",
        asks={
            "api": "only requests of this API, as Produce",
            "topic": "only those that name this topic",
            "client-id": "only those of this client",
        },
        gives="application/x-ndjson",
    ),
)
