"""Consumer groups: sharing, rebalancing, committing; what outlives a rebalance, a restart, a crash."""

from collections import Counter

import pytest

from compat_tests.client import Client, MemberConfig, Outgoing
from compat_tests.gate import HEARTBEAT, JOIN_GROUP, SYNC_GROUP, Gate, Request
from compat_tests.harness import Broker
from compat_tests.member import Story
from compat_tests.raw import heartbeat_generation
from compat_tests.scenarios.base import (
    EVERY,
    PARTITIONS,
    Base,
    Connect,
    Name,
    ends_of,
    feeding,
    known,
    needs,
    value,
)


class Grouping(Base):
    """Members are processes of their own, so that they can be killed."""

    @needs("groups", "committed")
    def test_group_shares_partitions_and_survives_a_killed_member(
        self, client: Client, broker: Broker, fresh: Name
    ) -> None:
        topic = fresh("shared")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(group=fresh("workers"), topic=topic)
        with Story() as story:
            with feeding(client, topic, EVERY, each=3, pause_s=0.02) as fed:
                members = [story.join(client.name, broker.bootstrap, config) for _ in range(3)]
                names = [member.name for member in members]
                story.wait_for(lambda: story.shared_among(names, PARTITIONS), "three members own each partition once")

                members.append(story.join(client.name, broker.bootstrap, config))
                names.append(members[-1].name)
                story.wait_for(lambda: story.shared_among(names, PARTITIONS), "the fourth member has its share")
                # the one that is killed has processed something since, so that there is something to lose
                joined = len(story.events)
                story.wait_for(
                    lambda: any(event.member == names[0] for event in story.named("committed", joined)),
                    "the first member goes on after the rebalance",
                )
                killed_at_s = members[0].kill()
                story.wait_for(
                    lambda: story.shared_among(names[1:], PARTITIONS), "the others take over the killed member's share"
                )
                rebalanced_at_s = max(event.at_s for event in story.named("assigned"))
            ends = ends_of(fed)
            story.wait_for(lambda: story.committed() == ends, "everything is processed and committed")
            story.stop(members[1:])

            # the members notice a rebalance by their next heartbeat, half a second, and then have to join
            assert rebalanced_at_s - killed_at_s <= config.session_timeout_ms / 1000 + 2
            assert story.two_owners() == []
            processed = story.processed()
            assert set(processed) == set(fed), "a record was lost"
            again = Counter({place: times - 1 for place, times in processed.items() if times > 1})
            assert again <= story.uncommitted(), "a record was done again although its commit was acknowledged"
            assert again.total() <= config.batch * (1 + len(story.named("commit_failed")))
            assert client.committed(config.group, topic, EVERY) == ends

    @needs("groups", "committed")
    def test_two_groups_read_independently(self, client: Client, broker: Broker, fresh: Name) -> None:
        topic = fresh("twice")
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(300)])
        ends = ends_of(places)
        groups = [fresh("reader"), fresh("reader")]
        for group in groups:
            assert not any(client.committed(group, topic, EVERY).values())
            with Story() as story:
                member = story.join(client.name, broker.bootstrap, MemberConfig(group=group, topic=topic))
                story.wait_for(lambda story=story: story.committed() == ends, f"{group} reads everything")
                member.stop()
                assert story.processed() == Counter(places)
        for group in groups:
            assert known(client.committed(group, topic, EVERY)) == ends

    @needs("groups", "committed")
    def test_committed_offsets_survive_rebalance_restart_and_kill(
        self, own_broker: Broker, connect: Connect, fresh: Name
    ) -> None:
        client = connect(own_broker.bootstrap)
        topic, group = fresh("kept"), fresh("keepers")
        config = MemberConfig(group=group, topic=topic)
        client.create_topic(topic, PARTITIONS)
        with client.sender() as sender:
            places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(300)])
        ends = ends_of(places)
        with Story() as story:
            first = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.committed() == ends, "all is committed")
            second = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.shared_among(["m0", "m1"], PARTITIONS), "two members share the partitions")
            assert client.committed(group, topic, EVERY) == ends
            story.stop([first, second])
            assert story.processed() == Counter(places), "a rebalance made records be read again"

        own_broker.restart()
        assert client.committed(group, topic, EVERY) == ends
        own_broker.restart(kill=True)
        assert client.committed(group, topic, EVERY) == ends

        with client.sender() as sender:
            more = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(300, 360)])
        with Story() as story:
            member = story.join(client.name, own_broker.bootstrap, config)
            story.wait_for(lambda: story.committed() == ends_of(more), "the new records are committed")
            assert story.processed() == Counter(more), "not exactly the new records"
            member.stop()

    @needs("groups", "groups.restart")
    @pytest.mark.parametrize("kill", [True, False], ids=["kill-9", "clean"])
    def test_stable_group_goes_on_after_restart_without_joining(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name, kill: bool
    ) -> None:
        broker, gate = gated
        client = connect(gate.address)
        topic = fresh("stable")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(group=fresh("steady"), topic=topic, session_timeout_ms=60_000)
        with Story() as story:
            for _ in range(2):
                story.join(client.name, gate.address, config)
            names = [member.name for member in story.members]
            story.wait_for(lambda: story.shared_among(names, PARTITIONS), "two members share the partitions")
            with client.sender() as sender:
                before = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(120)])
            story.wait_for(lambda: story.committed() == ends_of(before), "all is committed")
            settled = gate.mark()
            gate.wait_for(lambda: len(gate.since(settled, HEARTBEAT)) >= 2, "heartbeats of the stable group")
            generations = {heartbeat_generation(beat) for beat in gate.since(settled, HEARTBEAT)}
            assert len(generations) == 1

            mark, told = gate.mark(), len(story.events)
            broker.restart(kill=kill)
            with client.sender() as sender:
                after = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(120, 240)])
            story.wait_for(lambda: story.committed() == ends_of(after), "the group goes on")
            resumed = gate.mark()
            gate.wait_for(lambda: len(gate.since(resumed, HEARTBEAT)) >= 4, "heartbeats after the restart")

            counts = gate.counts(mark)
            assert counts[JOIN_GROUP] == 0
            assert counts[SYNC_GROUP] == 0
            assert {heartbeat_generation(beat) for beat in gate.since(resumed, HEARTBEAT)} == generations
            assert story.named("assigned", told) == story.named("revoked", told) == []
            assert set(story.processed()) == {*before, *after}
            assert story.processed() - story.uncommitted() <= Counter([*before, *after])

    # ---- who gets which partition

    @needs("groups")
    @pytest.mark.parametrize(
        ("assignor", "protocol"),
        [
            *(
                pytest.param(name, "classic", marks=needs(f"assignor.{name}"), id=name)
                for name in ("range", "roundrobin", "sticky", "cooperative-sticky")
            ),
            pytest.param(None, "consumer", marks=needs("protocol.consumer"), id="consumer-protocol"),
        ],
    )
    def test_members_come_and_go_under_each_assignor(
        self, client: Client, broker: Broker, fresh: Name, assignor: str | None, protocol: str
    ) -> None:
        topic = fresh("assigned")
        client.create_topic(topic, PARTITIONS)
        config = MemberConfig(fresh("by-assignor"), topic, assignor=assignor, protocol=protocol)
        with client.sender() as sender, Story() as story:
            places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(60)])
            members = [story.join(client.name, broker.bootstrap, config) for _ in range(3)]
            names = [member.name for member in members]
            story.wait_for(lambda: _balanced(story, names), "three members have two partitions each")
            story.wait_for(lambda: story.committed() == ends_of(places), "all is committed")
            members[0].stop()
            story.wait_for(lambda: story.shared_among(names[1:], PARTITIONS), "two share what three had")
            places += sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(60, 120)])
            story.wait_for(lambda: story.committed() == ends_of(places), "the rest is committed")
            story.stop(members[1:])
            assert story.two_owners() == []
            processed = story.processed()
            assert set(processed) == set(places)
            assert processed - Counter(places) <= story.uncommitted(), "a record was done again after its commit"

    @needs("groups", "static", "assignor.range")
    def test_a_static_member_comes_back_to_its_partitions_unnoticed(
        self, gated: tuple[Broker, Gate], connect: Connect, fresh: Name
    ) -> None:
        _, gate = gated
        client = connect(gate.address)
        topic, group = fresh("static"), fresh("residents")
        client.create_topic(topic, PARTITIONS)
        configs = [
            MemberConfig(group, topic, session_timeout_ms=60_000, assignor="range", instance_id=f"resident-{n}")
            for n in range(2)
        ]
        with client.sender() as sender, Story() as story:
            first, other = (story.join(client.name, gate.address, config) for config in configs)
            story.wait_for(lambda: story.shared_among([first.name, other.name], PARTITIONS), "two members share")
            # a leader of kafka-python may join once more just after it has
            gate.wait_for(lambda: _same_generation(gate.since(0, HEARTBEAT), 4), "heartbeats of the stable group")
            story.wait_for(lambda: story.shared_among([first.name, other.name], PARTITIONS), "they still do")
            before = story.owned()
            first.kill()
            told = len(story.events)
            again = story.join(client.name, gate.address, configs[0])
            story.wait_for(lambda: story.owned().get(again.name) == before[first.name], "it has what it had")
            places = sender.send(topic, [Outgoing(value(n), partition=n % PARTITIONS) for n in range(60)])
            story.wait_for(lambda: story.committed() == ends_of(places), "both go on")
            noticed = [e for e in story.events[told:] if e.member == other.name and e.name in ("assigned", "revoked")]
            assert noticed == []
            assert story.processed() == Counter(places)
            story.stop([again, other])


def _balanced(story: Story, names: list[str]) -> bool:
    """An incremental rebalance comes by other shares on its way."""
    return story.shared_among(names, PARTITIONS) and len({len(owned) for owned in story.owned().values()}) == 1


def _same_generation(heartbeats: list[Request], count: int) -> bool:
    """Whether the last `count` are there and of one generation."""
    return len({heartbeat_generation(one) for one in heartbeats[-count:]}) == 1 and len(heartbeats) >= count
