"""How Apache Kafka's own command line tools are run.

`tool.sh CLASS ARGUMENTS` runs one class of the Kafka distribution; OTTLA_KAFKA_TOOL names it, or it lies in the folder
`shared/kafka` beside the project.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from compat_tests.harness import ROOT, Broker

_TOOL = Path(os.environ.get("OTTLA_KAFKA_TOOL", ROOT.parent / "shared" / "kafka" / "tool.sh"))
_FETCH_DEADLINE_S = 540  # the first run fetches Kafka's jars

Tool = Callable[..., str]


@pytest.fixture(scope="module")
def run_tool() -> Tool:
    """Runs one of Kafka's tools on a broker and gives its output; it must end with exit code 0."""
    if not _TOOL.is_file():
        pytest.skip(f"no {_TOOL}: set OTTLA_KAFKA_TOOL to run Kafka's own tools")
    if shutil.which("java") is None:
        pytest.skip("java is not installed")

    def run(broker: Broker, name: str, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["bash", str(_TOOL), name, "--bootstrap-server", broker.bootstrap, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_FETCH_DEADLINE_S,
            env={**os.environ, "FAST": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def tool(run_tool: Tool, broker: Broker) -> Tool:
    """The same on the module's broker."""
    return lambda name, *arguments, **options: run_tool(broker, name, *arguments, **options)
