"""`python -m bench`: faults in one sentence, and one run of everything it consists of, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import growth, profiling
from bench.__main__ import main
from bench.scenario import Scenario
from bench.scenarios import SCENARIOS
from compat_tests.harness import ROOT


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["requests-2"], "no scenario 'requests-2'; `python -m bench --list` names them all"),
        (["--rounds", "0"], "--rounds 0: at least one is needed"),
        (["--folder", "/no/such/folder"], "--folder /no/such/folder is no folder"),
        (["--table", "/no/such/file"], "--table /no/such/file is no file of results"),
        (["--brokers", "rabbit"], "no broker 'rabbit': ottla, ottla@REVISION, kafka, kfake or NAME=COMMAND"),
        (["--brokers", "ottla@no-such"], "git knows no revision 'no-such'"),
        (["--brokers", "ottla,ottla"], "--brokers ottla,ottla: each may be there once"),
        (["--brokers", "mine=broker --data {dir}"], "the command of 'mine' has no {port}"),
        (["--size", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_faults_are_told_in_a_sentence(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "out.json"), *arguments])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_a_profile_needs_py_spy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(profiling, "_program", lambda: None)
    with pytest.raises(SystemExit):
        main(["--profile"])
    assert "--profile needs py-spy: pip install py-spy" in capsys.readouterr().err


def test_every_scenario_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(SCENARIOS)


def test_the_steps_of_growth_are_scenarios_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--growth", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(growth.SCENARIOS)
    assert {"grow-idle-1000", "grow-log-0.1", "grow-partitions-1"} <= set(listed)


def test_goals_are_about_figures_that_their_scenario_gives() -> None:
    for scenario in SCENARIOS.values():
        assert {goal.key for goal in scenario.goals} <= {figure.key for figure in scenario.figures}, scenario.name
        assert all((goal.at_least is None) != (goal.at_most is None) for goal in scenario.goals), scenario.name


def test_a_profile_names_the_dearest_functions() -> None:
    stacks = Counter({"main;serve;append": 60, "main;serve;append;crc": 30, "main;serve": 10})
    own, whole = profiling.dearest(stacks).split("with what they call")
    assert [line.split() for line in own.splitlines()[1:3]] == [["60.0%", "90.0%", "append"], ["30.0%", "30.0%", "crc"]]
    assert [line.split()[-1] for line in whole.splitlines()[1:]] == ["serve", "append", "crc"]  # all is in main


def test_a_tiny_run(tmp_path: Path) -> None:
    names = ["requests-1", "produce-100-header", "consume-16k", "latency-1000", "wakeup-1000", "produce-16k-idempotent"]
    turns, printed = run_tiny(tmp_path, *names)
    check_figures(turns, [SCENARIOS[name] for name in names])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]  # nothing is left behind
    again = subprocess.run(
        [sys.executable, "-m", "bench", "--table", str(tmp_path / "out.json")], cwd=ROOT, capture_output=True, text=True
    )
    assert again.stdout == printed


def test_a_tiny_run_of_growth(tmp_path: Path) -> None:
    names = ["grow-partitions-10", "grow-topics-10", "grow-idle-10", "grow-busy-10", "grow-segments-10", "grow-log-1"]
    turns, _ = run_tiny(tmp_path, "--growth", *names)
    check_figures(turns, [growth.SCENARIOS[name] for name in names])


def run_tiny(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The turns by scenario, and what was printed."""
    path = folder / "out.json"
    command = [sys.executable, "-m", "bench", *arguments, "--brokers", "ottla", "--rounds", "1", "--size", "tiny"]
    done = subprocess.run(
        [*command, "--out", str(path), "--folder", str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {turn["scenario"]: turn for turn in json.loads(path.read_text())["turns"]}, done.stdout


def check_figures(turns: dict[str, Any], scenarios: list[Scenario]) -> None:
    """Each gave all its figures. CPU may be 0: a few milliseconds may pass between two updates of the clock."""
    for scenario in scenarios:
        turn = turns[scenario.name]
        assert turn.get("error") is None, scenario.name
        assert turn["figures"].keys() == {figure.key for figure in scenario.figures}
        for figure in scenario.figures:
            value = turn["figures"][figure.key]
            assert value > 0 or (value == 0 and figure.unit.startswith("us")), (scenario.name, figure.key)
    assert sum(turn["broker_cpu_s"] for turn in turns.values()) > 0
