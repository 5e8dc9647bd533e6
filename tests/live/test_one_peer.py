"""One peer's order and strangeness: pipelined requests, other protocols on the port, and what a first request loads."""

from __future__ import annotations

import contextlib
import re
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests.harness import Broker, make_broker
from compat_tests.raw import API_VERSIONS, METADATA, NONE, RawConnection, blob, one_batch, produce_request, text
from tests.live.conftest import connect


def client_hello() -> bytes:
    """The first bytes that a TLS client sends."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_pipelined_requests_are_answered_in_order(broker: Broker, figure: Callable[[str, object], None]) -> None:
    count = 1000
    frames = []
    for number in range(count):
        header = struct.pack(">hhih", *((METADATA, 4) if number % 2 else (API_VERSIONS, 0)), number, -1)
        frames.append(blob(header + (struct.pack(">i", 1) + text("none") + b"\x00" if number % 2 else b"")))
    with RawConnection(broker.port) as connection:
        began_s = time.perf_counter()
        connection.send_bytes(b"".join(frames))
        assert [connection.receive()[0] for _ in range(count)] == list(range(count))
        figure(f"ms for {count} pipelined requests", round((time.perf_counter() - began_s) * 1000))


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (client_hello(), "a TLS client hello on a plaintext listener"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "an HTTP request on a Kafka listener"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP request on a Kafka listener"),
    ],
    ids=["tls", "http", "http2"],
)
def test_another_protocol_is_closed_and_named(broker: Broker, first: bytes, words: str) -> None:
    with connect(broker.port) as peer:
        peer.sendall(first)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
    lines = [line for line in broker.log.splitlines() if "connection closed" in line]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in broker.log


def test_messages_are_imported_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with make_broker(tmp_path) as broker:

        def messages() -> set[str]:
            return set(re.findall(r"ottla\.wire\.messages\.(\w+)", broker.log))

        assert messages() == set()
        with RawConnection(broker.port) as connection:
            connection.make_topic("first")
            assert connection.produce(produce_request("first", one_batch([b"first"])))[0] == NONE
        assert messages() == {"metadata", "produce"}
