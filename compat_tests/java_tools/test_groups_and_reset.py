"""kafka-groups, which lists groups of every kind, and kafka-streams-application-reset, which makes an application begin
anew. kafka-consumer-groups has a file of its own.
"""

import re
from collections.abc import Callable

import pytest

from compat_tests.client import MemberConfig, Outgoing
from compat_tests.confluent.adapter import Adapter
from compat_tests.harness import Broker
from compat_tests.java_tools.shell import ToolShell
from compat_tests.member import Story
from compat_tests.raw import RawConnection

pytestmark = pytest.mark.long

Fresh = Callable[[str], str]
PARTITIONS = 3
EACH = 5


@pytest.fixture
def topic(broker: Broker, fresh: Fresh) -> str:
    """A topic with records in each partition."""
    name, client = fresh("grouped"), Adapter(broker.bootstrap)
    client.create_topic(name, PARTITIONS)
    with client.sender() as sender:
        sender.send(name, [Outgoing(b"x", partition=p) for p in range(PARTITIONS)] * EACH)
    return name


def consume(broker: Broker, group: str, topic: str, protocol: str) -> None:
    """Has a group commit all of a topic, and leaves it without members."""
    with Story() as story:
        member = story.join("confluent", broker.bootstrap, MemberConfig(group, topic, protocol=protocol))
        story.wait_for(lambda: story.committed() == dict.fromkeys(range(PARTITIONS), EACH), "all is committed")
        member.stop()


def listed(shell: ToolShell, *flags: str) -> dict[str, tuple[str, ...]]:
    """Group -> its type and protocol, as kafka-groups shows them."""
    head, *rows = [line.split() for line in shell("GroupsCommand", "--list", *flags).splitlines()]
    assert head == ["GROUP", "TYPE", "PROTOCOL"]
    return {group: tuple(rest) for group, *rest in rows}


def test_groups_of_each_kind_are_listed(shell: ToolShell, broker: Broker, topic: str, fresh: Fresh) -> None:
    kinds = {"classic": ("Classic", "consumer"), "consumer": ("Consumer", "consumer")}
    groups = {protocol: fresh(protocol) for protocol in kinds}
    for protocol, group in groups.items():
        consume(broker, group, topic, protocol)
    wanted = {groups[protocol]: kind for protocol, kind in kinds.items()}
    assert listed(shell).items() >= wanted.items()
    assert listed(shell, "--consumer").items() >= wanted.items()
    assert listed(shell, "--protocol", "consumer").items() >= wanted.items()
    for protocol, group in groups.items():
        (other,) = groups.keys() - {protocol}
        shown = listed(shell, "--group-type", protocol)
        assert group in shown
        assert groups[other] not in shown
    assert listed(shell, "--protocol", "connect") == listed(shell, "--share") == listed(shell, "--streams") == {}
    said = shell.ask("GroupsCommand", "--list", "--group-type", "none-such")
    assert said.code == 1
    assert "must be a valid group type" in said.err


def test_an_application_begins_anew(shell: ToolShell, broker: Broker, topic: str, fresh: Fresh) -> None:
    application = fresh("application")
    store, others = f"{application}-store-changelog", f"{application}-kept"
    for name in (store, others):
        shell("TopicCommand", "--create", "--topic", name)
    consume(broker, application, topic, "classic")

    def reset(*flags: str) -> list[int | None]:
        """The committed offsets afterwards."""
        shell("StreamsResetter", "--application-id", application, "--input-topics", topic, *flags)
        with RawConnection(broker.port) as connection:
            committed = connection.committed(application)
        return [committed.get((topic, partition)) for partition in range(PARTITIONS)]

    def topics() -> set[str]:
        return set(re.findall(r"\S+", shell("TopicCommand", "--list")))

    assert reset("--dry-run") == [EACH] * 3
    assert {store, others} <= topics()
    assert reset() == [0] * 3
    assert topics() & {store, others} == {others}
    assert reset("--to-offset", "2") == [2] * 3
    assert reset("--shift-by", "1") == [3] * 3
    assert reset("--to-latest") == [EACH] * 3
    assert reset("--by-duration", "P1D") == [0] * 3
    nowhere = ("--application-id", application, "--input-topics", "no.such.topic")
    said = shell.ask("StreamsResetter", *nowhere)
    assert said.code == 1
    assert "not found" in said.out

    with Story() as story:
        config = MemberConfig(application, topic, session_timeout_ms=60_000)
        member = story.join("confluent", broker.bootstrap, config)
        story.wait_for(lambda: story.shared_among([member.name], PARTITIONS), "it runs again")
        said = shell.ask("StreamsResetter", "--application-id", application, "--input-topics", topic)
        assert said.code == 1
        assert "is still active" in said.out + said.err
        member.stop()
