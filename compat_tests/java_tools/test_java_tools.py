"""Apache Kafka's own command line tools, on a JVM, list, produce and consume."""

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.long

Tool = Callable[..., str]


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
        "ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", "200", "--timeout-ms", "120000"
    )
    assert read.splitlines() == lines

    # a group reads on where it stopped
    options = ["--topic", topic, "--group", group, "--timeout-ms", "120000"]
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
        *["--topic", topic, "--from-beginning", "--max-messages", "3", "--timeout-ms", "120000"],
        *["--formatter-property", "print.key=true", "--formatter-property", "print.offset=true"],
    )
    assert read.splitlines() == ["Offset:0\ta\t1", "Offset:1\tb\t2", "Offset:2\ta\t3"]
