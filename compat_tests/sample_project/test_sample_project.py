"""A thousand tests with a broker each, as somebody who installed Ottla runs them: all pass, in one process and in two
beside each other, and nothing is left. What that costs is printed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_tests.sample_project.overhead import MEASURED
from ottla.testing.folders import VARIABLE, place

HERE = Path(__file__).parent
SHOP = HERE / "shop"
TESTS = 1000
TIMEOUT_S = 1800

pytestmark = pytest.mark.long


@pytest.fixture
def brokers() -> Iterator[Path]:
    """Where all brokers have their folders."""
    with tempfile.TemporaryDirectory(prefix="sample-", dir=place()) as folder:
        yield Path(folder)


@pytest.mark.parametrize("flags", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_a_thousand_tests_have_a_broker_each(flags: list[str], tmp_path: Path, brokers: Path) -> None:
    measured = tmp_path / "measured"
    measured.mkdir()
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "overhead", *flags],
        cwd=SHOP,
        env={**env, "PYTHONPATH": str(HERE), MEASURED: str(measured), VARIABLE: str(brokers)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert f"{TESTS} passed in" in done.stdout.splitlines()[-1]
    assert not list(brokers.iterdir())
    _tell(measured, " ".join(flags))


def _tell(measured: Path, flags: str) -> None:
    files = [json.loads(path.read_text()) for path in measured.iterdir()]
    ups = [one for file in files for one in file["set_up_ms"]]
    downs = [one for file in files for one in file["torn_down_ms"]]
    assert (len(ups), len(downs)) == (TESTS, TESTS)
    for what, taken in (("start", ups), ("stop", downs), ("both", [a + b for a, b in zip(ups, downs, strict=True)])):
        median, late = statistics.median(taken), statistics.quantiles(taken, n=100)[-1]
        print(f"pytest {flags:5} {what:6} median {median:.2f} ms, mean {statistics.fmean(taken):.2f}, p99 {late:.2f}")
