"""Random commits in and out of transactions, ends of transactions, deletions, restarts and a log that fails.

Of all commits that count the one later in the log is there; what is pending is told from what is stable; a replay of
the records is the state.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError

E = ErrorCode
GROUPS = st.sampled_from(["g", "g", "g", "h"])
PLACES = [("t", 0), ("u", 0)]
PRODUCERS = [1, 2]
CHECK_MS = 600_000
Where = tuple[str, tuple[str, int]]


class Model:
    """What must be there, from the rules alone: (position in the log, offset) of each commit."""

    def __init__(self) -> None:
        self.committed: dict[Where, tuple[int, int]] = {}
        self.pending: dict[int, dict[Where, tuple[int, int]]] = {producer: {} for producer in PRODUCERS}

    def end(self, producer: int, commit: bool) -> None:
        for where, value in self.pending[producer].items():
            if commit:
                self.committed[where] = max(value, self.committed.get(where, value))
        self.pending[producer].clear()

    def forget(self, where: Where) -> None:
        self.committed.pop(where, None)
        for pending in self.pending.values():
            pending.pop(where, None)

    def is_pending(self, where: Where) -> bool:
        return any(where in pending for pending in self.pending.values())


def machine(make_world: Any) -> type[RuleBasedStateMachine]:
    """The machine, for worlds made by the fixture."""

    class Offsets(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.world = make_world(offsets_retention_minutes=1, offsets_retention_check_interval_ms=CHECK_MS)
            self.model = Model()
            self.offset = 0

        def written(self, answer: Any) -> bool:
            """Whether all of it was; one that waits for the disk has its place."""
            if isinstance(answer, Pending):
                return True
            return {partition.error_code for topic in answer.topics for partition in topic.partitions} == {E.NONE}

        @rule(group=GROUPS, places=st.sets(st.sampled_from(PLACES), min_size=1))
        def commits(self, group: str, places: set[tuple[str, int]]) -> None:
            self.offset += 1
            at = len(self.world.journal)
            if self.written(self.world.commit(dict.fromkeys(places, self.offset), group=group)):
                self.model.committed |= {(group, place): (at, self.offset) for place in places}

        @rule(group=GROUPS, places=st.sets(st.sampled_from(PLACES), min_size=1), producer=st.sampled_from(PRODUCERS))
        def transaction_commits(self, group: str, places: set[tuple[str, int]], producer: int) -> None:
            self.offset += 1
            at = len(self.world.journal)
            if self.written(self.world.txn_commit(dict.fromkeys(places, self.offset), producer, group=group)):
                self.model.pending[producer] |= {(group, place): (at, self.offset) for place in places}

        @rule(producer=st.sampled_from(PRODUCERS), commit=st.booleans())
        def transaction_ends(self, producer: int, commit: bool) -> None:
            for group in ("g", "h"):
                self.world.end_transaction(producer, commit, group=group)
            self.model.end(producer, commit)

        @rule(data=st.data())
        def something_else(self, data: st.DataObject) -> None:
            """One rule, so that commits and markers make up most of a run."""
            group = data.draw(GROUPS)
            what = data.draw(st.integers(0, 7))
            if what == 0:
                self.offset_is_deleted(group, data.draw(st.sampled_from(PLACES)))
            elif what == 1:
                self.group_is_deleted(group)
            elif what == 2:
                self.topic_is_deleted()
            elif what == 3:
                self.all_outlive_their_time()
            elif what == 4:
                self.broker_restarts()
            elif what == 5:
                self.log_fails(group, data.draw(st.sampled_from([None, *PRODUCERS])))
            elif what == 6:
                self.world.move()
            else:
                self.log_is_slow(data.draw(st.booleans()))

        def offset_is_deleted(self, group: str, place: tuple[str, int]) -> None:
            topic, partition = place
            answer = self.world.delete_offsets((topic, [partition]), group=group)
            if isinstance(answer, Pending) or answer.error_code == E.NONE:
                self.model.forget((group, place))

        def group_is_deleted(self, group: str) -> None:
            answer = self.world.delete(group)
            if isinstance(answer, Pending) or answer.results[0].error_code == E.NONE:
                for place in PLACES:
                    self.model.forget((group, place))

        def topic_is_deleted(self) -> None:
            self.world.coordinator.on_topics_deleted({"t"})
            for group in ("g", "h"):
                self.model.forget((group, PLACES[0]))

        def all_outlive_their_time(self) -> None:
            self.world.sleep(2 * CHECK_MS)
            for where in list(self.model.committed):
                if not self.model.is_pending(where):
                    self.model.forget(where)

        def broker_restarts(self) -> None:
            self.world.held.clear()
            self.world.hold = False
            self.world.restart()

        def log_fails(self, group: str, producer: int | None) -> None:
            self.world.fail = KafkaError(E.KAFKA_STORAGE_ERROR)
            offsets = dict.fromkeys(PLACES, 0)
            if producer is None:
                answer = self.world.commit(offsets, group=group)
            else:
                answer = self.world.txn_commit(offsets, producer, group=group)
            assert not self.written(answer)
            assert self.world.delete(group).results[0].error_code != E.NONE
            self.world.coordinator.on_topics_deleted({"t"})
            self.world.fail = None

        def log_is_slow(self, slow: bool) -> None:
            self.world.release()
            self.world.hold = slow

        @invariant()
        def it_is_what_the_rules_say(self) -> None:
            for group in ("g", "h"):
                for stable in (False, True):
                    for topic, partition in PLACES:
                        where = (group, (topic, partition))
                        answer = self.world.fetch((topic, [partition]), group=group, stable=stable)
                        found = answer.topics[0].partitions[0]
                        if stable and self.model.is_pending(where):
                            assert found.error_code == E.UNSTABLE_OFFSET_COMMIT
                        else:
                            _, offset = self.model.committed.get(where, (0, -1))
                            assert (found.error_code, found.committed_offset) == (E.NONE, offset)

        @invariant()
        def replay_is_the_state(self) -> None:
            assert self.world.replayed().lasting() == self.world.lasting()

    return Offsets


def test_whatever_is_committed(make_world: Any) -> None:
    run_state_machine_as_test(
        machine(make_world),
        settings=settings(
            max_examples=80,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
