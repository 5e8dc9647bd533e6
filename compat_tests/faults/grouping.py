"""Groups whose requests fail, wait or get lost: members come in, commit, and are thrown out, each a process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from compat_tests.client import Client, MemberConfig, Outgoing
from compat_tests.faults.base import FaultBase
from compat_tests.faults.orders import Orders
from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.scenarios.base import Name

RECORDS = 10


class Grouping(FaultBase):
    """`error`, `drop`, `hold` and `fence` of what members ask."""

    @contextmanager
    def _joining(self, client: Client, broker: Broker, topic: str, group: str) -> Iterator[Story]:
        """A member of the group, beside the test."""
        with Story() as story:
            config = MemberConfig(group, topic, heartbeat_interval_ms=100)
            story.join(client.name, broker.bootstrap, config)
            yield story

    def _topic(self, client: Client, fresh: Name) -> tuple[str, str]:
        """A topic with records, and a group that nobody is in."""
        topic = fresh("shared")
        client.create_topic(topic)
        with client.sender() as sender:
            sender.send(topic, [Outgoing(b"%d" % number) for number in range(RECORDS)])
        return topic, fresh("group")

    def _is_done(self, story: Story) -> bool:
        return story.committed() == {0: RECORDS}

    @pytest.mark.parametrize(
        ("api", "rule"),
        [
            ("FindCoordinator", {"error": "COORDINATOR_NOT_AVAILABLE", "times": 1}),
            ("JoinGroup", {"error": "COORDINATOR_LOAD_IN_PROGRESS", "times": 1}),
            ("JoinGroup", {"error": "NOT_COORDINATOR", "times": 1}),
            ("JoinGroup", {"drop": "after", "times": 1}),
            ("SyncGroup", {"error": "REBALANCE_IN_PROGRESS", "times": 1}),
            ("SyncGroup", {"drop": "after", "times": 1}),
        ],
        ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
    )
    def test_a_member_comes_in(
        self, client: Client, broker: Broker, orders: Orders, fresh: Name, api: str, rule: dict[str, object]
    ) -> None:
        topic, group = self._topic(client, fresh)
        fault = orders.order(api=api, group=group, **rule)
        with self._joining(client, broker, topic, group) as story:
            story.wait_for(lambda: self._is_done(story), "all is read and committed")
        assert fault.fired == rule["times"]
        assert {(0, offset) for offset in range(RECORDS)} == set(story.processed())

    def test_a_held_member_waits_for_its_release(
        self, client: Client, broker: Broker, orders: Orders, fresh: Name
    ) -> None:
        topic, group = self._topic(client, fresh)
        fault = orders.order(api="JoinGroup", group=group, hold="before")
        with self._joining(client, broker, topic, group) as story:
            fault.wait_held()
            assert not story.named("assigned")
            fault.release()
            story.wait_for(lambda: self._is_done(story), "all is read and committed")
        assert fault.now()["held"] == 0

    @pytest.mark.parametrize("code", ["REBALANCE_IN_PROGRESS", "COORDINATOR_LOAD_IN_PROGRESS"])
    def test_a_commit_that_is_refused_is_made_later(
        self, client: Client, broker: Broker, orders: Orders, fresh: Name, code: str
    ) -> None:
        topic, group = self._topic(client, fresh)
        fault = orders.order(api="OffsetCommit", group=group, error=code, times=1)
        with self._joining(client, broker, topic, group) as story:
            fault.wait_fired()
            with client.sender() as sender:  # kafka-python commits no sooner than it has something new to commit
                sender.send(topic, [Outgoing(b"one more")])
            story.wait_for(lambda: story.committed() == {0: RECORDS + 1}, "all is read and committed")
        told = [event.value for event in story.named("commit_failed")]
        if code == "REBALANCE_IN_PROGRESS":  # the application's to carry on from
            assert told == [self.of({"aiokafka": "CommitFailedError", "java": "RebalanceInProgressException"}, code)]
        else:
            assert not told, "the library tries that again itself"

    def test_a_member_that_cannot_be_told_its_offsets(
        self, client: Client, broker: Broker, orders: Orders, fresh: Name
    ) -> None:
        topic, group = self._topic(client, fresh)
        other = fresh("other")
        client.create_topic(other)
        with client.sender(transactional_id=fresh("tx")) as sender:
            sender.begin()
            sender.send(other, [Outgoing(b"franz-go ends no transaction without a record")])
            sender.send_offsets(group, topic, {0: 6})
            sender.commit()
        fault = orders.order(api="OffsetFetch", group=group, error="COORDINATOR_LOAD_IN_PROGRESS", times=1)
        with self._joining(client, broker, topic, group) as story:
            story.wait_for(lambda: self._is_done(story), "all is read and committed")
        assert fault.fired == 1
        first = self.of({"aiokafka": 0}, 6)  # it takes the error for no offset: its FINDINGS.md
        assert sorted(story.processed()) == [(0, offset) for offset in range(first, RECORDS)]

    def test_a_fenced_member_comes_back(self, client: Client, broker: Broker, orders: Orders, fresh: Name) -> None:
        topic, group = self._topic(client, fresh)
        with self._joining(client, broker, topic, group) as story:
            story.wait_for(lambda: self._is_done(story), "all is read and committed")
            mark = len(story.events)
            fault = orders.order(api="Heartbeat", group=group, fence="member", times=1)
            story.wait_for(lambda: bool(story.named("assigned", mark)), "it is assigned again")
            assert fault.fired == 1
            assert "to whom UNKNOWN_MEMBER_ID is due" in fault.did[0]
            told = [event.name for event in story.events[mark:] if event.name in ("lost", "revoked")]
            assert told == [self.of({"aiokafka": "revoked"}, "lost")]  # aiokafka's listener knows no other word
            with client.sender() as sender:
                sender.send(topic, [Outgoing(b"after")])
            story.wait_for(lambda: story.committed() == {0: RECORDS + 1}, "it commits again")
