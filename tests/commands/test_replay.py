"""`ottla replay`: a recording against a broker that does the same, one that does not, and ones that break off."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from ottla.broker.dispatch import Context
from ottla.broker.recording import FORMAT, SECRET, recording
from ottla.cli import run
from ottla.wire.apis import API, ApiKey
from ottla.wire.errors import ErrorCode
from ottla.wire.frame import decode_request_header
from ottla.wire.message_json import encode_bytes, to_json
from ottla.wire.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.end_txn import EndTxnRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.join_group import JoinGroupRequest
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.metadata import MetadataResponse
from ottla.wire.messages.sync_group import SyncGroupRequest
from ottla.wire.records import Record, build_batch
from ottla.wire.schema import Message
from tests.broker.conftest import Client, Launcher, Running, launcher, use_epoll  # noqa: F401  # fixtures
from tests.broker.test_connection import FETCH, METADATA, PRODUCE, fetch, metadata, produce

Capture = pytest.CaptureFixture[str]


async def replayed(path: Path, port: int, *flags: str) -> int:
    """The exit code of `ottla replay`."""
    argv = ["replay", str(path), "--against", f"127.0.0.1:{port}", *flags]
    return await trio.to_thread.run_sync(lambda: run(argv, started_ms=0))


async def record(running: Running, path: Path, story: Callable[[Running], Awaitable[object]]) -> Path:
    with recording(running.broker, str(path), trio.current_time):
        await story(running)
    return path


@pytest.fixture
async def recorded_and_other(launcher: Launcher, nursery: trio.Nursery, tmp_path: Path) -> tuple[Running, Running]:  # noqa: F811
    """A broker to record, and another to play to; each with data of its own."""
    first = await launcher.start({"group.initial.rebalance.delay.ms": "0"})
    other = Launcher(nursery, tmp_path / "other")
    return first, await other.start({"group.initial.rebalance.delay.ms": "0", "node.id": "7"})


Both = tuple[Running, Running]


def join(member_id: str = "") -> JoinGroupRequest:
    protocol = JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"m")
    return JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[protocol],
    )


def sync(joined: Any) -> SyncGroupRequest:
    assignments = [
        SyncGroupRequest.SyncGroupRequestAssignment(member_id=member.member_id, assignment=b"a")
        for member in joined.members
    ]
    return SyncGroupRequest(
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=assignments,
    )


async def in_group(client: Client) -> Any:
    await client.ask(FindCoordinatorRequest(coordinator_keys=["g"]), 4)
    member_id = (await client.ask(join(), 7)).member_id
    return await client.ask(join(member_id), 7)


async def a_group(running: Running) -> None:
    """Two members, the second of which makes the first one wait."""
    async with await running.client("one") as one, await running.client("two") as two:
        joined = await in_group(one)
        await one.ask(sync(joined), 5)
        member_id = (await two.ask(join(), 7)).member_id
        await two.send(join(member_id), 7)
        heartbeat = HeartbeatRequest(group_id="g", generation_id=1, member_id=joined.member_id)
        with trio.fail_after(60):
            while (await one.ask(heartbeat, 4)).error_code != ErrorCode.REBALANCE_IN_PROGRESS:
                await trio.lowlevel.checkpoint()
        again = await one.ask(join(joined.member_id), 7)
        second = await two.receive(join(), 7)
        await one.ask(sync(again), 5)
        await two.ask(sync(second), 5)
        leaving = LeaveGroupRequest.MemberIdentity(member_id=joined.member_id, reason="done")
        await one.ask(LeaveGroupRequest(group_id="g", members=[leaving]), 5)


async def a_transaction(running: Running) -> None:
    """Whose producer id is in the records, too."""
    async with await running.client("producer") as client:
        await client.ask(metadata("other"), METADATA)
        await client.ask(InitProducerIdRequest(transaction_timeout_ms=-1), 4)  # so that ids differ
        await client.ask(metadata("t"), METADATA)
        await client.ask(FindCoordinatorRequest(key_type=1, coordinator_keys=["tx"]), 4)
        made = await client.ask(InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=60_000), 4)
        topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name="t", partitions=[0])
        who = {"v3_and_below_transactional_id": "tx", "v3_and_below_producer_id": made.producer_id}
        await client.ask(AddPartitionsToTxnRequest(**who, v3_and_below_topics=[topic]), 3)
        numbers = {"producer_id": made.producer_id, "producer_epoch": 0, "base_sequence": 0}
        batch = build_batch([Record(0, 5, None, b"v")], transactional=True, **numbers)
        request = produce("t", b"v")
        request.transactional_id = "tx"
        request.topic_data[0].partition_data[0].records = batch
        await client.ask(request, PRODUCE)
        await client.ask(
            EndTxnRequest(transactional_id="tx", producer_id=made.producer_id, producer_epoch=0, committed=True), 4
        )
        await client.ask(fetch("t", 0), FETCH)


async def odd_ones(running: Running) -> None:
    """Requests without answers, and some that end the connection."""
    async with await running.client() as client:
        await client.ask(metadata("t"), METADATA)
        await client.send(produce("t", b"a", acks=0), PRODUCE)
        await client.ask(fetch("t", 0), FETCH)
        await client.send(API[ApiKey.SHARE_GROUP_HEARTBEAT].request(group_id="g"), 1)
        assert await client.closed()
    for content in (b"\0", b"\0\3\0\x63\0\0\0\1\0\0"):
        async with await running.client() as client:
            await client.stream.send_all(len(content).to_bytes(4, "big") + content)
            assert await client.closed()
    async with await running.client() as client:
        content = b"\0\x12\0\x63\0\0\0\1\0\2me\0"
        await client.stream.send_all(len(content).to_bytes(4, "big") + content)
        await client.receive(ApiVersionsRequest(), 0)
    async with await running.client("reader") as reader, await running.client("writer") as writer:
        await reader.send(fetch("t", 1, max_wait_ms=60_000), FETCH)
        with trio.fail_after(60):
            while not any(connection.parked for connection in running.server.connections):
                await trio.lowlevel.checkpoint()
        await writer.ask(produce("t", b"x" * 300_000), PRODUCE)
        await reader.receive(fetch("t", 1), FETCH)
        await reader.send(fetch("t", 2, max_wait_ms=60_000), FETCH)  # and hangs up


@pytest.mark.parametrize("story", [a_group, a_transaction, odd_ones])
async def test_a_broker_that_does_the_same(
    recorded_and_other: Both, tmp_path: Path, story: Callable[[Running], Awaitable[None]], capsys: Capture
) -> None:
    first, other = recorded_and_other
    async with await other.client() as client:  # ids of its own
        await client.ask(InitProducerIdRequest(transaction_timeout_ms=-1), 4)
    path = await record(first, tmp_path / "r", story)
    assert await replayed(path, other.port) == 0, capsys.readouterr().out
    text = capsys.readouterr().out
    assert text.endswith(" answered alike, 0 differently\n")
    assert text.count("\n") == 1


class Change:
    """A tap that changes what heartbeats hear."""

    def on_request(self, context: Context) -> Message | None:
        return None

    def on_response(self, context: Context, response: Message) -> None:
        if isinstance(response, HeartbeatResponse):
            response.error_code = ErrorCode.FENCED_INSTANCE_ID


async def test_a_changed_error_code_is_named(recorded_and_other: Both, tmp_path: Path, capsys: Capture) -> None:
    first, other = recorded_and_other
    path = await record(first, tmp_path / "r", a_group)
    other.broker.gate.taps.append(Change())
    assert await replayed(path, other.port) == 1
    text = capsys.readouterr().out
    assert " Heartbeat v4 one #1  errorCode: was 27 (REBALANCE_IN_PROGRESS), is 82 (FENCED_INSTANCE_ID)\n" in text
    assert " 1 differently\n" in text
    assert await replayed(path, other.port, "--ignore", "Heartbeat.errorCode", "--json") == 1  # its group is another
    told = json.loads(capsys.readouterr().out)
    assert told["played"] == told["equal"] + told["different"]
    assert all(each["field"] != "errorCode" or each["api"] != "Heartbeat" for each in told["differences"])


async def test_several_nodes(launcher: Launcher, nursery: trio.Nursery, tmp_path: Path, capsys: Capture) -> None:  # noqa: F811
    """Each connection goes to the node that stands for the recorded one."""
    first = await launcher.start(nodes=3)
    other = await Launcher(nursery, tmp_path / "other").start({"node.id": "11"}, nodes=3)

    async def story(running: Running) -> None:
        for node in running.broker.cluster.nodes:
            async with await running.client(node=node) as client:
                await client.ask(metadata("t"), METADATA)
                await client.ask(produce("t", b"a"), PRODUCE)  # two of the three do not lead

    path = await record(first, tmp_path / "r", story)
    assert await replayed(path, other.port_of(11)) == 0, capsys.readouterr().out


# ── a broker that is not one ────────────────────────────────────────────────────────────────────────────────────────

Answer = Callable[[int, int, int], bytes | None]  # api key, version, how many requests before -> body; None: close


@contextmanager
def pretending(answer: Answer) -> Iterator[int]:
    """A port where Metadata is answered and all else by `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))
    counts: list[int] = []

    def serve_one(sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as file:
            while size := file.read(4):
                header = decode_request_header(file.read(int.from_bytes(size, "big")))
                key, version = header.api_key, header.api_version
                if key == ApiKey.METADATA:
                    body: bytes | None = MetadataResponse().encode(version)
                else:
                    body = answer(key, version, len(counts))
                    counts.append(key)
                if body is None:
                    return
                if body:
                    frame = header.correlation_id.to_bytes(4, "big") + body
                    sock.sendall(len(frame).to_bytes(4, "big") + frame)

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


HEAD = {"kind": "recording", "format": FORMAT, "ottla": "0", "nodes": [{"node": 1, "ports": [9092]}]}
HEARTBEAT = HeartbeatRequest(group_id="g", generation_id=1, member_id="m")


def asked(n: int, request: Message = HEARTBEAT, version: int = 0, **more: Any) -> dict[str, Any]:
    spec = API[request.KEY or 0]
    named = {"api": spec.name, "version": version, "correlationId": n, "clientId": "me"}
    return {"kind": "request", "n": n, "connection": 1, "node": 1, **named, "request": to_json(request, version)} | more


def heard(n: int, response: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "response", "n": n, "connection": 1, "api": "Heartbeat", "version": 0, "response": response} | more


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in (HEAD, *lines)))
    return path


OK = b"\0\0"
NOT_READY = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS.to_bytes(2, "big")


def played(path: Path, answer: Answer, *flags: str) -> int:
    with pretending(answer) as port:
        argv = ["replay", str(path), "--against", f"127.0.0.1:{port}", *flags]
        return run(argv, started_ms=0)


def test_a_broker_that_closes_or_keeps_silent_or_talks_nonsense(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "r", *(line for n in range(4) for line in (asked(n), heard(n, {"errorCode": 0}))))
    answers = [None, b"", b"\1", OK]
    assert played(path, lambda _, __, count: answers[count], "--timeout", "0.2") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "#0 Heartbeat v0 me #1  was 'an answer', is 'the connection closed'"
    assert lines[1] == "#1 Heartbeat v0 me #1  was 'an answer', is 'no answer'"
    assert lines[2].startswith("#2 Heartbeat v0 me #1  was 'an answer', is 'no answer of version 0: ")
    assert lines[3] == "4 requests played: 1 answered alike, 3 differently"


def test_a_broker_that_answers_where_the_recorded_one_closed(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "r", asked(1), heard(1, None, refused="because"), {"kind": "closed", "connection": 1})
    assert played(path, lambda *_: OK) == 1
    assert "was 'the connection closed', is 'an answer'" in capsys.readouterr().out
    assert played(path, lambda *_: None) == 0


def test_asking_again(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "r", asked(1), heard(1, {"errorCode": 0}))

    def slow(key: int, version: int, count: int) -> bytes:
        return OK if count == 2 else NOT_READY

    assert played(path, slow) == 1
    assert "is 14 (COORDINATOR_LOAD_IN_PROGRESS)" in capsys.readouterr().out
    assert played(path, slow, "--retry", "60") == 0
    write(path, asked(1), heard(1, {"errorCode": 14}))
    assert played(path, slow, "--retry", "60") == 0  # as it was then


def test_the_waits_of_then(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r",
        asked(1, timeMs=1000),
        heard(1, {"errorCode": 0}),
        asked(2, timeMs=1200),
        heard(2, {"errorCode": 0}),
    )
    times: list[float] = []

    def answer(key: int, version: int, count: int) -> bytes:
        times.append(time.monotonic())
        return OK

    assert played(path, answer, "--real-time") == 0
    assert times[1] - times[0] > 0.15  # never less, however busy the machine is


@pytest.mark.parametrize(
    "line",
    [
        asked(1) | {"api": "SaslAuthenticate", "request": {"authBytes": SECRET}},
        {"kind": "request", "n": 1, "connection": 1, "node": 1, "frame": SECRET},
    ],
)
def test_what_holds_a_secret_cannot_be_played(tmp_path: Path, capsys: Capture, line: dict[str, Any]) -> None:
    path = write(tmp_path / "r", line, heard(1, {"errorCode": 0}), asked(2), heard(2, {"errorCode": 0}))
    assert played(path, lambda *_: OK) == 0
    text = capsys.readouterr().out
    assert "#1 " in text
    assert "was not played: it holds a secret, which is not recorded" in text
    assert "1 requests played: 1 answered alike, 0 differently, 1 not played" in text
    assert played(path, lambda *_: OK, "--json") == 0
    assert json.loads(capsys.readouterr().out)["not_played"][0]["n"] == 1


def test_an_answer_that_holds_a_secret_is_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "r", asked(1), heard(1, {"errorCode": SECRET}))
    assert played(path, lambda *_: OK) == 0


@pytest.mark.parametrize(
    "change", [{"request": {"x": 1}}, {"api": "Nothing"}, {"version": 99}, {"correlationId": 1 << 40}]
)
def test_what_is_no_request_is_not_played(tmp_path: Path, capsys: Capture, change: dict[str, Any]) -> None:
    path = write(tmp_path / "r", asked(1) | change, heard(1, {"errorCode": 0}))
    assert played(path, lambda *_: OK) == 0
    assert "#1 " in (text := capsys.readouterr().out)
    assert "was not played: it is no request" in text


def test_a_frame_is_played_as_it_came(tmp_path: Path) -> None:
    frame = encode_bytes(b"\0\x0c\0\0\0\0\0\1\0\2me" + HEARTBEAT.encode(0))
    line = {"kind": "request", "n": 1, "connection": 1, "node": 1, "frame": frame}
    path = write(tmp_path / "r", line, heard(1, {"errorCode": 0}))
    assert played(path, lambda *_: OK) == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", " is empty; give a file of ottla serve --record"),
        ("what\n", " line 1 is no line of a recording"),
        ('{"kind": "request", "n": 1, "connection": 1, "node": 1}\n', " is no recording; give a file of ottla serve"),
        (json.dumps(HEAD | {"format": 99}) + "\n", " is a recording of format 99, this ottla reads 1; use the one"),
        (json.dumps(HEAD) + '\n{"kind": "request"}\n', " line 2 is no line of a recording"),
        (json.dumps(HEAD) + "\n[]\n", " line 2 is no line of a recording"),
        (json.dumps(HEAD) + "\n\udcff\n", " is no recording"),
        (json.dumps(HEAD | {"nodes": 5}) + "\n", " line 1 is no line of a recording"),
        (json.dumps(HEAD | {"nodes": [5]}) + "\n", " line 1 is no line of a recording"),
        (json.dumps(HEAD) + '\n{"kind": []}\n', " line 2 is no line of a recording"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, capsys: Capture, content: str, sentence: str) -> None:
    path = tmp_path / "r"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert played(path, lambda *_: OK) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["n", "connection", "node", "api", "version", "correlationId", "clientId", "timeMs"])
def test_a_line_that_was_edited_is_named(tmp_path: Path, capsys: Capture, name: str) -> None:
    path = write(tmp_path / "r", asked(1) | {name: {}}, heard(1, {"errorCode": 0}))
    assert played(path, lambda *_: OK) == 1
    assert " line 2 is no line of a recording" in capsys.readouterr().err


def test_a_recording_that_was_cut_is_played_as_far_as_it_goes(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "r", asked(1), heard(1, {"errorCode": 0}))
    with path.open("a") as file:
        file.write('{"kind": "requ')
    assert played(path, lambda *_: OK) == 0
    assert "1 requests played" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (["no-such-file", "--against", "127.0.0.1:1"], 1, "cannot read no-such-file: "),
        (["FILE", "--against", "127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1 ("),
        (["FILE", "--against", "a:1,b:2"], 2, "--against takes one address"),
        (["FILE", "--against", "127.0.0.1:1", "--retry", "x"], 2, "--retry x: give seconds, as in --retry 30"),
        (["FILE"], 2, "--against"),
    ],
)
def test_flags(tmp_path: Path, capsys: Capture, flags: list[str], code: int, sentence: str) -> None:
    path = write(tmp_path / "r")
    assert run(["replay", *(str(path) if flag == "FILE" else flag for flag in flags)], started_ms=0) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("says", "reason"), [(b"", "the connection closed"), (b"\0\0\0\5abcde", "MetadataResponse v1 brokers at byte 4: ")]
)
def test_a_port_where_no_broker_is(tmp_path: Path, capsys: Capture, says: bytes, reason: str) -> None:
    path = write(tmp_path / "r")

    def serve() -> None:
        with listener.accept()[0] as sock:
            sock.recv(1000)
            sock.sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=serve, daemon=True).start()
        assert run(["replay", str(path), "--against", f"127.0.0.1:{port}"], started_ms=0) == 1
    said = capsys.readouterr().err
    assert f"is no Kafka broker ({reason}" in said
    assert "; name another" in said
