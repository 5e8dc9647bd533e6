"""The live view through the control surface: what a line has, which lines come, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from ottla.broker.control import http, trace
from ottla.broker.control.trace import Tracing, sum_up
from ottla.log.ids import uuid_text
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.records import Record, build_batch
from tests.broker.conftest import Running
from tests.broker.test_connection import FETCH, METADATA, PRODUCE, fetch, metadata, produce
from tests.broker.test_control import Surface, surface  # noqa: F401  # a fixture


class Looker:
    """A connection that reads lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._data = b""

    async def line(self) -> Any:
        """The next line of JSON, out of its chunk."""
        with trio.fail_after(60):
            while True:
                while b"\n" in self._data:
                    text, _, self._data = self._data.partition(b"\n")
                    if text.startswith(b"{"):
                        return json.loads(text)
                piece = await self._stream.receive_some(65536)
                if not piece:
                    return None
                self._data += piece

    async def leave(self) -> None:
        await trio.aclose_forcefully(self._stream)


async def look(surface: Surface, running: Running, query: str = "") -> Looker:  # noqa: F811
    """Looks on from now on."""
    before = len(running.broker.gate.taps)
    stream = await trio.open_tcp_stream("127.0.0.1", surface.port)
    await stream.send_all(f"GET /v1/trace{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    looker = Looker(stream)
    with trio.fail_after(60):
        while len(running.broker.gate.taps) == before == 0:
            await trio.lowlevel.checkpoint()
    return looker


async def nobody_looks(running: Running) -> None:
    with trio.fail_after(60):
        while running.broker.gate.taps:
            await trio.lowlevel.checkpoint()


async def test_a_line_has_the_request_and_its_answer(surface: Surface, running: Running) -> None:  # noqa: F811
    looker = await look(surface, running)
    async with await running.client("me") as client:
        await client.ask(metadata("t"), METADATA)
        await client.ask(produce("t", b"a", b"b"), PRODUCE)
        await client.ask(fetch("t", 0), FETCH)
        await client.send(produce("t", b"c", acks=0), PRODUCE)
        await client.ask(ApiVersionsRequest(), 0)
    lines = [await looker.line() for _ in range(5)]
    assert [line["api"] for line in lines] == ["Metadata", "Produce", "Fetch", "Produce", "ApiVersions"]
    assert {(line["connection"], line["clientId"]) for line in lines} == {(1, "me")}
    assert all(line["durationMs"] >= 0 for line in lines)
    sent = lines[1]["request"]["topicData"][0]["partitionData"][0]["records"]
    assert (sent["batches"], sent["records"]) == (1, 2)
    assert lines[2]["response"]["responses"][0]["partitions"][0]["records"] == sent
    assert lines[3]["response"] is None
    await looker.leave()
    await nobody_looks(running)


@pytest.mark.parametrize(
    ("query", "apis"),
    [
        ("?api=metadata", ["Metadata", "Metadata"]),
        ("?topic=u", ["Metadata"]),
        ("?client-id=other", ["ApiVersions"]),
        ("?api=Fetch&topic=t&client-id=me", ["Fetch"]),
    ],
)
async def test_some_can_be_chosen(surface: Surface, running: Running, query: str, apis: list[str]) -> None:  # noqa: F811
    looker = await look(surface, running, query)
    async with await running.client("me") as client, await running.client("other") as other:
        await client.ask(metadata("t"), METADATA)
        await client.ask(fetch("t", 0), FETCH)
        await other.ask(ApiVersionsRequest(), 0)
        await client.ask(metadata("u"), METADATA)
    assert [(await looker.line())["api"] for _ in apis] == apis
    await looker.leave()
    await nobody_looks(running)


async def test_topics_are_found_by_their_ids_too(running: Running) -> None:
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
    (topic_id,) = (uuid_text(topic.id) for topic in running.broker.cluster.topics.values())
    sink = Tracing(running.broker.cluster, api=None, topic="t", client_id=None)
    request = {"kind": "request", "connection": 1, "api": "Fetch", "request": {"topics": [{"topicId": topic_id}]}}
    sink.write(request)
    sink.write({"kind": "response", "connection": 1, "response": {}})
    sink.write({**request, "request": {"topics": [{"topicId": "AAAAAAAAAAAAAAAAAAAAAA"}]}})
    sink.write({"kind": "response", "connection": 1, "response": {}})
    assert json.loads(await sink.lines.receive())["topicNames"] == {topic_id: "t"}
    with pytest.raises(trio.WouldBlock):
        sink.lines.receive_nowait()


async def test_requests_that_get_no_answer(running: Running) -> None:
    sink = Tracing(running.broker.cluster, api=None, topic=None, client_id=None)
    for line in (
        {"kind": "request", "connection": 1, "n": 1},
        {"kind": "request", "connection": 1, "n": 2},
        {"kind": "closed", "connection": 1},
        {"kind": "closed", "connection": 1},
        {"kind": "request", "connection": 2, "n": 3},
        {"kind": "response", "connection": 2, "response": None, "refused": "because"},
    ):
        sink.write(line)
    lines = [json.loads(sink.lines.receive_nowait()) for _ in range(3)]
    assert [(line["n"], line.get("refused")) for line in lines] == [
        (1, None),
        (2, "the client hung up"),
        (3, "because"),
    ]


async def test_whoever_is_too_slow_hears_how_many_it_missed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "LINES_KEPT", 1)
    sink = Tracing(running.broker.cluster, api=None, topic=None, client_id=None)
    for number in range(4):
        sink.write({"kind": "request", "connection": 1, "n": number})
        sink.write({"kind": "response", "connection": 1, "response": {}})
    assert json.loads(sink.lines.receive_nowait())["n"] == 0
    sink.write({"kind": "request", "connection": 1, "n": 4})
    sink.write({"kind": "response", "connection": 1, "response": {}})
    last = json.loads(sink.lines.receive_nowait())
    assert (last["n"], last["missed"]) == (4, 3)


async def test_signs_of_life(
    surface: Surface,  # noqa: F811
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "BEAT_S", 0.01)
    stream = await trio.open_tcp_stream("127.0.0.1", surface.port)
    await stream.send_all(b"GET /v1/trace HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = b""
    with trio.fail_after(60):
        while not data.endswith(b"1\r\n\n\r\n"):
            data += await stream.receive_some(65536)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"Transfer-Encoding: chunked" in data
    await trio.aclose_forcefully(stream)
    await nobody_looks(running)
    assert "failed" not in running.log_text


async def test_it_ends_whole_when_recording_does(surface: Surface, running: Running) -> None:  # noqa: F811
    stream = await trio.open_tcp_stream("127.0.0.1", surface.port)
    await stream.send_all(b"GET /v1/trace HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = await stream.receive_some(65536)
    recorder = running.broker.gate.recorder
    assert recorder is not None
    recorder.remove(recorder._sinks[0])
    with trio.fail_after(60):
        while piece := await stream.receive_some(65536):
            data += piece
    assert data.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?api=nothing", "there is no API 'nothing'; give one as Produce"),
        ("?partition=1", "knows no 'partition' behind ?; it takes api, topic, client-id"),
    ],
)
async def test_what_cannot_be_chosen(surface: Surface, running: Running, query: str, sentence: str) -> None:  # noqa: F811
    status, answer = await surface.ask("GET", f"/v1/trace{query}")
    assert status == 400
    assert sentence in answer["error"]
    assert running.broker.gate.taps == []


def test_records_are_summed_up() -> None:
    batch = bytes(build_batch([Record(at, 0, None, b"v") for at in range(3)]))

    class Slice:
        nbytes = len(batch) * 2

        def read(self, start: int = 0, nbytes: int | None = None) -> bytes:
            return (batch * 2)[start:][:nbytes]

    assert sum_up(memoryview(batch)) == {"bytes": len(batch), "batches": 1, "records": 3}
    assert sum_up(Slice()) == {"bytes": len(batch) * 2, "batches": 2, "records": 6}
    assert sum_up(batch + batch[:70])["batches"] == 2  # a cut one shows that it is there
    assert sum_up(b"\xff" * 100) == {"bytes": 100, "batches": 0, "records": 0}
    assert sum_up(b"") == {"bytes": 0, "batches": 0, "records": 0}
