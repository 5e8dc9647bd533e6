"""`python -m ottla.testing -- CMD`: a broker for as long as a command runs, in whatever language."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.testing.folders import VARIABLE

TIMEOUT_S = 60
WRAPPER = [sys.executable, "-m", "ottla.testing"]
_READY = "print('ready', flush=True)"


@pytest.fixture(autouse=True)
def brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where brokers have their folders: empty when a test is over."""
    folder = tmp_path / "brokers"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def wrap(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WRAPPER, *words], capture_output=True, text=True, timeout=TIMEOUT_S)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def test_a_command_finds_a_broker_that_is_gone_after_it(brokers: Path) -> None:
    done = wrap(
        "--topic=orders:3",
        "--set=num.partitions=5",
        *python(
            "import os; from kafka import KafkaProducer;"
            "p = KafkaProducer(bootstrap_servers=os.environ['KAFKA_BOOTSTRAP_SERVERS']);"
            "p.send('orders', b'tea').get(60);"
            "print(len(p.partitions_for('orders')), len(p.partitions_for('new')), os.environ.get('OTTLA_CONTROL'))"
        ),
    )
    assert (done.returncode, done.stdout) == (0, "3 5 None\n")
    assert not list(brokers.iterdir())


def test_a_cluster_and_its_control_surface() -> None:
    done = wrap(
        "--nodes=3",
        "--control",
        *python(
            "import os; from urllib.request import urlopen;"
            "print(os.environ['KAFKA_BOOTSTRAP_SERVERS']);"
            "print(urlopen(os.environ['OTTLA_CONTROL'] + '/v1/nodes').read().decode().strip())"
        ),
    )
    servers, nodes = done.stdout.splitlines()
    ports = [node["listeners"][0]["port"] for node in json.loads(nodes)["nodes"]]
    assert servers == ",".join(f"127.0.0.1:{port}" for port in ports)
    assert len(ports) == 3


def test_a_surface_of_an_outer_broker_is_not_taken_for_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTTLA_CONTROL", "http://127.0.0.1:1")
    assert wrap(*python("import os; print('OTTLA_CONTROL' in os.environ)")).stdout == "False\n"


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_the_commands(code: int) -> None:
    assert wrap(*python(f"import sys; sys.exit({code})")).returncode == code


def test_a_command_that_a_signal_ends_is_told_as_shells_do() -> None:
    assert wrap(*python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--", "no-such-command"], 127, "there is no command 'no-such-command'"),
        (["--", "."], 126, "'.' cannot be run: Permission denied"),
        ([], 2, "there is no command to run; give it behind --, as in python -m ottla.testing -- pytest"),
        (["--"], 2, "there is no command to run"),
        (["pytest"], 2, "unrecognized arguments: pytest"),
        (["--nodes=many", "--", "true"], 2, "--nodes many: give a number from 1 to 100"),
        (["--topic=orders:x", "--", "true"], 2, "topic 'orders:x': x is not a number of partitions"),
        (["--set=nonsense", "--", "true"], 2, "--set nonsense: not of the form key=value"),
        (["--set=nonsense=1", "--", "true"], 2, "there is no broker setting nonsense"),
        (["--data=/dev/null/x", "--", "true"], 1, "/dev/null/x"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words: list[str], code: int, sentence: str) -> None:
    done = wrap(*words)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m ottla.testing: ")
    assert sentence in line


def test_help() -> None:
    done = wrap("--help")
    assert done.returncode == 0
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stdout
    assert "--topic NAME[:PARTITIONS[:KEY=VALUE,...]]" in done.stdout


def test_data_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for _ in range(2):  # the second finds it as the first left it
        assert wrap(f"--data={folder}", *python("")).returncode == 0
    assert (folder / "meta.properties").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_the_commands_to_handle(number: signal.Signals, brokers: Path) -> None:
    """Without a terminal nobody else tells the command of a Ctrl-C."""
    code = f"import signal, sys, time; signal.signal({int(number)}, lambda *_: sys.exit(42)); {_READY}; time.sleep(600)"
    process = subprocess.Popen([*WRAPPER, *python(code)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == 42
    process.stdout.close()
    assert not list(brokers.iterdir())


def test_ctrl_c_at_a_terminal_reaches_the_command_once(brokers: Path) -> None:
    code = (
        "import signal, sys, time; heard = [];"
        "signal.signal(signal.SIGINT, lambda *_: heard.append(1));"
        f"{_READY}; sys.stdin.readline(); print('heard', len(heard))"
    )
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [*WRAPPER, *python(code)])
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"^C" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\n")
    while not said.partition(b"heard")[2].endswith(b"\n"):
        said += os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert b"heard 1" in said
    assert not list(brokers.iterdir())
