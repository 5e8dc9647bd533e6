"""The `ottla` command as a process: exit codes, one sentence for each mistake, help, and what is imported for it."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.cli import COMMANDS, root_parser, run


def run_ottla(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ottla", *arguments], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serv"], "ottla: argument COMMAND: invalid choice: 'serv'"),
        (["serve", "--lissen", "x"], "ottla: there is no flag --lissen; did you mean --listen? (ottla serve --help"),
        (["serve", "--zzz"], "ottla: there is no flag --zzz (ottla serve --help lists all)"),
        (["serve", "9092"], "ottla: 9092: ottla serve takes flags only"),
        (["serve", "--listen"], "ottla: argument --listen: expected one argument (ottla serve --help tells more)"),
        (["serve", "--eph"], "ottla: there is no flag --eph"),
        (["serve", "--log-format", "xml"], "ottla: argument --log-format: invalid choice: 'xml'"),
        (["serve", "--data", "x", "--ephemeral"], "ottla: --data keeps the records and --ephemeral removes them"),
        (["serve", "--listen", "127.0.0.1:http"], "ottla: --listen 127.0.0.1:http: http after the colon is not a port"),
        (
            ["serve", "--set", "num.partitions=abc"],
            "ottla: --set num.partitions=abc: not a number of type INT; give one",
        ),
        (
            ["serve", "--set", "num.partitoins=3"],
            "there is no broker setting num.partitoins; did you mean num.partitions?",
        ),
        (["serve", "--topic", "a b"], "ottla: --topic a b: a topic name consists of"),
        (["serve", "--config", "no/such.file"], "ottla: --config no/such.file: no such file; give the path of"),
        (["serve", "--topic", "a\nb"], "ottla: --topic a\\nb: "),
        (["topics", "-b", "x", "describe"], "ottla: describe comes before flags, as in ottla topics describe ..."),
        (["topics", "list", "x"], "ottla: x: ottla topics list takes flags only"),
        (["topics", "--intern"], "ottla: there is no flag --intern; did you mean --internal?"),
        (["topics", "create", "a", "a:2"], "ottla: a:2: topic a is given twice; leave one out"),
        (["topics", "create", "a:x"], "ottla: a:x: x is not a number of partitions"),
        (["topics", "grow", "a", "0"], "ottla: PARTITIONS 0: give a number from 1"),
        (["configs", "nope"], "ottla: argument KIND: invalid choice: 'nope'"),
        (["configs", "set", "topic", "a", "b"], "ottla: b is not of the form key=value"),
        (["configs", "unset", "topic", "a", "b=1"], "ottla: b=1 is no name of a setting"),
        (["configs", "broker", "one"], "ottla: broker one: give the id of a node"),
        (["offsets", "reset", "g", "--to", "1"], "ottla: say where: --topic TOPIC"),
        (["offsets", "t", "--at", "latest"], "ottla: --at latest is no time; give one as 15m"),
        (["produce", "t", "--tombstone"], "ottla: --tombstone needs --key"),
        (["produce", "t", "--value", "x", "--header", "y"], "ottla: --header y: not of the form KEY=VALUE"),
        (["produce", "t", "--idempotent", "--acks", "1"], "ottla: --idempotent waits for all acknowledgements"),
        (["consume", "t", "-n", "0"], "ottla: -n 0: give a number of records, from 1"),
        (["consume", "t:0", "-g", "g"], "ottla: a group shares out partitions by itself"),
        (["tail", "t", "--timeout", "soon"], "ottla: --timeout soon: give seconds"),
        (["wait", "-b", "host:0"], "ottla: --bootstrap host:0: host:0 is no address of a broker"),
        (["completion", "fish"], "ottla: argument SHELL: invalid choice: 'fish'"),
    ],
)
def test_a_mistake_is_exit_2_and_one_sentence(arguments: list[str], sentence: str) -> None:
    done = run_ottla(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_broker_that_cannot_start_is_exit_1_and_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_ottla("serve", "--listen", f"127.0.0.1:{port}", "--data", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ottla: port {port} on 127.0.0.1 is taken by another process; ")
    assert done.stderr.count("\n") == 1


def test_a_failure_inside_a_nursery_is_one_sentence_too(tmp_path: Path) -> None:
    port_file = str(tmp_path / "no" / "such" / "folder" / "port")
    done = run_ottla(
        "serve", "--listen", "127.0.0.1:0", "--ephemeral", "--port-file", port_file, "--log-level", "error"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert port_file in done.stderr
    assert done.stderr.startswith("ottla: ")
    assert done.stderr.count("\n") == 1


def test_help_names_every_flag_and_stops_well() -> None:
    done = run_ottla("serve", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    flags = ("--listen", "--advertise", "--port-file", "--topic", "--data", "--ephemeral", "--config", "--set")
    for flag in (*flags, "--log-format", "--log-level"):
        assert flag in done.stdout
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout


def test_examples_of_the_help_are_right(tmp_path: Path) -> None:
    """Each line of the help that begins with `ottla serve` is a command line that is understood."""
    root = root_parser("serve")
    examples = [
        line.strip().partition("   ")[0].split()[1:]
        for text in (root.epilog, root.commands["serve"].epilog)
        for line in (text or "").splitlines()
        if line.startswith("  ottla serve")
    ]
    assert len(examples) == 6
    for example in examples:
        if "--help" not in example:
            root.parse_args(example)


def test_version_and_no_command() -> None:
    done = run_ottla("--version")
    assert (done.returncode, done.stdout) == (0, f"ottla {ottla.__version__}\n")
    done = run_ottla()
    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_what_it_is_for(name: str) -> None:
    done = run_ottla(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: ottla {name}")
    assert "examples:" in done.stdout or name in ("log", "node")


def test_a_failure_of_the_code_is_one_sentence_unless_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(flags: argparse.Namespace) -> int:
        raise KeyError("oops")

    monkeypatch.setattr("ottla.commands.nodes._run", fail)
    assert run(["nodes"], started_ms=0) == 1
    assert capsys.readouterr().err == (
        "ottla: this should not happen (KeyError: 'oops'); --verbose shows where, please report it\n"
    )
    with pytest.raises(KeyError):
        run(["nodes", "--verbose"], started_ms=0)


def test_the_command_line_imports_little() -> None:
    """Until it is clear that a broker is wanted: not trio, not the broker, no heavy part of the library."""
    code = (
        "import sys\n"
        "from ottla.cli import root_parser\n"
        "from ottla.broker.logs import Log\n"
        "from ottla.broker.options import serve_options\n"
        "serve_options(root_parser('serve').parse_args(['serve', '--listen', '127.0.0.1:0']), Log(sys.stderr))\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    heavy = {
        "asyncio",
        "dataclasses",
        "difflib",
        "inspect",
        "json",
        "logging",
        "traceback",
        "trio",
        "importlib.metadata",
        "kafka",
        "shtab",
        "ottla.commands.connect",
        "ottla.commands.topics",
    }
    assert not heavy & set(done.stdout.split())
    assert "ottla.broker.app" not in done.stdout.split()
