"""A story told to one broker: requests on as many connections as it has people, and the answers in comparable form.

Ids that a broker makes up are named in the order in which they appear, and lists have one order. Requests and answers
are of Ottla's own codec, which golden bytes of Kafka's are compared with elsewhere.
"""

import json
import re
import socket
import struct
import time
from typing import Any, Self

from compat_tests.harness import DEADLINE_S
from ottla.wire.apis import API, ApiKey
from ottla.wire.messages.create_topics import CreateTopicsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.schema import Message, Struct

_MADE_UP = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Times differ from run to run; texts are for people, and each broker has its own words.
_NOT_COMPARED = ("throttle_time_ms", "error_message")
_LONG = 200


def _is_flexible(kind: type[Message], version: int) -> bool:
    return kind.FLEXIBLE is not None and version >= kind.FLEXIBLE


class Line:
    """One connection. Kafka answers its requests one after another, so who waits for others needs one alone."""

    def __init__(self, port: int, client_id: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._client_id = client_id.encode()
        self._asked: list[tuple[int, int, int]] = []  # (api key, version, correlation id) not answered yet
        self._correlation_id = 0

    def send(self, request: Message, version: int) -> None:
        """Ask; the answer is `receive`d in its turn."""
        key = request.KEY
        assert key is not None
        self._correlation_id += 1
        header = struct.pack(">hhih", key, version, self._correlation_id, len(self._client_id)) + self._client_id
        if _is_flexible(type(request), version):
            header += b"\0"
        body = bytes(request.encode(version))
        self._socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        self._asked.append((key, version, self._correlation_id))

    def receive(self) -> Any:
        """The answer to the oldest request that has none."""
        key, version, correlation_id = self._asked.pop(0)
        answer = self._read(struct.unpack(">i", self._read(4))[0])
        assert struct.unpack(">i", answer[:4])[0] == correlation_id
        spec = API[ApiKey(key)]
        assert spec.response is not None
        return spec.response.decode(answer[5 if _is_flexible(spec.response, version) else 4 :], version)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Story:
    """What is asked of one broker, by whom, and what it answers. `name` begins every topic and group of it."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.transcript: list[str] = []
        self._port = port
        self._lines: dict[str, Line] = {}
        self._names: dict[str, str] = {}  # made up by the broker -> "id 1", ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines.values():
            line.close()

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self, request: Message, version: int, who: str = "one") -> Any:
        """Ask and note the answer."""
        self.begin(request, version, who)
        return self.end(who)

    def begin(self, request: Message, version: int, who: str) -> None:
        """Ask for what may take until others have asked."""
        if who not in self._lines:
            self._lines[who] = Line(self._port, who)
        self._lines[who].send(request, version)
        asked = json.dumps(self._plain(request))
        self.transcript.append(f"{who} asks {type(request).__name__} v{version} {asked}")

    def end(self, who: str) -> Any:
        """The answer to the oldest question that `who` waits for."""
        answer = self._lines[who].receive()
        self.transcript.append(f"{who} hears {json.dumps(self._plain(answer))}")
        return answer

    def quietly(self, request: Message, version: int) -> Any:
        """Ask without a note of it."""
        if "" not in self._lines:
            self._lines[""] = Line(self._port, "quiet")
        self._lines[""].send(request, version)
        return self._lines[""].receive()

    def until(self, request: Message, version: int, reached: Any) -> None:
        """Ask quietly again and again until `reached(answer)`."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not reached(self.quietly(request, version)):
            assert time.monotonic() < deadline_s, self.transcript[-3:]
            time.sleep(0.02)

    def topic(self, word: str, partitions: int = 2) -> bytes:
        """A new topic of this story; returns its id."""
        name = f"{self.name}-{word}"
        creatable = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
        created = self.quietly(CreateTopicsRequest(topics=[creatable], timeout_ms=10_000), 7)
        topic_id = bytes(created.topics[0].topic_id)
        self._names[topic_id.hex()] = f"id of {word}"
        asked = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name)])
        self.until(asked, 9, lambda answer: answer.topics[0].error_code == 0 and answer.topics[0].partitions)
        return topic_id

    # -- comparing ----------------------------------------------------------------------------------------------------

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Struct):
            names = (name for name in type(value).FIELDS if name not in _NOT_COMPARED)
            return {
                name: self._named(f"producer {getattr(value, name)}")
                if name == "producer_id"
                else self._plain(getattr(value, name))
                for name in names
            }
        if isinstance(value, list):
            return sorted(map(self._plain, value), key=json.dumps)
        if isinstance(value, str):
            text = _MADE_UP.sub(lambda found: self._named(found.group()), value)
            return text if len(text) < _LONG else f"{len(text)} characters"
        if isinstance(value, bytes | bytearray | memoryview):
            return self._names.get(bytes(value).hex(), bytes(value).hex())
        return value

    def _named(self, made_up: str) -> str:
        return self._names.setdefault(made_up, f"<id {len(self._names) + 1}>")
