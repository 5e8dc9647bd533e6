"""Faults ordered over HTTP, from a file, and typed by a person: the same rules, the same sentences."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from ottla.broker.errors import UsageError
from ottla.broker.faults.file import read_rules
from ottla.broker.faults.rules import FIELDS, parse_rule
from ottla.cli import run
from ottla.testing import Broker
from tests.broker.conftest import Running
from tests.broker.faults.stories import PRODUCE, codes, produce
from tests.broker.test_control import Surface, surface

__all__ = ["surface"]  # the fixture
ROOT = Path(__file__).resolve().parents[3]
ORDER = {"api": "Produce", "topic": "t", "error": "NOT_LEADER_OR_FOLLOWER", "times": 2}


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_fault_over_http_from_its_order_to_its_end(running: Running, surface: Surface) -> None:
    metadata = running.broker.metadata
    metadata.create_topic(metadata.plan_topic("t", 1))
    status, told = await surface.ask("POST", "/v1/faults", ORDER)
    assert (status, told) == (200, {"id": 1, **ORDER, "seen": 0, "fired": 0, "held": 0, "over": False, "log": []})
    async with await running.client() as client:
        for expected in (6, 6, 0):
            assert codes(await client.ask(produce(b"a"), PRODUCE)) == {("t", 0): expected}
    status, told = await surface.ask("GET", "/v1/faults/1?wait_fired=2&timeout=60s")
    assert (status, told["fired"], told["over"]) == (200, 2, True)
    (first, second) = told["log"]
    assert first == {
        "n": 1,
        "seen": 1,
        "time_ms": first["time_ms"],
        "api": "Produce",
        "version": PRODUCE,
        "node": 1,
        "connection": 1,
        "client_id": "tester",
        "partitions": ["t-0"],
        "did": "answered NOT_LEADER_OR_FOLLOWER for the partitions, and served the others",
    }
    assert second["n"] == 2
    assert await surface.ask("GET", "/v1/faults") == (200, {"faults": [told]})
    assert await surface.ask("DELETE", "/v1/faults/1") == (200, told)
    assert await surface.ask("GET", "/v1/faults") == (200, {"faults": []})


async def test_who_is_held_is_waited_for_and_released_over_http(running: Running, surface: Surface) -> None:
    await surface.ask("POST", "/v1/faults", {"api": "Produce", "hold": "before"})
    async with await running.client() as client, trio.open_nursery() as nursery:
        request = produce(b"a", topic="new")
        held: list[Any] = []

        async def wait() -> None:
            held.append(await surface.ask("GET", "/v1/faults/1?wait_held=1&timeout=60s"))

        nursery.start_soon(wait)
        await client.send(request, PRODUCE)
        with trio.fail_after(60):
            while not held:
                await trio.testing.wait_all_tasks_blocked()
        status, told = held[0]
        assert (status, told["held"]) == (200, 1)
        status, told = await surface.ask("POST", "/v1/faults/1/release", {"keep": True})
        assert (status, told["over"]) == (200, False)
        await client.receive(request, PRODUCE)
        assert (await surface.ask("POST", "/v1/faults/1/release"))[1]["over"]
        await client.ask(request, PRODUCE)
    assert (await surface.ask("DELETE", "/v1/faults"))[1] == {"faults": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/v1/faults", {"api": "Produce"}, 400, "exactly one action"),
        ("POST", "/v1/faults", {"api": "Produce", "drp": "after"}, 400, "knows no 'drp' in the body"),
        ("POST", "/v1/faults", {"api": "Nothing", "drop": "after"}, 400, "serves no API 'Nothing'"),
        ("GET", "/v1/faults/7", None, 404, "there is no fault 7; there are 1"),
        ("DELETE", "/v1/faults/7", None, 404, "there is no fault 7"),
        ("POST", "/v1/faults/7/release", {}, 404, "there is no fault 7"),
        ("POST", "/v1/faults/1/release", {"keep": 1}, 400, "keep must be true or false"),
        ("GET", "/v1/faults/x", None, 400, "'x' is not a fault: give a number"),
        ("GET", "/v1/faults/1?wait_fired=x", None, 400, "wait_fired takes a number, as in"),
        ("GET", "/v1/faults/1?wait_fired=3", None, 409, "fires 2 times and no more"),
        ("GET", "/v1/faults/1?wait_fired=1&timeout=soon", None, 400, "timeout: 'soon' is no length of time"),
        ("GET", "/v1/faults/1?timeout=1s", None, 400, "timeout belongs to wait_fired or wait_held"),
        ("GET", "/v1/faults/1?wait_held=1&timeout=1ms", None, 408, "fired 0 times and holds 0 requests after 1 ms"),
    ],
)
async def test_a_mistake_over_http_is_a_sentence(
    surface: Surface, method: str, path: str, body: Any, status: int, sentence: str
) -> None:
    await surface.ask("POST", "/v1/faults", ORDER)
    code, answer = await surface.ask(method, path, body)
    assert code == status, answer
    assert sentence in answer["error"]


async def test_the_surface_knows_every_field_of_a_rule(surface: Surface) -> None:
    _, document = await surface.ask("GET", "/v1/openapi.json")
    takes = document["paths"]["/v1/faults"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(takes["properties"]) == set(FIELDS)


# ── a file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_of_rules(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("# two\n- api: Produce\n  drop: after\n- {api: Fetch, cut: 0.5, probability: 0.1}\n")
    one, two = {"api": "Produce", "drop": "after"}, {"api": "Fetch", "cut": 0.5, "probability": 0.1}
    assert read_rules(str(path)) == [parse_rule(one), parse_rule(two)]
    path.write_text(json.dumps({"faults": [one]}))
    assert read_rules(str(path)) == [parse_rule(one)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"- api: Produce\n  drop: after\n- api: [\n", "faults.yaml, line 4: expected the node content"),
        (b"- api: Produce\n  drop: after\n- api: Produce\n", "faults.yaml: rule 2: a fault has exactly one action"),
        (b"", "faults are a list of rules"),
        (b"api: Produce\n", "faults are a list of rules"),
        (b"- 7\n", "rule 1: a fault is an object"),
        (b"\xff\xfe\x00", "this is no YAML text"),
        (b"- !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        (b"#" * (1 << 21), "more than 1048576 bytes are no list of rules"),
    ],
)
def test_a_mistake_in_a_file_is_a_sentence_that_says_where(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as found:
        read_rules(str(path))
    assert sentence in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file; give the path of a YAML file"):
        read_rules(str(tmp_path / "x"))
    with pytest.raises(UsageError, match="give a readable YAML file"):
        read_rules(str(tmp_path))


def test_without_pyyaml_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("[]")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"reading YAML needs PyYAML; install it by `pip install 'ottla\[yaml\]'`"):
        read_rules(str(path))


def test_a_broker_that_starts_with_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, port = tmp_path / "faults.yaml", tmp_path / "port"
    rules.write_text("- api: Produce\n  error: NOT_LEADER_OR_FOLLOWER\n  times: 2\n")
    command = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]
    command += ["--faults", str(rules), "--port-file", str(port), "--log-format", "json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ottla", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        control = ready["control"].removeprefix("http://")
        (fault,) = json.loads(ottla(capsys, control, "fault", "--json"))["faults"]
        assert (fault["api"], fault["times"], fault["fired"]) == ("Produce", 2, 0)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_a_mistake_in_the_file_ends_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "faults.yaml"
    rules.write_text("- api: Produce\n  dropp: after\n")
    assert run(["serve", "--ephemeral", "--faults", str(rules)], started_ms=0) == 2
    assert capsys.readouterr().err == (
        f"ottla: --faults {rules}: rule 1: a fault has no field 'dropp'; did you mean 'drop'?\n"
    )


# ── the command line ────────────────────────────────────────────────────────────────────────────────────────────────


def ottla(capsys: pytest.CaptureFixture[str], control: str, *words: str, code: int = 0) -> str:
    """What a command says."""
    capsys.readouterr()
    os.environ["OTTLA_CONTROL"] = control
    try:
        assert run(words, started_ms=0) == code, capsys.readouterr()
    finally:
        del os.environ["OTTLA_CONTROL"]
    said = capsys.readouterr()
    return said.err if code else said.out


def test_faults_as_a_person_types_them(capsys: pytest.CaptureFixture[str]) -> None:
    with Broker(topics=["orders"], control=True) as broker:
        control = broker.control_url
        words = ["--api", "Produce", "--topic", "orders", "--error", "NOT_LEADER_OR_FOLLOWER", "--times", "3"]
        heading, row = ottla(capsys, control, "fault", "add", *words).splitlines()
        assert heading.split() == ["ID", "FAULT", "FIRED", "HOLDS", "STATE"]
        assert row.split() == [
            *("1", "api", "Produce,", "topic", "orders,", "times", "3,", "error", "NOT_LEADER_OR_FOLLOWER"),
            *("0", "0", "waiting"),
        ]
        added = json.loads(ottla(capsys, control, "fault", "add", "--cut", "0.5", "--probability", "0.1", "--json"))
        assert (added["cut"], added["probability"], added["seed"]) == (0.5, 0.1, 2)
        ottla(capsys, control, "fault", "rm", "2")
        assert ottla(capsys, control, "fault", "add", "--api", "JoinGroup", "--hold", "before").splitlines()[1]
        assert "over" in ottla(capsys, control, "fault", "release", "3")
        shown = ottla(capsys, control, "fault", "show", "1", "--wait-fired", "0").splitlines()
        assert shown[-1].split() == ["N", "TIME", "API", "CLIENT", "PARTITIONS", "WHAT", "IT", "DID"]
        assert len(ottla(capsys, control, "fault").splitlines()) == 3
        assert len(ottla(capsys, control, "fault", "rm", "--all").splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["add", "--api", "Produce"], 1, "a fault has exactly one action"),
        (["add", "--api", "Heartbeat", "--topic", "t", "--drop", "after"], 1, "Heartbeat names no topic"),
        (["add", "--cut", "x"], 2, "x is no part of an answer; give a number of bytes"),
        (["add", "--probability", "x", "--drop", "after"], 2, "x is no probability"),
        (["add", "--nth", "x", "--drop", "after"], 2, "x is no number; give one as 3"),
        (["rm"], 2, "takes the numbers of faults, or --all"),
        (["rm", "--all", "1"], 2, "takes the numbers of faults, or --all"),
        (["rm", "7"], 1, "there is no fault 7; there are none"),
        (["release", "7"], 1, "there is no fault 7"),
        (["show", "7"], 1, "there is no fault 7"),
    ],
)
def test_a_mistake_on_the_command_line_is_a_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    with Broker(control=True) as broker:
        said = ottla(capsys, broker.control_url, "fault", *words, code=code)
    assert sentence in said
    assert said.startswith("ottla: ")
    assert said.count("\n") == 1
