"""The `ottla` command as a process: exit codes, one sentence for each mistake, help, and what is imported for it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.broker.cli import parsers


def run_ottla(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ottla", *arguments], capture_output=True, text=True, timeout=30, check=False
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
    root, commands = parsers()
    examples = [
        line.strip().partition("   ")[0].split()[1:]
        for text in (root.epilog, commands["serve"].epilog)
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
    assert "serve" in done.stderr


def test_the_command_line_imports_little() -> None:
    """Until it is clear that a broker is wanted: not trio, not the broker, no heavy part of the library."""
    code = (
        "import sys\n"
        "from ottla.broker.cli import parsers\n"
        "from ottla.broker.logs import Log\n"
        "from ottla.broker.options import serve_options\n"
        "serve_options(parsers()[0].parse_args(['serve', '--listen', '127.0.0.1:0']), Log(sys.stderr))\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
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
    }
    assert not heavy & set(done.stdout.split())
    assert "ottla.broker.app" not in done.stdout.split()
