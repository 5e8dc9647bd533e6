"""kafka-consumer-groups, the real tool, with all its verbs, on groups of the classic protocol and of KIP-848."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compat_tests.client import MemberConfig, Outgoing
from compat_tests.confluent.adapter import Adapter
from compat_tests.harness import DEADLINE_S, Broker, make_broker
from compat_tests.member import Story
from compat_tests.raw import RawConnection

pytestmark = pytest.mark.long

Name = Callable[[str], str]
Groups = Callable[..., str]
Row = dict[str, str]

PARTITIONS = 3
EACH = 100  # records of a partition: half of them from ten hours ago, half from one hour ago
HOUR_S = 3600
PROTOCOLS = ["classic", "consumer"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """With --all-groups every group of the broker takes part: it is this module's alone."""
    with make_broker(tmp_path_factory.mktemp("groups")) as running:
        yield running


@pytest.fixture
def groups(tool: Callable[..., str]) -> Groups:
    """Runs kafka-consumer-groups."""
    return lambda *arguments: tool("ConsumerGroupCommand", *arguments)


@pytest.fixture
def filled(broker: Broker, fresh: Name) -> Callable[[], str]:
    """Makes a topic with records of two times."""

    def fill() -> str:
        topic, client, now_ms = fresh("filled"), Adapter(broker.bootstrap), time.time_ns() // 1_000_000
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            for hours, count in ((10, EACH // 2), (1, EACH - EACH // 2)):
                stamp = now_ms - hours * HOUR_S * 1000
                records = [Outgoing(b"x", partition=p, timestamp_ms=stamp) for p in range(PARTITIONS)] * count
                sender.send(topic, records)
        return topic

    return fill


@pytest.fixture
def ended(broker: Broker, fresh: Name) -> Callable[..., str]:
    """Makes a group that has consumed and committed all of a topic, and then lost its only member."""

    def make(topic: str, protocol: str) -> str:
        group = fresh(f"ended-{protocol}")
        with Story() as story:
            member = story.join("confluent", broker.bootstrap, MemberConfig(group, topic, protocol=protocol))
            story.wait_for(lambda: story.committed() == dict.fromkeys(range(PARTITIONS), EACH), "all is committed")
            member.stop()
        return group

    return make


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_group_with_members(
    groups: Groups, broker: Broker, filled: Callable[[], str], fresh: Name, protocol: str
) -> None:
    topic, group = filled(), fresh(f"live-{protocol}")
    kind, strategy = {"classic": ("Classic", "range"), "consumer": ("Consumer", "uniform")}[protocol]
    config = MemberConfig(group, topic, session_timeout_ms=60_000, protocol=protocol)
    with Story() as story:
        members = [story.join("confluent", broker.bootstrap, config) for _ in range(2)]
        story.wait_for(lambda: story.shared_among([one.name for one in members], PARTITIONS), "they share the topic")
        story.wait_for(lambda: story.committed() == dict.fromkeys(range(PARTITIONS), EACH), "all is committed")

        assert group in groups("--list").split()
        row = {"GROUP": group, "TYPE": kind, "STATE": "Stable"}
        deadline_s = time.monotonic() + DEADLINE_S  # members tell what they own before they tell the broker so
        while row not in (listed := _rows(groups("--list", "--type", "--state"))):
            assert time.monotonic() < deadline_s, listed
        assert row in _rows(groups("--list", "--type", protocol, "--state", "stable,empty"))
        other = PROTOCOLS[1 - PROTOCOLS.index(protocol)]
        assert group not in groups("--list", "--type", other)
        assert group not in groups("--list", "--state", "empty")

        rows = _rows(groups("--describe", "--group", group))
        assert _ends(rows) == {str(p): (str(EACH), str(EACH), "0") for p in range(PARTITIONS)}
        assert {row["TOPIC"] for row in rows} == {topic}
        assert {row["HOST"] for row in rows} == {"/127.0.0.1"}
        owners = {row["PARTITION"]: row["CONSUMER-ID"] for row in rows}
        assert len(set(owners.values())) == 2

        rows = _rows(groups("--describe", "--group", group, "--members", "--verbose"))
        told = {row["CONSUMER-ID"]: row["CURRENT-ASSIGNMENT"] for row in rows}
        assert told == {
            one: f"{topic}:{','.join(sorted(p for p, owner in owners.items() if owner == one))}"
            for one in set(owners.values())
        }
        assert sorted(row["#PARTITIONS"] for row in rows) == ["1", "2"]

        (row,) = _rows(groups("--describe", "--group", group, "--state", "--verbose"))
        assert (row["STATE"], row["#MEMBERS"], row["ASSIGNMENT-STRATEGY"]) == ("Stable", "2", strategy)
        assert (row["COORDINATOR"], row["(ID)"]) == (broker.bootstrap, "(1)")

        # what must not be done to a group with members
        refused = groups("--reset-offsets", *_of(group, topic), "--to-earliest", "--execute")
        assert "the current state is Stable" in refused
        assert "GroupNotEmptyException" in groups("--delete", "--group", group)
        refused = groups("--delete-offsets", *_of(group, topic))
        assert refused.count("GroupSubscribedToTopicException") == PARTITIONS
        story.stop(members)

    rows = _rows(groups("--describe", "--group", group, "--offsets"))
    assert _ends(rows) == {str(p): (str(EACH), str(EACH), "0") for p in range(PARTITIONS)}
    assert {row["CONSUMER-ID"] for row in rows} == {"-"}
    (row,) = _rows(groups("--describe", "--group", group, "--state"))
    assert (row["STATE"], row["#MEMBERS"]) == ("Empty", "0")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reset_offsets(
    groups: Groups,
    broker: Broker,
    filled: Callable[[], str],
    ended: Callable[..., str],
    tmp_path: Path,
    protocol: str,
) -> None:
    topic = filled()
    group = ended(topic, protocol)

    def reset(*how: str, scope: str = topic) -> list[int]:
        """Gives the committed offsets after it; the tool's table must show the same."""
        rows = _rows(groups("--reset-offsets", *_of(group, scope), *how))
        offsets = _committed(broker, group, topic)
        assert all(row["NEW-OFFSET"] == str(offsets[int(row["PARTITION"])]) for row in rows)
        return offsets

    assert reset("--to-earliest", "--execute") == [0, 0, 0]
    assert reset("--to-offset", "42", "--execute", scope=f"{topic}:0,1") == [42, 42, 0]
    assert reset("--to-current", "--execute") == [42, 42, 0]
    assert reset("--shift-by", "8", "--execute", scope=f"{topic}:1,2") == [42, 50, 8]
    assert reset("--shift-by", "-1000", "--execute") == [0, 0, 0]
    assert reset("--to-offset", "5000", "--execute") == [EACH] * 3
    assert reset("--by-duration", "PT5H", "--execute", scope=f"{topic}:0") == [EACH // 2, EACH, EACH]
    assert reset("--by-duration", "P1D", "--execute", scope=f"{topic}:1") == [EACH // 2, 0, EACH]
    five_hours_ago = datetime.fromtimestamp(time.time() - 5 * HOUR_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.000")
    assert reset("--to-datetime", five_hours_ago, "--execute") == [EACH // 2] * 3
    assert reset("--to-datetime", "2099-01-01T00:00:00.000", "--execute") == [EACH] * 3
    assert reset("--to-earliest", "--execute", scope=f"{topic}:2") == [EACH, EACH, 0]
    assert reset("--to-latest", "--execute") == [EACH] * 3

    planned = _rows(groups("--reset-offsets", *_of(group, topic), "--to-earliest", "--dry-run"))
    assert {row["PARTITION"]: row["NEW-OFFSET"] for row in planned} == {"0": "0", "1": "0", "2": "0"}
    exported = groups("--reset-offsets", *_of(group, topic), "--to-offset", "7", "--dry-run", "--export")
    assert sorted(exported.split()) == [f"{topic},{p},7" for p in range(PARTITIONS)]
    assert _committed(broker, group, topic) == [EACH] * 3, "a dry run has changed something"
    file = tmp_path / "plan.csv"
    file.write_text(exported)
    groups("--reset-offsets", "--group", group, "--from-file", str(file), "--execute")
    assert _committed(broker, group, topic) == [7] * 3


def test_reset_offsets_of_all_topics_and_all_groups(
    groups: Groups, broker: Broker, filled: Callable[[], str], ended: Callable[..., str], tmp_path: Path
) -> None:
    topics = [filled(), filled()]
    group = ended(topics[0], "classic")
    others = [ended(topics[0], "consumer"), ended(topics[1], "classic")]
    groups("--reset-offsets", *_of(group, topics[0]), "--topic", topics[1], "--to-offset", "9", "--execute")
    assert [_committed(broker, group, topic) for topic in topics] == [[9] * 3] * 2
    groups("--reset-offsets", "--group", group, "--all-topics", "--to-offset", "10", "--execute")
    assert [_committed(broker, group, topic) for topic in topics] == [[10] * 3] * 2
    assert _committed(broker, others[0], topics[0]) == [EACH] * 3

    file = tmp_path / "plan.csv"  # of several groups: the group comes first in each line
    file.write_text("".join(f"{one},{topics[0]},{p},{p}\n" for one in (group, others[0]) for p in range(PARTITIONS)))
    groups("--reset-offsets", "--group", group, "--group", others[0], "--from-file", str(file), "--execute")
    assert _committed(broker, group, topics[0]) == _committed(broker, others[0], topics[0]) == [0, 1, 2]

    assert "is valid" in groups("--validate-regex", "filled-[0-9]+")
    groups("--reset-offsets", "--all-groups", "--all-topics", "--to-latest", "--execute")
    assert _committed(broker, group, topics[0]) == _committed(broker, group, topics[1]) == [EACH] * 3
    assert _committed(broker, others[0], topics[0]) == _committed(broker, others[1], topics[1]) == [EACH] * 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_delete_offsets_and_groups(
    groups: Groups, broker: Broker, filled: Callable[[], str], ended: Callable[..., str], protocol: str
) -> None:
    topic = filled()
    gone, kept = ended(topic, protocol), ended(topic, protocol)
    deleted = groups("--delete-offsets", *_of(gone, f"{topic}:0,2"))
    assert deleted.count("Successful") == 2
    assert _committed(broker, gone, topic) == [None, EACH, None]
    assert "GroupIdNotFoundException" in groups("--delete", "--group", "nobody")
    assert "deleted successfully" in groups("--delete", "--group", gone, "--group", "nobody")
    left = groups("--list").split()
    assert (gone in left, kept in left) == (False, True)
    assert _committed(broker, gone, topic) == [None] * 3
    broker.restart(kill=True)
    left = groups("--list").split()
    assert (gone in left, kept in left) == (False, True)
    assert _committed(broker, kept, topic) == [EACH] * 3


def _of(group: str, topic: str) -> list[str]:
    return ["--group", group, "--topic", topic]


def _committed(broker: Broker, group: str, topic: str) -> list[int | None]:
    """What the broker says, partition by partition."""
    with RawConnection(broker.port) as connection:
        committed = connection.committed(group)
    return [committed.get((topic, partition)) for partition in range(PARTITIONS)]


def _rows(output: str) -> list[Row]:
    """A table of the tool: each line under the line of titles. Other lines, as of warnings, come before it."""
    lines = [line.split() for line in output.splitlines()]
    titles = next((line for line in lines if line and line[0] == "GROUP"), [])
    after = lines[lines.index(titles) + 1 :] if titles else []
    return [dict(zip(titles, line, strict=True)) for line in after if line]


def _ends(rows: list[Row]) -> dict[str, tuple[str, str, str]]:
    """Partition -> committed, end, lag."""
    return {row["PARTITION"]: (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) for row in rows}
