"""How Apache Kafka's own command line tools are run.

`tool.sh CLASS ARGUMENTS` runs one class of the Kafka distribution; OTTLA_KAFKA_TOOL names it, or it lies in the folder
`shared/kafka` beside the project.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compat_tests.harness import ROOT, Broker
from compat_tests.java_tools import verbs
from compat_tests.java_tools.shell import ToolShell

_TOOL = Path(os.environ.get("OTTLA_KAFKA_TOOL", ROOT.parent / "shared" / "kafka" / "tool.sh"))
_FETCH_DEADLINE_S = 540  # the first run fetches Kafka's jars

Tool = Callable[..., str]


@pytest.fixture(scope="session")
def tool_script() -> Path:
    """The script that runs a class of Kafka's."""
    if not _TOOL.is_file():
        pytest.skip(f"no {_TOOL}: set OTTLA_KAFKA_TOOL to run Kafka's own tools")
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    return _TOOL


@pytest.fixture(scope="module")
def run_tool(tool_script: Path) -> Tool:
    """Runs one of Kafka's tools on a broker and gives its output; it must end with exit code 0."""

    def run(broker: Broker, name: str, *arguments: str, stdin: str = "") -> str:
        verbs.note(name, arguments)
        done = subprocess.run(
            ["bash", str(tool_script), name, "--bootstrap-server", broker.bootstrap, *arguments],
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


@pytest.fixture(scope="module")
def shell(tool_script: Path, broker: Broker) -> Iterator[ToolShell]:
    """Kafka's tools on the module's broker, all in one JVM."""
    with ToolShell(tool_script, broker.bootstrap) as running:
        yield running
