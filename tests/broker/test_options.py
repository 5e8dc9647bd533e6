"""From flags, --set and a server.properties to the options of a broker: what wins, what is refused, what is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.cli import parsers
from ottla.broker.logs import Log
from ottla.broker.options import ServeOptions, UsageError, parse_topic, serve_options, split_address
from ottla.log.clock import ManualClock

STOCK = str(Path(__file__).parent / "data" / "server.properties")


def options(*flags: str) -> ServeOptions:
    return told(*flags)[0]


def told(*flags: str) -> tuple[ServeOptions, list[dict[str, Any]]]:
    """The options, and what the log says meanwhile."""
    stream = io.StringIO()
    parsed = parsers()[0].parse_args(["serve", *flags])
    result = serve_options(parsed, Log(stream, "json", ManualClock()))
    return result, [json.loads(line) for line in stream.getvalue().splitlines()]


def refused(*flags: str) -> str:
    with pytest.raises(UsageError) as caught:
        options(*flags)
    return str(caught.value)


def write(folder: Path, *lines: str) -> str:
    path = folder / "server.properties"
    path.write_text("\n".join(lines), "utf-8")
    return str(path)


def test_without_flags() -> None:
    result, said = told()
    assert result.listeners == [("127.0.0.1", 9092), ("::1", 9092)]
    assert result.advertise is None
    assert (result.data_dir, result.ephemeral) == ("./ottla-data", False)
    assert result.topics == []
    assert result.settings.explicit == {}
    assert (result.port_file, result.log_format, result.log_level) == (None, "text", "info")
    assert said == []


def test_flags_show_as_the_settings_that_they_stand_in_for(tmp_path: Path) -> None:
    path = write(
        tmp_path, "listeners=PLAINTEXT://:1", "advertised.listeners=PLAINTEXT://x:1", "log.dirs=/x", "broker.id=3"
    )
    flags = ("--config", path, "--listen", "127.0.0.1", "--listen", "[::1]:9093", "--data", "here")
    assert options(*flags).settings.explicit == {
        "listeners": "PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9093",
        "log.dirs": "here",
        "broker.id": "3",
        "node.id": "3",
    }
    advertised = options("--listen", "0.0.0.0:5", "--advertise", "kafka.example").settings.explicit
    assert advertised["advertised.listeners"] == "PLAINTEXT://kafka.example:5"


def test_levels_of_features() -> None:
    assert options().features == {}
    result = options("--feature", "transaction.version=1", "--feature", " transaction.version = 1")
    assert result.features == {"transaction.version": 1}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["transaction.version"], "not of the form NAME=LEVEL, for example transaction.version=1"),
        (["transaction.version=new"], "not of the form NAME=LEVEL"),
        (["transaction.version=-1"], "not of the form NAME=LEVEL"),
        (["=1"], "not of the form NAME=LEVEL"),
        (["transaction.version=3"], "cannot have level 3: its levels here are 0 to 2"),
        (["metadata.version=20"], "there is no such feature here, only "),
        (["transaction.version=1", "transaction.version=2"], "transaction.version is given two levels; leave one out"),
    ],
)
def test_levels_that_cannot_be(texts: list[str], sentence: str) -> None:
    told = refused(*(flag for text in texts for flag in ("--feature", text)))
    assert told.startswith(f"--feature {texts[-1]}: ")
    assert sentence in told


def test_every_flag() -> None:
    result = options(
        *("--listen", "0.0.0.0:0", "--listen", "[::]:9094", "--advertise", "kafka.example.org:19092"),
        *("--topic", "orders:6:retention.ms=60000,cleanup.policy=compact,delete", "--topic", "logs"),
        *("--data", "/var/lib/ottla", "--set", "num.partitions=3", "--set", "num.partitions = 4"),
        *("--port-file", "port.txt", "--log-format", "json", "--log-level", "debug"),
    )
    assert result.listeners == [("0.0.0.0", 0), ("::", 9094)]
    assert result.advertise == ("kafka.example.org", 19092)
    assert [(topic.name, topic.partitions, topic.configs) for topic in result.topics] == [
        ("orders", 6, {"retention.ms": "60000", "cleanup.policy": "compact,delete"}),
        ("logs", -1, {}),
    ]
    assert (result.data_dir, result.port_file) == ("/var/lib/ottla", "port.txt")
    assert result.settings.num_partitions == 4
    assert (result.log_format, result.log_level) == ("json", "debug")
    assert options("--ephemeral").ephemeral


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9092", ("127.0.0.1", 9092)),
        ("localhost", ("localhost", None)),
        ("[::1]:0", ("::1", 0)),
        ("[::1]", ("::1", None)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("kafka-1.example_org:65535", ("kafka-1.example_org", 65535)),
        (":9092", ("", 9092)),
    ],
)
def test_addresses(text: str, address: tuple[str, int | None]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "9092",
        "localhost:",
        "localhost:port",
        "localhost:65536",
        "localhost:-1",
        "localhost:+1",
        "localhost:٣",
        "localhost:00000000009092",
        "::1",
        "::1:9092",
        "[::1",
        "[::1]9092",
        "[localhost]:9092",
        "[]:9092",
        "PLAINTEXT://localhost:9092",
        "local host:9092",
        "localhost/:9092",
        "a\nb:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        split_address(text)
    assert refused("--listen", text).startswith(f"--listen {text}: ")
    assert refused("--advertise", text).startswith(f"--advertise {text}: ")


def test_a_listener_needs_a_host_and_no_double() -> None:
    assert "0.0.0.0" in refused("--listen", ":9092")
    assert "twice" in refused("--listen", "localhost:1", "--listen", "localhost:1")
    assert options("--listen", "localhost").listeners == [("localhost", 9092)]


@pytest.mark.parametrize("text", ["0.0.0.0", "[::]:9092", ":9092", "localhost:0"])
def test_what_no_client_can_connect_to_is_not_advertised(text: str) -> None:
    assert "clients cannot connect" in refused("--advertise", text)


def test_advertise_without_a_port() -> None:
    assert options("--advertise", "broker").advertise == ("broker", None)


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "partitions", "configs"),
    [
        ("t", -1, {}),
        ("t:3", 3, {}),
        ("t:", -1, {}),
        ("t:3:", 3, {}),
        ("t::retention.ms=5", -1, {"retention.ms": "5"}),
        ("t:1:retention.ms = 5 , preallocate=true", 1, {"retention.ms": "5", "preallocate": "true"}),
        ("t:1:cleanup.policy=compact,delete", 1, {"cleanup.policy": "compact,delete"}),
        (
            "t:1:follower.replication.throttled.replicas=0:1,1:2",
            1,
            {"follower.replication.throttled.replicas": "0:1,1:2"},
        ),
        ("t:1:cleanup.policy=", 1, {"cleanup.policy": ""}),
    ],
)
def test_topics(text: str, partitions: int, configs: dict[str, str]) -> None:
    topic = parse_topic(text)
    assert (topic.name, topic.partitions, topic.configs) == ("t", partitions, configs)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        ("..", "must not be '..'"),
        ("a b", "ASCII letters"),
        ("t" * 250, "at most 249"),
        ("t:0", "from 1 to 10000"),
        ("t:10001", "from 1 to 10000"),
        ("t:-1", "from 1 to 10000"),
        ("t:many", "from 1 to 10000"),
        ("t:1:compact", "not of the form key=value"),
        ("t:1:=5", "no key before '='"),
        ("t:1:retention.m=5", "did you mean retention.ms?"),
        ("t:1:retention.ms=-2", "at least -1"),
        ("t:1:cleanup.policy=compact,burn", "must be one of: compact, delete"),
        ("t:1:min.compaction.lag.ms=2,max.compaction.lag.ms=1", "must not be larger"),
    ],
)
def test_what_is_no_topic(text: str, reason: str) -> None:
    message = refused("--topic", text)
    assert message.startswith(f"--topic {text}: ")
    assert reason in message


def test_topics_that_collide() -> None:
    assert "given twice" in refused("--topic", "a.b", "--topic", "a.b:2")
    assert "collides with a.b" in refused("--topic", "a.b", "--topic", "a_b")


# ── settings and the file ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_stock_file_of_kafka() -> None:
    result, said = told("--config", STOCK)
    assert result.listeners == [("", 9092)]
    assert result.advertise == ("localhost", 9092)
    assert (result.data_dir, result.ephemeral) == ("/tmp/kraft-combined-logs", False)
    assert result.settings.own_id == 1
    assert result.settings.socket_send_buffer_bytes == 102400
    assert result.settings.topic_defaults()["retention.ms"] == "604800000"
    assert [(entry["level"], entry["event"]) for entry in said] == [("info", "settings without effect in Ottla")]
    assert {"num.network.threads", "num.io.threads", "controller.quorum.bootstrap.servers"} <= set(said[0]["keys"])
    assert not {"listeners", "log.dirs", "node.id", "num.partitions"} & set(said[0]["keys"])


def test_flags_win_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "num.partitions=2", "delete.topic.enable=false", "log.dirs=/from/file")
    result = options("--config", path, "--set", "num.partitions=5", "--set", "log.dir=/from/set")
    assert result.settings.num_partitions == 5
    assert not result.settings.delete_topic_enable
    assert result.data_dir == "/from/file"  # log.dirs goes before log.dir, as in Kafka
    assert options("--config", path, "--set", "log.dirs=/from/set").data_dir == "/from/set"
    assert options("--config", path, "--set", "log.dirs=/from/set", "--data", "/flag").data_dir == "/flag"
    assert options("--config", path, "--ephemeral").ephemeral


def test_listen_replaces_the_listeners_of_the_file_and_what_they_advertise() -> None:
    result = options("--config", STOCK, "--listen", "127.0.0.1:0")
    assert (result.listeners, result.advertise) == ([("127.0.0.1", 0)], None)
    result = options("--config", STOCK, "--advertise", "broker")
    assert (result.listeners, result.advertise) == ([("", 9092)], ("broker", None))


@pytest.mark.parametrize(
    ("lines", "listeners", "advertise"),
    [
        (["listeners=PLAINTEXT://127.0.0.1:9092"], [("127.0.0.1", 9092)], None),
        (["listeners= plaintext://[::1]:9092 "], [("::1", 9092)], None),
        (
            ["listeners=IN://:1,OUT://:2", "listener.security.protocol.map=IN:PLAINTEXT,OUT:plaintext"],
            [("", 1), ("", 2)],
            None,
        ),
        (
            [
                "listeners=IN://:1,OUT://:2",
                "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT",
                "advertised.listeners=IN://kafka:1,OUT://kafka:2",
            ],
            [("", 1), ("", 2)],
            ("kafka", None),
        ),
        (
            ["listeners=PLAINTEXT://:9092,SSL://:9093", "controller.listener.names=SSL"],
            [("", 9092)],
            None,
        ),
        (["advertised.listeners=PLAINTEXT://kafka:9092"], [("127.0.0.1", 9092), ("::1", 9092)], ("kafka", 9092)),
    ],
)
def test_listeners_of_a_file(
    tmp_path: Path, lines: list[str], listeners: list[tuple[str, int]], advertise: tuple[str, int | None] | None
) -> None:
    result = options("--config", write(tmp_path, *lines))
    assert (result.listeners, result.advertise) == (listeners, advertise)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["listeners=SSL://:9093"], "listener SSL asks for SSL, which Ottla does not serve yet"),
        (["listeners=PLAINTEXT://:9092,SASL_SSL://:9093"], "listener SASL_SSL asks for SASL_SSL"),
        (["listeners=OUT://:9092", "listener.security.protocol.map=OUT:SASL_PLAINTEXT"], "asks for SASL_PLAINTEXT"),
        (["listeners=OUT://:9092"], "listener OUT has no protocol; add OUT:PLAINTEXT"),
        (["listeners=localhost:9092"], "listeners: localhost:9092: not of the form NAME://HOST:PORT"),
        (["listeners=PLAINTEXT://localhost"], "the port is missing"),
        (
            ["listeners=CONTROLLER://:9093", "controller.listener.names=CONTROLLER"],
            "names none that a client could use",
        ),
        (["process.roles=controller", "listeners=CONTROLLER://:9093"], "has no broker in it"),
        (["listeners=PLAINTEXT://:1", "advertised.listeners=OTHER://a:1"], "names OTHER, which listeners does not"),
        (
            [
                "listeners=IN://:1,OUT://:2",
                "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT",
                "advertised.listeners=IN://kafka:1,OUT://localhost:2",
            ],
            "differs from listener to listener",
        ),
        (["log.dirs=/a,/b"], "log.dirs names 2 folders and Ottla keeps one"),
        (["node.id=1", "broker.id=2"], "node.id=1 and broker.id=2 differ"),
    ],
)
def test_what_ottla_cannot_do_for_a_file(tmp_path: Path, lines: list[str], reason: str) -> None:
    assert reason in refused("--config", write(tmp_path, *lines))


def test_listen_helps_where_the_file_asks_for_tls(tmp_path: Path) -> None:
    path = write(tmp_path, "listeners=SSL://:9093")
    assert options("--config", path, "--listen", "127.0.0.1:9092").listeners == [("127.0.0.1", 9092)]


def test_an_unknown_key_of_the_file_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "# first", "num.partition=3", "zookeeper.connect=localhost:2181")
    result, said = told("--config", path)
    assert result.settings.explicit == {}
    near, far = said
    assert (near["level"], near["key"], near["line"]) == ("warning", "num.partition", 2)
    assert near["hint"] == "did you mean num.partitions?"
    assert (far["key"], far["line"]) == ("zookeeper.connect", 3)
    assert "hint" not in far


def test_known_keys_without_effect_are_said_once(tmp_path: Path) -> None:
    path = write(tmp_path, "num.io.threads=8", "listener.name.external.ssl.key.password=hush", "num.partitions=2")
    _, said = told("--config", path, "--set", "num.network.threads=3", "--set", "num.io.threads=9")
    assert [entry["keys"] for entry in said] == [
        ["listener.name.external.ssl.key.password", "num.io.threads", "num.network.threads"]
    ]


def test_a_wrong_value_in_the_file_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "", "num.partitions=none")
    assert refused("--config", path) == (
        f"--config {path}, line 2: num.partitions=none: not a number of type INT; give one (the default is 1)"
    )
    path = write(tmp_path, "listener.name.a.num.partitions=0")
    assert "line 1: listener.name.a.num.partitions=0: value must be at least 1" in refused("--config", path)
    path = write(tmp_path, "a=\\u1")
    assert "line 1" in refused("--config", path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such file; give the path of" in refused("--config", str(tmp_path / "nope"))
    assert "give a readable" in refused("--config", str(tmp_path))


def test_the_encodings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    for encoded in ("log.dir=/é".encode("utf-8-sig"), "log.dir=/é".encode("latin-1"), b"log.dir=/\\u00e9"):
        path.write_bytes(encoded)
        assert options("--config", str(path)).data_dir == "/é"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num.partitions", "not of the form key=value"),
        ("=3", "not of the form key=value"),
        ("num.partition=3", "there is no broker setting num.partition; did you mean num.partitions?"),
        ("retention.ms=3", "there is no broker setting retention.ms; for all topics set log.retention.ms"),
        ("no.such.thing.at.all=3", "there is no broker setting no.such.thing.at.all; Kafka lists them at"),
        ("num.partitions=abc", "not a number of type INT; give one (the default is 1)"),
        ("num.partitions=0", "value must be at least 1 (the default is 1)"),
        ("auto.create.topics.enable=yes", "expected value to be either true or false (the default is true)"),
        ("compression.type=brotli", "must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("ottla.record.validation=some", "must be one of: full, header"),
        ("log.retention.hours=0", "log.retention.hours must be at least 1, or -1"),
    ],
)
def test_a_wrong_set(text: str, message: str) -> None:
    assert message in refused("--set", text)


def test_flags_that_exclude_each_other_or_are_empty() -> None:
    assert "give one of the two" in refused("--data", "x", "--ephemeral")
    assert "--data is empty" in refused("--data", "")
    assert "--port-file is empty" in refused("--port-file", "")
