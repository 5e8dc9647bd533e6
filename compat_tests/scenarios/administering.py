"""The admin calls that applications make: topics, configs, groups."""

from collections.abc import Callable

import pytest

from compat_tests.client import Client, MemberConfig, Outgoing, RefusedError
from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.scenarios.base import EVERY, PARTITIONS, Base, Name, ends_of, needs, value


class Administering(Base):
    """Each library's own admin client; admin/ compares every method of four of them with Kafka."""

    def test_the_library_says_its_version(self, client: Client, record_property: Callable[[str, object], None]) -> None:
        version = client.version()
        assert version[:1].isdigit()
        record_property("version", version)

    @needs("topics", "add_partitions", "delete_topic")
    def test_a_topic_is_listed_grows_and_goes(self, client: Client, fresh: Name) -> None:
        topic, other = fresh("grown"), fresh("other")
        client.create_topic(topic, 2)
        client.create_topic(other, 1)
        assert client.topics().items() >= {topic: 2, other: 1}.items()
        client.add_partitions(topic, 5)
        assert client.topics()[topic] == 5
        with client.sender() as sender:
            assert [one.partition for one in sender.send(topic, [Outgoing(b"last", partition=4)])] == [4]
        client.delete_topic(topic)
        assert topic not in client.topics()
        assert other in client.topics()

    @needs("configs")
    def test_a_topics_configs_are_described_and_altered(self, client: Client, fresh: Name) -> None:
        topic = fresh("configured")
        client.create_topic(topic, 1, {"retention.ms": "3600000", "max.message.bytes": "5000"})
        before = client.config(topic)
        assert before["retention.ms"] == "3600000"
        assert before["cleanup.policy"] == "delete"
        client.set_config(topic, "retention.ms", "7200000")
        after = client.config(topic)
        assert after == {**before, "retention.ms": "7200000"}

    @needs("ends", "committed", "groups")
    def test_lag_is_what_came_after_the_last_commit(self, client: Client, broker: Broker, fresh: Name) -> None:
        topic, group = fresh("lagging"), fresh("laggards")
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            first = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(60)])
            with Story() as story:
                member = story.join(client.name, broker.bootstrap, MemberConfig(group, topic))
                story.wait_for(lambda: story.committed() == ends_of(first), "all is committed")
                member.stop()
            sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(60, 90)])
        ends, committed = client.ends(topic, EVERY), client.committed(group, topic, EVERY)
        assert {p: ends[p] - (committed[p] or 0) for p in EVERY} == dict.fromkeys(EVERY, 5)

    @needs("groups", "list_groups", "describe_group", "delete_group")
    def test_a_group_is_listed_described_and_deleted(self, client: Client, broker: Broker, fresh: Name) -> None:
        topic, group = fresh("managed"), fresh("managers")
        client.create_topic(topic, PARTITIONS)
        with Story() as story:
            member = story.join(client.name, broker.bootstrap, MemberConfig(group, topic))
            story.wait_for(lambda: story.shared_among([member.name], PARTITIONS), "the member owns all")
            with client.sender() as sender:
                places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(12)])
            story.wait_for(lambda: story.committed() == ends_of(places), "all is committed")
            assert group in client.groups()
            assert client.group(group) == ("Stable", 1)
            with pytest.raises(RefusedError) as refused:
                client.delete_group(group)
            assert refused.value.name == "NON_EMPTY_GROUP"
            member.stop()
        assert client.group(group) == ("Empty", 0)
        client.delete_group(group)
        assert group not in client.groups()
        assert not any(client.committed(group, topic, EVERY).values())
