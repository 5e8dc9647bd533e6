"""Brokers that other languages ask for: one call starts one, one ends it, and each has a surface of its own."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from http.client import HTTPConnection
from typing import Any

import pytest
import trio
from kafka import KafkaProducer

from ottla.testing import AsyncBroker

Ask = Callable[..., Any]


class Caller:
    """Keeps a connection to each port that it was given."""

    def __init__(self) -> None:
        self._connections: dict[int, HTTPConnection] = {}

    def ask(self, port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = self._connections.setdefault(port, HTTPConnection("127.0.0.1", port, timeout=60))
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Asks a surface: that of the host, or of the port that is given."""
    async with AsyncBroker(control=True) as host:
        caller = Caller()

        async def ask(*words: Any, port: int = int(host.control_url.rpartition(":")[2])) -> tuple[int, Any]:
            return await trio.to_thread.run_sync(caller.ask, port, *words)

        ask.host = host.bootstrap_servers  # type: ignore[attr-defined]
        yield ask
        caller.close()


async def test_each_is_a_broker_of_its_own(ask: Ask) -> None:
    _, tea = await ask("POST", "/v1/brokers", {"topics": {"orders": 2}})
    _, milk = await ask("POST", "/v1/brokers", {"nodes": 3, "settings": {"num.partitions": "5"}})
    assert len(milk["bootstrap_servers"].split(",")) == 3

    def produce() -> None:
        with KafkaProducer(bootstrap_servers=milk["bootstrap_servers"]) as producer:
            assert len(producer.partitions_for("drinks")) == 5
        with KafkaProducer(bootstrap_servers=tea["bootstrap_servers"]) as producer:
            assert len(producer.partitions_for("orders")) == 2

    await trio.to_thread.run_sync(produce)
    port = int(milk["control_url"].rpartition(":")[2])
    _, nodes = await ask("GET", "/v1/nodes", port=port)
    assert len(nodes["nodes"]) == 3
    status, refusal = await ask("POST", "/v1/brokers", {}, port=port)
    assert (status, refusal["error"]) == (404, "there is nothing at /v1/brokers; GET /v1 lists what there is")
    assert await ask("GET", "/v1/brokers") == (200, {"brokers": [tea, milk]})


async def test_one_that_ends_leaves_nothing(ask: Ask) -> None:
    await ask("GET", "/v1/brokers")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        _, guest = await ask("POST", "/v1/brokers", {"topics": {"orders": 1}})
        assert (await ask("DELETE", f"/v1/brokers/{guest['id']}"))[0] == 200
        status, refusal = await ask("DELETE", f"/v1/brokers/{guest['id']}")
        assert (status, refusal["error"].partition(";")[0]) == (404, f"there is no broker {guest['id']}")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_fork_begins_with_all_that_the_host_has(ask: Ask) -> None:
    _, first = await ask("POST", "/v1/brokers", {"topics": {"orders": 1}})

    def produce(bootstrap: str) -> int:
        with KafkaProducer(bootstrap_servers=bootstrap) as producer:
            offset: int = producer.send("seeded", b"tea").get(timeout=60).offset
            return offset

    _, empty = await ask("POST", "/v1/brokers", {"fork": True})
    assert await trio.to_thread.run_sync(produce, empty["bootstrap_servers"]) == 0
    assert await trio.to_thread.run_sync(produce, ask.host) == 0  # type: ignore[attr-defined]
    _, seeded = await ask("POST", "/v1/brokers", {"fork": True})
    assert await trio.to_thread.run_sync(produce, seeded["bootstrap_servers"]) == 1
    assert first["id"] != empty["id"] != seeded["id"]


@pytest.mark.parametrize(
    ("setup", "sentence"),
    [
        ({"topics": {"orders": 0}}, "topics must be names with numbers of partitions"),
        ({"topics": ["orders"]}, "topics must be names with numbers of partitions"),
        ({"topics": {"no/name": 1}}, "INVALID_TOPIC_EXCEPTION: a topic name consists of"),
        ({"settings": {"num.partitions": 3}}, "settings must be names with texts"),
        ({"settings": {"num.partitions": "many"}}, "num.partitions"),
        ({"snapshot": 1}, "snapshot must be a name"),
        ({"snapshot": "nothing"}, "there is no snapshot"),
        ({"fork": True, "nodes": 2}, "leave out the other fields"),
        ({"nodes": 0}, "nodes must be a number from 1 to 100"),
        ({"nodes": True}, "nodes must be a number from 1 to 100"),
        ({"port": 9092}, "knows no 'port' in the body; it takes topics, nodes, settings, snapshot, fork"),
    ],
)
async def test_what_cannot_be_started_says_why_and_leaves_nothing(ask: Ask, setup: Any, sentence: str) -> None:
    status, refusal = await ask("POST", "/v1/brokers", setup)
    assert status == 400
    assert sentence in refusal["error"]
    assert await ask("GET", "/v1/brokers") == (200, {"brokers": []})
