"""Random members, crashes, time, restarts, moves and a log that fails: what must hold whatever happens.

No partition has two owners in one generation; a commit of a stale generation is fenced; nobody waits for ever; a replay
of the records is the state; a group that was stable goes on after a restart.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
PARTITIONS = range(6)
SESSION_MS = 10_000
REBALANCE_MS = 20_000
START_ANEW = (E.UNKNOWN_MEMBER_ID, E.FENCED_INSTANCE_ID)
TRY_AGAIN = (E.NOT_COORDINATOR, E.REBALANCE_IN_PROGRESS, E.ILLEGAL_GENERATION)


class Client:
    """A consumer as simple as can be: it joins, syncs, owns, and begins again when told to."""

    def __init__(self, world: Any, instance: str | None) -> None:
        self.world = world
        self.instance = instance
        self.member_id = ""
        self.generation = -1
        self.owned: frozenset[int] | None = None
        self.waits_for: Pending[Any] | None = None
        self.next: Any = self.join

    @property
    def who(self) -> str:
        return self.instance or self.member_id

    def join(self) -> None:
        self.owned = None
        answer = self.world.join(
            self.member_id, instance=self.instance, session_ms=SESSION_MS, rebalance_ms=REBALANCE_MS
        )
        self.expect(answer, self.joined)

    def expect(self, answer: Any, then: Any) -> None:
        self.next = lambda: then(answer.result() if isinstance(answer, Pending) else answer)
        self.waits_for = answer if isinstance(answer, Pending) else None

    def joined(self, answer: Any) -> None:
        self.next = self.join
        if answer.error_code == E.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
        elif answer.error_code in START_ANEW:
            self.member_id = ""
        elif answer.error_code == E.NONE:
            self.member_id = answer.member_id
            self.generation = answer.generation_id
            given: dict[str, bytes] = {}
            if answer.leader == self.member_id and not answer.skip_assignment:
                ids = sorted(member.member_id for member in answer.members)
                given = {
                    member: bytes(p for p in PARTITIONS if p % len(ids) == index) for index, member in enumerate(ids)
                }
            self.next = lambda: self.expect(
                self.world.sync(self.member_id, self.generation, given, instance=self.instance), self.synced
            )
        else:
            assert answer.error_code in TRY_AGAIN

    def synced(self, answer: Any) -> None:
        self.next = self.join
        if answer.error_code in START_ANEW:
            self.member_id = ""
        elif answer.error_code == E.NONE:
            self.owned = frozenset(answer.assignment)
            life = self.world.told.names().count("group deleted")  # a new group counts from 1 again
            self.world.owners.append((life, self.generation, self.who, self.owned))
            self.next = self.poll
        else:
            assert answer.error_code in TRY_AGAIN

    def poll(self) -> None:
        code = self.world.heartbeat(self.member_id, self.generation, instance=self.instance)
        if code in START_ANEW:
            self.member_id = ""
        if code != E.NONE:
            self.next = self.join

    def step(self) -> None:
        """Do the next thing, unless an answer is waited for. A lost connection begins anew."""
        if self.waits_for is None or self.waits_for.settled:
            self.waits_for = None
            self.next()


def machine(make_world: Any) -> type[RuleBasedStateMachine]:
    """The machine, for worlds made by the fixture."""

    class Group(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.world = make_world()
            self.world.owners = []
            self.clients: list[Client] = []
            self.parked: list[Pending[Any]] = []
            ask = self.world.ask

            def remembering(*args: Any) -> Any:
                answer = ask(*args)
                if isinstance(answer, Pending):
                    self.parked.append(answer)
                return answer

            self.world.ask = remembering

        @rule(static=st.sampled_from([None, None, "i1", "i2"]))
        def start(self, static: str | None) -> None:
            if len(self.clients) < 5:
                self.clients.append(Client(self.world, static))

        @precondition(lambda self: self.clients)
        @rule(data=st.data(), steps=st.integers(1, 6))
        def one_steps(self, data: st.DataObject, steps: int) -> None:
            client = data.draw(st.sampled_from(self.clients))
            for _ in range(steps):
                client.step()
                self.world.settle()

        @precondition(lambda self: self.clients)
        @rule(rounds=st.integers(1, 6))
        def all_step(self, rounds: int) -> None:
            for _ in range(rounds):
                for client in self.clients:
                    client.step()
                self.world.settle()

        @precondition(lambda self: self.clients)
        @rule(data=st.data())
        def crash(self, data: st.DataObject) -> None:
            self.clients.remove(data.draw(st.sampled_from(self.clients)))

        @precondition(lambda self: self.clients)
        @rule(data=st.data())
        def leave(self, data: st.DataObject) -> None:
            client = data.draw(st.sampled_from(self.clients))
            self.clients.remove(client)
            if client.member_id:
                self.world.leave((client.member_id, client.instance))

        @precondition(lambda self: self.clients)
        @rule(data=st.data(), behind=st.integers(0, 2), transactional=st.booleans())
        def commit(self, data: st.DataObject, behind: int, transactional: bool) -> None:
            client = data.draw(st.sampled_from(self.clients))
            generation = client.generation - behind
            group = self.world.coordinator.group("g")
            if transactional:
                answer = self.world.txn_commit({("t", 0): 1}, 1, client.member_id, generation, instance=client.instance)
            else:
                answer = self.world.commit({("t", 0): 1}, client.member_id, generation, instance=client.instance)
            if isinstance(answer, Pending):
                return
            if answer.topics[0].partitions[0].error_code == E.NONE and generation >= 0:
                assert group is not None
                assert generation == group.generation
                assert client.member_id in group.members
                assert transactional or group.state.value in ("Stable", "PreparingRebalance")

        @precondition(lambda self: self.world.state() not in ("none", "Empty"))
        @rule(order=st.sampled_from(["kick", "fence", "rebalance"]), data=st.data())
        def a_test_orders(self, order: str, data: st.DataObject) -> None:
            group = self.world.coordinator.group("g")
            if group is None or not group.members:
                return
            with suppress(KafkaError):  # the log may fail
                if order == "rebalance":
                    self.world.coordinator.rebalance("g", "a test asked for it")
                else:
                    member = data.draw(st.sampled_from(sorted(group.members)))
                    getattr(self.world.coordinator, order)("g", member)

        @rule(commit=st.booleans())
        def transaction_ends(self, commit: bool) -> None:
            self.world.end_transaction(1, commit)

        @rule(ms=st.sampled_from([1, 500, 3_000, 9_999, 10_000, 20_000, 400_000]))
        def time_passes(self, ms: int) -> None:
            self.world.sleep(ms)

        @rule()
        def broker_restarts(self) -> None:
            was_stable = self.world.state() == "Stable" and not self.world.held
            generation = self.world.coordinator.group("g").generation if was_stable else None
            self.world.held.clear()
            self.world.hold = False
            self.world.restart()
            self.parked.clear()
            for client in self.clients:
                if client.waits_for is not None and not client.waits_for.settled:
                    client.waits_for = None
                    client.next = client.join
            if was_stable:
                assert self.world.state() == "Stable"
                assert self.world.coordinator.group("g").generation == generation

        @rule()
        def coordinator_moves(self) -> None:
            """Who waits is told at once, but for what is on its way to the disk; a stable group does not notice."""
            was_stable = self.world.state() == "Stable"
            generation = self.world.coordinator.group("g").generation if was_stable else None
            self.world.move()
            if not self.world.held:
                assert all(answer.settled for answer in self.parked)
            if was_stable:
                assert self.world.state() == "Stable"
                assert self.world.coordinator.group("g").generation == generation

        @rule(fails=st.booleans())
        def log_fails(self, fails: bool) -> None:
            self.world.fail = KafkaError(E.KAFKA_STORAGE_ERROR) if fails else None

        @rule()
        def log_is_slow(self) -> None:
            self.world.hold = True

        @rule(well=st.booleans())
        def log_catches_up(self, well: bool) -> None:
            self.world.release(None if well else KafkaError(E.KAFKA_STORAGE_ERROR))

        @rule()
        def calm(self) -> None:
            """With a log that works and members that live, all settle and every partition has one owner."""
            self.world.fail = None
            self.world.release()
            # Two processes under one instance id fence each other for ever, in Kafka too: the last one stays.
            by_name = {client.instance or f"dynamic {number}": client for number, client in enumerate(self.clients)}
            self.clients = list(by_name.values())
            for _ in range(400):
                for client in self.clients:
                    client.step()
                self.world.sleep(1_000)
            assert all(answer.settled for answer in self.parked)
            self.parked.clear()
            owned = [partition for client in self.clients for partition in client.owned or ()]
            if self.clients:
                assert self.world.state() == "Stable"
                assert sorted(owned) == list(PARTITIONS)
            else:
                assert self.world.state() in ("Empty", "none")

        @invariant()
        def one_owner(self) -> None:
            owners: dict[tuple[int, int, int], str] = {}
            for life, generation, who, partitions in self.world.owners:
                for partition in partitions:
                    assert owners.setdefault((life, generation, partition), who) == who

        @invariant()
        def replay_is_the_state(self) -> None:
            assert self.world.replayed().lasting() == self.world.lasting()

        def teardown(self) -> None:
            self.calm()

    return Group


def test_whatever_happens(make_world: Any) -> None:
    run_state_machine_as_test(
        machine(make_world),
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
