"""Producers of both generations, zombies among them, do what they like while logs fail, wait and forget, partitions
break, the coordinator moves and the broker is killed: every transaction is committed or aborted as a whole, as its
producer was told.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.ports import ProducerIdentity
from ottla.coordinator.transaction.ports import TopicPartition
from ottla.coordinator.transaction.state import EMPTY, LAST_CLIENT_EPOCH, Transaction
from ottla.log.door import Pending
from ottla.wire.errors import ErrorCode, KafkaError
from tests.coordinator.transaction_world import A0, A1, B0, Data, TransactionWorld, partition_codes

IDS = ("x", "y")
PARTITIONS = (A0, A1, B0)
STORAGE = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
RETRIABLE = (
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR,
)


class Producer:
    """A client with a transactional id: whoever he is, he goes on until he is told to stop."""

    def __init__(self, transactional_id: str, identity: ProducerIdentity, generation: int) -> None:
        self.transactional_id = transactional_id
        self.identity = identity
        self.generation = generation
        self.names: list[str] = []  # what he wrote in the transaction that is open
        self.ending: bool | None = None  # he asked for this end and does not know whether it came to pass

    @property
    def end_version(self) -> int:
        return 4 if self.generation == 1 else 5


class Transactions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = TransactionWorld()
        self.producers: list[Producer] = []
        self.transactions: list[list[str]] = []  # names that belong together
        self.told: dict[str, bool] = {}
        self.written = 0

    @initialize(level=st.sampled_from([0, 2, 2]), epoch=st.integers(LAST_CLIENT_EPOCH - 3, LAST_CLIENT_EPOCH))
    def begin(self, level: int, epoch: int) -> None:
        """The epochs of one id are nearly used up; both have a producer."""
        self.world.transaction_version = level
        shard = self.world.coordinator._shards[self.world.coordinator.partition_for("y")]
        old = Transaction(7, epoch, 60_000, EMPTY, frozenset(), -1, self.world.clock.wall_ms(), 7)
        shard.write("y", old, None, refused=lambda code: None)
        for number, transactional_id in enumerate(IDS):
            self.start(transactional_id, 1 + number, 60_000)

    # -- producers ------------------------------------------------------------------------------------------------

    @rule(
        transactional_id=st.sampled_from(IDS),
        generation=st.sampled_from([1, 2]),
        timeout_ms=st.sampled_from([5_000, 60_000]),
    )
    def start(self, transactional_id: str, generation: int, timeout_ms: int) -> None:
        for _ in range(3):
            answer = self.world.init(transactional_id, timeout_ms=timeout_ms)
            if isinstance(answer, Pending) or answer.error_code not in RETRIABLE:
                break
            self.world.sleep(500)
        if isinstance(answer, Pending) or answer.error_code != ErrorCode.NONE:
            return
        identity = (answer.producer_id, answer.producer_epoch)
        generation = generation if self.world.transaction_version == 2 else 1
        self.producers.append(Producer(transactional_id, identity, generation))

    @precondition(lambda self: self.producers)
    @rule(
        data=st.data(),
        partitions=st.lists(st.sampled_from(PARTITIONS), min_size=1, max_size=3),
        end=st.sampled_from([True, False, None, None]),
    )
    def work(self, data: st.DataObject, partitions: list[TopicPartition], end: bool | None) -> None:
        producer = data.draw(st.sampled_from(self.producers))
        for partition in partitions:
            if producer in self.producers and producer.ending is None:
                self.send(producer, partition)
        if producer in self.producers and end is not None:
            self.ask_for_end(producer, end)

    def send(self, producer: Producer, partition: TopicPartition) -> None:
        world, who = self.world, (producer.transactional_id, *producer.identity)
        if producer.generation == 1:
            answer = world.add(producer.identity, partition, transactional_id=producer.transactional_id)
            code = None if isinstance(answer, Pending) else answer
            if code == ErrorCode.NONE:
                code = world.coordinator.verify(*who, [partition])[partition]
                assert code == ErrorCode.NONE
        else:
            added = world.coordinator.add_partitions(*who, [partition])
            code = None if isinstance(added, Pending) else added
        if code is None or code in RETRIABLE:
            return
        if code != ErrorCode.NONE:
            self.producers.remove(producer)
            return
        target = world.partitions[partition]
        assert target.epoch_of(producer.identity[0]) <= producer.identity[1], "a zombie got in"
        name = f"{self.written}"
        self.written += 1
        target.entries.append(Data(*producer.identity, name))
        target.durable = len(target.entries)
        if not producer.names:
            self.transactions.append(producer.names)
        producer.names.append(name)

    @precondition(lambda self: self.producers)
    @rule(data=st.data(), partition=st.sampled_from(PARTITIONS), version=st.sampled_from([3, 5]))
    def forget_the_answer(self, data: st.DataObject, partition: TopicPartition, version: int) -> None:
        """A producer that adds a partition and never writes to it."""
        producer = data.draw(st.sampled_from(self.producers))
        if producer.ending is None and (producer.generation == 1) == (version == 3):
            answer = self.world.add(
                producer.identity, partition, transactional_id=producer.transactional_id, version=version
            )
            if isinstance(answer, Pending):
                answer.then(lambda done: partition_codes(done.result()))

    @precondition(lambda self: self.producers)
    @rule(data=st.data(), commit=st.booleans())
    def end(self, data: st.DataObject, commit: bool) -> None:
        self.ask_for_end(data.draw(st.sampled_from(self.producers)), commit)

    def ask_for_end(self, producer: Producer, commit: bool) -> None:
        if producer.ending is not None:
            commit = producer.ending
        elif not producer.names:
            return  # as clients do
        producer.ending = commit
        answer = self.world.end(
            producer.identity, commit, transactional_id=producer.transactional_id, version=producer.end_version
        )
        if isinstance(answer, Pending) or answer.error_code in RETRIABLE:
            return
        if answer.error_code != ErrorCode.NONE:
            self.producers.remove(producer)
            return
        self.told.update(dict.fromkeys(producer.names, commit))
        producer.names, producer.ending = [], None
        if producer.generation == 2:
            producer.identity = (answer.producer_id, answer.producer_epoch)

    @precondition(lambda self: self.producers)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.producers.remove(data.draw(st.sampled_from(self.producers)))

    # -- the world ------------------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([500, 1_000, 11_000]))
    def wait(self, ms: int) -> None:
        self.world.sleep(ms)

    @rule(
        trouble=st.sampled_from(["partition", "log", "slow log", "slow markers", "slow log, slow markers"]),
        partition=st.sampled_from(PARTITIONS),
    )
    def trouble(self, trouble: str, partition: TopicPartition) -> None:
        if trouble == "partition":
            self.world.broken[partition] = STORAGE
        if trouble == "log":
            self.world.fail = STORAGE
        self.world.hold = self.world.hold or "slow log" in trouble
        self.world.hold_markers = self.world.hold_markers or "slow markers" in trouble

    @rule(fails=st.sampled_from([False, False, True]), markers_first=st.booleans())
    def flush(self, fails: bool, markers_first: bool) -> None:
        error = STORAGE if fails else None
        if markers_first:
            self.world.release_markers(error)
        self.world.release(error)
        self.world.release_markers(error)

    @rule()
    def mend(self) -> None:
        self.world.broken.clear()
        self.world.fail = None
        self.flush(False, True)
        self.world.durable = len(self.world.log)  # what failed before is written again with what comes next
        self.world.take_over()

    @rule()
    def move(self) -> None:
        self.world.move()

    @rule(power_cut=st.booleans())
    def crash(self, power_cut: bool) -> None:
        self.world.restart(power_cut=power_cut)

    # -- what must be true ----------------------------------------------------------------------------------------

    @invariant()
    def what_is_decided_is_decided(self) -> None:
        for names in self.transactions:
            outcomes = {self.outcome(name) for name in names} - {None}
            assert len(outcomes) <= 1, "torn"
        for name, commit in self.told.items():
            assert self.outcome(name) in (None, commit), "not as it was told"

    @invariant()
    def the_log_says_it_all(self) -> None:
        if self.world.coordinator.leads(0):  # else it moved, and waits for the disk
            assert self.world.replayed().lasting() == self.world.lasting()

    def outcome(self, name: str) -> bool | None:
        return next(
            outcomes[name]
            for outcomes in (partition.outcomes() for partition in self.world.partitions.values())
            if name in outcomes
        )

    def teardown(self) -> None:
        """Once all works again and time has passed, nothing is left open."""
        world = self.world
        self.mend()
        world.release()
        world.release_markers()
        world.sleep(80_000)
        assert {transaction.state.label for transaction in world.lasting().values()} <= {
            "Empty",
            "CompleteCommit",
            "CompleteAbort",
        }
        assert world.coordinator.stats["outcomes_under_way"] == 0
        for names in self.transactions:
            assert {self.outcome(name) for name in names} in ({True}, {False})
        for name, commit in self.told.items():
            assert self.outcome(name) is commit
        self.the_log_says_it_all()


Transactions.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTransactions = Transactions.TestCase
