"""A client that costs little: plain sockets, requests encoded before, answers of which only some fields are read.

Every answer's error code is looked at; one that is not 0 raises BadAnswerError. Latencies are in seconds.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench import frames
from ottla.wire.errors import ErrorCode
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.records import HEADER_SIZE
from ottla.wire.schema import Message

TIMEOUT_S = 60.0
ANSWERS_BYTES = 8192  # at most at once: they are short, and a larger buffer costs more
CREATE_TIMEOUT_S = 30.0
_SIZE = struct.Struct(">i")
_CODE = struct.Struct(">h")
_BATCH = struct.Struct(">qi11xi")  # base offset, length; last offset delta (at 23)
_names = itertools.count(1)


class BadAnswerError(Exception):
    """A broker answered with an error, something else than was asked for, or not at all."""


class Connection:
    """A blocking connection. The kernel keeps the time limit: with Python's own, each call would poll before."""

    def __init__(self, port: int, room: int = 1 << 16) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.settimeout(None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.sock.setsockopt(socket.SOL_SOCKET, limit, struct.pack("@ll", int(TIMEOUT_S), int(TIMEOUT_S % 1 * 1e6)))
        self._room = memoryview(bytearray(room))
        self._from = self._to = 0  # what of the room came behind the last answer

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, request: Message, version: int) -> Any:
        """The decoded response."""
        self.sock.sendall(frames.frame(request, version))
        return frames.decode(request, version, bytes(self.answer()))

    def answer(self) -> memoryview:
        """The next answer without its size; valid until the one after."""
        room = self._room
        have = self._to - self._from
        if have:
            room[:have] = bytes(room[self._from : self._to])
        while have < 4:
            have += self._receive(room[have:])
        (size,) = _SIZE.unpack_from(room)
        end = 4 + size
        if end > len(room):
            start, room = room[:have], memoryview(bytearray(end + (end >> 2)))
            room[:have] = start
            self._room = room
        while have < end:
            have += self._receive(room[have:end], socket.MSG_WAITALL)
        self._from, self._to = end, have
        return room[4:end]

    def holds_answer(self) -> bool:
        """Whether the next one is here already: no poll of the socket tells of it."""
        have = self._to - self._from
        return have >= 4 and have >= 4 + _SIZE.unpack_from(self._room, self._from)[0]

    def _receive(self, room: memoryview, how: int = 0) -> int:
        try:
            received = self.sock.recv_into(room, 0, how)
        except BlockingIOError:
            raise BadAnswerError(f"no answer within {TIMEOUT_S:g} s") from None
        if not received:
            raise BadAnswerError("the broker closed the connection")
        return received


def check(answer: memoryview | bytes, error_at: int) -> None:
    """Raises BadAnswerError unless the code at `error_at` is 0."""
    if len(answer) < error_at + 2:
        raise BadAnswerError(f"an answer has {len(answer)} bytes")
    if answer[error_at] or answer[error_at + 1]:
        (code,) = _CODE.unpack_from(answer, error_at)
        raise BadAnswerError(f"error {ErrorCode(code).name}")


def new_topic(port: int, partitions: int, configs: Mapping[str, str] | None = None) -> str:
    """Create a topic that is served when this returns; every name has the same length."""
    name = f"bench-{next(_names):06d}"
    create_all(port, {name: partitions}, configs or {})
    return name


def create_all(port: int, topics: Mapping[str, int], configs: Mapping[str, str]) -> None:
    """Create topics whose files go as soon as they are deleted, and wait until each partition has a leader that serves
    it: Kafka's metadata names leaders that still answer NOT_LEADER_OR_FOLLOWER.
    """
    with Connection(port) as connection:
        wanted = frames.create_topics(topics, {"file.delete.delay.ms": "0", **configs})
        codes = {topic.error_code for topic in connection.ask(wanted, frames.CREATE_TOPICS).topics} - {0}
        if codes:
            raise BadAnswerError(f"topics are not created: {sorted(ErrorCode(code).name for code in codes)}")
        deadline_s = time.monotonic() + CREATE_TIMEOUT_S
        while not served(connection, topics):
            if time.monotonic() > deadline_s:
                raise BadAnswerError(f"topics are not served after {CREATE_TIMEOUT_S:.0f} s")
            time.sleep(0.005)


def served(connection: Connection, topics: Mapping[str, int]) -> bool:
    """Whether all partitions of the topics (partitions by name) have leaders, and their leaders tell their ends."""
    described = connection.ask(frames.metadata(list(topics)), frames.METADATA).topics
    led = [one for topic in described for one in topic.partitions if not one.error_code and one.leader_id >= 0]
    if len(led) < sum(topics.values()):
        return False
    answer = connection.ask(frames.list_offsets(topics), frames.LIST_OFFSETS)
    return not any(one.error_code for topic in answer.topics for one in topic.partitions)


def await_coordinator(port: int, group: str) -> None:
    """Until a coordinator serves the group: Kafka makes and loads its topic when it is first asked."""
    deadline_s = time.monotonic() + CREATE_TIMEOUT_S
    found = FindCoordinatorRequest(key=group, key_type=0)
    described = DescribeGroupsRequest(groups=[group])
    with Connection(port) as connection:
        while time.monotonic() < deadline_s:
            if not connection.ask(found, 3).error_code:
                code = connection.ask(described, 5).groups[0].error_code
                if code in (ErrorCode.NONE, ErrorCode.GROUP_ID_NOT_FOUND):
                    return
            time.sleep(0.02)
    raise BadAnswerError(f"no coordinator serves group {group}")


def drop(port: int, names: Sequence[str]) -> None:
    """Delete topics."""
    with Connection(port) as connection:
        connection.ask(frames.delete_topics(names), frames.DELETE_TOPICS)


class Lane:
    """A connection with up to `window` requests under way. `next_frame()` gives the next request, None at the end."""

    def __init__(
        self, port: int, next_frame: Callable[[], bytes | bytearray | None], window: int, error_at: int
    ) -> None:
        self.sock = Connection(port).sock
        self.sock.setblocking(False)
        self.latencies_s: list[float] = []
        self._next = next_frame
        self._window = window
        self._error_at = error_at
        self._sent_s: deque[float] = deque()
        self._unsent = memoryview(b"")
        self._received = b""

    def go_on(self) -> int:
        """Read what is there, then send what may be sent; what to poll for, 0 when all is answered."""
        self._read()
        while True:
            if self._unsent:
                try:
                    self._unsent = self._unsent[self.sock.send(self._unsent) :]
                except BlockingIOError:
                    return select.POLLIN | select.POLLOUT
            elif len(self._sent_s) < self._window:
                request = self._next()
                if request is None:
                    return select.POLLIN if self._sent_s else 0
                self._sent_s.append(time.perf_counter())
                self._unsent = memoryview(request)
            else:
                return select.POLLIN

    def _read(self) -> None:
        try:
            data = self.sock.recv(ANSWERS_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise BadAnswerError("the broker closed the connection")
        if self._received:
            data = self._received + data
        at, end = 0, len(data)
        now_s = time.perf_counter()
        while end - at >= 4:
            (size,) = _SIZE.unpack_from(data, at)
            if end - at < 4 + size:
                break
            error_at = at + 4 + self._error_at
            if size < self._error_at + 2 or data[error_at] or data[error_at + 1]:
                check(data[at + 4 : at + 4 + size], self._error_at)
            self.latencies_s.append(now_s - self._sent_s.popleft())
            at += 4 + size
        self._received = data[at:]


def pump(lanes: Sequence[Lane]) -> list[float]:
    """Run all lanes to their ends; the latencies of all requests. Raises BadAnswerError."""
    poll = select.poll()
    lane_of = {lane.sock.fileno(): lane for lane in lanes}
    polled = {}
    for descriptor, lane in lane_of.items():
        if events := lane.go_on():
            poll.register(descriptor, events)
            polled[descriptor] = events
    while polled:
        ready = poll.poll(TIMEOUT_S * 1000)
        if not ready:
            raise BadAnswerError(f"no answer within {TIMEOUT_S:.0f} s")
        for descriptor, _ in ready:
            events = lane_of[descriptor].go_on()
            if not events:
                poll.unregister(descriptor)
                del polled[descriptor]
            elif events != polled[descriptor]:
                poll.modify(descriptor, events)
                polled[descriptor] = events
    for lane in lanes:
        lane.sock.close()
    return [latency_s for lane in lanes for latency_s in lane.latencies_s]


class Reader:
    """Reads one partition from the start, looking at batch headers only, or at every byte with `check_crc`; offsets
    must follow one another.
    """

    def __init__(
        self, port: int, topic: str, partition: int, *, max_bytes: int = 1 << 20, check_crc: bool = False
    ) -> None:
        self.offset = 0
        self.received_bytes = 0
        self._check_crc = check_crc
        self._connection = Connection(port, max(max_bytes * 2, 1 << 16))
        self._frame = frames.fetch(topic, partition, 0, max_bytes=max_bytes)
        self._offset_at = frames.fetch_offset_at(topic)
        self._error_at, self._records_at = frames.fetch_records_at(topic)

    def read_to(self, end_offset: int) -> None:
        """Fetch until all records below `end_offset` have come."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while self.offset < end_offset:
            struct.pack_into(">q", self._frame, self._offset_at, self.offset)
            self._connection.sock.sendall(self._frame)
            self._take(self._connection.answer())
            if time.monotonic() > deadline_s:
                raise BadAnswerError(f"{self.offset} of {end_offset} records came within {TIMEOUT_S:.0f} s")

    def close(self) -> None:
        self._connection.sock.close()

    def _take(self, answer: memoryview) -> None:
        check(answer, self._error_at)
        at, size = frames.records(answer, self._records_at)
        end = at + size
        self.received_bytes += size
        while end - at >= HEADER_SIZE:
            base_offset, length, last_delta = _BATCH.unpack_from(answer, at)
            if at + 12 + length > end:
                return  # cut
            if not base_offset <= self.offset <= base_offset + last_delta:
                raise BadAnswerError(f"offset {base_offset} came where {self.offset} was expected")
            if self._check_crc and not frames.is_whole(answer[at : at + 12 + length]):
                raise BadAnswerError(f"the batch at offset {base_offset} came damaged")
            self.offset = base_offset + last_delta + 1
            at += 12 + length


def side_by_side(works: Sequence[Callable[[], object]]) -> None:
    """Run each in a thread of its own; they spend their time in system calls. Raises what the first one raised."""
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def repeated(frames_: Sequence[bytes | bytearray], total: int) -> Callable[[], bytes | bytearray | None]:
    """`total` requests, the given ones in turns, then None."""
    left: Iterator[bytes | bytearray] = itertools.islice(itertools.cycle(frames_), total)
    return lambda: next(left, None)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
