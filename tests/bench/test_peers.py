"""The other brokers that the benchmark measures are real ones: each starts, serves every kind of scenario, and ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.brokers import why_not
from compat_tests.harness import ROOT

STORIES = ["produce-lz4", "requests-50", "consume-16k", "latency-1000", "group-50", "group-50-848"]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["kafka", "kfake"])
def test_a_peer_is_measured(kind: str, tmp_path: Path) -> None:
    missing = why_not(kind)
    if missing is not None:
        pytest.skip(missing)
    path = tmp_path / "out.json"
    command = [sys.executable, "-m", "bench", *STORIES, "--brokers", kind, "--rounds", "1", "--size", "tiny"]
    done = subprocess.run(
        [*command, "--out", str(path), "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    turns = {turn["scenario"]: turn for turn in json.loads(path.read_text())["turns"]}
    assert {name: turns[name].get("error") for name in STORIES} == dict.fromkeys(STORIES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]  # nothing is left behind
