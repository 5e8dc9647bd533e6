"""Ten members over twenty partitions with a producer running: crashes, zombies, rolling restarts, a broker killed."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from compat_tests.confluent.adapter import Adapter
from compat_tests.gate import HEARTBEAT, METADATA, Gate
from compat_tests.groups.kinds import KINDS, STATIC, Kind
from compat_tests.groups.watch import Watch
from compat_tests.harness import make_broker
from compat_tests.member import Member, Story
from compat_tests.raw import heartbeat_generation
from compat_tests.scenarios.base import ends_of, feeding

MEMBERS = 10
PARTITIONS = 20
STEP_S = 180.0  # for a step that takes a session timeout and a rebalance
SESSION_MS = 6_000  # the least that a broker lets a classic member have
LONG_SESSION_MS = 60_000  # for a restart that has to be quicker, also of a JVM on a busy machine
Name = Callable[[str], str]


def _settings(session_ms: int) -> dict[str, str]:
    """With KIP-848 the broker sets what classic members set themselves."""
    return {
        "group.consumer.min.session.timeout.ms": str(session_ms),
        "group.consumer.session.timeout.ms": str(session_ms),
        "group.consumer.min.heartbeat.interval.ms": "500",
        "group.consumer.heartbeat.interval.ms": "500",
    }


# One for each library and protocol; all the others are for `make test-soak`.
STORMS = {"kafka-python", "aiokafka", "confluent-848", "franz-go", "java-cooperative", "java-848"}
ROLLS = {"confluent", "java-848"}
STARTS = {"kafka-python", "aiokafka", "confluent-848", "java-cooperative"}


def _tiers(kinds: Iterable[Kind], everyday: set[str]) -> list[Any]:
    long, soak = pytest.mark.long, pytest.mark.soak
    return [pytest.param(kind, id=kind.name, marks=long if kind.name in everyday else soak) for kind in kinds]


@pytest.fixture(autouse=True)
def _able(kind: Kind) -> None:
    if reason := kind.missing():
        pytest.skip(reason)


@pytest.mark.parametrize("kind", _tiers(KINDS, STORMS))
def test_every_record_is_consumed_and_every_partition_has_one_owner(kind: Kind, tmp_path: Path, fresh: Name) -> None:
    group, topic = fresh("storm"), fresh("stormy")
    settings = _settings(SESSION_MS)
    with make_broker(tmp_path, settings=settings) as broker, Story() as story, Watch(broker, group, topic) as watch:
        client = Adapter(broker.bootstrap)
        client.create_topic(topic, PARTITIONS)

        def join() -> Member:
            number = len(story.members)
            library, config = kind.member(number, group, topic, SESSION_MS)
            return story.join(library, broker.bootstrap, config)

        def settle(members: list[Member], why: str) -> None:
            story.wait_for(lambda: story.shared_among([one.name for one in members], PARTITIONS), why, STEP_S)

        with feeding(client, topic, range(PARTITIONS), each=1, pause_s=0.1) as fed:
            members = [join() for _ in range(MEMBERS)]
            settle(members, "ten members share the partitions")

            killed, zombies, rest = members[:3], members[3:5], members[5:]
            for member in killed:
                member.kill()
            settle(zombies + rest, "seven members share what the killed ones had")

            told = len(story.events)
            for member in zombies:
                member.hold()
            story.wait_for(
                lambda: {event.member for event in story.named("holding", told)} == {one.name for one in zombies},
                "both are in the middle of a batch",
            )
            for member in zombies:
                member.suspend()
            settle(rest, "five members share what the suspended ones had")
            if kind.claims_what_it_lost:
                for member in zombies:
                    member.kill()
                zombies = [join() for _ in zombies]
                settle(zombies + rest, "others have joined in place of the zombies")
            else:
                told = len(story.events)
                for member in zombies:
                    member.go()
                    member.resume()
                refused = {one.name for one in zombies}
                story.wait_for(
                    lambda: refused <= {event.member for event in story.named("commit_failed", told)},
                    "the zombies' commits are refused",
                    STEP_S,
                )
                settle(zombies + rest, "the zombies have joined again")

            told = len(story.events)
            late = [join() for _ in killed]
            story.wait_for(
                lambda: any(event.value for event in story.named("revoked", told)), "a rebalance is under way", STEP_S
            )
            broker.restart(kill=True)
            settle(zombies + rest + late, "ten members share the partitions after the restart")
        watch.wait_for(ends_of(fed), STEP_S)
        # the broker knows of a commit sooner than we read what its member told before it
        story.wait_for(lambda: set(story.processed()) >= set(fed), "no record is lost", STEP_S)
        assert set(story.processed()) == set(fed)
        assert story.two_owners() == []
        assert watch.faults(story) == []
        story.stop(zombies + rest + late)


@pytest.mark.parametrize("kind", _tiers([kind for kind in KINDS if len(kind.parts) == 1], STARTS))
def test_member_started_while_its_broker_is_away_joins_later(kind: Kind, tmp_path: Path, fresh: Name) -> None:
    group, topic = fresh("early"), fresh("awaited")
    with Gate() as gate, make_broker(tmp_path, settings=_settings(SESSION_MS), advertise=gate.address) as broker:
        gate.upstream_port = broker.port
        Adapter(gate.address).create_topic(topic, PARTITIONS)
        broker.kill()
        with Story() as story:
            library, config = kind.member(0, group, topic, SESSION_MS)
            member = story.join(library, gate.address, config)
            gate.wait_for(lambda: gate.turned_away >= 2, "it knocks in vain")
            gate.lose(METADATA, 3)
            broker.start()
            story.wait_for(lambda: story.shared_among([member.name], PARTITIONS), "it has joined", STEP_S)
            member.stop()


@pytest.mark.parametrize("kind", _tiers(STATIC, ROLLS))
def test_static_members_restart_one_by_one_without_a_rebalance(kind: Kind, tmp_path: Path, fresh: Name) -> None:
    group, topic = fresh("rolling"), fresh("rolled")
    settings = _settings(LONG_SESSION_MS)
    with Gate() as gate, make_broker(tmp_path, settings=settings, advertise=gate.address) as broker, Story() as story:
        gate.upstream_port = broker.port
        client = Adapter(gate.address)
        client.create_topic(topic, PARTITIONS)

        def join(number: int, name: str) -> Member:
            library, config = kind.member(number, group, topic, LONG_SESSION_MS)
            return story.join(library, gate.address, config, name)

        with Watch(broker, group, topic) as watch:
            with feeding(client, topic, range(PARTITIONS), each=1, pause_s=0.1) as fed:
                members = [join(number, f"m{number}") for number in range(MEMBERS)]
                names = [member.name for member in members]
                story.wait_for(lambda: _is_even(story, names), "all have the same share", STEP_S)
                if not kind.consumer:  # cooperative members may have a last rebalance that changes nothing before them
                    gate.wait_for(lambda: _one_generation(gate), "all heartbeats are of one generation", STEP_S)
                owned = story.owned()

                mark, told = gate.mark(), len(story.events)
                stopping_s = {}
                replacements = []
                for number, member in enumerate(members):
                    stopping_s[member.name] = member.stop()
                    again = join(number, f"again{number}")
                    replacements.append(again)
                    story.wait_for(
                        lambda again=again, member=member: story.owned().get(again.name) == owned[member.name],
                        f"{member.name} is back with what it had",
                        STEP_S,
                    )
            watch.wait_for(ends_of(fed), STEP_S)
            story.wait_for(lambda: set(story.processed()) >= set(fed), "no record is lost", STEP_S)
            assert set(story.processed()) == set(fed)

            moved = [
                event
                for name in ("assigned", "revoked", "lost")
                for event in story.named(name, told)
                if event.value and event.at_s < stopping_s.get(event.member, float("inf"))
            ]
            assert {event.name for event in moved} == {"assigned"}, "a rebalance"
            assert {event.member for event in moved} == {member.name for member in replacements}, "a rebalance"
            if not kind.consumer:
                gate.wait_for(lambda: len(gate.since(mark, HEARTBEAT)) >= MEMBERS, "heartbeats")
                assert len({heartbeat_generation(beat) for beat in gate.since(mark, HEARTBEAT)}) == 1, "a rebalance"
            assert story.two_owners() == []
            assert watch.faults(story) == []
        story.stop(replacements)


def _is_even(story: Story, names: list[str]) -> bool:
    """Nothing is left to be moved: a partition more or less would still be on its way, with incremental protocols."""
    owned = story.owned()
    return story.shared_among(names, PARTITIONS) and {len(owned[name]) for name in names} == {PARTITIONS // MEMBERS}


def _one_generation(gate: Gate) -> bool:
    latest = gate.since(0, HEARTBEAT)[-3 * MEMBERS :]
    return len(latest) == 3 * MEMBERS and len({heartbeat_generation(beat) for beat in latest}) == 1
