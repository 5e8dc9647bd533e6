"""How a broker is named and found, and what is said of those that are none."""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottla.broker.errors import UsageError
from ottla.commands.base import CommandError
from ottla.commands.connect import Target, code_sentence, parse_bootstrap, parse_timeout_ms, probe, target


def flags(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**{"bootstrap": None, "config": None, "timeout": "10"} | values)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost", [("localhost", 9092)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        ("a:1, b", [("a", 1), ("b", 9092)]),
        ("[::1]:9093", [("::1", 9093)]),
        ("[::1]", [("::1", 9092)]),
        ("::1", [("::1", 9092)]),
        ("PLAINTEXT://broker:9094", [("broker", 9094)]),
    ],
)
def test_addresses(text: str, addresses: list[tuple[str, int]]) -> None:
    assert parse_bootstrap(text, "--bootstrap") == addresses


@pytest.mark.parametrize("text", ["", ":9092", "a:", "a:b", "a:0", "a:65536", "a:1,,b:2", "a:٣", "[::1]x"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="is no address of a broker; give HOST:PORT"):
        parse_bootstrap(text, "--bootstrap")


def test_the_flag_wins_over_the_file_and_that_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.servers=file:1\n")
    environment = {"OTTLA_BOOTSTRAP": "environment:2"}
    assert str(target(flags(bootstrap="flag:3", config=str(file)), environment)) == "flag:3"
    assert str(target(flags(config=str(file)), environment)) == "file:1"
    assert str(target(flags(), environment)) == "environment:2"
    assert str(target(flags(), {})) == "localhost:9092"
    with pytest.raises(UsageError, match=r"\$OTTLA_BOOTSTRAP: x:y is no address"):
        target(flags(), {"OTTLA_BOOTSTRAP": "x:y"})


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ([], {}),
        (["acks=all", "key.serializer=x", "group.id=g"], {}),
        (["security.protocol=sasl_ssl"], {"security_protocol": "SASL_SSL"}),
        (
            [
                "sasl.mechanism=SCRAM-SHA-256",
                r'sasl.jaas.config=org.example.ScramLoginModule required username="al" password="a\\"b";',
            ],
            {"sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": "al", "sasl_plain_password": 'a"b'},
        ),
        (
            ["sasl.mechanisms=PLAIN", "sasl.username=u", "sasl.password=p"],
            {"sasl_mechanism": "PLAIN", "sasl_plain_username": "u", "sasl_plain_password": "p"},
        ),
        (
            ["ssl.truststore.type=PEM", "ssl.truststore.location=/ca", "ssl.endpoint.identification.algorithm="],
            {"ssl_cafile": "/ca", "ssl_check_hostname": False},
        ),
        (["ssl.keystore.location=/k.pem"], {"ssl_certfile": "/k.pem"}),
    ],
)
def test_client_properties(tmp_path: Path, lines: list[str], options: dict[str, object]) -> None:
    file = tmp_path / "client.properties"
    file.write_text("\n".join(lines))
    assert target(flags(config=str(file)), {}).options == options


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("sasl.mechanim=PLAIN", "sasl.mechanim is not known to this client; remove it, or use sasl.mechanism"),
        ("ssl.truststore.location=/x.jks", "ssl.truststore.location is a JKS file, which Python cannot read"),
        ("sasl.jaas.config=Module required;", "names no user; write sasl.username"),
        ("enable.ssl.certificate.verification=maybe", "=maybe cannot be read"),
    ],
)
def test_properties_that_would_leave_security_other_than_asked_for(tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "client.properties"
    file.write_text(line)
    with pytest.raises(UsageError) as caught:
        target(flags(config=str(file)), {})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("text", "timeout_ms"), [("10", 10_000), ("0.5", 500), ("0.0001", 1), ("1e3", 1_000_000)])
def test_timeouts(text: str, timeout_ms: int) -> None:
    assert parse_timeout_ms(text) == timeout_ms


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf"])
def test_no_timeouts(text: str) -> None:
    with pytest.raises(UsageError, match="give seconds"):
        parse_timeout_ms(text)


Serve = Callable[[bytes | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server of one connection that answers with these bytes and hangs up; None: it says nothing."""
    servers: list[socket.socket] = []
    peers: list[socket.socket] = []

    def start(answer: bytes | None) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def once() -> None:
            peer, _ = server.accept()
            peers.append(peer)
            if answer is not None:
                peer.recv(1000)
                peer.sendall(answer)
                peer.close()

        threading.Thread(target=once, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for open_socket in (*servers, *peers):
        open_socket.close()


@pytest.mark.parametrize(
    ("answer", "options", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, "answered, but not as a Kafka broker does"),
        (b"\x15\x03\x01\x00\x02\x02\x46", {}, "speaks TLS only; put security.protocol=SSL"),
        (b"", {}, "hung up; is it the port of a broker"),
        (None, {}, "did not answer within 0.2 s"),
        (b"\x00\x00\x00\x0a\x00\x00\x00\x01", {"security_protocol": "SSL"}, "does not speak TLS"),
    ],
)
def test_what_is_no_broker(serve: Serve, answer: bytes | None, options: dict[str, object], sentence: str) -> None:
    port = serve(answer)
    with pytest.raises(CommandError) as caught:
        probe(Target([("127.0.0.1", port)], options, 200))
    assert sentence in str(caught.value)
    assert f"127.0.0.1:{port}" in str(caught.value)


def test_one_broker_that_answers_is_enough(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        free = gone.getsockname()[1]
    with pytest.raises(CommandError, match=r"nothing listens on .*connection refused"):
        probe(Target([("127.0.0.1", free)], {}, 5000))
    answering = serve(b"\x00\x00\x00\x0a\x00\x00\x00\x01rest")
    probe(Target([("127.0.0.1", free), ("127.0.0.1", answering)], {}, 5000))


def test_a_name_that_is_none() -> None:
    with pytest.raises(CommandError, match=r"the host name nosuch\.invalid cannot be resolved"):
        probe(Target([("nosuch.invalid", 9092)], {}, 5000))


def test_codes_become_sentences() -> None:
    assert code_sentence("UNKNOWN_TOPIC_OR_PARTITION", "gone", "topic t").startswith("there is no topic t; `ottla")
    assert code_sentence("INVALID_CONFIG", "no such key.", "topic t") == "topic t: no such key (INVALID_CONFIG)"
    assert code_sentence("SOMETHING", None, "topic t", "What it is.") == "topic t: What it is (SOMETHING)"
