"""`ottla log dump` and `ottla log check` as processes: what they print, exit codes, closed pipes, running brokers."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla.broker.log_commands import EXIT_BROKEN_PIPE, Progress, text_line
from ottla.cli import root_parser, run
from ottla.log.clock import ManualClock

GOLDEN = Path(__file__).parent.parent / "log" / "data" / "log_dir"
SEGMENT = GOLDEN / "seg-0" / "00000000000000000015.log"
OTTLA = [sys.executable, "-m", "ottla"]


def run_ottla(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OTTLA, "log", *map(str, arguments)], capture_output=True, text=True, timeout=180, check=False
    )


def printed(*arguments: object, code: int = 0) -> list[str]:
    done = run_ottla(*arguments)
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    return done.stdout.splitlines()


def objects(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed(*arguments, "--json", code=code)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that a broker leaves behind after a topic was made and a batch was written into it, by hand."""
    target = tmp_path / "data"
    target.mkdir()
    shutil.copytree(GOLDEN / "seg-0", target / "seg-0")
    shutil.copy(GOLDEN / "meta.properties", target)
    shutil.copy(GOLDEN / ".kafka_cleanshutdown", target)
    (target / "recovery-point-offset-checkpoint").write_text("0\n1\nseg 0 36\n")
    return target


# --- dump


def test_a_log_as_text() -> None:
    lines = printed("dump", SEGMENT)
    assert lines[0] == f"{SEGMENT}: log bytes=1040 base_offset=15"
    assert lines[1].startswith("batch offsets=15..17 position=0 bytes=208 ")
    assert " codec=none timestamp_type=CreateTime base_timestamp=2026-11-22T16:28:29.554Z " in lines[1]
    assert lines[-1] == "total 5 batches, 15 records, no problems"
    with_records = printed("dump", "--records", "--verify", SEGMENT)
    assert len(with_records) == len(lines) + 15
    assert with_records[2].startswith("  record offset=15 timestamp=2026-11-22T16:28:29.554Z key=k15 value=")


def test_a_log_as_json() -> None:
    found = objects("dump", "--records", SEGMENT)
    assert [o["kind"] for o in found[:3]] == ["file", "batch", "record"]
    assert found[2]["key"] == "k15"
    assert found[-1] == {"kind": "total", "batches": 5, "records": 15, "problems": 0}


def test_records_of_internal_topics() -> None:
    offsets = GOLDEN / "__consumer_offsets-0" / "00000000000000000000.log"
    record = next(o for o in objects("dump", "--records", offsets) if o["kind"] == "record")
    assert (record["type"], record["key"]) == ("GroupMetadata", {"group": "og3"})
    text = printed("dump", "--records", offsets)
    assert any("type=GroupMetadata key={group=og3} value={protocol_type=" in line for line in text)
    assert not any("type=GroupMetadata" in line for line in printed("dump", "--records", "--as", "share", offsets))


def test_every_file_of_a_folder_in_one_call() -> None:
    files = [path for path in GOLDEN.rglob("*") if path.is_file() and path.name != "expected.json"]
    found = objects("dump", "--verify", "--records", *files)
    assert sum(o["kind"] == "file" for o in found) == len(files)
    assert not [o for o in found if o["kind"] == "problem"]
    assert len(printed("dump", "--verify", "--records", *files)) == len(found)


def test_damage_is_exit_1(tmp_path: Path) -> None:
    data = bytearray(SEGMENT.read_bytes())
    data[300] ^= 1
    path = tmp_path / SEGMENT.name
    path.write_bytes(data)
    assert printed("dump", path)[-1] == "total 5 batches, 15 records, no problems"
    lines = printed("dump", "--verify", path, code=1)
    assert any(line.startswith("  DAMAGED at byte 208: wrong CRC ") for line in lines)
    assert lines[-1].endswith(", 1 problem")
    (problem,) = (o for o in objects("dump", "--verify", path, code=1) if o["kind"] == "problem")
    assert problem["position"] == 208


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dump"], "ottla: the following arguments are required: FILE (ottla log dump --help tells more)"),
        (["dump", "no/such.log"], "ottla: no/such.log: no such file"),
        (["dump", str(GOLDEN)], "is a folder; name the files in it"),
        (["dump", str(GOLDEN / "expected.json")], "expected.json is no file of a data folder; those end in .log, "),
        (["dump", "--as", "groups", str(SEGMENT)], "argument --as: invalid choice: 'groups'"),
        (["dump", "--record", str(SEGMENT)], "there is no flag --record; did you mean --records?"),
        (["check"], "ottla: the following arguments are required: DIR (ottla log check --help tells more)"),
        (["check", "no/such"], "ottla: no/such: no such folder; give the data folder of a broker"),
        (["check", "a", "b"], "ottla: b: ottla log check takes DIR and no more"),
        (["check", "--fix", "a"], "there is no flag --fix"),
        (["chekc"], "invalid choice: 'chekc'"),
    ],
)
def test_a_mistake_is_exit_2_and_one_sentence(arguments: list[str], sentence: str) -> None:
    done = run_ottla(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_read_is_exit_1(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def refuse(path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("ottla.log.dump.open_to_read", refuse)
    assert run(["log", "dump", str(SEGMENT)], started_ms=0) == 1
    assert capsys.readouterr().err == f"ottla: {SEGMENT}: Permission denied\n"


def test_no_command_shows_the_help() -> None:
    done = run_ottla()
    assert (done.returncode, done.stdout) == (2, "")
    assert "dump" in done.stderr
    assert "check" in done.stderr


def test_a_pipe_that_closes_ends_it_quietly(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.log"
    path.write_bytes((GOLDEN / "seg-0" / path.name).read_bytes())
    process = subprocess.Popen(
        [*OTTLA, "log", "dump", "--records", *[str(path)] * 500], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == EXIT_BROKEN_PIPE
    assert process.stderr.read() == b""
    process.stderr.close()


def test_examples_of_the_help_are_right() -> None:
    root = root_parser("log")
    commands = root.commands["log"].commands
    examples = [
        line.strip().partition("   ")[0].split()[1:]
        for text in (root.epilog, commands["dump"].epilog, commands["check"].epilog)
        for line in (text or "").splitlines()
        if line.startswith("  ottla log")
    ]
    assert len(examples) == 8
    for example in examples:
        root.parse_args(example)


def test_help_names_every_flag() -> None:
    for command, flags in {
        "dump": ("--records", "--verify", "--json", "--as"),
        "check": ("--repair", "--json"),
    }.items():
        help_text = "\n".join(printed(command, "--help"))
        assert all(flag in help_text for flag in flags)
        assert "examples:" in help_text
        assert "exit codes:" in help_text


def test_serving_does_without_these_commands() -> None:
    code = "import sys\nfrom ottla.cli import root_parser\nroot_parser('serve')\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert "ottla.broker.log_commands" not in done.stdout.split()


def test_text_cannot_break_out_of_its_line() -> None:
    fact = {
        "kind": "record",
        "offset": 1,
        "key": b"a\nb",
        "value": b"\xff\x00",
        "headers": [{"key": "h\udcff", "value": None}],
    }
    assert text_line(fact) == r'  record offset=1 key="a\nb" value=0xff00 headers=["h\\xff=null"]'


def test_bytes_in_json(tmp_path: Path) -> None:
    from ottla.wire.records import Record, build_batch

    path = tmp_path / "00000000000000000000.log"
    record = Record(0, 1, b"\xff", "é\n".encode(), [("h", b"\xfe"), ("\udcff", None)])
    path.write_bytes(build_batch([record]))
    found = objects("dump", "--records", path)[2]
    assert found["key_hex"] == "ff"
    assert found["value"] == "é\n"
    assert found["headers"] == [{"key": "h", "value_hex": "fe"}, {"key": "\\xff", "value": None}]


# --- check


def test_a_sound_folder(folder: Path) -> None:
    (line,) = printed("check", folder)
    assert line == f"{folder}: no damage in 1 partition, 3 segments, 12 batches, 2476 bytes"
    (total,) = objects("check", folder)
    assert (total["kind"], total["partitions"], total["segments"], total["damages"]) == ("total", 1, 3, 0)


def test_damage_is_said_and_repaired(folder: Path) -> None:
    path = folder / "seg-0" / SEGMENT.name
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    lines = printed("check", folder, code=1)
    sentence = "bytes 208 to 415 are damaged (wrong CRC); offsets 18 to 20 are lost"
    assert lines[0] == f"damage  seg-0/{SEGMENT.name}: {sentence}"
    assert lines[-1].endswith("ottla log check --repair keeps all that is good")
    found = objects("check", folder, code=1)
    assert found[0] == {"kind": "damage", "path": f"seg-0/{SEGMENT.name}", "text": sentence}
    lines = printed("check", "--repair", folder)
    assert lines[0] == f"damage  seg-0/{SEGMENT.name}: {sentence}"
    assert any(line.startswith(f"repair  seg-0/{SEGMENT.name}: ") for line in lines)
    assert ": no damage in 1 partition" in lines[-1]
    assert ": no damage in 1 partition" in printed("check", folder)[-1]
    assert printed("check", "--repair", folder)[-1] == printed("check", folder)[-1]  # nothing to do


def test_what_cannot_be_repaired_is_exit_1(folder: Path) -> None:
    (folder / "meta.properties").write_text("nonsense\n")
    done = run_ottla("check", "--repair", folder)
    assert done.returncode == 1
    assert done.stderr.startswith("ottla: ")
    assert "restore it, or delete it" in done.stderr
    assert done.stderr.count("\n") == 1


@contextlib.contextmanager
def broker(data: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*OTTLA, "serve", "--listen", "127.0.0.1:0", "--data", str(data), "--topic", "t", "--log-level", "error"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "ready" in process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def test_a_running_broker_is_not_repaired_under_its_feet(tmp_path: Path) -> None:
    with broker(tmp_path / "data") as process:
        lines = printed("check", tmp_path / "data")
        assert lines[0].startswith(f"note    in use by process {process.pid}: ")
        done = run_ottla("check", "--repair", tmp_path / "data")
        assert done.returncode == 1
        assert f"is in use by process {process.pid}; stop it, then repair" in done.stderr
        assert done.stderr.count("\n") == 1
    assert len(printed("check", tmp_path / "data")) == 1


# --- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_appears_on_a_terminal_when_it_takes_long() -> None:
    clock, terminal = ManualClock(), Terminal()
    progress = Progress(terminal, 4 << 20, clock)
    progress.advance(1 << 20)
    assert terminal.getvalue() == ""
    clock.advance(1001)
    progress.advance(1 << 20)
    assert terminal.getvalue() == "\r[###############...............]  50% of 4 MiB"
    progress.advance(1 << 20)  # too early for another
    assert terminal.getvalue().count("\r") == 1
    progress.clear()
    shown = len("[###############...............]  50% of 4 MiB")
    assert terminal.getvalue().endswith("\r" + " " * shown + "\r")
    progress.clear()
    assert terminal.getvalue().count("\r") == 3


def test_no_bar_elsewhere() -> None:
    clock, pipe, terminal = ManualClock(), io.StringIO(), Terminal()
    for progress in (Progress(pipe, 10, clock), Progress(terminal, 10, clock, quiet=True)):
        clock.advance(5000)
        progress.advance(5)
        progress.clear()
    assert (pipe.getvalue(), terminal.getvalue()) == ("", "")
