"""The client against a broker that says what it is told to: pieces, joined answers, errors, gaps, silence."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from bench import client, frames
from ottla.wire.messages.fetch import FetchResponse
from ottla.wire.messages.produce import ProduceResponse
from ottla.wire.records import stamp

TOPIC = "bench-000001"
ANSWER_HEAD = bytes(4) + b"\0"
Script = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Script], int]]:
    """Start a thread that plays the script on the first connection; the port."""
    threads = []

    def start(script: Script) -> int:
        listener = socket.create_server(("127.0.0.1", 0))

        def play() -> None:
            with listener, listener.accept()[0] as peer:
                script(peer)

        threads.append(threading.Thread(target=play))
        threads[-1].start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for thread in threads:
        thread.join()


def sized(answer: bytes) -> bytes:
    return struct.pack(">i", len(answer)) + answer


def request_from(peer: socket.socket) -> bytes:
    """The next request, without its size; empty when the client has closed."""
    head = peer.recv(4, socket.MSG_WAITALL)
    return peer.recv(struct.unpack(">i", head)[0], socket.MSG_WAITALL) if head else b""


def produced(code: int = 0) -> bytes:
    partition = ProduceResponse.PartitionProduceResponse(index=0, error_code=code, base_offset=0)
    topic = ProduceResponse.TopicProduceResponse(name=TOPIC, partition_responses=[partition])
    return sized(ANSWER_HEAD + ProduceResponse(responses=[topic]).encode(frames.PRODUCE))


def fetched(records: bytes, code: int = 0) -> bytes:
    partition = FetchResponse.PartitionData(partition_index=0, error_code=code, records=records)
    topic = FetchResponse.FetchableTopicResponse(topic=TOPIC, partitions=[partition])
    return sized(ANSWER_HEAD + FetchResponse(responses=[topic]).encode(frames.FETCH))


def batch_at(offset: int, count: int = 2) -> bytes:
    batch = frames.batch(count, 10)
    stamp(batch, offset, 0)
    return bytes(batch)


def test_answers_come_whole_however_they_are_cut(serve: Callable[[Script], int]) -> None:
    answers = [b"one", b"", bytes(200_000), b"three", b"x" * 65_536]
    stream = b"".join(map(sized, answers))

    def script(peer: socket.socket) -> None:
        for at in range(0, 20, 3):
            peer.sendall(stream[at : at + 3])
        peer.sendall(stream[21:])

    with client.Connection(serve(script)) as connection:
        assert [bytes(connection.answer()) for _ in answers] == answers


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\5ab"])
def test_a_connection_that_ends_is_a_bad_answer(serve: Callable[[Script], int], sent: bytes) -> None:
    with (
        client.Connection(serve(lambda peer: peer.sendall(sent))) as connection,
        pytest.raises(client.BadAnswerError, match="closed the connection"),
    ):
        connection.answer()


def test_silence_is_a_bad_answer(serve: Callable[[Script], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", 0.05)
    with (
        client.Connection(serve(lambda peer: peer.recv(1) and None)) as connection,
        pytest.raises(client.BadAnswerError, match=r"no answer within 0\.05 s"),
    ):
        connection.answer()


def test_a_lane_keeps_its_window_full_and_no_fuller(serve: Callable[[Script], int]) -> None:
    frame = frames.produce(TOPIC, 0, frames.batch(1, 10))
    seen = []

    def script(peer: socket.socket) -> None:
        for _ in range(3):
            seen.append(request_from(peer))
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):  # the fourth comes when the first is answered
            peer.recv(1)
        peer.setblocking(True)
        answered = 0
        while answered < 10:
            peer.sendall(produced() * (len(seen) - answered))
            answered = len(seen)
            while len(seen) < min(10, answered + 3):
                seen.append(request_from(peer))

    lane = client.Lane(serve(script), client.repeated([frame], 10), 3, frames.produce_error_at(TOPIC))
    latencies_s = client.pump([lane])
    assert (seen, len(latencies_s)) == ([frame[4:]] * 10, 10)


def test_an_error_in_any_answer_is_raised(serve: Callable[[Script], int]) -> None:
    frame = frames.produce(TOPIC, 0, frames.batch(1, 10))

    def script(peer: socket.socket) -> None:
        for _ in range(2):
            request_from(peer)
        peer.sendall(produced() + produced(6))
        while request_from(peer):
            pass

    lane = client.Lane(serve(script), client.repeated([frame], 10), 2, frames.produce_error_at(TOPIC))
    with pytest.raises(client.BadAnswerError, match="NOT_LEADER_OR_FOLLOWER"):
        client.pump([lane])
    lane.sock.close()


def test_a_reader_asks_from_where_it_is(serve: Callable[[Script], int]) -> None:
    offsets = []
    first, second, third = batch_at(0), batch_at(2), batch_at(4)

    def script(peer: socket.socket) -> None:
        for records in (first + second[:70], b"", second + third):  # cut, empty, the rest
            request = request_from(peer)
            offsets.append(struct.unpack_from(">q", request, frames.fetch_offset_at(TOPIC) - 4)[0])
            peer.sendall(fetched(records))

    reader = client.Reader(serve(script), TOPIC, 0, check_crc=True)
    reader.read_to(6)
    reader.close()
    assert (offsets, reader.offset) == ([0, 2, 2], 6)
    assert reader.received_bytes == len(first) + 70 + len(second) + len(third)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (fetched(batch_at(2)), "offset 2 came where 0 was expected"),
        (fetched(batch_at(0) + batch_at(0)), "offset 0 came where 2 was expected"),
        (fetched(batch_at(0)[:-1] + b"\1"), "the batch at offset 0 came damaged"),
        (fetched(b"", 1), "OFFSET_OUT_OF_RANGE"),
    ],
)
def test_a_reader_finds_gaps_damage_and_errors(serve: Callable[[Script], int], answer: bytes, why: str) -> None:
    def script(peer: socket.socket) -> None:
        request_from(peer)
        peer.sendall(answer)

    reader = client.Reader(serve(script), TOPIC, 0, check_crc=True)
    with pytest.raises(client.BadAnswerError, match=why):
        reader.read_to(6)
    reader.close()


def test_what_fails_side_by_side_is_raised() -> None:
    done = []

    def fail() -> None:
        raise client.BadAnswerError("no")

    with pytest.raises(client.BadAnswerError, match="no"):
        client.side_by_side([fail, lambda: done.append(1)])
    assert done == [1]


def test_percentiles() -> None:
    values = list(range(1000, 0, -1))
    assert [client.percentile(values, share) for share in (0, 0.5, 0.99, 0.999, 1)] == [1, 501, 991, 1000, 1000]


def test_an_answer_that_is_too_short_is_a_bad_one(serve: Callable[[Script], int]) -> None:
    frame = frames.produce(TOPIC, 0, frames.batch(1, 10))

    def script(peer: socket.socket) -> None:
        request_from(peer)
        peer.sendall(sized(ANSWER_HEAD))

    lane = client.Lane(serve(script), client.repeated([frame], 10), 1, frames.produce_error_at(TOPIC))
    with pytest.raises(client.BadAnswerError, match="an answer has 5 bytes"):
        client.pump([lane])
    lane.sock.close()


def test_an_answer_that_came_with_another_is_known_to_be_there(serve: Callable[[Script], int]) -> None:
    def script(peer: socket.socket) -> None:
        peer.sendall(produced() + produced() + produced()[:9])
        request_from(peer)

    with client.Connection(serve(script)) as connection:
        assert not connection.holds_answer()
        connection.answer()
        assert connection.holds_answer()
        connection.answer()
        assert not connection.holds_answer()
