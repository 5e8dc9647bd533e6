"""`ottla snapshot` and `ottla serve --snapshot`, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from ottla.broker.control import surface
from ottla.broker.control.snapshots import ROUTES
from ottla.cli import run
from ottla.testing import Broker

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, nothing of the environment that would matter."""
    monkeypatch.chdir(tmp_path)
    for name in ("OTTLA_SNAPSHOTS", "OTTLA_CONTROL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def data(home: Path) -> Path:
    """A data folder with two records."""
    with Broker(topics=["orders"], data=str(home / "ottla-data")) as broker:
        broker.produce("orders", b"one", b"two")
    return home / "ottla-data"


def ottla(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command says."""
    capsys.readouterr()
    assert run(words, started_ms=0) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def values(folder: Path) -> list[bytes | None]:
    with Broker(data=str(folder)) as broker:
        return [one.value for one in broker.records("orders")]


def test_a_folder_is_saved_loaded_listed_and_removed(
    capsys: pytest.CaptureFixture[str], home: Path, data: Path
) -> None:
    heading, row = ottla(capsys, "snapshot", "save", "seed").splitlines()
    assert heading.split() == ["NAME", "SAVED", "TOPICS", "RECORDS", "GROUPS", "BYTES", "FILE"]
    assert row.split()[0] == "seed"
    assert row.split()[-1] == str(home / "ottla-snapshots" / "seed.tar.zst")
    assert ottla(capsys, "snapshot") == ottla(capsys, "snapshot", "list") == f"{heading}\n{row}\n"
    ottla(capsys, "snapshot", "load", "seed", "--data", "again")
    assert values(home / "again") == [b"one", b"two"]
    assert ottla(capsys, "snapshot", "rm", "seed") == ""
    assert json.loads(ottla(capsys, "snapshot", "list", "--json")) == {"snapshots": []}


def test_another_folder_for_snapshots_and_a_path(capsys: pytest.CaptureFixture[str], home: Path, data: Path) -> None:
    ottla(capsys, "snapshot", "save", "seed", "--data", str(data), "--dir", "kept")
    (told,) = json.loads(ottla(capsys, "snapshot", "list", "--dir", "kept", "--json"))["snapshots"]
    assert (told["topics"], told["records"], told["path"]) == (["orders"], 2, str(home / "kept" / "seed.tar.zst"))
    loaded = json.loads(ottla(capsys, "snapshot", "load", "kept/seed.tar.zst", "--data", "again", "--json"))
    assert loaded["data"] == str(home / "again")
    assert loaded["topics"]["orders"]["partitions"] == [{"start": 0, "end": 2}]


def test_what_cannot_be_done_is_a_sentence(capsys: pytest.CaptureFixture[str], home: Path, data: Path) -> None:
    ottla(capsys, "snapshot", "save", "seed")
    (home / "ottla-snapshots" / "broken.tar.zst").write_bytes(b"no")
    for words, sentence in (
        (("save", "seed"), "snapshot seed is there already, at ./ottla-snapshots/seed.tar.zst; give another name"),
        (("save", "a/b"), "'a/b' is no name for a snapshot"),
        (("save", "x", "--data", "nowhere"), "nowhere is no data folder: there is no meta.properties in it"),
        (("load", "nope"), "there is no snapshot ./ottla-snapshots/nope.tar.zst"),
        (("load", "broken", "--data", "b"), "snapshot ./ottla-snapshots/broken.tar.zst is damaged"),
        (("load", "seed"), "./ottla-data is not empty, and nothing in it is overwritten"),
        (("rm", "nope"), "there is no snapshot ./ottla-snapshots/nope.tar.zst"),
        (("rm", "../ottla-data"), "'../ottla-data' is no name for a snapshot"),
        (("save", "x", "--control", "1", "--dir", "here"), "--control asks a broker, which has its own folders"),
        (("save", "x", "--control", "1"), "nothing listens on 127.0.0.1:1"),
    ):
        said = ottla(capsys, "snapshot", *words, code=1)
        assert said.startswith(f"ottla: {sentence}")
        assert said.count("\n") == 1
    ottla(capsys, "snapshot", "save", "seed", "--replace")


def test_a_damaged_one_is_shown_with_the_others(capsys: pytest.CaptureFixture[str], home: Path, data: Path) -> None:
    ottla(capsys, "snapshot", "save", "seed")
    (home / "ottla-snapshots" / "broken.tar.zst").write_bytes(b"no")
    assert run(("snapshot",), started_ms=0) == 1
    _, broken, seed = capsys.readouterr().out.splitlines()[-3:]
    assert broken.split()[0] == "broken"
    assert "is damaged" in broken
    assert seed.split()[0] == "seed"


def test_a_running_broker_saves_what_it_has(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface, "ROUTES", (*surface.ROUTES, *ROUTES))
    monkeypatch.setenv("OTTLA_SNAPSHOTS", "of-the-broker")
    with Broker(topics=["orders"], control=True) as broker:
        broker.produce("orders", b"one")
        monkeypatch.setenv("OTTLA_CONTROL", broker.control_url)
        saved = ottla(capsys, "snapshot", "save", "seed")
        assert saved.splitlines()[1].split()[-1] == str(home / "of-the-broker" / "seed.tar.zst")
        assert ottla(capsys, "snapshot") == saved
        assert "snapshot seed is there already" in ottla(capsys, "snapshot", "save", "seed", code=1)
        broker.produce("orders", b"two")
        (told,) = json.loads(ottla(capsys, "snapshot", "save", "seed", "--replace", "--json"))["snapshots"]
        assert told["records"] == 2
        ottla(capsys, "snapshot", "load", "seed", "--data", "again")
        assert values(home / "again") == [b"one", b"two"]
        assert ottla(capsys, "snapshot", "rm", "seed") == ""
        assert json.loads(ottla(capsys, "snapshot", "list", "--json"))["snapshots"] == []


@contextmanager
def serving(home: Path, *words: str) -> Iterator[dict[str, Any]]:
    """A broker process; what its ready line says."""
    command = [sys.executable, "-m", "ottla", "serve", "--listen", "127.0.0.1:0", "--log-format", "json", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0


def end_of_orders(bootstrap: str) -> int:
    with closing(KafkaConsumer(bootstrap_servers=bootstrap)) as consumer:
        partition = TopicPartition("orders", 0)
        return int(consumer.end_offsets([partition])[partition])


def test_a_broker_begins_with_a_snapshot_in_an_empty_folder(
    capsys: pytest.CaptureFixture[str], home: Path, data: Path
) -> None:
    ottla(capsys, "snapshot", "save", "seed")
    with serving(home, "--ephemeral", "--snapshot", "seed") as ready:
        assert end_of_orders(ready["bootstrap"]) == 2
    with serving(home, "--data", "fresh", "--snapshot", "ottla-snapshots/seed.tar.zst") as ready:
        assert end_of_orders(ready["bootstrap"]) == 2
    refused = subprocess.run(
        [sys.executable, "-m", "ottla", "serve", "--data", "fresh", "--snapshot", "seed"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert refused.returncode == 1
    assert "--snapshot seed: fresh is not empty, and nothing in it is overwritten" in refused.stderr
