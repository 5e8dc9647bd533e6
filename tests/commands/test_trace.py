"""`ottla trace`: what a person reads of a request, and how looking on begins and ends."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ottla.cli import run
from ottla.commands.output import Output
from ottla.commands.trace import line_text

TOPIC_ID = "oWs-gkq-SgO4C1FDoBGsXA"


def text_of(api: str, request: dict[str, Any] | None, response: dict[str, Any] | None = None, **more: Any) -> str:
    """The line without time, connection and client."""
    line = {
        "connection": 3,
        "clientId": "me",
        "timeMs": 1_700_000_000_123,
        "api": api,
        "version": 9,
        "request": request,
        "response": {} if response is None else response,
        "durationMs": 0.25,
    }
    text = line_text(line | more, Output(io.StringIO(), json=False, colour=False))
    begin = f" #3 me {api} v9 "
    assert begin in text
    assert text.partition(begin)[0].endswith(".123")
    return text.partition(begin)[2]


RECORDS = {"bytes": 70, "batches": 1, "records": 2}


@pytest.mark.parametrize(
    ("api", "request_", "response", "text"),
    [
        (
            "Produce",
            {
                "acks": -1,
                "topicData": [{"name": "t", "partitionData": [{"index": 0, "records": RECORDS}, {"index": 2}]}],
            },
            {},
            "acks=all t:0 t:2 2 records, 70 B -> ok 0.25 ms",
        ),
        (
            "Fetch",
            {
                "maxWaitMs": 500,
                "topics": [{"topicId": TOPIC_ID, "partitions": [{"partition": 1, "fetchOffset": 7}]}],
            },
            {"responses": [{"partitions": [{"errorCode": 0, "records": RECORDS}]}]},
            "wait_ms=500 orders:1@7 2 records, 70 B -> ok 0.25 ms",
        ),
        ("Metadata", {"topics": None}, {}, "all topics -> ok 0.25 ms"),
        ("Metadata", {"topics": [{"name": "a"}, {"name": "b"}]}, {}, "a b -> ok 0.25 ms"),
        ("CreateTopics", {"topics": [{"name": "a", "numPartitions": 3}]}, {}, "a:3 -> ok 0.25 ms"),
        ("DeleteTopics", {"topicNames": ["a", "b"]}, {}, "a b -> ok 0.25 ms"),
        (
            "JoinGroup",
            {"groupId": "g", "memberId": "me-d4b4c5a6-0000-0000-0000-00001234abcd"},
            {"errorCode": 79, "errorMessage": None},
            "group=g member=..1234abcd -> MEMBER_ID_REQUIRED 0.25 ms",
        ),
        (
            "OffsetFetch",
            {"groups": [{"groupId": "g", "topics": [{"name": "t", "partitionIndexes": list(range(7))}]}]},
            {"groups": [{"errorCode": 16}, {"errorCode": 16}, {"errorCode": 9999}]},
            "group=g t:0 t:1 t:2 t:3 (and 3 more) -> NOT_COORDINATOR x2, 9999 0.25 ms",
        ),
        (
            "DescribeConfigs",
            {"resources": [{"resourceName": "t"}]},
            {"results": [{"errorCode": 3, "errorMessage": "there is none"}]},
            "t -> UNKNOWN_TOPIC_OR_PARTITION (there is none) 0.25 ms",
        ),
        ("FindCoordinator", {"keyType": 0, "coordinatorKeys": ["g", "h"]}, {}, "key=g,h -> ok 0.25 ms"),
        ("Heartbeat", {"groupId": "g\x1b[2J"}, {}, "group=g\\x1b[2J -> ok 0.25 ms"),
    ],
)
def test_the_essence(api: str, request_: dict[str, Any], response: dict[str, Any], text: str) -> None:
    assert text_of(api, request_, response, topicNames={TOPIC_ID: "orders"}) == text


def test_what_gets_no_answer() -> None:
    line = {"connection": 3, "clientId": None, "timeMs": 0, "frame": "AA==", "refused": "no such\nAPI"}
    text = line_text(line, Output(io.StringIO(), json=False, colour=False))
    assert text.endswith(" #3 - ? not readable -> closed: no such\\nAPI")
    silent = {"connection": 1, "timeMs": 0, "api": "Produce", "version": 9, "request": {"acks": 0}, "response": None}
    text = line_text(silent, Output(io.StringIO(), json=False, colour=False))
    assert text.endswith(" Produce v9 acks=0 -> no answer")


@contextmanager
def surface(*lines: bytes, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A control surface that answers with these lines and ends; what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.writelines(lines)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield str(server.server_address[1]), asked
    finally:
        server.shutdown()
        server.server_close()


LINE = {"connection": 1, "clientId": "a", "timeMs": 0, "api": "Heartbeat", "version": 4, "request": {}, "response": {}}


def test_it_shows_lines_until_the_broker_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps(LINE).encode() + b"\n"
    late = json.dumps(LINE | {"missed": 12}).encode() + b"\n"
    with surface(line, b"\n", late, b'{"conn') as (port, asked):
        flags = ["--control", port, "--api", "Heartbeat", "--topic", "a b", "--client-id", "ä"]
        assert run(["trace", *flags], started_ms=0) == 1
        shown = capsys.readouterr()
        assert asked == ["/v1/trace?api=Heartbeat&topic=a+b&client-id=%C3%A4"]
        first, missed, second = shown.out.splitlines()
        assert first == second
        assert first.endswith(" #1 a Heartbeat v4 -> ok")
        assert missed == "... 12 more, faster than they could be shown"
        assert f"the broker at 127.0.0.1:{port} is gone" in shown.err
        assert run(["trace", "--control", port, "--json"], started_ms=0) == 1
        assert json.loads(capsys.readouterr().out.splitlines()[0]) == LINE


def test_what_the_surface_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with surface(b'{"error": "there is no API \'X\'"}\n', status=400) as (port, _):
        assert run(["trace", "--control", port, "--api", "X"], started_ms=0) == 1
    assert capsys.readouterr().err == "ottla: there is no API 'X'\n"


def test_nobody_said_where(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTTLA_CONTROL", raising=False)
    assert run(["trace"], started_ms=0) == 2
    assert "where is the broker's control surface?" in capsys.readouterr().err
    assert run(["trace", "--control", "1"], started_ms=0) == 1
    assert "nothing listens on 127.0.0.1:1" in capsys.readouterr().err
