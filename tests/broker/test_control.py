"""The control surface: what it lets in, what it refuses, and that a broken peer breaks its own connection only."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from openapi_spec_validator import validate

from ottla.broker.control import http
from ottla.broker.control.routes import Call, Refused, Route, Router
from ottla.broker.control.surface import ROUTES, serve
from ottla.broker.server import bind
from ottla.wire.errors import ErrorCode, KafkaError
from tests.broker.conftest import Launcher, Running

JSON = {"Content-Type": "application/json"}


class Surface:
    """A client of the surface: one connection a call, or raw bytes."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def raw(self, request: bytes) -> bytes:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(request)
            await stream.send_eof()
            answer = b""
            with trio.fail_after(60):
                while piece := await stream.receive_some(65536):
                    answer += piece
            return answer

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        lines = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(content))}
        lines |= JSON if method != "GET" and headers is None else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in (lines | (headers or {})).items())
        answer = await self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        first, _, rest = answer.partition(b"\r\n")
        return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


@pytest.fixture
async def surface(running: Running, nursery: trio.Nursery) -> Surface:
    (sock,) = bind([("127.0.0.1", 0)])
    port = sock.getsockname()[1]
    await nursery.start(serve, running.broker, [sock])
    return Surface(port)


async def test_it_lists_what_there_is(surface: Surface) -> None:
    for path in ("/", "/v1", "/v1/"):
        status, index = await surface.ask("GET", path)
        assert status == 200
        assert {(route["method"], route["path"]) for route in index["routes"]} >= {
            (route.method, route.path) for route in ROUTES
        }
        assert all(route["does"] for route in index["routes"])


async def test_it_describes_itself_to_programs(surface: Surface) -> None:
    status, document = await surface.ask("GET", "/v1/openapi.json")
    assert status == 200
    validate(document)
    there = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert there == {(route.method, route.path) for route in ROUTES} | {("GET", "/v1"), ("GET", "/v1/openapi.json")}
    move = document["paths"]["/v1/partitions/{topic}/{partition}/leader"]["post"]
    assert [parameter["name"] for parameter in move["parameters"]] == ["topic", "partition"]
    assert move["requestBody"]["content"]["application/json"]["schema"]["required"] == ["node"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "sentence"),
    [
        ("GET", "/v1/nowhere", None, {}, 404, "there is nothing at /v1/nowhere; GET /v1 lists what there is"),
        ("GET", "/v1/nodes/1/stop", None, {}, 405, "/v1/nodes/1/stop takes POST, not GET"),
        ("POST", "/v1/nodes/one/stop", None, None, 400, "'one' is not a node: give a number"),
        ("POST", "/v1/nodes/1/stop", None, {}, 415, "send Content-Type: application/json, also without a body"),
        ("POST", "/v1/partitions/a/0/leader", [], None, 400, "the body must be a JSON object"),
        ("POST", "/v1/partitions/a/0/leader", {"node": "2"}, None, 400, "with 'node', as in {\"node\": 2}"),
        ("POST", "/v1/partitions/a/0/leader", {"node": True}, None, 400, "with 'node'"),
        ("POST", "/v1/partitions/a/0/isr", {"isr": ["2"]}, None, 400, 'the ids in "isr" must be numbers'),
        ("POST", "/v1/partitions/a/0/leader", {"noed": 2}, None, 400, "knows no 'noed' in the body; it takes node"),
        ("POST", "/v1/nodes/1/stop", {"now": True}, None, 400, "knows no 'now' in the body; it takes nothing there"),
        ("GET", "/v1/nodes?up=1", None, {}, 400, "knows no 'up' behind ?; it takes nothing there"),
        ("GET", "/v1/partitions/a/0", None, {}, 404, "there is no partition a-0"),
        ("GET", "/v1", None, {"Host": "evil.example.com"}, 403, "is no name of this broker"),
        ("GET", "/v1", None, {"Origin": "http://localhost"}, 403, "requests of web pages"),
    ],
)
async def test_what_it_refuses(
    surface: Surface, method: str, path: str, body: Any, headers: dict[str, str] | None, status: int, sentence: str
) -> None:
    got, answer = await surface.ask(method, path, body, headers)
    assert (got, list(answer)) == (status, ["error"])
    assert sentence in answer["error"]


@pytest.mark.parametrize("host", ["localhost", "[::1]:9", "10.0.0.7:80", "ottla:9090", "host.docker.internal:1"])
async def test_names_of_this_machine_are_let_in(surface: Surface, host: str) -> None:
    assert (await surface.ask("GET", "/v1", None, {"Host": host}))[0] == 200


@pytest.mark.parametrize(
    ("request_", "first"),
    [
        (b"\x00\x00\x00\x10garbage\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 9000 + b"\r\n", b"HTTP/1.1 431"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{]",
            b"HTTP/1.1 400",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n" + bytes(1048577), b"HTTP/1.1 413"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b""),  # it left in the middle
        (b"", b""),
    ],
)
async def test_what_is_not_http_ends_its_connection_and_nothing_else(
    surface: Surface, running: Running, request_: bytes, first: bytes
) -> None:
    try:
        answer = await surface.raw(request_)
    except (trio.BrokenResourceError, ConnectionResetError):  # it closed before it had read all that came
        answer = first
    assert answer.startswith(first)
    assert (await surface.ask("GET", "/v1"))[0] == 200
    assert "failed" not in running.log_text


async def test_requests_of_a_connection_are_answered_in_order(surface: Surface) -> None:
    get = b"GET /v1/nodes HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await surface.raw(get + get.replace(b"nodes", b"x") + get)
    assert [line.split()[1] for line in answer.splitlines() if line.startswith(b"HTTP/1.1")] == [b"200", b"404", b"200"]


async def test_what_a_call_raises_becomes_an_answer(running: Running) -> None:
    def fail(error: Exception) -> Any:
        def run(call: Call) -> Any:
            raise error

        return run

    router = Router(
        running.broker,
        [
            Route("GET", "/kafka", fail(KafkaError(ErrorCode.INVALID_REQUEST, "not now")), "-"),
            Route("GET", "/gone", fail(KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)), "-"),
            Route("GET", "/refused", fail(Refused("no", 418)), "-"),
            Route("GET", "/bug", fail(ZeroDivisionError("oh")), "-"),
        ],
    )

    async def get(name: str) -> tuple[int, Any]:
        reply = await router.answer(http.Request("GET", ["v1", name], {}))
        return reply.status, reply.body

    assert await get("kafka") == (409, {"error": "not now", "code": "INVALID_REQUEST"})
    assert (await get("gone"))[0] == 404
    assert await get("refused") == (418, {"error": "no"})
    assert await get("bug") == (500, {"error": "the broker failed to do that; its log says why"})
    assert "ZeroDivisionError" in running.log_text


async def test_an_idle_connection_is_closed(
    running: Running, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "IDLE_S", 0.05)
    stream = await trio.open_tcp_stream("127.0.0.1", surface.port)
    async with stream:
        with trio.fail_after(60):
            assert await stream.receive_some(1) == b""


# ── over three nodes ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nodes_are_steered(launcher: Launcher, nursery: trio.Nursery) -> None:
    factors = ("default", "offsets.topic", "transaction.state.log")
    running = await launcher.start({f"{name}.replication.factor": "3" for name in factors}, nodes=3)
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 3))
    (sock,) = bind([("127.0.0.1", 0)])
    surface = Surface(sock.getsockname()[1])
    await nursery.start(serve, running.broker, [sock])

    status, stopped = await surface.ask("POST", "/v1/nodes/2/stop")
    assert status == 200
    assert [(node["id"], node["up"], node["leads"]) for node in stopped["nodes"]] == [
        (1, True, 1),
        (2, False, 0),
        (3, True, 2),
    ]
    again = await surface.ask("POST", "/v1/nodes/2/stop")
    assert again == (409, {"error": "node 2 is down already", "code": "INVALID_REQUEST"})
    assert (await surface.ask("POST", "/v1/nodes/2/start"))[0] == 200
    assert (await surface.ask("POST", "/v1/nodes/9/start"))[0] == 404
    status, moved = await surface.ask("POST", "/v1/partitions/t/0/leader", {"node": 2})
    assert (status, moved["leader"], moved["leader_epoch"]) == (200, 2, 1)
    status, shrunk = await surface.ask("POST", "/v1/partitions/t/0/isr", {"isr": [2]})
    assert (status, shrunk["isr"]) == (200, [2])
    assert await surface.ask("GET", "/v1/partitions/t/0") == (200, shrunk)
    answer = await surface.ask("POST", "/v1/groups/a%2Fb/coordinator", {"node": 3})
    assert answer == (200, {"group": "a/b", "coordinator": 3})
    assert running.broker.group_coordinator_node("a/b").id == 3
    answer = await surface.ask("POST", "/v1/transactions/x/coordinator", {"node": 1})
    assert answer == (200, {"transaction": "x", "coordinator": 1})
    assert await surface.ask("GET", "/v1/client-metrics") == (200, {"instances": []})
    assert (await surface.ask("GET", "/v1/client-metrics/nobody"))[0] == 404
