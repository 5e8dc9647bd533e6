"""The documentation shows the states that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ottla.coordinator.group.classic import TRANSITIONS, GroupState, Trigger

ROOT = Path(__file__).resolve().parents[2]


def test_the_diagram_is_that_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.draw_groups", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    left = {before for before, _ in TRANSITIONS}
    reached = set(TRANSITIONS.values()) | {GroupState.EMPTY}
    assert reached == set(GroupState)
    assert left == set(GroupState) - {GroupState.DEAD}
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)
