"""Recordings: what stands in them, that nothing is lost and no secret kept, and that clients never notice."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from ottla.broker import recording
from ottla.broker.dispatch import CloseConnection, Context
from ottla.broker.errors import StartupError
from ottla.broker.logs import Log
from ottla.broker.recording import SECRET, TICK_MS, Line, Recorder, RecordingFile
from ottla.log.clock import ManualClock
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ProtocolError
from ottla.wire.frame import encode_request
from ottla.wire.message_json import ToJson, decode_bytes, encode_records, from_json
from ottla.wire.messages.alter_user_scram_credentials import AlterUserScramCredentialsRequest
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from ottla.wire.messages.sasl_authenticate import SaslAuthenticateRequest
from ottla.wire.messages.sasl_handshake import SaslHandshakeRequest
from ottla.wire.schema import Message
from tests.broker.conftest import Client, Launcher, Running
from tests.broker.test_connection import FETCH, METADATA, PRODUCE, fetch, metadata, produce


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self, *, takes_more: bool = True) -> None:
        self.records: ToJson = encode_records
        self.lines: list[Line] = []
        self.flushes = 0
        self.closes = 0
        self._takes_more = takes_more

    def write(self, line: Line) -> None:
        json.dumps(line)
        self.lines.append(line)

    def flush(self) -> bool:
        self.flushes += 1
        return self._takes_more

    def close(self) -> None:
        self.closes += 1

    def of(self, *kinds: str) -> list[Line]:
        return [line for line in self.lines if line["kind"] in kinds]


def recorder_of(running: Running) -> Recorder:
    return Recorder.of(running.broker, trio.current_time)


@asynccontextmanager
async def recorded(running: Running, sink: Any) -> AsyncIterator[Recorder]:
    recorder = recorder_of(running)
    recorder.add(sink)
    yield recorder
    recorder.remove(sink)


async def gone(running: Running) -> None:
    """Every connection has ended."""
    with trio.fail_after(60):
        while running.server.connections:
            await trio.lowlevel.checkpoint()


async def test_each_request_stands_with_its_answer_in_the_order_in_which_it_was_taken(running: Running) -> None:
    sink = Kept()
    async with recorded(running, sink):
        async with await running.client("me") as client:
            await client.ask(metadata("t"), METADATA)
            await client.ask(produce("t", b"a", b"b"), PRODUCE)
            await client.ask(fetch("t", 0), FETCH)
        await gone(running)
    assert [line["kind"] for line in sink.lines] == [
        "recording",
        "connected",
        *["request", "response"] * 3,
        "closed",
        "ended",
    ]
    head, connected = sink.lines[:2]
    assert (head["format"], head["clusterId"]) == (recording.FORMAT, running.broker.cluster.cluster_id)
    assert head["nodes"] == [{"node": 1, "ports": [running.port]}]
    assert (connected["connection"], connected["node"], connected["listener"]) == (1, 1, "PLAINTEXT")
    names = [(line["n"], line["api"], line["version"], line["correlationId"]) for line in sink.of("request")]
    assert names == [(1, "Metadata", METADATA, 1), (2, "Produce", PRODUCE, 2), (3, "Fetch", FETCH, 3)]
    assert [line["n"] for line in sink.of("response")] == [1, 2, 3]
    assert {line["clientId"] for line in sink.of("request", "response")} == {"me"}
    answered = sink.of("response")
    assert answered[0]["response"]["topics"][0]["partitions"][0]["leaderId"] == 1  # decoded, though it is kept encoded
    assert answered[1]["response"]["responses"][0]["partitionResponses"][0]["baseOffset"] == 0
    assert all(line["durationMs"] >= 0 for line in answered)


async def test_what_was_asked_and_heard_comes_back_byte_for_byte(running: Running) -> None:
    sink = Kept()
    sent, heard = [], []
    async with recorded(running, sink), await running.client("me") as client:
        for request, version in (
            (ApiVersionsRequest(client_software_name="x", client_software_version="1"), 4),
            (metadata("t"), METADATA),
            (produce("t", b"a", b"b"), PRODUCE),
            (fetch("t", 0), FETCH),
        ):
            frame = client.frame(request, version)
            sent.append(frame)
            await client.stream.send_all(frame)
            answer = await client.receive(request, version)
            heard.append(answer.encode(version))
    for line, frame in zip(sink.of("request"), sent, strict=True):
        spec = API[ApiKey[upper(line["api"])]]
        message = from_json(spec.request, line["request"], line["version"])
        assert encode_request(spec.key, line["version"], line["correlationId"], line["clientId"], message) == frame
    for line, body in zip(sink.of("response"), heard, strict=True):
        spec = API[ApiKey[upper(line["api"])]]
        assert from_json(spec.response, line["response"], line["version"]).encode(line["version"]) == body


def upper(name: str) -> str:
    return next(spec.key.name for spec in API.values() if spec.name == name)


async def test_a_request_that_waits_is_answered_below_those_that_came_meanwhile(running: Running) -> None:
    sink = Kept()
    async with recorded(running, sink), await running.client("reader") as reader, await running.client() as writer:
        await writer.ask(metadata("t"), METADATA)
        await reader.send(fetch("t", 0, max_wait_ms=60_000), FETCH)
        with trio.fail_after(60):
            while len(sink.of("request")) < 2:
                await trio.lowlevel.checkpoint()
        await writer.ask(produce("t", b"a"), PRODUCE)
        await reader.receive(fetch("t", 0), FETCH)
    told = [(line["kind"], line["api"]) for line in sink.of("request", "response")][2:]
    assert told[:2] == [("request", "Fetch"), ("request", "Produce")]
    assert sorted(told[2:]) == [("response", "Fetch"), ("response", "Produce")]


async def test_requests_without_an_answer(running: Running) -> None:
    sink = Kept()
    async with recorded(running, sink):
        async with await running.client() as client:
            await client.ask(metadata("t"), METADATA)
            await client.send(produce("t", b"a", acks=0), PRODUCE)
            await client.ask(metadata("t"), METADATA)
            await client.send(produce("unknown", b"a", acks=0), PRODUCE)  # Kafka closes, too
            assert await client.closed()
        await gone(running)
    silent = [line for line in sink.of("response") if line["response"] is None]
    assert [(line["n"], "refused" in line) for line in silent] == [(2, False), (4, True)]
    assert "acks=0 failed" in silent[1]["refused"]
    assert sink.lines[-2]["kind"] == "closed"


def frame_of(key: int, version: int, body: bytes = b"") -> bytes:
    return key.to_bytes(2, "big", signed=True) + version.to_bytes(2, "big") + b"\0\0\0\7" + b"\0\2me" + body


@pytest.mark.parametrize(
    ("content", "api", "version"),
    [
        (b"\0", None, None),
        (frame_of(1234, 0), None, None),
        (frame_of(ApiKey.METADATA, 99, b"\0"), "Metadata", 99),
        (frame_of(ApiKey.METADATA, METADATA, b"\xff" * 3), "Metadata", METADATA),
    ],
    ids=["no header", "unknown api", "unknown version", "no such body"],
)
async def test_what_cannot_be_decoded_is_kept_as_it_came(
    running: Running, content: bytes, api: str | None, version: int | None
) -> None:
    sink = Kept()
    async with recorded(running, sink):
        async with await running.client() as client:
            await client.stream.send_all(len(content).to_bytes(4, "big") + content)
            assert await client.closed()
        await gone(running)
    (asked,), (answered,) = sink.of("request"), sink.of("response")
    assert decode_bytes(asked["frame"]) == content
    assert (asked.get("api"), asked.get("version")) == (api, version)
    assert answered["response"] is None
    assert answered["refused"]


async def test_an_api_that_is_not_served_is_decoded_all_the_same(running: Running) -> None:
    sink = Kept()
    request = API[ApiKey.SHARE_GROUP_HEARTBEAT].request(group_id="g")
    async with recorded(running, sink), await running.client() as client:
        await client.send(request, 1)
        assert await client.closed()
    assert sink.of("request")[0]["request"]["groupId"] == "g"
    assert "ShareGroupHeartbeat is not served" in sink.of("response")[0]["refused"]


async def test_an_api_versions_of_the_future_is_kept_with_its_answer(running: Running) -> None:
    sink = Kept()
    content = frame_of(ApiKey.API_VERSIONS, 99, b"\0what ever")
    async with recorded(running, sink), await running.client() as client:
        await client.stream.send_all(len(content).to_bytes(4, "big") + content)
        answer = await client.receive(ApiVersionsRequest(), 0)
    (asked,), (answered,) = sink.of("request"), sink.of("response")
    assert (asked["version"], decode_bytes(asked["frame"])) == (99, content)
    assert (answered["version"], answered["response"]["errorCode"]) == (0, answer.error_code)


async def test_a_client_without_an_id(running: Running) -> None:
    sink = Kept()
    async with recorded(running, sink), await running.client() as client:
        await client.stream.send_all(encode_request(ApiKey.METADATA, METADATA, 1, None, metadata("t")))
        await client.receive(metadata(), METADATA)
    assert sink.of("request")[0]["clientId"] is None


async def test_a_client_id_that_is_no_text_is_kept_in_its_bytes(running: Running) -> None:
    sink = Kept()
    frame = encode_request(ApiKey.METADATA, METADATA, 1, "me", metadata("t")).replace(b"me", b"\xffe")
    async with recorded(running, sink), await running.client() as client:
        await client.stream.send_all(frame)
        assert (await client.receive(metadata(), METADATA)).topics[0].name == "t"
    (asked,), (answered,) = sink.of("request"), sink.of("response")
    assert decode_bytes(asked["frame"]) == frame[4:]
    assert (asked["api"], asked["clientId"], "request" in asked) == ("Metadata", "\ufffde", False)
    assert answered["response"]["topics"][0]["name"] == "t"


class TestSecrets:
    """Nothing that lets somebody in is ever handed on."""

    PASSWORD = b"opensesame"

    async def told(self, running: Running, *frames: Callable[[Client], bytes]) -> Kept:
        sink = Kept()
        async with recorded(running, sink):
            for frame in frames:
                async with await running.client() as client:
                    with_size = frame(client)
                    await client.stream.send_all(with_size)
                    with trio.fail_after(60):
                        await client.stream.receive_some(1)
        text = json.dumps(sink.lines)
        assert self.PASSWORD.decode() not in text
        assert encode_records(self.PASSWORD)[:-4] not in text
        assert encode_records(b"\0me\0" + self.PASSWORD) not in text
        return sink

    async def test_of_sasl(self, running: Running) -> None:
        sink = await self.told(
            running, lambda client: client.frame(SaslAuthenticateRequest(auth_bytes=b"\0me\0" + self.PASSWORD), 2)
        )
        assert sink.of("request")[0]["request"] == {"authBytes": SECRET}

    async def test_of_scram(self, running: Running) -> None:
        upsertion = AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
            name="me", mechanism=1, iterations=4096, salt=self.PASSWORD, salted_password=self.PASSWORD
        )
        sink = await self.told(
            running, lambda client: client.frame(AlterUserScramCredentialsRequest(upsertions=[upsertion]), 0)
        )
        told = sink.of("request")[0]["request"]["upsertions"][0]
        assert (told["name"], told["salt"], told["saltedPassword"]) == ("me", SECRET, SECRET)

    async def test_of_tokens(self, running: Running) -> None:
        request = API[ApiKey.RENEW_DELEGATION_TOKEN].request(hmac=self.PASSWORD)
        sink = await self.told(running, lambda client: client.frame(request, 2))
        assert sink.of("request")[0]["request"]["hmac"] == SECRET

    @pytest.mark.parametrize(
        "name",
        ["ssl.keystore.password", "listener.name.x.ssl.keystore.key", "listener.name.x.sasl.jaas.config", "my.key"],
    )
    async def test_of_configs(self, running: Running, name: str) -> None:
        configs = [
            IncrementalAlterConfigsRequest.AlterableConfig(name=name, value=self.PASSWORD.decode()),
            IncrementalAlterConfigsRequest.AlterableConfig(name="log.retention.ms", value="5"),
            IncrementalAlterConfigsRequest.AlterableConfig(name=name, config_operation=1, value=None),
        ]
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=4, resource_name="1", configs=configs
        )
        sink = await self.told(
            running, lambda client: client.frame(IncrementalAlterConfigsRequest(resources=[resource]), 1)
        )
        told = sink.of("request")[0]["request"]["resources"][0]["configs"]
        assert [config["value"] for config in told] == [SECRET, "5", None]

    @pytest.mark.parametrize("key", [ApiKey.SASL_AUTHENTICATE, ApiKey.INCREMENTAL_ALTER_CONFIGS])
    async def test_in_frames_that_are_not_decoded(self, running: Running, key: ApiKey) -> None:
        content = frame_of(key, 99, b"\0" + self.PASSWORD)
        sink = await self.told(running, lambda _: len(content).to_bytes(4, "big") + content)
        assert sink.of("request")[0]["frame"] == SECRET

    async def test_in_tokens_without_a_header(self, running: Running) -> None:
        """After a SaslHandshake v0 they come as frames of their own, of which some look like a header."""
        tokens = (b"\0me\0" + self.PASSWORD, b"\0A\0\0pass\xff\xff" + self.PASSWORD, b"\0\x03\0\0pass\0\x04word\0")
        sink = Kept()
        recorder = recorder_of(running)
        recorder.add(sink)
        async with await running.client() as client:
            await client.ask(metadata("t"), METADATA)
            connection = next(iter(recorder._peers))
            handshake = client.frame(SaslHandshakeRequest(mechanism="PLAIN"), 0)[4:]
            for frame in (handshake, *tokens):  # a broker that knew SASL would come to the second
                with pytest.raises((ProtocolError, CloseConnection)):
                    recorder.handle(connection, memoryview(frame), 0, len(frame))
        recorder.remove(sink)
        asked, answered = sink.of("request")[2:], sink.of("response")[2:]
        known = {"kind", "n", "connection", "node", "timeMs"}
        for line in asked:
            assert (line["frame"], set(line)) == (SECRET, known | {"frame"})
        for line in answered:
            assert (line["refused"], set(line)) == (SECRET, known | {"durationMs", "response", "refused"})
        assert len(asked) == len(answered) == len(tokens)


async def test_what_other_taps_make_of_an_answer_counts(running: Running) -> None:
    sink = Kept()

    class Late:
        def on_request(self, context: Context) -> Message | None:
            return None

        def on_response(self, context: Context, response: Any) -> None:
            response.throttle_time_ms = 77

    async with recorded(running, sink), await running.client() as client:
        running.broker.gate.taps.append(Late())  # as a quota that somebody sets
        assert (await client.ask(metadata("t"), METADATA)).throttle_time_ms == 77
        assert (await client.ask(metadata("t"), METADATA)).throttle_time_ms == 77
    assert [line["response"]["throttleTimeMs"] for line in sink.of("response")] == [77, 77]


def test_a_plain_serve_does_not_even_import_it() -> None:
    code = "import sys, ottla.broker.app, ottla.commands.serve; print('ottla.broker.recording' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout == "False\n"


async def test_nobody_pays_when_nobody_looks(running: Running) -> None:
    gate = running.broker.gate
    first, second = Kept(), Kept()
    recorder = recorder_of(running)
    recorder.add(first)
    assert recorder_of(running) is recorder
    recorder.add(second)
    assert (gate.taps, gate.recorder) == ([recorder], recorder)
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        recorder.remove(first)
        recorder.remove(first)
        await client.ask(metadata("t"), METADATA)
        recorder.remove(second)
        assert (gate.taps, gate.recorder) == ([], None)
        await client.ask(metadata("t"), METADATA)
    assert [len(sink.of("request")) for sink in (first, second)] == [1, 2]
    assert (first.closes, second.closes) == (1, 1)


async def test_recording_that_begins_while_a_request_waits(running: Running) -> None:
    sink = Kept()
    async with await running.client() as reader, await running.client() as writer:
        await writer.ask(metadata("t"), METADATA)
        await reader.send(fetch("t", 0, max_wait_ms=60_000), FETCH)
        with trio.fail_after(60):
            while not any(connection.parked for connection in running.server.connections):
                await trio.lowlevel.checkpoint()
        async with recorded(running, sink):
            await writer.ask(produce("t", b"a"), PRODUCE)
            await reader.receive(fetch("t", 0), FETCH)
    assert [line["api"] for line in sink.of("request", "response")] == ["Produce", "Produce"]


async def test_sinks_are_flushed_four_times_a_second_and_let_go_when_they_take_no_more(launcher: Launcher) -> None:
    clock = ManualClock()
    running = await launcher.start(clock=clock)
    full, open_ = Kept(takes_more=False), Kept()
    recorder = recorder_of(running)
    recorder.add(full)
    recorder.add(open_)
    for _ in range(4):
        clock.advance(TICK_MS)
        running.broker.timers.run_due()
    assert TICK_MS * 4 <= 1000
    assert (full.flushes, full.closes, open_.flushes, open_.closes) == (1, 1, 4, 0)
    recorder.remove(open_)
    clock.advance(TICK_MS)
    running.broker.timers.run_due()
    assert open_.flushes == 4


async def test_a_fault_of_recording_is_no_fault_for_clients(running: Running) -> None:
    class Broken(Kept):
        def write(self, line: Line) -> None:
            if line["kind"] == "response":
                raise ZeroDivisionError
            super().write(line)

    broken, whole = Broken(), Kept()
    async with recorded(running, whole) as recorder:
        recorder.add(broken)
        async with await running.client() as client:
            for _ in range(2):
                assert (await client.ask(metadata("t"), METADATA)).topics[0].name == "t"
    assert (broken.closes, len(broken.of("request"))) == (1, 1)
    assert (len(whole.of("request")), len(whole.of("response"))) == (2, 2)
    assert running.broker.gate.taps == []
    assert running.log_text.count("recording failed") == 1


class TestFile:
    """The file of --record."""

    def log(self) -> tuple[Log, io.StringIO]:
        text = io.StringIO()
        return Log(text, "text", ManualClock()), text

    async def test_it_holds_a_line_each(self, running: Running, tmp_path: Path) -> None:
        path = tmp_path / "session.jsonl"
        path.write_text("what was there before\n")
        with recording.recording(running.broker, str(path), trio.current_time):
            async with await running.client() as client:
                await client.ask(metadata("t"), METADATA)
                await client.ask(produce("t", b"x" * 400_000), PRODUCE)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kinds = [line["kind"] for line in lines]
        assert kinds[:2] == ["recording", "connected"]
        assert kinds[-1] == "ended"
        assert kinds.count("request") == 2
        assert running.broker.gate.taps == []

    def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        (tmp_path / "there").write_text("from before")
        for name in ("r", "there"):
            RecordingFile(str(tmp_path / name), self.log()[0]).close()
        if os.name == "posix":  # others have no such modes
            assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("r", "there")} == {0o600}

    def test_a_path_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(StartupError, match=r"cannot write --record .*: .*; give a path in a folder you may write"):
            RecordingFile(str(tmp_path / "no" / "r"), self.log()[0])

    @pytest.mark.parametrize("room", [0, 5, 30, 47])
    def test_a_full_disk_ends_it_behind_a_whole_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        """`room`: bytes that the disk still takes."""
        written = 0
        write = os.write

        def full(fd: int, data: bytes) -> int:
            nonlocal written
            taken = data[: room - written]
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            written += write(fd, taken)
            return len(taken)

        monkeypatch.setattr(recording.os, "write", full)
        log, text = self.log()
        file = RecordingFile(str(tmp_path / "r"), log)
        for number in range(10):
            file.write({"kind": "closed", "n": number})
            file.flush()
        file.close()
        line = len(b'{"kind":"closed","n":0}\n')
        assert (tmp_path / "r").stat().st_size == room // line * line
        assert not file.flush()
        assert text.getvalue().count("recording ended early") == 1
        assert "No space left on device" in text.getvalue()
