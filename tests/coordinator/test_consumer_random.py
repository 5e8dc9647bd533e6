"""Random members of both protocols in one group, lost answers, crashes, time, restarts, topics that grow, a log that
fails: what must hold whatever happens.

Nobody owns what the coordinator gave to another; an old epoch commits only what its member still has; a replay of the
records is the state; and when all is calm, every partition has its owner and the load is even, but for what a test
pinned, which is where it was pinned to.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError
from ottla.wire.state.embedded import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from tests.coordinator.consumer_world import ConsumerWorld, T, U, held

E = ErrorCode
NAMES = {T: "t", U: "u"}
IDS = {"t": T, "u": U}
START_ANEW = (E.UNKNOWN_MEMBER_ID, E.FENCED_MEMBER_EPOCH, E.FENCED_INSTANCE_ID, E.GROUP_ID_NOT_FOUND)
TRY_AGAIN = (E.NOT_COORDINATOR, E.UNRELEASED_INSTANCE_ID, E.REBALANCE_IN_PROGRESS, E.ILLEGAL_GENERATION)
Place = tuple[bytes, int]


class Consumer:
    """A consumer of the consumer protocol: it owns what it was told, and says so only after it gave up the rest."""

    def __init__(self, world: ConsumerWorld, number: int, instance: str | None, regex: bool) -> None:
        self.world = world
        self.member_id = f"C{number}"
        self.instance = instance
        self.subscription: dict[str, Any] = {"regex": "[tu]"} if regex else {"names": ["t", "u"]}
        self.epoch = 0
        self.owned: set[Place] = set()
        self.unsure = False  # an answer was lost: say all, to be told all

    def step(self, *, lost: bool = False, hasty: bool = False) -> None:
        """One heartbeat. Its answer may be lost; a `hasty` one does not say what it owns, as most do not."""
        owned: dict[bytes, list[int]] = {}
        for topic_id, partition in sorted(self.owned):
            owned.setdefault(topic_id, []).append(partition)
        if self.epoch == 0:
            self.owned.clear()
            answer = self.world.beat(
                self.member_id, 0, instance=self.instance, owned={}, rebalance_ms=20_000, **self.subscription
            )
        elif self.unsure:
            answer = self.world.beat(
                self.member_id,
                self.epoch,
                instance=self.instance,
                owned=owned,
                rebalance_ms=20_000,
                **self.subscription,
            )
        else:
            answer = self.world.beat(self.member_id, self.epoch, instance=self.instance, owned=None if hasty else owned)
        self.unsure = lost or isinstance(answer, Pending) or answer.error_code != E.NONE
        if lost or isinstance(answer, Pending):
            return
        if answer.error_code in START_ANEW:
            self.epoch = 0
            self.owned.clear()
        elif answer.error_code == E.NONE:
            self.epoch = answer.member_epoch
            now = held(answer)
            if now is not None:
                self.owned = {(topic_id, partition) for topic_id, partitions in now.items() for partition in partitions}
        else:
            assert answer.error_code in TRY_AGAIN

    def leave(self, *, for_good: bool) -> None:
        epoch = -1 if for_good or self.instance is None else -2
        answer = self.world.beat(self.member_id, epoch, instance=self.instance)
        if not isinstance(answer, Pending) and answer.error_code == E.NONE:
            self.epoch = 0
            self.owned.clear()


class Classic:
    """An eager consumer of the classic protocol: it gives up all before it joins, and assigns if it must lead."""

    def __init__(self, world: ConsumerWorld, number: int, instance: str | None, regex: bool) -> None:
        self.world = world
        self.member_id = ""
        self.instance = instance
        self.epoch = 0
        self.owned: set[Place] = set()
        self.waits_for: Pending[Any] | None = None
        self.next: Any = self.join

    def step(self, *, lost: bool = False, hasty: bool = False) -> None:
        if self.waits_for is not None and not self.waits_for.settled:
            return
        self.waits_for = None
        self.next()

    def expect(self, answer: Any, then: Any) -> None:
        self.next = lambda: then(answer.result() if isinstance(answer, Pending) else answer)
        self.waits_for = answer if isinstance(answer, Pending) else None

    def join(self) -> None:
        self.owned.clear()
        subscription = b"\x00\x01" + ConsumerProtocolSubscription(topics=["t", "u"]).encode(1)
        answer = self.world.join(
            self.member_id,
            instance=self.instance,
            protocols=(("range", subscription),),
            session_ms=10_000,
            rebalance_ms=20_000,
        )
        self.expect(answer, self.joined)

    def joined(self, answer: Any) -> None:
        self.next = self.join
        if answer.error_code == E.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
        elif answer.error_code in START_ANEW:
            self.member_id = ""
        elif answer.error_code == E.NONE:
            self.member_id = answer.member_id
            self.epoch = answer.generation_id
            shares: dict[str, bytes] = {}
            if answer.leader == self.member_id and not answer.skip_assignment:
                shares = self.shares(sorted(member.member_id for member in answer.members))
            self.next = lambda: self.expect(
                self.world.sync(self.member_id, self.epoch, shares, instance=self.instance), self.synced
            )
        else:
            assert answer.error_code in TRY_AGAIN

    def shares(self, members: list[str]) -> dict[str, bytes]:
        """Round robin, as a leader assigns."""
        shares = {}
        for number, member_id in enumerate(members):
            topics = [
                ConsumerProtocolAssignment.TopicPartition(
                    topic=name, partitions=[p for p in range(count) if p % len(members) == number]
                )
                for name, (_, count) in self.world.topics.known.items()
            ]
            shares[member_id] = b"\x00\x01" + ConsumerProtocolAssignment(assigned_partitions=topics).encode(1)
        return shares

    def synced(self, answer: Any) -> None:
        self.next = self.join
        if answer.error_code in START_ANEW:
            self.member_id = ""
        elif answer.error_code == E.NONE:
            assignment = ConsumerProtocolAssignment.decode(answer.assignment, 1, 2) if answer.assignment else None
            for topic in assignment.assigned_partitions if assignment is not None else ():
                self.owned |= {(IDS[topic.topic], partition) for partition in topic.partitions}
            self.next = self.poll
        else:
            assert answer.error_code in TRY_AGAIN

    def poll(self) -> None:
        code = self.world.heartbeat(self.member_id, self.epoch, instance=self.instance)
        if code in START_ANEW:
            self.member_id = ""
        if code != E.NONE:
            self.next = self.join

    def leave(self, *, for_good: bool) -> None:
        self.world.leave((self.member_id, self.instance))
        self.owned.clear()
        self.member_id = ""
        self.next = self.join


class Group(RuleBasedStateMachine):
    """One group "g"."""

    def __init__(self) -> None:
        super().__init__()
        self.world = ConsumerWorld()
        self.clients: list[Consumer | Classic] = []
        self.started = 0
        self.pin_is_gone = False  # with the process; what it brought about is there until the next rebalance

    def pick(self, data: st.DataObject) -> Consumer | Classic:
        return data.draw(st.sampled_from(self.clients))

    def server(self) -> ConsumerGroup | None:
        group = self.world.coordinator.group("g")
        return group if isinstance(group, ConsumerGroup) else None

    # -- what happens -------------------------------------------------------------------------------------------------

    @initialize(kinds=st.lists(st.sampled_from([Consumer, Consumer, Classic]), min_size=2, max_size=3))
    def begin(self, kinds: list[Any]) -> None:
        for kind in kinds:
            self.start(kind, None, False)
        self.all_step(3)

    @rule(
        kind=st.sampled_from([Consumer, Consumer, Consumer, Classic]),
        instance=st.sampled_from([None, None, None, "i", "j"]),
        regex=st.booleans(),
    )
    def start(self, kind: Any, instance: str | None, regex: bool) -> None:
        if len(self.clients) < 5 and all(client.instance != instance or instance is None for client in self.clients):
            self.started += 1
            self.clients.append(kind(self.world, self.started, instance, regex))
            self.clients[-1].step()
            self.world.settle()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), steps=st.integers(1, 4), lost=st.booleans(), hasty=st.booleans())
    def one_steps(self, data: st.DataObject, steps: int, lost: bool, hasty: bool) -> None:
        client = self.pick(data)
        for _ in range(steps):
            client.step(lost=lost, hasty=hasty)
            self.world.settle()

    @precondition(lambda self: self.clients)
    @rule(rounds=st.integers(1, 4))
    def all_step(self, rounds: int) -> None:
        for _ in range(rounds):
            for client in self.clients:
                client.step()
            self.world.settle()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.clients.remove(self.pick(data))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), for_good=st.booleans(), comes_back=st.booleans())
    def leave(self, data: st.DataObject, for_good: bool, comes_back: bool) -> None:
        client = self.pick(data)
        client.leave(for_good=for_good)
        if not comes_back:
            self.clients.remove(client)

    @precondition(lambda self: self.server() is not None and self.server().members)
    @rule(data=st.data(), behind=st.integers(-1, 3), topic=st.sampled_from(["t", "u"]), partition=st.integers(0, 2))
    def commit(self, data: st.DataObject, behind: int, topic: str, partition: int) -> None:
        group = self.server()
        assert group is not None
        member = data.draw(st.sampled_from(list(group.members.values())))
        epoch = member.epoch - behind
        if member.epoch < 0:
            return  # a static member that is away: there is nobody who could commit
        answer = self.world.commit({(topic, partition): 1}, member.member_id, epoch)
        if self.world.topics.known[topic][1] > partition and answer.topics[0].partitions[0].error_code == E.NONE:
            assert 0 <= epoch <= member.epoch
            if epoch < member.epoch:
                assert group.owners[IDS[topic]][partition] == member.member_id

    @precondition(lambda self: self.server() is not None and self.server().members)
    @rule(data=st.data(), behind=st.integers(-1, 3), partitions=st.sets(st.integers(0, 2)))
    def a_zombie_speaks(self, data: st.DataObject, behind: int, partitions: set[int]) -> None:
        """With an epoch of its own it may only go on with what it has."""
        group = self.server()
        assert group is not None
        before = data.draw(st.sampled_from(list(group.members.values())))
        epoch = before.epoch - behind
        if behind == 0 or epoch <= 0 or before.classic is not None:
            return
        answer = self.world.beat(before.member_id, epoch, owned={T: sorted(partitions)})
        if answer.error_code == E.NONE:
            assert epoch == before.previous_epoch
            assert partitions <= before.assigned.get(T, {}).keys()
            for client in self.clients:  # it is believed: what it did not name counts as given up
                if isinstance(client, Consumer) and client.member_id == before.member_id:
                    client.owned &= {(T, partition) for partition in partitions}
                    client.unsure = True

    @precondition(lambda self: self.server() is not None and self.server().members)
    @rule(order=st.sampled_from(["kick", "fence", "rebalance"]), data=st.data())
    def a_test_orders(self, order: str, data: st.DataObject) -> None:
        group = self.server()
        assert group is not None
        before = group.epoch
        with suppress(KafkaError):  # the log may fail
            if order == "rebalance":
                self.world.coordinator.rebalance(group.group_id, "a test asked for it")
            else:
                member = data.draw(st.sampled_from(sorted(group.members)))
                getattr(self.world.coordinator, order)(group.group_id, member)
        after = self.server()
        assert after is None or after.epoch >= before
        self.world.settle()

    @precondition(lambda self: any(client.member_id for client in self.clients))
    @rule(
        data=st.data(),
        places=st.dictionaries(st.tuples(st.sampled_from("tu"), st.integers(0, 1)), st.integers(0, 1), min_size=1),
    )
    def a_test_pins(self, data: st.DataObject, places: dict[tuple[str, int], int]) -> None:
        """Some partitions to one member or two; the others share the rest."""
        names = [client.member_id for client in self.clients if client.member_id]
        two = data.draw(st.permutations(names))[:2]
        pin: dict[str, dict[str, frozenset[int]]] = {}
        for (topic, partition), number in places.items():
            topics = pin.setdefault(two[number % len(two)], {})
            topics[topic] = topics.get(topic, frozenset()) | {partition}
        self.set_pin(pin)

    @precondition(lambda self: self.world.steering.pins)
    @rule()
    def a_test_unpins(self) -> None:
        self.set_pin(None)

    def set_pin(self, pin: dict[str, dict[str, frozenset[int]]] | None) -> None:
        """As broker/rebalances.py: if the group cannot begin anew, nothing has changed."""
        pins = self.world.steering.pins
        before = pins.pop("g", None)
        if pin is not None:
            pins["g"] = pin
        try:
            self.world.coordinator.rebalance("g", "a test asked for it")
        except KafkaError:
            pins.pop("g", None)
            if before is not None:
                pins["g"] = before
        self.world.settle()

    @rule(ms=st.sampled_from([1, 500, 5_000, 9_999, 20_000, 45_000]))
    def time_passes(self, ms: int) -> None:
        self.world.sleep(ms)

    @rule(topic=st.sampled_from(["t", "u"]))
    def topic_grows(self, topic: str) -> None:
        topic_id, count = self.world.topics.known[topic]
        if count < 6:
            self.world.topics.known[topic] = (topic_id, count + 1)

    @rule()
    def broker_restarts(self) -> None:
        self.pin_is_gone |= bool(self.world.steering.pins)
        self.world.restart()
        for client in self.clients:
            if isinstance(client, Classic) and client.waits_for is not None and not client.waits_for.settled:
                client.waits_for = None
                client.next = client.join

    @rule(slow=st.booleans())
    def coordinator_moves(self, slow: bool) -> None:
        """Perhaps while what it wrote is on its way to the disk."""
        self.world.hold = slow
        self.all_step(1)
        self.world.move()
        self.world.release()
        for client in self.clients:
            assert isinstance(client, Consumer) or client.waits_for is None or client.waits_for.settled

    @rule(rounds=st.integers(1, 3))
    def log_fails(self, rounds: int) -> None:
        self.world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
        self.all_step(rounds)
        self.world.sleep(5_000)
        self.world.fail = None

    @rule(rounds=st.integers(1, 3), well=st.booleans())
    def log_is_slow(self, rounds: int, well: bool) -> None:
        self.world.hold = True
        self.all_step(rounds)
        self.world.release(None if well else KafkaError(E.KAFKA_STORAGE_ERROR))

    @rule()
    def calm(self) -> None:
        """With a log that works and members that live, all settle, and every partition has one owner."""
        if self.pin_is_gone:
            with suppress(KafkaError):  # nobody may be in it
                self.world.coordinator.rebalance("g", "its pins are gone")
        self.pin_is_gone = False
        for _ in range(150):
            for client in self.clients:
                client.step()
            self.world.sleep(2_000)
        owned = sorted(place for client in self.clients for place in client.owned)
        if not self.clients:
            assert self.world.state() in ("Empty", "none")
            return
        assert self.world.state() == "Stable"
        bound = self.bound()
        for client in self.clients:
            assert client.owned == bound.get(client.member_id, client.owned)
        assert len(owned) == len(set(owned))
        group = self.server()
        if group is None:
            return  # by now a classic group: test_random.py
        if len(bound) < len(self.clients):  # else what is not pinned is nobody's
            assert owned == sorted(
                (topic_id, partition)
                for topic_id, count in self.world.topics.known.values()
                for partition in range(count)
            )
        if not bound and len(group.members) == len(self.clients):
            loads = [len(client.owned) for client in self.clients]
            assert max(loads) - min(loads) <= 1

    def bound(self) -> dict[str, set[Place]]:
        """Member id -> what is pinned to it, of the members that are there."""
        pin = self.world.steering.pins.get("g", {})
        return {
            client.member_id: {
                (IDS[topic], index) for topic, indexes in pin[client.member_id].items() for index in indexes
            }
            for client in self.clients
            if client.member_id in pin
        }

    # -- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def nobody_owns_what_is_anothers(self) -> None:
        group = self.server()
        if group is None:
            return
        owners: dict[Place, str] = {}
        for member in group.members.values():
            for side in (member.assigned, member.revoking):
                for topic_id, partitions in side.items():
                    for partition in partitions:
                        assert owners.setdefault((topic_id, partition), member.member_id) == member.member_id
        assert owners == {
            (topic_id, partition): owner
            for topic_id, partitions in group.owners.items()
            for partition, owner in partitions.items()
        }
        for client in self.clients:
            member = group.members.get(client.member_id)  # type: ignore[assignment]
            if member is not None and (client.epoch in (member.epoch, member.previous_epoch)):
                for place in client.owned:
                    assert owners.get(place) == client.member_id

    @invariant()
    def replay_is_the_state(self) -> None:
        assert self.world.replayed().lasting() == self.world.lasting()

    def teardown(self) -> None:
        self.calm()


def test_whatever_happens() -> None:
    run_state_machine_as_test(
        Group,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
