"""Apache Kafka's own command line tools, on a JVM, list, produce and consume.

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

TOOL = Path(os.environ.get("OTTLA_KAFKA_TOOL", ROOT.parent / "shared" / "kafka" / "tool.sh"))
FETCH_DEADLINE_S = 540  # the first run fetches Kafka's jars

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not TOOL.is_file(), reason=f"no {TOOL}: set OTTLA_KAFKA_TOOL to run Kafka's own tools"),
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed"),
]

Tool = Callable[..., str]


@pytest.fixture(scope="module")
def tool(broker: Broker) -> Tool:
    """Runs one of Kafka's tools on the module's broker and gives its output; it must end with exit code 0."""

    def run(name: str, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["bash", str(TOOL), name, "--bootstrap-server", broker.bootstrap, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=FETCH_DEADLINE_S,
            env={**os.environ, "FAST": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_topics_are_created_listed_described_and_deleted(tool: Tool, fresh: Callable[[str], str]) -> None:
    topic = fresh("java")
    tool("TopicCommand", "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=60000")
    assert topic in tool("TopicCommand", "--list").split()
    described = tool("TopicCommand", "--describe", "--topic", topic)
    assert "PartitionCount: 3" in described
    assert "retention.ms=60000" in described
    assert described.count("Leader: ") == 3
    tool("TopicCommand", "--delete", "--topic", topic)
    assert topic not in tool("TopicCommand", "--list").split()


def test_console_producer_and_consumer(tool: Tool, fresh: Callable[[str], str]) -> None:
    topic, group = fresh("console"), fresh("console-group")
    lines = [f"line {n}" for n in range(200)]
    tool("ConsoleProducer", "--topic", topic, stdin="\n".join(lines) + "\n")
    read = tool(
        "ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", "200", "--timeout-ms", "30000"
    )
    assert read.splitlines() == lines

    # a group reads on where it stopped
    options = ["--topic", topic, "--group", group, "--timeout-ms", "30000"]
    first = tool("ConsoleConsumer", *options, "--from-beginning", "--max-messages", "150")
    assert first.splitlines() == lines[:150]
    assert tool("ConsoleConsumer", *options, "--max-messages", "50").splitlines() == lines[150:]


def test_console_producer_of_compressed_keyed_records(tool: Tool, fresh: Callable[[str], str]) -> None:
    topic = fresh("keyed")
    options = ["--topic", topic, "--compression-codec", "zstd"]
    options += ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    tool("ConsoleProducer", *options, stdin="a:1\nb:2\na:3\n")
    read = tool(
        "ConsoleConsumer",
        *["--topic", topic, "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000"],
        *["--formatter-property", "print.key=true", "--formatter-property", "print.offset=true"],
    )
    assert read.splitlines() == ["Offset:0\ta\t1", "Offset:1\tb\t2", "Offset:2\ta\t3"]
