"""From flags, --set and a server.properties to the options of a broker: what wins, what is refused, what is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.errors import UsageError
from ottla.broker.listeners import split_address
from ottla.broker.logs import Log
from ottla.broker.options import ServeOptions, parse_topic, serve_options
from ottla.cli import root_parser
from ottla.log.clock import ManualClock

STOCK = str(Path(__file__).parent / "data" / "server.properties")


def options(*flags: str) -> ServeOptions:
    return told(*flags)[0]


def told(*flags: str) -> tuple[ServeOptions, list[dict[str, Any]]]:
    """The options, and what the log says meanwhile."""
    stream = io.StringIO()
    parsed = root_parser("serve").parse_args(["serve", *flags])
    result = serve_options(parsed, Log(stream, "json", ManualClock()))
    return result, [json.loads(line) for line in stream.getvalue().splitlines()]


Address = tuple[str, int]
Told = tuple[str | None, int | None]


def listening(result: ServeOptions, node: int = 0) -> list[Address]:
    """All addresses of a node, over its listeners."""
    return [address for spec in result.nodes[node].listeners for address in spec.addresses]


def advertised(result: ServeOptions, node: int = 0) -> dict[str, Told]:
    """By listener what its clients are told."""
    return {spec.name: (spec.advertised_host, spec.advertised_port) for spec in result.nodes[node].listeners}


NOTHING: dict[str, Told] = {"PLAINTEXT": (None, None)}


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
    assert listening(result) == [("127.0.0.1", 9092), ("::1", 9092)]
    assert advertised(result) == NOTHING
    assert [(node.id, node.rack) for node in result.nodes] == [(1, None)]
    assert result.control is None
    assert (result.data_dir, result.ephemeral) == ("./ottla-data", False)
    assert result.topics == []
    assert result.settings.explicit == {}
    assert (result.port_file, result.log_format, result.log_level) == (None, "text", "info")
    assert said == []


def test_a_snapshot_to_begin_with() -> None:
    assert options().snapshot is None
    assert options("--ephemeral", "--snapshot", "seed").snapshot == "seed"
    assert "--snapshot is empty; give the name of a snapshot" in refused("--snapshot", "")


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
    explicit = options("--listen", "0.0.0.0:5", "--advertise", "kafka.example").settings.explicit
    assert explicit["advertised.listeners"] == "PLAINTEXT://kafka.example:5"


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
    assert listening(result) == [("0.0.0.0", 0), ("::", 9094)]
    assert advertised(result) == {"PLAINTEXT": ("kafka.example.org", 19092)}
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
        "not a name://localhost:9092",
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
    assert listening(options("--listen", "localhost")) == [("localhost", 9092)]


@pytest.mark.parametrize("text", ["0.0.0.0", "[::]:9092", ":9092", "localhost:0"])
def test_what_no_client_can_connect_to_is_not_advertised(text: str) -> None:
    assert "clients cannot connect" in refused("--advertise", text)


def test_advertise_without_a_port() -> None:
    assert advertised(options("--advertise", "broker")) == {"PLAINTEXT": ("broker", None)}


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
    assert listening(result) == [("", 9092)]
    assert advertised(result) == {"PLAINTEXT": ("localhost", 9092)}
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
    assert (listening(result), advertised(result)) == ([("127.0.0.1", 0)], NOTHING)
    result = options("--config", STOCK, "--advertise", "broker")
    assert (listening(result), advertised(result)) == ([("", 9092)], {"PLAINTEXT": ("broker", None)})


@pytest.mark.parametrize(
    ("lines", "listeners", "told"),
    [
        (["listeners=PLAINTEXT://127.0.0.1:9092"], [("127.0.0.1", 9092)], NOTHING),
        (["listeners= plaintext://[::1]:9092 "], [("::1", 9092)], NOTHING),
        (
            ["listeners=IN://:1,OUT://:2", "listener.security.protocol.map=IN:PLAINTEXT,OUT:plaintext"],
            [("", 1), ("", 2)],
            {"IN": (None, None), "OUT": (None, None)},
        ),
        (
            [
                "listeners=IN://:1,OUT://:2",
                "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT",
                "advertised.listeners=IN://kafka:1,OUT://localhost:29092",
            ],
            [("", 1), ("", 2)],
            {"IN": ("kafka", 1), "OUT": ("localhost", 29092)},
        ),
        (
            ["listeners=PLAINTEXT://:9092,SSL://:9093", "controller.listener.names=SSL"],
            [("", 9092)],
            NOTHING,
        ),
        (
            ["advertised.listeners=PLAINTEXT://kafka:9092"],
            [("127.0.0.1", 9092), ("::1", 9092)],
            {"PLAINTEXT": ("kafka", 9092)},
        ),
    ],
)
def test_listeners_of_a_file(tmp_path: Path, lines: list[str], listeners: list[Address], told: dict[str, Told]) -> None:
    result = options("--config", write(tmp_path, *lines))
    assert (listening(result), advertised(result)) == (listeners, told)


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
        (["log.dirs=/a,/b"], "log.dirs names 2 folders and Ottla keeps one"),
        (["node.id=1", "broker.id=2"], "node.id=1 and broker.id=2 differ"),
    ],
)
def test_what_ottla_cannot_do_for_a_file(tmp_path: Path, lines: list[str], reason: str) -> None:
    assert reason in refused("--config", write(tmp_path, *lines))


def test_listeners_with_names_advertise_each_their_own_address() -> None:
    result = options(
        *(
            "--listen",
            "INSIDE://0.0.0.0:19092",
            "--listen",
            "outside://0.0.0.0:9092",
            "--listen",
            "OUTSIDE://[::]:9092",
        ),
        *("--advertise", "INSIDE://broker:19092", "--advertise", "OUTSIDE://localhost"),
    )
    assert [spec.name for spec in result.nodes[0].listeners] == ["INSIDE", "OUTSIDE"]
    assert listening(result) == [("0.0.0.0", 19092), ("0.0.0.0", 9092), ("::", 9092)]
    assert advertised(result) == {"INSIDE": ("broker", 19092), "OUTSIDE": ("localhost", None)}
    assert result.settings.explicit["advertised.listeners"] == "INSIDE://broker:19092,OUTSIDE://localhost:9092"
    for_all = options("--listen", "A://0.0.0.0:1", "--listen", "B://0.0.0.0:2", "--advertise", "broker")
    assert advertised(for_all) == {"A": ("broker", None), "B": ("broker", None)}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--listen", "SSL://localhost:1"), "SSL asks for SSL, which Ottla does not serve yet"),
        (("--listen", "://localhost:1"), "--listen ://localhost:1: not of the form NAME://HOST:PORT"),
        (("--advertise", "OUT://a:1"), "there is no listener OUT; there is PLAINTEXT"),
        (("--advertise", "a", "--advertise", "b"), "PLAINTEXT is given two addresses"),
        (
            ("--listen", "A://localhost:1", "--listen", "B://localhost:2", "--advertise", "h:3"),
            "there are 2 listeners; say whose port that is, as in A://h:3",
        ),
    ],
)
def test_listeners_with_names_that_cannot_be(flags: tuple[str, ...], reason: str) -> None:
    assert reason in refused(*flags)


# ── several nodes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_nodes_have_ports_after_each_other() -> None:
    result = options("--nodes", "3")
    assert [node.id for node in result.nodes] == [1, 2, 3]
    assert listening(result, 2) == [("127.0.0.1", 9094), ("::1", 9094)]
    assert result.settings.explicit["default.replication.factor"] == "3"
    free = options("--nodes", "2", "--listen", "127.0.0.1:0")
    assert [listening(free, node) for node in (0, 1)] == [[("127.0.0.1", 0)]] * 2
    assert free.settings.explicit["default.replication.factor"] == "2"
    chosen = options("--nodes", "3", "--set", "default.replication.factor=1", "--set", "node.id=7")
    assert [node.id for node in chosen.nodes] == [7, 8, 9]
    assert chosen.settings.explicit["default.replication.factor"] == "1"


def test_nodes_have_the_ports_that_are_given_and_each_its_rack() -> None:
    result = options("--nodes", "9092,9192,9292", "--listen", "0.0.0.0", "--racks", "a,b,a", "--advertise", "kafka:1")
    assert [listening(result, node) for node in range(3)] == [[("0.0.0.0", port)] for port in (9092, 9192, 9292)]
    assert [node.rack for node in result.nodes] == ["a", "b", "a"]
    assert [advertised(result, node)["PLAINTEXT"] for node in range(3)] == [("kafka", 1 + by) for by in (0, 100, 200)]
    assert result.nodes[1].settings() == {
        "node.id": "2",
        "broker.id": "2",
        "listeners": "PLAINTEXT://0.0.0.0:9192",
        "advertised.listeners": "PLAINTEXT://kafka:101",
        "broker.rack": "b",
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--nodes", "0"), "--nodes 0: give 1 to 64 nodes"),
        (("--nodes", "three"), "--nodes three: give a number of nodes, as in 3, or their ports, as in 9092,9192,9292"),
        (("--nodes", "9092,0"), "a port is a number from 1 to 65535"),
        (("--nodes", "2", "--listen", "localhost:65535"), "one of the nodes would have the port 65536; begin lower"),
        (
            ("--nodes", "9092,9092"),
            "port 9092 would be that of listener PLAINTEXT of node 1 and of listener PLAINTEXT of",
        ),
        (("--nodes", "2", "--racks", "a"), "--racks a: there are 2 nodes; give a rack for each"),
        (
            ("--nodes", "3", "--listen", "A://localhost:1", "--listen", "B://localhost:3"),
            "port 3 would be that of listener B of node 1 and of listener A of node 3; keep the listeners' ports 3 or",
        ),
        (
            ("--nodes", "1,2", "--listen", "A://h:1", "--listen", "B://h:9"),
            "each node has all of them; give the number",
        ),
    ],
)
def test_nodes_that_cannot_be(flags: tuple[str, ...], reason: str) -> None:
    assert reason in refused(*flags)


def test_the_control_surface_is_on_this_machine_unless_told_otherwise() -> None:
    assert options("--control", "8080").control == ("127.0.0.1", 8080)
    assert options("--control", "0.0.0.0:0").control == ("0.0.0.0", 0)
    assert "give host and port" in refused("--control", "localhost")
    taken = refused("--control", "9093", "--nodes", "2")
    assert taken == "--control 127.0.0.1:9093: clients reach node 2 on that port; choose another"


def test_listen_helps_where_the_file_asks_for_tls(tmp_path: Path) -> None:
    path = write(tmp_path, "listeners=SSL://:9093")
    assert listening(options("--config", path, "--listen", "127.0.0.1:9092")) == [("127.0.0.1", 9092)]


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
